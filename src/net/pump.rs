//! The driver: one task per connection, moving bytes between a stream and its [`Session`].

use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use nuncio_translate::Moment;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::now;
use super::session::{End, Next, Session};
use super::sever::Sever;
use crate::tls::TlsError;

/// Bounds of one read. It starts small, so that idle connections cost little, and follows the traffic; it
/// stays below what allocators get from the operating system page by page (128 KiB), because messages keep
/// a buffer alive and most reads need a new one.
const READ_MIN: usize = 4 * 1024;
const READ_MAX: usize = 64 * 1024;
/// Write buffers above this are given back when nothing is left to write.
const WRITE_KEEP: usize = 16 * 1024;
/// How long the closing of a stream (TLS close_notify, TCP FIN) may take, and the last bytes before it: nobody waits for
/// a peer that does not read them.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Last bytes up to this go out together with the end of TLS, in one packet.
const LAST_WORDS: usize = 1024;
/// Bytes of a peer that are read and dropped while a stream is being closed.
const DROPPED: usize = 1024 * 1024;

/// Why [`pump`] handed the stream back.
#[derive(Debug)]
pub enum Pumped<S> {
    /// The session wants TLS on this stream; nothing of it was read past what the session took.
    StartTls(S),
    /// The connection is over, and the session has been told.
    Ended,
}

/// Runs `session` on `stream` until the connection ends or TLS is to start. Once `stop` is set,
/// `shut_down` is called, and the session goes on to its orderly end. A TLS stream comes best in a box: a future has room for
/// what it takes in each function that hands it on.
pub async fn pump<S, P>(
    stream: S,
    session: &mut P,
    stop: Option<&CancellationToken>,
    shut_down: impl Fn(&mut P, Moment),
) -> Pumped<S>
where
    S: AsyncRead + AsyncWrite + Sever + Unpin + Send,
    P: Session,
{
    pump_within(CLOSE_TIMEOUT, stream, session, stop, shut_down).await
}

/// The same; the closing has `close` for each of its parts.
async fn pump_within<S, P>(
    close: Duration,
    stream: S,
    session: &mut P,
    mut stop: Option<&CancellationToken>,
    shut_down: impl Fn(&mut P, Moment),
) -> Pumped<S>
where
    S: AsyncRead + AsyncWrite + Sever + Unpin + Send,
    P: Session,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut pump = Pump {
        reader,
        writer,
        input: BytesMut::new(),
        read_size: READ_MIN,
        output: Output::default(),
        close,
    };
    let run = AssertUnwindSafe(pump.run(session, &mut stop, &shut_down)).catch_unwind().await;
    // What is under way to a peer that took nothing for so long would reach it after what is said on the next connection.
    let mut sever = false;
    let end = match run.unwrap_or(Err(Stopped::Panic)) {
        Ok(Next::StartTls) => {
            // Plain-text bytes past the negotiation must not leak into the TLS side (RFC 6120 §5.4.3.3).
            if pump.input.is_empty() {
                return Pumped::StartTls(pump.reader.unsplit(pump.writer));
            }
            End::Broken("the peer sent plain text after the start of TLS".into())
        }
        Ok(Next::Close) => {
            let Pump { reader, writer, mut input, output, close, .. } = pump;
            let mut stream = reader.unsplit(writer);
            if !say_goodbye(close, &mut stream, session, &output.bytes, &mut input).await {
                stream.sever();
            }
            return ended(session, End::Local);
        }
        Ok(Next::Abort | Next::Run) => {
            sever = true;
            End::Local
        }
        Err(Stopped::Peer) => End::Peer,
        Err(Stopped::Io(error)) => End::Broken(broken(error).into()),
        Err(Stopped::Panic) => {
            error!("a connection was dropped after an internal error (see the panic above)");
            End::Broken("an internal error".into())
        }
    };
    if sever {
        pump.reader.unsplit(pump.writer).sever();
    }
    ended(session, end)
}

/// A session that panicked may do so again; its connection ends all the same, and only that.
fn ended<S>(session: &mut impl Session, end: End) -> Pumped<S> {
    if catch_unwind(AssertUnwindSafe(|| session.closed(end, now()))).is_err() {
        error!("the end of a connection met another internal error");
    }
    Pumped::Ended
}

