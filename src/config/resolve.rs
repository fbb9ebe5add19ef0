//! From sources to the [`Config`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ::config::{ConfigError, Map, Value, ValueKind};

use nuncio_xmpp::{Negotiation, NegotiationRules};

use super::address::Domain;
use super::check::Checker;
use super::contact::ContactUri;
use super::effective::Effective;
use super::file::{
    BlockSection, ConnectSection, ContactsSection, ControlSection, ListenerSection, PartnerSection,
    PolicySection, Root, RuleSection, SipIdentitySection, SipSection, XmppConnectSection,
    XmppListenerSection, XmppSection,
};
use super::limits::Limits;
use super::problem::{Report, Severity};
use super::read::{At, OneOrMore, Reader, Section as _, Sections};
use super::source::{Layer, Part, Sources};
use super::value::Family;
use super::{
    Block, Certificates, Config, Connect, Contacts, Control, ControlRemote, Dns, FrontEnd, Identity,
    Listener, Loaded, Log, Node, Partner, Partners, Policy, PolicyRule, Sip, SipIdentity, Xmpp, XmppConnect,
};

/// See [`Config::load`].
pub(super) fn load(
    sources: &Sources,
    identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
) -> Result<Loaded, Report> {
    let mut problems = Vec::new();
    let (mut places, layers) = sources.read(&mut problems);
    // Each file by itself: what is wrong is wrong even if a later layer covers it.
    let files = layers.iter().filter(|layer| layer.is_file);
    for layer in files.clone() {
        let _: Root = Reader::new(&places, &mut problems, false).root(&layer.values);
    }
    if files.count() < sources.files() {
        // What the unreadable file says is not known, so nothing can be called missing.
        return Err(Report::new(problems));
    }
    let mut merged = match merge(layers) {
        Ok(merged) => merged,
        Err(error) => {
            let text = format!("the sources cannot be laid over each other: {error}");
            problems.push(places.problem(Severity::Error, None, Part::Value, text));
            return Err(Report::new(problems));
        }
    };
    let set_aside = sources.stored.lay(&mut merged, &mut places, &mut problems);
    let empty = Map::new();
    let values = if let ValueKind::Table(values) = &merged.kind { values } else { &empty };
    let root: Root = Reader::new(&places, &mut problems, true).root(values);
    Checker { places: &places, problems: &mut problems }.check(&root, &merged, sources, identity);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Report::new(problems));
    }
    let effective = Effective::of(&Root::keys(), values, &places);
    match config(root) {
        Some(config) => Ok(Loaded { config, report: Report::new(problems), effective, set_aside }),
        None => {
            let text =
                "a value is missing and its check does not say which: this is a defect of nuncio".to_owned();
            problems.push(places.problem(Severity::Error, None, Part::Value, text));
            Err(Report::new(problems))
        }
    }
}

/// See [`Config::state_dir`].
pub(super) fn state_dir(sources: &Sources) -> Option<PathBuf> {
    let mut problems = Vec::new();
    let (places, layers) = sources.read(&mut problems);
    let merged = merge(layers).ok()?;
    let ValueKind::Table(values) = &merged.kind else { return None };
    let root: Root = Reader::new(&places, &mut problems, true).root(values);
    root.node.value?.state_dir.value
}

/// See [`Config::control_socket`].
pub(super) fn control_socket(sources: &Sources) -> (Option<PathBuf>, Report) {
    let mut unreadable = Vec::new();
    let (places, layers) = sources.read(&mut unreadable);
    // What is wrong with, or missing in, what can be read has nothing to do with it.
    let mut others = Vec::new();
    let socket = merge(layers).ok().and_then(|merged| {
        let ValueKind::Table(values) = &merged.kind else { return None };
        let root: Root = Reader::new(&places, &mut others, true).root(values);
        Some(root.control.value?.socket)
    });
    let place = socket.as_ref().and_then(|socket| socket.place);
    let socket = socket.and_then(|socket| socket.value);
    if socket.is_none() && place.is_some() {
        let place = places.name(place);
        unreadable.extend(others.into_iter().filter(|problem| problem.place.starts_with(&place)));
    }
    (socket, Report::new(unreadable))
}

fn merge(layers: Vec<Layer>) -> Result<Value, ConfigError> {
    let mut builder = ::config::Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    Ok(builder.build()?.cache)
}

