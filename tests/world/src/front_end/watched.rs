//! SIP users are watched: the gateway subscribes, the front end notifies.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use super::FrontEnd;
use crate::documents::Format;
use crate::pidf::{Document, Tuple};
use crate::sip_text::SipMessage;
use crate::wait::until;

/// What a front end does with a new subscription to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The user has not been asked: pending.
    Pending,
    /// Active at once.
    Accept,
    /// This status and reason.
    Refuse(u16, &'static str),
    /// Active at once, for so many seconds or more: less is refused with 423.
    AcceptFor(u32),
}

/// Status and text of an answer, and what has to be notified after it.
pub(super) type Reply = (u16, String, Option<NotifyOrder>);

/// The users, and who watches them.
#[derive(Debug, Default)]
pub(super) struct Watched {
    users: HashMap<String, User>,
    watchers: Vec<Dialog>,
}

impl Watched {
    pub(super) fn knows(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }
}

#[derive(Debug)]
struct User {
    decision: Decision,
    /// What is known of him, with its media type.
    document: Option<(&'static str, String)>,
}

/// A subscription of the gateway's.
#[derive(Debug, Clone)]
struct Dialog {
    user: String,
    watcher: Watcher,
    call_id: String,
    /// To and From of our requests, tags and all.
    from: String,
    to: String,
    target: String,
    /// Who stands in between, as seen from here.
    route: Vec<String>,
    cseq: u32,
    active: bool,
    expires: u32,
}

/// Names a subscription: the tag that the front end gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watcher(String);

/// A NOTIFY that is due.
#[derive(Debug)]
pub(super) struct NotifyOrder {
    watcher: Watcher,
    state: String,
    last: bool,
}

impl FrontEnd {
    /// From now on new subscriptions to the user are treated like this. Who is never named here does not exist: 404.
    pub fn decide(&self, user: &str, decision: Decision) {
        let mut book = self.book();
        let document = book.watched.users.remove(user).and_then(|user| user.document);
        book.watched.users.insert(user.to_owned(), User { decision, document });
    }

    /// The user's presence is this now: every active watcher is notified, and the answers must be 200.
    pub async fn publish(&self, user: &str, tuples: &[Tuple]) -> Result<String> {
        let document = Document::write(user, tuples);
        self.publish_as(user, Format::Pidf, document.clone()).await?;
        Ok(document)
    }

    /// As [`Self::publish`], in any format.
    pub async fn publish_as(&self, user: &str, format: Format, document: String) -> Result<()> {
        let watchers: Vec<Watcher> = {
            let mut book = self.book();
            let known = book.watched.users.get_mut(user).with_context(|| format!("{user} is unknown"))?;
            known.document = Some((format.media(), document));
            let active = book.watched.watchers.iter().filter(|dialog| dialog.user == user && dialog.active);
            active.map(|dialog| dialog.watcher.clone()).collect()
        };
        for watcher in watchers {
            self.notify_again(&watcher).await?;
        }
        Ok(())
    }

    /// As [`Self::publish`], but nobody is told: what is so while the gateway is away.
    pub fn set_presence(&self, user: &str, tuples: &[Tuple]) -> Result<()> {
        let mut book = self.book();
        let known = book.watched.users.get_mut(user).with_context(|| format!("{user} is unknown"))?;
        known.document = Some((Format::Pidf.media(), Document::write(user, tuples)));
        Ok(())
    }

    /// The user accepts a watcher who was pending.
    pub async fn accept(&self, watcher: &Watcher) -> Result<()> {
        self.dialog(watcher, |dialog| dialog.active = true)?;
        self.notify_again(watcher).await
    }

    /// NOTIFY with the state as it is.
    pub async fn notify_again(&self, watcher: &Watcher) -> Result<()> {
        let (active, expires) = self.dialog(watcher, |dialog| (dialog.active, dialog.expires))?;
        let state = if active { "active" } else { "pending" };
        let state = format!("{state};expires={expires}");
        self.send_notify(NotifyOrder { watcher: watcher.clone(), state, last: false }).await
    }

    /// NOTIFY terminated with that reason, and perhaps `;retry-after=…` behind it.
    pub async fn end(&self, watcher: &Watcher, reason: &str) -> Result<()> {
        let state = format!("terminated;reason={reason}");
        self.send_notify(NotifyOrder { watcher: watcher.clone(), state, last: true }).await
    }

    /// The front end forgets all subscriptions of the gateway's, as after a restart: refreshing gets 481.
    pub fn forget_watchers(&self) {
        self.book().watched.watchers.clear();
    }

    /// Who watches the user now.
    pub fn watchers(&self, user: &str) -> Vec<Watcher> {
        let book = self.book();
        let of_user = book.watched.watchers.iter().filter(|dialog| dialog.user == user);
        of_user.map(|dialog| dialog.watcher.clone()).collect()
    }

    /// Waits until the subscription has ended, and its last NOTIFY is on its way.
    pub async fn ended(&self, watcher: &Watcher) -> Result<()> {
        let known = || self.dialog(watcher, |_| ()).is_ok();
        until(&format!("the end of {watcher:?}"), || async { !known() }).await
    }

