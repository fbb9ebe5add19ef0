//! The load: MESSAGEs of a front end, or stanzas of partners.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use futures_util::future::try_join_all;
use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Interval, interval_at, timeout};
use tokio_rustls::TlsStream;

use crate::child::Orders;
use crate::front_end;
use crate::job::{
    Direction, GATEWAY, GeneratorJob, Matching, Order, Pace, Round, SIP_CONNECTIONS, Set, partner_domain,
};
use crate::partner;
use crate::pki;
use crate::rounds::{Pairs, Record};
use crate::sessions::{Session, Wire};
use crate::template::{self, Template};
use crate::tls::Tls;

const READ: usize = 64 * 1024;
/// For all sessions to be opened, or ended.
const SESSIONS: Duration = Duration::from_secs(60);

/// Runs rounds until the orders end.
pub(crate) async fn run(job: GeneratorJob, orders: Orders) -> Result<()> {
    match job.direction {
        Direction::SipToXmpp => requests(job, orders).await,
        Direction::XmppToSip => stanzas(job, orders).await,
    }
}

// --- SIP → XMPP ---------------------------------------------------------------------------------

async fn requests(job: GeneratorJob, mut orders: Orders) -> Result<()> {
    let tls = Tls::load(&job.folder, pki::FRONT)?;
    let template = template::request(job.set);
    let mut lines = Vec::new();
    for number in 0..SIP_CONNECTIONS {
        let tcp = TcpStream::connect(job.target)
            .await
            .with_context(|| format!("cannot connect to {}", job.target))?;
        tcp.set_nodelay(true)?;
        lines.push(Line {
            number,
            stream: tls.connect(tcp, GATEWAY).await?,
            input: BytesMut::new(),
            out: Vec::new(),
            pairs: Pairs::new(job.pairs),
            pending: VecDeque::new(),
            sessions: Vec::new(),
        });
    }
    if job.set == Set::Session {
        let open = try_join_all(lines.iter_mut().map(|line| line.open_sessions(&job)));
        timeout(SESSIONS, open).await.context("sessions are not opened")??;
    }
    orders.answer(&"ready")?;
    while let Some(order) = orders.next().await? {
        let round = match order {
            Order::Round(round) => round,
            Order::EndSessions => {
                let end = try_join_all(lines.iter_mut().map(|line| line.end_sessions(&job)));
                timeout(SESSIONS, end).await.context("sessions are not ended")??;
                orders.answer(&"ended")?;
                continue;
            }
            order => bail!("{order:?} is nothing for a generator of requests"),
        };
        let record = RefCell::new(Record::new(round));
        let limit = record.borrow().limit();
        let work = try_join_all(lines.iter_mut().map(|line| line.round(&job, &template, round, &record)));
        if let Err(error) =
            timeout(limit, work).await.context("answers are missing").and_then(|result| result)
        {
            record.borrow_mut().trouble(format!("{error:#}"));
        }
        orders.answer(&record.into_inner().outcome())?;
    }
    Ok(())
}

/// One SIP connection.
struct Line {
    number: usize,
    stream: TlsStream<TcpStream>,
    input: BytesMut,
    out: Vec<u8>,
    pairs: Pairs,
    /// Pairs that wait for their answer, in the order of their requests.
    pending: VecDeque<u32>,
    /// By pair, where they are in sessions.
    sessions: Vec<Option<Session>>,
}

impl Line {
    fn own_pairs(&self, pairs: u32) -> Vec<u32> {
        (0..pairs).filter(|pair| *pair as usize % SIP_CONNECTIONS == self.number).collect()
    }

