//! The tables of `docs/trust.md` that say what happens: each cell is read from there, and shown on the wire of both sides.
//!
//! A cell is made of clauses, with "; " between them. Each clause stands here again with what shows it, so a word that is changed
//! there and not here fails. The table of types is `translate/tests/trust_types.rs`, that of what partners see
//! `translate/tests/presence_trust.rs`.

use std::path::Path;

use nuncio_translate::judge::{Partner, PartnerType, Snapshot, UserPolicy, Verdict};
use nuncio_translate::pair::PairKey;
use nuncio_translate::trust::TrustModel;

use crate::house::{House, Plan};
use crate::presence_trust;
use crate::text::Request;
use crate::watching::*;

const EVE: &str = "eve@public.example";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What shows that a clause is true.
enum Shown {
    By(fn()),
    /// A test that needs the process and sockets: its file and its name.
    Test(&'static str, &'static str),
}
use Shown::{By, Test};

type Clause = (&'static str, Shown);

fn read(path: &str) -> String {
    let path = Path::new(ROOT).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table with that header.
fn table(header: &str) -> Vec<Vec<String>> {
    let text = read("docs/trust.md");
    let rows = text.lines().skip_while(|line| *line != header).skip(2);
    let rows: Vec<Vec<String>> = rows
        .map_while(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

/// Each row of the table is one of these, with just these clauses, and each clause is true.
fn holds(header: &str, rows: &[(&str, &[Clause])]) {
    let table = table(header);
    let named: Vec<&str> = table.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(named, rows.iter().map(|(what, _)| *what).collect::<Vec<_>>(), "the rows of {header}");
    for (row, (what, clauses)) in table.iter().zip(rows) {
        let said: Vec<&str> = row[1].split("; ").collect();
        assert_eq!(said, clauses.iter().map(|(words, _)| *words).collect::<Vec<_>>(), "{what}");
        for (words, shown) in *clauses {
            println!("{what}: {words}");
            match shown {
                By(show) => show(),
                Test(path, name) => {
                    assert!(read(path).contains(&format!("fn {name}(")), "{words}: no test {path}::{name}");
                }
            }
        }
    }
}

#[test]
fn the_table_of_what_a_rule_ends_is_true() {
    holds(
        "| what there is | what happens |",
        &[
            (
                "the contact sees the SIP user",
                &[
                    ("`unavailable` for each resource he sees, then `unsubscribed`", By(who_saw_is_told)),
                    ("the subscription at the front end ends", By(the_subscription_at_the_front_end_ends)),
                ],
            ),
            (
                "the contact waits to",
                &[
                    ("he is told nothing", By(who_waits_is_told_nothing)),
                    ("kept if adding him would help, else dropped", By(kept_if_adding_would_help)),
                ],
            ),
            (
                "the SIP user watches the contact and may not any more",
                &[
                    ("NOTIFY `terminated;reason=rejected` to each endpoint", By(each_endpoint_is_rejected)),
                    ("`unavailable` from the bare JID to the contact", By(the_contact_sees_him_go)),
                    ("what the contact agreed to is not forgotten", By(what_he_agreed_to_lasts)),
                ],
            ),
            (
                "the administrator takes consent away",
                &[
                    (
                        "as the line above, for the endpoints' next refresh would add the contact again",
                        By(removal_ends_what_endpoints_see),
                    ),
                    (
                        "where the partner type needs consent, the lines above it as well",
                        By(removal_ends_what_needed_consent),
                    ),
                    (
                        "what was let pass by that consent and still waits for a connection does not leave, and messages are \
                         answered as if refused when they came",
                        By(what_waits_does_not_leave),
                    ),
                ],
            ),
            (
                "the partner is disabled",
                &[
                    ("subscriptions at the front end and of endpoints end", By(|| both_end(disabled()))),
                    ("to the partner nothing is sent", By(|| nothing_is_sent(disabled()))),
                    (
                        "nothing is forgotten, and when he is enabled again what he saw is taken back or shown anew, without \
                         another request",
                        By(|| shown_anew(disabled())),
                    ),
                ],
            ),
            (
                "the partner's entry is gone",
                &[
                    ("subscriptions at the front end and of endpoints end", By(|| both_end(gone()))),
                    ("to the partner nothing is sent", By(|| nothing_is_sent(gone()))),
                    (
                        "everything about his users is forgotten, also that SIP users have added or written to them: when the \
                         entry comes back the domain may be somebody else's",
                        By(|| everything_is_forgotten(gone())),
                    ),
                ],
            ),
            (
                "a SIP domain is gone from `sip.domains`",
                &[
                    (
                        "everything about its users is forgotten in the same way",
                        By(|| everything_is_forgotten(not_served())),
                    ),
                    (
                        "contacts are told nothing, for there are no streams of that domain any more",
                        By(|| nothing_is_sent(not_served())),
                    ),
                ],
            ),
        ],
    );
}

#[test]
fn the_table_of_blocks_is_true() {
    let (control, at_once) = ("tests/e2e/process/control.rs", "tests/e2e/process/at_once.rs");
    holds(
        "| what is blocked | what holds from that moment on |",
        &[
            (
                "a contact",
                &[
                    (
                        "what he writes or asks is answered as if there were no such user",
                        By(a_blocked_contact_meets_nobody),
                    ),
                    (
                        "SIP users who write to him, or want to see him, get 403",
                        By(who_writes_to_him_gets_403),
                    ),
                    ("what the two saw of each other ends", By(what_the_two_saw_ends)),
                ],
            ),
            (
                "a domain",
                &[
                    (
                        "as a partner who is disabled",
                        By(|| {
                            [both_end, nothing_is_sent, shown_anew]
                                .into_iter()
                                .for_each(|show| show(blocked()))
                        }),
                    ),
                    (
                        "its streams end, and none comes about",
                        Test(
                            control,
                            "sec_41_a_blocked_contact_is_nobody_and_a_blocked_domain_has_no_streams",
                        ),
                    ),
                ],
            ),
            (
                "an address or a network",
                &[
                    (
                        "nobody there may connect, by either protocol",
                        Test(control, "sec_41_a_blocked_address_cannot_connect"),
                    ),
                    (
                        "nobody there is called",
                        Test(at_once, "sec_41_a_front_end_at_a_blocked_address_is_not_called"),
                    ),
                    (
                        "streams and connections with it end",
                        Test(
                            at_once,
                            "sec_41_a_block_of_an_address_ends_our_streams_to_it_and_nobody_is_called_there",
                        ),
                    ),
                    (
                        "`nuncio block add` refuses one that keeps out a front end of our own",
                        Test(
                            at_once,
                            "sec_41_our_own_front_end_is_not_blocked_by_mistake_and_by_intention_at_once",
                        ),
                    ),
                ],
            ),
        ],
    );
}

/// What the program does about it. The first two rows say where it stands, which is for people to arrange.
#[test]
fn the_table_of_edge_and_server_is_true() {
    let rows = table("| | `trust = \"edge\"` | `trust = \"server\"` |");
    let cells: Vec<[&str; 3]> = rows.iter().map(|row| [&*row[0], &*row[1], &*row[2]]).collect();
    assert_eq!(cells.len(), 5, "{cells:?}");
    assert_eq!([cells[0][0], cells[1][0]], ["what the gateway is", "what the administrator sets up there"]);
    let field = "ms-edge-proxy-message-trust";
    assert_eq!(
        cells[2],
        [
            "who says how far a contact is trusted",
            "the edge, by that entry",
            &format!("the gateway, by the partner's type and how his streams were proved (`{field}`)"),
        ]
    );
    assert_eq!(cells[3][0], "how refusals explain themselves");
    assert_eq!(cells[4][0], "a request whose sender the edge has not verified");
    for (column, trust) in [(1, TrustModel::Edge), (2, TrustModel::Server)] {
        let mut house = planned(Plan { trust, ..Plan::default() });
        let wire = house.front_end();
        house.partner_says(
            PARTNER,
            &format!("<message from='{BOB}/x' to='{ALICE}' id='m'><body>hi</body></message>"),
        );
        assert_eq!(
            house.request().header(field).is_some(),
            trust == TrustModel::Server,
            "{}",
            cells[2][column]
        );
        let refused = house.ask(wire, Request::message("bob@stranger.example", "hi").bytes());
        let says = ["ms-diagnostics", "ms-diagnostics-public"]
            .map(|name| refused.header(name).is_some().then_some(name));
        let says: Vec<String> = says.into_iter().flatten().map(|name| format!("`{name}`")).collect();
        assert_eq!(says, [cells[3][column]], "{refused}");
        let unverified = format!("{field}: ms-source-type=EdgeServer;ms-source-verified-user=unverified");
        let answer = house.ask(wire, Request::message(BOB, "hi").with(unverified).bytes());
        assert_eq!(
            answer.status().map(|status| status.to_string()).as_deref(),
            Some(cells[4][column]),
            "{answer}"
        );
    }
}

// The rules, and how they change.

fn policy(generation: u64, served: bool, partners: &[(&str, PartnerType, bool)]) -> Snapshot {
    let partners = partners.iter().map(|&(domain, partner_type, enabled)| {
        (Partner { domain: domain.into(), partner_type, enabled }, Vec::new())
    });
    Snapshot::new(generation, served.then(|| "contoso.com".into()), partners)
}

fn all(generation: u64) -> Snapshot {
    let partners =
        [(PARTNER, PartnerType::Federated, true), ("public.example", PartnerType::PublicUnverified, true)];
    policy(generation, true, &partners)
}

fn denied() -> Snapshot {
    all(2).with_users(UserPolicy::new(false, Verdict::Allow, Vec::new()))
}

fn of_another_type() -> Snapshot {
    policy(2, true, &[(PARTNER, PartnerType::PublicUnverified, true)])
}

fn disabled() -> Snapshot {
    policy(2, true, &[(PARTNER, PartnerType::Federated, false)])
}

fn blocked() -> Snapshot {
    all(2).with_blocked([PARTNER.into()])
}

fn gone() -> Snapshot {
    policy(2, true, &[])
}

fn not_served() -> Snapshot {
    policy(2, false, &[(PARTNER, PartnerType::Federated, true)])
}

fn obey(house: &mut House, snapshot: Snapshot) {
    house.gateway.set_policy(snapshot);
    house.run();
}

fn remove_consent(house: &mut House, contact: &str) {
    house.gateway.remove_consent(&PairKey::new(ALICE, contact), house.now);
    house.run();
}

// What there is between the two.

fn two_devices() -> String {
    pidf(&[("desk", true, "", ""), ("phone", true, "", "")])
}

/// A contact sees alice at two devices.
fn sees(contact: &str) -> (House, usize, Dialog) {
    let mut house = house();
    let (_, remote) = contact.split_once('@').unwrap();
    if contact == EVE {
        house.user_asks(contact);
        house.requests();
        house.told(remote);
    }
    let (wire, mut dialog) = house.contact_asks(contact);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &two_devices())), 200);
    assert_eq!(house.told(remote).len(), 3);
    (house, wire, dialog)
}

/// A contact waits to see alice.
fn waits() -> (House, usize, Dialog) {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    assert_eq!(house.status(wire, &dialog.notify("pending;expires=3600", "")), 200);
    (house, wire, dialog)
}

/// Two endpoints of alice's see bob.
fn watched() -> House {
    let mut house = house();
    let (wire, _) = house.user_sees(BOB);
    let another = Request::new("SUBSCRIBE", BOB)
        .with("Event: presence")
        .with(format!("Accept: {PIDF}"))
        .with("Contact: <sip:alice@pc2.contoso.com:5061;transport=tls>")
        .with("Expires: 3600");
    assert_eq!(house.status(wire, &another), 200);
    house.requests();
    house.told(PARTNER);
    house
}

/// Alice and bob see each other.
fn both() -> (House, usize, Dialog) {
    let mut house = watched();
    let (wire, mut dialog) = house.contact_asks(BOB);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &two_devices())), 200);
    assert_eq!(house.told(PARTNER), ["subscribed", "available desk", "available phone"]);
    (house, wire, dialog)
}

