//! Session timers (RFC 4028).

use std::time::{Duration, Instant};

use super::{Context, Purpose, Role, Session, SessionConfig};
use crate::dialog::Answer;
use crate::{HeaderName, Message, Method, lex};

/// The option tag.
pub(super) const OPTION: &str = "timer";
/// RFC 4028 §4: no interval is shorter, in seconds.
pub const LEAST_INTERVAL: u32 = 90;
/// A refresh that failed is tried again after this part of the interval.
const RETRY_PART: u32 = 8;

/// Who refreshes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    Us,
    Them,
}

/// The session interval in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) seconds: u32,
    pub(super) refresher: Refresher,
    pub(super) since: Instant,
}

impl Interval {
    /// When BYE is due without refresh: a third of the interval, at most 32 s, before its end (§10).
    pub(super) fn ends_at(&self) -> Instant {
        self.since + Duration::from_secs((self.seconds - (self.seconds / 3).min(32)).into())
    }
}

/// What a request asks for: seconds, and who is to refresh, if it says so (`true`: who sends it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    seconds: u32,
    sender_refreshes: Option<bool>,
    sender_can: bool,
}

impl Asked {
    /// What a request or a response says; `None`: nothing.
    pub(super) fn read(message: &Message) -> Result<Option<Self>, Answer> {
        let malformed = || Answer::new(400, "Malformed Session-Expires Header Field");
        let Ok(value) = message.optional(HeaderName::SessionExpires) else { return Err(malformed()) };
        let Some(value) = value else { return Ok(None) };
        let (seconds, params) = lex::cut_before(value, b';');
        let seconds = lex::number_u32(lex::trim(seconds)).ok_or_else(malformed)?;
        let refresher = params.split(';').find_map(|param| {
            let (name, value) = param.split_once('=')?;
            lex::trim(name).eq_ignore_ascii_case("refresher").then(|| lex::trim(value))
        });
        let sender_refreshes = match refresher {
            Some(who) if who.eq_ignore_ascii_case("uac") => Some(true),
            Some(who) if who.eq_ignore_ascii_case("uas") => Some(false),
            _ => None,
        };
        let sender_can = message.supported().any(|tag| tag.eq_ignore_ascii_case(OPTION));
        Ok(Some(Self { seconds, sender_refreshes, sender_can }))
    }
}

/// Refuses an interval that is too short (§9; CH-13).
///
/// # Errors
/// 422 with Min-SE, or 400.
pub(super) fn check(request: &Message, config: &SessionConfig) -> Result<(), Answer> {
    let least = config.min_interval.max(LEAST_INTERVAL);
    match Asked::read(request)? {
        // Who does not know the extension could not make sense of 422.
        Some(asked) if asked.sender_can && asked.seconds < least => {
            let why = format!(
                "a session interval of {} s is asked for; it has to be {least} s at least",
                asked.seconds
            );
            Err(Answer::plain(422).with(HeaderName::MinSe.as_str(), least.to_string()).because(why))
        }
        _ => Ok(()),
    }
}

impl Session {
    /// Grants what a request of the other side asks for, and says so in its answer (§9).
    pub(super) fn grant(&mut self, request: &Message, answer: Answer, context: &Context<'_>) -> Answer {
        let Ok(Some(asked)) = Asked::read(request) else {
            self.set_interval(None, context);
            return answer;
        };
        let least = request.header(HeaderName::MinSe).map_or("", |value| lex::cut_before(value, b';').0);
        let least = lex::number_u32(lex::trim(least)).unwrap_or(0).max(LEAST_INTERVAL);
        let longest = context.config.max_interval.max(least);
        let seconds = asked.seconds.clamp(LEAST_INTERVAL, longest);
        // Whoever asks for it had better do it, if he can.
        let theirs = asked.sender_can && asked.sender_refreshes.unwrap_or(true);
        let refresher = if theirs { Refresher::Them } else { Refresher::Us };
        self.set_interval(Some((seconds, refresher)), context);
        let who = if theirs { "uac" } else { "uas" };
        let answer = answer.with(HeaderName::SessionExpires.as_str(), format!("{seconds};refresher={who}"));
        if theirs { answer.with(HeaderName::Require.as_str(), OPTION) } else { answer }
    }

