//! The contract between a byte stream and the sans-IO session that lives on it.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use tokio::sync::Notify;

/// One end of one connection: bytes in, bytes out, time. It does no IO and never waits.
///
/// The driver calls [`Session::transmit`] after every other call, but not again until the bytes of the
/// last one are written, which it reports by [`Session::written`].
pub trait Session: Send {
    /// Takes what it can use from the front of `input`; what is left is offered again with more.
    fn receive(&mut self, input: &mut BytesMut, now: Moment);

    /// Appends the bytes to be written next.
    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment);

    /// All bytes of the last [`Session::transmit`] went to the operating system.
    fn written(&mut self, now: Moment);

    /// The stream is gone. Called exactly once, and last.
    fn closed(&mut self, end: End, now: Moment);

    /// When [`Session::handle_timeout`] is due.
    fn deadline(&self) -> Option<Instant>;

    fn handle_timeout(&mut self, now: Moment);

    /// Whether to read at all: `false` pushes back on the peer.
    fn wants_read(&self) -> bool;

    /// What the driver is to do once everything is written.
    fn next(&self) -> Next;

    /// Wakes the driver when somebody else has given the session something to do.
    fn wake(&self) -> Arc<Notify>;
}

/// What becomes of the connection after the pending bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Run,
    /// Shake hands for TLS; the session goes on inside it (XMPP STARTTLS).
    StartTls,
    /// Close the stream in order.
    Close,
    /// Drop it at once; what is unwritten is lost.
    Abort,
}

/// How a byte stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The peer closed it.
    Peer,
    /// We closed it, as the session had asked.
    Local,
    /// It broke.
    Broken(Arc<str>),
}

impl End {
    /// What the transport says of it: empty if somebody closed it in order.
    pub fn why(&self) -> &str {
        match self {
            Self::Broken(why) => why,
            Self::Peer | Self::Local => "",
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Peer => "the peer closed it",
            Self::Local => "we closed it",
            Self::Broken(why) => why,
        })
    }
}
