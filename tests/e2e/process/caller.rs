//! wingtip.com as a domain that knows nothing but dialback: a server that we call, and calls of its own.

use anyhow::{Result, bail, ensure};
use nuncio_world::pki::Credential;
use nuncio_world::tls;
use nuncio_world::xml::{Element, Item};
use nuncio_world::xmpp_peer::{XmppListener, XmppPeer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::town::Town;

const FEATURE: &str = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
const MECHANISMS: &str =
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>";
const FAILURE: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>whose is that?</text></failure>";

/// What it says of keys of its own domains.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    Valid,
    Invalid,
    /// The same as valid; but of us it takes contoso.com only.
    OnlyContoso,
}

/// Whether it takes certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum External {
    NotOffered,
    /// It says so, and refuses every one.
    Refused,
    /// It ends the stream over it besides.
    RefusedAndClosed,
    /// It drops the connection instead of saying so.
    Dropped,
}

/// The server that we call.
pub(crate) struct Server {
    heard: UnboundedReceiver<Element>,
    hang_up: watch::Sender<()>,
    _calls: JoinSet<()>,
}

impl Server {
    /// Listens, with STARTTLS if it has a certificate.
    pub(crate) async fn listens(town: &Town, presents: Option<&Credential>, says: Says) -> Result<Self> {
        Self::listens_and(town, presents, says, External::NotOffered).await
    }

    /// The same, offering EXTERNAL.
    pub(crate) async fn refuses(town: &Town, presents: &Credential, external: External) -> Result<Self> {
        Self::listens_and(town, Some(presents), Says::Valid, external).await
    }

    async fn listens_and(
        town: &Town,
        presents: Option<&Credential>,
        says: Says,
        external: External,
    ) -> Result<Self> {
        let listener = XmppListener::bind(town.wingtip()).await?;
        let acceptor = presents.map(|presents| tls::acceptor(&town.pki, presents)).transpose()?;
        let (tell, heard) = unbounded_channel();
        let hang_up = watch::Sender::new(());
        let hung_up = hang_up.subscribe();
        let mut calls = JoinSet::new();
        calls.spawn(async move {
            let mut answering = JoinSet::new();
            loop {
                let Ok(peer) = listener.accept_plain().await else { continue };
                let (acceptor, tell) = (acceptor.clone(), tell.clone());
                let mut hung_up = hung_up.clone();
                hung_up.mark_unchanged();
                answering.spawn(async move {
                    // A caller that hangs up is nobody's fault.
                    tokio::select! {
                        _ = answer(peer, acceptor, (says, external), &tell) => {}
                        _ = hung_up.changed() => {}
                    }
                });
            }
        });
        Ok(Self { heard, hang_up, _calls: calls })
    }

    /// Cuts off all calls there are.
    pub(crate) fn hangs_up(&self) {
        self.hang_up.send_replace(());
    }

    /// Whether nobody has called so far.
    pub(crate) fn nothing_heard(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }

    /// The next element that is not about TLS, on whatever connection it came. Streams begin with their header.
    pub(crate) async fn hears(&mut self, name: &str) -> Result<Element> {
        loop {
            let heard = nuncio_world::wait::within("a call of the gateway", self.heard.recv()).await?;
            match heard {
                Some(element) if element.name == name => return Ok(element),
                Some(_) => {}
                None => bail!("nobody listens"),
            }
        }
    }
}

/// One call.
async fn answer(
    mut peer: XmppPeer,
    acceptor: Option<TlsAcceptor>,
    (says, external): (Says, External),
    tell: &UnboundedSender<Element>,
) -> Result<()> {
    header(&mut peer).await?;
    if let Some(acceptor) = acceptor {
        let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";
        peer.say(&format!("<stream:features>{starttls}</stream:features>")).await?;
        ensure!(peer.element().await?.name == "starttls");
        peer = peer.proceed(&acceptor).await?;
        header(&mut peer).await?;
    }
    let mechanisms = if external == External::NotOffered { "" } else { MECHANISMS };
    peer.say(&format!("<stream:features>{mechanisms}{FEATURE}</stream:features>")).await?;
    loop {
        let element = match peer.item().await? {
            Item::Element(element) => element,
            Item::Close => return peer.say("</stream:stream>").await,
            other => bail!("{other:?} instead of an element"),
        };
        let of = |name| element.attribute(name).unwrap_or_default();
        let back = format!("from='{}' to='{}' id='{}'", of("to"), of("from"), of("id"));
        match (element.name.as_str(), says) {
            ("db:verify", Says::Valid | Says::OnlyContoso) => {
                peer.say(&format!("<db:verify {back} type='valid'/>")).await?
            }
            ("db:verify", Says::Invalid) => peer.say(&format!("<db:verify {back} type='invalid'/>")).await?,
            ("db:result", Says::OnlyContoso) if of("from") != "contoso.com" => {
                peer.say(&format!(
                    "<db:result {back} type='error'><error type='cancel'><item-not-found \
                     xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
                ))
                .await?;
            }
            ("db:result", _) => peer.say(&format!("<db:result {back} type='valid'/>")).await?,
            ("starttls", _) => bail!("it hangs up: {element}"),
            ("auth", _) if external == External::Dropped => return Ok(tell.send(element)?),
            ("auth", _) => {
                peer.say(FAILURE).await?;
                if external == External::RefusedAndClosed {
                    tell.send(element)?;
                    peer.say("</stream:stream>").await?;
                    return peer.until_closed().await;
                }
            }
            _ => {}
        }
        tell.send(element)?;
    }
}

/// Takes the header of the gateway, and answers it.
pub(crate) async fn header(peer: &mut XmppPeer) -> Result<()> {
    let Item::Header(opened) = peer.item().await? else { bail!("no stream header") };
    let of = |name| opened.attribute(name).unwrap_or_default();
    peer.say(&format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         xmlns:db='jabber:server:dialback' id='{ID}' from='{}' to='{}' version='1.0'>",
        of("to"),
        of("from")
    ))
    .await
}

/// The id of all its streams.
pub(crate) const ID: &str = "wingtip-stream";

/// It calls us, over TLS without a certificate, or in clear.
pub(crate) async fn calls(town: &Town, tls: bool) -> Result<XmppPeer> {
    if tls {
        return XmppPeer::secured(&town.pki, None, town.xmpp(), "wingtip.com", "contoso.com").await;
    }
    let mut peer = XmppPeer::dial(town.xmpp()).await?;
    let Item::Element(features) = peer.open("wingtip.com", "contoso.com").await? else {
        bail!("no features")
    };
    ensure!(features.child("dialback").is_some(), "dialback is not offered in clear: {features}");
    Ok(peer)
}

/// Gives a key for a domain, and returns what we say to it.
pub(crate) async fn gives_key(peer: &mut XmppPeer, from: &str) -> Result<Element> {
    peer.say(&format!(
        "<db:result xmlns:db='jabber:server:dialback' from='{from}' to='contoso.com'>some key</db:result>"
    ))
    .await?;
    peer.element().await
}