/// Requests that end subscriptions: how many of ours at the front end, and how many of endpoints.
fn ends(house: &mut House) -> (usize, usize) {
    let requests = house.requests();
    let ours = requests.iter().filter(|request| request.header("Expires") == Some("0")).count();
    let rejected = |state: Option<&str>| state == Some("terminated;reason=rejected");
    (ours, requests.iter().filter(|request| rejected(request.header("Subscription-State"))).count())
}

// What shows the clauses.

fn who_saw_is_told() {
    for snapshot in [denied(), of_another_type()] {
        let (mut house, ..) = sees(BOB);
        obey(&mut house, snapshot);
        assert_eq!(house.told(PARTNER), ["unavailable desk", "unavailable phone", "unsubscribed"]);
    }
    // Consent has lapsed.
    let (mut house, ..) = sees(EVE);
    obey(&mut house, all(2).with_consent_lifetime(SECOND / 2));
    house.advance(SECOND);
    let [desk, phone] = ["desk", "phone"].map(|device| format!("unavailable {}", veiled(EVE, device)));
    let mut told = house.told("public.example");
    assert_eq!(told.pop().as_deref(), Some("unsubscribed"), "{told:?}");
    assert!(told.len() == 2 && told.contains(&desk) && told.contains(&phone), "{told:?}");
}

