//! The XMPP side: contacts with their servers. They agree to whoever asks, ask themselves, and show themselves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use memchr::memmem::{self, Finder};
use nuncio_xmpp::Domain;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::spawn_local;
use tokio_rustls::TlsStream;

use super::line::{Outbox, keep};
use super::load::{Events, Kind, Load, listen_to_sink};
use super::text;
use crate::child::Orders;
use crate::gateway::PARTNERS;
use crate::job::{Count, Direction, Order, Pace, PresenceJob, Round, Until, partner_domain, partner_number};
use crate::partner;
use crate::pki;
use crate::sink::pong;
use crate::tally::{PAIR_DIGITS, Tally};
use crate::template::Template;
use crate::tls::Tls;

const READ: usize = 64 * 1024;
/// Subscriptions under way while they are established.
const ESTABLISHING: u32 = 64;

/// Takes orders until they end.
pub(crate) async fn run(job: PresenceJob, mut orders: Orders) -> Result<()> {
    let served: Result<Vec<_>, _> =
        (0..PARTNERS).map(|number| Domain::parse(&partner_domain(number))).collect();
    let (mut load, events) = Load::new(job.pairs);
    let (mut establishing, established) = Load::new(job.pairs);
    let contacts = Rc::new(Contacts {
        tls: Tls::load(&job.folder, pki::PARTNER)?,
        served: served?.into(),
        tally: RefCell::new(Tally::new(job.pairs)),
        streams: (0..job.streams).map(|_| Rc::new(Outbox::default())).collect(),
        feedback: Rc::new(Outbox::default()),
        feeds: job.direction == Direction::SipToXmpp,
        established,
        agreed: text::subscription("subscribed"),
        here: text::first_presence(),
        stanzas: Cell::new(0),
    });
    match job.direction {
        Direction::XmppToSip => listen_to_sink(&job.feedback, events).await?,
        Direction::SipToXmpp => {
            let (listener, outbox) = (UnixListener::bind(&job.feedback)?, Rc::clone(&contacts.feedback));
            spawn_local(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = outbox.pump(&mut stream).await;
                }
            });
        }
    }
    let listener =
        TcpListener::bind(job.listen).await.with_context(|| format!("cannot listen on {}", job.listen))?;
    spawn_local(accept(Rc::clone(&contacts), listener));
    for (number, outbox) in contacts.streams.iter().enumerate() {
        let (tls, target) = (contacts.tls.clone(), job.target);
        let connect = move || {
            let tls = tls.clone();
            async move { Ok(partner::dial(&tls, target, &partner_domain(number)).await?.tls) }
        };
        keep(Rc::clone(outbox), connect, discard);
    }

    orders.answer(&"ready")?;
    let (presence, subscribe) = (text::presence(), text::subscription("subscribe"));
    while let Some(order) = orders.next().await? {
        match order {
            Order::Round(round) => {
                let outcome = load.round(round, 0, &[Kind::Arrived], |pair, sequence| {
                    contacts.write(pair, sequence, &presence);
                    Ok(())
                });
                orders.answer(&outcome.await)?;
            }
            Order::Establish(range) => {
                let round = Round {
                    pace: Pace::Window(ESTABLISHING),
                    until: Until::Messages(u64::from(range.last - range.first)),
                    pairs: range.last - range.first,
                };
                let outcome =
                    establishing.round(round, range.first, &[Kind::Established], |pair, sequence| {
                        contacts.write(pair, sequence, &subscribe);
                        Ok(())
                    });
                orders.answer(&outcome.await)?;
            }
            Order::Count => orders.answer(&contacts.count())?,
            Order::Dial(_) | Order::Handshakes(_) | Order::Anew | Order::EndSessions => {
                bail!("{order:?} is nothing for contacts")
            }
        }
    }
    Ok(())
}

struct Contacts {
    tls: Tls,
    served: Arc<[Domain]>,
    tally: RefCell<Tally>,
    /// To the gateway, one per domain.
    streams: Vec<Rc<Outbox>>,
    /// To the front end: whose presence has come.
    feedback: Rc<Outbox>,
    feeds: bool,
    established: Events,
    agreed: Template,
    here: Template,
    stanzas: Cell<u64>,
}

