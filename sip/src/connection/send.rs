//! Requests of ours on their way out.

use std::time::Instant;

use bytes::Bytes;

use super::{Connection, Output, Phase, SendRefused, Why};
use crate::Method;

impl<E> Connection<E> {
    /// Sends a request. `bytes` is the whole message; `branch` and `method` are what stands in it. An ACK comes back as
    /// [`Output::Acknowledged`] at once.
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
        if self.phase == Phase::Closed {
            return Err(SendRefused { why: Why::Closed, envelope });
        }
        if method == Method::Ack {
            write(&mut self.out);
            self.outputs.push_back(Output::Acknowledged { envelope });
            return Ok(());
        }
        let begins = self.taken + self.out.len() as u64;
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

/// Where the line behind the top Via of a request of ours begins: the third one, as our builders write it.
fn behind_top_via(request: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', request).nth(1).map(|end| end + 1)
}
