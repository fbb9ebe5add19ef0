//! The sections of the file: every key with its type, default and meaning.

use std::path::PathBuf;
use std::time::Duration;

use nuncio_xmpp::{NegotiationRules, SaslUse, TlsUse};

use super::address::{Bind, CertificateName, DnsServer, Domain, NextHop, SentBy, SourceAddress};
use super::block::BlockAddress;
use super::contact::ContactUri;
use super::federation::{
    ByteRate, ConnectionLimit, Proxy, SpkiPin, StanzaAttributes, StanzaDepth, StanzaLimit, StanzaRate,
};
use super::limits::Limits;
use super::network::Network;
use super::policy::{ConsentLifetime, SipUsers};
use super::read::{At, Node, OneOrMore, Read, Reader, Section, Sectioned, Sections, Slot};
use super::schema::{Key, Presence, Shape};
use super::value::{
    Family, Im, LogAddresses, LogFilter, LogFormat, Lookup, NodeLabel, PartnerType, TlsBackend, TrustModel,
    Verdict,
};
use super::words::{EntryName, FreeText};

macro_rules! presence {
    (required) => {
        Presence::Required
    };
    (optional) => {
        Presence::Optional
    };
    (default $text:literal) => {
        Presence::Default($text.to_owned())
    };
}

