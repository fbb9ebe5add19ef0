//! What the service manager and the program have to say to each other: sockets that it has opened, and word of when we are
//! ready, reload, stop and live (systemd: sd_listen_fds(3), sd_notify(3)).

mod notify;
mod sockets;

use std::ffi::OsString;

pub use notify::Notifier;
pub use sockets::{InheritError, Inherited, Role};

/// Both of them.
#[derive(Debug, Default)]
pub struct Service {
    /// Who is told.
    pub notifier: Notifier,
    /// What was opened for us.
    pub inherited: Inherited,
}

impl Service {
    /// What the environment says, which the service manager has made. To be called before there is a second thread: the
    /// variables about sockets are taken out, so that no child takes them for its own.
    ///
    /// # Errors
    /// A socket that is none of ours.
    pub fn from_environment(environment: &[(OsString, OsString)]) -> Result<Self, InheritError> {
        Ok(Self {
            notifier: Notifier::from_environment(environment),
            inherited: Inherited::from_environment(environment)?,
        })
    }
}

/// A variable of the environment that is there and not empty.
fn variable<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsString> {
    environment.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value)
}
