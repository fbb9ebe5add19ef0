//! What happened, counted. (Exported as metrics by the control API.)

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counters since the start of the process.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $doc])* pub $name: Counter,)* }

        impl Counters {
            /// Every counter: its name, that of its metric, and what it counts, in the order of [`Counters::list`].
            pub const ALL: &'static [(&'static str, &'static str, &'static str)] =
                &[$((stringify!($name), concat!("nuncio_", stringify!($name)), concat!($($doc),*)),)*];

            /// Every counter with its name.
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Messages of SIP users that were written to a partner's stream.
    sip_to_xmpp_delivered,
    /// Messages of SIP users refused or failed with a SIP error.
    sip_to_xmpp_failed,
    /// Messages of SIP users whose senders were told that they may not have arrived.
    sip_to_xmpp_may_be_lost,
    /// Messages of contacts answered with 2xx by a front end.
    xmpp_to_sip_delivered,
    /// Messages of contacts that came back to them as stanza errors.
    xmpp_to_sip_failed,
    /// Messages of contacts that somebody on the SIP side had kept, and that came to nothing after all.
    xmpp_to_sip_failed_late,
    /// Messages of contacts refused by trust or policy.
    xmpp_to_sip_refused,
    /// Stanzas of presence and subscriptions written to partners' streams.
    presence_to_xmpp,
    /// Stanzas of presence and subscriptions that did not arrive for sure; they are sent again.
    presence_undelivered,
    /// Stanzas of presence that were larger than the partner takes; they are sent without note, or not at all.
    presence_too_large,
    /// Requests of subscriptions answered by a front end.
    events_to_sip,
    /// Requests of subscriptions that no front end answered.
    events_undelivered,
    /// Sessions with SIP users that were established.
    sessions_begun,
    /// Invitations refused by either side, those of users by a rule and those of ours by a front end.
    sessions_refused,
    /// SUBSCRIBEs of SIP users that were refused.
    subscribes_refused,
    /// NOTIFYs of front ends that were refused: what they say of SIP users has reached no contact.
    notifies_refused,
    /// Times that the store could not save.
    store_unsaved,
    /// Failure notices delivered to SIP users.
    notices_delivered,
    /// Failure notices that no front end took.
    notices_lost,
    /// Notifications of what became of messages (IMDN) delivered to SIP users who had asked for them.
    reports_delivered,
    /// Such notifications that no front end took.
    reports_lost,
    /// Notifications of front ends about messages that nobody has asked about, or that are not known any more.
    notifications_of_nothing,
    /// Stanza errors whose id was ours and led to a notice.
    late_errors,
    /// Stanza errors about messages whose senders had been told already.
    late_errors_repeated,
    /// Stanza errors with an id we never made.
    foreign_errors,
    /// Stanza errors and answers whose id looks like ours but fails its check.
    forged_ids,
    /// Stanzas dropped because their stream ended while too many answers were under way.
    stanzas_dropped,
    /// Attempts to connect, and steps of tasks, that an internal error ended.
    tasks_panicked,
    /// Times that new contents of certificate, key, roots or revocation list files could not be used; the old ones stayed in use.
    files_not_used,
    /// Pairs emptied after an internal error.
    pairs_lost,
    /// Answers to SIP requests whose connection was gone, with none other to the same front end.
    answers_lost,
    /// Times that a stream was not read for a while because its partner sent more than he may.
    streams_slowed,
    /// Streams refused, or not opened, because there were as many as there may be.
    streams_over_limit,
    /// Streams refused because the domain is no partner.
    streams_refused,
    /// Requests of partners to be let in by dialback that were turned down.
    dialback_refused,
    /// Of these, partners that had proved themselves by certificate before and did not any more.
    dialback_downgrades,
    /// Dialback keys that were not verified because too many were.
    dialback_busy,
    /// Questions whether a dialback key is ours, about keys that are not.
    dialback_not_ours,
    /// Answers of dialback to questions that we did not ask.
    dialback_unsolicited,
    /// Requests of front ends that do not cross: another method than MESSAGE, or a dialog that is not known.
    sip_requests_not_for_us,
    /// Connections of front ends that their requests from us went over (RFC 5923).
    connections_reused,
    /// Those of them that were let go because the front end did not prove any more who it is.
    lendings_ended,
    /// Requests of front ends whose sender the edge itself has not verified.
    sip_senders_doubted,
    /// SIP requests refused because the peer's certificate is no front end's.
    unlisted_sip_peers,
}

/// One running number.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
