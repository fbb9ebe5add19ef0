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

    /// Waits until stream management is enabled on the stream that the server opened: it counts what it sends from then on, and
    /// nothing before. Prosody only.
    pub async fn counts(&self, way: Way<'_>) -> Result<()> {
        let log = self.log();
        let what = format!("{} to enable stream management on {} → {}", self.brand(), way.from, way.to);
        until(&what, || async {
            let text = log.text();
            prosodys_stream(&text, way).is_some_and(|stream| {
                lines_of(&text, stream).any(|line| line.contains("Received[s2sout]: <enabled "))
            })
        })
        .await
    }

    /// Waits until the server says that messages of the domain's users and messages to them went by one stream (XEP-0288), and
    /// how that was authenticated. Prosody only.
    pub async fn both_ways(&self, domain: &str) -> Result<Method> {
        let log = self.log();
        let seen = || {
            let text = log.text();
            both_ways_by_prosody(&text, domain).and_then(|stream| prosodys_method(&text, stream))
        };
        until(&format!("{} to use one stream for {domain} both ways", self.brand()), || async {
            seen().is_some()
        })
        .await?;
        seen().ok_or_else(|| anyhow::anyhow!("a log that lost lines"))
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
    prosodys_method(log, prosodys_stream(log, way)?)
}

/// By which method it was authenticated, whoever opened it: a key was sent, or was asked about.
fn prosodys_method(log: &str, stream: &str) -> Option<Method> {
    let says =
        |texts: &[&str]| lines_of(log, stream).any(|line| texts.iter().all(|text| line.contains(text)));
    let dialback = says(&["sent dialback key"]) || says(&["asking ", " if key "]);
    match (dialback, says(&["Stream encrypted"])) {
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
    lines_of(log, stream).any(|line| texts.iter().all(|text| line.contains(text)))
}

/// The stream on which messages of the domain's users left and messages to them came.
fn both_ways_by_prosody<'a>(log: &'a str, domain: &str) -> Option<&'a str> {
    let user = format!("@{domain}");
    let carried = |line: &&str, word: &str| {
        line.contains(&format!("{word}[s2s")) && line.contains(": <message ") && line.contains(&user)
    };
    let received = log.lines().filter(|line| carried(line, "Received"));
    received
        .filter_map(|line| line.split_whitespace().next())
        .find(|stream| lines_of(log, stream).any(|line| carried(&line, "Sending")))
}

fn lines_of<'a>(log: &'a str, stream: &str) -> impl Iterator<Item = &'a str> {
    log.lines().filter(move |line| line.split_whitespace().next() == Some(stream))
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
    fn reads_which_stream_of_prosodys_went_both_ways() {
        let log = "s2sout1  debug  sent dialback key on outgoing s2s stream\n\
                   s2sout1  debug  Sending[s2sout]: <message to='x@a.example' from='bob@b.example'>\n\
                   s2sin2  debug  Received[s2sin]: <message from='x@a.example' to='bob@b.example'>\n\
                   s2sin3  info  Stream encrypted (TLSv1.3 with X)\n\
                   s2sin3  debug  Received[s2sin]: <message from='x@a.example' to='bob@c.example'>\n\
                   s2sin3  debug  Sending[s2sin]: <message to='x@a.example' from='bob@c.example'>";
        assert_eq!(both_ways_by_prosody(log, "b.example"), None, "one stream for each way");
        assert_eq!(both_ways_by_prosody(log, "c.example"), Some("s2sin3"));
        assert_eq!(prosodys_method(log, "s2sin3"), Some(Method::External));
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
