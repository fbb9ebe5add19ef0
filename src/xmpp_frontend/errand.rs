//! A stream of ours that carries nothing of anybody's: opened for one thing, a question or just to see that it comes about, and
//! closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_xmpp::dialback::VerifyOutcome;
use nuncio_xmpp::stream::{Established, Evidence, Outbound, OutboundConfig, Output, TlsFacts};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::gateway::Ping;
use crate::net::now;
use crate::net::pump::{Pumped, pump};
use crate::net::session::{End, Next, Session};
use crate::tls::TlsStream;

/// What came of it.
pub(crate) enum Came {
    /// Stanzas could flow, from then on.
    Established(Box<Established>, Instant),
    /// The question was answered.
    Verified(VerifyOutcome),
    /// Neither: it ended.
    Ended(Box<Evidence>),
}

/// What there is to do about TLS, between the two parts of a stream.
pub(crate) trait Handshake {
    /// The handshake, and what it shows.
    fn shake(
        &mut self,
        stream: TcpStream,
    ) -> impl Future<Output = Result<(TlsStream<TcpStream>, TlsFacts), String>> + Send;
}

/// A ping over the stream once it stands, and what came of it. The stream stays open for the answer, which mostly comes on another
/// one.
pub(crate) struct Pinging {
    pub(crate) ping: Ping,
    /// How long it is waited for.
    pub(crate) within: Duration,
    /// When it was written; `None`: there was no stream.
    written: Option<Instant>,
    /// The answer came on this stream, where the peer may not send (RFC 6120 §4.5).
    unasked: Option<Instant>,
}

/// What came of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pinged {
    /// There was no stream to send it on.
    NotSent,
    /// It was answered on a stream on which the partner may send.
    Answered { took: Duration, is_error: bool },
    /// It was answered on ours.
    Unasked { took: Duration },
    /// It was not answered for so long, or up to the end of the stream.
    Unanswered { after: Duration },
}

impl Pinging {
    pub(crate) fn new(ping: Ping, within: Duration) -> Self {
        Self { ping, within, written: None, unasked: None }
    }

    /// What came of it, now that the stream is over.
    pub(crate) fn outcome(&self, now: Instant) -> Pinged {
        let Some(written) = self.written else { return Pinged::NotSent };
        match (self.ping.answer(), self.unasked) {
            (Some(answer), _) => {
                let took = answer.at.saturating_duration_since(written);
                Pinged::Answered { took, is_error: answer.is_error }
            }
            (None, Some(at)) => Pinged::Unasked { took: at.saturating_duration_since(written) },
            (None, None) => {
                Pinged::Unanswered { after: now.saturating_duration_since(written).min(self.within) }
            }
        }
    }

    /// When nobody waits any more; `None`: it was not sent.
    fn over(&self) -> Option<Instant> {
        self.written.map(|written| written + self.within)
    }

    fn is_over(&self, now: Instant) -> bool {
        let settled = self.ping.answer().is_some() || self.unasked.is_some();
        settled || self.over().is_some_and(|over| over <= now)
    }
}

/// Runs a stream until what it is for is done, or to its end. `None`: it ended without a word of why, which no stream does.
pub(crate) async fn run(
    config: OutboundConfig,
    connection: TcpStream,
    handshake: &mut impl Handshake,
    pinging: Option<&mut Pinging>,
) -> Option<Came> {
    let mut session = Errand {
        stream: Outbound::new(config, now().instant),
        came: None,
        next: Next::Run,
        wake: pinging.as_ref().map(|pinging| pinging.ping.bell()).unwrap_or_default(),
        pinging,
    };
    if let Pumped::StartTls(stream) = pump(connection, &mut session, None, |_, _| {}).await {
        match handshake.shake(stream).await {
            Ok((stream, facts)) => {
                session.next = Next::Run;
                session.stream.tls_established(facts, now().instant);
                session.act();
                pump(Box::new(stream), &mut session, None, |_, _| {}).await;
            }
            Err(why) => {
                session.stream.tls_failed(&why);
                session.act();
                session.closed(End::Local, now());
            }
        }
    }
    session.came
}

struct Errand<'p> {
    stream: Outbound,
    came: Option<Came>,
    next: Next,
    wake: Arc<Notify>,
    pinging: Option<&'p mut Pinging>,
}

impl Errand<'_> {
    fn act(&mut self) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::Established(established) => {
                    self.came = Some(Came::Established(established, now().instant));
                    if self.pinging.is_none() {
                        self.stream.close(now().instant, None);
                    }
                }
                Output::Unasked(element) => {
                    if let Some(pinging) = &mut self.pinging
                        && element.name() == "iq"
                        && element.attr("id") == Some(pinging.ping.id())
                    {
                        pinging.unasked = Some(now().instant);
                    }
                }
                Output::Verified(outcome) => {
                    self.came = Some(Came::Verified(outcome));
                    // The peer has answered and need not be waited for.
                    if self.next == Next::Run {
                        self.next = Next::Close;
                    }
                }
                Output::Closed(evidence) => {
                    self.came.get_or_insert(Came::Ended(evidence));
                }
                Output::ShutdownTls => self.next = Next::Close,
                Output::Abort => self.next = Next::Abort,
                // Nothing else is asked or taken on such a stream.
                _ => {}
            }
        }
    }
}

impl Session for Errand<'_> {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        self.stream.receive(input, now.instant);
        input.clear();
        self.act();
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.act();
        self.stream.transmit(output);
        let is_up = matches!(self.came, Some(Came::Established(..))) && self.stream.write_allowed();
        if let Some(pinging) = &mut self.pinging
            && is_up
        {
            if pinging.written.is_none() {
                output.extend_from_slice(pinging.ping.stanza());
                pinging.written = Some(now.instant);
            } else if pinging.is_over(now.instant) {
                self.stream.close(now.instant, None);
                self.act();
                self.stream.transmit(output);
            }
        }
    }

    fn written(&mut self, _: Moment) {}

    fn closed(&mut self, end: End, _: Moment) {
        self.stream.disconnected(end.why());
        self.act();
    }

    fn deadline(&self) -> Option<Instant> {
        let over = self.pinging.as_ref().filter(|_| self.stream.write_allowed()).and_then(|it| it.over());
        [self.stream.deadline(), over].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.stream.handle_timeout(now.instant);
        self.act();
    }

    fn wants_read(&self) -> bool {
        true
    }

    fn next(&self) -> Next {
        self.next
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}
