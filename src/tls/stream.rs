//! A connection after its handshake, whichever library does TLS on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Gathering;
#[cfg(feature = "openssl-legacy")]
use super::legacy::LegacyStream;

/// A stream after its handshake, on either side.
#[derive(Debug)]
pub struct TlsStream<S>(Inner<S>);

#[derive(Debug)]
#[cfg_attr(
    feature = "openssl-legacy",
    expect(
        clippy::large_enum_variant,
        reason = "nearly every stream is the large one, and in a box as a whole"
    )
)]
enum Inner<S> {
    Rustls(tokio_rustls::TlsStream<Gathering<S>>),
    #[cfg(feature = "openssl-legacy")]
    Legacy(LegacyStream<S>),
}

/// Does the same with the stream of either library.
macro_rules! either {
    ($inner:expr, $stream:ident => $does:expr) => {
        match $inner {
            Inner::Rustls($stream) => $does,
            #[cfg(feature = "openssl-legacy")]
            Inner::Legacy($stream) => $does,
        }
    };
}

impl<S> TlsStream<S> {
    pub(super) fn rustls(stream: impl Into<tokio_rustls::TlsStream<Gathering<S>>>) -> Self {
        Self(Inner::Rustls(stream.into()))
    }

    #[cfg(feature = "openssl-legacy")]
    pub(super) fn legacy(stream: LegacyStream<S>) -> Self {
        Self(Inner::Legacy(stream))
    }

    /// What is written from now on is held until the stream is shut down.
    pub fn gather(&mut self) {
        self.below().gather();
    }

    /// The connection. What TLS has not written to it yet is not there.
    pub fn connection(&mut self) -> &mut S {
        self.below().connection()
    }

    fn below(&mut self) -> &mut Gathering<S> {
        match &mut self.0 {
            Inner::Rustls(stream) => stream.get_mut().0,
            #[cfg(feature = "openssl-legacy")]
            Inner::Legacy(stream) => stream.get_mut(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(&mut self.0, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(&mut self.0, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut self.0, stream => Pin::new(stream).poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.0, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.0, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.0, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
