//! The rules, one by one.

use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;

fn snapshot() -> Snapshot {
    let partner =
        |domain: &str, partner_type, enabled| Partner { domain: domain.into(), partner_type, enabled };
    Snapshot::new(
        7,
        ["contoso.example".into()],
        [
            (partner("fabrikam.example", PartnerType::Federated, true), vec!["it.fabrikam.example".into()]),
            (partner("verified.example", PartnerType::PublicVerified, true), vec![]),
            (partner("public.example", PartnerType::PublicUnverified, true), vec![]),
            (partner("off.example", PartnerType::Federated, false), vec![]),
        ],
    )
}

fn ask(domain: &str, consent: &Consent, direction: Direction, kind: Kind) -> Result<Rule, Refusal> {
    let question = Question {
        sip_user: "alice@contoso.example",
        contact: "mallory@fabrikam.example",
        contact_domain: domain,
        direction,
        kind,
    };
    judge(&snapshot(), &question, consent, NOW).map(|permit| permit.rule())
}

fn message(domain: &str, wrote: Option<u64>, direction: Direction) -> Result<Rule, Refusal> {
    ask(domain, &Consent { sip_user_wrote: wrote, ..Consent::default() }, direction, Kind::Message)
}

fn added(last_subscribe: u64) -> Consent {
    Consent { added: Some(Added { since: last_subscribe, last_subscribe }), ..Consent::default() }
}

#[test]
fn a_sip_user_may_write_to_every_enabled_partner() {
    for domain in ["fabrikam.example", "it.fabrikam.example", "verified.example", "public.example"] {
        assert_eq!(message(domain, None, Direction::SipToXmpp), Ok(Rule::SipUserMayWrite), "{domain}");
    }
}

#[test]
fn unlisted_and_disabled_partners_are_refused_both_ways() {
    for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
        assert_eq!(message("nobody.example", Some(NOW), direction), Err(Refusal::UnlistedDomain));
        assert_eq!(message("sub.fabrikam.example", Some(NOW), direction), Err(Refusal::UnlistedDomain));
        assert_eq!(message("off.example", Some(NOW), direction), Err(Refusal::PartnerDisabled));
    }
}

#[test]
fn trusted_partner_types_may_write_first() {
    for domain in ["fabrikam.example", "verified.example"] {
        assert_eq!(message(domain, None, Direction::XmppToSip), Ok(Rule::PartnerTypeMayWrite));
    }
}

#[test]
fn unverified_contacts_may_only_answer_and_only_for_a_day() {
    let answer = |wrote| message("public.example", wrote, Direction::XmppToSip);
    assert_eq!(answer(None), Err(Refusal::SipUserFirst));
    assert_eq!(answer(Some(NOW)), Ok(Rule::ReplyToSipUser));
    assert_eq!(answer(Some(NOW - DAY + 1)), Ok(Rule::ReplyToSipUser));
    assert_eq!(answer(Some(NOW - DAY)), Err(Refusal::SipUserFirst));
}

#[test]
fn adding_an_unverified_contact_opens_everything_until_consent_lapses() {
    let lifetime = CONSENT_LIFETIME.as_secs();
    for (direction, kind) in [
        (Direction::XmppToSip, Kind::Message),
        (Direction::XmppToSip, Kind::Subscribe),
        (Direction::SipToXmpp, Kind::Presence),
    ] {
        let ask = |consent: &Consent| ask("public.example", consent, direction, kind);
        assert_eq!(ask(&Consent::default()), Err(Refusal::SipUserFirst));
        assert_eq!(ask(&added(NOW - lifetime + 1)), Ok(Rule::AddedBySipUser));
        assert_eq!(ask(&added(NOW - lifetime)), Err(Refusal::SipUserFirst));
    }
}

#[test]
fn writing_to_an_unverified_contact_shows_him_no_presence() {
    let wrote = Consent { sip_user_wrote: Some(NOW), ..Consent::default() };
    for (direction, kind) in [(Direction::XmppToSip, Kind::Subscribe), (Direction::SipToXmpp, Kind::Presence)]
    {
        assert_eq!(ask("public.example", &wrote, direction, kind), Err(Refusal::SipUserFirst));
    }
}

#[test]
fn trusted_partner_types_may_ask_for_presence_unasked() {
    for domain in ["fabrikam.example", "verified.example"] {
        for (direction, kind) in
            [(Direction::XmppToSip, Kind::Subscribe), (Direction::SipToXmpp, Kind::Presence)]
        {
            assert_eq!(ask(domain, &Consent::default(), direction, kind), Ok(Rule::PartnerTypeMaySee));
        }
    }
}

