//! Every limit, with its unit, its default and the range in which it may be set.
//!
//! A limit stands in the file under `[limits.sip]`, `[limits.xmpp]`, `[limits.pair]`, `[limits.store]` or
//! `[limits]`.

use std::time::Duration;

use super::read::{Node, Read, Reader, Section, Sectioned};
use super::schema::{Key, Presence, Shape};
use super::value::{Text, duration_text, quoted};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A struct of limits: the fields, their defaults, and how they are read from the file.
macro_rules! limits {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $ty:ty, $unit:literal = $default:expr, $min:expr => $max:expr;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $ty,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl Section for $name {
            fn keys() -> Vec<Key> {
                vec![$(Key {
                    name: stringify!($field),
                    doc: concat!($($doc, "\n"),+),
                    presence: Presence::Default(<$ty as Limit>::toml($default)),
                    shape: Shape::Value(format!("{}, {} to {}", $unit, <$ty as Limit>::text($min), <$ty as Limit>::text($max))),
                },)+]
            }

            fn read(section: &mut Sectioned<'_, '_>) -> Self {
                let mut limits = Self::default();
                $(section.each(stringify!($field), |node, reader| {
                    if let Some(value) = <$ty as Limit>::read(node, reader, $unit, $min, $max) {
                        limits.$field = value;
                    }
                });)+
                limits
            }
        }
    };
}

/// What a limit can be: a number or a duration.
trait Limit: Sized + Copy + PartialOrd {
    fn text(self) -> String;
    fn toml(self) -> String;
    fn read(node: Node<'_>, reader: &mut Reader<'_>, unit: &str, min: Self, max: Self) -> Option<Self>;
}

impl Limit for usize {
    fn text(self) -> String {
        self.to_string()
    }

    fn toml(self) -> String {
        self.to_string()
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>, unit: &str, min: Self, max: Self) -> Option<Self> {
        let expected = format!("expected a whole number of {unit} from {min} to {max}");
        let number = reader.integer(node, &expected)?;
        match Self::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                reader.refuse(node, format!("{number} is out of range; {expected}"));
                None
            }
        }
    }
}

impl Limit for Duration {
    fn text(self) -> String {
        duration_text(self)
    }

    fn toml(self) -> String {
        format!("\"{}\"", duration_text(self))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>, _unit: &str, min: Self, max: Self) -> Option<Self> {
        let text = reader.text::<Self>(node)?;
        match <Self as Text>::parse(text) {
            Ok(duration) if (min..=max).contains(&duration) => Some(duration),
            Ok(_) => {
                reader.refuse(
                    node,
                    format!(
                        "{} is out of range; expected a duration from \"{}\" to \"{}\"",
                        quoted(text),
                        min.text(),
                        max.text()
                    ),
                );
                None
            }
            Err(error) => {
                reader.refuse(node, error.to_string());
                None
            }
        }
    }
}

