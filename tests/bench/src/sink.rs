//! Where the messages arrive: partners, a front end, or the end of the bare relay.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use memchr::memmem::Finder;
use nuncio_xmpp::Domain;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio_rustls::TlsStream;

use crate::child::Orders;
use crate::front_end;
use crate::job::{Count, Order, Plays, SIP_DOMAIN, SinkJob, partner_domain};
use crate::partner;
use crate::pki;
use crate::tally::Tally;
use crate::tls::Tls;

const READ: usize = 64 * 1024;

/// Takes connections and counts until the orders end.
pub(crate) async fn run(job: SinkJob, mut orders: Orders) -> Result<()> {
    let name = match job.plays {
        Plays::FrontEnd { .. } => pki::FRONT,
        Plays::Partner { .. } | Plays::RelayEnd { .. } => pki::PARTNER,
    };
    let served: Result<Vec<_>, _> =
        (0..job.streams).map(|number| Domain::parse(&partner_domain(number))).collect();
    let sink = Rc::new(Sink {
        tls: Tls::load(&job.folder, name)?,
        tally: RefCell::new(Tally::new(job.pairs)),
        served: served?.into(),
        feedback: Mutex::new(None),
        plays: job.plays,
    });
    if let Plays::FrontEnd { feedback } = &sink.plays {
        let (listener, sink) = (UnixListener::bind(feedback)?, Rc::clone(&sink));
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *sink.feedback.lock().await = Some(stream);
            }
        });
    }
    let listener =
        TcpListener::bind(job.listen).await.with_context(|| format!("cannot listen on {}", job.listen))?;
    spawn_local(accept(Rc::clone(&sink), listener));
    orders.answer(&"ready")?;
    while let Some(order) = orders.next().await? {
        let Order::Count = order else { bail!("{order:?} is nothing for a sink") };
        let tally = sink.tally.borrow();
        let (messages, wrong, trouble) = (tally.messages, tally.wrong, tally.trouble.clone());
        orders.answer(&Count { messages, wrong, trouble, ..Count::default() })?;
    }
    Ok(())
}

struct Sink {
    plays: Plays,
    tls: Tls,
    tally: RefCell<Tally>,
    served: Arc<[Domain]>,
    /// To the generator: the pairs whose messages have come.
    feedback: Mutex<Option<UnixStream>>,
}

async fn accept(sink: Rc<Sink>, listener: TcpListener) {
    for number in 0.. {
        let Ok((tcp, _)) = listener.accept().await else { return };
        let sink = Rc::clone(&sink);
        spawn_local(async move {
            if let Err(error) = sink.serve(tcp, number).await {
                sink.tally.borrow_mut().complain(format!("{error:#}"));
            }
        });
    }
}

impl Sink {
    async fn serve(&self, tcp: TcpStream, number: u64) -> Result<()> {
        tcp.set_nodelay(true)?;
        match &self.plays {
            Plays::Partner { gateway, both_ways } => {
                let stream = match both_ways {
                    true => partner::accept_both_ways(&self.tls, tcp, &self.served, number).await?,
                    false => partner::accept(&self.tls, tcp, &self.served, number).await?,
                };
                let answers = Answers { sink: self, gateway: *gateway, local: stream.local, writer: None };
                self.stanzas(stream.tls, (!stream.both_ways).then_some(answers)).await
            }
            Plays::FrontEnd { .. } => self.requests(self.tls.accept(tcp).await?).await,
            Plays::RelayEnd { acknowledges } => {
                self.relayed(self.tls.accept(tcp).await?, *acknowledges).await
            }
        }
    }

    /// A stream of the gateway; the answers go elsewhere if it does not go both ways.
    async fn stanzas(
        &self,
        mut stream: TlsStream<TcpStream>,
        mut answers: Option<Answers<'_>>,
    ) -> Result<()> {
        let scanner = Scanner::new();
        let mut input = BytesMut::new();
        loop {
            input.reserve(READ);
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            let mut pings = Vec::new();
            while let Some((seen, size)) = scanner.next(&input)? {
                match seen {
                    Seen::Message(text) => {
                        self.tally.borrow_mut().message(text);
                    }
                    Seen::Iq(iq) => pings.push(pong(iq)?),
                    Seen::Close => {
                        stream.write_all(b"</stream:stream>").await?;
                        return Ok(stream.shutdown().await?);
                    }
                }
                input.advance(size);
            }
            for ping in pings {
                match &mut answers {
                    Some(answers) => answers.send(&ping).await?,
                    None => {
                        stream.write_all(&ping).await?;
                        stream.flush().await?;
                    }
                }
            }
        }
    }

