//! Requests of ours on their way out.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::{Connection, Output, SendRefused, Why};
use crate::Method;

impl<E> Connection<E> {
    /// Sends a request. `bytes` is the whole message; `branch` and `method` are what stands in it. Nobody answers an ACK or a
    /// BENOTIFY: it comes back as [`Output::Acknowledged`], an ACK at once, which is repeated if it was lost, a BENOTIFY when it
    /// is [written](Connection::written), and as [`Output::Failed`] if the connection ends before.
    ///
    /// # Errors
    /// The envelope comes back at once when the request cannot be taken.
    pub fn send_request(
        &mut self,
        bytes: &[u8],
        branch: &str,
        method: Method<'_>,
        envelope: E,
        now: Instant,
    ) -> Result<(), SendRefused<E>> {
        self.send_with(bytes, &[], branch, method, envelope, now)
    }

    /// The same with header lines of the hop: whole lines, each with its end, in any number of pieces. They stand behind the
    /// top Via, where an edge would have put them.
    ///
    /// # Errors
    /// As of [`Connection::send_request`].
    pub fn send_with(
        &mut self,
        bytes: &[u8],
        lines: &[&str],
        branch: &str,
        method: Method<'_>,
        envelope: E,
        now: Instant,
    ) -> Result<(), SendRefused<E>> {
        let at = if lines.is_empty() { None } else { behind_top_via(bytes) };
        let lines = if at.is_some() { lines } else { &[] };
        let (top, rest) = bytes.split_at(at.unwrap_or_default());
        let write = |out: &mut Vec<u8>| {
            out.reserve(bytes.len() + lines.iter().map(|line| line.len()).sum::<usize>());
            out.extend_from_slice(top);
            lines.iter().for_each(|line| out.extend_from_slice(line.as_bytes()));
            out.extend_from_slice(rest);
        };
        if self.takes_nothing() {
            return Err(SendRefused { why: Why::Closed, envelope });
        }
        if method == Method::Ack {
            write(&mut self.out);
            self.outputs.push_back(Output::Acknowledged { envelope });
            return Ok(());
        }
        let begins = self.taken + self.out.len() as u64;
        if method == Method::Benotify {
            write(&mut self.out);
            let ends = self.taken + self.out.len() as u64;
            self.unanswered.push_back(Unanswered { begins, ends, envelope });
            return Ok(());
        }
        // ACK and CANCEL are made of it.
        let invite = (method == Method::Invite).then(|| {
            let mut whole = Vec::new();
            write(&mut whole);
            Bytes::from(whole)
        });
        self.client.begin(self.keys.client(branch, method), begins, invite, envelope, now)?;
        write(&mut self.out);
        Ok(())
    }
}

impl<E> Connection<E> {
    /// All that [`Connection::transmit`] has yielded is with the operating system. True: outputs came of it.
    pub fn written(&mut self) -> bool {
        let before = self.outputs.len();
        while let Some(gone) = self.unanswered.pop_front_if(|request| request.ends <= self.taken) {
            self.outputs.push_back(Output::Acknowledged { envelope: gone.envelope });
        }
        if self.unanswered.is_empty() {
            self.unanswered = VecDeque::new();
        }
        self.outputs.len() > before
    }
}

/// A request that nobody answers, from when it is queued until it is written.
#[derive(Debug)]
pub(super) struct Unanswered<E> {
    /// Where it begins and ends in the stream of all bytes ever queued.
    pub(super) begins: u64,
    ends: u64,
    pub(super) envelope: E,
}

/// Where the line behind the top Via of a request of ours begins: the third one, as our builders write it.
fn behind_top_via(request: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', request).nth(1).map(|end| end + 1)
}
