//! Ending a connection: so that its last words make one packet with its end, or so that nothing of it arrives any more.

use tokio::net::TcpStream;

use crate::tls::TlsStream;

/// A byte stream that can be cut through.
pub trait Sever {
    /// Drops it with what is written and not yet with the peer, which sees a reset. A connection that is just dropped is
    /// closed by the operating system in order, perhaps minutes later, when the peer has taken the rest.
    fn sever(self);

    /// What is written from now on may wait for the shutdown, to go with what that writes.
    fn gather(&mut self) {}
}

impl Sever for TcpStream {
    fn sever(self) {
        // A socket that does not take the option is closed as ever.
        drop(self.set_zero_linger());
    }
}

impl<S: Sever> Sever for TlsStream<S> {
    fn sever(self) {
        match self {
            Self::Client(stream) => stream.into_inner().0.into_inner().sever(),
            Self::Server(stream) => stream.into_inner().0.into_inner().sever(),
        }
    }

    fn gather(&mut self) {
        self.get_mut().0.gather();
    }
}

impl<S: Sever> Sever for Box<S> {
    fn sever(self) {
        (*self).sever();
    }

    fn gather(&mut self) {
        (**self).gather();
    }
}

/// Has no way that anything could be on.
#[cfg(test)]
impl Sever for tokio::io::DuplexStream {
    fn sever(self) {}
}
