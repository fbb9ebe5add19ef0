//! The messages: written once, then copied with their numbers patched in.

use crate::job::{FRONT_END, GATEWAY, SIP_DOMAIN, Set};
use crate::tally::{ID_DIGITS, PAIR_DIGITS, SEQUENCE_DIGITS};

const PARTNER_DIGITS: usize = 4;

/// A message with holes for its numbers.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    holes: Vec<(usize, Hole)>,
}

#[derive(Clone, Copy, Debug)]
enum Hole {
    Pair,
    Partner,
    Sequence,
}

impl Template {
    /// Text in which `{pair}`, `{partner}` and `{sequence}` stand for numbers.
    pub(crate) fn new(text: &str) -> Self {
        let (mut bytes, mut holes) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            bytes.extend_from_slice(before.as_bytes());
            let (name, after) = after.split_once('}').unwrap_or_default();
            let (hole, digits) = match name {
                "pair" => (Hole::Pair, PAIR_DIGITS),
                "partner" => (Hole::Partner, PARTNER_DIGITS),
                _ => (Hole::Sequence, SEQUENCE_DIGITS),
            };
            holes.push((bytes.len(), hole));
            bytes.resize(bytes.len() + digits, b'0');
            rest = after;
        }
        bytes.extend_from_slice(rest.as_bytes());
        Self { bytes, holes }
    }

    /// Appends a message.
    pub(crate) fn write(&self, out: &mut Vec<u8>, pair: u32, partner: u32, sequence: u32) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for &(at, hole) in &self.holes {
            let (number, digits) = match hole {
                Hole::Pair => (pair, PAIR_DIGITS),
                Hole::Partner => (partner, PARTNER_DIGITS),
                Hole::Sequence => (sequence, SEQUENCE_DIGITS),
            };
            let mut number = number;
            for place in out[start + at..start + at + digits].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }
}

/// MESSAGE from a user to a contact.
pub(crate) fn request(set: Set) -> Template {
    let text = text(set);
    let length = ID_DIGITS + text.len();
    let contact = "c{pair}@p{partner}.bench.example";
    let user = format!("u{{pair}}@{SIP_DOMAIN}");
    Template::new(&match set {
        Set::Small | Set::Session => format!(
            "MESSAGE sip:{contact} SIP/2.0\r\n\
             Via: SIP/2.0/TLS {FRONT_END}:5061;branch=z9hG4bK{{pair}}{{sequence}}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{user}>;tag=49583\r\n\
             To: <sip:{contact}>\r\n\
             Call-ID: {{pair}}{{sequence}}@{FRONT_END}\r\n\
             CSeq: 1 MESSAGE\r\n\
             {}",
            text_plain()
        ),
        Set::Lync => {
            // Long opaque values, as signatures and routes are.
            let opaque = |seed: u32, length: usize| -> String {
                const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
                let mut state = seed;
                let mut digit = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    char::from(DIGITS[(state >> 16) as usize % DIGITS.len()])
                };
                (0..length).map(|_| digit()).collect()
            };
            format!(
                "MESSAGE sip:{contact} SIP/2.0\r\n\
                 Via: SIP/2.0/TLS 10.1.2.3:5061;branch=z9hG4bK{{pair}}{{sequence}};branched=TRUE;ms-internal-info=\"{}\"\r\n\
                 Via: SIP/2.0/TLS 10.1.2.10:49672;branch=z9hG4bK{};ms-received-port=49672;ms-received-cid=2A00\r\n\
                 Via: SIP/2.0/TLS 192.168.40.17:50112;received=203.0.113.17;ms-received-port=50112;ms-received-cid=31B900\r\n\
                 Record-Route: <sip:{FRONT_END}:5061;transport=tls;opaque=state:F:T:F:{};lr>;tag={}\r\n\
                 Record-Route: <sip:edge.{SIP_DOMAIN}:5061;transport=tls;ms-fe={FRONT_END};opaque=state:F:{};lr>\r\n\
                 Authentication-Info: TLS-DSK qop=\"auth\", opaque=\"{}\", srand=\"{}\", snum=\"214\", rspauth=\"{}\", \
                 targetname=\"{FRONT_END}\", realm=\"SIP Communications Service\", version=4\r\n\
                 Max-Forwards: 67\r\n\
                 From: \"User {{pair}} of Contoso\"<sip:{user}>;tag={};epid={}\r\n\
                 To: <sip:{contact}>\r\n\
                 Call-ID: {{pair}}{{sequence}}{}\r\n\
                 CSeq: 1 MESSAGE\r\n\
                 Contact: <sip:{user};opaque=user:epid:{};gruu>;+sip.instance=\"<urn:uuid:{}>\"\r\n\
                 P-Asserted-Identity: \"User {{pair}} of Contoso\"<sip:{user}>,<tel:+49301234{{pair}}>\r\n\
                 User-Agent: UCCAPI/15.0.5485.1000 OC/15.0.5485.1000 (Microsoft Lync)\r\n\
                 Supported: ms-dialog-route-set-update, ms-delayed-accept, timer, histinfo, ms-safe-transfer, ms-sender\r\n\
                 ms-client-diagnostics: 52092;reason=\"Instant message sent\";Component=\"RTCC\"\r\n\
                 Ms-Conversation-ID: {}==\r\n\
                 ms-user-logon-data: RemoteUser\r\n\
                 ms-edge-proxy-message-trust: ms-source-type=InternetUser;ms-ep-fqdn=edge.{SIP_DOMAIN};ms-source-verified-user=verified;\
                 ms-source-network=federation\r\n\
                 ms-asserted-verification-level: ms-source-verified-user=verified\r\n\
                 ms-routing-phase: from-uri-routing-done\r\n\
                 ms-telemetry-id: {}\r\n\
                 History-Info: <sip:{contact}>;index=1;ms-retarget-reason=none,<sip:{contact};opaque={}>;index=1.1\r\n\
                 P-Session-Data: {}\r\n\
                 Content-Type: text/plain; charset=UTF-8; msgr={}\r\n\
                 Content-Length: {length}\r\n\r\n\
                 {{pair}}{{sequence}}{text}",
                opaque(1, 96),
                opaque(2, 48),
                opaque(3, 120),
                opaque(4, 32),
                opaque(5, 120),
                opaque(6, 8),
                opaque(7, 8),
                opaque(8, 88),
                opaque(9, 10),
                opaque(10, 10),
                opaque(11, 19),
                opaque(12, 24),
                opaque(13, 36),
                opaque(14, 30),
                opaque(15, 36),
                opaque(16, 96),
                opaque(17, 320),
                opaque(18, 160),
            )
        }
    })
}

