//! The SIP side: a front end with its users. It answers the gateway's SUBSCRIBEs and reports with NOTIFY, subscribes for its
//! users, and takes the gateway's NOTIFYs.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use memchr::memmem::{self, Finder};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::spawn_local;
use tokio_rustls::TlsStream;

use super::line::{Outbox, keep};
use super::load::{Events, Kind, Load, listen_to_sink};
use super::text;
use crate::child::Orders;
use crate::front_end::{self, Request, field};
use crate::job::{
    Count, Dialect, Direction, GATEWAY, Order, Outcome, Pace, PresenceJob, Round, SIP_CONNECTIONS, Until,
};
use crate::pki;
use crate::tally::{PAIR_DIGITS, Tally};
use crate::template::Template;
use crate::tls::Tls;

const READ: usize = 64 * 1024;
/// Subscriptions under way while they are established.
const ESTABLISHING: u32 = 64;

/// Takes orders until they end.
pub(crate) async fn run(job: PresenceJob, mut orders: Orders) -> Result<()> {
    let tls = Tls::load(&job.folder, pki::FRONT)?;
    let (mut load, events) = Load::new(job.pairs);
    let (mut establishing, established) = Load::new(job.pairs);
    let house = Rc::new(House {
        tls,
        tally: RefCell::new(Tally::new(job.pairs)),
        dialogs: RefCell::new(vec![Dialog::default(); job.pairs as usize]),
        lines: (0..SIP_CONNECTIONS).map(|_| Rc::new(Outbox::default())).collect(),
        feedback: Rc::new(Outbox::default()),
        feeds: job.direction == Direction::XmppToSip,
        events: events.clone(),
        established,
        dialect: job.dialect,
        first: text::first_notify(job.dialect),
        accepting: text::accepting(job.dialect),
        subscriptions: Cell::new(0),
        requests: Cell::new(0),
        streams: job.streams as u32,
    });
    match job.direction {
        Direction::SipToXmpp => listen_to_sink(&job.feedback, events).await?,
        Direction::XmppToSip => {
            let (listener, outbox) = (UnixListener::bind(&job.feedback)?, Rc::clone(&house.feedback));
            spawn_local(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = outbox.pump(&mut stream).await;
                }
            });
        }
    }
    let listener =
        TcpListener::bind(job.listen).await.with_context(|| format!("cannot listen on {}", job.listen))?;
    spawn_local(accept(Rc::clone(&house), listener));
    for outbox in &house.lines {
        let (tls, target) = (house.tls.clone(), job.target);
        let connect = move || {
            let tls = tls.clone();
            async move {
                let tcp = TcpStream::connect(target).await?;
                tcp.set_nodelay(true)?;
                tls.connect(tcp, GATEWAY).await
            }
        };
        let reading = Rc::clone(&house);
        keep(Rc::clone(outbox), connect, move |reader| answers(Rc::clone(&reading), reader));
    }

    orders.answer(&"ready")?;
    let (notify, subscribe) = (text::notify(job.dialect), text::subscribe(job.dialect));
    while let Some(order) = orders.next().await? {
        match order {
            Order::Round(round) => {
                let wanted = [Kind::Answered, Kind::Arrived];
                let outcome = load
                    .round(round, 0, &wanted, |pair, sequence| house.notify(pair, sequence, &notify))
                    .await;
                orders.answer(&outcome)?;
            }
            Order::Establish(range) => {
                let round = Round {
                    pace: Pace::Window(ESTABLISHING),
                    until: Until::Messages(u64::from(range.last - range.first)),
                    pairs: range.last - range.first,
                };
                let outcome: Outcome = establishing
                    .round(round, range.first, &[Kind::Established], |pair, sequence| {
                        house.line(pair).write(|out| {
                            subscribe.write(out, pair, pair % house.streams, sequence);
                        });
                        Ok(())
                    })
                    .await;
                orders.answer(&outcome)?;
            }
            Order::Anew => {
                house.subscriptions.set(0);
                house.dialogs.borrow_mut().iter_mut().for_each(|dialog| dialog.subscribed = false);
                orders.answer(&"ready")?;
            }
            Order::Count => orders.answer(&house.count())?,
            Order::Dial(_) | Order::Handshakes(_) | Order::EndSessions => {
                bail!("{order:?} is nothing for a front end")
            }
        }
    }
    Ok(())
}

