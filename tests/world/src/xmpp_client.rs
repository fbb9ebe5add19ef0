//! A user of an XMPP server: logs in, sends and receives messages.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::wait::{within, within_time};
use crate::xml::{Element, Item, Splitter, escape};

/// The password of every user in the world.
pub const PASSWORD: &str = "secret";

/// A logged-in user.
#[derive(Debug)]
pub struct XmppClient {
    jid: String,
    writer: OwnedWriteHalf,
    inbox: mpsc::UnboundedReceiver<Element>,
    sent: u64,
    last_sent: String,
}

impl XmppClient {
    /// Registers the account (XEP-0077) if it is new.
    pub async fn register(server: SocketAddr, user: &str, domain: &str) -> Result<()> {
        let mut connection = Connection::open(server, domain).await?;
        let answer = connection
            .ask(&format!(
                "<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>{}</username>\
                 <password>{PASSWORD}</password></query></iq>",
                escape(user)
            ))
            .await?;
        let known = answer.condition() == Some("conflict");
        ensure!(known || answer.attribute("type") == Some("result"), "registration refused: {answer}");
        connection.writer.write_all(b"</stream:stream>").await?;
        Ok(())
    }

    /// Logs in with SASL PLAIN, binds the resource, asks for the contact list and becomes available.
    pub async fn login(server: SocketAddr, user: &str, domain: &str, resource: &str) -> Result<Self> {
        let mut connection = Connection::open(server, domain).await?;
        let plain = BASE64_STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
        let answer = connection
            .ask(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"))
            .await?;
        ensure!(answer.name == "success", "login of {user}@{domain} refused: {answer}");
        connection.restart(domain).await?;
        let bound = connection
            .ask(&format!(
                "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                 <resource>{}</resource></bind></iq>",
                escape(resource)
            ))
            .await?;
        let jid = bound.child("bind").and_then(|bind| bind.child("jid")).map(|jid| jid.text.clone());
        let jid = jid.with_context(|| format!("no address bound: {bound}"))?;
        // Who has not asked for the contact list is not told of consent either (RFC 6121 s2.1.6, s3.1.6).
        let roster =
            connection.ask("<iq type='get' id='list'><query xmlns='jabber:iq:roster'/></iq>").await?;
        ensure!(roster.attribute("type") == Some("result"), "no contact list: {roster}");
        connection.writer.write_all(b"<presence/>").await?;

        let Connection { mut reader, writer, mut splitter } = connection;
        let (arrived, inbox) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut chunk = vec![0; 64 * 1024];
            loop {
                while let Ok(Some(Item::Element(element))) = splitter.take() {
                    if arrived.send(element).is_err() {
                        return;
                    }
                }
                match reader.read(&mut chunk).await {
                    Ok(count @ 1..) => splitter.push(&chunk[..count]),
                    _ => return,
                }
            }
        });
        let mut client = Self { jid, writer, inbox, sent: 0, last_sent: String::new() };
        // The server reflects the presence: from then on messages to the bare address arrive here.
        let own = client.jid.clone();
        client
            .expect("our own presence", |element| {
                element.name == "presence" && element.attribute("from") == Some(&own)
            })
            .await?;
        Ok(client)
    }

    /// Sends a chat message and returns its id.
    pub async fn send_message(&mut self, to: &str, body: &str) -> Result<String> {
        self.sent += 1;
        let id = format!("m{}", self.sent);
        self.send_raw(&format!(
            "<message type='chat' to='{}' id='{id}'><body>{}</body></message>",
            escape(to),
            escape(body)
        ))
        .await?;
        Ok(id)
    }

    /// Sends any bytes.
    pub async fn send_raw(&mut self, text: &str) -> Result<()> {
        text.clone_into(&mut self.last_sent);
        Ok(self.writer.write_all(text.as_bytes()).await?)
    }

    /// The next stanza of any kind.
    pub async fn next(&mut self) -> Result<Element> {
        within(&format!("a stanza for {}", self.jid), self.inbox.recv())
            .await?
            .with_context(|| format!("the connection of {} has ended", self.jid))
    }

    /// The next stanza if one comes in that time.
    pub async fn next_within(&mut self, patience: Duration) -> Result<Option<Element>> {
        match within_time("a stanza", patience, self.inbox.recv()).await {
            Ok(Some(element)) => Ok(Some(element)),
            Ok(None) => bail!("the connection of {} has ended", self.jid),
            Err(_) => Ok(None),
        }
    }

    /// Waits for a stanza that fits, dropping others.
    pub async fn expect(&mut self, what: &str, fits: impl Fn(&Element) -> bool) -> Result<Element> {
        let mut others = Vec::new();
        loop {
            match self.next().await {
                Ok(element) if fits(&element) => return Ok(element),
                Ok(element) => others.push(element.raw),
                Err(error) => {
                    return Err(
                        error.context(format!("no {what} for {}; other stanzas: {others:?}", self.jid))
                    );
                }
            }
        }
    }

    /// The next `<message/>`.
    pub async fn next_message(&mut self) -> Result<Element> {
        self.expect("message", |element| element.name == "message").await
    }

    /// Proves that nothing else has come: what the server handled before this ping has arrived before its answer.
    pub async fn stanzas_before_ping(&mut self, id: &str) -> Result<Vec<Element>> {
        let domain = self.jid.split(['@', '/']).nth(1).unwrap_or_default().to_owned();
        self.send_raw(&format!("<iq type='get' to='{domain}' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>"))
            .await?;
        let mut before = Vec::new();
        loop {
            let element = self.next().await?;
            if element.name == "iq" && element.attribute("id") == Some(id) {
                return Ok(before);
            }
            before.push(element);
        }
    }

    /// What the user's server calls itself, and its version (XEP-0092).
    pub async fn server_version(&mut self) -> Result<(String, String)> {
        let domain = self.jid.split(['@', '/']).nth(1).unwrap_or_default().to_owned();
        self.send_raw(&format!(
            "<iq type='get' to='{domain}' id='version'><query xmlns='jabber:iq:version'/></iq>"
        ))
        .await?;
        let answer = self.expect("version", |stanza| stanza.attribute("id") == Some("version")).await?;
        let text = |name| {
            let child = answer.child("query").and_then(|query| query.child(name));
            child.map(|child| child.text.clone()).with_context(|| format!("no {name}: {answer}"))
        };
        Ok((text("name")?, text("version")?))
    }

    /// The full address.
    pub fn jid(&self) -> &str {
        &self.jid
    }

    /// The bytes sent last.
    pub fn last_sent(&self) -> &str {
        &self.last_sent
    }
}

struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    splitter: Splitter,
}

impl Connection {
    async fn open(server: SocketAddr, domain: &str) -> Result<Self> {
        let tcp = TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
        tcp.set_nodelay(true)?;
        let (reader, writer) = tcp.into_split();
        let mut connection = Self { reader, writer, splitter: Splitter::default() };
        connection.restart(domain).await?;
        Ok(connection)
    }

    async fn restart(&mut self, domain: &str) -> Result<()> {
        self.splitter.restart();
        self.writer
            .write_all(
                format!(
                    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                     xmlns:stream='http://etherx.jabber.org/streams' to='{domain}' version='1.0'>"
                )
                .as_bytes(),
            )
            .await?;
        let Item::Header(_) = self.item().await? else { bail!("no stream header from {domain}") };
        let Item::Element(features) = self.item().await? else { bail!("no stream features from {domain}") };
        ensure!(features.name == "stream:features", "{features}");
        Ok(())
    }

    async fn ask(&mut self, stanza: &str) -> Result<Element> {
        self.writer.write_all(stanza.as_bytes()).await?;
        match self.item().await? {
            Item::Element(element) => Ok(element),
            other => bail!("{other:?} instead of an answer to {stanza}"),
        }
    }

    async fn item(&mut self) -> Result<Item> {
        let mut chunk = vec![0; 16 * 1024];
        loop {
            if let Some(item) = self.splitter.take()? {
                return Ok(item);
            }
            let count = within("the XMPP server's answer", self.reader.read(&mut chunk)).await??;
            ensure!(count > 0, "the XMPP server closed the connection");
            self.splitter.push(&chunk[..count]);
        }
    }
}
