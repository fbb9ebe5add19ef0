//! Namespaces of its own for a program: network, mounts, processes; as root, or as an ordinary user who becomes root
//! only inside.
//!
//! `unshare --kill-child` makes the program process 1 of its own process tree, so the kernel ends everything in there
//! when it ends. `setpriv --pdeathsig` does the same one level up: when the starting program dies, so does `unshare`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Says that this process was started by [`Sandbox::command`].
const INSIDE: &str = "NUNCIO_WORLD_INSIDE";

/// Where the world keeps its files: in memory, so that nothing is left behind.
const FOLDER: &str = "/run/world";

/// The world's own DNS server.
pub const DNS_SERVER: &str = "127.0.0.53";

/// Raises the limit of open files as far as allowed (to 65,536), then becomes the program.
const RAISE_LIMITS: &str = "limit=$(ulimit -Hn); [ \"$limit\" = unlimited ] && limit=65536; \
    [ \"$limit\" -gt 65536 ] && limit=65536; ulimit -Sn \"$limit\"; exec \"$0\" \"$@\"";

/// A way to unshare that works on this machine for this user.
#[derive(Debug, Clone)]
pub struct Sandbox {
    wrapper: Vec<String>,
}

impl Sandbox {
    /// Finds a way, or says what was tried.
    pub fn find() -> Result<Self> {
        let as_root = Self::new(&[], &["--net", "--mount"]);
        let as_user = Self::new(&[], &["--user", "--map-root-user", "--net", "--mount"]);
        Self::first_that_works(&[as_root, as_user])
    }

    /// Finds a way to do the same as an ordinary user; the caller is root.
    pub fn find_as_ordinary_user() -> Result<Self> {
        let become_nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let flags = ["--user", "--map-root-user", "--net", "--mount"];
        Self::first_that_works(&[Self::new(&become_nobody, &flags)])
    }

    /// Wraps a program.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(&self.wrapper).args(["--", "sh", "-c", RAISE_LIMITS]).arg(program);
        command.env(INSIDE, "yes").current_dir("/");
        command
    }

    fn new(identity: &[&str], flags: &[&str]) -> Self {
        let mut wrapper: Vec<String> = identity.iter().map(|&flag| flag.to_owned()).collect();
        wrapper.extend(["--pdeathsig", "KILL", "--", "unshare"].map(str::to_owned));
        wrapper.extend(flags.iter().map(|&flag| flag.to_owned()));
        wrapper.extend(["--pid", "--fork", "--kill-child"].map(str::to_owned));
        Self { wrapper }
    }

    fn first_that_works(candidates: &[Self]) -> Result<Self> {
        let mut tried = String::new();
        for candidate in candidates {
            // A container may forbid a /proc of its own; the world can do without.
            for proc in [&["--mount-proc"][..], &[]] {
                let mut candidate = candidate.clone();
                candidate.wrapper.extend(proc.iter().map(|&flag| flag.to_owned()));
                let output = Command::new("setpriv")
                    .args(&candidate.wrapper)
                    .args(["--", "sh", "-c", "ip link set lo up && mount -t tmpfs world /run"])
                    .stdin(Stdio::null())
                    .output()
                    .context("cannot start setpriv (package util-linux)")?;
                if output.status.success() {
                    return Ok(candidate);
                }
                tried += &format!(
                    "\n  setpriv {}: {}",
                    candidate.wrapper.join(" "),
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
        }
        bail!("this machine does not let this user make a network namespace; tried:{tried}")
    }
}

/// Whether this process is the first one of a world.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some() && std::process::id() == 1
}

/// Furnishes the namespaces of this process: loopback, a folder in memory, the resolver. Returns the folder.
pub fn furnish() -> Result<PathBuf> {
    ensure!(inside(), "this process has no namespaces of its own");
    run("ip", ["link", "set", "lo", "up"])?;
    // Looked up before /run is covered: on some machines the resolver's file is a link into it.
    let resolver = fs::canonicalize("/etc/resolv.conf");
    run("mount", ["-t", "tmpfs", "-o", "mode=755", "world", "/run"])?;
    let folder = PathBuf::from(FOLDER);
    fs::create_dir_all(&folder)?;
    let own = folder.join("resolv.conf");
    fs::write(&own, format!("nameserver {DNS_SERVER}\noptions timeout:2 attempts:2\n"))?;
    if let Ok(resolver) = resolver {
        if resolver.starts_with("/run") {
            fs::create_dir_all(resolver.parent().context("a file has a folder")?)?;
            fs::copy(&own, &resolver)?;
        } else {
            run("mount", [OsStr::new("--bind"), own.as_os_str(), resolver.as_os_str()])?;
        }
    }
    Ok(folder)
}

fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<()> {
    let mut command = Command::new(program);
    let output = command.args(arguments).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
