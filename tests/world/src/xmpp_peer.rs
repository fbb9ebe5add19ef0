//! An XMPP server of our own that presents any certificate and says any bytes: the partner from hell.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::pki::{Credential, Pki};
use crate::tls;
use crate::wait::within;
use crate::xml::{Element, Item, Splitter};

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// How a dialled stream stands after the negotiation.
#[derive(Debug)]
pub enum Outcome {
    /// SASL EXTERNAL succeeded: stanzas may flow.
    Authenticated,
    /// The gateway ended the stream with this `<stream:error/>`, or refused SASL with this `<failure/>`.
    Refused(Element),
}

/// One s2s stream between this peer and the gateway.
pub struct XmppPeer {
    wire: Box<dyn Wire>,
    splitter: Splitter,
    transcript: String,
    /// The certificate that the gateway showed.
    shown: Option<CertificateDer<'static>>,
    /// Every list of features that came on this wire.
    features: Vec<Element>,
}

impl XmppPeer {
    /// Connects to the gateway in plain TCP and says nothing yet.
    pub async fn dial(address: SocketAddr) -> Result<Self> {
        let tcp =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        Ok(Self::over(tcp))
    }

    /// Connects to the gateway with TLS from the first byte (XEP-0368), naming these protocols (ALPN).
    pub async fn dial_direct(
        pki: &Pki,
        presents: Option<&Credential>,
        address: SocketAddr,
        name: &str,
        protocols: &[&str],
    ) -> Result<Self> {
        let tcp =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        Self::direct_over(tcp, pki, presents, name, protocols).await
    }

    /// The same over a connection that is there already.
    pub async fn direct_over(
        tcp: TcpStream,
        pki: &Pki,
        presents: Option<&Credential>,
        name: &str,
        protocols: &[&str],
    ) -> Result<Self> {
        Ok(Self::over(tls::connect_for(pki, presents, name, protocols, tcp).await?))
    }

    /// Answers `<starttls/>` and does the handshake as a server; a new stream begins.
    pub async fn proceed(mut self, acceptor: &TlsAcceptor) -> Result<Self> {
        self.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
        Ok(Self::over(within("a TLS handshake", acceptor.accept(self.wire)).await??))
    }

    fn over(wire: impl Wire + 'static) -> Self {
        let (splitter, transcript) = (Splitter::default(), String::new());
        Self { wire: Box::new(wire), splitter, transcript, shown: None, features: Vec::new() }
    }

    /// Connects as `from`, starts TLS with the certificate and asks for SASL EXTERNAL.
    pub async fn negotiate(
        pki: &Pki,
        presents: Option<&Credential>,
        address: SocketAddr,
        from: &str,
        to: &str,
    ) -> Result<(Self, Outcome)> {
        let mut peer = match Self::start_tls(pki, presents, address, from, to).await? {
            (peer, None) => peer,
            (peer, Some(refusal)) => return Ok((peer, Outcome::Refused(refusal))),
        };
        let features = match peer.open(from, to).await? {
            Item::Element(element) if element.name == "stream:features" => element,
            Item::Element(element) => return Ok((peer, Outcome::Refused(element))),
            other => bail!("{other:?} instead of features"),
        };
        let offered = features.child("mechanisms").is_some_and(|mechanisms| {
            mechanisms.children.iter().any(|mechanism| mechanism.text == "EXTERNAL")
        });
        if !offered {
            // Nothing that this peer could use: what it does then is up to the caller; the gateway may end the stream.
            return Ok((peer, Outcome::Refused(features)));
        }
        let outcome = peer.external(from, to).await?;
        Ok((peer, outcome))
    }

    /// SASL EXTERNAL after the features that offered it.
    async fn external(&mut self, from: &str, to: &str) -> Result<Outcome> {
        self.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>").await?;
        match self.element().await? {
            success if success.name == "success" => {}
            refusal => return Ok(Outcome::Refused(refusal)),
        }
        self.splitter.restart();
        match self.open(from, to).await? {
            Item::Element(element) if element.name == "stream:features" => Ok(Outcome::Authenticated),
            Item::Element(element) => Ok(Outcome::Refused(element)),
            other => bail!("{other:?} instead of features"),
        }
    }

