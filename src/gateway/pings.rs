//! Pings (XEP-0199), and those among them that somebody waits for: a partner answers on whichever of his streams he likes, mostly
//! on one of his own, so the answer to one that was sent on a stream of ours is found by its id.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use nuncio_translate::{Moment, stanza_id};
use nuncio_xmpp::{StartTag, ns};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Gateway;
use super::settings::Settings;

/// Those whose answers somebody waits for, by their numbers. There are as many as trials under way.
#[derive(Debug, Default)]
pub(super) struct Pings {
    waiting: Mutex<HashMap<u64, Arc<Answered>>>,
}

#[derive(Debug, Default)]
struct Answered {
    answer: OnceLock<Answer>,
    bell: Arc<Notify>,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When it came.
    pub at: Instant,
    /// It is an error, which proves as well as a result that the ping arrived (XEP-0199 §4.1).
    pub is_error: bool,
}

/// A ping from one of our domains to one of a partner's. Whoever drops it waits no more.
#[derive(Debug)]
pub struct Ping {
    id: String,
    number: u64,
    stanza: Vec<u8>,
    answered: Arc<Answered>,
    all: Arc<Pings>,
}

impl Ping {
    /// What is to be written.
    pub fn stanza(&self) -> &[u8] {
        &self.stanza
    }

    /// The id in it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What has come back.
    pub fn answer(&self) -> Option<Answer> {
        self.answered.answer.get().copied()
    }

    /// Rings when something has.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.answered.bell)
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        self.all.waiting.lock().remove(&self.number);
    }
}

impl Gateway {
    /// A ping whose answer is waited for, whatever stream it comes on. It says nothing of what else was sent.
    pub fn ping(&self, local: &str, remote: &str, now: Moment) -> Ping {
        let (number, mut stanza) = (self.next_sequence(), Vec::new());
        let kind = stanza_id::Kind::Query;
        let id = write(&self.settings, kind, number, (local, remote), now, &mut stanza);
        let (answered, all) = (Arc::<Answered>::default(), Arc::clone(&self.pings));
        all.waiting.lock().insert(number, Arc::clone(&answered));
        Ping { id, number, stanza, answered, all }
    }

    /// The answer to the ping of that number has come.
    pub(super) fn ping_answered(&self, number: u64, is_error: bool, now: Moment) {
        let Some(answered) = self.pings.waiting.lock().get(&number).map(Arc::clone) else { return };
        // The first one counts.
        let _ = answered.answer.set(Answer { at: now.instant, is_error });
        answered.bell.notify_one();
    }
}

/// Appends a ping, and returns its id.
pub(super) fn write(
    settings: &Settings,
    kind: stanza_id::Kind,
    number: u64,
    (local, remote): (&str, &str),
    now: Moment,
    out: &mut Vec<u8>,
) -> String {
    let mut id = Vec::with_capacity(stanza_id::ID_MAX);
    let (key, label) = (&settings.node_key, &settings.node_label);
    stanza_id::mint(key, label, kind, number, now.wall(), local, remote, &mut id);
    let id = String::from_utf8(id).unwrap_or_default();
    StartTag::open(out, "iq")
        .attr("type", "get")
        .attr("id", &id)
        .attr("from", local)
        .attr("to", remote)
        .end();
    StartTag::open(out, "ping").ns(ns::PING).empty();
    StartTag::close(out, "iq");
    id
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use nuncio_xmpp::{Addresses, Element, Jid};

    use super::super::testing::{gateway_of, moment};
    use super::*;

    const LOCAL: &str = "contoso.example";
    const REMOTE: &str = "fabrikam.example";

    fn comes(gateway: &Gateway, from: &str, kind: &str, id: &str) {
        let addresses = Addresses { from: Jid::parse(from).unwrap(), to: Jid::parse(LOCAL).unwrap() };
        let answer = Element::new("iq", ns::SERVER).with_attr("type", kind).with_attr("id", id);
        gateway.xmpp_stanza(answer, &addresses, None, moment());
    }

    #[test]
    fn pg_01_the_answer_is_found_whatever_stream_it_comes_on_and_an_error_is_one_as_well() {
        let gateway = gateway_of(LOCAL, REMOTE);
        for (kind, is_error) in [("result", false), ("error", true)] {
            let ping = gateway.ping(LOCAL, REMOTE, moment());
            let written = String::from_utf8_lossy(ping.stanza()).into_owned();
            assert!(
                written.contains(&format!("id='{}' from='{LOCAL}' to='{REMOTE}'", ping.id())),
                "{written}"
            );
            assert!(written.contains("<ping xmlns='urn:xmpp:ping'/>"), "{written}");
            assert_eq!((ping.answer(), ping.bell().notified().now_or_never()), (None, None));
            comes(&gateway, REMOTE, kind, ping.id());
            assert!(ping.bell().notified().now_or_never().is_some());
            assert_eq!(ping.answer().map(|answer| answer.is_error), Some(is_error));
        }
    }

    #[test]
    fn pg_01_who_was_not_asked_has_no_answer_and_nobody_waits_for_ever() {
        let gateway = gateway_of(LOCAL, REMOTE);
        let (ping, other) = (gateway.ping(LOCAL, REMOTE, moment()), gateway.ping(LOCAL, REMOTE, moment()));
        for (from, id) in [
            ("chat.fabrikam.example", ping.id()),
            ("bob@fabrikam.example", ping.id()),
            (REMOTE, other.id()),
            (REMOTE, "ping"),
        ] {
            comes(&gateway, from, "result", id);
            assert_eq!(ping.answer(), None, "{from} {id}");
        }
        assert_eq!(gateway.counters().forged_ids.get(), 2);
        drop((ping, other));
        assert!(gateway.pings.waiting.lock().is_empty());
    }
}
