//! Verdicts on INVITE that need no session.

use compact_str::CompactString;

use super::offer::{is_conference, offer};
use super::{SessionConfig, timer};
use crate::dialog::Answer;
use crate::event::quality;
use crate::sdp::MEDIA_TYPE;
use crate::{CommaList, HeaderName, Message};

/// What an INVITE that passed asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// `Ms-Conversation-ID`. While another session of the same two has it, this one may be refused: Lync does so.
    pub conversation: Option<CompactString>,
}

/// Judges an INVITE. One with a To tag belongs to a session: if none is bound to the tag, it gets 481.
///
/// # Errors
/// The answer it gets: 400, 406, 413, 415, 422, 481, 488.
pub fn check_invite(request: &Message, config: &SessionConfig) -> Result<Invited, Answer> {
    if request.to_tag().is_some() {
        return Err(unknown_session());
    }
    // Without Accept it is descriptions (RFC 3261 §20.1).
    if request.header_bytes(HeaderName::Accept).is_some() && quality(request, MEDIA_TYPE).0 == 0 {
        return Err(Answer::plain(406).because("the caller takes no session description as answer (Accept)"));
    }
    offer(request, |offer| offer.messages().map(drop))?;
    if is_of_several(request) {
        return Err(is_conference());
    }
    timer::check(request, config)?;
    let conversation = request.header(HeaderName::MsConversationId).filter(|id| !id.is_empty());
    Ok(Invited { conversation: conversation.map(CompactString::from) })
}

/// Lync invites to a conversation of several without its server of conferences, too: everybody who takes part stands in
/// `EndPoints`, and whoever was told to join by REFER says `TriggeredInvite: TRUE`. Accepted, the contact would be taken to hear
/// and to be heard by all of them.
fn is_of_several(request: &Message) -> bool {
    let triggered = request.other("TriggeredInvite").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoints = request.other("EndPoints").map_or(0, |value| CommaList::new(value).count());
    triggered || endpoints > 2
}

/// The answer to a request inside a session that nobody knows (SIP-29, SIP-31).
pub fn unknown_session() -> Answer {
    Answer::plain(481).because("it belongs to a session that the gateway does not know")
}

/// The answer to an INVITE that was cancelled before it had one (SIP-28).
pub fn invite_cancelled() -> Answer {
    Answer::plain(487).because("the caller cancelled it")
}