    /// The same for a peer that must be let in.
    pub async fn authenticate(&mut self, from: &str, to: &str) -> Result<()> {
        match self.external(from, to).await? {
            Outcome::Authenticated => Ok(()),
            Outcome::Refused(element) => bail!("{from} was refused: {element}"),
        }
    }

    /// As [`Self::negotiate`], for a peer that must be let in.
    pub async fn authenticated(
        pki: &Pki,
        presents: &Credential,
        address: SocketAddr,
        from: &str,
        to: &str,
    ) -> Result<Self> {
        match Self::negotiate(pki, Some(presents), address, from, to).await? {
            (peer, Outcome::Authenticated) => Ok(peer),
            (_, Outcome::Refused(element)) => bail!("{from} was refused: {element}"),
        }
    }

    /// Goes as far as the features of the stream inside TLS, where SASL would begin.
    pub async fn secured(
        pki: &Pki,
        presents: Option<&Credential>,
        address: SocketAddr,
        from: &str,
        to: &str,
    ) -> Result<Self> {
        match Self::start_tls(pki, presents, address, from, to).await? {
            (mut peer, None) => {
                peer.open(from, to).await?;
                Ok(peer)
            }
            (_, Some(refusal)) => bail!("{from} was refused before TLS: {refusal}"),
        }
    }

    async fn start_tls(
        pki: &Pki,
        presents: Option<&Credential>,
        address: SocketAddr,
        from: &str,
        to: &str,
    ) -> Result<(Self, Option<Element>)> {
        let tcp =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        let mut plain = PlainStart { tcp, splitter: Splitter::default() };
        match plain.start_tls(from, to).await? {
            Some(refusal) => Ok((Self::over(plain.tcp), Some(refusal))),
            None => {
                let stream = tls::connect(pki, presents, to, plain.tcp).await?;
                let shown = tls::presented(&stream);
                Ok((Self { shown, ..Self::over(stream) }, None))
            }
        }
    }

