//! A second partner to whom nothing happens, and how long his messages take meanwhile.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::wait::within;
use nuncio_world::xmpp_client::XmppClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::scene::{check_message, check_request};

/// The SIP user of the conversation.
pub(crate) const CLARA: &str = "clara@contoso.com";
/// The contact, at the second partner.
pub(crate) const DAVE: &str = "dave@northwind.com";

/// A round begins so often, unless the one before takes longer.
const PACE: Duration = Duration::from_millis(10);
const OPENING: &str = "opening";
/// Each phase after that has so many rounds, at least.
const ROUNDS: usize = 200;

/// A conversation that goes on, one message there and one back, until it is stopped.
#[derive(Debug)]
pub(crate) struct Bystander {
    phase: watch::Sender<Option<&'static str>>,
    made: watch::Receiver<usize>,
    task: JoinHandle<Result<Times>>,
    /// How many rounds there are to be before the phase may end.
    due: usize,
}

/// How long each message took, there and back, by phase.
type Times = Vec<(&'static str, Vec<Duration>)>;

/// What has become of the conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// So many messages there, and as many back: all answered with 200, all delivered once and in their turn.
    pub(crate) rounds: u64,
    /// How long they took, for people.
    pub(crate) times: String,
}

impl Bystander {
    /// Starts the conversation: Clara writes on the connection, Dave's messages to her come out of `requests`. The first phase
    /// is the opening of streams, which is like nothing that comes later.
    pub(crate) fn start(
        calls: SipConnection,
        dave: XmppClient,
        requests: mpsc::UnboundedReceiver<SipMessage>,
    ) -> Self {
        let (phase, phases) = watch::channel(Some(OPENING));
        let (makes, made) = watch::channel(0);
        let task = tokio::spawn(converse(calls, dave, requests, phases, makes));
        Self { phase, made, task, due: 1 }
    }

    /// What follows is counted as that, from now on.
    pub(crate) fn enter(&mut self, phase: &'static str) {
        self.due = *self.made.borrow() + ROUNDS;
        self.phase.send_replace(Some(phase));
    }

    /// Waits until this phase has as many rounds as each has to have: they need nothing that does not work in this phase.
    /// Fails when one of them failed.
    pub(crate) async fn rounds(&mut self) -> Result<()> {
        let due = self.due;
        let made = within("the bystander's messages", self.made.wait_for(|&made| made >= due)).await?;
        let ended = made.is_err();
        drop(made);
        if ended {
            (&mut self.task).await??;
        }
        Ok(())
    }

    /// Ends the conversation.
    pub(crate) async fn stop(&mut self) -> Result<Conversation> {
        self.phase.send_replace(None);
        let times = (&mut self.task).await??;
        let messages: usize = times.iter().map(|(_, times)| times.len()).sum();
        Ok(Conversation { rounds: u64::try_from(messages / 2)?, times: beside_each_other(times) })
    }
}

/// The phases, each with the first beside it.
fn beside_each_other(times: Times) -> String {
    let mut text = String::from("the other partner's messages, p50/p99 in ms:");
    let mut first = None;
    for (phase, mut times) in times.into_iter().filter(|(phase, _)| *phase != OPENING) {
        times.sort();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1));
        let ms = |percent| at(percent).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        let _ = write!(text, " {phase} {:.1}/{:.1}", ms(50), ms(99));
        match first {
            None => first = Some(ms(99)),
            Some(first) => _ = write!(text, " (p99 × {:.2})", ms(99) / first),
        }
        let _ = write!(text, ", {} messages;", times.len());
    }
    text.trim_end_matches(';').to_owned()
}

async fn converse(
    mut calls: SipConnection,
    mut dave: XmppClient,
    mut requests: mpsc::UnboundedReceiver<SipMessage>,
    phases: watch::Receiver<Option<&'static str>>,
    makes: watch::Sender<usize>,
) -> Result<Times> {
    let mut times = Times::new();
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0.. {
        let Some(phase) = *phases.borrow() else { break };
        let text = format!("round {round}");
        let started = Instant::now();
        let call = calls.send_message(CLARA, DAVE, &text).await?;
        check_message(&dave.next_message().await?, CLARA, DAVE, &text)?;
        let there = started.elapsed();
        let answer = calls.final_answer(&call).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let started = Instant::now();
        dave.send_message(CLARA, &text).await?;
        let request = within("Dave's message", requests.recv()).await?.context("the front end has ended")?;
        check_request(&request, DAVE, CLARA, &text)?;
        if times.last().is_none_or(|(last, _)| *last != phase) {
            times.push((phase, Vec::new()));
        }
        if let Some((_, times)) = times.last_mut() {
            times.extend([there, started.elapsed()]);
        }
        makes.send_replace(round + 1);
        pace.tick().await;
    }
    let more = dave.stanzas_before_ping("end").await?;
    ensure!(more.is_empty() && requests.try_recv().is_err(), "more than was sent: {more:?}");
    Ok(times)
}