limits! {
    /// Limits of the SIP side.
    pub struct SipLimits {
        /// Longest start line with all headers. Longer: 513 and the connection ends.
        head: usize, "bytes" = 64 * KIB, 8 * KIB => MIB;
        /// Longest single header field.
        header: usize, "bytes" = 16 * KIB, 4 * KIB => MIB;
        /// Most header fields in one message.
        headers: usize, "headers" = 256, 32 => 4096;
        /// Longest body. Longer: 413.
        body: usize, "bytes" = 256 * KIB, 4 * KIB => 16 * MIB;
        /// Longest MESSAGE that we send, all of it; 0: any length, else 1300 or more. RFC 3428 wants 1300 where not every
        /// hop is congestion-controlled; over TLS every hop is. Longer: `policy-violation` to the contact.
        message: usize, "bytes" = 0, 0 => MIB;
        /// Most inbound connections at a time, of each listener.
        connections: usize, "connections" = 1000, 1 => 100_000;
        /// Most inbound connections at a time that have not shown a certificate yet, of each listener. One more takes the
        /// place of the oldest of the address that has most of them.
        unauthenticated: usize, "connections" = 256, 1 => 100_000;
        /// Most of these from one address, or from one /64 network of IPv6.
        unauthenticated_per_address: usize, "connections" = 32, 1 => 100_000;
        /// Most inbound connections from one such address in a minute that end without having shown who it is; each counts
        /// until it has. More are closed at once; who proves it may come as often as he likes.
        failures_per_address: usize, "connections" = 300, 1 => 1_000_000;
        /// Most requests of one connection that wait for their final answer. More: 503.
        pending_per_connection: usize, "requests" = 16_384, 1 => 1_000_000;
        /// Most requests that wait for a connection to the front ends of a domain, beyond `pending_per_connection`. More:
        /// `resource-constraint` to the contact.
        queue: usize, "requests" = 4096, 1 => 1_000_000;
        /// How long a message of a contact may wait for its turn, and then for a connection to a front end, before its
        /// sender is told that it was not delivered.
        hold: Duration, "duration" = secs(10), secs(1) => secs(30);
        /// How long a SIP user may take to accept a session before the messages that wait for it come back to their sender. One
        /// with several clients takes up to 30 s, and more if he has to click.
        answer_within: Duration, "duration" = secs(60), secs(5) => secs(180);
        /// A session without messages ends after that.
        session_idle: Duration, "duration" = secs(600), secs(30) => secs(24 * 3600);
        /// Most invitations of SIP users under way at a time; beyond it, and beyond the next one, messages go alone. Each
        /// holds a place among the requests to its front end for as long as it rings.
        invitations: usize, "invitations" = 4096, 1 => 1_000_000;
        /// The same on behalf of the contacts of one partner domain.
        invitations_per_partner: usize, "invitations" = 1024, 1 => 1_000_000;
        /// Time for one TCP connect.
        connect: Duration, "duration" = secs(5), ms(100) => secs(60);
        /// Time for one TLS handshake.
        handshake: Duration, "duration" = secs(10), ms(100) => secs(60);
        /// Time for a message to arrive whole once it has begun, and for the first request of a peer that is no
        /// front end of ours.
        arrival: Duration, "duration" = secs(30), ms(100) => secs(600);
        /// First pause before a failed next hop is tried again; doubles with each failure.
        backoff_initial: Duration, "duration" = secs(1), ms(10) => secs(3600);
        /// Longest pause before a failed next hop is tried again.
        backoff_max: Duration, "duration" = secs(60), ms(10) => secs(24 * 3600);
        /// How often it is looked whether a next hop that is preferred to the one in use can be reached again. Longer, up to
        /// 16 times, after one that took the connection and answered nothing.
        fail_back: Duration, "duration" = secs(60), ms(100) => secs(24 * 3600);
    }
}

