//! An INVITE and a new policy at the same time.

use nuncio_sip::connection::{Connection, ConnectionConfig, Output};
use nuncio_translate::judge::{Partner, PartnerType, Snapshot};

use super::*;
use crate::gateway::ConnectionId;
use crate::gateway::testing::{gateway_of, moment};

const INVITE: &[u8] = b"INVITE sip:bob@fabrikam.example SIP/2.0\r\nVia: SIP/2.0/TLS fe;branch=z9hG4bK1\r\n\
    From: <sip:alice@contoso.example>;tag=fe\r\nTo: <sip:bob@fabrikam.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
    Max-Forwards: 70\r\nContact: <sip:fe;transport=tls>\r\nContent-Length: 0\r\n\r\n";

fn policy(generation: u64, enabled: bool) -> Snapshot {
    let domain = "fabrikam.example".into();
    let partner = Partner { domain, partner_type: PartnerType::Federated, enabled };
    Snapshot::new(generation, ["contoso.example".into()], [(partner, Vec::new())])
}

#[test]
fn trust_an_invitation_is_judged_by_the_policy_of_its_step_and_by_no_other() {
    for (of_step, of_gateway) in [(false, true), (true, false)] {
        let (gateway, now) = (gateway_of("contoso.example", "fabrikam.example"), moment());
        gateway.set_policy(policy(2, of_gateway));
        let request = Message::parse(INVITE.into()).unwrap();
        let config = ConnectionConfig::new("192.0.2.1:5061".parse().unwrap(), "gw", [0; 16]);
        let mut connection: Connection<()> = Connection::new(config, now.instant);
        connection.receive(request.clone(), || "t", now.instant);
        let Some(Output::Request { txn: transaction, .. }) = connection.poll() else { panic!("no request") };
        let reply = ReplyTo { connection: ConnectionId(1), transaction };
        let invited = check_invite(&request, &gateway.settings.sessions).unwrap();
        let key = PairKey::new("alice@contoso.example", "bob@fabrikam.example");
        let mut pair = Pair::default();
        let answer = gateway.in_context_under(&policy(3, of_step), &key, now, |context| {
            gateway.accept_invite(reply, &request, invited, ("ours", ""), &mut pair, context)
        });
        let status = answer.map(|answer| answer.status);
        assert_eq!(status, if of_step { Ok(200) } else { Err(Refusal::PartnerDisabled) });
        assert_eq!(pair.has_sessions(), of_step);
    }
}
