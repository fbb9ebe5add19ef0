//! The dialog of a batched subscription.

use std::time::Instant;

use nuncio_sip::event::{
    Answer, Context, Document, Notifier, NotifierOutput, NotifyState, Terminate, TerminateReason,
    Undelivered, Wanted,
};
use nuncio_sip::hop::OutRequest;
use nuncio_sip::{Message, Uri};

use super::Change;
use super::members::{Changed, MAX_MEMBERS, Member, Members, Told};
use super::rlmi::{self, List, Resource};

/// What a watcher has to know to read our notifications (RFC 4662 §4).
pub const EVENT_LIST: &str = "eventlist";
/// Most octets of the documents in one notification. What does not fit is told by the next ones; the largest single document
/// fits.
pub const NOTIFICATION_MAX: usize = 64 * 1024;
/// Most reasons in one notification, of those members that it says have ended. The same one stands there once.
pub const MAX_REASONS: usize = 8;

/// One batched subscription. `J` is what the caller needs to judge again what has not left at once.
///
/// The first notification, the one after a refresh and the one after a notification that was lost name all members;
/// the others name those of whom there is news. Each is written when it leaves. The caller gathers what is known of
/// the members after a SUBSCRIBE, and says when that is done; nothing is told before.
///
/// Documents are kept until they are in a notification, and no longer: whoever makes them has what they are made of. If
/// that notification is lost, they are [asked for](BatchOutput::Gather) once more, when the next one is about to leave.
#[derive(Debug)]
pub struct Batch<J> {
    notifier: Notifier,
    uri: Box<str>,
    /// Of the members' documents.
    media: &'static str,
    members: Members<J>,
    /// Of the next list.
    version: u32,
    /// The next list names all members.
    whole: bool,
    /// A SUBSCRIBE has come, and what is known of the members is being told.
    gathering: bool,
    missing: Missing,
    /// The watcher only wanted to know once.
    fetches: bool,
}

/// What a batch wants of its caller. `Ended` comes exactly once, `Released` after it as the last of all.
#[derive(Debug)]
pub enum BatchOutput {
    /// Send this; the outcome comes back with the serial.
    Send { serial: u32, request: OutRequest },
    /// Have the batch told again of all members who watch, then call [`Batch::told_again`]. Nothing leaves before.
    Gather,
    /// The subscription has ended. The last NOTIFY may still be on its way.
    Ended,
    /// It can be dropped.
    Released,
}

/// Whether the next list needs documents that are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nothing,
    Documents,
    /// They have been asked for.
    Asked,
}