    fn wire(&mut self, job: &GeneratorJob) -> Wire<'_> {
        Wire { stream: &mut self.stream, input: &mut self.input, partners: job.streams as u32 }
    }

    async fn open_sessions(&mut self, job: &GeneratorJob) -> Result<()> {
        let mut sessions = vec![None; job.pairs as usize];
        let pairs = self.own_pairs(job.pairs);
        self.wire(job).open(&pairs, &mut sessions).await?;
        self.sessions = sessions;
        Ok(())
    }

    async fn end_sessions(&mut self, job: &GeneratorJob) -> Result<()> {
        let (pairs, sessions) = (self.own_pairs(job.pairs), std::mem::take(&mut self.sessions));
        self.wire(job).end(&pairs, &sessions).await
    }

    async fn round(
        &mut self,
        job: &GeneratorJob,
        template: &Template,
        round: Round,
        record: &RefCell<Record>,
    ) -> Result<()> {
        let own = self.own_pairs(round.pairs.min(job.pairs));
        self.pairs.begin(own.into_iter());
        let (end, branch) = (Finder::new(b"\r\n\r\n"), Finder::new(b"branch=z9hG4bK"));
        let mut clock = clock(record.borrow().interval(SIP_CONNECTIONS), self.number);
        let window = match round.pace {
            Pace::Window(window) => window as usize,
            Pace::Rate(_) => usize::MAX,
        };
        let mut waiting = 0;
        let mut more = match round.pace {
            Pace::Window(window) => window as usize,
            Pace::Rate(_) => 0,
        };
        let mut over = false;
        loop {
            let now = Instant::now();
            while more > 0 && waiting < window && self.pairs.any_free() {
                if !record.borrow_mut().send(now) {
                    over = true;
                    break;
                }
                let Some((pair, sequence)) = self.pairs.take(now) else { break };
                let session = self.sessions.get(pair as usize).and_then(Option::as_ref);
                let template = session.map_or(template, |session| &session.message);
                template.write(&mut self.out, pair, pair % job.streams as u32, sequence);
                if job.matching == Matching::Order {
                    self.pending.push_back(pair);
                }
                waiting += 1;
                more -= 1;
            }
            if !self.out.is_empty() {
                self.stream.write_all(&self.out).await?;
                self.stream.flush().await?;
                self.out.clear();
            }
            if over && waiting == 0 {
                return Ok(());
            }
            self.input.reserve(READ);
            tokio::select! {
                size = self.stream.read_buf(&mut self.input) => {
                    ensure!(size? > 0, "the SIP connection was closed");
                    let answers = self.answers(job, &end, &branch, record)?;
                    waiting -= answers;
                    more = if clock.is_none() { window - waiting } else { 0 };
                }
                () = tick(&mut clock), if !over => more = 1,
            }
        }
    }

    /// Counts the answers that have come; returns how many.
    fn answers(
        &mut self,
        job: &GeneratorJob,
        end: &Finder<'_>,
        branch: &Finder<'_>,
        record: &RefCell<Record>,
    ) -> Result<usize> {
        let (mut count, now) = (0, Instant::now());
        let mut record = record.borrow_mut();
        while let Some(answer) = front_end::answer(&self.input, end, branch)? {
            if answer.status >= 200 {
                let pair = match job.matching {
                    Matching::Branch => answer.pair,
                    Matching::Order => self.pending.pop_front(),
                };
                let pair = pair.context("an answer to nothing")?;
                let sent_at = self.pairs.give_back(pair).context("an answer to nobody")?;
                match answer.status {
                    200 => record.answered(sent_at, now),
                    status => {
                        let text = self.input.get(..answer.size).unwrap_or_default();
                        record.refused(format!("{status}: {}", String::from_utf8_lossy(text)));
                    }
                }
                count += 1;
            }
            self.input.advance(answer.size);
        }
        Ok(count)
    }
}

// --- XMPP → SIP ---------------------------------------------------------------------------------

async fn stanzas(job: GeneratorJob, mut orders: Orders) -> Result<()> {
    let mut source = Source {
        tls: Tls::load(&job.folder, pki::PARTNER)?,
        template: template::stanza(job.set),
        streams: Vec::new(),
        feedback: UnixStream::connect(&job.feedback)
            .await
            .context("the sink does not listen for feedback")?,
        input: BytesMut::new(),
        pairs: Pairs::new(job.pairs),
        job,
    };
    source.dial(source.job.streams).await?;
    orders.answer(&"ready")?;
    while let Some(order) = orders.next().await? {
        match order {
            Order::Dial(count) => {
                source.dial(count).await?;
                orders.answer(&"ready")?;
            }
            Order::Round(round) => {
                let mut record = Record::new(round);
                let work = timeout(record.limit(), source.round(round, &mut record)).await;
                if let Err(error) = work.context("messages are missing").and_then(|result| result) {
                    record.trouble(format!("{error:#}"));
                }
                orders.answer(&record.outcome())?;
            }
            order => bail!("{order:?} is nothing for a generator of stanzas"),
        }
    }
    Ok(())
}

