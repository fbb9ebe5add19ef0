//! A stand-in for `systemctl` in tests: starts a service by what its installed unit says.
//!
//! `start` leaves a supervisor behind, which is what systemd would be: it holds the notify socket, writes what it hears there
//! and what the program logs into files, and ends with the program.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::unit::{Unit, words};

/// Where links to units are that start with the machine.
const LINKS: &str = "/etc/systemd/system";
/// Where units are, the most important place first.
const UNITS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Where this program keeps what it knows of services.
const RUN: &str = "/run/systemctl-stand-in";
/// What a program logs, for want of a journal.
const LOGS: &str = "/var/log/systemctl-stand-in";
/// How often it is looked whether something has happened.
const GLANCE: Duration = Duration::from_millis(20);

/// Does what `systemctl` would do with these arguments.
///
/// # Errors
/// It fails, or knows no such verb.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let (flags, words): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    let (verb, units) = words.split_first().context("usage: systemctl VERB UNIT")?;
    if *verb == "daemon-reload" {
        return Ok(ExitCode::SUCCESS);
    }
    let unit = units.first().context("which unit?")?.trim_end_matches(".service");
    ensure!(
        !unit.ends_with(".socket") || ["enable", "disable"].contains(verb),
        "this stand-in for systemctl does not listen on sockets"
    );
    let service = Service { name: unit.to_owned() };
    match *verb {
        "supervise" => service.supervise()?,
        "start" => service.start()?,
        "stop" => service.stop()?,
        "restart" => {
            service.stop()?;
            service.start()?;
        }
        "reload" => service.reload()?,
        "enable" | "disable" => {
            service.link(*verb == "enable")?;
            if flags.contains(&"--now") {
                if *verb == "enable" { service.start()? } else { service.stop()? }
            }
        }
        "status" | "is-active" => {
            let main = service.main();
            println!("{}", if main.is_some() { "active" } else { "inactive" });
            return Ok(ExitCode::from(if main.is_some() { 0 } else { 3 }));
        }
        other => bail!("Unknown command verb {other}. (This is a stand-in for systemctl.)"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Does what `journalctl --unit UNIT [--lines NUMBER] [--grep TEXT] [--no-pager]` would do; the text is no pattern but for `.`.
///
/// # Errors
/// Other arguments, no such log.
pub fn show_log(arguments: &[String]) -> Result<ExitCode> {
    let (mut unit, mut most, mut wanted) = (None, usize::MAX, "");
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-u" | "--unit" => unit = words.next(),
            "-n" | "--lines" => most = words.next().context("how many lines?")?.parse()?,
            "-g" | "--grep" => wanted = words.next().context("which text?")?,
            "--no-pager" => {}
            other => bail!("{other} is unknown. (This is a stand-in for journalctl.)"),
        }
    }
    let unit = unit.context("of which unit?")?.trim_end_matches(".service");
    let file = Path::new(LOGS).join(format!("{unit}.log"));
    let log = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let has = |line: &str| {
        line.as_bytes()
            .windows(wanted.len().max(1))
            .any(|part| part.iter().zip(wanted.as_bytes()).all(|(one, other)| one == other || *other == b'.'))
    };
    let lines: Vec<&str> = log.lines().filter(|line| has(line)).collect();
    ensure!(!lines.is_empty(), "-- No entries --");
    for line in lines.get(lines.len().saturating_sub(most)..).unwrap_or_default() {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

struct Service {
    name: String,
}

impl Service {
    fn unit(&self) -> Result<Unit> {
        Unit::load(&UNITS.map(Path::new), &self.file_name())
    }

    fn file_name(&self) -> String {
        match self.name.ends_with(".socket") {
            true => self.name.clone(),
            false => format!("{}.service", self.name),
        }
    }

    /// Makes the links that have it started with the machine, or removes them.
    fn link(&self, wanted: bool) -> Result<()> {
        let name = self.file_name();
        for target in self.unit()?.words("Install", "WantedBy") {
            let folder = Path::new(LINKS).join(format!("{target}.wants"));
            let link = folder.join(&name);
            match wanted {
                true => {
                    fs::create_dir_all(&folder)?;
                    let _ = fs::remove_file(&link);
                    std::os::unix::fs::symlink(Path::new("/usr/lib/systemd/system").join(&name), &link)?;
                }
                false => {
                    let _ = fs::remove_file(&link);
                }
            }
        }
        Ok(())
    }

    fn file(&self, what: &str) -> PathBuf {
        Path::new(RUN).join(format!("{}.{what}", self.name))
    }

    /// The main process, if it lives.
    fn main(&self) -> Option<Pid> {
        let pid = fs::read_to_string(self.file("pid")).ok()?.trim().parse().ok()?;
        let pid = Pid::from_raw(pid)?;
        test_kill_process(pid).is_ok().then_some(pid)
    }

    fn start(&self) -> Result<()> {
        if self.main().is_some() {
            return Ok(());
        }
        let unit = self.unit()?;
        ensure!(unit.last("Service", "Type") == Some("notify"), "only Type=notify is known here");
        fs::create_dir_all(RUN)?;
        let (ready, failed) = (self.file("ready"), self.file("failed"));
        for file in [&ready, &failed] {
            let _ = fs::remove_file(file);
        }
        let mut supervisor = Command::new(std::env::current_exe()?);
        supervisor.args(["supervise", &self.name]);
        // It outlives this process, and holds nothing that somebody waits for.
        supervisor.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        supervisor.spawn()?;
        let begun = Instant::now();
        let patience = seconds(&unit, "TimeoutStartSec");
        while !ready.exists() {
            if let Ok(why) = fs::read_to_string(&failed) {
                bail!("Job for {0}.service failed: {why}\nSee {LOGS}/{0}.log", self.name);
            }
            ensure!(
                begun.elapsed() < patience,
                "Job for {}.service failed because a timeout was exceeded.",
                self.name
            );
            sleep(GLANCE);
        }
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        let Some(pid) = self.main() else { return Ok(()) };
        kill_process(pid, Signal::TERM)?;
        let (begun, patience) = (Instant::now(), seconds(&self.unit()?, "TimeoutStopSec"));
        while self.main().is_some() {
            if begun.elapsed() > patience {
                kill_process(pid, Signal::KILL)?;
                bail!("{}.service did not stop in time and was killed", self.name);
            }
            sleep(GLANCE);
        }
        Ok(())
    }

    fn reload(&self) -> Result<()> {
        let pid =
            self.main().with_context(|| format!("{}.service is not active, cannot reload.", self.name))?;
        for line in self.unit()?.all("Service", "ExecReload") {
            let words: Vec<String> = words(line)
                .iter()
                .map(|word| word.replace("$MAINPID", &pid.as_raw_nonzero().to_string()))
                .collect();
            let (program, arguments) = words.split_first().context("ExecReload= is empty")?;
            ensure!(Command::new(program).args(arguments).status()?.success(), "ExecReload= failed");
        }
        Ok(())
    }

    /// Runs the program until it ends, and notes what becomes of it.
    fn supervise(&self) -> Result<()> {
        let told = self.serve();
        let _ = fs::remove_file(self.file("pid"));
        if let Err(why) = &told {
            fs::write(self.file("failed"), format!("{why:#}"))?;
        }
        told
    }

    fn serve(&self) -> Result<()> {
        let unit = self.unit()?;
        let socket = self.file("notify");
        let _ = fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777))?;
        notify.set_read_timeout(Some(GLANCE))?;
        let mut child = self.spawn(&unit, &socket)?;
        fs::write(self.file("pid"), child.id().to_string())?;
        let mut heard = File::create(self.file("heard"))?;
        let mut words = [0; 4096];
        let mut ended = None;
        loop {
            if let Ok(length) = notify.recv(&mut words) {
                let text = String::from_utf8_lossy(words.get(..length).unwrap_or_default()).into_owned();
                writeln!(heard, "{text}\n")?;
                if text.lines().any(|line| line == "READY=1") {
                    File::create(self.file("ready"))?;
                }
                // What it said before it ended is heard, however late.
                continue;
            }
            if let Some(status) = ended {
                return Self::judge(status);
            }
            // One more look at the socket after the end.
            ended = child.try_wait()?;
        }
    }

    fn judge(status: ExitStatus) -> Result<()> {
        ensure!(status.success(), "the main process ended with {status}");
        Ok(())
    }

    fn spawn(&self, unit: &Unit, notify: &Path) -> Result<Child> {
        let user = unit.last("Service", "User").unwrap_or("root");
        let group = unit.last("Service", "Group").unwrap_or(user);
        let (uid, gid) = (number("passwd", user)?, number("group", group)?);
        let start = unit.last("Service", "ExecStart").context("the unit has no ExecStart=")?;
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={group}")]);
        command.args(["--init-groups", "--no-new-privs", "--inh-caps=-all", "--"]).args(words(start));
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
            .env("NOTIFY_SOCKET", notify);
        for word in unit.words("Service", "Environment") {
            let (name, value) = word.split_once('=').context("Environment= without =")?;
            command.env(name, value);
        }
        for (setting, below, variable) in [
            ("RuntimeDirectory", "/run", "RUNTIME_DIRECTORY"),
            ("StateDirectory", "/var/lib", "STATE_DIRECTORY"),
        ] {
            for name in unit.words("Service", setting) {
                let folder = Path::new(below).join(name);
                let mode = unit.last("Service", &format!("{setting}Mode")).unwrap_or("0755");
                fs::create_dir_all(&folder)?;
                chown(&folder, Some(uid), Some(gid))?;
                fs::set_permissions(&folder, fs::Permissions::from_mode(u32::from_str_radix(mode, 8)?))?;
                command.env(variable, folder);
            }
        }
        if let Some(folder) = self.credentials(unit, uid)? {
            command.env("CREDENTIALS_DIRECTORY", folder);
        }
        if let Some(limit) = unit.last("Service", "LimitNOFILE") {
            let resource = rustix::process::Resource::Nofile;
            // As much of it as this process may give.
            let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let limit = Some(most.min(limit.parse()?));
            let both = rustix::process::Rlimit { current: limit, maximum: limit };
            rustix::process::setrlimit(resource, both)?;
        }
        if unit.last("Service", "WatchdogSec").is_some() {
            command.env("WATCHDOG_USEC", seconds(unit, "WatchdogSec").as_micros().to_string());
        }
        if let Some(mask) = unit.last("Service", "UMask") {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(u32::from_str_radix(mask, 8)?));
        }
        fs::create_dir_all(LOGS)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(Path::new(LOGS).join(format!("{}.log", self.name)))?;
        command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("{start} cannot be started"))
    }

    /// Copies that only the service may read; of a folder every file, as `ID_FILE`.
    fn credentials(&self, unit: &Unit, uid: u32) -> Result<Option<PathBuf>> {
        let wanted = unit.all("Service", "LoadCredential");
        if wanted.is_empty() {
            return Ok(None);
        }
        let folder = Path::new("/run/credentials").join(format!("{}.service", self.name));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let copy = |from: &Path, name: &str| -> Result<()> {
            let to = folder.join(name);
            fs::copy(from, &to).with_context(|| format!("LoadCredential= of {}", from.display()))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o400))?;
            Ok(chown(&to, Some(uid), None)?)
        };
        for line in wanted {
            let (id, path) = line.split_once(':').context("LoadCredential= without a path")?;
            let path = Path::new(path);
            if !path.is_dir() {
                copy(path, id)?;
                continue;
            }
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                copy(&entry.path(), &format!("{id}_{}", entry.file_name().to_string_lossy()))?;
            }
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o500))?;
        chown(&folder, Some(uid), None)?;
        Ok(Some(folder))
    }
}

/// A time of the unit in seconds, which is all that ours use; what systemd takes without one.
fn seconds(unit: &Unit, name: &str) -> Duration {
    let number = unit.last("Service", name).and_then(|value| value.parse().ok());
    Duration::from_secs(number.unwrap_or(90))
}

/// The number of a user or group.
fn number(database: &str, name: &str) -> Result<u32> {
    let output = Command::new("getent").args([database, name]).output()?;
    let line = String::from_utf8(output.stdout)?;
    let field = line.split(':').nth(2).with_context(|| format!("there is no {name} in {database}"))?;
    Ok(field.trim().parse()?)
}
