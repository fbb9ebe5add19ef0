//! A machine on a virtual clock, with what it wrote and what it wanted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_xmpp::dialback::{DialbackSecret, VerifyOutcome, VerifyRequest};
use nuncio_xmpp::stream::{
    Cause, ChainStatus, DialbackRefusal, Evidence, Fault, Inbound, InboundConfig, Outbound, OutboundConfig,
    Output, PartnerVerdict, PresentedName, StreamIds, Terms, TlsFacts,
};
use nuncio_xmpp::{Domain, Negotiation, NegotiationRules, SaslUse, StreamCondition, TlsUse};

/// What both machines have in common.
pub(crate) trait Machine {
    fn receive(&mut self, bytes: &[u8], now: Instant);
    fn tls_established(&mut self, facts: TlsFacts, now: Instant);
    fn poll(&mut self) -> Option<Output>;
    fn transmit(&mut self, out: &mut Vec<u8>);
    fn deadline(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    fn close(&mut self, now: Instant, error: Option<(StreamCondition, &str)>);
    fn close_answered(&self) -> bool;
}

macro_rules! machine {
    ($type:ty) => {
        impl Machine for $type {
            fn receive(&mut self, bytes: &[u8], now: Instant) {
                self.receive(bytes, now);
            }
            fn tls_established(&mut self, facts: TlsFacts, now: Instant) {
                self.tls_established(facts, now);
            }
            fn poll(&mut self) -> Option<Output> {
                self.poll()
            }
            fn transmit(&mut self, out: &mut Vec<u8>) {
                self.transmit(out);
            }
            fn deadline(&self) -> Option<Instant> {
                self.deadline()
            }
            fn handle_timeout(&mut self, now: Instant) {
                self.handle_timeout(now);
            }
            fn close(&mut self, now: Instant, error: Option<(StreamCondition, &str)>) {
                self.close(now, error);
            }
            fn close_answered(&self) -> bool {
                self.close_answered()
            }
        }
    };
}
machine!(Inbound);
machine!(Outbound);

/// A machine whose peer is the test.
pub(crate) struct Side<M> {
    pub(crate) machine: M,
    pub(crate) now: Instant,
    pub(crate) outputs: Vec<Output>,
}

pub(crate) type In = Side<Inbound>;
pub(crate) type Out = Side<Outbound>;

impl<M: Machine> Side<M> {
    pub(crate) fn new(machine: M, now: Instant) -> Self {
        let mut side = Self { machine, now, outputs: Vec::new() };
        side.drain();
        side
    }

    /// The peer sends; what is written in answer comes back.
    pub(crate) fn send(&mut self, text: &str) -> String {
        self.machine.receive(text.as_bytes(), self.now);
        self.written()
    }

    pub(crate) fn written(&mut self) -> String {
        self.drain();
        let mut out = Vec::new();
        self.machine.transmit(&mut out);
        String::from_utf8(out).unwrap()
    }

    pub(crate) fn tls(&mut self, facts: TlsFacts) -> String {
        assert!(matches!(self.outputs.pop(), Some(Output::StartTls)), "no handshake was asked for");
        self.machine.tls_established(facts, self.now);
        self.written()
    }

    pub(crate) fn close(&mut self, error: Option<(StreamCondition, &str)>) -> String {
        self.machine.close(self.now, error);
        self.written()
    }

    /// Lets the clock run to the next deadline.
    pub(crate) fn wait(&mut self) -> String {
        let deadline = self.machine.deadline().expect("a deadline");
        self.machine.handle_timeout(deadline - Duration::from_nanos(1));
        self.drain();
        assert_eq!(self.machine.deadline(), Some(deadline), "too early is harmless");
        self.now = deadline;
        self.machine.handle_timeout(deadline);
        self.written()
    }

    /// Takes the outputs; the stream has ended in good order.
    pub(crate) fn ended(&mut self) -> Evidence {
        let evidence = self.closed();
        assert!(matches!(self.outputs[..], [Output::ShutdownTls]), "{:?}", self.outputs);
        self.assert_dead();
        evidence
    }

