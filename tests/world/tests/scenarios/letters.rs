//! What a contact writes to a SIP user, numbered: nothing arrives twice.
//!
//! Nor does it come in order where the contact's server has to open a stream for it: Prosody sends what comes at the moment
//! at which it is let in before what has waited for that. And what a server had written when it lost a stream without stream
//! management, it tells nobody of.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;
use nuncio_world::xmpp_client::XmppClient;

/// To whom they are.
const READER: &str = "reader@contoso.com";
/// Of so many moments one is used to write.
const SELDOM: usize = 5;

/// One correspondence.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    moments: usize,
    sent: usize,
    arrived: BTreeSet<usize>,
    came_back: Vec<String>,
    /// So many of these are the gateway's doing: more were on their way to the one reader than may wait for him.
    too_many: u64,
    /// The id of the last one.
    last: String,
}

impl Letters {
    /// Writes now and then, while the contact is there and his connection takes it.
    pub(crate) async fn write_some(&mut self, contact: &mut Option<XmppClient>) {
        self.moments += 1;
        if let Some(contact) = contact
            && self.moments.is_multiple_of(SELDOM)
        {
            // A connection that has just ended says so to whoever reads.
            self.write(contact).await.ok();
        }
    }

    /// Writes.
    pub(crate) async fn write(&mut self, contact: &mut XmppClient) -> Result<()> {
        let text = format!("letter {}", self.sent);
        self.sent += 1;
        self.last = contact.send_message(READER, &text).await?;
        Ok(())
    }

    /// Takes what has come to the front end; false: it is none of these.
    pub(crate) fn arrived(&mut self, request: &SipMessage) -> Result<bool> {
        if request.address("To")? != format!("sip:{READER}") {
            return Ok(false);
        }
        let number = request.body.strip_prefix("letter ").with_context(|| format!("no letter: {request}"))?;
        let number = number.parse()?;
        ensure!(self.arrived.insert(number), "letter {number} has come twice");
        Ok(true)
    }

    /// Takes what has come to the contact; false: it is none of these come back.
    pub(crate) fn came_back(&mut self, message: &Element) -> bool {
        let back = message.attribute("type") == Some("error");
        if back {
            self.came_back.push(message.attribute("id").unwrap_or_default().to_owned());
            self.too_many += u64::from(message.to_string().contains("too many messages are waiting"));
        }
        back
    }

    /// Whether the last one has arrived or come back.
    pub(crate) fn is_settled(&self) -> bool {
        self.has_last() || self.came_back.contains(&self.last)
    }

    /// Whether the last one has arrived.
    pub(crate) fn has_last(&self) -> bool {
        self.sent.checked_sub(1).is_some_and(|last| self.arrived.contains(&last))
    }

    /// How many the gateway has sent back because too many waited.
    pub(crate) fn too_many(&self) -> u64 {
        self.too_many
    }

    /// How many have arrived.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrived.len() as u64
    }
}
