//! Rounds: something is sent for each pair in turn, and comes to its end in one or two events.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::{interval_at, timeout};

use crate::job::{Outcome, Pace, Round, SIP_CONNECTIONS};
use crate::rounds::{Pairs, Record};

/// What happened to something that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A subscription stands.
    Established,
    /// The gateway answered with 200.
    Answered,
    /// It is where it should be.
    Arrived,
}

/// One event of a pair.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) pair: u32,
}

/// Where the events go.
#[derive(Clone, Debug)]
pub(super) struct Events(UnboundedSender<Result<Event, String>>);

impl Events {
    pub(super) fn happened(&self, kind: Kind, pair: u32) {
        // Nobody to tell: the process ends.
        let _ = self.0.send(Ok(Event { kind, pair }));
    }

    pub(super) fn refused(&self, what: String) {
        let _ = self.0.send(Err(what));
    }
}

/// The sending side.
#[derive(Debug)]
pub(super) struct Load {
    events: UnboundedReceiver<Result<Event, String>>,
    pairs: Pairs,
}

impl Load {
    pub(super) fn new(pairs: u32) -> (Self, Events) {
        let (sender, events) = unbounded_channel();
        (Self { events, pairs: Pairs::new(pairs) }, Events(sender))
    }

    /// Sends with `write` (the pair and the number of its message) until the round is over and every message has seen all
    /// of `wanted`.
    pub(super) async fn round(
        &mut self,
        round: Round,
        first: u32,
        wanted: &[Kind],
        mut write: impl FnMut(u32, u32) -> Result<()>,
    ) -> Outcome {
        let mut record = Record::new(round);
        let work = timeout(record.limit(), self.run(round, first, wanted, &mut record, &mut write)).await;
        if let Err(error) = work.context("something is missing").and_then(|result| result) {
            record.trouble(format!("{error:#}"));
        }
        record.outcome()
    }

    async fn run(
        &mut self,
        round: Round,
        first: u32,
        wanted: &[Kind],
        record: &mut Record,
        write: &mut impl FnMut(u32, u32) -> Result<()>,
    ) -> Result<()> {
        while self.events.try_recv().is_ok() {}
        self.pairs.begin(first..first + round.pairs);
        let mut clock = record
            .interval(1)
            .map(|period| interval_at(tokio::time::Instant::now() + Duration::from_millis(1), period));
        let window = match round.pace {
            Pace::Window(window) => window as usize * SIP_CONNECTIONS,
            Pace::Rate(_) => usize::MAX,
        };
        let mut due = if clock.is_none() { window } else { 0 };
        // Events that each message still waits for.
        let mut missing: HashMap<u32, usize> = HashMap::new();
        let mut over = false;
        loop {
            let now = Instant::now();
            while due > 0 && missing.len() < window && self.pairs.any_free() {
                if !record.send(now) {
                    over = true;
                    break;
                }
                let Some((pair, sequence)) = self.pairs.take(now) else { break };
                write(pair, sequence)?;
                missing.insert(pair, wanted.len());
                due -= 1;
            }
            if over && missing.is_empty() {
                return Ok(());
            }
            let event = tokio::select! {
                event = self.events.recv() => event.context("nothing happens any more")?,
                () = tick(&mut clock), if !over => {
                    due = 1;
                    continue;
                }
            };
            let now = Instant::now();
            let mut next = Some(event);
            while let Some(event) = next {
                self.settle(event, wanted, &mut missing, record, now);
                next = self.events.try_recv().ok();
            }
            due = if clock.is_none() { window - missing.len() } else { 0 };
        }
    }

    fn settle(
        &mut self,
        event: Result<Event, String>,
        wanted: &[Kind],
        missing: &mut HashMap<u32, usize>,
        record: &mut Record,
        now: Instant,
    ) {
        match event {
            Ok(Event { kind, pair }) if wanted.contains(&kind) => {
                let Some(left) = missing.get_mut(&pair) else {
                    return record.trouble(format!("{kind:?} of pair {pair}, for which nothing was sent"));
                };
                *left -= 1;
                if *left == 0 {
                    missing.remove(&pair);
                    if let Some(sent_at) = self.pairs.give_back(pair) {
                        record.answered(sent_at, now);
                    }
                }
            }
            Ok(_) => {}
            Err(what) => record.refused(what),
        }
    }
}

async fn tick(clock: &mut Option<tokio::time::Interval>) {
    match clock {
        Some(clock) => {
            clock.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Takes the sink's word for what has arrived.
pub(super) async fn listen_to_sink(path: &Path, events: Events) -> Result<()> {
    let mut stream = UnixStream::connect(path).await.context("the sink does not listen for feedback")?;
    spawn_local(async move {
        let mut input = BytesMut::new();
        while matches!(stream.read_buf(&mut input).await, Ok(1..)) {
            while input.len() >= size_of::<u32>() {
                events.happened(Kind::Arrived, input.get_u32());
            }
        }
    });
    Ok(())
}
