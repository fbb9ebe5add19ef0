//! The dialog of a batched subscription.

use std::collections::BTreeSet;
use std::time::Instant;

use nuncio_sip::event::{
    Answer, Context, Document, Notifier, NotifierOutput, NotifyState, Terminate, TerminateReason,
    Undelivered, Wanted,
};
use nuncio_sip::{Message, Uri};

use super::Change;
use super::members::{MAX_MEMBERS, Member, State, Told};
use super::rlmi::{self, List, Resource};

/// What a watcher has to know to read our notifications (RFC 4662 §4).
pub const EVENT_LIST: &str = "eventlist";
/// Most octets of the documents in one notification. What does not fit is told by the next ones; the largest single document
/// fits.
pub const NOTIFICATION_MAX: usize = 64 * 1024;

/// One batched subscription. `J` is what the caller needs to judge again what has not left at once.
///
/// The first notification, the one after a refresh and the one after a notification that was lost name all members;
/// the others name those of whom there is news. Each is written when it leaves. The caller gathers what is known of
/// the members after a SUBSCRIBE, and says when that is done; nothing is told before.
#[derive(Debug)]
pub struct Batch<J> {
    notifier: Notifier,
    uri: Box<str>,
    /// Of the members' documents.
    media: &'static str,
    members: Vec<Member<J>>,
    next_number: u32,
    /// Of the next list.
    version: u32,
    /// The next list names all members.
    whole: bool,
    gathering: bool,
    /// The watcher only wanted to know once.
    fetches: bool,
}

impl<J> Batch<J> {
    /// Takes a batched SUBSCRIBE outside of any dialog that
    /// [`check_subscribe`](nuncio_sip::event::check_subscribe) has passed. Add the members, then call
    /// [`gathered`](Self::gathered).
    ///
    /// # Errors
    /// The answer, if no dialog can be made.
    pub fn accept(
        request: &Message,
        wanted: &Wanted,
        local_tag: &str,
        context: &mut Context<'_>,
    ) -> Result<(Self, Answer), Answer> {
        let (notifier, answer) = Notifier::accept(request, wanted, local_tag, true, context)?;
        let uri = request.to_header().map_or("", |to| to.uri.as_str()).into();
        let batch = Self {
            notifier,
            uri,
            media: wanted.media,
            members: Vec::new(),
            next_number: 1,
            version: 0,
            whole: true,
            gathering: true,
            fetches: wanted.expires == 0,
        };
        Ok((batch, requires(answer)))
    }

    /// A SUBSCRIBE inside the dialog. If it is accepted, change the members as it says, then call
    /// [`gathered`](Self::gathered).
    pub fn subscribe(
        &mut self,
        request: &Message,
        routable: impl FnOnce(&Uri<'_>) -> bool,
        context: &mut Context<'_>,
    ) -> Answer {
        let answer = self.notifier.subscribe(request, routable, context);
        if !answer.is_success() {
            return answer;
        }
        (self.whole, self.gathering) = (true, true);
        requires(answer)
    }

    /// One more member; his number. `None`: he is one already, or there are too many.
    pub fn add(&mut self, uri: &str) -> Option<u32> {
        let known = self.members.iter().any(|member| *member.uri == *uri);
        if known || self.members.len() >= MAX_MEMBERS {
            return None;
        }
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.members.push(Member { number, uri: uri.into(), told: None, news: false });
        Some(number)
    }

    /// The member of this URI is one no more; his number.
    pub fn remove(&mut self, uri: &str) -> Option<u32> {
        let at = self.members.iter().position(|member| *member.uri == *uri)?;
        self.whole = true;
        Some(self.members.remove(at).number)
    }

    /// Whether there is room for everybody whom these would add.
    pub fn has_room_for(&self, changes: &[Change]) -> bool {
        let mut members: BTreeSet<&str> = self.members.iter().map(|member| &*member.uri).collect();
        for change in changes {
            match change {
                Change::Clear => members.clear(),
                Change::Add(uri) => drop(members.insert(uri)),
                Change::Remove(uri) => drop(members.remove(&**uri)),
            }
        }
        members.len() <= MAX_MEMBERS
    }

    /// All members: number and URI.
    pub fn members(&self) -> impl Iterator<Item = (u32, &str)> {
        self.members.iter().map(|member| (member.number, &*member.uri))
    }

    /// What a member is told from now on.
    pub fn told(&mut self, number: u32, told: Told<J>, context: &mut Context<'_>) {
        let Some(member) = self.members.iter_mut().find(|member| member.number == number) else { return };
        member.told = Some(told);
        member.news = true;
        self.notifier.changed(context);
    }

    /// What is known of the members has been told. `answer` is the one to the SUBSCRIBE, and gets the list if the watcher
    /// asked for that. `may` judges a document again.
    pub fn gathered(
        &mut self,
        answer: Answer,
        context: &mut Context<'_>,
        may: &mut dyn FnMut(&J) -> bool,
    ) -> Answer {
        self.gathering = false;
        let Self { notifier, uri, media, members, version, whole, fetches, .. } = self;
        let list = List { uri, version: *version, full: *whole, media };
        let mut write = |state| is_seen(state, *fetches).then(|| written(&list, members, may));
        let answer = notifier.piggyback(answer, context, &mut write);
        if answer.body.is_some() {
            (*version, *whole) = (version.wrapping_add(1), false);
            self.tell_the_rest(context);
        }
        answer
    }

    /// The next thing to do; drain it after every input.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        may: &mut dyn FnMut(&J) -> bool,
    ) -> Option<NotifierOutput> {
        if self.gathering {
            return None;
        }
        let Self { notifier, uri, media, members, version, whole, fetches, .. } = self;
        let list = List { uri, version: *version, full: *whole, media };
        let mut write = |state| is_seen(state, *fetches).then(|| written(&list, members, may));
        let output = notifier.poll(context, &mut write);
        match &output {
            Some(NotifierOutput::Send { .. }) => {
                (*version, *whole) = (version.wrapping_add(1), false);
                self.tell_the_rest(context);
            }
            Some(NotifierOutput::Stalled(_)) => self.whole = true,
            _ => {}
        }
        output
    }