fn the_subscription_at_the_front_end_ends() {
    for snapshot in [denied(), of_another_type()] {
        let (mut house, ..) = sees(BOB);
        obey(&mut house, snapshot);
        assert_eq!(ends(&mut house), (1, 0));
    }
}

fn who_waits_is_told_nothing() {
    for snapshot in [denied(), of_another_type()] {
        let (mut house, ..) = waits();
        obey(&mut house, snapshot);
        house.advance(HOUR);
        assert_eq!(house.told(PARTNER), [""; 0]);
        assert_eq!(ends(&mut house), (1, 0));
    }
}

fn kept_if_adding_would_help() {
    for (snapshot, kept) in [(denied(), false), (of_another_type(), true)] {
        let (mut house, wire, mut dialog) = waits();
        obey(&mut house, snapshot);
        house.requests();
        house.status(wire, &dialog.notify("terminated;reason=timeout", ""));
        if !kept {
            obey(&mut house, all(3));
        }
        house.user_asks(BOB);
        let asked = house.requests().iter().filter(|request| request.method() == Some("SUBSCRIBE")).count();
        assert_eq!(asked, usize::from(kept));
    }
}

fn each_endpoint_is_rejected() {
    let mut house = watched();
    obey(&mut house, denied());
    assert_eq!(house.states(), ["terminated;reason=rejected"; 2]);
}