/// `None` if something required is missing; the reader has reported that before.
fn config(root: Root) -> Option<Config> {
    let (node, log, dns) = (root.node.value?, root.log.value?, root.dns.value?);
    let (xmpp_section, limits) = (root.xmpp.value?, root.limits.value?);
    let rules = xmpp_section.negotiation_rules.value?;
    Some(Config {
        node: Node { label: node.label.value?, state_dir: node.state_dir.value? },
        log: Log { format: log.format.value?, level: log.level.value?, addresses: log.addresses.value? },
        dns: Dns {
            servers: dns.servers.value.map(|list| list.0.into_iter().map(|server| server.value.0).collect()),
            timeout: dns.timeout.value?,
        },
        sip: sip(root.sip.value?)?,
        xmpp: xmpp(xmpp_section)?,
        certificates: {
            let mut certificates = Certificates { identities: Vec::new(), of_domain: HashMap::new() };
            for (index, section) in root.certificates.value?.0.into_iter().enumerate() {
                let section = section.value;
                certificates
                    .identities
                    .push(Identity { certificate: section.certificate.value?, key: section.key.value? });
                certificates
                    .of_domain
                    .extend(plain(section.domains.value?).into_iter().map(|domain| (domain, index)));
            }
            certificates
        },
        control: control(root.control.value?)?,
        policy: policy(root.policy.value?)?,
        partners: partners(root.partners.value?.0, rules, &limits)?,
        blocks: root.blocks.value?.0.into_iter().map(block).collect::<Option<_>>()?,
        limits,
    })
}

fn sip(sip: SipSection) -> Option<Sip> {
    let domains = plain(sip.domains.value?);
    let mut front_ends = Vec::new();
    let mut routes: HashMap<Domain, Vec<usize>> = HashMap::new();
    for section in sip.front_ends.value?.0 {
        let section = section.value;
        let front_end = FrontEnd {
            name: section.name.value?.0,
            certificate_names: section.certificate_names.value.map_or_else(Vec::new, plain),
            next_hops: plain(section.next_hops.value?),
            lookup: section.lookup.value?,
            domains: section.domains.value.map_or_else(|| domains.clone(), plain),
            trust: section.trust.value?,
            asserted_identity: section.asserted_identity.value?,
            im: section.im.value?,
            tls_backend: section.tls_backend.value?,
        };
        let front_end = front_end.named_by_its_domains();
        for domain in &front_end.domains {
            routes.entry(domain.clone()).or_default().push(front_ends.len());
        }
        front_ends.push(front_end);
    }
    Some(Sip {
        domains,
        name: sip.name.value?,
        identity: Identity { certificate: sip.certificate.value?, key: sip.key.value? },
        roots: sip.roots.value?,
        crls: sip.crls.value,
        connect: connect(sip.connect.value?)?,
        listeners: listeners(sip.listeners.value?)?,
        identities: sip.identities.value?.0.into_iter().map(sip_identity).collect::<Option<_>>()?,
        front_ends,
        routes,
    })
}

fn sip_identity(section: At<SipIdentitySection>) -> Option<SipIdentity> {
    let section = section.value;
    Some(SipIdentity {
        name: section.name.value?,
        types: plain(section.types.value?),
        identity: Identity { certificate: section.certificate.value?, key: section.key.value? },
    })
}

fn xmpp(xmpp: XmppSection) -> Option<Xmpp> {
    Some(Xmpp {
        hosts: xmpp.hosts.value.map(plain).unwrap_or_default(),
        roots: xmpp.roots.value,
        dialback_secret: xmpp.dialback_secret.value,
        connect: xmpp_connect(xmpp.connect.value?)?,
        listeners: xmpp_listeners(xmpp.listeners.value?)?,
        tell_version: xmpp.tell_version.value?,
        xhtml_im: xmpp.xhtml_im.value?,
        refuse_encrypted: xmpp.refuse_encrypted.value?,
        contacts: contacts(xmpp.contacts.value?)?,
    })
}

fn contacts(contacts: ContactsSection) -> Option<Contacts> {
    let plain = |list: Vec<At<ContactUri>>| list.into_iter().map(|uri| uri.value).collect();
    Some(Contacts {
        abuse: plain(contacts.abuse.value?),
        admin: plain(contacts.admin.value?),
        feedback: plain(contacts.feedback.value?),
        sales: plain(contacts.sales.value?),
        security: plain(contacts.security.value?),
        status: plain(contacts.status.value?),
        support: plain(contacts.support.value?),
    })
}

fn connect(connect: ConnectSection) -> Option<Connect> {
    Some(Connect {
        source_address: connect.source_address.value.map(|source| source.0),
        family: connect.family.value?,
    })
}

fn xmpp_connect(section: XmppConnectSection) -> Option<XmppConnect> {
    Some(XmppConnect {
        private_addresses: section.private_addresses.value?,
        connect: connect(ConnectSection { source_address: section.source_address, family: section.family })?,
    })
}

