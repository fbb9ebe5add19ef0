//! One end of the connections: it opens them or takes them, with a stream on top or without.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nuncio_xmpp::Domain;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, spawn_local};
use tokio_rustls::TlsStream;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::child::Orders;
use crate::job::{Count, End, HandshakeJob, Handshakes, Order, Outcome, partner_domain};
use crate::partner;
use crate::pki;
use crate::tls::Tls;

use super::talk::{self, IN_CLEAR, UNDER_TLS};

/// Partners whose streams are taken.
const SERVED: usize = 10_000;

/// Opens or takes connections until the orders end.
pub(crate) async fn run(job: HandshakeJob, mut orders: Orders) -> Result<()> {
    let certificate = match &job.end {
        End::OpensStreams { .. } | End::TakesStreams => pki::PARTNER,
        End::OpensTls { certificate, .. } | End::TakesTls { certificate, .. } => certificate,
    };
    let party = Rc::new(Party {
        tls: Tls::load_without_resumption(&job.folder, certificate)?,
        taken: Cell::new(0),
        open: Rc::new(Cell::new(0)),
        opened: Cell::new(0),
        trouble: RefCell::new(None),
        job,
    });
    if matches!(party.job.end, End::TakesStreams | End::TakesTls { .. }) {
        let address = party.job.address;
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        match party.job.end {
            // Under test, and so on all cores, as the gateway is.
            End::TakesTls { talks, .. } => drop(tokio::spawn(take_tls(listener, party.tls.clone(), talks))),
            _ => drop(spawn_local(take_streams(listener, Rc::clone(&party)))),
        }
    }
    orders.answer(&"ready")?;
    while let Some(order) = orders.next().await? {
        match order {
            Order::Handshakes(handshakes) => orders.answer(&party.open(handshakes).await)?,
            Order::Count => {
                let (messages, everything) = (party.taken.get(), party.open.get());
                let trouble = party.trouble.borrow().clone();
                orders.answer(&Count { messages, everything, trouble, ..Count::default() })?;
            }
            order => bail!("{order:?} is nothing for an end of connections"),
        }
    }
    Ok(())
}

struct Party {
    job: HandshakeJob,
    tls: Tls,
    /// Streams that were taken.
    taken: Cell<u64>,
    /// Streams that were opened, kept, and not closed by the other end.
    open: Rc<Cell<u64>>,
    /// The next partner to open a stream.
    opened: Cell<usize>,
    trouble: RefCell<Option<String>>,
}

impl Party {
    /// Opens connections, so many at a time.
    async fn open(self: &Rc<Self>, handshakes: Handshakes) -> Outcome {
        let begin = Instant::now();
        let mut outcome = Outcome { sent: u64::from(handshakes.count), ..Outcome::default() };
        let mut work = JoinSet::new();
        let mut left = handshakes.count;
        loop {
            while left > 0 && work.len() < handshakes.window as usize {
                left -= 1;
                self.begin(&mut work);
            }
            match work.join_next().await {
                None => break,
                Some(Ok(Ok(()))) => outcome.answered += 1,
                Some(Ok(Err(error))) => drop(outcome.trouble.get_or_insert_with(|| format!("{error:#}"))),
                Some(Err(error)) => drop(outcome.trouble.get_or_insert_with(|| error.to_string())),
            }
        }
        outcome.seconds = begin.elapsed().as_secs_f64();
        outcome
    }

