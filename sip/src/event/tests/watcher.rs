//! A watcher on the virtual clock.

use super::*;

/// A notifier and the watcher at the other end of its wire.
pub(super) struct NotRig {
    pub(super) world: World,
    pub(super) machine: Notifier,
    pub(super) serial: u32,
    /// The last NOTIFY it sent.
    pub(super) sent: Option<Message>,
    /// What there is to be seen, and how often it was asked for.
    pub(super) document: String,
    pub(super) asked: usize,
}

/// An output of a notifier, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Bound,
    Released,
    /// Subscription-State, body.
    Notify(String, String),
    Ended(NotifierEnd),
    Stalled(Undelivered),
}

pub(super) const WATCHER: &[&str] = &[
    "Via: SIP/2.0/TLS fe.example:5061;branch=z9hG4bKs",
    "Max-Forwards: 70",
    "From: <sip:romeo@sip.example>;tag=fe9;epid=1234",
    "Call-ID: c1@fe.example",
    "Contact: <sip:romeo@sip.example;opaque=user:epid:x;gruu>",
];

/// A SUBSCRIBE of the watcher; `to_tag` is empty outside of the dialog.
pub(super) fn subscribe(cseq: u32, to_tag: &str, extra: &[&str]) -> Message {
    let to = match to_tag {
        "" => "To: <sip:juliet@im.example>".to_owned(),
        tag => format!("To: <sip:juliet@im.example>;tag={tag}"),
    };
    let number = format!("CSeq: {cseq} SUBSCRIBE");
    let mut lines = vec!["SUBSCRIBE sip:juliet@im.example SIP/2.0"];
    let replaced = |line: &&&str| {
        let name = line.split(':').next().unwrap();
        extra.iter().any(|other| other.split(':').next() == Some(name))
    };
    lines.extend(WATCHER.iter().filter(|line| !replaced(line)));
    lines.extend([to.as_str(), &number]);
    if !extra.iter().any(|line| line.starts_with("Event")) {
        lines.push("Event: presence");
    }
    // `-Name` leaves a field out.
    lines
        .retain(|line| !extra.iter().any(|e| e.strip_prefix('-').is_some_and(|name| line.starts_with(name))));
    lines.extend(extra.iter().filter(|line| !line.starts_with('-')));
    message(&lines, "")
}

impl NotRig {
    /// A SUBSCRIBE was accepted; nothing was polled yet.
    pub(super) fn accepted(extra: &[&str]) -> (Self, Answer) {
        Self::accepted_with(extra, |_| {})
    }

    pub(super) fn accepted_with(extra: &[&str], change: impl FnOnce(&mut EventConfig)) -> (Self, Answer) {
        let mut world = World::new(7);
        change(&mut world.config);
        let request = subscribe(1, "", extra);
        let wanted = check_subscribe(&request, &world.config, |_| true).unwrap();
        let (machine, answer) = Notifier::accept(&request, &wanted, "ours", false, &mut world.cx()).unwrap();
        (Self { world, machine, serial: 0, sent: None, document: String::new(), asked: 0 }, answer)
    }

    /// The first NOTIFY, `pending`, was sent and answered.
    pub(super) fn pending() -> Self {
        let mut rig = Self::accepted(&["Expires: 600"]).0;
        assert_eq!(rig.told(), [Told::Bound, notify("pending;expires=600", "")]);
        assert_eq!(rig.answer(200, &[]), []);
        rig
    }

    /// The watcher sees `one`, and may be told more.
    pub(super) fn active() -> Self {
        let mut rig = Self::pending();
        rig.document = "one".into();
        rig.machine.set_active(true, &mut rig.world.cx());
        assert_eq!(rig.tick(5_000), [notify("active;expires=595", "one")]);
        assert_eq!(rig.answer(200, &[]), []);
        rig.tick(10_000);
        rig
    }

    pub(super) fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            let mut asked = 0;
            let content = self.document.clone();
            let mut document = |_| {
                asked += 1;
                let body = content.clone().into();
                let media = "application/pidf+xml";
                (!content.is_empty()).then_some(Document {
                    media,
                    body,
                    language: None,
                    require: None,
                    fields: Vec::new(),
                })
            };
            let output = self.machine.poll(&mut self.world.cx(), &mut document);
            self.asked += asked;
            told.push(match output {
                None => return told,
                Some(NotifierOutput::Bound(_)) => Told::Bound,
                Some(NotifierOutput::Released(_)) => Told::Released,
                Some(NotifierOutput::Ended(why)) => Told::Ended(why),
                Some(NotifierOutput::Stalled(why)) => Told::Stalled(why),
                Some(NotifierOutput::Send { serial, request }) => {
                    let request = Message::parse(request.bytes().clone()).unwrap();
                    let state = request.header(HeaderName::SubscriptionState).unwrap().to_owned();
                    let body = body(&request);
                    (self.serial, self.sent) = (serial, Some(request));
                    Told::Notify(state, body)
                }
            });
        }
    }

    pub(super) fn tick(&mut self, millis: u64) -> Vec<Told> {
        self.world.at(millis);
        self.machine.handle_timeout(&mut self.world.cx());
        self.told()
    }

    pub(super) fn until_deadline(&mut self) -> Vec<Told> {
        self.world.now = self.machine.deadline().expect("a deadline");
        self.machine.handle_timeout(&mut self.world.cx());
        self.told()
    }

    pub(super) fn answer(&mut self, status: u16, extra: &[(&str, &str)]) -> Vec<Told> {
        let response = response(self.sent.as_ref().unwrap(), status, "x", extra);
        self.machine.response(self.serial, &response, &mut self.world.cx());
        self.told()
    }

    /// The BENOTIFY has left.
    pub(super) fn leaves(&mut self) -> Vec<Told> {
        self.machine.sent(self.serial, &mut self.world.cx());
        self.told()
    }

    pub(super) fn method(&self) -> crate::Method<'_> {
        self.sent.as_ref().unwrap().method()
    }

    pub(super) fn fail(&mut self, why: Undelivered) -> Vec<Told> {
        self.machine.failed(self.serial, why, &mut self.world.cx());
        self.told()
    }

    /// A SUBSCRIBE inside the dialog.
    pub(super) fn subscribe(&mut self, cseq: u32, extra: &[&str]) -> (Answer, Vec<Told>) {
        let request = subscribe(cseq, "ours", extra);
        let answer = self.machine.subscribe(&request, |_| true, &mut self.world.cx());
        (answer, self.told())
    }

    pub(super) fn change(&mut self, document: &str) -> Vec<Told> {
        self.document = document.into();
        self.machine.changed(&mut self.world.cx());
        self.told()
    }

    pub(super) fn terminate(&mut self, reason: TerminateReason) -> Vec<Told> {
        self.machine.terminate(Terminate::because(reason), &mut self.world.cx());
        self.told()
    }
}

pub(super) fn notify(state: &str, body: &str) -> Told {
    Told::Notify(state.into(), body.into())
}
