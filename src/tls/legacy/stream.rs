//! OpenSSL's stream, whose errors are those of any other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use super::super::Gathering;
use super::words::io_error;

/// A stream after a handshake by OpenSSL. A connection that ends without the end of TLS ends with
/// [`io::ErrorKind::UnexpectedEof`], as with rustls.
#[derive(Debug)]
pub(crate) struct LegacyStream<S>(SslStream<Gathering<S>>);

impl<S> LegacyStream<S> {
    pub(super) fn new(stream: SslStream<Gathering<S>>) -> Self {
        Self(stream)
    }

    pub(crate) fn get_mut(&mut self) -> &mut Gathering<S> {
        self.0.get_mut()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for LegacyStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer).map_err(io_error)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LegacyStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes).map_err(io_error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map_err(io_error)
    }
}
