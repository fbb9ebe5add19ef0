//! What Lync adds to subscriptions, each of it only for a watcher who asks ([MS-SIP] §3.4 to §3.6).

use crate::{HeaderName, Message};

/// The state is told with BENOTIFY, which nobody answers.
pub const BENOTIFY: &str = "ms-benotify";
/// The first document stands in the 2xx to SUBSCRIBE.
pub const PIGGYBACK: &str = "ms-piggyback-first-notify";
/// Each NOTIFY makes the subscription last for as long as was granted, from then on.
pub const AUTOEXTEND: &str = "com.microsoft.autoextend";

/// What of it a watcher asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extras {
    pub benotify: bool,
    pub piggyback: bool,
    pub autoextend: bool,
}

impl Extras {
    /// All of it.
    pub const ALL: Self = Self { benotify: true, piggyback: true, autoextend: true };

    /// By Supported, and of BENOTIFY also by Proxy-Require: whoever has the proxies on the way prepared for it wants it.
    pub fn of(request: &Message) -> Self {
        let mut extras = Self::default();
        for tag in request.supported() {
            let is = |name: &str| tag.eq_ignore_ascii_case(name);
            extras.benotify |= is(BENOTIFY);
            extras.piggyback |= is(PIGGYBACK);
            extras.autoextend |= is(AUTOEXTEND);
        }
        let mut required = request.list(HeaderName::ProxyRequire);
        extras.benotify |= required.any(|tag| tag.eq_ignore_ascii_case(BENOTIFY));
        extras
    }

    /// What of it is also in `given`.
    #[must_use]
    pub fn among(self, given: Self) -> Self {
        Self {
            benotify: self.benotify && given.benotify,
            piggyback: self.piggyback && given.piggyback,
            autoextend: self.autoextend && given.autoextend,
        }
    }

    /// The watcher asks for nothing of it.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// What stands in Supported of every 2xx. That its document is in it as well says the one that holds it.
    pub(super) fn promised(self) -> Option<&'static str> {
        const BOTH: &str = "com.microsoft.autoextend, ms-benotify";
        match (self.autoextend, self.benotify) {
            (true, true) => Some(BOTH),
            (true, false) => Some(AUTOEXTEND),
            (false, true) => Some(BENOTIFY),
            (false, false) => None,
        }
    }
}
