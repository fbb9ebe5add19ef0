//! A stream of ours that carries nothing: opened for one thing, a question or just to see that it comes about, and closed.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_xmpp::dialback::VerifyOutcome;
use nuncio_xmpp::stream::{Established, Evidence, Outbound, OutboundConfig, Output, TlsFacts};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::net::now;
use crate::net::pump::{Pumped, pump};
use crate::net::session::{End, Next, Session};
use crate::tls::TlsStream;

/// What came of it.
pub(crate) enum Came {
    /// Stanzas could flow.
    Established(Box<Established>),
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

/// Runs a stream until what it is for is done, or to its end. `None`: it ended without a word of why, which no stream does.
pub(crate) async fn run(
    config: OutboundConfig,
    connection: TcpStream,
    handshake: &mut impl Handshake,
) -> Option<Came> {
    let mut session = Errand {
        stream: Outbound::new(config, now().instant),
        came: None,
        next: Next::Run,
        wake: Arc::default(),
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

struct Errand {
    stream: Outbound,
    came: Option<Came>,
    next: Next,
    wake: Arc<Notify>,
}

impl Errand {
    fn act(&mut self) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::Established(established) => {
                    self.came = Some(Came::Established(established));
                    self.stream.close(now().instant, None);
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

impl Session for Errand {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        self.stream.receive(input, now.instant);
        input.clear();
        self.act();
    }

    fn transmit(&mut self, output: &mut Vec<u8>, _: Moment) {
        self.act();
        self.stream.transmit(output);
    }

    fn written(&mut self, _: Moment) {}

    fn closed(&mut self, end: End, _: Moment) {
        self.stream.disconnected(end.why());
        self.act();
    }

    fn deadline(&self) -> Option<Instant> {
        self.stream.deadline()
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
