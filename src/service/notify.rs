//! Word for the service manager, in datagrams (sd_notify(3)). Without one, nothing is sent.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use super::variable;

/// Sends word to the service manager, if there is one that wants it.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    /// It has been said that it stops. Held while something is said that would unsay it: a reload that ends meanwhile, on another
    /// thread, must not have it ready again.
    stopping: Mutex<bool>,
}

impl Notifier {
    /// Where to, by `NOTIFY_SOCKET`, and how often it wants a sign of life, by `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_environment(environment: &[(OsString, OsString)]) -> Self {
        let Some(address) = variable(environment, "NOTIFY_SOCKET") else { return Self::default() };
        match connected(address) {
            Ok(socket) => Self { socket: Some(socket), watchdog: watchdog(environment), ..Self::default() },
            Err(error) => {
                // The log is not set up yet.
                eprintln!(
                    "nuncio: NOTIFY_SOCKET cannot be used, and the service manager is told nothing: {error}"
                );
                Self::default()
            }
        }
    }

    /// It takes connections, and all that was kept is restored; or a reload is done. Nothing once it stops.
    pub fn ready(&self, status: &str) {
        self.send_unless_stopping(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// What it does now, for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// It reads its configuration again; [`Self::ready`] is to follow, whatever comes of it. Nothing once it stops.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.send_unless_stopping(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It has begun to stop.
    pub fn stopping(&self, status: &str) {
        let mut stopping = self.stopping.lock();
        *stopping = true;
        self.send(&format!("STOPPING=1\nSTATUS={}", line(status)));
    }

    /// It lives.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`Self::alive`] is to be said: twice in the time after which silence means death. `None`: nobody waits for it.
    pub fn heartbeat(&self) -> Option<Duration> {
        self.watchdog.map(|most| most / 2)
    }

    fn send_unless_stopping(&self, words: &str) {
        let stopping = self.stopping.lock();
        if !*stopping {
            self.send(words);
        }
    }

    fn send(&self, words: &str) {
        let Some(socket) = &self.socket else { return };
        // The socket does not block: a manager that does not listen keeps nobody from his work.
        if let Err(error) = socket.send(words.as_bytes()) {
            let what = words.split('\n').next().unwrap_or_default();
            warn!(%error, "the service manager could not be told {what}");
        }
    }
}

/// Nothing else can be said in a status.
fn line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

fn connected(address: &OsString) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        [b'/', ..] => socket.connect(address)?,
        _ => return Err(std::io::Error::other("it is neither a path nor begins with @")),
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn watchdog(environment: &[(OsString, OsString)]) -> Option<Duration> {
    let number = |name| variable(environment, name)?.to_str()?.parse::<u64>().ok();
    let for_us = match variable(environment, "WATCHDOG_PID") {
        None => true,
        Some(_) => number("WATCHDOG_PID") == Some(u64::from(std::process::id())),
    };
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && for_us)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut words = [0; 1024];
        let length = socket.recv(&mut words).unwrap();
        String::from_utf8(words[..length].to_vec()).unwrap()
    }

    #[test]
    fn every_word_goes_where_the_manager_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::from_environment(&environment(&[("NOTIFY_SOCKET", path.to_str().unwrap())]));
        notifier.ready("two\nlines");
        assert_eq!(received(&manager), "READY=1\nSTATUS=two lines");
        notifier.stopping("draining");
        assert_eq!(received(&manager), "STOPPING=1\nSTATUS=draining");
        // A reload that was under way ends now; it is not to be taken for ready again.
        notifier.ready("listening");
        notifier.reloading();
        notifier.alive();
        assert_eq!(received(&manager), "WATCHDOG=1");
    }

    #[test]
    fn a_reload_says_when_it_began_by_the_clock_of_the_manager() {
        let name = format!("@nuncio-notify-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap()).unwrap();
        let notifier = Notifier::from_environment(&environment(&[("NOTIFY_SOCKET", &name)]));
        let micros = |time: rustix::time::Timespec| time.tv_sec * 1_000_000 + time.tv_nsec / 1000;
        let before = micros(clock_gettime(ClockId::Monotonic));
        notifier.reloading();
        let after = micros(clock_gettime(ClockId::Monotonic));
        let words = received(&manager);
        let said: i64 = words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!((before..=after).contains(&said), "{before} {said} {after}");
    }

    #[test]
    fn without_a_manager_or_with_one_that_has_gone_nothing_happens() {
        Notifier::from_environment(&[]).ready("x");
        for address in ["relative", "/nonexistent/socket"] {
            let notifier = Notifier::from_environment(&environment(&[("NOTIFY_SOCKET", address)]));
            assert!(notifier.socket.is_none(), "{address}");
            notifier.ready("x");
        }
    }

    #[test]
    fn a_sign_of_life_is_due_twice_in_the_time_the_manager_waits() {
        let own = std::process::id().to_string();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        for (variables, expected) in [
            (&[("WATCHDOG_USEC", "30000000")][..], Some(15)),
            (&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", &own)], Some(15)),
            (&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "1")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[], None),
        ] {
            let all = [&[("NOTIFY_SOCKET", path.to_str().unwrap())], variables].concat();
            let notifier = Notifier::from_environment(&environment(&all));
            assert_eq!(notifier.heartbeat().map(|every| every.as_secs()), expected, "{variables:?}");
        }
    }
}