struct House {
    tls: Tls,
    tally: RefCell<Tally>,
    /// The gateway's subscriptions, by pair.
    dialogs: RefCell<Vec<Dialog>>,
    lines: Vec<Rc<Outbox>>,
    /// To the contacts: whose presence has come.
    feedback: Rc<Outbox>,
    feeds: bool,
    events: Events,
    established: Events,
    dialect: Dialect,
    first: Template,
    /// The fields of the answer to a SUBSCRIBE.
    accepting: String,
    subscriptions: Cell<u64>,
    requests: Cell<u64>,
    streams: u32,
}

/// A subscription of the gateway.
#[derive(Clone, Debug, Default)]
struct Dialog {
    /// Request line, From, To and Call-ID of its NOTIFYs; empty: there is none.
    head: Vec<u8>,
    cseq: u32,
    subscribed: bool,
}

async fn accept(house: Rc<House>, listener: TcpListener) {
    while let Ok((tcp, _)) = listener.accept().await {
        let house = Rc::clone(&house);
        spawn_local(async move {
            if let Err(error) = house.serve(tcp).await {
                // A gateway that is killed says no goodbye.
                let text = format!("{error:#}");
                if !text.contains("close_notify") && !text.contains("reset") && !text.contains("Broken pipe")
                {
                    house.tally.borrow_mut().complain(text);
                }
            }
        });
    }
}

/// Reads the answers on a connection of ours.
async fn answers(house: Rc<House>, mut reader: ReadHalf<TlsStream<TcpStream>>) -> Result<()> {
    let (end, branch) = (Finder::new(b"\r\n\r\n"), Finder::new(b"branch=z9hG4bK"));
    let mut input = BytesMut::new();
    loop {
        input.reserve(READ);
        ensure!(reader.read_buf(&mut input).await? > 0, "closed");
        while let Some(answer) = front_end::answer(&input, &end, &branch)? {
            let text = input.get(..answer.size).unwrap_or_default();
            house.answered(answer, text);
            input.advance(answer.size);
        }
    }
}

impl House {
    fn line(&self, pair: u32) -> &Outbox {
        &self.lines[pair as usize % SIP_CONNECTIONS]
    }

    fn count(&self) -> Count {
        let tally = self.tally.borrow();
        Count {
            messages: tally.messages,
            wrong: tally.wrong,
            trouble: tally.trouble.clone(),
            subscriptions: self.subscriptions.get(),
            everything: self.requests.get(),
        }
    }

    fn answered(&self, answer: front_end::Answer, text: &[u8]) {
        let subscribe = memmem::find(text, b" SUBSCRIBE\r\n").is_some();
        match (answer.status, answer.pair) {
            (100..200, _) => {}
            // The NOTIFY says more.
            (200, _) if subscribe => {}
            (200, Some(pair)) => self.events.happened(Kind::Answered, pair),
            _ => {
                let text = String::from_utf8_lossy(text).into_owned();
                self.tally.borrow_mut().complain(text.clone());
                if subscribe { &self.established } else { &self.events }.refused(text);
            }
        }
    }

    /// A NOTIFY with a note to the gateway.
    fn notify(&self, pair: u32, sequence: u32, template: &Template) -> Result<()> {
        let mut dialogs = self.dialogs.borrow_mut();
        let dialog = dialogs.get_mut(pair as usize).context("no such pair")?;
        ensure!(!dialog.head.is_empty(), "the gateway has not subscribed for pair {pair}");
        dialog.cseq += 1;
        self.line(pair).write(|out| {
            out.extend_from_slice(&dialog.head);
            let _ = write!(out, "CSeq: {} NOTIFY\r\n", dialog.cseq);
            template.write(out, pair, 0, sequence);
        });
        Ok(())
    }

