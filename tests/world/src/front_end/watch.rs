//! A SIP user watches a contact: the front end subscribes, the gateway notifies.

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;

use super::FrontEnd;
use super::watched::Reply;
use crate::documents::{Format, Said};
use crate::pidf::Document;
use crate::sip_text::SipMessage;
use crate::wait::within;

/// One subscription of one of the user's endpoints.
#[derive(Debug)]
pub struct Watch {
    front_end: FrontEnd,
    user: String,
    endpoint: String,
    call_id: String,
    tag: String,
    /// The formats that are understood.
    accept: &'static str,
    /// To as in the answer, with the gateway's tag.
    to: String,
    /// The Contact of the gateway.
    target: String,
    /// Who stands in between, as seen from here.
    route: Vec<String>,
    cseq: u32,
    inbox: mpsc::UnboundedReceiver<SipMessage>,
    last_sent: String,
}

/// A NOTIFY as the watcher understands it.
#[derive(Debug, Clone)]
pub struct Notice {
    /// `active`, `pending` or `terminated`.
    pub state: String,
    /// Of `terminated`.
    pub reason: Option<String>,
    /// What is left of the subscription, in seconds.
    pub expires: Option<u32>,
    /// What it says about the contact, where that is PIDF.
    pub document: Option<Document>,
    /// What it says about the contact, in any format, with that.
    pub said: Option<(Format, Said)>,
    /// The request itself.
    pub request: SipMessage,
}

impl FrontEnd {
    /// The user's endpoint subscribes to the contact; the answer, whatever it is, is the second.
    pub async fn watch(
        &self,
        user: &str,
        contact: &str,
        endpoint: &str,
        expires: u32,
    ) -> Result<(Watch, SipMessage)> {
        self.watch_as(user, contact, endpoint, expires, Format::Pidf.media()).await
    }

    /// As [`Self::watch`], understanding these formats (Accept).
    pub async fn watch_as(
        &self,
        user: &str,
        contact: &str,
        endpoint: &str,
        expires: u32,
        accept: &'static str,
    ) -> Result<(Watch, SipMessage)> {
        let (call_id, tag) = (self.fresh("s"), self.fresh("f"));
        let (tell, inbox) = mpsc::unbounded_channel();
        self.book().watches.insert((call_id.clone(), tag.clone()), tell);
        let mut watch = Watch {
            front_end: self.clone(),
            user: user.to_owned(),
            endpoint: endpoint.to_owned(),
            call_id,
            tag,
            accept,
            to: format!("<sip:{contact}>"),
            target: format!("sip:{contact}"),
            route: Vec::new(),
            cseq: 0,
            inbox,
            last_sent: String::new(),
        };
        let answer = watch.subscribe(expires).await?;
        if answer.status() == Some(200) {
            ensure!(answer.must("To")?.contains(";tag="), "no dialog:\n{answer}");
            watch.to = answer.must("To")?.to_owned();
            watch.target = answer.address("Contact")?.to_owned();
            // Our own entry is the one that we made.
            let others = answer.all("Record-Route").filter(|entry| !entry.contains(&self.uri()));
            watch.route = others.map(str::to_owned).collect();
            watch.route.reverse();
        }
        Ok((watch, answer))
    }

    /// The answer to a NOTIFY: 200 where somebody waits for it.
    pub(super) fn take_notify(&self, request: &SipMessage) -> Result<Reply> {
        let to = request.must("To")?;
        let tag = to.split_once(";tag=").map_or("", |(_, tag)| tag.split(';').next().unwrap_or_default());
        let key = (request.must("Call-ID")?.to_owned(), tag.to_owned());
        let known = self.book().watches.get(&key).is_some_and(|watch| watch.send(request.clone()).is_ok());
        Ok(match known {
            true => (200, request.answer(200, "OK", &[])?, None),
            false => (481, request.answer(481, "Subscription Does Not Exist", &[])?, None),
        })
    }
}

impl Watch {
    /// Refreshes the subscription, or ends it with 0, and returns the final answer.
    pub async fn refresh(&mut self, expires: u32) -> Result<SipMessage> {
        self.subscribe(expires).await
    }

