//! Listeners: which cannot both be bound, and who may say whose connection it is.

use std::net::{IpAddr, SocketAddr};

use super::super::address::{Bind, SourceAddress};
use super::super::file::Root;
use super::super::network::Network;
use super::super::read::{At, Sections, Slot};
use super::super::source::PlaceId;
use super::super::value::Family;
use super::Checker;

impl Checker<'_> {
    pub(super) fn listeners(&mut self, root: &Root) {
        let mut bound: Vec<(SocketAddr, bool, Option<PlaceId>)> = Vec::new();
        if let Some(connect) = root.xmpp.value.as_ref().and_then(|xmpp| xmpp.connect.value.as_ref()) {
            self.connect("[xmpp.connect]", &connect.source_address, &connect.family);
        }
        if let Some(sip) = &root.sip.value {
            let header = "[[sip.listener]]";
            self.at_least_one(header, &sip.listeners);
            for listener in sip.listeners.value.iter().flat_map(|listeners| &listeners.0) {
                let listener = &listener.value;
                self.listener(header, &listener.bind, &listener.family, &mut bound);
                self.proxies(header, &listener.bind, &listener.proxy_protocol, &listener.proxies);
            }
        }
        if let Some(xmpp) = &root.xmpp.value {
            let header = "[[xmpp.listener]]";
            self.at_least_one(header, &xmpp.listeners);
            for listener in xmpp.listeners.value.iter().flat_map(|listeners| &listeners.0) {
                let listener = &listener.value;
                self.listener(header, &listener.bind, &listener.family, &mut bound);
                self.proxies(header, &listener.bind, &listener.proxy_protocol, &listener.proxies);
            }
        }
        self.control(root, &mut bound);
    }

    fn at_least_one<T>(&mut self, header: &str, listeners: &Slot<Sections<T>>) {
        if listeners.value.as_ref().is_some_and(|listeners| listeners.0.is_empty()) {
            self.error(listeners.place, format!("at least one {header} is needed, the list is empty"));
        }
    }

    pub(super) fn listener(
        &mut self,
        header: &str,
        bind: &Slot<Bind>,
        family: &Slot<Family>,
        bound: &mut Vec<(SocketAddr, bool, Option<PlaceId>)>,
    ) {
        let (bind_place, Some(bind)) = (bind.place, bind.value.map(|bind| bind.0)) else { return };
        let label = format!("{header} {bind}");
        let every_v6 = bind.is_ipv6() && bind.ip().is_unspecified();
        match family.value {
            Some(word) if !every_v6 => self.error(
                family.place,
                format!("{label}: family: \"{word}\" says nothing here, the address decides; it goes with [::] only"),
            ),
            Some(Family::Ipv4) => self.error(
                family.place,
                format!(
                    "{label}: family: \"ipv4\" contradicts [::]; for IPv4 only bind to \"0.0.0.0:{}\"",
                    bind.port()
                ),
            ),
            _ => {}
        }
        let both = every_v6 && family.value != Some(Family::Ipv6);
        let clash = bound.iter().find(|(other, other_both, _)| overlap((bind, both), (*other, *other_both)));
        if let Some((other, _, place)) = clash {
            let place = self.places.name(*place);
            let other = if *other == bind {
                "another listener has this address".to_owned()
            } else {
                format!("it overlaps with {other}")
            };
            self.error(bind_place, format!("{label}: bind: {other}, at {place}"));
        }
        bound.push((bind, both, bind_place));
    }

    /// Who may say whose connection it is has to be known, and is asked for nothing else.
    fn proxies(
        &mut self,
        header: &str,
        bind: &Slot<Bind>,
        on: &Slot<bool>,
        proxies: &Slot<Vec<At<Network>>>,
    ) {
        let (Some(on_value), Some(list)) = (on.value, &proxies.value) else { return };
        let label = bind.value.map_or_else(|| header.to_owned(), |bind| format!("{header} {}", bind.0));
        if on_value && list.is_empty() && proxies.sound {
            self.error(
                on.place,
                format!(
                    "{label}: proxy_protocol: nobody is allowed to use it; list the load balancers in proxies"
                ),
            );
        } else if !on_value && !list.is_empty() {
            self.error(
                proxies.place,
                format!("{label}: proxies: says nothing without proxy_protocol = true; add that, or leave this out"),
            );
        }
    }

    pub(super) fn connect(&mut self, header: &str, source: &Slot<SourceAddress>, family: &Slot<Family>) {
        let place = source.place;
        let (Some(source), Some(family)) = (source.value, family.value) else { return };
        let contradiction = match (source.0, family) {
            (IpAddr::V4(_), Family::Ipv6) => "an IPv4 address",
            (IpAddr::V6(_), Family::Ipv4) => "an IPv6 address",
            _ => return,
        };
        let text =
            format!("{header} source_address: {} is {contradiction}, but family is \"{family}\"", source.0);
        self.error(place, text);
    }
}

/// Whether two listeners cannot both be bound; the flag says that an IPv6 one takes IPv4 too.
fn overlap(a: (SocketAddr, bool), b: (SocketAddr, bool)) -> bool {
    if a.0.port() != b.0.port() || a.0.port() == 0 {
        return false;
    }
    let covers = |a: (SocketAddr, bool), b: SocketAddr| {
        a.0.ip() == b.ip() || (a.0.ip().is_unspecified() && (a.0.is_ipv4() == b.is_ipv4() || a.1))
    };
    covers(a, b.0) || covers(b, a.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_overlap_when_they_cannot_both_be_bound() {
        let cases = [
            ("0.0.0.0:5061", false, "127.0.0.1:5061", false, true),
            ("127.0.0.1:5061", false, "127.0.0.2:5061", false, false),
            ("127.0.0.1:5061", false, "127.0.0.1:5061", false, true),
            ("127.0.0.1:5061", false, "127.0.0.1:5269", false, false),
            ("[::]:5061", true, "0.0.0.0:5061", false, true),
            ("[::]:5061", false, "0.0.0.0:5061", false, false),
            ("[::]:5061", false, "[::1]:5061", false, true),
            ("[::]:5061", true, "127.0.0.1:5061", false, true),
            ("127.0.0.1:0", false, "127.0.0.1:0", false, false),
        ];
        for (a, a_both, b, b_both, expected) in cases {
            let a = (a.parse().unwrap(), a_both);
            let b = (b.parse().unwrap(), b_both);
            assert_eq!(overlap(a, b), expected, "{a:?} {b:?}");
            assert_eq!(overlap(b, a), expected, "{b:?} {a:?}");
        }
    }
}
