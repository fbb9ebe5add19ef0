//! What partners of each type may do: the table of types in `docs/trust.md`, read from there and asked of the judge.

use std::path::Path;

use nuncio_translate::judge::{
    Consent, Direction, Kind, Partner, PartnerType, Question, Refusal, Rule, Snapshot, judge,
};

const HEADER: &str = "| a contact may … | `federated` | `public-verified` | `public-unverified` |";
const PARTNERS: [PartnerType; 3] =
    [PartnerType::Federated, PartnerType::PublicVerified, PartnerType::PublicUnverified];
const NOW: u64 = 1_795_184_285;
const HOUR: u64 = 3600;

/// The rows of the table: what is asked, and a cell for each type.
fn table() -> Vec<(String, [String; 3])> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trust.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows =
        text.lines().skip_while(|line| *line != HEADER).skip(2).map_while(|line| line.strip_prefix('|'));
    let row = |row: &str| {
        let cells: Vec<String> =
            row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let [what, federated, verified, unverified] = cells.try_into().expect("four cells");
        (what, [federated, verified, unverified])
    };
    rows.map(row).collect()
}

fn may(partner_type: PartnerType, (direction, kind): Crossing, consent: &Consent) -> Result<Rule, Refusal> {
    let partner = Partner { domain: "fabrikam.com".into(), partner_type, enabled: true };
    let snapshot = Snapshot::new(1, ["contoso.com".into()], [(partner, Vec::new())]);
    let question = Question {
        sip_user: "alice@contoso.com",
        contact: "bob@fabrikam.com",
        contact_domain: "fabrikam.com",
        direction,
        kind,
    };
    judge(&snapshot, &question, consent, NOW).map(|permit| permit.rule())
}

fn added() -> Consent {
    let mut consent = Consent::default();
    consent.subscribed(NOW - HOUR);
    consent
}

fn wrote(seconds_ago: u64) -> Consent {
    Consent { sip_user_wrote: Some(NOW - seconds_ago), ..Consent::default() }
}

type Crossing = (Direction, Kind);
/// A message of the contact.
const WRITES: Crossing = (Direction::XmppToSip, Kind::Message);
/// His request, and the SIP user's presence on its way to him.
const SEES: [Crossing; 2] = [(Direction::XmppToSip, Kind::Subscribe), (Direction::SipToXmpp, Kind::Presence)];

/// What the row is about, and under which consents of the SIP user the cell says yes and no.
fn says(what: &str, cell: &str) -> (Vec<Crossing>, Vec<Consent>, Vec<Consent>) {
    let nothing = Consent::default();
    match (what, cell) {
        ("write to a SIP user who has neither added him nor written to him", "yes") => {
            (vec![WRITES], vec![nothing], vec![])
        }
        ("write to a SIP user who has neither added him nor written to him", "no") => {
            (vec![WRITES], vec![added(), wrote(HOUR)], vec![nothing])
        }
        ("answer a SIP user", "yes") => (vec![WRITES], vec![wrote(HOUR), wrote(1000 * HOUR)], vec![]),
        ("answer a SIP user", limited) => {
            let hours = limited
                .strip_prefix("for ")
                .and_then(|rest| rest.split_once(" h after the SIP user's last message"));
            let hours: u64 =
                hours.and_then(|(hours, _)| hours.parse().ok()).unwrap_or_else(|| panic!("{limited}"));
            (vec![WRITES], vec![wrote(0), wrote(hours * HOUR - 1)], vec![wrote(hours * HOUR + 1)])
        }
        ("ask to see a SIP user, and see him as far as the front end agrees", "yes") => {
            (SEES.to_vec(), vec![nothing, added(), wrote(HOUR)], vec![])
        }
        (
            "ask to see a SIP user, and see him as far as the front end agrees",
            "only if the SIP user has added him",
        ) => (SEES.to_vec(), vec![added()], vec![nothing, wrote(0)]),
        other => panic!("nothing is known of {other:?}"),
    }
}

#[test]
fn the_table_of_types_is_true() {
    let table = table();
    assert_eq!(table.len(), 3, "{table:?}");
    for (what, cells) in table {
        for (partner_type, cell) in PARTNERS.into_iter().zip(&cells) {
            let (crossings, yes, no) = says(&what, cell);
            for crossing in crossings {
                for consent in &yes {
                    let answer = may(partner_type, crossing, consent);
                    assert!(answer.is_ok(), "{what}, {partner_type:?}: {cell}; {consent:?}: {answer:?}");
                }
                for consent in &no {
                    let answer = may(partner_type, crossing, consent);
                    assert_eq!(
                        answer,
                        Err(Refusal::SipUserFirst),
                        "{what}, {partner_type:?}: {cell}; {consent:?}"
                    );
                }
            }
        }
    }
}
