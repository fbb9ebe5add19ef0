//! The stream we open, to fabrikam.com.

use std::sync::Arc;

use nuncio_xmpp::dialback::{DialbackKey, DialbackSecret, Pair, VerifyOutcome, VerifyRequest};
use nuncio_xmpp::stream::{Established, Method, Outbound, OutboundConfig, Output, Purpose, Retry, Terms};

use super::script::{Happening, Settings, domain};
use super::{LIMITS, Reached, Watch};

struct Peer<'a> {
    settings: &'a Settings,
    terms: Terms,
    machine: Outbound,
    watch: Watch,
    /// Further pairs that we asked for.
    wanted: Vec<Pair>,
    /// Where in what we said TLS began.
    secure_from: Option<usize>,
    verified: Option<VerifyOutcome>,
    /// What came back.
    stanzas: usize,
}

pub(super) fn run(settings: &Settings, script: &[Happening<'_>]) -> Reached {
    let own = Pair { from: domain(3), to: domain(0) };
    let terms = settings.terms(&own.to).expect("fabrikam.com always has an entry");
    let purpose = match settings.verify {
        false => Purpose::Carry,
        true => Purpose::Verify(VerifyRequest {
            from: own.to.clone(),
            to: own.from.clone(),
            stream_id: "id-one".into(),
            key: DialbackKey::parse("key").expect("a key"),
        }),
    };
    let config = OutboundConfig {
        terms,
        purpose,
        dialback: settings.secret.then(|| Arc::new(DialbackSecret::new(b"secret"))),
        direct_tls: settings.direct_tls,
        retry: [
            None,
            Some(Retry::WithoutStartTls),
            Some(Retry::WithoutExternal),
            Some(Retry::WithoutUnansweredExternal),
        ][usize::from(settings.retry)],
        limits: LIMITS,
        ..OutboundConfig::new(own.from.clone(), own.to)
    };
    let watch = Watch::new();
    let machine = Outbound::new(config, watch.now);
    let (wanted, secure_from, verified) = (Vec::new(), None, None);
    let mut peer = Peer { settings, terms, machine, watch, wanted, secure_from, verified, stanzas: 0 };
    peer.settle();
    for happening in script {
        if let Happening::Authorize(from, to) = *happening {
            let pair = Pair { from: domain(from), to: domain(to) };
            if peer.machine.authorize(pair.clone(), peer.watch.now).is_ok() {
                assert!(peer.watch.established.is_some() && settings.secret);
                peer.wanted.push(pair);
            }
        }
        peer.watch.happens(&mut peer.machine, settings, happening);
        peer.settle();
    }
    let mut rounds = 0;
    while !peer.watch.ended {
        assert!(rounds < 100, "the stream has no end");
        let next = if rounds == 70 { Happening::Close } else { Happening::Deadline };
        peer.watch.happens(&mut peer.machine, settings, &next);
        peer.settle();
        rounds += 1;
    }
    peer.watch.finish();
    assert_eq!(peer.machine.held(), 0);
    let (method, pairs, stanzas) = (peer.watch.established, peer.machine.pairs().len(), peer.stanzas);
    Reached { inbound: false, method, stanzas, pairs, verified: peer.verified }
}

impl Peer<'_> {
    fn settle(&mut self) {
        while let Some(output) = self.machine.poll() {
            self.watch.output(&output);
            self.judge(output);
        }
        let secure = self.watch.tls.is_some();
        let written = self.watch.settle(&mut self.machine);
        let text = std::str::from_utf8(&written).expect("what we say is text");
        if secure && self.secure_from.is_none() {
            // Of what came out together with the beginning of TLS, all before the new header was for the wire in clear.
            self.secure_from =
                Some(self.watch.said.len() - text.len() + text.find("<?xml").unwrap_or(text.len()));
        }
        self.judge_words();
        if self.machine.write_allowed() {
            assert!(self.watch.established.is_some() && !self.watch.closed);
            assert!(!self.machine.pairs().is_empty());
        }
        assert!(self.machine.pairs().len() <= Outbound::PAIRS);
        let own = Pair { from: domain(3), to: domain(0) };
        let asked = |pair: &Pair| *pair == own || self.wanted.contains(pair);
        assert!(self.machine.pairs().iter().all(asked), "a pair that nobody asked for");
    }

    /// What proves who we are goes out only where the entry lets it.
    fn judge_words(&self) {
        let text = std::str::from_utf8(&self.watch.said).expect("what we say is text");
        let (clear, secure) = text.split_at(self.secure_from.unwrap_or(text.len()));
        let certified = self.watch.certified(&domain(0));
        assert!(!clear.contains("<auth "), "EXTERNAL in clear: {clear}");
        let plain = self.terms.methods.dialback_tcp && !self.terms.external_proved;
        assert!(plain || !gives_key(clear), "a key in clear: {clear}");
        assert!(!secure.contains("<auth ") || self.terms.methods.external && certified, "{secure}");
        let dialback = self.terms.methods.dialback_tls && (certified || !self.terms.external_proved);
        assert!(dialback || !gives_key(secure), "a key under TLS: {secure}");
        assert!(!text.contains(" type='valid'"), "we let nobody in on a stream we opened: {text}");
        // TLS-10, TLS-14: not one byte to somebody else, where the certificate is what counts.
        assert!(certified || dialback || secure.is_empty(), "to an impostor: {secure}");
    }

    fn judge(&mut self, output: Output) {
        match output {
            Output::StartTls if self.settings.prompt => {
                self.watch.shake_hands(&mut self.machine, self.settings);
            }
            Output::Established(established) => self.established(&established),
            Output::Closed(evidence) => self.judge_advice(evidence.retry),
            Output::PairAuthorized(pair) => assert!(self.wanted.contains(&pair), "{pair:?}"),
            Output::PairRefused { pair, .. } => assert!(self.wanted.contains(&pair), "{pair:?}"),
            Output::Verified(outcome) => {
                assert!(self.settings.verify, "nothing was to be verified");
                self.verified = Some(outcome);
            }
            Output::Unasked(_) => assert!(self.watch.established.is_some()),
            Output::Stanza(stanza) => {
                let (from, to) = (stanza.addresses.from.domain(), stanza.addresses.to.domain());
                let back = |pair: &Pair| pair.to.as_str() == from && pair.from.as_str() == to;
                let known = self.machine.pairs().iter().any(back);
                assert!(known && self.comes_back(), "a stanza from {from} to {to}");
                stanza.number.into_iter().for_each(|number| self.machine.settled(number));
                self.stanzas += 1;
            }
            Output::BadAddress { number, .. } => {
                assert!(self.comes_back());
                number.into_iter().for_each(|number| self.machine.settled(number));
            }
            Output::AskPartner { .. }
            | Output::Verify(_)
            | Output::KeyAnswered { .. }
            | Output::DialbackRefused { .. } => panic!("{output:?} on a stream we opened"),
            _ => {}
        }
    }

    /// Whether the peer may send its stanzas here: we asked it to, as the entry allows.
    fn comes_back(&self) -> bool {
        self.watch.established.is_some() && self.machine.asked_for_both_ways() && self.terms.both_ways
    }

    /// A weaker way is advised only where the entry lets it.
    fn judge_advice(&self, retry: Option<Retry>) {
        let certified = self.watch.certified(&domain(0));
        let allowed = match retry {
            None => true,
            Some(Retry::WithoutStartTls) => self.watch.tls.is_none() && self.terms.methods.dialback_tcp,
            Some(_) => certified && self.settings.secret && self.terms.methods.dialback_tls,
        };
        let proved = self.terms.external_proved && !certified;
        assert!(allowed && !(retry.is_some() && proved), "{retry:?} by {:?}", self.terms);
    }

    fn established(&mut self, established: &Established) {
        assert_eq!(self.watch.established, None, "established twice");
        assert!(!self.settings.verify, "a stream that asks about a key carries no stanzas");
        self.watch.established = Some(established.method);
        let (method, terms) = (established.method, &self.terms);
        let certified = self.watch.certified(&established.remote);
        assert!(terms.allow(method), "{method} is not allowed by {terms:?}");
        assert_eq!(method == Method::DialbackTcp, self.watch.tls.is_none());
        assert!(method != Method::SaslExternal || certified);
        assert!(
            !terms.external_proved || certified,
            "a partner that proved itself is taken with less (SEC-11)"
        );
        assert!(!established.by_certificate || certified);
    }
}

/// Whether there is a key in what we said to be let in, and not only an answer to one.
fn gives_key(said: &str) -> bool {
    let elements = said.split("<db:result ").skip(1);
    elements.filter_map(|rest| rest.split('>').next()).any(|tag| !tag.contains(" type="))
}
