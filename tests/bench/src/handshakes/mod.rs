//! Streams that are opened and closed again, in both directions, beside TLS and nothing else: what it costs to get to know
//! each other. And streams of ten thousand partners that are left alone: what they weigh.
//!
//! The bare one beside it is the same TLS library, verifies the same chain and reads the same names of the certificate.
//! Nobody resumes a session. A third one is the bare one with as much to and fro as a stream has: what is between it and the
//! gateway is what the gateway makes of it.

pub(crate) mod end;
mod talk;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::Arguments;
use crate::gateway::{Gateway, Place};
use crate::job::{
    Count, Direction, End, GeneratorJob, HandshakeJob, Handshakes, Matching, Order, Outcome, Pace, Round,
    SIP_CONNECTIONS, SIP_DOMAIN, Set, Until, partner_domain,
};
use crate::pki::{self, Keys};
use crate::process::{Role, Usage};

/// Connections that are being opened at the same time.
const WINDOW: u32 = 16;
/// Handshakes of one run; each goes to a domain of its own if we open the streams.
const RUN: u32 = 2_000;
/// Handshakes of a quick run.
const QUICK: u32 = 40;
/// Partners whose streams are left alone.
const IDLE: usize = 10_000;
/// Of these, opened for each order.
const AT_A_TIME: u32 = 500;

/// Limits of a gateway that has so many streams at once, from one address.
const MANY: &str =
    "\n[limits.xmpp]\nconnections = 10000\nstreams = 10000\nunauthenticated_per_address = 256\n";

/// What all measurements here share.
pub(crate) struct Acquaintance<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) program: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) place: Place,
}

/// Who opens the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Opened {
    /// The partners.
    Inbound,
    /// The process under test.
    Outbound,
}

/// One line: the gateway, the bare one, and the bare one that talks as much as a stream.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) opened: Opened,
    pub(crate) keys: Keys,
    pub(crate) gateway: Vec<Run>,
    pub(crate) bare: Vec<Run>,
    pub(crate) talking: Vec<Run>,
}

/// Handshakes of one process under test.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) handshakes: u64,
    pub(crate) per_second: f64,
    /// Processor time of the process under test for each, user and system.
    pub(crate) cpu_us: f64,
}

/// Memory of the gateway with idle streams.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct IdleStreams {
    /// Partner domains, each with one stream that it opened.
    pub(crate) partners: usize,
    /// Resident bytes for each.
    pub(crate) bytes: u64,
    /// Of the whole process with all of them.
    pub(crate) resident_bytes: u64,
}

/// Lines of the table.
pub(crate) fn lines() -> [(Opened, Keys); 4] {
    let (p256, rsa) = (Keys::P256, Keys::Rsa2048);
    [(Opened::Inbound, p256), (Opened::Outbound, p256), (Opened::Inbound, rsa), (Opened::Outbound, rsa)]
}

/// The name of a line, for `--only`.
pub(crate) fn name((opened, keys): (Opened, Keys)) -> String {
    let way = match opened {
        Opened::Inbound => "in",
        Opened::Outbound => "out",
    };
    let keys = match keys {
        Keys::P256 => "p-256",
        Keys::Rsa2048 => "rsa-2048",
    };
    format!("handshakes {way}, {keys}")
}

