//! Descriptions of ours.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Media, Offer, Unacceptable};
use crate::Uri;

/// What identifies our description (`o=`). The same session keeps `id`; `version` grows with each description that
/// differs from the one before (RFC 3264 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub id: u32,
    pub version: u32,
    /// For form's sake.
    pub address: IpAddr,
}

/// What we say of ourselves.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    pub origin: Origin,
    /// Media types we read, separated by blanks.
    pub accept_types: &'a str,
}

/// The port that Lync writes where one means nothing.
const PORT: u16 = 5060;

impl Description<'_> {
    /// Offers a session of messages.
    pub fn offer(&self) -> String {
        let mut out = self.head();
        self.messages(&mut out, "message", "sip", "null");
        out
    }

    /// Answers an offer: one stream of messages, everything else with port 0, in the order of the offer (RFC 3264 §6).
    /// `own` is the address of whom the other side writes to.
    ///
    /// # Errors
    /// [`Unacceptable`].
    pub fn answer(&self, offer: &Offer<'_>, own: &Uri<'_>) -> Result<String, Unacceptable> {
        let chosen = offer.messages()?;
        let mut out = self.head();
        for (place, Media { kind, protocol, formats, .. }) in offer.media().iter().enumerate() {
            if place == chosen {
                self.messages(&mut out, kind, protocol, own.as_str());
            } else {
                line(&mut out, format_args!("m={kind} 0 {protocol} {formats}"));
            }
        }
        Ok(out)
    }

    fn head(&self) -> String {
        let Origin { id, version, address } = self.origin;
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let mut out = String::with_capacity(256);
        line(&mut out, format_args!("v=0"));
        line(&mut out, format_args!("o=- {id} {version} IN {family} {address}"));
        line(&mut out, format_args!("s=session"));
        line(&mut out, format_args!("c=IN {family} {address}"));
        line(&mut out, format_args!("t=0 0"));
        out
    }

    fn messages(&self, out: &mut String, kind: &str, protocol: &str, format: &str) {
        line(out, format_args!("m={kind} {PORT} {protocol} {format}"));
        line(out, format_args!("a=accept-types:{}", self.accept_types));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
    out.push_str("\r\n");
}