impl<J> Batch<J> {
    /// Takes a batched SUBSCRIBE outside of any dialog that
    /// [`check_subscribe`](nuncio_sip::event::check_subscribe) has passed. [Add](Self::change) the members, then call
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
            members: Members::new(),
            version: 0,
            whole: true,
            gathering: true,
            missing: Missing::Nothing,
            fetches: wanted.expires == 0,
        };
        Ok((batch, requires(answer)))
    }

    /// A SUBSCRIBE inside the dialog. If it is accepted, change the members as it says, have the batch told of all of them
    /// again, then call [`gathered`](Self::gathered).
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
        if self.missing == Missing::Documents {
            self.missing = Missing::Nothing;
        }
        requires(answer)
    }

    /// Changes the members as a list says. No more are added than [`MAX_MEMBERS`]: ask [`Batch::has_room_for`] before.
    pub fn change(&mut self, changes: &[Change]) -> Changed {
        let changed = self.members.change(changes);
        self.whole |= !changed.gone.is_empty();
        changed
    }

    /// The member of this number is one no more.
    pub fn remove(&mut self, number: u32) {
        self.whole |= self.members.remove(number);
    }

    /// Whether there is room for everybody whom these would add.
    pub fn has_room_for(&self, changes: &[Change]) -> bool {
        self.members.count_after(changes) <= MAX_MEMBERS
    }

    /// All members: number and URI.
    pub fn members(&self) -> impl Iterator<Item = (u32, &str)> {
        self.members.iter().map(|member| (member.number, &*member.uri))
    }

    /// What a member is told from now on.
    pub fn told(&mut self, number: u32, told: Told<J>, context: &mut Context<'_>) {
        let Some(member) = self.members.numbered(number) else { return };
        (member.state, member.document, member.why) = (told.state, told.document, told.why);
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

    /// What was [asked for](BatchOutput::Gather) has been told.
    pub fn told_again(&mut self) {
        if self.missing == Missing::Asked {
            self.missing = Missing::Nothing;
        }
    }

    /// The next thing to do; drain it after every input.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        may: &mut dyn FnMut(&J) -> bool,
    ) -> Option<BatchOutput> {
        while !self.waits() {
            let writes = !self.has_ended() && self.notifier.writes(context.now);
            if writes && self.missing == Missing::Documents {
                self.missing = Missing::Asked;
                return Some(BatchOutput::Gather);
            }
            let Self { notifier, uri, media, members, version, whole, fetches, .. } = self;
            let list = List { uri, version: *version, full: *whole, media };
            let mut write = |state| is_seen(state, *fetches).then(|| written(&list, members, may));
            match notifier.poll(context, &mut write)? {
                NotifierOutput::Send { serial, request } => {
                    (*version, *whole) = (version.wrapping_add(1), false);
                    self.tell_the_rest(context);
                    return Some(BatchOutput::Send { serial, request });
                }
                NotifierOutput::Stalled(_) => self.lost(),
                // It is found by its own tag, which nothing else has.
                NotifierOutput::Bound(_) => {}
                NotifierOutput::Ended(_) => return Some(BatchOutput::Ended),
                NotifierOutput::Released(_) => return Some(BatchOutput::Released),
            }
        }
        None
    }

    /// The final response to a NOTIFY.
    pub fn response(&mut self, serial: u32, response: &Message, context: &mut Context<'_>) {
        if !response.status().is_some_and(|status| status.is_success()) {
            self.lost();
        }
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
        self.wait_no_more();
    }

    /// When [`Batch::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        if self.waits() { self.notifier.expires_at() } else { self.notifier.deadline() }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        self.notifier.handle_timeout(context);
        if self.has_ended() {
            self.wait_no_more();
        }
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

    /// The watcher only wanted to know once.
    pub fn fetches(&self) -> bool {
        self.fetches
    }

    /// Octets of the documents that have not left.
    pub fn kept(&self) -> usize {
        let documents = self.members.iter().filter_map(|member| member.document.as_ref());
        documents.map(|(document, _)| document.len()).sum()
    }

    /// Nothing leaves before all is told.
    fn waits(&self) -> bool {
        self.gathering || self.missing == Missing::Asked
    }

    fn wait_no_more(&mut self) {
        (self.gathering, self.missing) = (false, Missing::Nothing);
    }

    /// The watcher may have missed a version: it has to be told everything.
    fn lost(&mut self) {
        self.whole = true;
        if self.missing == Missing::Nothing && !self.has_ended() {
            self.missing = Missing::Documents;
        }
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

/// The body of a notification. What it says is no news any more, and its documents are kept no longer.
fn written<J>(list: &List<'_>, members: &mut Members<J>, may: &mut dyn FnMut(&J) -> bool) -> Document {
    let (mut room, mut shown, mut fields) = (NOTIFICATION_MAX, Vec::new(), Vec::new());
    for member in members.iter_mut().filter(|member| list.full || member.news) {
        let document =
            member.document.as_ref().filter(|(_, judged)| may(judged)).map(|(document, _)| document);
        let fits = document.is_none_or(|document| document.len() <= room || room == NOTIFICATION_MAX);
        if !fits && !list.full {
            continue;
        }
        member.news = !fits;
        // One that does not fit is named all the same where all are, and told of later.
        let document = document.filter(|_| fits).cloned();
        if fits {
            member.document = None;
        }
        room = room.saturating_sub(document.as_ref().map_or(0, |document| document.len()));
        if let Some(why) = member.why.take()
            && fields.len() < MAX_REASONS
            && !fields.contains(&why)
        {
            fields.push(why);
        }
        shown.push((&*member, document));
    }
    let resources: Vec<_> =
        shown.iter().map(|(member, document)| resource(member, document.as_deref())).collect();
    let mut body = Vec::with_capacity(512 + NOTIFICATION_MAX - room + resources.len() * 256);
    rlmi::write(list, &resources, &mut body);
    Document { media: rlmi::MEDIA, body: body.into(), language: None, require: Some(EVENT_LIST), fields }
}

fn resource<'a, J>(member: &'a Member<J>, document: Option<&'a [u8]>) -> Resource<'a> {
    Resource { number: member.number, uri: &member.uri, state: member.state, document }
}
