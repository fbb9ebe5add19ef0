//! Ending a connection: so that its last words make one packet with its end, or so that nothing of it arrives any more.

use tokio::net::TcpStream;

use crate::tls::TlsStream;

/// A byte stream that can be cut through.
pub trait Sever {
    /// When it is dropped, what is written and not yet with the peer is dropped with it, and the peer sees a reset. A
    /// connection that is just dropped is closed by the operating system in order, perhaps minutes later, when the peer has
    /// taken the rest.
    fn sever(&mut self);

    /// What is written from now on may wait for the shutdown, to go with what that writes.
    fn gather(&mut self) {}
}

impl Sever for TcpStream {
    fn sever(&mut self) {
        // A socket that does not take the option is closed as ever.
        let _ = self.set_zero_linger();
    }
}

impl<S: Sever> Sever for TlsStream<S> {
    fn sever(&mut self) {
        self.connection().sever();
    }

    fn gather(&mut self) {
        Self::gather(self);
    }
}

impl<S: Sever> Sever for Box<S> {
    fn sever(&mut self) {
        (**self).sever();
    }

    fn gather(&mut self) {
        (**self).gather();
    }
}

/// Has no way that anything could be on.
#[cfg(test)]
impl Sever for tokio::io::DuplexStream {
    fn sever(&mut self) {}
}