    /// A connection of the gateway to its front end.
    async fn requests(&self, mut stream: TlsStream<TcpStream>) -> Result<()> {
        let end = Finder::new(b"\r\n\r\n");
        let (mut input, mut out, mut pairs) = (BytesMut::new(), Vec::new(), Vec::new());
        loop {
            input.reserve(READ);
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            loop {
                // Keep-alive (RFC 5626 §4.4.1).
                if input.starts_with(b"\r\n\r\n") {
                    input.advance(4);
                    out.extend_from_slice(b"\r\n");
                    continue;
                }
                let Some(request) = front_end::request(&input, &end)? else { break };
                if request.head.starts_with(b"MESSAGE ") {
                    let pair = self.tally.borrow_mut().message(request.body);
                    pairs.extend_from_slice(&pair.unwrap_or_default().to_be_bytes());
                }
                match request.head {
                    head if head.starts_with(b"ACK ") => {}
                    head if head.starts_with(b"INVITE ") => front_end::accept_session(head, &mut out),
                    head => front_end::accept(head, &mut out),
                }
                input.advance(request.size);
            }
            stream.write_all(&out).await?;
            stream.flush().await?;
            out.clear();
            if let (false, Some(feedback)) = (pairs.is_empty(), &mut *self.feedback.lock().await) {
                feedback.write_all(&pairs).await?;
                pairs.clear();
            }
        }
    }

    /// The connection of the relay.
    async fn relayed(&self, mut stream: TlsStream<TcpStream>, acknowledges: bool) -> Result<()> {
        let scanner = Scanner::new();
        let (mut input, mut count) = (BytesMut::new(), 0_u64);
        loop {
            input.reserve(READ);
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            let before = count;
            while let Some((_, size)) = scanner.next(&input)? {
                count += 1;
                input.advance(size);
            }
            self.tally.borrow_mut().anonymous(count - before);
            if acknowledges && count > before {
                stream.write_all(format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/>").as_bytes()).await?;
                stream.flush().await?;
            }
        }
    }
}

/// A partner's own stream to the gateway, opened when there is something to say.
struct Answers<'a> {
    sink: &'a Sink,
    gateway: std::net::SocketAddr,
    local: String,
    writer: Option<Rc<Mutex<WriteHalf<TlsStream<TcpStream>>>>>,
}

impl Answers<'_> {
    async fn send(&mut self, stanza: &[u8]) -> Result<()> {
        if self.writer.is_none() {
            let stream = partner::dial(&self.sink.tls, self.gateway, &self.local).await?;
            let (reader, writer) = split(stream.tls);
            let writer = Rc::new(Mutex::new(writer));
            self.writer = Some(Rc::clone(&writer));
            spawn_local(until_closed(reader, writer));
        }
        if let Some(writer) = &self.writer {
            let mut writer = writer.lock().await;
            writer.write_all(stanza).await?;
            writer.flush().await?;
        }
        Ok(())
    }
}

/// The gateway says nothing on such a stream but that it closes it.
async fn until_closed(
    mut reader: ReadHalf<TlsStream<TcpStream>>,
    writer: Rc<Mutex<WriteHalf<TlsStream<TcpStream>>>>,
) -> Result<()> {
    let mut chunk = [0; 1024];
    let _ = reader.read(&mut chunk).await;
    let mut writer = writer.lock().await;
    writer.write_all(b"</stream:stream>").await?;
    Ok(writer.shutdown().await?)
}

/// Finds the stanzas in a stream that is known to be well-formed and free of surprises.
struct Scanner {
    message_end: Finder<'static>,
    iq_end: Finder<'static>,
    body: Finder<'static>,
}

/// What stands at the beginning of the input.
enum Seen<'a> {
    /// The text of a message.
    Message(&'a [u8]),
    Iq(&'a [u8]),
    Close,
}

impl Scanner {
    fn new() -> Self {
        Self {
            message_end: Finder::new(b"</message>"),
            iq_end: Finder::new(b"</iq>"),
            body: Finder::new(b"<body>"),
        }
    }

    /// What comes next and its size; `None` if it is not all there yet.
    fn next<'a>(&self, input: &'a [u8]) -> Result<Option<(Seen<'a>, usize)>> {
        let element = |end: &Finder<'_>| {
            let size = end.find(input)? + end.needle().len();
            Some((input.get(..size)?, size))
        };
        if input.starts_with(b"<message") {
            return Ok(element(&self.message_end).map(|(stanza, size)| {
                let text = self.body.find(stanza).and_then(|at| stanza.get(at + self.body.needle().len()..));
                (Seen::Message(text.unwrap_or_default()), size)
            }));
        }
        if input.starts_with(b"<iq") {
            return Ok(element(&self.iq_end).map(|(stanza, size)| (Seen::Iq(stanza), size)));
        }
        if input.starts_with(b"</stream") || input.starts_with(b"<stream:error") {
            return Ok(Some((Seen::Close, input.len())));
        }
        if input.len() < "<message".len() {
            return Ok(None);
        }
        bail!("unexpected: {}", String::from_utf8_lossy(input.get(..200).unwrap_or(input)))
    }
}

/// The answer to a ping (XEP-0199).
pub(crate) fn pong(iq: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(iq)?;
    let attribute = |name: &str| {
        let (_, rest) = text.split_once(&format!(" {name}='"))?;
        rest.split_once('\'').map(|(value, _)| value)
    };
    let (id, to) =
        (attribute("id").context("a ping without id")?, attribute("to").context("a ping to nobody")?);
    Ok(format!("<iq type='result' id='{id}' from='{to}' to='{SIP_DOMAIN}'/>").into_bytes())
}