    /// A connection of the gateway.
    async fn serve(&self, tcp: TcpStream) -> Result<()> {
        tcp.set_nodelay(true)?;
        let mut stream = self.tls.accept(tcp).await?;
        let end = Finder::new(b"\r\n\r\n");
        let (mut input, mut out) = (BytesMut::new(), Vec::new());
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
                self.request(request, &mut out)?;
                let size = request.size;
                input.advance(size);
            }
            stream.write_all(&out).await?;
            stream.flush().await?;
            out.clear();
        }
    }

    fn request(&self, request: Request<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.requests.set(self.requests.get() + 1);
        if request.head.starts_with(b"NOTIFY ") {
            front_end::accept(request.head, out);
            return self.notified(request);
        }
        ensure!(
            request.head.starts_with(b"SUBSCRIBE "),
            "unexpected: {}",
            String::from_utf8_lossy(request.head)
        );
        front_end::accept_with(request.head, &self.accepting, out);
        if field(request.head, "Expires")? != b"0" {
            self.subscribed(request.head)?;
        }
        Ok(())
    }

    /// The gateway shows a user what a contact shows.
    fn notified(&self, request: Request<'_>) -> Result<()> {
        let pair = user(request.head)?;
        let find = |text: &[u8]| memmem::find(request.body, text);
        let (there, note) = match self.dialect {
            Dialect::Pidf => (find(b"<basic>open").is_some(), find(b"<note")),
            Dialect::Categories => {
                let there = find(b"<availability>").is_some() && find(b"<availability>18500<").is_none();
                (there, find(b"<body"))
            }
        };
        if !there {
            return Ok(());
        }
        let note = note.and_then(|at| request.body.get(at..));
        let text = note.and_then(|note| note.get(memchr::memchr(b'>', note)? + 1..));
        match text {
            None => self.established.happened(Kind::Established, pair),
            Some(text) => {
                let pair = self.tally.borrow_mut().message(text);
                if let (Some(pair), true) = (pair, self.feeds) {
                    self.feedback.write(|out| out.extend_from_slice(&pair.to_be_bytes()));
                }
            }
        }
        Ok(())
    }

    /// The gateway subscribes for a contact.
    fn subscribed(&self, head: &[u8]) -> Result<()> {
        // Inside a dialog the request line names the front end.
        let pair = user(field(head, "To")?)?;
        {
            let mut dialogs = self.dialogs.borrow_mut();
            let dialog = dialogs.get_mut(pair as usize).context("no such pair")?;
            if !std::mem::replace(&mut dialog.subscribed, true) {
                self.subscriptions.set(self.subscriptions.get() + 1);
            }
            let text = |name| Ok::<_, anyhow::Error>(std::str::from_utf8(field(head, name)?)?);
            let contact = text("Contact")?;
            let target =
                contact.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(uri, _)| uri);
            let (to, from, call_id) = (text("To")?, text("From")?, text("Call-ID")?);
            let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={}", text::SINK_TAG) };
            dialog.head = format!(
                "NOTIFY {} SIP/2.0\r\nFrom: {to}{tag}\r\nTo: {from}\r\nCall-ID: {call_id}\r\n",
                target.context("no Contact")?
            )
            .into_bytes();
        }
        // Its answer is nobody's: no round is under way.
        self.notify(pair, 0, &self.first)
    }
}

/// The first user in this text.
fn user(text: &[u8]) -> Result<u32> {
    let at = memmem::find(text, b"sip:u").context("no user is named")? + "sip:u".len();
    let digits = text.get(at..at + PAIR_DIGITS).context("a user without a number")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}