/// The last words, close_notify and FIN; then the peer's last bytes are read and dropped, because closing over unread bytes
/// would reset the connection and could cost the peer our last words. Says whether the peer did its part in time.
async fn say_goodbye<S>(
    within: Duration,
    stream: &mut S,
    session: &mut impl Session,
    last_words: &[u8],
    input: &mut BytesMut,
) -> bool
where
    S: AsyncRead + AsyncWrite + Sever + Unpin,
{
    let end = tokio::time::Instant::now() + within;
    stream.gather();
    let saying = timeout_at(end, async {
        stream.write_all(last_words).await?;
        stream.shutdown().await
    });
    match beside_its_clock(session, saying).await {
        Err(_) => return false,
        Ok(Err(_)) => return true,
        Ok(Ok(())) if last_words.is_empty() => {}
        Ok(Ok(())) => session.written(now()),
    }
    let hearing = timeout_at(end, async {
        let mut dropped = 0;
        while dropped < DROPPED
            && let Ok(size @ 1..) = read(stream, input, READ_MIN).await
        {
            input.clear();
            dropped += size;
        }
    });
    beside_its_clock(session, hearing).await.is_ok()
}

/// While the session's clock goes on: what waits behind it must still expire in time.
async fn beside_its_clock<T>(session: &mut impl Session, work: impl Future<Output = T>) -> T {
    let wake = session.wake();
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            () = wake.notified() => {}
            () = wait_until(session.deadline()) => session.handle_timeout(now()),
        }
    }
}

/// Why a stream broke, for people.
fn broken(error: io::Error) -> String {
    match error.kind() {
        // Only TLS says this: the end of a plain stream is no error.
        io::ErrorKind::UnexpectedEof => "the peer closed the connection without ending TLS".to_owned(),
        _ if error.get_ref().is_some() => TlsError::from(error).to_string(),
        _ => error.to_string(),
    }
}

struct Pump<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    input: BytesMut,
    read_size: usize,
    output: Output,
    close: Duration,
}

/// Bytes on their way out.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// Everything is with the TLS layer, but perhaps not with the operating system.
    flushing: bool,
}

enum Stopped {
    Peer,
    Io(io::Error),
    Panic,
}

enum Event {
    Read(usize),
    Written,
    Woken,
    Timeout,
    /// The last bytes are not written in time.
    Late,
    Stop,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    async fn run<P: Session>(
        &mut self,
        session: &mut P,
        stop: &mut Option<&CancellationToken>,
        shut_down: &impl Fn(&mut P, Moment),
    ) -> Result<Next, Stopped> {
        let wake = session.wake();
        // When the last bytes have to be written.
        let mut late = None;
        let mut was_due = false;
        loop {
            if self.output.is_idle() {
                session.transmit(&mut self.output.bytes, now());
                if self.output.is_idle() {
                    self.output.shrink();
                }
            }
            match session.next() {
                Next::Abort => return Ok(Next::Abort),
                Next::Close if self.output.are_last_words() => return Ok(Next::Close),
                next @ (Next::StartTls | Next::Close) if self.output.is_idle() => return Ok(next),
                Next::StartTls | Next::Close => {
                    late.get_or_insert_with(|| now().instant + self.close);
                }
                Next::Run => late = None,
            }
            let deadline = session.deadline();
            let wants_read = session.wants_read();
            // A peer that always has bytes for us, or always wakes us, must not put off what is due. But what is due again and
            // again must not put off the peer either.
            let due = if was_due { None } else { due(*stop, late, deadline) };
            was_due = due.is_some();
            let event = match due {
                Some(event) => event,
                None => tokio::select! {
                    biased;
                    result = self.output.write(&mut self.writer), if !self.output.is_idle() => {
                        result.map_err(Stopped::Io)?;
                        Event::Written
                    }
                    result = read(&mut self.reader, &mut self.input, self.read_size), if wants_read => {
                        Event::Read(result.map_err(Stopped::Io)?)
                    }
                    () = wake.notified() => Event::Woken,
                    () = cancelled(*stop) => Event::Stop,
                    () = wait_until(late) => Event::Late,
                    () = wait_until(deadline) => Event::Timeout,
                },
            };
            match event {
                Event::Read(0) => return Err(Stopped::Peer),
                Event::Read(size) => {
                    self.adapt(size);
                    session.receive(&mut self.input, now());
                }
                Event::Written if self.output.is_idle() => session.written(now()),
                Event::Timeout => session.handle_timeout(now()),
                Event::Late => return Ok(Next::Abort),
                Event::Stop => {
                    *stop = None;
                    shut_down(session, now());
                }
                Event::Written | Event::Woken => {}
            }
        }
    }

    /// Reads grow while the peer fills them and shrink when it does not.
    fn adapt(&mut self, size: usize) {
        if size >= self.read_size {
            self.read_size = (self.read_size * 2).min(READ_MAX);
        } else if size < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(READ_MIN);
        }
    }
}

