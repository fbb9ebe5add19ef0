//! Sessions of messages that the front end opens before anything is measured, and ends afterwards (RFC 7573; dialogs: RFC
//! 3261 §12).

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BytesMut};
use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::front_end::{self, Answer};
use crate::job::{FRONT_END, SIP_DOMAIN};
use crate::template::{self, Template};

/// Requests that are on their way at a time.
const WINDOW: usize = 32;
const READ: usize = 64 * 1024;
/// The number of a BYE, which no message has.
const LAST: u32 = 99_999_999;

/// What is said inside of a session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) message: Template,
    ack: Template,
    bye: Template,
}

impl Session {
    /// As the answer to the INVITE says: the remote target, and who is there.
    fn accepted(head: &[u8]) -> Result<Self> {
        let text = |name| -> Result<String> {
            // Template texts have holes in braces.
            let value = String::from_utf8(front_end::field(head, name)?.to_vec())?;
            ensure!(!value.contains(['{', '}']), "braces in {name}: {value}");
            Ok(value)
        };
        let (to, contact) = (text("To")?, text("Contact")?);
        let target = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let (target, _) = target.with_context(|| format!("no target: {contact}"))?;
        let request = |method: &str, branch: &str, number: &str, rest: &str| {
            Template::new(&format!(
                "{method} {target} SIP/2.0\r\n\
                 Via: SIP/2.0/TLS {FRONT_END}:5061;branch=z9hG4bK{branch}\r\n\
                 Max-Forwards: 70\r\n\
                 From: <sip:u{{pair}}@{SIP_DOMAIN}>;tag=49583\r\n\
                 To: {to}\r\n\
                 Call-ID: {{pair}}@{FRONT_END}\r\n\
                 CSeq: {number} {method}\r\n\
                 {rest}"
            ))
        };
        let nothing = "Content-Length: 0\r\n\r\n";
        Ok(Self {
            // Numbers rise, and are those of no other request.
            message: request("MESSAGE", "{pair}{sequence}", "1{sequence}", &template::text_plain()),
            ack: request("ACK", "ack{pair}", "1", nothing),
            bye: request("BYE", "{pair}{sequence}", "200000000", nothing),
        })
    }
}

/// The INVITE of a pair.
fn invite() -> Template {
    const DESCRIPTION: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.10\r\ns=session\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
                               m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
    Template::new(&format!(
        "INVITE sip:c{{pair}}@p{{partner}}.bench.example SIP/2.0\r\n\
         Via: SIP/2.0/TLS {FRONT_END}:5061;branch=z9hG4bK{{pair}}{{sequence}}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:u{{pair}}@{SIP_DOMAIN}>;tag=49583\r\n\
         To: <sip:c{{pair}}@p{{partner}}.bench.example>\r\n\
         Call-ID: {{pair}}@{FRONT_END}\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:{FRONT_END}:5061;transport=tls>\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{DESCRIPTION}",
        DESCRIPTION.len()
    ))
}

/// A connection on which requests are made.
pub(crate) struct Wire<'a> {
    pub(crate) stream: &'a mut TlsStream<TcpStream>,
    pub(crate) input: &'a mut BytesMut,
    /// Partner domains that the pairs are spread over.
    pub(crate) partners: u32,
}

impl Wire<'_> {
    /// Opens a session for each of these pairs; `sessions` is by pair.
    pub(crate) async fn open(&mut self, pairs: &[u32], sessions: &mut [Option<Session>]) -> Result<()> {
        let invite = invite();
        for pairs in pairs.chunks(WINDOW) {
            let mut out = Vec::new();
            for &pair in pairs {
                invite.write(&mut out, pair, pair % self.partners, 0);
            }
            let mut acks = Vec::new();
            let partners = self.partners;
            self.exchange(&out, pairs.len(), |pair, head| {
                let session = Session::accepted(head)?;
                session.ack.write(&mut acks, pair, pair % partners, 0);
                *sessions.get_mut(pair as usize).context("no such pair")? = Some(session);
                Ok(())
            })
            .await?;
            self.stream.write_all(&acks).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }

    /// Ends the sessions of these pairs.
    pub(crate) async fn end(&mut self, pairs: &[u32], sessions: &[Option<Session>]) -> Result<()> {
        for pairs in pairs.chunks(WINDOW) {
            let mut out = Vec::new();
            for &pair in pairs {
                let session = sessions.get(pair as usize).and_then(Option::as_ref).context("no session")?;
                session.bye.write(&mut out, pair, pair % self.partners, LAST);
            }
            self.exchange(&out, pairs.len(), |_, _| Ok(())).await?;
        }
        Ok(())
    }

    /// Sends requests and takes the 200 to each.
    async fn exchange(
        &mut self,
        requests: &[u8],
        count: usize,
        mut accepted: impl FnMut(u32, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.stream.write_all(requests).await?;
        self.stream.flush().await?;
        let (end, branch) = (Finder::new(b"\r\n\r\n"), Finder::new(b"branch=z9hG4bK"));
        let mut waiting = count;
        while waiting > 0 {
            self.input.reserve(READ);
            ensure!(self.stream.read_buf(self.input).await? > 0, "the SIP connection was closed");
            while let Some((Answer { status, pair, size }, head)) =
                front_end::answer_with_body(self.input, &end, &branch)?
            {
                if status >= 200 {
                    ensure!(status == 200, "no session: {}", String::from_utf8_lossy(head));
                    accepted(pair.context("an answer to nothing")?, head)?;
                    waiting = waiting.saturating_sub(1);
                }
                self.input.advance(size);
            }
        }
        Ok(())
    }
}
