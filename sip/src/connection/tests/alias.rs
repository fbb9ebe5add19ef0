//! SIP-06: connections that the peer lets us use (RFC 5923).

use super::*;

fn offering(via: &str) -> String {
    Req { via, ..REQ }.text()
}

fn alias(via: &str) -> Option<String> {
    let mut rig = Rig::new();
    rig.receive(offering(via));
    rig.connection.alias().map(|address| address.to_string())
}

#[test]
fn sip_06_alias_in_via_offers_the_address_of_the_connection_with_the_port_of_sent_by() {
    let port = "SIP/2.0/TLS fe.example:5071;branch=z9hG4bKa;alias";
    assert_eq!(alias(port).as_deref(), Some("192.0.2.7:5071"));
    let none = "SIP/2.0/TLS fe.example;alias;branch=z9hG4bKa";
    assert_eq!(alias(none).as_deref(), Some("192.0.2.7:5061"));
    assert_eq!(alias("SIP/2.0/TLS fe.example;branch=z9hG4bKa"), None);
    assert_eq!(alias("SIP/2.0/TLS fe.example;branch=z9hG4bKa;aliases"), None);
}

#[test]
fn sip_06_what_was_offered_once_holds_until_the_connection_is_to_end() {
    let ends: [fn(&mut Rig); 3] =
        [|rig| rig.connection.retire(), |rig| rig.connection.drain(), |rig| rig.connection.closed()];
    for end in ends {
        let mut rig = Rig::new();
        rig.receive(offering("SIP/2.0/TLS fe.example;branch=z9hG4bKa;alias"));
        rig.receive(
            Req { call_id: "other", via: "SIP/2.0/TLS fe.example:1;branch=z9hG4bKb;alias", ..REQ }.text(),
        );
        assert_eq!(rig.connection.alias(), Some("192.0.2.7:5061".parse().unwrap()));
        end(&mut rig);
        assert_eq!(rig.connection.alias(), None);
    }
}

#[test]
fn sip_06_a_request_that_is_no_good_offers_nothing() {
    let mut rig = Rig::new();
    rig.receive(
        Req {
            extra: "Require: nobody-knows\r\n",
            via: "SIP/2.0/TLS fe.example;branch=z9hG4bKa;alias",
            ..REQ
        }
        .text(),
    );
    assert_eq!(rig.connection.alias(), None);
}