limits! {
    /// Limits of the XMPP side.
    pub struct XmppLimits {
        /// Longest stanza on an authenticated stream. Longer: `policy-violation` with `stanza-too-big`. A partner's own setting
        /// goes before.
        stanza: usize, "bytes" = 512 * KIB, 10_000 => 16 * MIB;
        /// Longest stream header or element before authentication.
        pre_auth_stanza: usize, "bytes" = 16 * KIB, 10_000 => 16 * MIB;
        /// Deepest nesting of elements in a stanza.
        depth: usize, "levels" = 32, 8 => 256;
        /// Most attributes of one element.
        attributes: usize, "attributes" = 64, 16 => 1024;
        /// Most elements in a stanza, itself included.
        elements: usize, "elements" = 4096, 64 => 65_536;
        /// Most inbound connections at a time, over all partners, of each listener.
        connections: usize, "connections" = 1000, 1 => 100_000;
        /// Most streams at a time with all partners, whoever opens them. More: `resource-constraint` to the partner; ours wait,
        /// and their senders get 480. Beyond it come streams of partners to whom dialback keys of ours are out: four for each
        /// key, 64 of one partner.
        streams: usize, "streams" = 1000, 1 => 100_000;
        /// Most streams at a time with one partner, over all his domains, whoever opens them; the last one is kept for the
        /// direction that has none. Each served domain needs a way to each domain of his: a stream of ours, one of his that goes
        /// both ways, or a shared one ([federation.md](federation.md)). More: `policy-violation` to the partner; ours wait, and
        /// their senders get 480. Beyond it come streams of partners to whom dialback keys of ours are out: four for each key,
        /// 64 of one partner.
        connections_per_partner: usize, "connections" = 20, 1 => 100_000;
        /// Most stanzas of one partner in a second, over all streams of his domains; 0: any number, else 10 or more. Five
        /// seconds' worth may come at once. Beyond it his streams are read more slowly; a partner's own setting goes before.
        stanzas_per_second: usize, "stanzas" = 5000, 0 => 10_000_000;
        /// Most bytes of one partner in a second, in the same way; 0: any number, else 10000 or more.
        bytes_per_second: usize, "bytes" = 4 * MIB, 0 => 1024 * MIB;
        /// Most inbound connections at a time that are not authenticated yet, of each listener. One more takes the place of
        /// the oldest of the address that has most of them.
        unauthenticated: usize, "connections" = 256, 1 => 100_000;
        /// Most of these from one address, or from one /64 network of IPv6.
        unauthenticated_per_address: usize, "connections" = 32, 1 => 100_000;
        /// Most inbound connections from one such address in a minute that end without having shown who it is; each counts
        /// until it has. More are closed at once; who proves it may come as often as he likes.
        failures_per_address: usize, "connections" = 300, 1 => 1_000_000;
        /// Most stanzas that wait for one lane (our domain, their domain).
        lane_queue: usize, "stanzas" = 2048, 1 => 1_000_000;
        /// Most bytes of stanzas that wait for one lane.
        lane_bytes: usize, "bytes" = 4 * MIB, 64 * KIB => 1024 * MIB;
        /// Most sent stanzas of one stream that the partner has not confirmed yet.
        unconfirmed: usize, "stanzas" = 4096, 1 => 1_000_000;
        /// How long a message may wait in a lane before its sender is told that it was not delivered.
        hold: Duration, "duration" = secs(10), secs(1) => secs(30);
        /// Time for one TCP connect.
        connect: Duration, "duration" = secs(5), ms(100) => secs(60);
        /// Time for one TLS handshake.
        handshake: Duration, "duration" = secs(10), ms(100) => secs(60);
        /// Time for one attempt to reach a partner, over all addresses that DNS gives. What has not been tried then is
        /// left out.
        reach: Duration, "duration" = secs(120), secs(1) => secs(3600);
        /// Time from the first byte of a connection to an authenticated stream.
        establishment: Duration, "duration" = secs(60), secs(1) => secs(600);
        /// Time to find the server of a partner's domain and to have a dialback key verified there.
        verification: Duration, "duration" = secs(30), secs(1) => secs(300);
        /// Most dialback keys that are being verified at a time. Beyond, partners are told to try again later.
        verifications: usize, "keys" = 64, 1 => 10_000;
        /// The same, of one partner.
        verifications_per_partner: usize, "keys" = 8, 1 => 10_000;
        /// The same, brought from one address, or from one /64 network of IPv6, in whosever names.
        verifications_per_address: usize, "keys" = 16, 1 => 10_000;
        /// Most dialback keys that are verified in a minute.
        verification_rate: usize, "keys" = 600, 1 => 1_000_000;
        /// The same, of one partner.
        verification_rate_per_partner: usize, "keys" = 60, 1 => 1_000_000;
        /// The same, brought from one address, or from one /64 network of IPv6, in whosever names.
        verification_rate_per_address: usize, "keys" = 120, 1 => 1_000_000;
        /// With nothing received for so long, a partner whose `keep_alive` is on is sent a space and a ping.
        keep_alive: Duration, "duration" = secs(300), secs(1) => secs(24 * 3600);
        /// With nothing received for so long after that, the stream is closed with `connection-timeout`. Any byte counts as
        /// a sign of life.
        keep_alive_answer: Duration, "duration" = secs(60), secs(1) => secs(3600);
        /// A stream on which no message and no presence went either way for so long, and nothing is unconfirmed, is closed in
        /// good order.
        inactivity: Duration, "duration" = secs(600), secs(1) => secs(30 * 24 * 3600);
        /// How long a stream may leave our ping unanswered before what was sent counts as unconfirmed.
        ping_timeout: Duration, "duration" = secs(60), secs(1) => secs(600);
        /// How long we wait for the partner's closing tag after ours.
        close: Duration, "duration" = secs(5), ms(100) => secs(60);
        /// First pause before a failed partner is tried again; doubles with each failure.
        backoff_initial: Duration, "duration" = secs(1), ms(10) => secs(3600);
        /// Longest pause before a failed partner is tried again.
        backoff_max: Duration, "duration" = secs(300), ms(10) => secs(24 * 3600);
        /// Most domains in the record of strangers that were refused.
        refused_domains: usize, "domains" = 1000, 1 => 1_000_000;
    }
}