    fn begin(self: &Rc<Self>, work: &mut JoinSet<Result<()>>) {
        let (address, tls) = (self.job.address, self.tls.clone());
        match &self.job.end {
            // Under test or not, it needs nothing that is bound to this thread.
            End::OpensTls { peer, talks, .. } => {
                let (peer, talks) = (peer.clone(), *talks);
                work.spawn(async move {
                    let mut tcp = TcpStream::connect(address).await?;
                    tcp.set_nodelay(true)?;
                    if talks {
                        talk::ask(&mut tcp, &IN_CLEAR).await?;
                    }
                    let mut stream = tls.connect(tcp, &peer).await?;
                    ensure!(names(&stream)? > 0, "a certificate without names");
                    if talks {
                        talk::ask(&mut stream, &UNDER_TLS).await?;
                    }
                    // The other end has verified ours when it closes; one that refuses it ends with an error here.
                    stream.shutdown().await?;
                    let mut rest = [0; 64];
                    while stream.read(&mut rest).await? > 0 {}
                    Ok(())
                });
            }
            End::OpensStreams { keeps } => {
                let number = self.opened.get();
                self.opened.set((number + 1) % SERVED);
                let (keeps, open) = (*keeps, Rc::clone(&self.open));
                work.spawn_local(async move {
                    let stream = partner::dial(&tls, address, &partner_domain(number)).await?;
                    if keeps {
                        open.set(open.get() + 1);
                        spawn_local(async move {
                            until_closed(stream.tls).await;
                            open.set(open.get() - 1);
                        });
                        return Ok(());
                    }
                    close(stream.tls).await
                });
            }
            End::TakesStreams | End::TakesTls { .. } => {
                work.spawn(async { bail!("this end takes connections") });
            }
        }
    }
}

/// As partners do, in good order.
async fn close(mut stream: TlsStream<TcpStream>) -> Result<()> {
    stream.write_all(b"</stream:stream>").await?;
    until_closed(stream).await;
    Ok(())
}

async fn until_closed(mut stream: TlsStream<TcpStream>) {
    let mut chunk = [0; 512];
    while matches!(stream.read(&mut chunk).await, Ok(1..)) {}
}

/// TLS, the peer's names, and the end.
async fn take_tls(listener: TcpListener, tls: Tls, talks: bool) {
    while let Ok((mut tcp, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            let work = async {
                tcp.set_nodelay(true)?;
                if talks {
                    talk::answer(&mut tcp, &IN_CLEAR).await?;
                }
                let mut stream = tls.accept(tcp).await?;
                ensure!(names(&stream)? > 0, "a certificate without names");
                if talks {
                    talk::answer(&mut stream, &UNDER_TLS).await?;
                }
                until_closed_by(&mut stream).await;
                Ok(stream.shutdown().await?)
            };
            if let Err(error) = work.await {
                eprintln!("{error:#}");
            }
        });
    }
}

async fn until_closed_by(stream: &mut TlsStream<TcpStream>) {
    let mut chunk = [0; 512];
    while matches!(stream.read(&mut chunk).await, Ok(1..)) {}
}

/// Streams of the gateway; what it sends on them is not looked at.
async fn take_streams(listener: TcpListener, party: Rc<Party>) {
    let served: Result<Vec<Domain>, _> =
        (0..SERVED).map(|number| Domain::parse(&partner_domain(number))).collect();
    let Ok(served) = served else { return };
    let served: Rc<[Domain]> = served.into();
    for number in 0.. {
        let Ok((tcp, _)) = listener.accept().await else { return };
        let (party, served) = (Rc::clone(&party), Rc::clone(&served));
        spawn_local(async move {
            match partner::accept(&party.tls, tcp, &served, number).await {
                Ok(stream) => {
                    party.taken.set(party.taken.get() + 1);
                    until_closed(stream.tls).await;
                }
                Err(error) => drop(party.trouble.borrow_mut().get_or_insert_with(|| format!("{error:#}"))),
            }
        });
    }
}

/// How many names of the peer's certificate could count for a domain.
fn names(stream: &TlsStream<TcpStream>) -> Result<usize> {
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().context("no certificate")?;
    let (_, certificate) = X509Certificate::from_der(chain.first().context("an empty chain")?)?;
    let names = certificate.subject_alternative_name()?.context("no names")?;
    let counts =
        |name: &&GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::OtherName(..));
    Ok(names.value.general_names.iter().filter(counts).count())
}
