//! What users and contacts say about themselves, and how they ask for it.

use super::lync;
use crate::job::{Dialect, FRONT_END, SIP_DOMAIN};
use crate::template::Template;

/// The rest of a note, after the numbers.
const NOTE: &str = " In a meeting until four";

/// The part of a NOTIFY between its dialog and its end, with a document whose note bears the numbers. It begins with the
/// Via; request line, From, To, Call-ID and CSeq are the dialog's.
pub(super) fn notify(dialect: Dialect) -> Template {
    let note = format!("{{pair}}{{sequence}}{NOTE}");
    match dialect {
        Dialect::Pidf => rest(dialect, &pidf(&format!("<note>{note}</note>"))),
        Dialect::Categories => rest(dialect, &lync::categories(&note)),
    }
}

/// The same without a note, as the answer to a SUBSCRIBE.
pub(super) fn first_notify(dialect: Dialect) -> Template {
    match dialect {
        Dialect::Pidf => rest(dialect, &pidf("")),
        Dialect::Categories => rest(dialect, &lync::categories("")),
    }
}

/// What the front end says of itself when it accepts a subscription.
pub(super) fn accepting(dialect: Dialect) -> String {
    format!("Expires: 3600\r\n{}", path(dialect, &contact()))
}

/// A name that the gateway makes: the label of its node and 32 digits.
const TOKEN: usize = "n1.".len() + 32;

/// Bytes that the gateway has to keep as they came: of the dialog in which a contact watches a user, and of that in which
/// the user watches the contact. Routes, remote target, Call-ID and both tags.
pub(super) fn kept(dialect: Dialect) -> [usize; 2] {
    let routes = match dialect {
        Dialect::Pidf => 0,
        Dialect::Categories => lync::routes().iter().map(String::len).sum(),
    };
    let length = |text: &str| {
        let mut written = Vec::new();
        Template::new(text).write(&mut written, 0, 0, 0);
        written.len()
    };
    let contact_watches = length(&contact()) + TOKEN + TOKEN + SINK_TAG.len();
    let user_watches = length(&endpoint(dialect)) + length(&call_id()) + length(TAG) + TOKEN;
    [routes + contact_watches, routes + user_watches]
}

/// The tag of the front end, where the gateway subscribes.
pub(super) const SINK_TAG: &str = "sink";
/// That of the user who subscribes, and his Call-ID.
const TAG: &str = "w{pair}";

fn call_id() -> String {
    format!("{TAG}{{sequence}}@{FRONT_END}")
}

/// Where the front end itself wants requests.
fn contact() -> String {
    format!("sip:{FRONT_END}:5061;transport=tls")
}

/// Where an endpoint wants requests. `{pair}` is a hole.
fn endpoint(dialect: Dialect) -> String {
    match dialect {
        Dialect::Pidf => format!("sip:u{{pair}}@{FRONT_END}:5061;transport=tls"),
        Dialect::Categories => lync::endpoint(),
    }
}

/// The fields that make the way to a Contact.
fn path(dialect: Dialect, contact: &str) -> String {
    let routes = match dialect {
        Dialect::Pidf => String::new(),
        Dialect::Categories => lync::record_routes(),
    };
    format!("{routes}Contact: <{contact}>\r\n")
}

fn media(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Pidf => "application/pidf+xml",
        Dialect::Categories => "application/msrtc-event-categories+xml",
    }
}

fn rest(dialect: Dialect, body: &str) -> Template {
    let mut written = Vec::new();
    Template::new(body).write(&mut written, 0, 0, 0);
    let length = written.len();
    Template::new(&format!(
        "Via: SIP/2.0/TLS {FRONT_END}:5061;branch=z9hG4bK{{pair}}{{sequence}}\r\n\
         Max-Forwards: 70\r\n\
         {}Event: presence\r\n\
         Subscription-State: active;expires=3600\r\n\
         Content-Type: {}\r\n\
         Content-Length: {length}\r\n\r\n{body}",
        path(dialect, &contact()),
        media(dialect)
    ))
}

/// A document with RPID, as phones write it.
fn pidf(note: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"sip:u{{pair}}@{SIP_DOMAIN}\">\n\
         <tuple id=\"t5b3a\"><status><basic>open</basic></status>\
         <contact priority=\"0.8\">sip:u{{pair}}@{SIP_DOMAIN}</contact>{note}</tuple>\n\
         <dm:person id=\"p1\"><rpid:activities><rpid:meeting/></rpid:activities></dm:person>\n\
         </presence>\n"
    )
}

/// SUBSCRIBE of a user for a contact.
pub(super) fn subscribe(dialect: Dialect) -> Template {
    Template::new(&format!(
        "SUBSCRIBE sip:c{{pair}}@p{{partner}}.bench.example SIP/2.0\r\n\
         Via: SIP/2.0/TLS {FRONT_END}:5061;branch=z9hG4bK{{pair}}{{sequence}}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:u{{pair}}@{SIP_DOMAIN}>;tag={TAG}\r\n\
         To: <sip:c{{pair}}@p{{partner}}.bench.example>\r\n\
         Call-ID: {}\r\n\
         CSeq: 1 SUBSCRIBE\r\n\
         {}Event: presence\r\n\
         Accept: {}\r\n\
         Expires: 28800\r\n\
         Content-Length: 0\r\n\r\n",
        call_id(),
        path(dialect, &endpoint(dialect)),
        media(dialect)
    ))
}

/// A contact shows himself, with a note that bears the numbers.
pub(super) fn presence() -> Template {
    let ends = format!("from='c{{pair}}@p{{partner}}.bench.example/desk' to='u{{pair}}@{SIP_DOMAIN}'");
    Template::new(&format!(
        "<presence {ends}><show>dnd</show><status>{{pair}}{{sequence}}{NOTE}</status><priority>5</priority>\
         <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example' \
         ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>"
    ))
}

/// A contact shows himself for the first time.
pub(super) fn first_presence() -> Template {
    let ends = format!("from='c{{pair}}@p{{partner}}.bench.example/desk' to='u{{pair}}@{SIP_DOMAIN}'");
    Template::new(&format!("<presence {ends}/>"))
}

/// A contact asks for a user's presence, or agrees.
pub(super) fn subscription(kind: &str) -> Template {
    Template::new(&format!(
        "<presence from='c{{pair}}@p{{partner}}.bench.example' to='u{{pair}}@{SIP_DOMAIN}' type='{kind}'/>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_as_long_as_their_length_says_and_as_real_ones_are() {
        for (dialect, length) in [(Dialect::Pidf, 400..=600), (Dialect::Categories, 3500..=4200)] {
            for template in [notify(dialect), first_notify(dialect)] {
                let mut out = Vec::new();
                template.write(&mut out, 42, 7, 9);
                let text = String::from_utf8(out).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(
                    head.ends_with(&format!("Content-Length: {}", body.len())),
                    "{} bytes: {text}",
                    body.len()
                );
                assert!(length.contains(&body.len()), "{}", body.len());
                assert!(!text.contains(['{', '}']), "{text}");
            }
        }
    }
}
