//! Partners: their side of the streams we open ([`Line`]) and of those they open ([`Stream`]), byte by byte.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio::gateway::{Gateway, LaneKey, LanePort, OutboundPlace};
use nuncio::net::session::{End, Next, Session};
use nuncio::xmpp_frontend::inbound::InboundSession;
use nuncio::xmpp_frontend::outbound::LaneSession;
use nuncio_translate::Moment;
use nuncio_world::xml::{Element, Item, Splitter};
use nuncio_xmpp::Domain;
use nuncio_xmpp::stream::{ChainStatus, InboundConfig, OutboundConfig, PresentedName, StreamIds, TlsFacts};

use crate::house::{FRONT_END, Reach, failure};

const STREAMS: &str = "http://etherx.jabber.org/streams";
const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const FEATURES_END: &str = "</stream:features>";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";

/// When the certificates of all partners expire that they show before it, in milliseconds of Unix time: a year after
/// houses begin. The next ones last.
pub(crate) const CERTIFICATES_END: u64 = 1_795_184_285_000 + 365 * 24 * 3_600_000;

/// What a good certificate for the domain shows.
fn facts(domain: &str, now: Moment) -> TlsFacts {
    let name = Domain::parse(domain).unwrap().to_ascii().into_owned();
    TlsFacts {
        chain: ChainStatus::Trusted,
        names: [PresentedName::Dns(name.into())].into(),
        protocol: "TLSv1.3".into(),
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        expires_ms: Some(CERTIFICATES_END).filter(|end| *end > now.unix_ms),
    }
}

fn header(from: &str, to: &str, id: Option<&str>, lang: Option<&str>) -> String {
    let id = id.map(|id| format!(" id='{id}'")).unwrap_or_default();
    let lang = lang.map(|lang| format!(" xml:lang='{lang}'")).unwrap_or_default();
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='{STREAMS}' from='{from}' \
         to='{to}'{id}{lang} version='1.0'>"
    )
}

/// A lane, and the stream we open for it when it asks.
pub(crate) struct Line {
    pub(crate) key: LaneKey,
    lane: Arc<LanePort>,
    session: Option<LaneSession>,
    /// As long as there is a session.
    place: Option<OutboundPlace>,
    splitter: Splitter,
    headers: usize,
    /// Stanzas the partner got, without pings.
    pub(crate) received: VecDeque<Element>,
    /// Ids of pings the partner got.
    pub(crate) pings: Vec<String>,
    /// The last of them, whether it was answered or not.
    pub(crate) last_ping: Option<String>,
    /// What the partner offers after authentication.
    pub(crate) features: &'static str,
    /// Elements of stream management the partner got, as name and count.
    pub(crate) managed: Vec<String>,
    /// White space the partner got between stanzas.
    pub(crate) spaces: usize,
    /// The stream errors the partner got.
    pub(crate) errors: Vec<Element>,
    /// Writes are taken from the gateway but not reported as complete.
    pub(crate) stalled: bool,
    /// A write waits to be reported.
    unreported: bool,
    connecting: bool,
}