    /// Takes the outputs; the connection is to be cut.
    pub(crate) fn cut(&mut self) -> Evidence {
        let evidence = self.closed();
        assert!(matches!(self.outputs[..], [Output::Abort]), "{:?}", self.outputs);
        self.assert_dead();
        evidence
    }

    /// Takes the first output, which says that the stream is over.
    pub(crate) fn closed(&mut self) -> Evidence {
        let first = (!self.outputs.is_empty()).then(|| self.outputs.remove(0));
        match first {
            Some(Output::Closed(evidence)) => *evidence,
            other => panic!("not closed: {other:?}, then {:?}", self.outputs),
        }
    }

    /// The stream error was sent after our header, the peer answers, the connection goes down.
    pub(crate) fn fault(&mut self, written: &str, condition: &str) -> Fault {
        let error = format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
        assert!(written.contains(&error), "no {condition} in {written}");
        assert!(written.ends_with("</stream:error></stream:stream>"), "{written}");
        let evidence = self.closed();
        if self.outputs.is_empty() {
            assert_eq!(self.wait(), "", "nothing more is said");
        }
        assert!(matches!(self.outputs[..], [Output::ShutdownTls]), "{:?}", self.outputs);
        self.assert_dead();
        match evidence.cause {
            Cause::Fault { condition: said, fault } => {
                assert_eq!(said.as_str(), condition);
                fault
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn established(&mut self) {
        assert!(matches!(self.outputs[..], [Output::Established(_)]), "{:?}", self.outputs);
        self.outputs.clear();
        assert_eq!(self.machine.deadline(), None);
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll() {
            self.outputs.push(output);
        }
    }

    fn assert_dead(&mut self) {
        assert_eq!(self.machine.deadline(), None);
        assert_eq!(self.send("<presence/></stream:stream>"), "");
        assert_eq!(self.outputs.len(), 1, "silence after the end");
    }
}

impl In {
    pub(crate) fn fresh() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut InboundConfig)) -> Self {
        let now = Instant::now();
        let mut config = InboundConfig::new(Arc::new([domain("contoso.com"), domain("sales.contoso.com")]));
        change(&mut config);
        let ids = StreamIds(["id-one".into(), "id-two".into(), "id-three".into()]);
        Self::new(Inbound::new(config, ids, now), now)
    }

    /// The caller lets the peer in.
    pub(crate) fn allow(&mut self) -> String {
        self.verdict(PartnerVerdict::Allowed(Terms::default()))
    }

    pub(crate) fn verdict(&mut self, verdict: PartnerVerdict) -> String {
        assert!(matches!(self.outputs.pop(), Some(Output::AskPartner { .. })), "nobody was asked about");
        self.machine.partner_verdict(verdict, self.now);
        self.written()
    }

    /// Header accepted, peer let in, `<starttls/>` awaited.
    pub(crate) fn clear() -> Self {
        let mut side = Self::fresh();
        side.send(HEADER);
        side.allow();
        side
    }

    /// After the handshake, before the header.
    pub(crate) fn handshaken(facts: TlsFacts) -> Self {
        let mut side = Self::clear();
        side.send(STARTTLS);
        side.tls(facts);
        side
    }

    /// Under TLS, SASL awaited.
    pub(crate) fn secure(facts: TlsFacts) -> Self {
        let mut side = Self::handshaken(facts);
        side.send(HEADER);
        side
    }

    /// Stanzas may flow.
    pub(crate) fn open() -> Self {
        let mut side = Self::secure(proof("fabrikam.com"));
        assert_eq!(side.send(AUTH), SUCCESS);
        side.send(HEADER);
        side.established();
        side
    }
}

impl Out {
    pub(crate) fn fresh() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut OutboundConfig)) -> Self {
        let now = Instant::now();
        let mut config = OutboundConfig::new(domain("contoso.com"), domain("fabrikam.com"));
        change(&mut config);
        let mut side = Self::new(Outbound::new(config, now), now);
        let header = side.written();
        assert!(header.starts_with("<?xml version='1.0'?><stream:stream "), "{header}");
        side
    }

