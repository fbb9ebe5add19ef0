//! The stream a peer opens.

use std::sync::Arc;

use nuncio_xmpp::Domain;
use nuncio_xmpp::dialback::{DialbackCondition, DialbackSecret, Pair, VerifyOutcome, VerifyRequest};
use nuncio_xmpp::stream::{
    Established, Inbound, InboundConfig, Method, Output, PartnerVerdict, Refusal, StreamIds,
};

use super::script::{Happening, SERVED, Settings};
use super::{LIMITS, Reached, Watch};

struct Peer<'a> {
    settings: &'a Settings,
    machine: Inbound,
    watch: Watch,
    /// Whom we are asked about.
    asked: Option<Domain>,
    /// Keys that were to be verified.
    requests: Vec<VerifyRequest>,
    /// Pairs whose key was found valid since TLS began.
    valid: Vec<Pair>,
    /// Pairs that may send.
    pairs: Vec<Pair>,
    stanzas: usize,
}

pub(super) fn run(settings: &Settings, script: &[Happening<'_>]) -> Reached {
    let served = SERVED.map(|name| Domain::parse(name).expect("a domain"));
    let mut config = InboundConfig { limits: LIMITS, ..InboundConfig::new(Arc::new(served)) };
    config.dialback = settings.secret.then(|| Arc::new(DialbackSecret::new(b"secret")));
    config.in_clear = settings.secret;
    let ids = StreamIds(["id-one".into(), "id-two".into(), "id-three".into()]);
    let watch = Watch::new();
    let machine = match settings.direct_tls {
        true => Inbound::direct_tls(config, ids, watch.now),
        false => Inbound::new(config, ids, watch.now),
    };
    let (asked, requests, valid, pairs) = (None, Vec::new(), Vec::new(), Vec::new());
    let mut peer = Peer { settings, machine, watch, asked, requests, valid, pairs, stanzas: 0 };
    peer.settle();
    for happening in script {
        peer.happens(happening);
        peer.settle();
    }
    let mut rounds = 0;
    while !peer.watch.ended {
        assert!(rounds < 100, "the stream has no end");
        peer.happens(if rounds == 20 { &Happening::Close } else { &Happening::Deadline });
        peer.settle();
        rounds += 1;
    }
    peer.watch.finish();
    assert_eq!(peer.machine.held(), 0);
    let (method, stanzas, pairs) = (peer.watch.established, peer.stanzas, peer.pairs.len());
    Reached { inbound: true, method, stanzas, pairs, verified: None }
}

impl Peer<'_> {
    fn happens(&mut self, happening: &Happening<'_>) {
        // Nothing is read for a machine that waits for our word, as long as it takes little.
        if matches!(happening, Happening::Bytes(_))
            && self.asked.is_some()
            && self.watch.established.is_some()
        {
            return;
        }
        if self.watch.happens(&mut self.machine, self.settings, happening) {
            return;
        }
        match *happening {
            Happening::Answer => self.answer(),
            Happening::Verified { number, outcome } => {
                let Some(request) = self.requests.get(number % self.requests.len().max(1)).cloned() else {
                    return;
                };
                let outcome = match outcome % 3 {
                    0 => VerifyOutcome::Invalid,
                    1 => {
                        self.valid.push(request.pair());
                        VerifyOutcome::Valid
                    }
                    _ => VerifyOutcome::Failed(DialbackCondition::RemoteServerTimeout),
                };
                self.machine.verified(&request, outcome, self.watch.now);
            }
            _ => {}
        }
    }

    fn answer(&mut self) {
        let Some(from) = self.asked.take() else { return };
        let verdict = match self.settings.terms(&from) {
            Some(terms) => PartnerVerdict::Allowed(terms),
            None => PartnerVerdict::Refused { why: Refusal::Disabled, text: "Not here.".into() },
        };
        self.machine.partner_verdict(verdict, self.watch.now);
    }

    fn settle(&mut self) {
        while let Some(output) = self.machine.poll() {
            self.watch.output(&output);
            self.judge(output);
        }
        self.watch.settle(&mut self.machine);
        assert!(self.machine.pairs().len() <= Inbound::PAIRS);
    }

    fn judge(&mut self, output: Output) {
        let dialback =
            matches!(output, Output::Verify(_) | Output::KeyAnswered { .. } | Output::PairAuthorized(_));
        assert!(!dialback || self.settings.secret, "{output:?} where dialback is off");
        match output {
            Output::StartTls => {
                // What was proved in clear counts for nothing under TLS, and is asked anew.
                self.valid.clear();
                if self.settings.prompt {
                    self.watch.shake_hands(&mut self.machine, self.settings);
                }
            }
            Output::AskPartner { from, to } => {
                assert!(SERVED.contains(&to.as_str()), "asked about a domain that is not ours");
                self.asked = Some(from);
                if self.settings.prompt {
                    self.answer();
                }
            }
            Output::Verify(request) => {
                assert!(SERVED.contains(&request.to.as_str()) && !SERVED.contains(&request.from.as_str()));
                self.requests.push(*request);
            }
            Output::Established(established) => self.established(&established),
            Output::PairAuthorized(pair) => {
                assert!(self.watch.established.is_some());
                let clear = self.watch.tls.is_none();
                self.judge_dialback(&pair, if clear { Method::DialbackTcp } else { Method::DialbackTls });
                self.pairs.push(pair);
            }
            Output::Stanza(stanza) => {
                let (from, to) = (stanza.addresses.from.domain(), stanza.addresses.to.domain());
                let known =
                    self.pairs.iter().any(|pair| pair.from.as_str() == from && pair.to.as_str() == to);
                assert!(known, "a stanza from {from} to {to} on a stream of {:?}", self.pairs);
                stanza.number.into_iter().for_each(|number| self.machine.settled(number));
                self.stanzas += 1;
            }
            Output::BadAddress { number, .. } => {
                assert!(self.watch.established.is_some());
                number.into_iter().for_each(|number| self.machine.settled(number));
            }
            Output::Verified(_) | Output::PairRefused { .. } | Output::Unasked(_) => {
                panic!("{output:?} here")
            }
            _ => {}
        }
    }

    fn established(&mut self, established: &Established) {
        assert_eq!(self.watch.established, None, "established twice");
        self.watch.established = Some(established.method);
        let pair = Pair { from: established.remote.clone(), to: established.local.clone() };
        assert!(SERVED.contains(&pair.to.as_str()));
        let terms = self.settings.terms(&pair.from).expect("only who has an entry gets in");
        let certified = self.watch.certified(&pair.from);
        match established.method {
            Method::SaslExternal => assert!(terms.methods.external && certified, "{terms:?}"),
            method => self.judge_dialback(&pair, method),
        }
        assert!(!established.by_certificate || certified, "a certificate that proves nothing");
        self.pairs.push(pair);
    }

    /// By the rules of the entry alone, without looking at the machine.
    fn judge_dialback(&self, pair: &Pair, method: Method) {
        let terms = self.settings.terms(&pair.from).expect("only who has an entry gets in");
        let certified = self.watch.certified(&pair.from);
        assert!(terms.negotiation.dialback && terms.allow(method), "{method} is not allowed by {terms:?}");
        assert_eq!(method == Method::DialbackTls, self.watch.tls.is_some());
        assert!(
            !terms.external_proved || certified,
            "a partner that proved itself is taken with less (SEC-11)"
        );
        let proved = certified && terms.methods.external;
        assert!(proved || self.valid.contains(pair), "nobody found the key of {pair:?} valid");
    }
}