    /// The final response to a NOTIFY.
    pub fn response(&mut self, serial: u32, response: &Message, context: &mut Context<'_>) {
        self.whole |= !response.status().is_some_and(|status| status.is_success());
        self.notifier.response(serial, response, context);
    }

    /// A BENOTIFY has left.
    pub fn sent(&mut self, serial: u32, context: &mut Context<'_>) {
        self.notifier.sent(serial, context);
    }

    /// A notification that gets no response; also one that was not taken.
    pub fn failed(&mut self, serial: u32, why: Undelivered, context: &mut Context<'_>) {
        self.notifier.failed(serial, why, context);
    }

    /// Ends it with a last notification.
    pub fn terminate(&mut self, end: Terminate, context: &mut Context<'_>) {
        self.notifier.terminate(end, context);
        self.gathering = false;
    }

    /// When [`Batch::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        if self.gathering { self.notifier.expires_at() } else { self.notifier.deadline() }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        self.notifier.handle_timeout(context);
        self.gathering &= !self.has_ended();
    }

    /// The tag that requests inside the dialog carry in To.
    pub fn local_tag(&self) -> &str {
        self.notifier.local_tag()
    }

    /// It has ended; its last notification may still be on its way.
    pub fn has_ended(&self) -> bool {
        self.notifier.has_ended()
    }

    /// The type of the members' documents.
    pub fn media(&self) -> &'static str {
        self.media
    }

    fn tell_the_rest(&mut self, context: &mut Context<'_>) {
        if self.members.iter().any(|member| member.news) {
            self.notifier.changed(context);
        }
    }
}

/// RFC 4662 §4.3: the answer says that lists will come.
fn requires(mut answer: Answer) -> Answer {
    answer.headers.push(("Require", EVENT_LIST.to_owned()));
    answer
}

/// Whether a notification shows anything: the last one of a subscription says only that it is over.
fn is_seen(state: NotifyState, fetches: bool) -> bool {
    match state {
        NotifyState::Active => true,
        NotifyState::Terminated(TerminateReason::Timeout) => fetches,
        NotifyState::Pending | NotifyState::Terminated(_) => false,
    }
}

/// The body of a notification, and what it says is no news any more.
fn written<J>(list: &List<'_>, members: &mut [Member<J>], may: &mut dyn FnMut(&J) -> bool) -> Document {
    let mut room = NOTIFICATION_MAX;
    let mut resources = Vec::new();
    for member in members.iter_mut().filter(|member| list.full || member.news) {
        let document = member.told.as_ref().and_then(|told| told.document.as_ref());
        let document = document.filter(|(_, judged)| may(judged)).map(|(document, _)| &**document);
        let fits = document.is_none_or(|document| document.len() <= room || room == NOTIFICATION_MAX);
        if !fits && !list.full {
            continue;
        }
        // One that does not fit is named all the same where all are, and told of later.
        let document = document.filter(|_| fits);
        room = room.saturating_sub(document.map_or(0, <[u8]>::len));
        member.news = !fits;
        // Who has been asked and not heard has not decided.
        let state = member.told.as_ref().map_or(State::Pending, |told| told.state);
        resources.push(Resource { number: member.number, uri: &member.uri, state, document });
    }
    let mut body = Vec::with_capacity(512 + NOTIFICATION_MAX - room + resources.len() * 256);
    rlmi::write(list, &resources, &mut body);
    Document { media: rlmi::MEDIA, body: body.into(), language: None, require: Some(EVENT_LIST) }
}
