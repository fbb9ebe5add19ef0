//! What waits in lanes and in the queues to front ends, when the rules change meanwhile: as the gateway has it
//! (`src/gateway/lanes.rs`, `hops.rs`, `releasing.rs`). And a planned stop.

use super::*;

/// For so many seconds at most something waits. Nobody looks at what waits when consent lapses by itself.
const LANE: u64 = 10;

impl World {
    /// Another policy: stanzas of before are lost, but for those that take something back; requests are judged again.
    pub(super) fn judged_again(&mut self) {
        let (lost, kept) =
            std::mem::take(&mut self.to_xmpp).into_iter().partition(|stanza| stanza.judged.is_some());
        self.to_xmpp = kept;
        let lost: VecDeque<ToXmpp> = lost;
        for stanza in lost {
            self.say(format!("  judged again: {}", told(&stanza)));
            self.knows.doubt = true;
            self.rig.input(|pair, context| pair.lost(&stanza.sent, context));
        }
        self.withdraw_requests();
    }

    fn withdraw_requests(&mut self) {
        let mut kept = VecDeque::new();
        for request in std::mem::take(&mut self.to_sip) {
            if request.judged.is_none() || self.request_may_leave(&request, 0) {
                kept.push_back(request);
            } else {
                self.say("  withdrawn");
                self.rig.fail(&request, Undelivered::NotSent);
            }
        }
        self.to_sip = kept;
    }

    /// The administrator takes back that the SIP user has added the contact.
    pub(super) fn consent_is_taken_back(&mut self) {
        self.say("the administrator takes consent away");
        self.rules.added = None;
        let (stanzas, requests) = (std::mem::take(&mut self.to_xmpp), std::mem::take(&mut self.to_sip));
        self.rig.input(|pair, context| pair.consent_removed(context));
        self.collect();
        let newer =
            (std::mem::replace(&mut self.to_xmpp, stanzas), std::mem::replace(&mut self.to_sip, requests));
        if !self.rules.contact_may_see(self.rig.now.unix()) {
            // Nobody waits for word of them.
            self.to_xmpp.retain(|stanza| {
                let kind = told(stanza);
                stanza.judged.is_none() || kind == "subscribe" || kind == "probe"
            });
            self.withdraw_requests();
        }
        self.to_xmpp.extend(newer.0);
        self.to_sip.extend(newer.1);
    }

    fn request_may_leave(&self, request: &Request, ago: u64) -> bool {
        match request.half {
            Half::Subscriber(_) => self.rules.contact_may_see(self.rig.now.unix().saturating_sub(ago)),
            Half::Notifier(_) => self.rules.user_may_see(),
            Half::Session(_) => unreachable!("nobody is invited"),
        }
    }

    /// It leaves: what the rules of this moment forbid does not.
    pub(super) fn check_leaving(&self, stanza: &ToXmpp) {
        let what = told(stanza);
        let at = self.rig.now.unix().saturating_sub(LANE);
        assert!(self.may_cross_at(stanza, at), "it leaves without leave: {what}");
        let secret = String::from_utf8_lossy(&stanza.stanza).contains(SECRET);
        assert!(
            !secret || self.rules.contact_may_read_notes(),
            "free text leaves for a public partner: {what}"
        );
    }

    pub(super) fn check_leaving_request(&self, request: &Request) {
        let may = request.judged.is_none() || self.request_may_leave(request, LANE);
        assert!(may, "it leaves without leave: {}", String::from_utf8_lossy(request.request.bytes()));
    }

    /// The endpoints are told to subscribe elsewhere, and those that hear it come back to the next process. The contact is
    /// told nothing.
    pub(super) fn planned_stop(&mut self) {
        self.say("a planned stop");
        let before = self.to_xmpp.len();
        let watching = [0, 1].map(|endpoint| self.sip.endpoints[endpoint].dialog.is_some());
        self.rig.input(|pair, context| pair.shutdown(context));
        self.collect();
        assert_eq!(self.to_xmpp.len(), before, "the contact is told of it");
        for _ in 0..8 {
            self.deliver_one();
        }
        self.crash();
        for (endpoint, watched) in watching.into_iter().enumerate() {
            if watched && self.sip.endpoints[endpoint].dialog.is_none() {
                self.sip.add(endpoint, 3600);
            }
        }
    }
}
