//! Sockets that the service manager has opened for us (sd_listen_fds(3)).
//!
//! The configuration says which listeners there are, and how each behaves. A socket that is handed over takes the place of
//! binding one, where side and address are the same; one that fits no listener is an error, and never left unserved.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use super::variable;

/// Which listener a socket is for: `FileDescriptorName=` of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A `[[sip.listener]]`.
    Sip,
    /// An `[[xmpp.listener]]`.
    Xmpp,
    /// An `[[xmpp.listener]]` with `direct_tls`.
    Xmpps,
    /// The socket of the control API.
    Control,
}

impl Role {
    const ALL: [Self; 4] = [Self::Sip, Self::Xmpp, Self::Xmpps, Self::Control];

    /// Its name in `FileDescriptorName=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Xmpp => "xmpp",
            Self::Xmpps => "xmpps",
            Self::Control => "control",
        }
    }
}

/// Sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    listeners: Vec<(Role, SocketAddr, TcpListener)>,
    control: Option<UnixListener>,
}

/// A socket that cannot be used, as a sentence for the administrator.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// No unit of ours calls its socket so.
    #[error(
        "systemd hands over a socket called {0}; in its unit, FileDescriptorName= has to be sip, xmpp, xmpps or control"
    )]
    Name(String),
    /// It does not listen, or not for that.
    #[error("the socket {name} of systemd cannot be used: {error}")]
    Socket {
        /// Its role.
        name: &'static str,
        /// The reason.
        error: io::Error,
    },
    /// There are two.
    #[error("systemd hands over two sockets called control; only one is served")]
    TwoControls,
    /// It is for no listener of the configuration.
    #[error(
        "systemd hands over the socket {name} {address}, for which there is no [[{section}]]; add one with bind = \"{address}\"{besides}, \
         or change ListenStream= of the socket's unit"
    )]
    NoListener {
        /// Its role.
        name: &'static str,
        /// Where it listens.
        address: SocketAddr,
        /// Where it would have to be.
        section: &'static str,
        /// What else that has to say.
        besides: &'static str,
    },
}

impl Inherited {
    /// What was handed over: as many descriptors as `LISTEN_FDS` says, called as `LISTEN_FDNAMES` says, if `LISTEN_PID` is us.
    pub(super) fn from_environment(environment: &[(OsString, OsString)]) -> Result<Self, InheritError> {
        let mut inherited = Self::default();
        if variable(environment, "LISTEN_PID").is_none() {
            return Ok(inherited);
        }
        let names =
            variable(environment, "LISTEN_FDNAMES").and_then(|names| names.to_str()).unwrap_or_default();
        let mut names = names.split(':');
        let mut sockets = ListenFd::from_env();
        for index in 0..sockets.len() {
            let name = names.next().unwrap_or_default();
            let role = Role::ALL.into_iter().find(|role| role.as_str() == name);
            let role = role.ok_or_else(|| InheritError::Name(crate::config::quoted(name)))?;
            inherited.take_over(role, &mut sockets, index)?;
        }
        Ok(inherited)
    }

    fn take_over(&mut self, role: Role, sockets: &mut ListenFd, index: usize) -> Result<(), InheritError> {
        let name = role.as_str();
        let wrong = |error| InheritError::Socket { name, error };
        let gone = || wrong(io::ErrorKind::NotFound.into());
        if role == Role::Control {
            let socket = sockets.take_unix_listener(index).map_err(wrong)?.ok_or_else(gone)?;
            socket.set_nonblocking(true).map_err(wrong)?;
            return match self.control.replace(socket) {
                None => Ok(()),
                Some(_) => Err(InheritError::TwoControls),
            };
        }
        let socket = sockets.take_tcp_listener(index).map_err(wrong)?.ok_or_else(gone)?;
        socket.set_nonblocking(true).map_err(wrong)?;
        let address = socket.local_addr().map_err(wrong)?;
        self.listeners.push((role, address, socket));
        Ok(())
    }

    /// The socket for a listener at `address`, if there is one.
    pub fn take(&mut self, role: Role, address: SocketAddr) -> Option<TcpListener> {
        let fits = |(of, at, _): &(Role, SocketAddr, TcpListener)| *of == role && *at == address;
        let index = self.listeners.iter().position(fits)?;
        Some(self.listeners.swap_remove(index).2)
    }

    /// The socket for the control API, if there is one.
    pub fn take_control(&mut self) -> Option<UnixListener> {
        self.control.take()
    }

    /// That every listener has been taken.
    ///
    /// # Errors
    /// One that nobody serves.
    pub fn all_taken(&self) -> Result<(), InheritError> {
        let Some((role, address, _)) = self.listeners.first() else { return Ok(()) };
        let (section, besides) = match role {
            Role::Sip => ("sip.listener", ""),
            Role::Xmpps => ("xmpp.listener", " and direct_tls = true"),
            Role::Xmpp | Role::Control => ("xmpp.listener", ""),
        };
        Err(InheritError::NoListener { name: role.as_str(), address: *address, section, besides })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(role: Role) -> (Inherited, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (Inherited { listeners: vec![(role, address, socket)], control: None }, address)
    }

    #[test]
    fn a_socket_is_for_the_listener_of_its_side_and_address_once() {
        let (mut inherited, address) = listening(Role::Xmpp);
        assert!(inherited.take(Role::Sip, address).is_none());
        assert!(inherited.take(Role::Xmpp, ([127, 0, 0, 2], address.port()).into()).is_none());
        assert!(inherited.take(Role::Xmpp, address).is_some());
        assert!(inherited.take(Role::Xmpp, address).is_none());
        assert!(inherited.all_taken().is_ok());
    }

    #[test]
    fn a_socket_for_no_listener_is_an_error_with_the_entry_to_write() {
        let (inherited, address) = listening(Role::Xmpps);
        let error = inherited.all_taken().unwrap_err().to_string();
        assert!(
            error.contains(&format!(
                "[[xmpp.listener]]; add one with bind = \"{address}\" and direct_tls = true"
            )),
            "{error}"
        );
    }

    #[test]
    fn without_a_service_manager_there_is_none() {
        let inherited = Inherited::from_environment(&[("LISTEN_FDNAMES".into(), "sip".into())]).unwrap();
        assert!(inherited.listeners.is_empty() && inherited.control.is_none());
    }
}
