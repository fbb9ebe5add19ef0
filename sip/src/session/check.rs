//! Verdicts on INVITE that need no session.

use compact_str::CompactString;

use super::{SessionConfig, timer};
use crate::dialog::Answer;
use crate::event::quality;
use crate::sdp::{MEDIA_TYPE, Offer, SdpError, Unacceptable};
use crate::{ContentType, HeaderName, Message};

/// What an INVITE that passed asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// `Ms-Conversation-ID`. While another session of the same two has it, this one may be refused: Lync does so.
    pub conversation: Option<CompactString>,
}

/// Judges an INVITE. One with a To tag belongs to a session: if none is bound to the tag, it gets 481.
///
/// # Errors
/// The answer it gets: 400, 406, 415, 422, 481, 488.
pub fn check_invite(request: &Message, config: &SessionConfig) -> Result<Invited, Answer> {
    if request.to_tag().is_some() {
        return Err(unknown_session());
    }
    // Without Accept it is descriptions (RFC 3261 §20.1).
    if request.header_bytes(HeaderName::Accept).is_some() && quality(request, MEDIA_TYPE).0 == 0 {
        return Err(Answer::plain(406).because("the caller takes no session description as answer (Accept)"));
    }
    offer(request, |offer| offer.messages().map(drop))?;
    timer::check(request, config)?;
    let conversation = request.header(HeaderName::MsConversationId).filter(|id| !id.is_empty());
    Ok(Invited { conversation: conversation.map(CompactString::from) })
}

/// The answer to a request inside a session that nobody knows (SIP-29, SIP-31).
pub fn unknown_session() -> Answer {
    Answer::plain(481).because("it belongs to a session that the gateway does not know")
}

/// The answer to an INVITE that was cancelled before it had one (SIP-28).
pub fn invite_cancelled() -> Answer {
    Answer::plain(487).because("the caller cancelled it")
}

/// Reads the offer in a request; `None`: it holds none.
pub(super) fn offer<T>(
    request: &Message,
    read: impl FnOnce(&Offer<'_>) -> Result<T, Unacceptable>,
) -> Result<Option<T>, Answer> {
    let body = request.body();
    if body.is_empty() {
        return Ok(None);
    }
    check_type(request)?;
    let offer = Offer::parse(&body).map_err(malformed)?;
    read(&offer)
        .map(Some)
        .map_err(|why| Answer::plain(488).warning(why.warning(), why.to_string()).because(why.to_string()))
}

fn check_type(request: &Message) -> Result<(), Answer> {
    let encoded = request.list(HeaderName::ContentEncoding).any(|c| !c.eq_ignore_ascii_case("identity"));
    if encoded {
        let answer = Answer::plain(415).with(HeaderName::AcceptEncoding.as_str(), "identity");
        return Err(answer.because("the session description is in a Content-Encoding that is not supported"));
    }
    match request.content_type() {
        Ok(Some(media)) if is_description(&media) => Ok(()),
        // An invitation to a conference (multiparty by design has no counterpart in a pair).
        Ok(Some(media)) if media.is("application", "ms-conf-invite+xml") => {
            let why = "conferences do not cross to XMPP: invite the contact alone";
            Err(Answer::new(488, "Conferences Not Supported").because(why))
        }
        Err(_) => Err(Answer::new(400, "Malformed Content-Type Header Field")),
        Ok(_) => {
            let answer = Answer::plain(415).with(HeaderName::Accept.as_str(), MEDIA_TYPE);
            Err(answer.because("the body of the INVITE is no session description (application/sdp)"))
        }
    }
}

fn is_description(media: &ContentType<'_>) -> bool {
    media.is("application", "sdp")
}

fn malformed(error: SdpError) -> Answer {
    let status = match error {
        SdpError::TooLarge | SdpError::TooManyLines | SdpError::TooManyMedia => 488,
        _ => 400,
    };
    let mut reason = error.to_string();
    // The others begin with a lower-case letter, for they stand in sentences; a phrase does not.
    if let Some(first) = reason.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let why = format!("the session description cannot be used: {error}");
    Answer::new(status, reason).because(why)
}