    /// Takes what a 2xx to a request of ours says (§7.2). Without a word there is no interval.
    pub(super) fn granted(&mut self, response: &Message, context: &Context<'_>) {
        let asked = Asked::read(response).ok().flatten().map(|asked| {
            let refresher = match asked.sender_refreshes {
                Some(false) => Refresher::Them,
                _ => Refresher::Us,
            };
            (asked.seconds.max(LEAST_INTERVAL), refresher)
        });
        self.set_interval(asked, context);
    }

    fn set_interval(&mut self, asked: Option<(u32, Refresher)>, context: &Context<'_>) {
        let now = context.now;
        self.interval = asked.map(|(seconds, refresher)| Interval { seconds, refresher, since: now });
        self.refresh_at = match asked {
            Some((seconds, Refresher::Us)) => Some(now + Duration::from_secs((seconds / 2).into())),
            _ => None,
        };
    }

    /// Sends a refresh: UPDATE where the other side takes it, else our description once more in a re-INVITE (§7.4).
    pub(super) fn refresh(&mut self, context: &mut Context<'_>) {
        self.refresh_at = None;
        let Some(interval) = self.interval.filter(|interval| interval.refresher == Refresher::Us) else {
            return;
        };
        let refreshing =
            |request: &super::UnderWay| matches!(request.purpose, Purpose::Update | Purpose::Reinvite { .. });
        if self.under_way.iter().any(refreshing) || self.unacknowledged.is_some() {
            return self.refresh_again(context);
        }
        let seconds = format!("{};refresher=uac", interval.seconds);
        let least = LEAST_INTERVAL.max(context.config.min_interval).to_string();
        let fields = [
            (HeaderName::Allow.as_str(), context.config.allow),
            (HeaderName::Supported.as_str(), OPTION),
            (HeaderName::SessionExpires.as_str(), seconds.as_str()),
            (HeaderName::MinSe.as_str(), least.as_str()),
        ];
        if self.takes_update {
            self.send(Method::Update, Purpose::Update, &fields, None, context);
        } else {
            let description = self.description.clone();
            let body = Some((crate::sdp::MEDIA_TYPE, &description[..]));
            self.send(Method::Invite, Purpose::Reinvite { number: 0 }, &fields, body, context);
        }
    }

    /// A refresh failed, and the session goes on until its interval ends.
    pub(super) fn refresh_again(&mut self, context: &Context<'_>) {
        if let Some(interval) = &self.interval {
            let wait = Duration::from_secs((interval.seconds / RETRY_PART).into());
            self.refresh_at = Some(context.now + wait);
        }
    }

    /// 422 to a refresh: the interval is made as long as that asks for.
    pub(super) fn lengthen(&mut self, response: &Message, context: &mut Context<'_>) {
        let least = min_se(response);
        if let Some(interval) = &mut self.interval
            && let Some(least) =
                least.filter(|least| *least > interval.seconds && *least <= context.config.max_interval)
        {
            interval.seconds = least;
            self.refresh(context);
        } else {
            self.refresh_again(context);
        }
    }

    /// 491 to a refresh: after a while that depends on who chose the Call-ID (RFC 3261 §14.1).
    pub(super) fn refresh_after_glare(&mut self, context: &mut Context<'_>) {
        let (least, most) = match self.role {
            Role::Caller => (2_100, 4_000),
            Role::Callee => (0, 2_000),
        };
        let wait = context.between(Duration::from_millis(least), Duration::from_millis(most));
        // In steps of 10 ms.
        let steps = u64::try_from(wait.as_millis() / 10).unwrap_or(0);
        self.refresh_at = Some(context.now + Duration::from_millis(steps * 10));
    }
}

/// What a 422 asks for.
pub(super) fn min_se(response: &Message) -> Option<u32> {
    let value = response.header(HeaderName::MinSe)?;
    lex::number_u32(lex::trim(lex::cut_before(value, b';').0))
}
