//! SIP users whose clients take no sessions: for a while they are not invited again, whoever writes to them (CH-03).

use std::time::Duration;

use nuncio_translate::Moment;

use super::prints::{PrintMap, Prints};

/// How long who refused a session as such is sent no INVITE.
pub(super) const NO_SESSIONS_FOR: Duration = Duration::from_secs(3600);
/// Users remembered; one more is forgotten at once, and asked again.
const MOST: usize = 65_536;

/// Until when nobody invites them, in seconds of Unix time.
#[derive(Debug, Default)]
pub(super) struct NoSessions {
    prints: Prints,
    users: PrintMap<u64>,
}

impl NoSessions {
    /// The user's side has refused a session. The user's fingerprint.
    pub(super) fn refused(&self, user: &str, now: Moment) -> u64 {
        let print = self.prints.of(user);
        if self.users.len() >= MOST {
            self.users.retain(|_, until| *until > now.unix());
        }
        if self.users.len() < MOST {
            let until = now.unix().saturating_add(NO_SESSIONS_FOR.as_secs());
            self.users.insert(print, until);
        }
        print
    }

    /// The user's side has taken part in a session.
    pub(super) fn taken(&self, user: &str) {
        if !self.users.is_empty() {
            self.users.remove(&self.prints.of(user));
        }
    }

    /// Whether the user may be invited.
    pub(super) fn invites(&self, user: &str, now: Moment) -> bool {
        self.users.is_empty()
            || self.users.get(&self.prints.of(user)).is_none_or(|until| *until <= now.unix())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { instant: Instant::now(), unix_ms: seconds * 1000 }
    }

    #[test]
    fn who_refused_is_left_alone_for_an_hour_and_others_are_not() {
        let users = NoSessions::default();
        users.refused("alice@contoso.example", at(100));
        assert!(!users.invites("alice@contoso.example", at(3699)));
        assert!(users.invites("alice@contoso.example", at(3700)));
        assert!(users.invites("carol@contoso.example", at(100)));
        users.taken("alice@contoso.example");
        assert!(
            users.invites("alice@contoso.example", at(101)),
            "what was true a moment ago is not any more"
        );
    }

    #[test]
    fn so_many_are_remembered_and_no_more_until_their_time_is_over() {
        let users = NoSessions::default();
        for number in 0..MOST {
            users.refused(&number.to_string(), at(100));
        }
        users.refused("one more", at(100));
        assert!(users.invites("one more", at(101)) && !users.invites("7", at(101)));
        users.refused("one more", at(3700));
        assert!(!users.invites("one more", at(3701)));
    }
}
