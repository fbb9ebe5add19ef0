//! A front end with presence: it listens and it calls, its users are watched, and they watch.
//!
//! It keeps its subscriptions as RFC 6665 asks of both sides, and it outlives the gateway: what was agreed with a
//! gateway that was killed is still known here when it comes back.

mod chat;
mod line;
mod watch;
mod watched;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncWriteExt, split};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsStream;

use crate::World;
use crate::kamailio::{Behind, Place};
use crate::pki::Credential;
use crate::sip_agent::read_message;
use crate::sip_text::SipMessage;
use crate::tls;
use crate::wait::{PATIENCE, within, within_time};

use chat::Chats;
pub use chat::{Chat, Clients, DESCRIPTION, Invited};
use line::Line;
pub use watch::{Asks, Notice, Watch};
pub use watched::{Decision, Watcher};
use watched::{Reply, Watched, user_of};

/// The front end. Clones are the same one.
#[derive(Debug, Clone)]
pub struct FrontEnd {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    world: World,
    /// Of the pool's front ends: where each stands, and what it shows there. What is known all of them know.
    pool: Vec<(Place, Credential)>,
    place: Place,
    book: Mutex<Book>,
    /// The connection to the gateway, or to Kamailio in front of it; replaced when it has ended.
    line: tokio::sync::Mutex<Option<(usize, Line)>>,
    count: AtomicU64,
    last_sent: Mutex<String>,
    arrivals: mpsc::UnboundedSender<Arrival>,
    inbox: tokio::sync::Mutex<mpsc::UnboundedReceiver<Arrival>>,
    /// Which of the pool takes what comes and says nothing any more.
    silent: Mutex<HashSet<usize>>,
    /// Those of the pool that are there, each accepting and serving connections.
    listening: Mutex<HashMap<usize, JoinHandle<()>>>,
}

/// What is known of subscriptions.
#[derive(Debug, Default)]
struct Book {
    watched: Watched,
    chats: Chats,
    /// Who waits for the NOTIFYs of a dialog, by Call-ID and our tag.
    watches: HashMap<(String, String), mpsc::UnboundedSender<SipMessage>>,
    /// The id that the next message of a contact gets, which is kept and not delivered yet.
    keeps: Option<String>,
}

/// A request that came, and how it was answered.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The request.
    pub request: SipMessage,
    /// The answer it got; 0: none.
    pub status: u16,
    /// Which front end of the pool it came to.
    pub at: usize,
}

impl FrontEnd {
    /// Listens at its place; the first request of its own connects to the gateway, or to Kamailio in front of it.
    pub async fn start(world: &World, credential: &Credential) -> Result<Self> {
        world.open_edge(Behind::Agent).await?;
        Self::start_pool(world, vec![(world.edge().place(), credential.clone())]).await
    }

    /// Front ends of one pool, which share what they know: a dialog is at home at each of them.
    pub async fn start_pool(world: &World, pool: Vec<(Place, Credential)>) -> Result<Self> {
        let (place, _) = *pool.first().context("a pool of none")?;
        let count = pool.len();
        let (arrivals, inbox) = mpsc::unbounded_channel();
        let inner = Inner {
            world: world.clone(),
            pool,
            place,
            book: Mutex::default(),
            line: tokio::sync::Mutex::default(),
            count: AtomicU64::new(0),
            last_sent: Mutex::default(),
            arrivals,
            inbox: tokio::sync::Mutex::new(inbox),
            silent: Mutex::default(),
            listening: Mutex::default(),
        };
        let front_end = Self { inner: Arc::new(inner) };
        for which in 0..count {
            front_end.start_one_again(which).await?;
        }
        Ok(front_end)
    }

    /// It is gone, with all of its connections. What it knows of subscriptions it still knows.
    pub async fn kill(&self) {
        self.kill_one(0).await;
    }

    /// One of the pool is gone, with all of its connections.
    pub async fn kill_one(&self, which: usize) {
        let listening = self.listening().remove(&which);
        if let Some(listening) = listening {
            listening.abort();
            // Only then its connections are closed.
            listening.await.ok();
        }
        let mut line = self.inner.line.lock().await;
        if line.as_ref().is_some_and(|(at, _)| *at == which) {
            *line = None;
        }
    }

    /// One of the pool takes what comes, and answers nothing, as one that is about to die.
    pub fn falls_silent(&self, which: usize) {
        self.inner.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(which);
    }