impl Line {
    pub(crate) fn new(key: LaneKey, lane: Arc<LanePort>) -> Self {
        Self {
            key,
            lane,
            session: None,
            place: None,
            splitter: Splitter::default(),
            headers: 0,
            received: VecDeque::new(),
            pings: Vec::new(),
            last_ping: None,
            features: "",
            managed: Vec::new(),
            spaces: 0,
            errors: Vec::new(),
            stalled: false,
            unreported: false,
            connecting: false,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.session {
            Some(session) => session.deadline(),
            None => self.lane.step(|lane| lane.deadline()),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Moment) {
        match &mut self.session {
            Some(session) => session.handle_timeout(now),
            None => self.lane.step(|lane| lane.handle_timeout(now.instant)),
        }
    }

    /// The partner closes the stream in good order.
    pub(crate) fn close_idle(&mut self, now: Moment) {
        let session = self.session.as_mut().unwrap();
        session.receive(&mut BytesMut::from(&b"</stream:stream>"[..]), now);
    }

    /// The partner drops the connection.
    pub(crate) fn cut(&mut self, now: Moment) {
        if let Some(mut session) = self.session.take() {
            session.closed(End::Broken("reset by the test".into()), now);
            self.connecting = session.wants().connect;
        }
    }

    /// The partner says something on the stream we opened.
    pub(crate) fn say(&mut self, xml: &str, now: Moment) {
        let session = self.session.as_mut().expect("there is no stream");
        session.receive(&mut BytesMut::from(xml.as_bytes()), now);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// One step; says whether anything moved.
    pub(crate) fn step(&mut self, gateway: &Arc<Gateway>, reach: &Reach, now: Moment) -> bool {
        if self.session.is_none() {
            self.place = None;
            self.connecting |= gateway.serve_lane_outputs(&self.key, &self.lane, now).connect;
            return self.connecting && self.connect(gateway, reach, now);
        }
        if self.unreported {
            if self.stalled {
                return false;
            }
            self.unreported = false;
            self.session.as_mut().unwrap().written(now);
            return true;
        }
        let mut out = Vec::new();
        let session = self.session.as_mut().unwrap();
        session.transmit(&mut out, now);
        match session.next() {
            Next::Run | Next::StartTls => {}
            Next::Close | Next::Abort => {
                session.closed(End::Local, now);
                self.connecting = session.wants().connect;
                if let (false, Some(why)) = (session.was_open(), session.failure().cloned()) {
                    self.lane.step(|lane| lane.connect_failed(why, 0, now.instant));
                    gateway.lane_unreachable(&self.key);
                }
                self.session = None;
                return true;
            }
        }
        if out.is_empty() {
            return false;
        }
        self.spaces += usize::from(out.starts_with(b" "));
        self.splitter.push(&out);
        let mut said = String::new();
        let mut secured = false;
        while let Some(item) = self.splitter.take().expect("the gateway writes proper XML") {
            said += &self.reply(item, &mut secured);
        }
        if self.stalled {
            self.unreported = true;
        } else {
            self.session.as_mut().unwrap().written(now);
        }
        let remote = self.key.remote.clone();
        let session = self.session.as_mut().unwrap();
        if !said.is_empty() {
            session.receive(&mut BytesMut::from(said.as_bytes()), now);
        }
        if secured {
            session.tls_established(facts(&remote, now), now);
        }
        true
    }

    fn connect(&mut self, gateway: &Arc<Gateway>, reach: &Reach, now: Moment) -> bool {
        match reach {
            Reach::Pending => return false,
            Reach::Down(kind) => {
                self.lane.step(|lane| lane.connect_failed(failure(*kind), 0, now.instant));
                gateway.lane_unreachable(&self.key);
            }
            Reach::Up => {
                self.connecting = false;
                if let Err(refusal) = gateway.policy().open_partner(&self.key.remote).map(drop) {
                    gateway.may_not_connect(&self.key, &self.lane, refusal);
                    return true;
                }
                self.place = gateway.outbound_place(&self.key, &self.lane, now);
                if self.place.is_none() {
                    return true;
                }
                let (local, remote) = (Domain::parse(&self.key.local), Domain::parse(&self.key.remote));
                let config = OutboundConfig::new(local.unwrap(), remote.unwrap());
                let lane = Arc::clone(&self.lane);
                self.splitter = Splitter::default();
                self.headers = 0;
                self.session =
                    Some(LaneSession::new(Arc::clone(gateway), self.key.clone(), lane, config, now));
            }
        }
        self.connecting = false;
        true
    }

    fn reply(&mut self, item: Item, secured: &mut bool) -> String {
        let element = match item {
            Item::Header(_) => {
                self.headers += 1;
                let id = format!("p{}", self.headers);
                let header = header(&self.key.remote, &self.key.local, Some(&id), None);
                return header
                    + &match self.headers {
                        1 => format!(
                            "<stream:features><starttls xmlns='{TLS}'><required/></starttls></stream:features>"
                        ),
                        2 => format!(
                            "<stream:features><mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>\
                             </stream:features>"
                        ),
                        _ => format!("<stream:features>{}</stream:features>", self.features),
                    };
            }
            Item::Close => return "</stream:stream>".to_owned(),
            Item::Element(element) => element,
        };
        match element.name.as_str() {
            "starttls" => {
                self.splitter.restart();
                *secured = true;
                format!("<proceed xmlns='{TLS}'/>")
            }
            "auth" => {
                self.splitter.restart();
                format!("<success xmlns='{SASL}'/>")
            }
            "enable" | "resume" | "r" | "a" => {
                let count = element.attribute("h").map(|count| format!(" {count}")).unwrap_or_default();
                self.managed.push(element.name.clone() + &count);
                String::new()
            }
            "stream:error" => {
                self.errors.push(element);
                String::new()
            }
            "iq" if element.child("ping").is_some() => {
                let id = element.attribute("id").unwrap().to_owned();
                self.last_ping = Some(id.clone());
                self.pings.push(id);
                String::new()
            }
            _ => {
                self.received.push_back(element);
                String::new()
            }
        }
    }
}

/// A stream that a partner opened to us.
pub(crate) struct Stream {
    remote: String,
    local: String,
    session: InboundSession,
    input: BytesMut,
    pub(crate) bytes: Vec<u8>,
    pub(crate) open: bool,
}

impl Stream {
    /// Negotiates as far as stanzas may flow.
    pub(crate) fn open(
        gateway: &Arc<Gateway>,
        served: &[&str],
        remote: &str,
        local: &str,
        lang: Option<&str>,
        now: Moment,
    ) -> Self {
        let served: Vec<_> = served.iter().map(|domain| Domain::parse(domain).unwrap()).collect();
        let ids = StreamIds(["i1".into(), "i2".into(), "i3".into()]);
        let config = InboundConfig::new(served.into());
        let session = InboundSession::new(Arc::clone(gateway), config, ids, FRONT_END, now);
        let (remote, local) = (remote.to_owned(), local.to_owned());
        let mut stream =
            Self { remote, local, session, input: BytesMut::new(), bytes: Vec::new(), open: true };
        let header = header(&stream.remote, &stream.local, None, lang);
        stream.say(&header, now);
        stream.say(&format!("<starttls xmlns='{TLS}'/>"), now);
        assert_eq!(stream.session.next(), Next::StartTls, "{}", stream.transcript());
        let remote = stream.remote.clone();
        stream.session.tls_established(facts(&remote, now), now);
        stream.say(&header, now);
        stream.say(&format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>"), now);
        stream.say(&header, now);
        let said = stream.transcript();
        assert!(said.contains("<success"), "{said}");
        // What comes after the last features is for the test.
        let negotiated = said.rfind(FEATURES_END).map_or(said.len(), |at| at + FEATURES_END.len());
        stream.bytes.drain(..negotiated);
        stream
    }

    pub(crate) fn is(&self, remote: &str, local: &str) -> bool {
        self.open && self.remote == remote && self.local == local
    }

    pub(crate) fn is_from(&self, remote: &str) -> bool {
        self.open && self.remote == remote
    }

    pub(crate) fn say(&mut self, text: &str, now: Moment) {
        self.input.extend_from_slice(text.as_bytes());
        self.session.receive(&mut self.input, now);
        self.step(now);
    }

    /// The partner's server dies.
    pub(crate) fn cut(&mut self, now: Moment) {
        self.session.closed(End::Broken("reset by the test".into()), now);
        self.open = false;
    }

    /// The gateway stops.
    pub(crate) fn shut_down(&mut self, now: Moment) {
        self.session.shut_down(now);
    }

    /// Whether the gateway reads from it.
    pub(crate) fn reads(&self) -> bool {
        self.session.wants_read()
    }

    pub(crate) fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.open.then(|| self.session.deadline()).flatten()
    }

    pub(crate) fn handle_timeout(&mut self, now: Moment) {
        if self.open {
            self.session.handle_timeout(now);
        }
    }

    pub(crate) fn step(&mut self, now: Moment) -> bool {
        if !self.open {
            return false;
        }
        let mut out = Vec::new();
        self.session.transmit(&mut out, now);
        self.bytes.extend_from_slice(&out);
        if !out.is_empty() {
            self.session.written(now);
        }
        if matches!(self.session.next(), Next::Close | Next::Abort) {
            self.session.closed(End::Local, now);
            self.open = false;
            return true;
        }
        !out.is_empty()
    }
}
