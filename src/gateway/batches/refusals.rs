//! Who cannot be a member, and what front end and log are told when somebody is one no more.

use nuncio_sip::Uri;
use nuncio_translate::Moment;
use nuncio_translate::address::Contact;
use nuncio_translate::batch::Change;
use nuncio_translate::diagnostics::{self, Diagnostic, Form};
use nuncio_translate::judge::{Consent, Direction, Kind, Question, Refusal, Snapshot, judge};
use nuncio_translate::pair::PairKey;
use nuncio_translate::text::LogSafe;
use tracing::info;

use crate::gateway::Gateway;
use crate::gateway::answers::SipAnswer;
use crate::gateway::refusals::Refused;
use crate::log_limit::{Cause, Source};

/// Why somebody cannot be a member.
pub(super) enum NoMember {
    /// The URI names nobody that could be on the other side.
    Nobody,
    ByRule(PairKey, Refusal),
}

impl NoMember {
    /// The reason in the list (RFC 6665 §4.1.3).
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Nobody => "noresource",
            Self::ByRule(..) => "rejected",
        }
    }

    pub(super) fn diagnostic(&self) -> (Diagnostic, String) {
        match self {
            Self::Nobody => {
                (Diagnostic::Address, "a URI of the list names nobody that could be an XMPP user".to_owned())
            }
            Self::ByRule(pair, refusal) => {
                (Diagnostic::from(*refusal), diagnostics::by_rule(*refusal, pair.remote_domain()))
            }
        }
    }
}

impl Gateway {
    /// The pair of a user and the contact whom a URI names, if he may watch him.
    pub(super) fn member(
        &self,
        policy: &Snapshot,
        user: &str,
        uri: &str,
        now: Moment,
    ) -> Result<PairKey, NoMember> {
        let contact = Uri::parse(uri).ok().and_then(|uri| Contact::from_uri(&uri).ok());
        let contact = contact.ok_or(NoMember::Nobody)?;
        let pair = PairKey::new(user, contact.jid().as_str());
        let question = Question {
            sip_user: pair.sip_user(),
            contact: pair.contact(),
            contact_domain: pair.remote_domain(),
            direction: Direction::SipToXmpp,
            kind: Kind::Subscribe,
        };
        match judge(policy, &question, &Consent::default(), now.unix()).map(drop) {
            Ok(()) => Ok(pair),
            Err(refusal) => Err(NoMember::ByRule(pair, refusal)),
        }
    }

    /// Puts a refusal into the audit trail.
    pub(super) fn audit_no_member(&self, why: &NoMember, now: Moment) {
        if let NoMember::ByRule(pair, refusal) = why {
            let what = "subscription of a SIP user refused";
            self.audit_refusal(&Refused::of(pair, Direction::SipToXmpp, what, *refusal), now);
        }
    }

    /// A list of which nobody can be watched is refused as a whole, with the reason of the first one whom a rule forbids; the
    /// same as for a subscription to him alone.
    pub(super) fn refuse_if_all_are(
        &self,
        user: &str,
        changes: &[Change],
        now: Moment,
    ) -> Result<(), SipAnswer> {
        let policy = self.policy.load();
        let mut refused = Vec::new();
        for change in changes {
            let Change::Add(uri) = change else { continue };
            match self.member(&policy, user, uri, now) {
                Ok(_) => return Ok(()),
                Err(why) => refused.push(why),
            }
        }
        refused.iter().for_each(|why| self.audit_no_member(why, now));
        let by_rule = refused.iter().find_map(|why| match why {
            NoMember::ByRule(pair, refusal) => Some(self.refused_by_rule(*refusal, pair.remote_domain())),
            NoMember::Nobody => None,
        });
        match (by_rule, refused.first()) {
            (Some(answer), _) => Err(answer),
            (None, Some(nobody)) => {
                let (diagnostic, why) = nobody.diagnostic();
                Err(SipAnswer::new(404, "Not Found").because(diagnostic, &why))
            }
            (None, None) => Ok(()),
        }
    }

    /// Why something of a batch has ended, in the form that the front end of this name reads.
    pub(super) fn reason_for(
        &self,
        front_end: &str,
        (diagnostic, why): (Diagnostic, &str),
    ) -> (&'static str, String) {
        diagnostic.field(self.form_for(front_end), &self.settings.sip_name, why)
    }

    /// What a pair has said of its reason, in that form.
    pub(super) fn reason_as_said(&self, front_end: &str, said: &str) -> (&'static str, String) {
        self.form_for(front_end).of(said)
    }

    fn form_for(&self, front_end: &str) -> Form {
        let known = self.front_ends.iter().find(|known| known.name == front_end);
        known.map_or(Form::Inward, |known| known.trust.diagnostics())
    }

    /// The line that says why somebody in a list is not seen any more, or cannot be.
    pub(super) fn log_member_ended(&self, user: &str, contact: &str, reason: &str, why: &str, now: Moment) {
        let domain = contact.rsplit_once('@').map_or(contact, |(_, domain)| domain);
        if self.log_budget.allows(Cause::MemberEnded, Source::Domain(domain), now.instant) {
            let (user, contact) = (self.shown(user), self.shown(contact));
            info!(%user, %contact, reason, why = %LogSafe(why), "a member of a subscription to a list is not watched any more");
        }
    }
}