    fn is_silent(&self, which: usize) -> bool {
        self.inner.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&which)
    }

    fn listening(&self) -> MutexGuard<'_, HashMap<usize, JoinHandle<()>>> {
        self.inner.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens again.
    pub async fn start_again(&self) -> Result<()> {
        self.start_one_again(0).await
    }

    /// One of the pool listens again.
    pub async fn start_one_again(&self, which: usize) -> Result<()> {
        let (place, credential) = self.inner.pool.get(which).context("no such front end")?;
        let acceptor = tls::acceptor(self.inner.world.pki(), credential)?;
        let listener = TcpListener::bind(place.listens).await.context("the front end cannot listen")?;
        self.inner.silent.lock().unwrap_or_else(PoisonError::into_inner).remove(&which);
        let serving = self.clone();
        let listening = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).ok();
                let (acceptor, serving) = (acceptor.clone(), serving.clone());
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(tcp).await
                        && let Err(error) = serving.serve(stream.into(), which).await
                    {
                        serving
                            .inner
                            .world
                            .log("front-end")
                            .push(format!("a connection has ended: {error:#}"));
                    }
                });
            }
        });
        self.listening().insert(which, listening);
        Ok(())
    }

    /// The next SUBSCRIBE or MESSAGE (NOTIFYs go to their [`Watch`]).
    pub async fn next(&self) -> Result<Arrival> {
        self.next_within(PATIENCE).await
    }

    /// As [`Self::next`], for what takes its time.
    pub async fn next_within(&self, patience: Duration) -> Result<Arrival> {
        let mut inbox = self.inner.inbox.lock().await;
        let arrival = within_time("a request at the front end", patience, inbox.recv()).await?;
        arrival.context("the front end has ended")
    }

    /// The next request with that method, which must be the next of all.
    pub async fn next_is(&self, method: &str) -> Result<Arrival> {
        let arrival = self.next().await?;
        ensure!(arrival.request.method() == Some(method), "not {method}:\n{}", arrival.request);
        Ok(arrival)
    }

    /// What has come and was not looked at.
    pub async fn waiting(&self) -> Vec<Arrival> {
        let mut inbox = self.inner.inbox.lock().await;
        std::iter::from_fn(|| inbox.try_recv().ok()).collect()
    }

    /// Sends a pager MESSAGE and returns the final answer.
    pub async fn send_message(&self, from: &str, to: &str, body: &str) -> Result<SipMessage> {
        self.send_message_as(from, to, "text/plain;charset=UTF-8", body).await
    }

    /// As [`Self::send_message`], of any media type.
    pub async fn send_message_as(&self, from: &str, to: &str, media: &str, body: &str) -> Result<SipMessage> {
        self.send_fields((from, to), &[("Content-Type", media)], body).await
    }

    /// As [`Self::send_message`], with further header fields.
    pub async fn send_message_with(
        &self,
        (from, to): (&str, &str),
        more: &[(&str, &str)],
        body: &str,
    ) -> Result<SipMessage> {
        let text = ("Content-Type", "text/plain;charset=UTF-8");
        self.send_fields((from, to), &[more, &[text]].concat(), body).await
    }

    async fn send_fields(
        &self,
        (from, to): (&str, &str),
        more: &[(&str, &str)],
        body: &str,
    ) -> Result<SipMessage> {
        let call_id = self.fresh("m");
        let (sender, recipient) = (format!("<sip:{from}>;tag=f{call_id}"), format!("<sip:{to}>"));
        let fields = [("From", &*sender), ("To", &*recipient), ("Call-ID", &*call_id), ("CSeq", "1 MESSAGE")];
        let text = self.request(("MESSAGE", &format!("sip:{to}")), &[], &[&fields, more].concat(), body);
        self.ask(&text).await
    }

    /// Sends a request and waits for the final answer.
    pub async fn ask(&self, request: &str) -> Result<SipMessage> {
        self.ask_with(|| Ok(request.to_owned())).await
    }

    /// As [`Self::ask`]; the request is made when it is its turn, so that the CSeqs of a dialog leave in their order.
    async fn ask_with(&self, make: impl FnOnce() -> Result<String>) -> Result<SipMessage> {
        let (request, answer) = {
            let mut line = self.inner.line.lock().await;
            if line.as_ref().is_none_or(|(_, line)| line.has_ended()) {
                *line = Some(self.open_line().await?);
            }
            let (_, line) = line.as_ref().context("no connection")?;
            let request = make()?;
            request.clone_into(&mut self.inner.last_sent.lock().unwrap_or_else(PoisonError::into_inner));
            let answer = line.send(&request).await?;
            (request, answer)
        };
        within("the answer of the gateway", answer)
            .await?
            .with_context(|| format!("the connection ended before the answer to\n{request}"))
    }

    /// A connection of the first that is there, or would be: it may call where nobody can call it.
    async fn open_line(&self) -> Result<(usize, Line)> {
        let which = self.listening().keys().min().copied().unwrap_or_default();
        let (place, credential) = self.inner.pool.get(which).context("no such front end")?;
        Ok((which, Line::open(&self.inner.world, place, credential).await?))
    }

    /// The request sent last.
    pub fn last_sent(&self) -> String {
        self.inner.last_sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request with the header fields that every one has.
    fn request(
        &self,
        (method, uri): (&str, &str),
        route: &[String],
        headers: &[(&str, &str)],
        body: &str,
    ) -> String {
        let branch = self.fresh("z9hG4bK-");
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS {}:5061;branch={branch}\r\nMax-Forwards: 70\r\n",
            self.inner.place.host
        );
        for entry in route {
            let _ = write!(text, "Route: {entry}\r\n");
        }
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
        text
    }

    /// Its own URI, without brackets.
    fn uri(&self) -> String {
        format!("sip:{}:5061;transport=tls", self.inner.place.host)
    }

    /// A text that was not used before.
    fn fresh(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.inner.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Reads requests of the gateway's and answers each at once.
    async fn serve(&self, stream: TlsStream<tokio::net::TcpStream>, at: usize) -> Result<()> {
        let (mut reader, mut writer) = split(stream);
        let log = self.inner.world.log("front-end");
        let mut buffer = Vec::new();
        while let Some(request) = read_message(&mut reader, &mut buffer).await? {
            ensure!(request.status().is_none(), "an answer to nothing:\n{request}");
            log.push(format!("< {request}"));
            if request.method() == Some("BENOTIFY") {
                // Nobody answers it, whoever it is for.
                self.take_notify(&request)?;
                continue;
            }
            let (status, answer, notify) = match request.method() {
                Some("SUBSCRIBE") => self.take_subscribe(&request)?,
                Some("NOTIFY") => self.take_notify(&request)?,
                Some("INVITE") => self.take_invite(&request)?,
                Some("CANCEL") => self.take_cancel(&request)?,
                Some("ACK") => continue,
                _ => match self.take_in_chat(&request)? {
                    Some(reply) => reply,
                    None => self.take_message(&request)?,
                },
            };
            if self.is_silent(at) {
                if request.method() != Some("NOTIFY") {
                    self.inner.arrivals.send(Arrival { request, status: 0, at }).ok();
                }
                continue;
            }
            log.push(format!("> {answer}"));
            writer.write_all(answer.as_bytes()).await?;
            writer.flush().await?;
            // The NOTIFY follows the answer it belongs to (RFC 6665 s4.2.1.2), on the connection of our own.
            if let Some(order) = notify {
                let front_end = self.clone();
                tokio::spawn(async move {
                    if let Err(error) = front_end.send_notify(order).await {
                        front_end.inner.world.log("front-end").push(format!("a NOTIFY failed: {error:#}"));
                    }
                });
            }
            if request.method() != Some("NOTIFY") {
                self.inner.arrivals.send(Arrival { request, status, at }).ok();
            }
        }
        writer.shutdown().await.ok();
        Ok(())
    }

    /// The next message of a contact is kept, under this id: 202. What becomes of it, the front end says later.
    pub fn keeps_next(&self, id: &str) {
        self.book().keeps = Some(id.to_owned());
    }

    /// The answer to any other request: 200 to users who exist.
    fn take_message(&self, request: &SipMessage) -> Result<Reply> {
        let user = user_of(request)?;
        let mut book = self.book();
        if let Some(id) = book.keeps.take() {
            return Ok((202, request.answer(202, "Accepted", &[("Message-Id", &id)])?, None));
        }
        Ok(match book.watched.knows(&user) {
            true => (200, request.answer(200, "OK", &[])?, None),
            false => (404, request.answer(404, "Not Found", &[])?, None),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