limits! {
    /// Limits of one pair (SIP user, XMPP user).
    pub struct PairLimits {
        /// Most messages of one contact that wait for one SIP user. More: `resource-constraint` to the contact. (The other
        /// direction waits in the lane.)
        queue: usize, "messages" = 256, 1 => 65_536;
    }
}

limits! {
    /// Times and bounds of presence.
    pub struct PresenceLimits {
        /// At most one NOTIFY about a contact to an endpoint in this time; the last state is never lost.
        notify_interval: Duration, "duration" = secs(5), ms(0) => secs(300);
        /// How long a subscription lasts that we ask front ends for; it is refreshed before it ends.
        subscribe: Duration, "duration" = secs(3600), secs(60) => secs(24 * 3600);
        /// Longest subscription granted to an endpoint.
        longest: Duration, "duration" = secs(8 * 3600), secs(60) => secs(24 * 3600);
        /// Shortest subscription granted to an endpoint. Shorter, and under an hour: 423.
        shortest: Duration, "duration" = secs(60), secs(1) => secs(3600);
        /// How long a subscription at a front end, by which a contact sees a SIP user, is kept without a sign that he still
        /// wants it. Requests that wait for the SIP user are not ended by it: they have `kept`.
        interest: Duration, "duration" = secs(24 * 3600), secs(600) => secs(365 * 24 * 3600);
        /// How long a request of a contact is kept for the SIP user to add him (public-unverified partners), or to decide on it.
        kept: Duration, "duration" = secs(30 * 24 * 3600), secs(3600) => secs(365 * 24 * 3600);
        /// How long a request of a SIP user may find no way to the partner before his endpoints are told to give up.
        give_up: Duration, "duration" = secs(3600), secs(10) => secs(7 * 24 * 3600);
        /// How long a subscription at a front end may be gone before the contact sees the SIP user as unavailable.
        grace: Duration, "duration" = secs(300), secs(1) => secs(24 * 3600);
        /// How long an available contact may be silent before he is asked again.
        silence: Duration, "duration" = secs(12 * 3600), secs(600) => secs(30 * 24 * 3600);
        /// How long a partner whose streams were lost may be out of reach before its contacts are shown as unknown, and a front
        /// end before its users are shown as unavailable. After our own restart the same time goes for what was seen before it.
        outage: Duration, "duration" = secs(300), secs(1) => secs(24 * 3600);
        /// Most subscriptions that endpoints of one SIP user hold to one contact. One more ends the oldest.
        endpoints: usize, "subscriptions" = 8, 1 => 64;
        /// Most subscriptions at front ends for one contact.
        subscriptions_per_contact: usize, "subscriptions" = 500, 1 => 1_000_000;
        /// Most subscriptions at front ends for the contacts of one partner domain.
        subscriptions_per_partner: usize, "subscriptions" = 100_000, 1 => 10_000_000;
        /// Most subscriptions at front ends in all.
        subscriptions: usize, "subscriptions" = 1_000_000, 1 => 10_000_000;
        /// Most requests of the contacts of one partner domain that are kept.
        kept_per_partner: usize, "requests" = 10_000, 1 => 10_000_000;
        /// Most new requests in an hour of one contact to see one SIP user; more are dropped, and he hears nothing, as of any
        /// request that waits. As many may come at once after a pause; the same goes for the next three.
        requests_per_pair: usize, "requests" = 10, 1 => 1_000_000;
        /// Most new requests in an hour of one contact.
        requests_per_contact: usize, "requests" = 500, 1 => 1_000_000;
        /// Most new requests in an hour to see one SIP user.
        requests_per_user: usize, "requests" = 1000, 1 => 10_000_000;
        /// Most new requests in an hour of the contacts of one partner domain.
        requests_per_partner: usize, "requests" = 100_000, 1 => 10_000_000;
        /// So many pairs take up their subscriptions in a second after a restart, or as many as the front ends take; and so
        /// many ask their contacts anew after the streams of a partner were lost.
        restart_rate: usize, "pairs" = 200, 1 => 100_000;
    }
}