fn the_contact_sees_him_go() {
    let mut house = watched();
    obey(&mut house, denied());
    assert_eq!(house.told(PARTNER), ["unavailable"]);
}

fn what_he_agreed_to_lasts() {
    let mut house = watched();
    obey(&mut house, denied());
    house.told(PARTNER);
    obey(&mut house, all(3));
    house.user_asks(BOB);
    assert_eq!(house.told(PARTNER), ["probe"], "he is not asked again");
}

fn removal_ends_what_endpoints_see() {
    let (mut house, ..) = both();
    remove_consent(&mut house, BOB);
    assert_eq!(ends(&mut house), (0, 2), "the contact of a federated partner goes on seeing the user");
    assert_eq!(house.told(PARTNER), [""; 0]);
    let mut house = watched();
    remove_consent(&mut house, BOB);
    assert_eq!(house.told(PARTNER), ["unavailable"]);
    house.requests();
    house.user_asks(BOB);
    assert_eq!(house.told(PARTNER), ["probe"], "what the contact agreed to is not forgotten");
}

fn removal_ends_what_needed_consent() {
    let (mut house, ..) = sees(EVE);
    remove_consent(&mut house, EVE);
    assert_eq!(ends(&mut house), (1, 1));
    let told = house.told("public.example");
    let taken_back = told.iter().filter(|told| told.starts_with("unavailable ")).count();
    assert!(taken_back == 2 && told.contains(&"unsubscribed".to_owned()), "{told:?}");
}

