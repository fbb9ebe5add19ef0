//! Users who accept an invitation of ours when nobody is there any more who could talk with them.
//!
//! A proxy may fork our INVITE to several clients of the user. While the session with the first that has accepted lives, it
//! sees to the others itself; afterwards it is gone, and a client that was late would wait for its ACK. So would the first one,
//! if a step on the pair failed before it accepted: a pair that was emptied knows no session.

use compact_str::CompactString;
use nuncio_sip::Message;
use nuncio_sip::session;
use nuncio_translate::Moment;
use nuncio_translate::address::{Contact, SipUser};
use nuncio_translate::judge::Consent;
use nuncio_translate::pair::{Half, PairKey, Request};
use tracing::debug;

use super::presence::Tokens;
use super::{Gateway, IdentityNumber};

/// No session has it: what becomes of the two requests is of no interest.
const NO_SESSION: Half = Half::Session(u32::MAX);

impl Gateway {
    /// A 2xx to an INVITE of ours, of which no session is known any more: ACK and BYE (RFC 3261 §13.2.2.4), to the front end
    /// that it comes from. Whose they are, if they are on a route now, which the caller serves.
    pub(super) fn decline(&self, front_end: usize, response: &Message, now: Moment) -> Option<PairKey> {
        let contact = Contact::from_uri(&response.from_header().ok()?.uri).ok()?;
        let user = SipUser::from_uri(&response.to_header().ok()?.uri).ok()?;
        if !self.speaks_for(front_end, user.domain()) {
            return None;
        }
        let identity = self.identity_in(response);
        let mut tokens = Tokens(self);
        let mut context = session::Context {
            config: self.settings.sessions_of(identity),
            tokens: &mut tokens,
            now: now.instant,
        };
        let requests = session::decline(response, &mut context)?;
        let key = PairKey::new(user.jid().as_str(), contact.jid().as_str());
        debug!(
            call_id = %nuncio_translate::text::LogSafe(response.call_id().unwrap_or_default()),
            "2xx to an INVITE whose session has ended: it gets ACK and BYE"
        );
        let holder = Some(self.holder(front_end)).filter(|holder| !holder.is_empty());
        let policy = self.policy.load();
        for request in requests {
            let request = Request {
                half: NO_SESSION,
                serial: 0,
                request,
                front_end: holder.map(CompactString::from),
                identity: Some(identity),
                judged: None,
            };
            self.push_event(&key, (&policy, &Consent::default()), request, now);
        }
        Some(key)
    }

    /// What we were to the front end in the request that this answers.
    fn identity_in(&self, response: &Message) -> IdentityNumber {
        let Ok(via) = response.top_via() else { return 0 };
        let is_ours = |number: &IdentityNumber| via.is_sent_by(&self.settings.sessions_of(*number).sent_by);
        (0..=self.settings.identities.len()).find(is_ours).unwrap_or(0)
    }
}
