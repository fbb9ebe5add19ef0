//! The bare relay: what is physically possible with this TLS, this runtime and this machine.
//!
//! It frames SIP requests, writes one constant stanza for each to one connection, and gives each the same answer — after
//! the same hand-over as the gateway: once the write is complete, or once the other side has acknowledged. It reads
//! nothing else, knows no addresses, keeps no pairs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use memchr::memmem::{self, Finder};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsStream;

use crate::child::Orders;
use crate::front_end;
use crate::job::{RelayJob, partner_domain};
use crate::pki;
use crate::template::{constant_answer, constant_stanza};
use crate::tls::Tls;

const READ: usize = 64 * 1024;

/// Relays until the orders end.
pub(crate) async fn run(job: RelayJob, mut orders: Orders) -> Result<()> {
    let tcp = TcpStream::connect(job.sink).await.context("the sink does not listen")?;
    tcp.set_nodelay(true)?;
    let (reader, writer) = split(Tls::load(&job.folder, pki::XMPP)?.connect(tcp, &partner_domain(0)).await?);
    let relay = Arc::new(Relay {
        stanza: constant_stanza(job.set),
        answer: constant_answer(),
        waits_for_acknowledgement: job.waits_for_acknowledgement,
        out: Queue::default(),
        written: Mutex::default(),
    });
    tokio::spawn(forward(Arc::clone(&relay), writer));
    tokio::spawn(acknowledgements(Arc::clone(&relay), reader));
    let listener = TcpListener::bind(job.listen).await?;
    let tls = Tls::load(&job.folder, pki::SIP)?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, relay) = (tls.clone(), Arc::clone(&relay));
            tokio::spawn(async move {
                tcp.set_nodelay(true)?;
                let (reader, writer) = split(tls.accept(tcp).await?);
                let answers = Arc::new(Queue::default());
                tokio::spawn(reply(Arc::clone(&answers), writer));
                requests(relay, answers, reader).await
            });
        }
    });
    orders.answer(&"ready")?;
    while orders.next().await?.is_some() {}
    Ok(())
}

struct Relay {
    stanza: Vec<u8>,
    answer: Vec<u8>,
    waits_for_acknowledgement: bool,
    out: Queue<Share>,
    /// Written to the sink, not yet acknowledged.
    written: Mutex<VecDeque<Share>>,
}

/// Requests of one connection in a row.
struct Share {
    answers: Arc<Queue<()>>,
    count: u64,
}

/// Bytes for one writer, and whose they are.
struct Queue<T> {
    content: Mutex<(Vec<u8>, Vec<T>)>,
    wake: Notify,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { content: Mutex::new((Vec::new(), Vec::new())), wake: Notify::new() }
    }
}

impl<T> Queue<T> {
    fn push(&self, bytes: &[u8], count: u64, owner: Option<T>) {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count {
            content.0.extend_from_slice(bytes);
        }
        content.1.extend(owner);
        drop(content);
        self.wake.notify_one();
    }

    async fn take(&self, bytes: &mut Vec<u8>) -> Vec<T> {
        loop {
            {
                let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
                if !content.0.is_empty() {
                    std::mem::swap(&mut content.0, bytes);
                    return std::mem::take(&mut content.1);
                }
            }
            self.wake.notified().await;
        }
    }
}

impl Relay {
    fn answer(&self, share: &Share) {
        share.answers.push(&self.answer, share.count, None);
    }
}

/// Frames requests.
async fn requests(
    relay: Arc<Relay>,
    answers: Arc<Queue<()>>,
    mut reader: ReadHalf<TlsStream<TcpStream>>,
) -> Result<()> {
    let end = Finder::new(b"\r\n\r\n");
    let mut input = BytesMut::new();
    loop {
        input.reserve(READ);
        if reader.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut count = 0;
        while let Some(request) = front_end::request(&input, &end)? {
            count += 1;
            input.advance(request.size);
        }
        if count > 0 {
            relay.out.push(&relay.stanza, count, Some(Share { answers: Arc::clone(&answers), count }));
        }
    }
}

/// Writes stanzas to the sink.
async fn forward(relay: Arc<Relay>, mut writer: WriteHalf<TlsStream<TcpStream>>) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let shares = relay.out.take(&mut bytes).await;
        if relay.waits_for_acknowledgement {
            // Before the write: the acknowledgement may be faster than we are.
            relay.written.lock().unwrap_or_else(PoisonError::into_inner).extend(shares);
            writer.write_all(&bytes).await?;
            writer.flush().await?;
        } else {
            writer.write_all(&bytes).await?;
            writer.flush().await?;
            shares.iter().for_each(|share| relay.answer(share));
        }
        bytes.clear();
    }
}

/// Reads `<a h='…'/>`.
async fn acknowledgements(relay: Arc<Relay>, mut reader: ReadHalf<TlsStream<TcpStream>>) -> Result<()> {
    let (mut input, mut before) = (BytesMut::new(), 0);
    loop {
        input.reserve(READ);
        if reader.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Some(size) = memmem::find(&input, b"/>").map(|at| at + 2) {
            let text = std::str::from_utf8(input.get(..size).unwrap_or_default())?;
            let handled = text.split_once("h='").and_then(|(_, rest)| rest.split_once('\''));
            let handled: u64 = handled.context("an acknowledgement without a number")?.0.parse()?;
            let mut acknowledged = handled - before;
            before = handled;
            let mut written = relay.written.lock().unwrap_or_else(PoisonError::into_inner);
            while acknowledged > 0 {
                let share = written.front_mut().context("an acknowledgement of nothing")?;
                let count = share.count.min(acknowledged);
                share.answers.push(&relay.answer, count, None);
                share.count -= count;
                acknowledged -= count;
                if share.count == 0 {
                    written.pop_front();
                }
            }
            drop(written);
            input.advance(size);
        }
    }
}

/// Writes answers.
async fn reply(answers: Arc<Queue<()>>, mut writer: WriteHalf<TlsStream<TcpStream>>) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        answers.take(&mut bytes).await;
        writer.write_all(&bytes).await?;
        writer.flush().await?;
        bytes.clear();
    }
}
