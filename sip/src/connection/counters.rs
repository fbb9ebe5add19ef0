//! What a connection absorbed, refused or dropped, for metrics.

/// Counts since the connection began. Nothing is dropped without being counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests passed to the caller.
    pub requests: u64,
    /// Final responses passed to the caller.
    pub responses: u64,
    /// ACKs; none is answered.
    pub acks: u64,
    /// Answers to INVITE other than 2xx that nobody acknowledged (Timer H).
    pub unacknowledged: u64,
    /// CANCELs that found their transaction (200).
    pub cancels: u64,
    /// CANCELs that found none (481).
    pub stray_cancels: u64,
    /// Requests that came again while the first was still pending.
    pub repeats_absorbed: u64,
    /// Requests that came again after the answer and got it again (DEC-27).
    pub repeats_answered: u64,
    /// Requests refused with 482 as merged (RFC 3261 §8.2.2.2).
    pub merged: u64,
    /// Requests refused with 482 because they had been sent by us (RFC 3261 §16.3).
    pub looped: u64,
    /// Requests that the check refused with a 4xx or 5xx.
    pub rejected: u64,
    /// Requests refused with 503 because too many were pending.
    pub overloaded: u64,
    /// Requests refused with 503 during shutdown.
    pub refused_draining: u64,
    /// Requests that lack what an answer is made of; dropped.
    pub unanswerable: u64,
    /// Messages that arrived after the connection was closed; dropped.
    pub after_close: u64,
    /// 100 Trying sent.
    pub trying: u64,
    /// Requests the caller did not answer before the client gave up (64·T1).
    pub abandoned: u64,
    /// Answers of the caller to a transaction that has ended; dropped.
    pub late_answers: u64,
    /// Answers whose status may not be sent to this request (RFC 4320 §4): 1xx, 408.
    pub forbidden_answers: u64,
    /// Provisional responses, and responses to CANCEL.
    pub provisional: u64,
    /// CANCELs of ours.
    pub cancels_sent: u64,
    /// Responses to no transaction of ours: too late, repeated or invented; dropped.
    pub stray_responses: u64,
    /// Responses whose top Via is not ours (SIP-09); dropped.
    pub foreign_responses: u64,
    /// Responses with several Vias (SIP-45); dropped.
    pub multi_via_responses: u64,
    /// Responses whose Via, CSeq or status cannot be read; dropped.
    pub malformed_responses: u64,
    /// Pings answered.
    pub pings: u64,
    /// Client transactions that got no final response (Timer F).
    pub timeouts: u64,
    /// Client transactions that ended with the connection.
    pub lost: u64,
}