fn what_waits_does_not_leave() {
    presence_trust::trust_what_waits_for_the_front_end_does_not_leave_without_the_consent_it_was_judged_by();
    presence_trust::trust_presence_that_waits_for_the_stream_does_not_leave_without_consent();
}

fn both_end(snapshot: Snapshot) {
    let (mut house, ..) = both();
    obey(&mut house, snapshot);
    assert_eq!(ends(&mut house), (1, 2));
}

fn nothing_is_sent(snapshot: Snapshot) {
    let (mut house, ..) = both();
    obey(&mut house, snapshot);
    house.advance(HOUR);
    assert_eq!(house.told(PARTNER), [""; 0]);
}

fn shown_anew(snapshot: Snapshot) {
    let (mut house, wire, mut dialog) = both();
    obey(&mut house, snapshot);
    house.requests();
    house.status(wire, &dialog.notify("terminated;reason=timeout", ""));
    house.advance(HOUR);
    house.requests();
    obey(&mut house, all(3));
    let mut dialog = Dialog::of(&house.request());
    house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, &show("dnd"), "")])));
    let told = house.told(PARTNER);
    assert!(
        ["available desk dnd", "unavailable phone"].iter().all(|word| told.iter().any(|told| told == word)),
        "{told:?}"
    );
    assert!(!told.iter().any(|told| told.ends_with("subscribed")), "{told:?}");
    house.user_asks(BOB);
    assert_eq!(house.told(PARTNER), ["probe"], "he is not asked again");
}

fn everything_is_forgotten(snapshot: Snapshot) {
    let (mut house, ..) = both();
    let wire = house.front_end();
    house.ask(wire, Request::message(BOB, "hi").bytes());
    obey(&mut house, snapshot);
    house.advance(HOUR);
    house.stanzas(PARTNER);
    house.requests();
    // The entry comes back as one whose contacts have to be added, or answered.
    obey(&mut house, of_another_type().with_generation(3));
    house.partner_says(
        PARTNER,
        &format!("<message from='{BOB}/x' to='{ALICE}' id='m'><body>hi</body></message>"),
    );
    house.partner_says(PARTNER, &stanza(&format!("{BOB}/x"), "type='probe' id='p'", ""));
    house.advance(2 * SECOND);
    assert_eq!(house.requests().len(), 0, "nothing crosses");
    let answers = house.stanzas(PARTNER);
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(answer.condition().unwrap(), "service-unavailable");
    house.user_asks(BOB);
    assert_eq!(house.told(PARTNER), ["subscribe"], "he has to agree anew");
}

fn block_bob() -> Snapshot {
    all(2).with_blocked([BOB.into()])
}

fn a_blocked_contact_meets_nobody() {
    let mut house = house();
    obey(&mut house, block_bob());
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    house.partner_says(PARTNER, &stanza(&format!("{BOB}/x"), "type='probe' id='p'", ""));
    house.partner_says(
        PARTNER,
        &format!("<message from='{BOB}/x' to='{ALICE}' id='m'><body>hi</body></message>"),
    );
    house.advance(2 * SECOND);
    assert_eq!(house.requests().len(), 0, "nothing crosses");
    let answers = house.stanzas(PARTNER);
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((&*answer.name, answer.condition().unwrap()), ("message", "service-unavailable"));
}

fn who_writes_to_him_gets_403() {
    let mut house = house();
    obey(&mut house, block_bob());
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message(BOB, "hi").bytes()).status(), Some(403));
    assert_eq!(house.status(wire, &subscribe(BOB, 3600)), 403);
    assert_eq!(house.told(PARTNER), [""; 0]);
}

fn what_the_two_saw_ends() {
    let (mut house, ..) = both();
    obey(&mut house, block_bob());
    assert_eq!(ends(&mut house), (1, 2));
    let told = house.told(PARTNER);
    assert_eq!(told[..3], ["unavailable desk", "unavailable phone", "unsubscribed"], "{told:?}");
}