impl Output {
    fn is_idle(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether they are few, and none of them is written yet.
    fn are_last_words(&self) -> bool {
        self.written == 0 && !self.flushing && self.bytes.len() <= LAST_WORDS
    }

    /// One step towards having everything written; safe to cancel.
    async fn write<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> io::Result<()> {
        if !self.flushing {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            let size = writer.write(rest).await?;
            if size == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += size;
            self.flushing = self.written == self.bytes.len();
            if !self.flushing {
                return Ok(());
            }
        }
        writer.flush().await?;
        self.bytes.clear();
        self.written = 0;
        self.flushing = false;
        Ok(())
    }

    fn shrink(&mut self) {
        if self.bytes.capacity() > WRITE_KEEP {
            self.bytes.shrink_to(WRITE_KEEP);
        }
    }
}

async fn read<R: AsyncRead + Unpin>(reader: &mut R, input: &mut BytesMut, size: usize) -> io::Result<usize> {
    input.reserve(size);
    reader.read_buf(input).await
}

/// What is to be done now, whatever else could be.
fn due(stop: Option<&CancellationToken>, late: Option<Instant>, deadline: Option<Instant>) -> Option<Event> {
    if stop.is_some_and(CancellationToken::is_cancelled) {
        return Some(Event::Stop);
    }
    let first = late.into_iter().chain(deadline).min()?;
    let now = now().instant;
    if first > now {
        return None;
    }
    Some(if late.is_some_and(|late| late <= now) { Event::Late } else { Event::Timeout })
}

async fn cancelled(stop: Option<&CancellationToken>) {
    match stop {
        Some(stop) => stop.cancelled().await,
        None => pending().await,
    }
}

/// Until the time has come, if there is one.
pub async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpSocket;
    use tokio::sync::Notify;

    use super::*;

    /// Longer than anything here takes.
    const WHILE: Duration = Duration::from_secs(60);

    /// Wants to be closed at once, with these last words, and to be called a little later.
    struct Leaving {
        last: Vec<u8>,
        deadline: Option<Instant>,
        called: Arc<Notify>,
        closed: Option<End>,
        wake: Arc<Notify>,
    }

    impl Leaving {
        fn with(last: Vec<u8>) -> Self {
            Self { last, deadline: None, called: Arc::default(), closed: None, wake: Arc::default() }
        }
    }

    impl Session for Leaving {
        fn receive(&mut self, input: &mut BytesMut, _now: Moment) {
            input.clear();
        }

        fn transmit(&mut self, output: &mut Vec<u8>, _now: Moment) {
            output.append(&mut self.last);
        }

        fn written(&mut self, _now: Moment) {}

        fn closed(&mut self, end: End, _now: Moment) {
            self.closed = Some(end);
        }

        fn deadline(&self) -> Option<Instant> {
            self.deadline
        }

        fn handle_timeout(&mut self, _now: Moment) {
            assert_eq!(self.closed, None);
            self.deadline = None;
            self.called.notify_one();
        }

        fn wants_read(&self) -> bool {
            true
        }

        fn next(&self) -> Next {
            Next::Close
        }

        fn wake(&self) -> Arc<Notify> {
            Arc::clone(&self.wake)
        }
    }

    #[tokio::test]
    async fn the_clock_of_a_session_goes_on_while_its_peer_lets_the_closing_wait() {
        let (ours, theirs) = tokio::io::duplex(64);
        let called = Arc::new(Notify::new());
        let deadline = Some(Instant::now() + Duration::from_millis(5));
        let mut session = Leaving { deadline, called: Arc::clone(&called), ..Leaving::with(Vec::new()) };
        let peer = async {
            // The peer goes only after the session was called: without that, the pump gives up first.
            called.notified().await;
            drop(theirs);
        };
        let pumping = pump(ours, &mut session, None, |_, _| {});
        let (pumped, ()) = tokio::time::timeout(CLOSE_TIMEOUT / 2, async { tokio::join!(pumping, peer) })
            .await
            .expect("the session was called while closing");
        assert!(matches!(pumped, Pumped::Ended));
        assert_eq!(session.closed, Some(End::Local));
    }

    /// Is woken whenever it is asked for something to write, so many times.
    struct Woken {
        wakes: usize,
        asked: usize,
        /// How often it had been asked when its time came, and when it was told to stop.
        called_at: Option<usize>,
        stopped_at: Option<usize>,
        deadline: Option<Instant>,
        wake: Arc<Notify>,
    }