#[test]
fn a_sip_user_may_add_contacts_of_every_enabled_partner_and_see_them() {
    for domain in ["fabrikam.example", "verified.example", "public.example"] {
        for (direction, kind) in
            [(Direction::SipToXmpp, Kind::Subscribe), (Direction::XmppToSip, Kind::Presence)]
        {
            assert_eq!(ask(domain, &Consent::default(), direction, kind), Ok(Rule::SipUserMayAdd));
        }
    }
    assert_eq!(
        ask("off.example", &added(NOW), Direction::SipToXmpp, Kind::Subscribe),
        Err(Refusal::PartnerDisabled)
    );
}

#[test]
fn what_policy_refuses_a_sip_user_crosses_in_no_direction() {
    let deny = UserRule {
        who: vec![Who::User("alice@contoso.example".into())],
        partners: vec![],
        verdict: Verdict::Deny,
    };
    let snapshot = snapshot().with_users(UserPolicy::new(true, Verdict::Allow, vec![deny]));
    for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
        for kind in [Kind::Message, Kind::Subscribe, Kind::Presence] {
            let ask = |sip_user| {
                let question = Question {
                    sip_user,
                    contact: "bob@fabrikam.example",
                    contact_domain: "fabrikam.example",
                    direction,
                    kind,
                };
                judge(&snapshot, &question, &added(NOW), NOW).map(|permit| permit.rule())
            };
            assert_eq!(ask("alice@contoso.example"), Err(Refusal::UserDenied));
            assert!(ask("bob@contoso.example").is_ok());
        }
    }
}

#[test]
fn a_later_subscribe_renews_consent_and_keeps_its_beginning() {
    let mut consent = Consent::default();
    consent.subscribed(NOW);
    consent.subscribed(NOW + DAY);
    assert_eq!(consent.added, Some(Added { since: NOW, last_subscribe: NOW + DAY }));
    // A clock that was set back does not shorten it.
    consent.subscribed(NOW);
    assert_eq!(consent.added.map(|added| added.last_subscribe), Some(NOW + DAY));
}

#[test]
fn a_permit_names_the_generation_it_was_given_under_and_the_partner_type() {
    let question = Question {
        sip_user: "alice@contoso.example",
        contact: "bob@verified.example",
        contact_domain: "verified.example",
        direction: Direction::SipToXmpp,
        kind: Kind::Message,
    };
    let permit = judge(&snapshot(), &question, &Consent::default(), NOW).unwrap();
    assert_eq!((permit.generation(), permit.partner_type()), (7, PartnerType::PublicVerified));
}

#[test]
fn nothing_crosses_for_a_user_of_a_domain_that_is_not_served() {
    for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
        for kind in [Kind::Message, Kind::Subscribe, Kind::Presence] {
            let sip_user = "alice@former.example";
            let question = Question {
                sip_user,
                contact: "bob@fabrikam.example",
                contact_domain: "fabrikam.example",
                direction,
                kind,
            };
            assert_eq!(judge(&snapshot(), &question, &added(NOW), NOW), Err(Refusal::DomainNotServed));
        }
    }
}

#[test]
fn sec_41_a_block_wins_over_partner_type_and_consent_in_both_directions() {
    let blocked = snapshot().with_blocked(["mallory@fabrikam.example".into(), "verified.example".into()]);
    let ask = |contact: &str, direction, kind| {
        let contact_domain = contact.split_once('@').map_or(contact, |(_, domain)| domain);
        let question =
            Question { sip_user: "alice@contoso.example", contact, contact_domain, direction, kind };
        judge(&blocked, &question, &added(NOW), NOW).map(|permit| permit.rule())
    };
    for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
        for kind in [Kind::Message, Kind::Subscribe, Kind::Presence] {
            assert_eq!(ask("mallory@fabrikam.example", direction, kind), Err(Refusal::ContactBlocked));
            assert_eq!(ask("anybody@verified.example", direction, kind), Err(Refusal::DomainBlocked));
            assert!(ask("bob@fabrikam.example", direction, kind).is_ok());
        }
    }
}

/// Metrics count by this list: a rule that is not in it is never seen there.
#[test]
fn every_refusal_is_among_all() {
    const LAST: usize = 8;
    // Whoever adds one gives it the next number, and has to put it into the list.
    let number = |refusal| match refusal {
        Refusal::DomainNotServed => 0,
        Refusal::UnlistedDomain => 1,
        Refusal::PartnerDisabled => 2,
        Refusal::DomainBlocked => 3,
        Refusal::ContactBlocked => 4,
        Refusal::FederationOff => 5,
        Refusal::UserDenied => 6,
        Refusal::UserNotAllowed => 7,
        Refusal::SipUserFirst => LAST,
    };
    assert!(Refusal::ALL.into_iter().map(number).eq(0..=LAST));
}