    /// `<starttls/>` is out.
    pub(crate) fn asking() -> Self {
        let mut side = Self::fresh();
        side.send(ANSWER);
        assert_eq!(side.send(OFFER_TLS), STARTTLS);
        side
    }

    /// Under TLS, our header out.
    pub(crate) fn secure() -> Self {
        let mut side = Self::asking();
        side.send(PROCEED);
        side.tls(proof("fabrikam.com"));
        side
    }

    /// `<auth/>` is out.
    pub(crate) fn authenticating() -> Self {
        let mut side = Self::secure();
        side.send(ANSWER);
        assert_eq!(side.send(OFFER_EXTERNAL), AUTH_CONTOSO);
        side
    }

    /// Stanzas may flow.
    pub(crate) fn open() -> Self {
        let mut side = Self::authenticating();
        side.send(SUCCESS);
        side.send(ANSWER);
        side.send("<stream:features/>");
        side.established();
        side
    }
}

impl In {
    /// Header accepted, peer let in on these terms, features out.
    pub(crate) fn on(terms: Terms) -> Self {
        Self::on_with(terms, |_| {})
    }

    pub(crate) fn on_with(terms: Terms, change: impl FnOnce(&mut InboundConfig)) -> Self {
        let mut side = Self::with(|config| {
            config.dialback = Some(secret());
            change(config);
        });
        side.send(HEADER);
        side.verdict(PartnerVerdict::Allowed(terms));
        side
    }

    /// The same under TLS.
    pub(crate) fn on_tls(terms: Terms, facts: TlsFacts) -> Self {
        let mut side = Self::on(terms);
        assert_eq!(side.send(STARTTLS), PROCEED);
        side.tls(facts);
        side.send(HEADER);
        side
    }

    /// Takes the key that is to be verified.
    pub(crate) fn take_request(&mut self) -> VerifyRequest {
        match self.outputs.pop() {
            Some(Output::Verify(request)) => *request,
            other => panic!("nothing to verify: {other:?}"),
        }
    }

    /// What is written when the verification is over.
    pub(crate) fn verified(&mut self, request: &VerifyRequest, outcome: VerifyOutcome) -> String {
        self.machine.verified(request, outcome, self.now);
        self.written()
    }

    /// Takes the one output, which says why dialback was turned down.
    pub(crate) fn refused(&mut self) -> DialbackRefusal {
        match (self.outputs.pop(), self.outputs.len()) {
            (Some(Output::DialbackRefused { why, .. }), 0) => why,
            other => panic!("not one refusal: {other:?}"),
        }
    }
}

impl Out {
    /// Our header is out.
    pub(crate) fn on(terms: Terms) -> Self {
        Self::with(|config| {
            config.terms = terms;
            config.dialback = Some(secret());
        })
    }

    /// Under TLS, the peer's header read.
    pub(crate) fn on_tls(terms: Terms, facts: TlsFacts) -> Self {
        let mut side = Self::on(terms);
        side.send(ANSWER);
        assert_eq!(side.send(OFFER_TLS), STARTTLS);
        side.send(PROCEED);
        side.tls(facts);
        side.send(ANSWER);
        side
    }

    /// Our key is out, in clear.
    pub(crate) fn asking_in_clear() -> Self {
        let mut side = Self::on(terms("N/N/on"));
        side.send(ANSWER);
        assert_eq!(side.send(OFFER_DIALBACK), our_key("x"));
        side
    }
}

/// The terms of an entry by strict rules: `R/O/on` is TLS required, SASL optional, dialback on.
pub(crate) fn terms(entry: &str) -> Terms {
    terms_by(entry, NegotiationRules::Strict)
}