    impl Session for Woken {
        fn receive(&mut self, input: &mut BytesMut, _now: Moment) {
            input.clear();
        }

        fn transmit(&mut self, _output: &mut Vec<u8>, _now: Moment) {
            self.asked += 1;
            if self.asked < self.wakes {
                self.wake.notify_one();
            }
        }

        fn written(&mut self, _now: Moment) {}

        fn closed(&mut self, _end: End, _now: Moment) {}

        fn deadline(&self) -> Option<Instant> {
            self.deadline
        }

        fn handle_timeout(&mut self, _now: Moment) {
            self.called_at = self.called_at.or(Some(self.asked));
        }

        fn wants_read(&self) -> bool {
            true
        }

        fn next(&self) -> Next {
            if self.asked < self.wakes { Next::Run } else { Next::Abort }
        }

        fn wake(&self) -> Arc<Notify> {
            Arc::clone(&self.wake)
        }
    }

    #[tokio::test]
    async fn neither_a_peer_that_writes_nor_one_that_wakes_us_puts_off_what_is_due() {
        for bytes in [0, 100_000] {
            let (ours, mut theirs) = tokio::io::duplex(100_000);
            theirs.write_all(&vec![b'x'; bytes]).await.expect("there is room");
            // Its time is always over: what it is called for does not put off the peer.
            let deadline = Some(Instant::now());
            let mut session = Woken {
                wakes: 1000,
                asked: 0,
                called_at: None,
                stopped_at: None,
                deadline,
                wake: Arc::default(),
            };
            let stop = CancellationToken::new();
            stop.cancel();
            let pumping = pump(ours, &mut session, Some(&stop), |session: &mut Woken, _| {
                session.stopped_at = Some(session.asked);
            });
            tokio::time::timeout(WHILE, pumping).await.expect("it goes on");
            assert_eq!((session.stopped_at, session.called_at), (Some(1), Some(3)), "{bytes}");
        }
    }

    #[tokio::test]
    async fn sec_45_a_peer_that_does_not_read_our_last_words_is_not_waited_for() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut session = Leaving::with(vec![b'x'; 65]);
        let pumping = pump_within(Duration::from_millis(5), ours, &mut session, None, |_, _| {});
        let pumped = tokio::time::timeout(WHILE, pumping).await.expect("it does not wait for ever");
        assert!(matches!(pumped, Pumped::Ended));
        assert_eq!(session.closed, Some(End::Local));
    }

    /// What a peer gets that reads nothing of this many last words before the pump has ended.
    async fn heard_late_of(words: usize) -> io::Result<usize> {
        let listening = TcpSocket::new_v4()?;
        listening.set_send_buffer_size(128 * 1024)?;
        listening.bind(([127, 0, 0, 1], 0).into())?;
        let listener = listening.listen(1)?;
        let peer = TcpSocket::new_v4()?;
        peer.set_recv_buffer_size(4096)?;
        let mut peer = peer.connect(listener.local_addr()?).await?;
        let (ours, _) = listener.accept().await?;
        let mut session = Leaving::with(vec![b'x'; words]);
        pump_within(Duration::from_millis(5), ours, &mut session, None, |_, _| {}).await;
        let mut heard = Vec::new();
        tokio::time::timeout(WHILE, peer.read_to_end(&mut heard)).await.expect("the connection has ended")
    }

    #[tokio::test]
    async fn what_a_peer_did_not_take_in_time_does_not_reach_it_after_the_end() {
        // With the operating system, and more than that takes.
        for words in [100_000, 16 << 20] {
            let heard = heard_late_of(words).await.map_err(|error| error.kind());
            assert_eq!(heard, Err(io::ErrorKind::ConnectionReset), "{words}");
        }
    }

    #[tokio::test]
    async fn sec_40_a_peer_that_goes_on_sending_is_read_for_a_while_only() {
        let (ours, mut theirs) = tokio::io::duplex(DROPPED);
        let mut session = Leaving::with(Vec::new());
        let sending = async {
            let block = vec![b'x'; READ_MAX];
            let mut sent = 0;
            while theirs.write_all(&block).await.is_ok() {
                sent += block.len();
            }
            sent
        };
        let pumping = pump_within(WHILE, ours, &mut session, None, |_, _| {});
        let (_, sent) = tokio::time::timeout(WHILE, async { tokio::join!(pumping, sending) })
            .await
            .expect("it does not read for ever");
        // What it read, and what lay in between.
        assert!(sent <= 2 * DROPPED + READ_MAX, "{sent}");
    }
}