impl Acquaintance<'_> {
    /// A line. They take turns, so that what else the machine does meets all.
    pub(crate) fn compare(&self, (opened, keys): (Opened, Keys)) -> Result<Compared> {
        let folder = self.folder.join(name((opened, keys)));
        std::fs::create_dir(&folder)?;
        pki::make(&folder, keys)?;
        let (mut gateway, mut bare, mut talking) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.arguments.runs() {
            match opened {
                Opened::Inbound => {
                    gateway.push(self.inbound(&folder).context("gateway")?);
                    bare.push(self.bare_inbound(&folder, false).context("bare")?);
                    talking.push(self.bare_inbound(&folder, true).context("bare, talking")?);
                }
                Opened::Outbound => {
                    gateway.push(self.outbound(&folder).context("gateway")?);
                    bare.push(self.bare_outbound(&folder, false).context("bare")?);
                    talking.push(self.bare_outbound(&folder, true).context("bare, talking")?);
                }
            }
        }
        Ok(Compared { opened, keys, gateway, bare, talking })
    }

    /// Streams of many partners, opened once and left alone.
    pub(crate) fn idle(&self) -> Result<IdleStreams> {
        let partners = if self.arguments.quick { QUICK as usize } else { IDLE };
        let more = format!(
            "\n[limits.xmpp]\nconnections = {0}\nstreams = {0}\nunauthenticated_per_address = 256\nkeep_alive = '1d'\n\
             inactivity = '30d'\n",
            partners * 2
        );
        let gateway = Gateway::start_with(self.program, self.place, self.folder, &more, partners)?;
        let mut dialler = self.end(End::OpensStreams { keeps: true }, self.folder, false)?;
        // The first ones bring with them what all share.
        let first = AT_A_TIME.min(partners as u32 / 2);
        dialler.ask::<Outcome>(order(first))?;
        let before = gateway.usage()?.bytes;
        let mut open = first;
        while (open as usize) < partners {
            let count = AT_A_TIME.min(partners as u32 - open);
            let outcome: Outcome = dialler.ask(order(count))?;
            let trouble = outcome.trouble.unwrap_or_default();
            ensure!(outcome.answered == u64::from(count), "{trouble}\n{}", gateway.text());
            open += count;
        }
        let after = gateway.usage()?.bytes;
        // All of them are still there, or the figure means nothing.
        let alive: Count = dialler.ask(Order::Count)?;
        ensure!(
            alive.everything == partners as u64,
            "only {} streams are open\n{}",
            alive.everything,
            gateway.text()
        );
        gateway.kill()?;
        let bytes = after.saturating_sub(before) / u64::from(open - first);
        Ok(IdleStreams { partners, bytes, resident_bytes: after })
    }

    fn count(&self) -> u32 {
        if self.arguments.quick { QUICK } else { RUN }
    }

    /// Partners open streams, until stanzas could flow, and close the connection.
    fn inbound(&self, folder: &Path) -> Result<Run> {
        // Warm-up included, each stream is of another partner.
        let partners = 2 * self.count() as usize;
        let gateway = Gateway::start_with(self.program, self.place, folder, MANY, partners)?;
        let mut dialler = self.end(End::OpensStreams { keeps: false }, folder, false)?;
        self.warm_up(&mut dialler)?;
        let run = measured(|| gateway.usage(), || dialler.ask(order(self.count())));
        let run = run.with_context(|| gateway.text())?;
        gateway.kill()?;
        Ok(run)
    }

    fn bare_inbound(&self, folder: &Path, talks: bool) -> Result<Run> {
        let bare = self.end(End::TakesTls { certificate: pki::XMPP.into(), talks }, folder, true)?;
        let opens = End::OpensTls { certificate: pki::PARTNER.into(), peer: SIP_DOMAIN.into(), talks };
        let mut dialler = self.end(opens, folder, false)?;
        self.warm_up(&mut dialler)?;
        measured(|| bare.usage(), || dialler.ask(order(self.count())))
    }

    /// A message for each of many partners makes the gateway open a stream to each.
    fn outbound(&self, folder: &Path) -> Result<Run> {
        let (count, place) = (self.count(), self.place);
        let mut partners = self.end(End::TakesStreams, folder, false)?;
        let gateway = Gateway::start_with(self.program, place, folder, MANY, count as usize)?;
        let job = GeneratorJob {
            direction: Direction::SipToXmpp,
            set: Set::Small,
            pairs: count,
            streams: count as usize,
            target: place.sip(),
            folder: folder.to_owned(),
            matching: Matching::Branch,
            feedback: folder.join("feedback"),
        };
        let mut generator = Role::start("generator", &job, false).with_context(|| gateway.text())?;
        let round = Round {
            pace: Pace::Window(WINDOW / SIP_CONNECTIONS as u32),
            until: Until::Messages(u64::from(count)),
            pairs: count,
        };
        let before = gateway.usage()?;
        let outcome: Outcome = generator.ask(Order::Round(round))?;
        let after = gateway.usage()?;
        ensure!(
            outcome.answered == outcome.sent,
            "{}\n{}",
            outcome.trouble.unwrap_or_default(),
            gateway.text()
        );
        // A connection of the front end that is ahead of the others comes to its first partners again.
        let taken: Count = partners.ask(Order::Count)?;
        ensure!(
            taken.messages > 0,
            "no stream came: {}\n{}",
            taken.trouble.unwrap_or_default(),
            gateway.text()
        );
        gateway.kill()?;
        Ok(Run::new(taken.messages, outcome.seconds, before, after))
    }

    fn bare_outbound(&self, folder: &Path, talks: bool) -> Result<Run> {
        let _partner = self.end(End::TakesTls { certificate: pki::PARTNER.into(), talks }, folder, false)?;
        let opens = End::OpensTls { certificate: pki::XMPP.into(), peer: partner_domain(0), talks };
        let mut bare = self.end(opens, folder, true)?;
        self.warm_up(&mut bare)?;
        let before = bare.usage()?;
        let outcome: Outcome = bare.ask(order(self.count()))?;
        let after = bare.usage()?;
        checked(&outcome)?;
        Ok(Run::new(outcome.answered, outcome.seconds, before, after))
    }

    fn end(&self, end: End, folder: &Path, free: bool) -> Result<Role> {
        // Streams go to the gateway or to the partners; bare TLS goes from one to the other on the partners' address.
        let address = match end {
            End::OpensStreams { .. } => self.place.xmpp(),
            End::TakesStreams | End::TakesTls { .. } | End::OpensTls { .. } => self.place.partner(),
        };
        Role::start("end", &HandshakeJob { end, address, folder: folder.to_owned() }, free)
    }

    fn warm_up(&self, dialler: &mut Role) -> Result<()> {
        checked(&dialler.ask(order(self.count() / 10))?)
    }
}

impl Run {
    fn new(handshakes: u64, seconds: f64, before: Usage, after: Usage) -> Self {
        let count = handshakes.max(1) as f64;
        Self {
            handshakes,
            per_second: count / seconds.max(1e-9),
            cpu_us: (after.seconds - before.seconds) * 1e6 / count,
        }
    }
}

fn order(count: u32) -> Order {
    Order::Handshakes(Handshakes { count, window: WINDOW })
}

fn measured(usage: impl Fn() -> Result<Usage>, work: impl FnOnce() -> Result<Outcome>) -> Result<Run> {
    let before = usage()?;
    let outcome = work()?;
    let after = usage()?;
    checked(&outcome)?;
    Ok(Run::new(outcome.answered, outcome.seconds, before, after))
}

/// A run counts only if every handshake came to its end.
fn checked(outcome: &Outcome) -> Result<()> {
    let trouble = outcome.trouble.as_deref().unwrap_or_default();
    ensure!(
        outcome.answered == outcome.sent,
        "{} of {} handshakes: {trouble}",
        outcome.answered,
        outcome.sent
    );
    Ok(())
}
