//! Our own header.

use compact_str::CompactString;

use super::Wire;
use crate::jid::Domain;
use crate::stream::settings::StreamIds;
use crate::xml::{StartTag, ns};

/// What stands in our header, as far as it is known.
#[derive(Debug)]
pub(in crate::stream) struct Greeting {
    pub(in crate::stream) from: Option<Domain>,
    pub(in crate::stream) to: Option<Domain>,
    pub(in crate::stream) version: bool,
    /// Whether dialback is announced (DB-01).
    pub(in crate::stream) dialback: bool,
    /// Of the responder, for one header after the other.
    ids: Option<StreamIds>,
    /// Headers that are out.
    sent: usize,
}

impl Greeting {
    /// Of who opens a stream.
    pub(in crate::stream) fn initiator(from: Domain, to: Domain, dialback: bool) -> Self {
        Self { from: Some(from), to: Some(to), version: true, dialback, ids: None, sent: 0 }
    }

    /// Of who answers; `from` is for a peer that asks for no domain.
    pub(in crate::stream) fn responder(from: Option<Domain>, dialback: bool, ids: StreamIds) -> Self {
        Self { from, to: None, version: true, dialback, ids: Some(ids), sent: 0 }
    }

    /// The id of the last header.
    pub(in crate::stream) fn stream_id(&self) -> Option<&CompactString> {
        self.ids.as_ref()?.0.get(self.sent.checked_sub(1)?)
    }
}

impl Wire {
    /// Writes our opening tag (S2S-13, S2S-26) unless it is out already.
    pub(in crate::stream) fn open_header(&mut self) {
        if self.header_sent || !self.is_open() {
            return;
        }
        self.header_sent = true;
        self.greeting.sent += 1;
        let greeting = &self.greeting;
        self.dialback_declared = greeting.dialback;
        self.out.extend_from_slice(b"<?xml version='1.0'?>");
        StartTag::open(&mut self.out, "stream:stream")
            .ns(ns::SERVER)
            .attr("xmlns:stream", ns::STREAMS)
            .opt_attr("xmlns:db", greeting.dialback.then_some(ns::DIALBACK))
            .attr("from", greeting.from.as_ref().map_or("", Domain::as_str))
            .opt_attr("to", greeting.to.as_ref().map(Domain::as_str))
            .opt_attr("id", greeting.stream_id().map(CompactString::as_str))
            .opt_attr("version", greeting.version.then_some("1.0"))
            .attr("xml:lang", "en")
            .end();
    }
}
