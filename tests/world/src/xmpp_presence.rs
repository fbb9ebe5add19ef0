//! What an XMPP user does about presence: his contact list, who may see him, what he is.

use anyhow::{Context, Result, ensure};

use crate::xml::{Element, escape};
use crate::xmpp_client::XmppClient;

impl XmppClient {
    /// Adds a contact to the list, as clients do before they ask (RFC 6121 s2.3), and asks to see him.
    pub async fn add_contact(&mut self, contact: &str) -> Result<()> {
        let id = format!("add-{contact}");
        let item = format!("<item jid='{}'/>", escape(contact));
        self.roster_set(&id, &item).await?;
        self.send_presence_type("subscribe", contact).await
    }

    /// Lets the contact see us.
    pub async fn approve(&mut self, contact: &str) -> Result<()> {
        self.send_presence_type("subscribed", contact).await
    }

    /// Does not let the contact see us, or not any longer.
    pub async fn deny(&mut self, contact: &str) -> Result<()> {
        self.send_presence_type("unsubscribed", contact).await
    }

    /// Does not want to see the contact any longer.
    pub async fn unsubscribe(&mut self, contact: &str) -> Result<()> {
        self.send_presence_type("unsubscribe", contact).await
    }

    /// What we are, for everybody who may see us; an empty show or status is left out.
    pub async fn show(&mut self, show: &str, status: &str, priority: i8) -> Result<()> {
        let element = |name: &str, text: &str| match text {
            "" => String::new(),
            text => format!("<{name}>{}</{name}>", escape(text)),
        };
        let (show, status) = (element("show", show), element("status", status));
        self.send_raw(&format!("<presence>{show}{status}<priority>{priority}</priority></presence>")).await
    }

    /// We are gone, but stay connected.
    pub async fn unavailable(&mut self) -> Result<()> {
        self.send_raw("<presence type='unavailable'/>").await
    }

    /// The next presence of that address: of its resources, too, if it is a bare one.
    pub async fn next_presence_from(&mut self, contact: &str) -> Result<Element> {
        self.expect(&format!("presence from {contact}"), |element| is_presence_from(element, contact)).await
    }

    /// Waits for a presence of the contact that fits; what comes from him before it must not be one of `never`.
    pub async fn presence_until(
        &mut self,
        contact: &str,
        what: &str,
        never: &[&str],
        fits: impl Fn(&Element) -> bool,
    ) -> Result<Element> {
        let mut others = Vec::new();
        loop {
            let presence = self
                .next_presence_from(contact)
                .await
                .with_context(|| format!("no {what}, but {}: {others:?}", others.len()))?;
            if fits(&presence) {
                return Ok(presence);
            }
            let kind = kind(&presence).to_owned();
            ensure!(!never.contains(&kind.as_str()), "{kind:?} before {what}: {presence}");
            others.push(presence.raw);
        }
    }

    /// Our own server's answer to what is on the list about the contact: `none`, `to`, `from`, `both`, and what is asked.
    pub async fn subscription_with(&mut self, contact: &str) -> Result<(String, bool)> {
        self.send_raw("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>").await?;
        let roster = self
            .expect("the contact list", |element| {
                element.name == "iq" && element.attribute("id") == Some("roster")
            })
            .await?;
        let items = roster.child("query").map(|query| query.children.clone()).unwrap_or_default();
        let item = items.into_iter().find(|item| item.attribute("jid") == Some(contact));
        let Some(item) = item else { return Ok(("none".to_owned(), false)) };
        let subscription = item.attribute("subscription").unwrap_or("none").to_owned();
        Ok((subscription, item.attribute("ask") == Some("subscribe")))
    }

    async fn send_presence_type(&mut self, kind: &str, contact: &str) -> Result<()> {
        self.send_raw(&format!("<presence type='{kind}' to='{}'/>", escape(contact))).await
    }

    async fn roster_set(&mut self, id: &str, item: &str) -> Result<()> {
        let id = escape(id);
        self.send_raw(&format!(
            "<iq type='set' id='{id}'><query xmlns='jabber:iq:roster'>{item}</query></iq>"
        ))
        .await?;
        let answer = self
            .expect("the answer of the contact list", |element| {
                element.name == "iq"
                    && element.attribute("id") == Some(&id)
                    && element.attribute("type") != Some("set")
            })
            .await?;
        ensure!(answer.attribute("type") == Some("result"), "{answer}");
        Ok(())
    }
}

/// The type of a presence stanza; empty: available.
pub fn kind(presence: &Element) -> &str {
    presence.attribute("type").unwrap_or_default()
}

/// The text of a child; empty where there is none.
pub fn text<'a>(presence: &'a Element, child: &str) -> &'a str {
    presence.child(child).map_or("", |child| child.text.as_str())
}

/// Whether it is a presence stanza of that address, or of one of its resources.
pub fn is_presence_from(element: &Element, contact: &str) -> bool {
    let from = element.attribute("from").unwrap_or_default();
    let rest = from.strip_prefix(contact);
    element.name == "presence" && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
