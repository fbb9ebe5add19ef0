//! The document in the 2xx to SUBSCRIBE, in place of the NOTIFY that would follow (`ms-piggyback-first-notify`).

use super::{Due, Notifier, NotifyState};
use crate::HeaderName;
use crate::event::{Answer, Context, Document, PIGGYBACK, event_of};

impl Notifier {
    /// Puts the document into the answer to a SUBSCRIBE that has just been taken, if the watcher asked for that and there is
    /// something to be seen; else a NOTIFY follows as always. Nothing of it is told before the answer leaves, so that must
    /// not wait for anything.
    pub fn piggyback(
        &mut self,
        mut answer: Answer,
        context: &mut Context<'_>,
        document: &mut dyn FnMut(NotifyState) -> Option<Document>,
    ) -> Answer {
        let asked = self.terms().is_some_and(|terms| terms.extras().piggyback);
        let follows = matches!(self.due, Some((Due::Now, _))) && self.in_flight.is_none();
        if !asked || !follows || !answer.is_success() || self.state != NotifyState::Active {
            return answer;
        }
        let Some(document) = document(self.state) else { return answer };
        let Some(number) = self.dialog.spend_number() else { return answer };
        self.due = None;
        self.paced_until = Some(context.now + context.config.notify_interval);
        answer = answer
            .with(HeaderName::Supported.as_str(), PIGGYBACK)
            .with(HeaderName::Event.as_str(), event_of(&self.dialog, context.config))
            .with(
                HeaderName::SubscriptionState.as_str(),
                self.subscription_state(self.expires_at, context.now),
            )
            .with(HeaderName::MsPiggybackCSeq.as_str(), number.to_string());
        if let Some(require) = document.require {
            answer = answer.with(HeaderName::Require.as_str(), require);
        }
        for (name, value) in document.fields {
            answer = answer.with(name, value);
        }
        if let Some(language) = document.language {
            answer = answer.with(HeaderName::ContentLanguage.as_str(), language);
        }
        answer.with_body(document.media, document.body)
    }
}