limits! {
    /// Limits of the store.
    pub struct StoreLimits {
        /// How long the disk may not answer before what waits for it goes on from memory, as when it refuses.
        patience: Duration, "duration" = secs(3), ms(100) => secs(600);
        /// How long entries of the audit trail are kept.
        audit_age: Duration, "duration" = secs(365 * 24 * 3600), secs(3600) => secs(3650 * 24 * 3600);
        /// Most entries of the audit trail that are kept; the oldest go.
        audit_entries: usize, "entries" = 1_000_000, 1000 => 100_000_000;
    }
}

/// All limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `limits.sip`
    pub sip: SipLimits,
    /// `limits.xmpp`
    pub xmpp: XmppLimits,
    /// `limits.pair`
    pub pair: PairLimits,
    /// `limits.presence`
    pub presence: PresenceLimits,
    /// `limits.store`
    pub store: StoreLimits,
    /// How long a stopping node waits for its queues to empty and its streams to close.
    pub drain: Duration,
    /// How often files with certificates, keys and roots are looked at.
    pub file_check: Duration,
}

impl Limits {
    /// Default of [`Limits::drain`].
    pub const DRAIN: Duration = secs(20);
    pub(super) const DRAIN_RANGE: (Duration, Duration) = (secs(1), secs(600));
    /// Default of [`Limits::file_check`].
    pub const FILE_CHECK: Duration = secs(10);
    pub(super) const FILE_CHECK_RANGE: (Duration, Duration) = (ms(100), secs(24 * 3600));
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sip: SipLimits::default(),
            xmpp: XmppLimits::default(),
            pair: PairLimits::default(),
            presence: PresenceLimits::default(),
            store: StoreLimits::default(),
            drain: Self::DRAIN,
            file_check: Self::FILE_CHECK,
        }
    }
}

impl Section for Limits {
    fn keys() -> Vec<Key> {
        let section =
            |name, doc, table| Key { name, doc, presence: Presence::Default("{}".to_owned()), shape: table };
        let duration = |name, doc, default: Duration, (min, max): (Duration, Duration)| Key {
            name,
            doc,
            presence: Presence::Default(default.toml()),
            shape: Shape::Value(format!("duration, {} to {}", min.text(), max.text())),
        };
        vec![
            duration(
                "drain",
                "How long a stopping node waits for its queues to empty and its streams to close.",
                Self::DRAIN,
                Self::DRAIN_RANGE,
            ),
            duration(
                "file_check",
                "How often the files with certificates, keys, roots and revocation lists are looked at. What is new is used \
                 for new connections; SIGHUP has them looked at at once.",
                Self::FILE_CHECK,
                Self::FILE_CHECK_RANGE,
            ),
            section("sip", "Limits of the SIP side.", Shape::Table(SipLimits::keys)),
            section("xmpp", "Limits of the XMPP side.", Shape::Table(XmppLimits::keys)),
            section("pair", "Limits of one pair (SIP user, XMPP user).", Shape::Table(PairLimits::keys)),
            section("presence", "Times and bounds of presence.", Shape::Table(PresenceLimits::keys)),
            section("store", "Limits of the store (`nuncio.db`).", Shape::Table(StoreLimits::keys)),
        ]
    }

    fn read(section: &mut Sectioned<'_, '_>) -> Self {
        let mut limits = Self::default();
        for (name, field, (min, max)) in [
            ("drain", &mut limits.drain, Self::DRAIN_RANGE),
            ("file_check", &mut limits.file_check, Self::FILE_CHECK_RANGE),
        ] {
            section.each(name, |node, reader| {
                if let Some(duration) = Limit::read(node, reader, "duration", min, max) {
                    *field = duration;
                }
            });
        }
        section.each("sip", |node, reader| limits.sip = reader.section(node).unwrap_or_default());
        section.each("xmpp", |node, reader| limits.xmpp = reader.section(node).unwrap_or_default());
        section.each("pair", |node, reader| limits.pair = reader.section(node).unwrap_or_default());
        section.each("presence", |node, reader| limits.presence = reader.section(node).unwrap_or_default());
        section.each("store", |node, reader| limits.store = reader.section(node).unwrap_or_default());
        limits
    }
}

impl Read for Limits {
    fn shape() -> Shape {
        Shape::Table(<Self as Section>::keys)
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.section(node)
    }
}
