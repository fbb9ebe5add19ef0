//! What the gateway is configured with.

use std::time::Duration;

use compact_str::CompactString;
use nuncio_sip::event::EventConfig;
use nuncio_sip::session::SessionConfig;
use nuncio_translate::message::Formats;
use nuncio_translate::pair::{PairConfig, PresenceConfig};
use nuncio_translate::stanza_id;
use nuncio_translate::text::Privacy;
use nuncio_xmpp::about::About;
use nuncio_xmpp::lane::LaneConfig;
use nuncio_xmpp::stream::Quiet;

use super::{PlaceLimits, SipIdentity, VerifyLimits};

/// What does not change while the gateway runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Goes into every id we make.
    pub node_label: CompactString,
    /// The key of the checks in stanza ids.
    pub node_key: stanza_id::Key,
    /// Our name in Via, Contact and `ms-diagnostics` (host, or host:port).
    pub sip_name: CompactString,
    /// What our domains say of themselves.
    pub about: About,
    /// What goes into stanzas beside plain text.
    pub formats: Formats,
    /// Longest MESSAGE we send, in octets (DEC-11).
    pub message_cap: Option<usize>,
    pub pair: PairConfig,
    pub presence: PresenceConfig,
    /// Subscriptions on the SIP side, in both roles.
    pub events: EventConfig,
    /// Sessions there, in both roles.
    pub sessions: SessionConfig,
    /// What we are to front ends for partners of some types; for all others, what stands above.
    pub identities: Vec<SipIdentity>,
    pub places: PlaceLimits,
    /// So many pairs do something in a second that many pairs have to do: those of the process before this one take up
    /// their work, or the contacts of a partner that was lost are asked anew.
    pub restart_rate: u32,
    /// How long the store may say nothing before those who wait for it go on without.
    pub store_patience: Duration,
    pub lane: LaneConfig,
    /// When quiet streams are probed, given up and closed. `keep_alive` is for partners that have it on.
    pub quiet: Quiet,
    /// Dialback keys that may be verified.
    pub verify: VerifyLimits,
    /// Most streams at a time with all partners, whoever opens them.
    pub streams: usize,
    /// The same, with a partner of whom nothing else is said.
    pub streams_per_partner: usize,
    /// Entries in the list of refused domains.
    pub refused_domains: usize,
    /// How addresses of users appear in logs.
    pub privacy: Privacy,
    /// When this process started, in milliseconds of Unix time. Answers to older pings prove nothing.
    pub started_ms: u64,
}