    /// The certificate that the gateway showed when this peer connected to it.
    pub fn shown(&self) -> Option<&CertificateDer<'static>> {
        self.shown.as_ref()
    }

    /// Sends a stream header.
    pub async fn say_header(&mut self, from: &str, to: &str) -> Result<()> {
        self.say(&header(from, to)).await
    }

    /// Sends a stream header and returns what comes after the gateway's own header.
    pub async fn open(&mut self, from: &str, to: &str) -> Result<Item> {
        self.say(&header(from, to)).await?;
        let Item::Header(_) = self.item().await? else { bail!("no stream header") };
        let item = self.item().await?;
        if let Item::Element(element) = &item
            && element.name == "stream:features"
        {
            self.features.push(element.clone());
        }
        Ok(item)
    }

    /// Whether this was among the features, before or after authentication.
    pub fn was_offered(&self, name: &str, namespace: &str) -> bool {
        let is = |child: &Element| child.name == name && child.attribute("xmlns") == Some(namespace);
        self.features.iter().any(|features| features.children.iter().any(is))
    }

    /// Sends any bytes.
    pub async fn say(&mut self, text: &str) -> Result<()> {
        self.transcript.push_str(&format!("> {text}\n"));
        self.wire.write_all(text.as_bytes()).await?;
        Ok(self.wire.flush().await?)
    }

    /// The next item of the stream.
    pub async fn item(&mut self) -> Result<Item> {
        self.next()
            .await?
            .with_context(|| format!("the gateway closed the connection after\n{}", self.transcript))
    }

    /// The next element.
    pub async fn element(&mut self) -> Result<Element> {
        match self.item().await? {
            Item::Element(element) => Ok(element),
            other => bail!("{other:?} instead of an element after\n{}", self.transcript),
        }
    }

    /// The gateway must end the stream now: returns the condition of its `<stream:error/>`, after the connection has
    /// closed. Stanzas and features that come before it are skipped.
    pub async fn stream_error(&mut self) -> Result<Element> {
        let mut error = None;
        while let Some(item) = self.next().await? {
            match item {
                Item::Element(element) if element.name == "stream:error" => error = Some(element),
                Item::Close => {
                    // An answer to the closing tag; the gateway may have gone already.
                    self.say("</stream:stream>").await.ok();
                }
                Item::Header(_) | Item::Element(_) => {}
            }
        }
        error.with_context(|| format!("the stream ended without an error\n{}", self.transcript))
    }

    /// The gateway must close the connection now, without a further stanza.
    pub async fn until_closed(&mut self) -> Result<()> {
        while let Some(item) = self.next().await? {
            match item {
                Item::Element(element) => {
                    ensure!(element.name == "stream:error", "sent to a peer that is not let in: {element}");
                }
                Item::Close => self.say("</stream:stream>").await.unwrap_or_default(),
                Item::Header(_) => {}
            }
        }
        Ok(())
    }

    /// Reads to the end of the connection. Whether TLS was closed in order, or just cut off.
    pub async fn tls_is_closed_in_order(&mut self) -> Result<bool> {
        let mut chunk = vec![0; 16 * 1024];
        loop {
            match within("the end of the connection", self.wire.read(&mut chunk)).await? {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Everything said on this stream, for a test's message.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    async fn next(&mut self) -> Result<Option<Item>> {
        let mut chunk = vec![0; 16 * 1024];
        loop {
            if let Some(item) = self.splitter.take()? {
                self.transcript.push_str(&format!("< {item:?}\n"));
                return Ok(Some(item));
            }
            match within("the gateway on the XMPP stream", self.wire.read(&mut chunk)).await? {
                Ok(count @ 1..) => self.splitter.push(&chunk[..count]),
                Ok(0) | Err(_) => return Ok(None),
            }
        }
    }
}

/// The part of a stream before TLS.
struct PlainStart {
    tcp: TcpStream,
    splitter: Splitter,
}

impl PlainStart {
    /// Gets as far as `<proceed/>`; otherwise returns what came instead.
    async fn start_tls(&mut self, from: &str, to: &str) -> Result<Option<Element>> {
        self.tcp.write_all(header(from, to).as_bytes()).await?;
        let Item::Header(_) = self.item().await? else { bail!("no stream header") };
        match self.item().await? {
            Item::Element(element) if element.name == "stream:features" => {
                ensure!(element.child("starttls").is_some(), "no STARTTLS offered: {element}");
            }
            Item::Element(element) => return Ok(Some(element)),
            other => bail!("{other:?} instead of features"),
        }
        self.tcp.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
        match self.item().await? {
            Item::Element(element) if element.name == "proceed" => Ok(None),
            Item::Element(element) => Ok(Some(element)),
            other => bail!("{other:?} instead of <proceed/>"),
        }
    }

    async fn item(&mut self) -> Result<Item> {
        let mut chunk = vec![0; 16 * 1024];
        loop {
            if let Some(item) = self.splitter.take()? {
                return Ok(item);
            }
            let count = within("the gateway before TLS", self.tcp.read(&mut chunk)).await??;
            ensure!(count > 0, "the gateway closed the connection before TLS");
            self.splitter.push(&chunk[..count]);
        }
    }
}

/// An XMPP domain that the gateway connects to.
#[derive(Debug)]
pub struct XmppListener {
    listener: TcpListener,
}

impl XmppListener {
    /// Listens.
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { listener })
    }

    /// Takes a connection of the gateway and says nothing yet.
    pub async fn accept_plain(&self) -> Result<XmppPeer> {
        let (tcp, _) = within("the gateway to connect", self.listener.accept()).await??;
        Ok(XmppPeer::over(tcp))
    }

    /// Takes a connection of the gateway through STARTTLS and SASL EXTERNAL with the certificate.
    ///
    /// Fails where the gateway gives up, which for a bad certificate is what must happen.
    pub async fn accept(&self, pki: &Pki, presents: &Credential, domain: &str) -> Result<XmppPeer> {
        Self::under_tls(self.accept_tls(pki, presents, domain).await?, domain, false).await
    }

    /// The same with streams that carry stanzas both ways, which the gateway must ask for (XEP-0288).
    pub async fn accept_both_ways(&self, pki: &Pki, presents: &Credential, domain: &str) -> Result<XmppPeer> {
        Self::under_tls(self.accept_tls(pki, presents, domain).await?, domain, true).await
    }

    async fn accept_tls(&self, pki: &Pki, presents: &Credential, domain: &str) -> Result<XmppPeer> {
        let (tcp, _) = within("the gateway to connect", self.listener.accept()).await??;
        let mut plain = PlainStart { tcp, splitter: Splitter::default() };
        let Item::Header(opened) = plain.item().await? else { bail!("no stream header") };
        let remote = opened.attribute("from").unwrap_or_default().to_owned();
        plain.tcp.write_all(answer_header(domain, &remote, "p1").as_bytes()).await?;
        plain
            .tcp
            .write_all(
                b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
                  </stream:features>",
            )
            .await?;
        let Item::Element(start) = plain.item().await? else { bail!("no STARTTLS") };
        ensure!(start.name == "starttls", "{start}");
        plain.tcp.write_all(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
        let acceptor = tls::acceptor(pki, presents)?;
        let stream = within("a TLS handshake", acceptor.accept(plain.tcp)).await??;
        Ok(XmppPeer::over(stream))
    }

    /// The same with TLS from the first byte (XEP-0368). Also gives the domain and the protocol that the gateway asked for
    /// in its handshake (SNI, ALPN).
    pub async fn accept_direct(
        &self,
        pki: &Pki,
        presents: &Credential,
        domain: &str,
    ) -> Result<(XmppPeer, Option<String>, Option<String>)> {
        let (tcp, _) = within("the gateway to connect", self.listener.accept()).await??;
        let acceptor = tls::acceptor_for(pki, presents, &["xmpp-server"])?;
        let stream = within("a TLS handshake", acceptor.accept(tcp)).await??;
        let session = stream.get_ref().1;
        let name = session.server_name().map(str::to_owned);
        let protocol = session.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
        Ok((Self::under_tls(XmppPeer::over(stream), domain, false).await?, name, protocol))
    }

    /// The part of the negotiation that TLS protects.
    async fn under_tls(mut peer: XmppPeer, domain: &str, both_ways: bool) -> Result<XmppPeer> {
        let Item::Header(opened) = peer.item().await? else { bail!("no stream header after TLS") };
        let remote = opened.attribute("from").unwrap_or_default().to_owned();
        peer.say(&answer_header(domain, &remote, "p2")).await?;
        let more = if both_ways { "<bidi xmlns='urn:xmpp:features:bidi'/>" } else { "" };
        peer.say(&format!(
            "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
             <mechanism>EXTERNAL</mechanism></mechanisms>{more}</stream:features>",
        ))
        .await?;
        if both_ways {
            let asked = peer.element().await?;
            ensure!(asked.name == "bidi", "it does not ask for both ways: {asked}");
        }
        let auth = peer.element().await?;
        ensure!(auth.name == "auth", "{auth}");
        peer.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await?;
        peer.splitter.restart();
        let Item::Header(_) = peer.item().await? else { bail!("no stream header after SASL") };
        peer.say(&answer_header(domain, &remote, "p3")).await?;
        peer.say("<stream:features/>").await?;
        Ok(peer)
    }
}

/// The header of whoever is called, which names the stream.
fn answer_header(from: &str, to: &str, id: &str) -> String {
    let header = header(from, to);
    let (start, rest) = header.split_once(" from=").unwrap_or((&header, ""));
    format!("{start} id='{id}' from={rest}")
}

fn header(from: &str, to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{from}' to='{to}' version='1.0'>"
    )
}
