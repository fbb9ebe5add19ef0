//! The same in the form of Lync: a document of 4 KB in categories, a GRUU for a Contact, signed routes.

use crate::job::{FRONT_END, SIP_DOMAIN};

/// What the routes of a pool are signed with.
const SIGNATURE: &str = "hcG4f-0rUq3pWZk7o9m2YxS1vT8LbNeJdKaQiXcE";
const KEY: &str = "hc1AAEAAavYq2eNpZ7QdAE6c0cB8r1kUuWmXo3TgHs5jLfVyPbRnDiK4Ot9SxMzJwCFqEh==";

/// The routes that a pool puts in front of its users: the values of two Record-Route fields.
pub(super) fn routes() -> [String; 2] {
    [
        format!(
            "<sip:{FRONT_END}:5061;transport=tls;ms-fe=fe01.{SIP_DOMAIN};opaque=state:F:Ci.R7a2b900;lr;\
             ms-route-sig={SIGNATURE}>;ms-rrsig={SIGNATURE};tag=5C0D7E3F91AB24680BDF1357ACE02468"
        ),
        format!(
            "<sip:pool.{SIP_DOMAIN}:5061;transport=tls;opaque=state:T:F;lr;ms-key-info={KEY};ms-role-rs-from;\
             ms-role-rs-to;ms-ent-dest>"
        ),
    ]
}

/// The fields of [`routes`].
pub(super) fn record_routes() -> String {
    routes().map(|route| format!("Record-Route: {route}\r\n")).concat()
}

/// The address of a user's endpoint. `{pair}` is a hole.
pub(super) fn endpoint() -> String {
    format!("sip:u{{pair}}@{SIP_DOMAIN};opaque=user:epid:p7KdQ2mYv1yBz0aWtXcJfgAA;gruu")
}

/// State, note, services, card and calendar of a user, as they come when a subscription begins, with that personal note.
pub(super) fn categories(note: &str) -> String {
    const SIP: &str = "http://schemas.microsoft.com/2006/09/sip";
    let category = |name: &str, inside: &str| {
        format!(
            "<category name=\"{name}\" instance=\"0\" publishTime=\"2026-11-20T13:00:00.117\" container=\"100\" \
             version=\"7\">{inside}</category>\r\n"
        )
    };
    let ability = |name: &str| {
        format!(
            "<{name} render=\"true\" capture=\"true\" deviceAvailability=\"3500\" preferredDevice=\"false\"/>"
        )
    };
    let abilities =
        ["text", "gifInk", "isfInk", "applicationSharing", "voice", "video"].map(ability).concat();
    [
        format!("<categories xmlns=\"{SIP}/categories\" uri=\"sip:u{{pair}}@{SIP_DOMAIN}\">"),
        category(
            "state",
            &format!(
                "<state xsi:type=\"aggregateState\" lastActive=\"2026-11-20T12:58:41\" \
                 xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns=\"{SIP}/state\">\
                 <availability>3500</availability>\
                 <meetingSubject>Budget</meetingSubject><device>computer</device></state>"
            ),
        ),
        category(
            "note",
            &format!("<note xmlns=\"{SIP}/note\"><body type=\"personal\" uri=\"\">{note}</body></note>"),
        ),
        category(
            "services",
            &format!(
                "<services xmlns=\"{SIP}/service\"><service uri=\"sip:u{{pair}}@{SIP_DOMAIN}\">\
                 <capabilities>{abilities}</capabilities></service></services>"
            ),
        ),
        category(
            "contactCard",
            &format!(
                "<contactCard xmlns=\"{SIP}/contactcard\"><identity><name><displayName>User {{pair}} of Contoso\
                 </displayName></name><email>u{{pair}}@{SIP_DOMAIN}</email></identity><company>Contoso</company>\
                 </contactCard>"
            ),
        ),
        category(
            "calendarData",
            &format!(
                "<calendarData xmlns=\"{SIP}/calendarData\" mailboxID=\"u{{pair}}@{SIP_DOMAIN}\"><freeBusy \
                 startTime=\"2026-11-20T00:00:00Z\" granularity=\"PT15M\" encodingVersion=\"1\">{}</freeBusy>\
                 </calendarData>",
                "AAAAqqqq".repeat(170)
            ),
        ),
        "</categories>".to_owned(),
    ]
    .concat()
}
