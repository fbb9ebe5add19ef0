//! What a golden transcript is played in, and what happens in it beside what both sides say.

use std::sync::Arc;
use std::time::Duration;

use nuncio::gateway::{Im, WhoSees};
use nuncio::store::{Keep, Memory};
use nuncio_translate::judge::{Partner, PartnerType, Snapshot, UserPolicy, UserRule, Verdict, Who};
use nuncio_translate::pair::{From, PairKey, PairRecord};
use nuncio_translate::trust::TrustModel;
use nuncio_xmpp::lane::FailureKind;

use crate::golden::Transcript;
use crate::house::{House, Plan, Reach};

const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@fabrikam.com";
const PARTNER: &str = "fabrikam.com";

/// Options: `im` (pager, session), `trust` (plain, edge), `identities` (the partner type with a name of its own for us), `type` of
/// the partner, `contact sees user`, `partner`: why he cannot be reached, and `front ends`: 2.
pub(crate) fn house(transcript: &Transcript) -> House {
    let im = match transcript.option("im") {
        None | Some("pager") => Im::Pager,
        Some("session") => Im::Session,
        other => panic!("im: {other:?}"),
    };
    let trust = match transcript.option("trust") {
        None | Some("plain") => TrustModel::Plain,
        Some("edge") => TrustModel::Edge,
        other => panic!("trust: {other:?}"),
    };
    let identities: &[_] = match transcript.option("identities") {
        None => &[],
        Some("public-verified") => &[(PartnerType::PublicVerified, "verified.contoso.com")],
        other => panic!("identities: {other:?}"),
    };
    let next_hops = match transcript.option("front ends") {
        None => Plan::default().next_hops,
        Some("2") => &[(0, "fe.contoso.com:5061"), (1, "spare.contoso.com:5061")],
        other => panic!("front ends: {other:?}"),
    };
    let store = Memory::new();
    if transcript.option("contact sees user").is_some() {
        store.save_pair(&PairKey::new(ALICE, BOB), PairRecord { from: From::Yes, ..PairRecord::default() });
        store.commit(usize::MAX);
    }
    let store = Arc::new(store.crash());
    let mut house = House::planned(Plan { im, trust, identities, next_hops, store, ..Plan::default() });
    match transcript.option("type") {
        None | Some("federated") => {}
        Some("public-unverified") => rules(&house, PartnerType::PublicUnverified, true),
        other => panic!("type: {other:?}"),
    }
    if let Some(why) = transcript.option("partner") {
        house.reach.insert(PARTNER, Reach::Down(unreachable(why)));
    }
    house.gateway.restore(house.now).unwrap();
    // What is restored is looked after first.
    house.advance(Duration::from_secs(1));
    house.requests();
    house
}

fn unreachable(why: &str) -> FailureKind {
    match why {
        "is not in DNS" => FailureKind::DomainNotFound,
        "does not answer" => FailureKind::Unreachable,
        "shows a bad certificate" => FailureKind::Certificate,
        other => panic!("partner: {other}"),
    }
}

/// What a section says that is neither of SIP nor of XMPP.
pub(crate) fn happens(house: &mut House, event: &str) {
    let time = event.strip_prefix("wait ").and_then(|time| time.strip_suffix('s'));
    if let Some(time) = time.and_then(|time| time.parse().ok()) {
        return house.advance(Duration::from_secs(time));
    }
    let pair = PairKey::new(ALICE, BOB);
    match event {
        "the partner can be reached" => drop(house.reach.remove(PARTNER)),
        "the first front end is gone" => {
            house.next_hop_reach.insert(0, Reach::Down(FailureKind::Unreachable));
        }
        "the partner is disabled" => rules(house, PartnerType::Federated, false),
        "the partner becomes public-verified" => rules(house, PartnerType::PublicVerified, true),
        "the user may not any more" => {
            let who = vec![Who::User(ALICE.into())];
            let denied = vec![UserRule { who, partners: Vec::new(), verdict: Verdict::Deny }];
            let users = UserPolicy::new(true, Verdict::Allow, denied);
            house.gateway.set_policy(policy(PartnerType::Federated, true).with_users(users));
        }
        "consent is taken back" => house.gateway.remove_consent(&pair, house.now),
        "an administrator ends the session" => {
            let shown = house.gateway.sessions_shown(1, |_| true, house.now);
            let id = &shown.first().expect("there is a session").id;
            house.gateway.close_session(id, house.now).expect("it was there");
        }
        "an administrator ends what the user sees" => ends_by_hand(house, WhoSees::User),
        "an administrator ends what the contact sees" => ends_by_hand(house, WhoSees::Contact),
        "the gateway stops" => {
            house.gateway.end_subscriptions();
            while house.gateway.run_errands(house.now) {}
        }
        // Two draws make the tag of the answer; the third is the pair's.
        "the next step fails" => house.panic_at(3),
        other => panic!("unknown section {other}"),
    }
    house.run();
}

fn ends_by_hand(house: &House, who: WhoSees) {
    assert_eq!(house.gateway.close_subscription(ALICE, BOB, who, house.now), Some(true));
}

fn rules(house: &House, partner_type: PartnerType, enabled: bool) {
    house.gateway.set_policy(policy(partner_type, enabled));
}

/// Of the second generation.
fn policy(partner_type: PartnerType, enabled: bool) -> Snapshot {
    let partner = Partner { domain: PARTNER.into(), partner_type, enabled };
    Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())])
}