/// A section: `"key" => field: Type, required | optional | default "as in the file";`
macro_rules! section {
    (
        $(#[$meta:meta])*
        struct $name:ident $(named by $named_by:literal)? {
            $($(#[doc = $doc:literal])+ $key:literal => $field:ident: $ty:ty, $presence:ident $($default:literal)?;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(super) struct $name { $($(#[doc = $doc])+ pub(super) $field: Slot<$ty>,)+ }

        impl Section for $name {
            $(const NAMED_BY: Option<&'static str> = Some($named_by);)?

            fn keys() -> Vec<Key> {
                vec![$(Key {
                    name: $key,
                    doc: concat!($($doc, "\n"),+),
                    presence: presence!($presence $($default)?),
                    shape: <$ty as Read>::shape(),
                },)+]
            }

            fn read(section: &mut Sectioned<'_, '_>) -> Self {
                Self { $($field: section.slot($key, concat!($($doc, "\n"),+), &presence!($presence $($default)?)),)+ }
            }
        }

        impl Read for $name {
            fn shape() -> Shape {
                Shape::Table(<Self as Section>::keys)
            }

            fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
                reader.section(node)
            }
        }
    };
}

section! {
    /// The whole file.
    struct Root {
        /// This node.
        "node" => node: NodeSection, default "{}";
        /// Logging, to standard error.
        "log" => log: LogSection, default "{}";
        /// Name resolution.
        "dns" => dns: DnsSection, default "{}";
        /// The SIP side: who we are there, and which front ends we serve.
        "sip" => sip: SipSection, required;
        /// The XMPP side.
        "xmpp" => xmpp: XmppSection, required;
        /// Certificates of the XMPP side, each for one or more served domains. Which one a partner sees is decided by
        /// the domain he asks for (stream `to`, SNI); if he asks for none, the first one.
        "certificate" => certificates: Sections<CertificateSection>, required;
        /// Administration while it runs: `nuncio partner`, `nuncio reload` and the like come in here.
        "control" => control: ControlSection, default "{}";
        /// Limits. Every one has a default that suits most.
        "limits" => limits: Limits, default "{}";
        /// Which SIP users may talk to partners.
        "policy" => policy: PolicySection, default "{}";
        /// Partners: the XMPP domains that we talk to. A domain that is not listed is refused.
        "partner" => partners: Sections<PartnerSection>, default "[]";
        /// Who is kept out, whatever the entries of partners say.
        "block" => blocks: Sections<BlockSection>, default "[]";
    }
}

section! {
    struct NodeSection {
        /// Name of this node in every identifier that it generates. Different on each node of a pool.
        "label" => label: NodeLabel, default "\"n1\"";
        /// Folder for what must survive a restart.
        "state_dir" => state_dir: PathBuf, default "\"/var/lib/nuncio\"";
    }
}

section! {
    struct LogSection {
        /// Text for people or JSON for machines.
        "format" => format: LogFormat, default "\"human\"";
        /// What is logged.
        "level" => level: LogFilter, default "\"info\"";
        /// How addresses of users appear: as they are; the domain only; or with a hash in place of the user part, the same
        /// for the same user as long as `node.key` in the state directory is the same.
        "addresses" => addresses: LogAddresses, default "\"full\"";
    }
}

section! {
    struct DnsSection {
        /// DNS servers, asked in this order. Absent: those of the system (`/etc/resolv.conf`).
        "servers" => servers: OneOrMore<DnsServer>, optional;
        /// Time for one query.
        "timeout" => timeout: Duration, default "\"5s\"";
    }
}

section! {
    struct SipSection {
        /// The SIP domains served. They are our XMPP domains too.
        "domains" => domains: OneOrMore<Domain>, required;
        /// What we call ourselves in Via and Contact; front ends must be able to resolve and reach it.
        "name" => name: SentBy, required;
        /// Certificate chain in PEM, own certificate first. Shown to front ends, both when they connect and when we do.
        "certificate" => certificate: PathBuf, required;
        /// Private key of `certificate` in PEM, without passphrase.
        "key" => key: PathBuf, required;
        /// Root certificates in PEM that the certificates of front ends must chain to.
        "roots" => roots: PathBuf, required;
        /// Revocation lists in PEM. The certificates of front ends are looked up in them: a revoked one is not believed, nor one
        /// of an issuer whose list has run out. Issuers without a list here are not looked up.
        "crls" => crls: PathBuf, optional;
        /// Connections to front ends.
        "connect" => connect: ConnectSection, default "{}";
        /// Where front ends connect to. At least one.
        "listener" => listeners: Sections<ListenerSection>, required;
        /// Names and certificates of their own for partners of some types, where front ends tell them apart by name: an Access
        /// Edge has one entry with one level of trust for each name. Partners of other types go by `name`.
        "identity" => identities: Sections<SipIdentitySection>, default "[]";
        /// Front ends, or pools of them. At least one. When several serve a domain, they are tried in this order: the next
        /// one when no connection can be made, or the answer is 503.
        "front_end" => front_ends: Sections<FrontEndSection>, required;
    }
}

section! {
    struct ConnectSection {
        /// Local address that connections leave from. Absent: the system chooses.
        "source_address" => source_address: SourceAddress, optional;
        /// Internet protocols used.
        "family" => family: Family, default "\"any\"";
    }
}

section! {
    struct XmppConnectSection {
        /// Local address that connections leave from. Absent: the system chooses.
        "source_address" => source_address: SourceAddress, optional;
        /// Internet protocols used.
        "family" => family: Family, default "\"any\"";
        /// Whether DNS may lead to private, loopback and link-local addresses. By default it may not: a stranger's zone
        /// could point into our own network. The `proxy` of a partner may be anywhere.
        "private_addresses" => private_addresses: bool, default "false";
    }
}

section! {
    struct ListenerSection named by "bind" {
        /// Address and port to listen on.
        "bind" => bind: Bind, required;
        /// Only with `[::]`: `"any"` takes IPv4 connections too (the default), `"ipv6"` does not.
        "family" => family: Family, optional;
        /// Whether a load balancer in front says whose connection each is, by the PROXY protocol, version 2. Connections without
        /// it, or from others than `proxies`, are closed.
        "proxy_protocol" => proxy_protocol: bool, default "false";
        /// The load balancers, by address or network. Whoever connects from there may say that he is anybody.
        "proxies" => proxies: Vec<At<Network>>, default "[]";
    }
}

section! {
    struct XmppListenerSection named by "bind" {
        /// Address and port to listen on.
        "bind" => bind: Bind, required;
        /// Only with `[::]`: `"any"` takes IPv4 connections too (the default), `"ipv6"` does not.
        "family" => family: Family, optional;
        /// Whether connections have to begin with TLS (XEP-0368), as those do to which SRV records of
        /// `_xmpps-server._tcp` lead. Otherwise both are taken, TLS from the first byte and STARTTLS.
        "direct_tls" => direct_tls: bool, default "false";
        /// Whether a load balancer in front says whose connection each is, by the PROXY protocol, version 2. Connections without
        /// it, or from others than `proxies`, are closed.
        "proxy_protocol" => proxy_protocol: bool, default "false";
        /// The load balancers, by address or network. Whoever connects from there may say that he is anybody.
        "proxies" => proxies: Vec<At<Network>>, default "[]";
    }
}

section! {
    struct SipIdentitySection named by "name" {
        /// What we call ourselves in Via and Contact on behalf of these partners' contacts; front ends must be able to resolve
        /// and reach it.
        "name" => name: SentBy, required;
        /// The types of these partners. No type can have two identities.
        "types" => types: OneOrMore<PartnerType>, required;
        /// Certificate chain in PEM, own certificate first. Shown on the connections to front ends that carry requests of these
        /// contacts, and to whoever asks for this name.
        "certificate" => certificate: PathBuf, required;
        /// Private key of `certificate` in PEM, without passphrase.
        "key" => key: PathBuf, required;
    }
}

section! {
    struct FrontEndSection named by "name" {
        /// Its name in logs.
        "name" => name: EntryName, required;
        /// The names of which its certificate must carry one, as SAN URI `sip:name` or dNSName. Compared in full. May be
        /// absent if all `next_hops` are domains: then it is the domain itself (RFC 5922), or with `lookup = "federation"`
        /// the name of the host.
        "certificate_names" => certificate_names: OneOrMore<CertificateName>, optional;
        /// Where requests for its users are sent, tried in this order: a host with its port, or a domain without one, whose
        /// hosts DNS names. They are looked up again as often as DNS allows, and may come and go.
        "next_hops" => next_hops: OneOrMore<NextHop>, required;
        /// How domains among `next_hops` are looked up: `"sip"`, by NAPTR, SRV (`_sips._tcp`), else their own address with
        /// port 5061 (RFC 3263); or `"federation"`, by SRV `_sipfederationtls._tcp` as Edge servers find each other, with
        /// hosts in the domain itself only.
        "lookup" => lookup: Lookup, default "\"sip\"";
        /// Which of the served domains its users are in. Absent: all.
        "domains" => domains: OneOrMore<Domain>, optional;
        /// What it takes us for. `"edge"`: an Access Edge whose federated peer we are; it says itself how far contacts are
        /// trusted, and is told why something was refused by `ms-diagnostics-public`. `"server"`: a Lync-style front end whose
        /// trusted server we are; we say it, by `ms-edge-proxy-message-trust`. Of both, senders whom the edge has not verified
        /// are refused. `"plain"`: a SIP server that knows nothing of that. See [trust.md](trust.md).
        "trust" => trust: TrustModel, default "\"plain\"";
        /// Whether P-Asserted-Identity of its requests says who the sender is. `false`: From does.
        "asserted_identity" => asserted_identity: bool, default "true";
        /// How messages of contacts go to its users: `"session"`, in sessions that begin with an INVITE, as Lync clients expect
        /// it, and alone where a session is refused as such (405, 415, 488, 501 …); `"pager"`, each alone as MESSAGE; `"automatic"`,
        /// in sessions, but for an hour not to a front end that knows no INVITE: it has said so (405, 501) for two users one
        /// after the other, and no session has come about since. Sessions that its users begin are always taken.
        "im" => im: Im, default "\"automatic\"";
        /// Which library does TLS with it. `"openssl-legacy"` is for servers of the age of Lync Server 2013 that offer no cipher
        /// suite of `"rustls"`: TLS 1.2 only, with forward secrecy, but also with CBC. Connections to it are always made so; one
        /// from it only if nothing better is offered. The program has to be built with it, which it is unless it was left out.
        "tls_backend" => tls_backend: TlsBackend, default "\"rustls\"";
    }
}

section! {
    struct XmppSection {
        /// Names of the hosts that partners connect to, in order of preference: where the SRV records of the served domains lead
        /// that `nuncio dns show` prints and `nuncio check dns` expects. Absent: the host of `sip.name`.
        "hosts" => hosts: OneOrMore<Domain>, optional;
        /// Root certificates in PEM that the certificates of partners must chain to. Absent: those of the system.
        "roots" => roots: PathBuf, optional;
        /// By which rules the negotiation settings of partners are judged: `"strict"`, or `"compat"` as in Lync Server 2013,
        /// where a partner whose SASL is required may still come in by dialback. A partner's own setting goes before.
        "negotiation_rules" => negotiation_rules: NegotiationRules, default "\"strict\"";
        /// File with the secret that dialback keys are made from: one line, 16 characters or more. Nodes of a pool need the
        /// same. Absent: one is generated and kept in the state directory.
        "dialback_secret" => dialback_secret: PathBuf, optional;
        /// Connections to partners.
        "connect" => connect: XmppConnectSection, default "{}";
        /// Where partners connect to. At least one.
        "listener" => listeners: Sections<XmppListenerSection>, required;
        /// Whether everybody who asks is told which version of the gateway this is. The operating system is never named.
        "tell_version" => tell_version: bool, default "false";
        /// Whether messages that SIP users write as HTML keep their form (XHTML-IM, XEP-0071, deprecated). The plain text is
        /// always there.
        "xhtml_im" => xhtml_im: bool, default "false";
        /// Whether messages of contacts that are encrypted from end to end go back to them. Otherwise SIP users get the words
        /// that stand in their place; without any they go back in either case.
        "refuse_encrypted" => refuse_encrypted: bool, default "false";
        /// Whom people turn to about this gateway. Everybody may read it.
        "contacts" => contacts: ContactsSection, default "{}";
    }
}

section! {
    struct ContactsSection {
        /// About spam and other abuse by users here.
        "abuse" => abuse: Vec<At<ContactUri>>, default "[]";
        /// Whoever runs the gateway.
        "admin" => admin: Vec<At<ContactUri>>, default "[]";
        /// For praise and complaint.
        "feedback" => feedback: Vec<At<ContactUri>>, default "[]";
        /// For sales.
        "sales" => sales: Vec<At<ContactUri>>, default "[]";
        /// About vulnerabilities and incidents.
        "security" => security: Vec<At<ContactUri>>, default "[]";
        /// Where disturbances are announced.
        "status" => status: Vec<At<ContactUri>>, default "[]";
        /// For users who need help.
        "support" => support: Vec<At<ContactUri>>, default "[]";
    }
}

section! {
    struct CertificateSection {
        /// The served domains that it speaks for.
        "domains" => domains: OneOrMore<Domain>, required;
        /// Certificate chain in PEM, own certificate first.
        "certificate" => certificate: PathBuf, required;
        /// Private key of `certificate` in PEM, without passphrase.
        "key" => key: PathBuf, required;
    }
}

section! {
    struct ControlSection {
        /// The Unix socket on which the gateway is administered. Absent: `/run/nuncio/control.sock`; if there can be none at that
        /// place, the gateway runs without and says so.
        "socket" => socket: PathBuf, optional;
        /// The group whose members may do everything there, as root may.
        "admin_group" => admin_group: String, default "\"nuncio-admin\"";
        /// The group whose members may see everything there and change nothing.
        "viewer_group" => viewer_group: String, default "\"nuncio-viewer\"";
        /// Address and port for the same over TCP, with TLS and tokens. Absent: not over TCP. Needs `certificate`, `key` and
        /// `tokens`.
        "listen" => listen: Bind, optional;
        /// Certificate chain in PEM that is shown there, own certificate first.
        "certificate" => certificate: PathBuf, optional;
        /// Private key of `certificate` in PEM, without passphrase.
        "key" => key: PathBuf, optional;
        /// File with the tokens that are taken there, a line each, as `nuncio token` prints them: name, role, SHA-256.
        "tokens" => tokens: PathBuf, optional;
    }
}

section! {
    struct PolicySection {
        /// The global switch: `false` refuses messages and subscriptions of all SIP users, and nothing of them is
        /// visible outside.
        "enabled" => enabled: bool, default "true";
        /// What holds for SIP users no rule speaks of.
        "default" => default: Verdict, default "\"allow\"";
        /// How long a SIP user who added a contact counts as having added him, after his front end last subscribed to
        /// that contact for him.
        "consent" => consent: ConsentLifetime, default "\"45d\"";
        /// Whether it crosses since when somebody has not touched his device. Public partners are never told.
        "idle_times" => idle_times: bool, default "false";
        /// Whether contacts whose addresses mix scripts, as a Latin name with a Cyrillic letter that looks like one of its own, may
        /// ask to see SIP users. `false`: such a request is dropped, and audited. Who was let in before is not touched.
        "mixed_scripts" => mixed_scripts: bool, default "false";
        /// Rules about SIP users. One that denies wins over all that allow, and any rule over `default`.
        "rule" => rules: Sections<RuleSection>, default "[]";
    }
}

section! {
    struct BlockSection named by "address" {
        /// Who: a contact, a domain with all its contacts and servers, or an IP address or network from which nobody may connect,
        /// and where nobody is called; not that of a front end. Contacts learn no more of it than that there is no such user.
        "address" => address: BlockAddress, required;
        /// Free text.
        "description" => description: FreeText, default "\"\"";
    }
}

section! {
    struct RuleSection named by "name" {
        /// What it is called in lists. Those that are made while the gateway runs have one.
        "name" => name: EntryName, optional;
        /// Whom it is about: addresses, served domains, or patterns in which `*` stands for any text.
        "users" => users: OneOrMore<SipUsers>, required;
        /// Partners it is about, by any of their domains; the primary domain stands for all of them. Absent: all partners.
        "partners" => partners: Vec<At<Domain>>, default "[]";
        /// Whether they may talk to these partners.
        "verdict" => verdict: Verdict, required;
    }
}

section! {
    struct PartnerSection named by "domain" {
        /// Primary domain.
        "domain" => domain: Domain, required;
        /// Further domains of the same partner. Subdomains are not included by themselves.
        "additional_domains" => additional_domains: Vec<At<Domain>>, default "[]";
        /// Free text.
        "description" => description: FreeText, default "\"\"";
        /// `false`: refused like a domain that is not listed.
        "enabled" => enabled: bool, default "true";
        /// Trust level: an organisation trusted like our own users, a public provider that verifies its users, or one
        /// where anybody can call himself anything. Contacts at the last may not write to a SIP user before he wrote
        /// to them or added them, and may not see his presence, nor ask him for it, before he added them.
        "type" => partner_type: PartnerType, required;
        /// TLS on the streams of this partner: required, used whenever he can (`"optional"`), or never.
        /// [federation.md](federation.md) tells which combinations of `tls`, `sasl` and `dialback` there are, and what comes
        /// of each.
        "tls" => tls: TlsUse, default "\"required\"";
        /// SASL EXTERNAL, authentication by certificate: required, used whenever he can, or never. It needs TLS.
        "sasl" => sasl: SaslUse, default "\"required\"";
        /// Server dialback, authentication by a call back to his domain. `false`: his requests for it are ignored.
        "dialback" => dialback: bool, default "true";
        /// By which rules these three are judged. Absent: by `xmpp.negotiation_rules`.
        "negotiation_rules" => negotiation_rules: NegotiationRules, optional;
        /// Has to be `true` where a federated partner may come in by dialback over plain TCP: whoever controls the network
        /// or DNS can then pose as him, and is trusted like our own users.
        "accept_spoofable" => accept_spoofable: bool, default "false";
        /// Whether silence on his streams is looked into (`limits.xmpp.keep_alive`). `false`: keep-alives are neither sent
        /// nor expected.
        "keep_alive" => keep_alive: bool, default "true";
        /// Whether stanzas may go both ways on one stream (XEP-0288), where he can do that: he answers on the stream we opened,
        /// and we on his. `false`: each side opens its own.
        "bidirectional" => bidirectional: bool, default "true";
        /// Whether what was sent is acknowledged (XEP-0198), where he can do that. `false`: neither offered nor asked for;
        /// the answers to pings behind the messages tell then what has arrived.
        "stream_management" => stream_management: bool, default "true";
        /// Most streams with all his domains at a time, whoever opens them. Absent: `limits.xmpp.connections_per_partner`.
        "connection_limit" => connection_limit: ConnectionLimit, optional;
        /// Longest stanza of this partner, on streams that begin with one of his domains. Absent: `limits.xmpp.stanza`.
        "stanza_limit" => stanza_limit: StanzaLimit, optional;
        /// Deepest nesting in a stanza of this partner, on such streams. Absent: `limits.xmpp.depth`.
        "stanza_depth" => stanza_depth: StanzaDepth, optional;
        /// Most attributes of one element in a stanza of this partner, on such streams. Absent: `limits.xmpp.attributes`.
        "stanza_attributes" => stanza_attributes: StanzaAttributes, optional;
        /// Most stanzas of this partner in a second. Absent: `limits.xmpp.stanzas_per_second`.
        "stanzas_per_second" => stanzas_per_second: StanzaRate, optional;
        /// Most bytes of this partner in a second. Absent: `limits.xmpp.bytes_per_second`.
        "bytes_per_second" => bytes_per_second: ByteRate, optional;
        /// Connect here instead of asking DNS; port 5269 unless given. His certificate still has to be for his domain.
        "proxy" => proxy: Proxy, optional;
        /// Root certificates in PEM that his certificates must chain to, instead of those of `xmpp.roots`: no other CA can
        /// then speak for him.
        "roots" => roots: PathBuf, optional;
        /// Keys that his certificates may have, by SHA-256; any other is not believed, even if its chain is good. List a
        /// spare one, or the next change of his key ends the federation.
        "pins" => pins: OneOrMore<SpkiPin>, optional;
        /// Whether a pinned key is believed without a chain to a root: for partners whose certificates are self-signed or
        /// expire unnoticed.
        "pins_replace_roots" => pins_replace_roots: bool, default "false";
        /// Revocation lists in PEM. His certificates are looked up in them: a revoked one is not believed, nor one of an
        /// issuer whose list has run out. Issuers without a list here are not looked up.
        "crls" => crls: PathBuf, optional;
    }
}
