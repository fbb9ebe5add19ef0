//! The connection under TLS: what is written while hands are shaken goes out together with what follows it.
//!
//! A handshake ends with something to be sent: the client's last flight, or the tickets of a server. The peer gains nothing
//! by having it a moment earlier than the first words that follow, and each packet of its own costs both sides more than
//! what is in it. So it is held until those are written, or until there is nothing to do but wait for the peer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that may be held: more than a handshake ends with, a long chain of certificates included. What exceeds it goes out.
const HELD: usize = 64 * 1024;

/// A stream that holds back what is written until it is asked to pass on, and then no more. Nothing is held
/// while a read waits for the peer, or behind a shutdown.
#[derive(Debug)]
pub struct Gathering<S> {
    stream: S,
    /// What was read already, and is read first.
    ahead: Vec<u8>,
    held: Vec<u8>,
    /// Of what is held, so much is written already.
    written: usize,
    /// Whether the handshake goes on, or the end is near: a flush is none then.
    gathers: bool,
    /// Whether the end of the connection is an error: TLS ends before it.
    endless: bool,
}

impl<S> Gathering<S> {
    pub(super) fn new(stream: S) -> Self {
        Self::after(stream, Vec::new())
    }

    /// The same for a stream from which these bytes were read already.
    pub(super) fn after(stream: S, ahead: Vec<u8>) -> Self {
        Self { stream, ahead, held: Vec::new(), written: 0, gathers: true, endless: false }
    }

    /// For OpenSSL, which does not tell the end of TLS from that of the connection: this one is an error from now on.
    #[cfg(feature = "openssl-legacy")]
    pub(super) fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    /// What is held goes with the next bytes or the next flush, and from now on everything goes at once.
    pub(super) fn pass_on(&mut self) {
        self.gathers = false;
    }

    /// What is written from now on is held as during a handshake, until the stream is shut down.
    pub fn gather(&mut self) {
        self.gathers = true;
    }

    /// The connection. What is held is not with it yet.
    pub fn connection(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Writes what is held.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.held.get(self.written..) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                size => self.written += size,
            }
        }
        // Given back: most streams never hold anything again.
        (self.held, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Takes some of the bytes; `None`: nothing is held, and nothing is to be.
    fn poll_hold(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<Option<usize>>> {
        if !self.gathers && self.held.is_empty() {
            return Poll::Ready(Ok(None));
        }
        if self.held.len() >= HELD {
            ready!(self.poll_release(cx))?;
        }
        let before = self.held.len();
        for slice in bytes {
            let room = HELD.saturating_sub(self.held.len());
            self.held.extend(slice.iter().take(room));
        }
        let taken = self.held.len() - before;
        if !self.gathers
            && let Poll::Ready(Err(error)) = self.poll_release(cx)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(Some(taken)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let size = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(self.ahead.get(..size).unwrap_or_default());
            self.ahead.drain(..size);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.endless && matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        // The peer may be waiting for what is held.
        if read.is_pending()
            && !self.held.is_empty()
            && let Poll::Ready(Err(error)) = self.poll_release(cx)
        {
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.poll_hold(cx, &[IoSlice::new(bytes)]))? {
            Some(held) => Poll::Ready(Ok(held)),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_hold(cx, bytes))? {
            Some(held) => Poll::Ready(Ok(held)),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathers {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Keeps each write as a packet of its own, of so many bytes at most; has nothing to be read, ever.
    #[derive(Debug, Default)]
    struct Packets {
        sent: Vec<Vec<u8>>,
        most: usize,
    }

    impl AsyncRead for Packets {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Packets {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let size = bytes.len().min(self.most);
            self.sent.push(bytes.iter().take(size).copied().collect());
            Poll::Ready(Ok(size))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A stream whose handshake has written something.
    async fn shaken(most: usize) -> Gathering<Packets> {
        let mut stream = Gathering::new(Packets { most, ..Packets::default() });
        stream.write_all(b"last flight, ").await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.stream.sent.is_empty(), "it is held");
        stream
    }

    fn sent(stream: &Gathering<Packets>) -> Vec<&str> {
        stream.stream.sent.iter().map(|packet| std::str::from_utf8(packet).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_a_handshake_ends_with_goes_with_the_first_words() {
        let mut stream = shaken(999).await;
        stream.pass_on();
        stream.write_all(b"first words").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"second words").await.unwrap();
        assert_eq!(sent(&stream), ["last flight, first words", "second words"]);
        assert_eq!(stream.held.capacity(), 0, "nothing is kept for it");
    }

    #[tokio::test]
    async fn nothing_is_held_while_a_read_waits() {
        for passed_on in [false, true] {
            let mut stream = shaken(999).await;
            if passed_on {
                stream.pass_on();
            }
            let mut byte = [0];
            assert!(futures_util::FutureExt::now_or_never(stream.read(&mut byte)).is_none());
            assert_eq!(sent(&stream), ["last flight, "]);
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_read_first_and_in_pieces() {
        let mut stream =
            Gathering::after(tokio::io::join(&b" and more"[..], tokio::io::sink()), b"hello".to_vec());
        let mut three = [0; 3];
        stream.read_exact(&mut three).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&three, rest.as_str()), (b"hel", "lo and more"));
        assert_eq!(stream.ahead.capacity(), 0, "nothing is kept for it");
    }

    #[tokio::test]
    async fn a_flush_and_a_shutdown_leave_nothing_behind() {
        let mut stream = shaken(999).await;
        stream.pass_on();
        stream.flush().await.unwrap();
        assert_eq!(sent(&stream), ["last flight, "]);
        let mut stream = shaken(999).await;
        stream.shutdown().await.unwrap();
        assert_eq!(sent(&stream), ["last flight, "]);
    }

    #[tokio::test]
    async fn the_last_words_go_with_the_end() {
        let mut stream = Gathering::new(Packets { most: 999, ..Packets::default() });
        stream.pass_on();
        stream.gather();
        stream.write_all(b"last words, ").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"end").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(sent(&stream), ["last words, end"]);
    }

    #[tokio::test]
    async fn what_is_taken_in_pieces_arrives_whole_and_in_order() {
        let mut stream = shaken(5).await;
        stream.pass_on();
        stream.write_all(b"first words").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(sent(&stream).concat(), "last flight, first words");
    }

    #[tokio::test]
    async fn so_much_is_held_and_not_one_byte_more() {
        let mut stream = Gathering::new(Packets { most: usize::MAX, ..Packets::default() });
        stream.write_all(&[b'x'; HELD]).await.unwrap();
        assert!(stream.stream.sent.is_empty(), "at the limit");
        stream.write_all(b"y").await.unwrap();
        assert_eq!((stream.stream.sent.len(), stream.held.as_slice()), (1, &b"y"[..]), "one past it");
    }
}