async fn accept(contacts: Rc<Contacts>, listener: TcpListener) {
    for number in 0.. {
        let Ok((tcp, _)) = listener.accept().await else { return };
        let contacts = Rc::clone(&contacts);
        spawn_local(async move {
            if let Err(error) = contacts.serve(tcp, number).await {
                // A gateway that is killed says no goodbye.
                let text = format!("{error:#}");
                if !text.contains("close_notify") && !text.contains("reset") && !text.contains("Broken pipe")
                {
                    contacts.tally.borrow_mut().complain(text);
                }
            }
        });
    }
}

/// The gateway says nothing on streams that partners opened, until it closes them.
async fn discard(mut reader: ReadHalf<TlsStream<TcpStream>>) -> Result<()> {
    let mut chunk = [0; 1024];
    while reader.read(&mut chunk).await? > 0 {}
    Ok(())
}

impl Contacts {
    fn write(&self, pair: u32, sequence: u32, template: &Template) {
        let number = pair as usize % self.streams.len();
        self.streams[number].write(|out| template.write(out, pair, number as u32, sequence));
    }

    fn count(&self) -> Count {
        let tally = self.tally.borrow();
        Count {
            messages: tally.messages,
            wrong: tally.wrong,
            trouble: tally.trouble.clone(),
            subscriptions: 0,
            everything: self.stanzas.get(),
        }
    }

    /// A stream of the gateway.
    async fn serve(&self, tcp: TcpStream, number: u64) -> Result<()> {
        let partner::Stream { mut tls, local, .. } =
            partner::accept(&self.tls, tcp, &self.served, number).await?;
        let domain = partner_number(&local).context("a domain without a number")?;
        let (presence_end, iq_end) = (Finder::new(b"</presence>"), Finder::new(b"</iq>"));
        let mut input = BytesMut::new();
        loop {
            input.reserve(READ);
            if tls.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            loop {
                let bytes: &[u8] = &input;
                if bytes.starts_with(b"<presence") {
                    let Some(tag) = memchr::memchr(b'>', bytes) else { break };
                    let empty = tag > 0 && bytes[tag - 1] == b'/';
                    let end = if empty { Some(tag + 1) } else { presence_end.find(bytes).map(|at| at + 11) };
                    let Some(end) = end else { break };
                    self.presence(&bytes[..end])?;
                    input.advance(end);
                } else if bytes.starts_with(b"<iq") {
                    let Some(at) = iq_end.find(bytes) else { break };
                    let pong = pong(&bytes[..at + 5])?;
                    if let Some(stream) = self.streams.get(domain) {
                        stream.write(|out| out.extend_from_slice(&pong));
                    }
                    input.advance(at + 5);
                } else if bytes.starts_with(b"</stream") || bytes.starts_with(b"<stream:error") {
                    tls.write_all(b"</stream:stream>").await?;
                    return Ok(tls.shutdown().await?);
                } else if bytes.len() < "</stream".len() {
                    break;
                } else {
                    bail!("unexpected: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
                }
            }
        }
    }

    fn presence(&self, stanza: &[u8]) -> Result<()> {
        self.stanzas.set(self.stanzas.get() + 1);
        let has = |text: &str| memmem::find(stanza, text.as_bytes()).is_some();
        if let Some(at) = memmem::find(stanza, b"<status") {
            let text = stanza.get(at..).unwrap_or_default();
            let text = memchr::memchr(b'>', text).and_then(|end| text.get(end + 1..)).unwrap_or_default();
            let pair = self.tally.borrow_mut().message(text);
            if let (Some(pair), true) = (pair, self.feeds) {
                self.feedback.write(|out| out.extend_from_slice(&pair.to_be_bytes()));
            }
            return Ok(());
        }
        let pair = contact(stanza)?;
        if has(" type='subscribed'") {
            self.established.happened(Kind::Established, pair);
        } else if has(" type='subscribe'") {
            self.write(pair, 0, &self.agreed);
            self.write(pair, 0, &self.here);
        } else if has(" type='probe'") {
            self.write(pair, 0, &self.here);
        } else {
            ensure!(!has(" type='un") || has(" type='unavailable'"), "{}", String::from_utf8_lossy(stanza));
        }
        Ok(())
    }
}

/// The contact that a stanza is for.
fn contact(stanza: &[u8]) -> Result<u32> {
    let at = memmem::find(stanza, b" to='c").context("nobody's stanza")? + " to='c".len();
    let digits = stanza.get(at..at + PAIR_DIGITS).context("no number in the address")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}
