//! What contacts' clients send beside text, or instead of it: corrections, hints, delays, secrets, invitations.

use nuncio_translate::message::Formats;

use crate::house::{House, Plan};

const ALICE: &str = "alice@contoso.com";

fn bob_writes(house: &mut House, id: &str, children: &str) {
    let message = format!(
        "<message from='bob@fabrikam.com/home' to='{ALICE}' id='{id}' type='chat'>{children}</message>"
    );
    house.partner_says("fabrikam.com", &message);
}

/// The bodies that reached Alice.
fn bodies(house: &mut House) -> Vec<String> {
    house.requests().into_iter().map(|request| request.body).collect()
}

#[test]
fn im_44_a_correction_is_new_text_that_says_what_it_is() {
    let mut house = House::new();
    bob_writes(&mut house, "b1", "<body>at noon</body>");
    bob_writes(&mut house, "b2", "<body>at one</body><replace id='b1' xmlns='urn:xmpp:message-correct:0'/>");
    bob_writes(&mut house, "b3", "<body>fine?</body><replace xmlns='urn:xmpp:message-correct:0'/>");
    assert_eq!(bodies(&mut house), ["at noon", "[Correction] at one", "fine?"]);
}

#[test]
fn im_46_what_is_not_to_be_stored_is_delivered_like_all_else() {
    let mut house = House::new();
    bob_writes(
        &mut house,
        "b1",
        "<body>one</body><no-store xmlns='urn:xmpp:hints'/><no-permanent-store xmlns='urn:xmpp:hints'/>",
    );
    let request = house.requests().remove(0);
    assert_eq!(request.body, "one");
    assert!(!request.raw.contains("store"), "{request}");
}

#[test]
fn im_47_what_a_partner_says_of_delays_changes_no_order() {
    let mut house = House::new();
    let delay = |stamp| format!("<delay xmlns='urn:xmpp:delay' from='fabrikam.com' stamp='{stamp}'/>");
    bob_writes(&mut house, "b1", &format!("<body>one</body>{}", delay("2099-01-01T00:00:00Z")));
    bob_writes(&mut house, "b2", "<body>two</body>");
    bob_writes(&mut house, "b3", &format!("<body>three</body>{}", delay("1999-01-01T00:00:00Z")));
    assert_eq!(bodies(&mut house), ["one", "two", "three"]);
}

const SECRET: &str =
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header/><payload>AAAA</payload></encrypted>";

#[test]
fn im_48_a_secret_crosses_as_the_words_beside_it_or_goes_back_as_policy_wants() {
    for refuse_encrypted in [false, true] {
        let formats = Formats { refuse_encrypted, ..Formats::default() };
        let mut house = House::planned(Plan { formats, ..Plan::default() });
        bob_writes(&mut house, "b1", &format!("<body>I sent you an encrypted message.</body>{SECRET}"));
        let delivered = bodies(&mut house);
        assert_eq!(delivered.is_empty(), refuse_encrypted, "{delivered:?}");
        let answers = house.stanzas("fabrikam.com");
        let refused = answers
            .iter()
            .any(|answer| answer.child("error").is_some_and(|error| error.child("not-acceptable").is_some()));
        assert_eq!(refused, refuse_encrypted, "{answers:?}");
    }
}

#[test]
fn im_48_a_secret_without_words_is_never_lost_in_silence() {
    let mut house = House::new();
    bob_writes(&mut house, "b1", SECRET);
    assert_eq!(bodies(&mut house), [""; 0]);
    let answer = house.stanzas("fabrikam.com").remove(0);
    assert_eq!((answer.attribute("id"), answer.attribute("type")), (Some("b1"), Some("error")));
    assert!(answer.child("error").is_some_and(|error| error.child("not-acceptable").is_some()), "{answer}");
}

#[test]
fn gc_04_an_invitation_into_a_room_is_words_or_nothing_and_nobody_joins() {
    let mut house = House::new();
    let invitation = "<x xmlns='jabber:x:conference' jid='hall@rooms.fabrikam.com'/>";
    bob_writes(&mut house, "b1", invitation);
    bob_writes(&mut house, "b2", &format!("<body>Come to the hall</body>{invitation}"));
    assert_eq!(bodies(&mut house), ["Come to the hall"]);
    assert!(house.stanzas("fabrikam.com").is_empty());
}