    /// The answer to a SUBSCRIBE, and the NOTIFY that has to follow.
    pub(super) fn take_subscribe(&self, request: &SipMessage) -> Result<Reply> {
        let expires: u32 = request.must("Expires")?.parse()?;
        let mut book = self.book();
        let watched = &mut book.watched;
        let known = watched.watchers.iter_mut().find(|dialog| dialog.is_meant_by(request));
        let dialog = match known {
            Some(dialog) => dialog,
            None if request.must("To")?.contains(";tag=") => {
                return Ok((481, request.answer(481, "Subscription Does Not Exist", &[])?, None));
            }
            None => {
                let user = user_of(request)?;
                match watched.users.get(&user).map(|user| &user.decision) {
                    None => return Ok((404, request.answer(404, "Not Found", &[])?, None)),
                    Some(&Decision::Refuse(status, reason)) => {
                        return Ok((status, request.answer(status, reason, &[])?, None));
                    }
                    Some(&Decision::AcceptFor(least)) if expires < least => {
                        let least = least.to_string();
                        let headers = [("Min-Expires", least.as_str())];
                        return Ok((423, request.answer(423, "Interval Too Brief", &headers)?, None));
                    }
                    Some(decision) => {
                        let active = *decision != Decision::Pending;
                        watched.watchers.push(Dialog::new(request, user, self.fresh("w"), active)?);
                    }
                }
                watched.watchers.last_mut().context("just pushed")?
            }
        };
        dialog.expires = expires;
        if let Some(target) = request.header("Contact").map(|_| request.address("Contact")).transpose()? {
            target.clone_into(&mut dialog.target);
        }
        let state = match (expires, dialog.active) {
            (0, _) => "terminated;reason=timeout".to_owned(),
            (_, true) => format!("active;expires={expires}"),
            (_, false) => format!("pending;expires={expires}"),
        };
        let order = NotifyOrder { watcher: dialog.watcher.clone(), state, last: expires == 0 };
        let mut headers = vec![
            ("Expires", expires.to_string()),
            ("Contact", format!("<{}>", self.uri())),
            ("Record-Route", self.record_route()),
        ];
        // Who is nearer to us stands in front.
        headers.extend(request.all("Record-Route").map(|entry| ("Record-Route", entry.to_owned())));
        if request.must("To")?.contains(";tag=") {
            headers.truncate(2);
        }
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = request.answer(200, "OK", &headers)?;
        // The To tag is ours, not the one that `answer` gives.
        let answer = answer.replace(";tag=agent", &format!(";tag={}", dialog.watcher.0));
        Ok((200, answer, Some(order)))
    }

    pub(super) async fn send_notify(&self, order: NotifyOrder) -> Result<()> {
        let answer = self.ask_with(|| self.make_notify(&order)).await?;
        ensure!(answer.status() == Some(200), "NOTIFY {} got\n{answer}", order.state);
        Ok(())
    }

    fn make_notify(&self, order: &NotifyOrder) -> Result<String> {
        let mut book = self.book();
        let Watched { users, watchers } = &mut book.watched;
        let at = watchers.iter().position(|dialog| dialog.watcher == order.watcher);
        let at = at.with_context(|| format!("{:?} watches no more", order.watcher))?;
        let dialog = &mut watchers[at];
        dialog.cseq += 1;
        let document = users.get(&dialog.user).and_then(|user| user.document.clone());
        let (media, body) = document.filter(|_| dialog.active).unwrap_or_default();
        let cseq = format!("{} NOTIFY", dialog.cseq);
        let (contact, route) = (format!("<{}>", self.uri()), self.record_route());
        let mut headers = vec![
            ("Record-Route", route.as_str()),
            ("From", dialog.from.as_str()),
            ("To", dialog.to.as_str()),
            ("Call-ID", dialog.call_id.as_str()),
            ("CSeq", cseq.as_str()),
            ("Contact", contact.as_str()),
            ("Event", "presence"),
            ("Subscription-State", order.state.as_str()),
        ];
        if !body.is_empty() {
            headers.push(("Content-Type", media));
        }
        let text = self.request(("NOTIFY", &dialog.target), &dialog.route, &headers, &body);
        if order.last {
            watchers.remove(at);
        }
        Ok(text)
    }

    /// Whatever a front end signs has to come back byte for byte.
    pub(super) fn record_route(&self) -> String {
        format!("<{};lr;ms-key-info=AAEAAw==;ms-route-sig=a%2Fb~c>", self.uri())
    }

    fn dialog<T>(&self, watcher: &Watcher, with: impl FnOnce(&mut Dialog) -> T) -> Result<T> {
        let mut book = self.book();
        let found = book.watched.watchers.iter_mut().find(|dialog| dialog.watcher == *watcher);
        Ok(with(found.with_context(|| format!("{watcher:?} watches no more"))?))
    }
}

impl Dialog {
    fn new(request: &SipMessage, user: String, tag: String, active: bool) -> Result<Self> {
        ensure!(request.must("Event")? == "presence", "{request}");
        ensure!(request.must("Accept")?.contains("application/pidf+xml"), "{request}");
        Ok(Self {
            user,
            call_id: request.must("Call-ID")?.to_owned(),
            from: format!("{};tag={tag}", request.must("To")?),
            to: request.must("From")?.to_owned(),
            target: request.address("Contact")?.to_owned(),
            route: request.all("Record-Route").map(str::to_owned).collect(),
            watcher: Watcher(tag),
            cseq: 0,
            active,
            expires: 0,
        })
    }

    fn is_meant_by(&self, request: &SipMessage) -> bool {
        request.header("Call-ID") == Some(&self.call_id)
            && request.header("To").is_some_and(|to| to.ends_with(&format!(";tag={}", self.watcher.0)))
    }
}

/// The user that a request is for.
pub(super) fn user_of(request: &SipMessage) -> Result<String> {
    let uri = request.start.split(' ').nth(1).context("no Request-URI")?;
    let address = uri.strip_prefix("sip:").with_context(|| format!("not for a SIP user:\n{request}"))?;
    Ok(address.split(';').next().unwrap_or_default().to_owned())
}
