//! What the rules of the moment say to what the pair wants to send.

use super::*;

/// What the contact has been told since the partner has an entry. To whoever was told nothing there is nothing to take back.
#[derive(Debug, Default)]
pub(super) struct Knows {
    /// That he may see the SIP user.
    pub(super) sees: bool,
    /// That he does not any more, for the first time, in seconds.
    pub(super) farewell: Option<u64>,
    /// He may not have heard that.
    pub(super) doubt: bool,
    /// The SIP user has asked for him.
    pub(super) asked: bool,
    /// The front end has let him see the SIP user.
    pub(super) let_in: bool,
}

impl World {
    pub(super) fn may_cross_at(&self, stanza: &ToXmpp, now: u64) -> bool {
        match (&stanza.judged, told(stanza).split(' ').next().unwrap_or_default()) {
            (_, "subscribe" | "probe") => self.rules.user_may_see(),
            (_, "available" | "subscribed") => self.rules.contact_may_see(now),
            (Some(_), "unavailable") => self.rules.contact_may_see(now),
            (None, "unavailable" | "unsubscribed") => self.rules.is_connected(),
            (_, other) => panic!("{other}"),
        }
    }

    pub(super) fn check_stanza(&self, stanza: &ToXmpp) {
        let what = told(stanza);
        assert!(self.may_cross_at(stanza, self.rig.now.unix()), "forbidden to the contact: {what}");
        let text = String::from_utf8_lossy(&stanza.stanza);
        if !self.rules.contact_may_read_notes() {
            assert!(!text.contains(SECRET), "free text to a public partner: {text}");
            // A name that he saw when he might is taken back by that name.
            let named = DEVICES.iter().any(|device| what.contains(device));
            assert!(!named || what.starts_with("unavailable"), "{text}");
        }
    }

    /// Nobody is told that there is somebody who is not to be seen, unless he has seen him.
    pub(super) fn check_silence(&mut self, stanza: &ToXmpp) {
        let now = self.rig.now.unix();
        let Knows { sees, farewell, doubt, asked, let_in } = self.knows;
        let lately = farewell.is_some_and(|since| now < since + DAY || doubt);
        match (&stanza.judged, told(stanza).split(' ').next().unwrap_or_default()) {
            (_, "subscribe" | "probe") => self.knows.asked = true,
            (_, "subscribed") => {
                assert!(let_in, "the front end has let nobody in");
                self.knows = Knows { sees: true, farewell: None, doubt: false, ..self.knows };
            }
            (_, "unsubscribed") => {
                assert!(sees || lately, "a stranger is told that he sees nobody");
                if sees {
                    self.knows = Knows { sees: false, farewell: Some(now), doubt: false, ..self.knows };
                }
            }
            (None, "unavailable") => {
                assert!(sees || lately || asked, "a stranger is told that nobody is there");
            }
            _ => {}
        }
    }

    pub(super) fn check_request(&self, request: &Request) {
        let now = self.rig.now.unix();
        match request.half {
            Half::Subscriber(_) if message(request).to_header().unwrap().tag().is_none() => {
                assert!(self.rules.contact_may_see(now), "asked for the contact without leave");
            }
            Half::Subscriber(_) if expires(request) != Some(0) => {
                assert!(self.rules.contact_may_see(now), "refreshed for the contact without leave");
            }
            Half::Subscriber(_) => {}
            Half::Notifier(_) => {
                let open = body(request).contains("<basic>open") || body(request).contains(NOTE);
                assert!(!open || self.rules.user_may_see(), "the contact is shown without leave");
                assert!(!state_of(request).starts_with("active") || self.rules.user_may_see());
            }
            Half::Session(_) => unreachable!("nobody is invited"),
        }
    }
}