    /// The next NOTIFY.
    pub async fn next(&mut self) -> Result<Notice> {
        let request = within(&format!("a NOTIFY for {}", self.user), self.inbox.recv()).await?;
        let request = request.context("the front end has ended")?;
        // PM-03: it comes from the contact to the user, whatever the document says.
        let contact = self.to.split(';').next().unwrap_or_default();
        ensure!(request.must("From")?.starts_with(contact), "{request}");
        ensure!(request.address("To")? == format!("sip:{}", self.user), "{request}");
        let notice = Notice::read(request)?;
        let format = notice.said.as_ref().map(|(format, _)| format.media());
        ensure!(format.is_none_or(|media| self.accept.contains(media)), "not asked for:\n{}", notice.request);
        let about = notice.said.as_ref().map(|(_, said)| format!("<sip:{}>", said.about));
        ensure!(about.is_none_or(|about| about == contact), "about somebody else:\n{}", notice.request);
        Ok(notice)
    }

    /// Waits for a NOTIFY that fits; those before it are dropped, but a terminated one is the end.
    pub async fn until(&mut self, what: &str, fits: impl Fn(&Notice) -> bool) -> Result<Notice> {
        let mut others = Vec::new();
        loop {
            let notice = self
                .next()
                .await
                .with_context(|| format!("no NOTIFY with {what}, but {}: {others:?}", others.len()))?;
            if fits(&notice) {
                return Ok(notice);
            }
            ensure!(notice.state != "terminated", "ended before {what}:\n{}", notice.request);
            others.push(notice.request.raw);
        }
    }

    /// What has come and was not looked at.
    pub fn waiting(&mut self) -> Result<Vec<Notice>> {
        std::iter::from_fn(|| self.inbox.try_recv().ok()).map(Notice::read).collect()
    }

    /// The SUBSCRIBE sent last.
    pub fn last_sent(&self) -> &str {
        &self.last_sent
    }

    async fn subscribe(&mut self, expires: u32) -> Result<SipMessage> {
        self.cseq += 1;
        let Self { user, endpoint, call_id, tag, to, accept, .. } = self;
        // As a pool does that stands between its users' devices and the gateway.
        let own = format!("<{};lr;ms-route-sig=x/y=>", self.front_end.uri());
        let text = self.front_end.request(
            ("SUBSCRIBE", &self.target),
            &self.route,
            &[
                ("Record-Route", &own),
                ("From", &format!("<sip:{user}>;tag={tag};epid={endpoint}")),
                ("To", to),
                ("Call-ID", call_id),
                ("CSeq", &format!("{} SUBSCRIBE", self.cseq)),
                ("Contact", &format!("<sip:{user};opaque=user:epid:{endpoint};gruu>")),
                ("Event", "presence"),
                ("Accept", accept),
                ("Expires", &expires.to_string()),
            ],
            "",
        );
        text.clone_into(&mut self.last_sent);
        self.front_end.ask(&text).await
    }
}

impl Notice {
    fn read(request: SipMessage) -> Result<Self> {
        ensure!(request.must("Event")?.split(';').next() == Some("presence"), "{request}");
        let (state, parameters) = {
            let value = request.must("Subscription-State")?;
            let (state, parameters) = value.split_once(';').unwrap_or((value, ""));
            (state.trim().to_owned(), parameters.to_owned())
        };
        let parameter = |name: &str| {
            parameters
                .split(';')
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
        };
        let expires = parameter("expires").map(|text| text.parse()).transpose()?;
        // DEC-10, PR-38
        ensure!(expires.is_some() || state == "terminated", "how long it lasts is not said:\n{request}");
        let (mut document, mut said) = (None, None);
        if !request.body.is_empty() {
            let media = request.must("Content-Type")?;
            let format = Format::ALL.into_iter().find(|format| media.starts_with(format.media()));
            let format = format.with_context(|| format!("nothing we know:\n{request}"))?;
            said = Some((format, format.read(&request.body)?));
            if format == Format::Pidf {
                document = Some(Document::read(&request.body)?);
            }
        }
        Ok(Self { state, reason: parameter("reason"), expires, document, said, request })
    }

    /// Whether the contact is available somewhere, as far as this says.
    pub fn is_open(&self) -> bool {
        self.document.as_ref().is_some_and(Document::is_open)
    }

    /// Whether some open tuple has this note.
    pub fn notes(&self, text: &str) -> bool {
        let tuples = self.document.iter().flat_map(|document| &document.tuples);
        tuples.filter(|tuple| tuple.open).any(|tuple| tuple.notes.iter().any(|note| note == text))
    }
}