fn listeners(listeners: Sections<ListenerSection>) -> Option<Vec<Listener>> {
    let listener = |section: At<ListenerSection>| {
        let bind = section.value.bind.value?.0;
        let only_v6 = section.value.family.value == Some(Family::Ipv6);
        let proxies = section.value.proxies.value?.into_iter().map(|network| network.value).collect();
        Some(Listener { bind, only_v6, direct_tls: false, proxies })
    };
    listeners.0.into_iter().map(listener).collect()
}

fn xmpp_listeners(listeners: Sections<XmppListenerSection>) -> Option<Vec<Listener>> {
    let listener = |section: At<XmppListenerSection>| {
        let bind = section.value.bind.value?.0;
        let only_v6 = section.value.family.value == Some(Family::Ipv6);
        let proxies = section.value.proxies.value?.into_iter().map(|network| network.value).collect();
        Some(Listener { bind, only_v6, direct_tls: section.value.direct_tls.value?, proxies })
    };
    listeners.0.into_iter().map(listener).collect()
}

fn block(section: At<BlockSection>) -> Option<Block> {
    Some(Block { address: section.value.address.value?, description: section.value.description.value?.0 })
}

fn control(control: ControlSection) -> Option<Control> {
    let remote = match control.listen.value {
        Some(listen) => Some(ControlRemote {
            listen: listen.0,
            identity: Identity { certificate: control.certificate.value?, key: control.key.value? },
            tokens: control.tokens.value?,
        }),
        None => None,
    };
    Some(Control {
        socket: control.socket.value,
        admin_group: control.admin_group.value?,
        viewer_group: control.viewer_group.value?,
        remote,
    })
}

fn policy(policy: PolicySection) -> Option<Policy> {
    let rule = |section: At<RuleSection>| {
        let section = section.value;
        Some(PolicyRule {
            name: section.name.value.map(|name| name.0),
            users: plain(section.users.value?),
            partners: section.partners.value?.into_iter().map(|domain| domain.value).collect(),
            verdict: section.verdict.value?,
        })
    };
    Some(Policy {
        enabled: policy.enabled.value?,
        default: policy.default.value?,
        consent: policy.consent.value?.0,
        idle_times: policy.idle_times.value?,
        mixed_scripts: policy.mixed_scripts.value?,
        rules: policy.rules.value?.0.into_iter().map(rule).collect::<Option<_>>()?,
    })
}

fn partners(sections: Vec<At<PartnerSection>>, rules: NegotiationRules, limits: &Limits) -> Option<Partners> {
    let mut partners = Partners::default();
    for (index, section) in sections.into_iter().enumerate() {
        let section = section.value;
        let partner = Partner {
            domain: section.domain.value?,
            additional_domains: section
                .additional_domains
                .value?
                .into_iter()
                .map(|domain| domain.value)
                .collect(),
            description: section.description.value?.0,
            enabled: section.enabled.value?,
            partner_type: section.partner_type.value?,
            negotiation: Negotiation {
                tls: section.tls.value?,
                sasl: section.sasl.value?,
                dialback: section.dialback.value?,
            },
            rules: section.negotiation_rules.value.unwrap_or(rules),
            keep_alive: section.keep_alive.value?,
            bidirectional: section.bidirectional.value?,
            stream_management: section.stream_management.value?,
            connection_limit: section
                .connection_limit
                .value
                .map_or(limits.xmpp.connections_per_partner, |limit| limit.0),
            stanza_limit: section.stanza_limit.value.map_or(limits.xmpp.stanza, |limit| limit.0),
            stanza_depth: section.stanza_depth.value.map_or(limits.xmpp.depth, |depth| depth.0),
            stanza_attributes: section.stanza_attributes.value.map_or(limits.xmpp.attributes, |most| most.0),
            stanzas_per_second: section
                .stanzas_per_second
                .value
                .map_or(limits.xmpp.stanzas_per_second, |rate| rate.0),
            bytes_per_second: section
                .bytes_per_second
                .value
                .map_or(limits.xmpp.bytes_per_second, |rate| rate.0),
            proxy: section.proxy.value.map(|proxy| proxy.0),
            roots: section.roots.value,
            pins: section.pins.value.map(plain).unwrap_or_default(),
            pins_replace_roots: section.pins_replace_roots.value?,
            crls: section.crls.value,
        };
        partners.of_domain.extend(partner.domains().map(|domain| (domain.clone(), index)));
        partners.list.push(partner);
    }
    Some(partners)
}

fn plain<T>(list: OneOrMore<T>) -> Vec<T> {
    list.0.into_iter().map(|element| element.value).collect()
}
