//! One stream to a partner that carries nothing: opened, authenticated if both sides can by certificate, closed.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_xmpp::stream::{Established, Evidence, Outbound, OutboundConfig, Output, TlsFacts};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::net::now;
use crate::net::pump::{Pumped, pump};
use crate::net::session::{End, Next, Session};
use crate::tls::TlsStream;

/// How far the stream came.
pub(super) enum Came {
    /// Stanzas could flow.
    Established(Box<Established>),
    /// It did not come about.
    Ended(Box<Evidence>),
}

/// What there is to do about TLS, between the two parts of a stream.
pub(super) trait Handshake {
    /// The handshake, and what it shows.
    fn shake(
        &mut self,
        stream: TcpStream,
    ) -> impl Future<Output = Result<(TlsStream<TcpStream>, TlsFacts), String>> + Send;
}

/// Runs a stream to its end. `None`: it ended without a word of why, which no stream does.
pub(super) async fn probe(
    config: OutboundConfig,
    connection: TcpStream,
    handshake: &mut impl Handshake,
) -> Option<Came> {
    let mut session = Probe {
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
                session.run();
                pump(Box::new(stream), &mut session, None, |_, _| {}).await;
            }
            Err(why) => {
                session.stream.tls_failed(&why);
                session.run();
            }
        }
    }
    session.came
}

struct Probe {
    stream: Outbound,
    came: Option<Came>,
    next: Next,
    wake: Arc<Notify>,
}

impl Probe {
    fn run(&mut self) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::Established(established) => {
                    self.came = Some(Came::Established(established));
                    self.stream.close(now().instant, None);
                }
                Output::Closed(evidence) => {
                    self.came.get_or_insert(Came::Ended(evidence));
                }
                Output::ShutdownTls => self.next = Next::Close,
                Output::Abort => self.next = Next::Abort,
                // Nothing else is asked or taken.
                _ => {}
            }
        }
    }
}

impl Session for Probe {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        self.stream.receive(input, now.instant);
        input.clear();
        self.run();
    }

    fn transmit(&mut self, output: &mut Vec<u8>, _: Moment) {
        self.run();
        self.stream.transmit(output);
    }

    fn written(&mut self, _: Moment) {}

    fn closed(&mut self, end: End, _: Moment) {
        self.stream.disconnected(end.why());
        self.run();
    }

    fn deadline(&self) -> Option<Instant> {
        self.stream.deadline()
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.stream.handle_timeout(now.instant);
        self.run();
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
