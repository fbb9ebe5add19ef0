//! Connecting to whichever of several addresses answers first, as the [`Race`] says.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use super::now;
use super::pump::wait_until;
use super::race::{Move, Race};
use crate::context::Leave;
use crate::dns::Candidate;

/// How many addresses each target has, in order.
pub(crate) fn targets(candidates: &[Candidate]) -> Vec<usize> {
    candidates.chunk_by(Candidate::same_target).map(<[Candidate]>::len).collect()
}

/// What came of an address.
pub(crate) enum Tried<'c> {
    /// A connection, after so long.
    Connected(&'c Candidate, Duration),
    /// None, after so long.
    Failed(&'c Candidate, Duration, &'c io::Error),
    /// The time for all of it is over, and so many addresses were not tried.
    TimeOver(usize),
}

/// The next connection that comes about; `None`: there is no other. What happens is `told`.
pub(crate) async fn dial<'c>(
    leave: &Leave,
    race: &mut Race,
    candidates: &'c [Candidate],
    mut told: impl FnMut(Tried<'_>),
) -> Option<(&'c Candidate, TcpStream)> {
    let mut running = FuturesUnordered::new();
    loop {
        while let Some(next) = race.poll() {
            match next {
                Move::Start(number) => {
                    let Some(candidate) = candidates.get(number) else { continue };
                    running.push(async move {
                        let began = now().instant;
                        let result = leave.connect(candidate.address).await;
                        (number, candidate, now().instant.saturating_duration_since(began), result)
                    });
                }
                Move::StopAll => running.clear(),
                Move::Exhausted => return None,
                Move::TimeOver(left) => {
                    told(Tried::TimeOver(left));
                    return None;
                }
            }
        }
        let deadline = race.deadline();
        let ended = tokio::select! {
            Some(ended) = running.next(), if !running.is_empty() => Some(ended),
            () = wait_until(deadline) => None,
        };
        match ended {
            None => race.handle_timeout(now().instant),
            Some((number, candidate, took, Ok(stream))) => {
                race.connected(number);
                told(Tried::Connected(candidate, took));
                return Some((candidate, stream));
            }
            Some((number, candidate, took, Err(error))) => {
                told(Tried::Failed(candidate, took, &error));
                race.failed(number, now().instant);
            }
        }
    }
}

/// The failures of several addresses in one line. The last ones: they were tried most recently, and the only one, if there
/// is only one.
pub(crate) fn told<'a>(failures: impl ExactSizeIterator<Item = &'a str>) -> String {
    /// Addresses whose failures are told.
    const TOLD: usize = 3;
    let before = failures.len().saturating_sub(TOLD);
    let mut text = failures.skip(before).collect::<Vec<_>>().join("; ");
    if before > 0 {
        text = format!("{text}; and {before} more before");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Origin;

    #[test]
    fn only_addresses_of_one_target_compete() {
        let candidate = |host: &str, address: &str, direct_tls| Candidate {
            address: address.parse().unwrap(),
            host: host.to_owned(),
            origin: Origin::Srv { priority: 1, weight: 0 },
            direct_tls,
        };
        let candidates = [
            candidate("a.example", "192.0.2.1:5269", false),
            candidate("a.example", "[2001:db8::1]:5269", false),
            candidate("a.example", "192.0.2.1:5270", false),
            candidate("a.example", "192.0.2.1:5270", true),
            candidate("b.example", "192.0.2.2:5270", true),
        ];
        assert_eq!(targets(&candidates), [2, 1, 1, 1]);
        assert_eq!(targets(&[]), [0; 0]);
    }
}