pub(crate) fn terms_by(entry: &str, rules: NegotiationRules) -> Terms {
    let [tls, sasl, dialback] = entry.split('/').collect::<Vec<_>>()[..] else { panic!("{entry}") };
    let tls = match tls {
        "R" => TlsUse::Required,
        "O" => TlsUse::Optional,
        _ => TlsUse::NotSupported,
    };
    let sasl = match sasl {
        "R" => SaslUse::Required,
        "O" => SaslUse::Optional,
        _ => SaslUse::NotSupported,
    };
    Terms::new(Negotiation { tls, sasl, dialback: dialback == "on" }, rules)
}

/// The terms of a partner that proved itself by certificate before.
pub(crate) fn proved(entry: &str) -> Terms {
    Terms { external_proved: true, ..terms(entry) }
}

pub(crate) fn secret() -> Arc<DialbackSecret> {
    Arc::new(DialbackSecret::new(b"s3cr3tf0rd14lb4ck"))
}

/// The element with which we as contoso.com ask fabrikam.com to let us in, on the stream of that id.
pub(crate) fn our_key(id: &str) -> String {
    let key = secret().key(&domain("fabrikam.com"), &domain("contoso.com"), id);
    format!("<db:result from='contoso.com' to='fabrikam.com'>{}</db:result>", key.as_str())
}

/// A dialback element with its prefix declared.
pub(crate) fn db(name: &str, attributes: &str, content: &str) -> String {
    format!("<db:{name} xmlns:db='jabber:server:dialback' {attributes}>{content}</db:{name}>")
}

/// The key with which fabrikam.com asks contoso.com to let it in.
pub(crate) fn their_key() -> String {
    db("result", "from='fabrikam.com' to='contoso.com'", "key")
}

/// Takes the condition out of the one dialback error that was written as the answer to `from` for `to`.
pub(crate) fn error_condition(written: &str, from: &str, to: &str) -> String {
    let begin = format!("<db:result from='{to}' to='{from}' type='error'><error type='");
    let rest = written.strip_prefix(&begin).unwrap_or_else(|| panic!("no error: {written}"));
    assert!(rest.ends_with("</error></db:result>"), "{written}");
    let condition = rest.split_once('<').unwrap().1.split_once(' ').unwrap().0;
    condition.to_owned()
}

/// The header of fabrikam.com to contoso.com.
pub(crate) const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
     xmlns:stream='http://etherx.jabber.org/streams' from='fabrikam.com' to='contoso.com' version='1.0'>";
/// The header in which it answers one of contoso.com.
pub(crate) const ANSWER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
     xmlns:stream='http://etherx.jabber.org/streams' from='fabrikam.com' to='contoso.com' id='x' version='1.0'>";
pub(crate) const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
pub(crate) const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
pub(crate) const OFFER_TLS: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
     </stream:features>";
pub(crate) const OFFER_EXTERNAL: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
     <mechanism>EXTERNAL</mechanism></mechanisms></stream:features>";
pub(crate) const OFFER_DIALBACK: &str = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
     </stream:features>";
/// Both ways under TLS.
pub(crate) const OFFER_BOTH: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
     <mechanism>EXTERNAL</mechanism></mechanisms><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
     </stream:features>";
/// EXTERNAL without an identity.
pub(crate) const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
/// EXTERNAL as contoso.com.
pub(crate) const AUTH_CONTOSO: &str =
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>Y29udG9zby5jb20=</auth>";
pub(crate) const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
pub(crate) const MESSAGE: &str =
    "<message from='romeo@fabrikam.com/orchard' to='juliet@contoso.com'><body>O</body></message>";

pub(crate) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// A handshake in which the peer proved to be `name`.
pub(crate) fn proof(name: &str) -> TlsFacts {
    facts(ChainStatus::Trusted, name)
}

pub(crate) fn facts(chain: ChainStatus, name: &str) -> TlsFacts {
    TlsFacts {
        chain,
        names: [PresentedName::Dns(name.into())].into(),
        protocol: "TLSv1.3".into(),
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        expires_ms: None,
    }
}