/// The last header fields and the body of a small message.
pub(crate) fn text_plain() -> String {
    let text = text(Set::Session);
    let length = ID_DIGITS + text.len();
    format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{{pair}}{{sequence}}{text}")
}

/// `<message/>` from a contact to a user.
pub(crate) fn stanza(set: Set) -> Template {
    let text = text(set);
    let ends = format!("from='c{{pair}}@p{{partner}}.bench.example/desk' to='u{{pair}}@{SIP_DOMAIN}'");
    Template::new(&match set {
        Set::Small | Set::Session => {
            format!(
                "<message {ends} id='{{pair}}{{sequence}}' type='chat'><body>{{pair}}{{sequence}}{text}</body></message>"
            )
        }
        // What clients add today: the text once more as XHTML, states, receipts, ids.
        Set::Lync => format!(
            "<message {ends} id='{{pair}}{{sequence}}' type='chat' xml:lang='en'>\
             <body>{{pair}}{{sequence}}{text}</body><thread>0a1b2c3d4e5f60718293a4b5c6d7e8f9</thread>\
             <html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>\
             <p style='font-family: sans-serif; color: black'>{{pair}}{{sequence}}{text}</p></body></html>\
             <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
             <markable xmlns='urn:xmpp:chat-markers:0'/><origin-id xmlns='urn:xmpp:sid:0' id='{{pair}}{{sequence}}'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' id='5f3dbc5e-e1d3-4077-a492-693f3769c7ad' by='c{{pair}}@p{{partner}}.bench.example'/>\
             </message>"
        ),
    })
}

/// The 200 that the relay gives to every request: as long as a gateway's.
pub(crate) fn constant_answer() -> Vec<u8> {
    let mut out = Vec::new();
    Template::new(&format!(
        "SIP/2.0 200 OK\r\n\
         Via: SIP/2.0/TLS {FRONT_END}:5061;branch=z9hG4bK{{pair}}{{sequence}};received=127.0.0.1;rport=40000\r\n\
         From: <sip:u{{pair}}@{SIP_DOMAIN}>;tag=49583\r\n\
         To: <sip:c{{pair}}@p{{partner}}.bench.example>;tag=n1.00000000000000000000000000000000\r\n\
         Call-ID: {{pair}}{{sequence}}@{FRONT_END}\r\n\
         CSeq: 1 MESSAGE\r\n\
         Content-Length: 0\r\n\r\n"
    ))
    .write(&mut out, 0, 0, 0);
    out
}

/// The stanza that the relay makes of every request: as long as a gateway's.
pub(crate) fn constant_stanza(set: Set) -> Vec<u8> {
    let mut out = Vec::new();
    Template::new(&format!(
        "<message from='u{{pair}}@{SIP_DOMAIN}' to='c{{pair}}@p{{partner}}.bench.example' id='n1.m.{{pair}}{{sequence}}0000000000000000'>\
         <body>{{pair}}{{sequence}}{}</body><thread>{{pair}}{{sequence}}</thread></message>",
        text(set)
    ))
    .write(&mut out, 0, 0, 0);
    out
}

/// The text after the numbers.
fn text(set: Set) -> String {
    let words = " Watson, come here.";
    match set {
        Set::Small | Set::Session => words.to_owned(),
        Set::Lync => words.repeat(700_usize.div_ceil(words.len())).chars().take(700 - ID_DIGITS).collect(),
    }
}

/// The domain that this gateway's certificate for SIP is for.
pub(crate) fn gateway_names() -> Vec<String> {
    vec![GATEWAY.to_owned(), SIP_DOMAIN.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_patched_in_and_the_length_is_right() {
        for set in [Set::Small, Set::Lync] {
            let mut out = Vec::new();
            request(set).write(&mut out, 42, 7, 9);
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("MESSAGE sip:c000042@p0007.bench.example SIP/2.0\r\n"), "{text}");
            assert!(head.contains("branch=z9hG4bK00004200000009"), "{text}");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
            assert!(body.starts_with("00004200000009 Watson"), "{text}");
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn the_sets_have_the_sizes_that_the_table_claims() {
        let mut out = Vec::new();
        request(Set::Lync).write(&mut out, 0, 0, 0);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.len(), 700);
        assert!((2900..3300).contains(&head.len()), "{}", head.len());
        assert!(request(Set::Small).bytes.len() < 450);
    }
}
