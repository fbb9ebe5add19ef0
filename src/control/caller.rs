//! Who asks, and what he may do.

use std::fmt;

use compact_str::CompactString;

/// What somebody may do; each may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Learn whether the gateway lives: for load balancers, which have no name.
    Anyone,
    /// See everything, change nothing.
    Viewer,
    /// Everything.
    Admin,
}

impl Role {
    /// Those that can be given to somebody.
    pub const GIVEN: [Self; 2] = [Self::Viewer, Self::Admin];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What he is called in the audit trail: `user alice (uid 1000)`, `token grafana`.
    pub name: CompactString,
    /// The most that he may do.
    pub role: Role,
    /// Why it is no more, and how it could be.
    pub why: CompactString,
    /// He could have shown a token, and has shown none, or one that is not known.
    pub by_token: bool,
}