/// All partners.
struct Source {
    job: GeneratorJob,
    tls: Tls,
    template: Template,
    streams: Vec<Out>,
    feedback: UnixStream,
    input: BytesMut,
    pairs: Pairs,
}

/// A stream to the gateway.
struct Out {
    writer: WriteHalf<TlsStream<TcpStream>>,
    bytes: Vec<u8>,
}

impl Source {
    async fn dial(&mut self, count: usize) -> Result<()> {
        for number in self.streams.len()..self.streams.len() + count {
            let stream = partner::dial(&self.tls, self.job.target, &partner_domain(number)).await?;
            let (reader, writer) = split(stream.tls);
            tokio::task::spawn_local(discard(reader));
            self.streams.push(Out { writer, bytes: Vec::new() });
        }
        Ok(())
    }

    async fn round(&mut self, round: Round, record: &mut Record) -> Result<()> {
        self.pairs.begin(0..round.pairs.min(self.job.pairs));
        let mut clock = clock(record.interval(1), 0);
        let window = match round.pace {
            Pace::Window(window) => window as usize * SIP_CONNECTIONS,
            Pace::Rate(_) => usize::MAX,
        };
        let mut more = if clock.is_none() { window } else { 0 };
        let (mut waiting, mut over, mut dirty) = (0, false, Vec::new());
        loop {
            let now = Instant::now();
            while more > 0 && waiting < window && self.pairs.any_free() {
                if !record.send(now) {
                    over = true;
                    break;
                }
                let Some((pair, sequence)) = self.pairs.take(now) else { break };
                let number = pair as usize % self.job.streams;
                let stream = self.streams.get_mut(number).context("no such stream")?;
                if stream.bytes.is_empty() {
                    dirty.push(number);
                }
                self.template.write(&mut stream.bytes, pair, number as u32, sequence);
                waiting += 1;
                more -= 1;
            }
            for number in dirty.drain(..) {
                let stream = self.streams.get_mut(number).context("no such stream")?;
                stream.writer.write_all(&stream.bytes).await?;
                stream.writer.flush().await?;
                stream.bytes.clear();
            }
            if over && waiting == 0 {
                return Ok(());
            }
            self.input.reserve(READ);
            tokio::select! {
                size = self.feedback.read_buf(&mut self.input) => {
                    ensure!(size? > 0, "the sink has ended");
                    let now = Instant::now();
                    while self.input.len() >= size_of::<u32>() {
                        let sent_at = self.pairs.give_back(self.input.get_u32()).context("a message of nobody")?;
                        record.answered(sent_at, now);
                        waiting -= 1;
                    }
                    more = if clock.is_none() { window - waiting } else { 0 };
                }
                () = tick(&mut clock), if !over => more = 1,
            }
        }
    }
}

/// The gateway says nothing on streams that partners opened, until it closes them.
async fn discard(mut reader: ReadHalf<TlsStream<TcpStream>>) {
    let mut chunk = [0; 1024];
    while matches!(reader.read(&mut chunk).await, Ok(1..)) {}
}

// --- pace ---------------------------------------------------------------------------------------

/// The clock of one sender among several, which send in turn.
fn clock(period: Option<Duration>, number: usize) -> Option<Interval> {
    let offset = Duration::from_millis(number as u64);
    period.map(|period| interval_at(tokio::time::Instant::now() + offset, period))
}

async fn tick(clock: &mut Option<Interval>) {
    match clock {
        Some(clock) => {
            clock.tick().await;
        }
        None => std::future::pending().await,
    }
}
