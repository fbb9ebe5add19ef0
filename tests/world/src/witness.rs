//! How a stream between two servers was authenticated, by the word of the server that is not ours.
//!
//! ejabberd and Prosody say so in their logs, each in its own way. The gateway is not asked: it is the one under test.

use std::fmt;

use anyhow::Result;

use crate::wait::until;
use crate::xmpp_server::{Brand, XmppServer};

/// How somebody proved who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// SASL EXTERNAL: by the certificate of the TLS connection.
    External,
    /// Dialback inside TLS.
    DialbackTls,
    /// Dialback in the clear.
    DialbackTcp,
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::External => "EXTERNAL",
            Self::DialbackTls => "dialback over TLS",
            Self::DialbackTcp => "dialback over TCP",
        })
    }
}

/// A stream, by whom it is from and for, as the server with the log sees it.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// The domain that opened the stream.
    pub from: &'a str,
    /// The domain it was opened to.
    pub to: &'a str,
    /// Whether the server with the log opened it.
    pub outbound: bool,
}

impl XmppServer {
    /// Waits until the server says that stanzas may go that way, and how that came about.
    pub async fn authenticated(&self, way: Way<'_>) -> Result<Method> {
        let log = self.log();
        let what = format!("{} to authenticate {} → {}", self.brand(), way.from, way.to);
        until(&what, || async { method(self.brand(), &log.text(), way).is_some() }).await?;
        method(self.brand(), &log.text(), way).ok_or_else(|| anyhow::anyhow!("a log that lost lines"))
    }

    /// Waits until the server says that a stanza that went that way was acknowledged (XEP-0198). Prosody only.
    pub async fn acknowledged(&self, way: Way<'_>) -> Result<()> {
        let log = self.log();
        let what = format!("{} to say that {} → {} was acknowledged", self.brand(), way.from, way.to);
        until(&what, || async { acknowledged_by_prosody(&log.text(), way) }).await
    }

    /// How stanzas may go that way, if they may.
    pub fn has_authenticated(&self, way: Way<'_>) -> Option<Method> {
        method(self.brand(), &self.log().text(), way)
    }
}

fn method(brand: Brand, log: &str, way: Way<'_>) -> Option<Method> {
    match brand {
        Brand::Ejabberd => by_ejabberd(log, way),
        Brand::Prosody => by_prosody(log, way),
    }
}

/// `… (tls|<0.485.0>) Accepted outbound s2s EXTERNAL authentication fabrikam.com -> northwind.com (127.0.0.60)`
fn by_ejabberd(log: &str, way: Way<'_>) -> Option<Method> {
    let direction = if way.outbound { "outbound" } else { "inbound" };
    let domains = format!(" authentication {} -> {} (", way.from, way.to);
    log.lines().find_map(|line| {
        let (head, accepted) = line.split_once(&format!(" Accepted {direction} s2s "))?;
        let (how, _) = accepted.split_once(&domains)?;
        match (how, head.contains("(tls|")) {
            ("EXTERNAL", true) => Some(Method::External),
            ("dialback", true) => Some(Method::DialbackTls),
            ("dialback", false) => Some(Method::DialbackTcp),
            _ => None,
        }
    })
}

fn by_prosody(log: &str, way: Way<'_>) -> Option<Method> {
    let stream = prosodys_stream(log, way)?;
    let says = |text: &str| log.lines().any(|line| line.starts_with(stream) && line.contains(text));
    let dialback =
        if way.outbound { "sent dialback key".to_owned() } else { format!("asking {} if key", way.from) };
    match (says(&dialback), says("Stream encrypted")) {
        (false, true) => Some(Method::External),
        (true, true) => Some(Method::DialbackTls),
        (true, false) => Some(Method::DialbackTcp),
        (false, false) => None,
    }
}

/// Its count of what was acknowledged to it, or how it acknowledges when it was asked to.
fn acknowledged_by_prosody(log: &str, way: Way<'_>) -> bool {
    let Some(stream) = prosodys_stream(log, way) else { return false };
    // Attributes come in any order.
    let texts: &[&str] =
        if way.outbound { &["#queue = 0 (acked: 1)"] } else { &["Sending[s2sin]: <a ", " h='1'"] };
    log.lines().any(|line| line.starts_with(stream) && texts.iter().all(|text| line.contains(text)))
}

/// Lines begin with the name of the stream they are about.
fn prosodys_stream<'a>(log: &'a str, way: Way<'_>) -> Option<&'a str> {
    let direction = if way.outbound { "Outgoing" } else { "Incoming" };
    let complete = format!("{direction} s2s connection {}->{} complete", way.from, way.to);
    log.lines().find(|line| line.contains(&complete))?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN: Way<'_> = Way { from: "a.example", to: "b.example", outbound: false };
    const OUT: Way<'_> = Way { from: "b.example", to: "a.example", outbound: true };

    #[test]
    fn reads_ejabberd() {
        let log = "x [info] (tls|<0.1.0>) Accepted inbound s2s EXTERNAL authentication a.example -> b.example (127.0.0.1)\n\
                   x [warning] (tcp|<0.2.0>) Failed outbound s2s EXTERNAL authentication b.example -> a.example (127.0.0.1)\n\
                   x [info] (tcp|<0.2.0>) Accepted outbound s2s dialback authentication b.example -> a.example (127.0.0.1)";
        assert_eq!(by_ejabberd(log, IN), Some(Method::External));
        assert_eq!(by_ejabberd(log, OUT), Some(Method::DialbackTcp));
        assert_eq!(by_ejabberd(log, Way { to: "c.example", ..IN }), None);
    }

    #[test]
    fn reads_prosody() {
        let log = "s2sin1  info  Stream encrypted (TLSv1.3 with X)\n\
                   s2sin1  info  Incoming s2s connection a.example->b.example complete\n\
                   s2sout2  debug  sent dialback key on outgoing s2s stream\n\
                   s2sout2  info  Outgoing s2s connection b.example->a.example complete\n\
                   s2sin3  info  Stream encrypted (TLSv1.3 with X)\n\
                   s2sin3  debug  asking c.example if key 00 belongs to them\n\
                   s2sin3  info  Incoming s2s connection c.example->b.example complete";
        assert_eq!(by_prosody(log, IN), Some(Method::External));
        assert_eq!(by_prosody(log, OUT), Some(Method::DialbackTcp));
        assert_eq!(by_prosody(log, Way { from: "c.example", ..IN }), Some(Method::DialbackTls));
        assert_eq!(by_prosody(log, Way { from: "d.example", ..IN }), None);
    }

    #[test]
    fn reads_what_prosody_says_about_acknowledgements() {
        let log = "s2sin1  info  Incoming s2s connection a.example->b.example complete\n\
                   s2sin1  debug  Sending[s2sin]: <a xmlns='urn:xmpp:sm:3' h='1'>\n\
                   s2sout2  info  Outgoing s2s connection b.example->a.example complete\n\
                   s2sout2  debug  #queue = 1 (acked: 0)\n\
                   s2sout3  debug  #queue = 0 (acked: 1)";
        assert!(acknowledged_by_prosody(log, IN));
        assert!(!acknowledged_by_prosody(log, OUT), "another stream");
    }
}
