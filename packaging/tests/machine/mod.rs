//! A machine to install on: this one, with everything that is written going to memory, in namespaces of its own. For
//! `systemctl` and `journalctl` it has stand-ins, which are not systemd (see `systemctl-stand-in.rs`).

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// Where cargo has put what it built for this profile: target/debug.
fn profile() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().and_then(Path::parent).context("no target folder")?.to_owned())
}

/// Where [`build_package`] leaves the package.
pub(crate) fn package() -> Result<PathBuf> {
    Ok(profile()?.join("package/nuncio.deb"))
}

/// Builds the package around the program of this profile, which takes seconds; that of a release differs in nothing else.
pub(crate) fn build_package() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let profile = profile()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built =
        Command::new(&cargo).current_dir(&root).args(["build", "--quiet", "-p", "nuncio"]).status()?;
    ensure!(built.success(), "nuncio cannot be built");
    nuncio_packaging::write(&profile.join("package"))?;
    let file = package()?;
    let output = Command::new(&cargo)
        .current_dir(&root)
        .args(["deb", "--quiet", "--no-build", "--fast", "--profile", "dev", "--output"])
        .arg(&file)
        .output()?;
    ensure!(
        output.status.success(),
        "cargo deb failed; tests/setup/install-cargo-deb.sh installs it\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(file)
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    /// Standard output and standard error.
    pub(crate) said: String,
}

/// Gone with all that ran on it when it is dropped.
pub(crate) struct Machine {
    unshare: Child,
    init: u32,
    folder: TempDir,
}

const MAKE: &str = r#"
set -e
mount -t tmpfs none "$1"
cd "$1"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" root
mount -t proc proc root/proc
mount --rbind /dev root/dev
mount -t tmpfs none root/run
mount -t tmpfs none root/tmp
ip link set lo up
# What this machine may have of an earlier trial.
rm -rf root/etc/nuncio root/var/lib/nuncio
# What the overlay has of it is the file below all mounts.
cat /etc/resolv.conf > resolv.conf || true
rm -f root/etc/resolv.conf
mv resolv.conf root/etc/resolv.conf
echo up
exec sleep infinity
"#;

impl Machine {
    /// A machine without the package, in a network of its own or in the one of this process.
    pub(crate) fn new(own_network: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let network = own_network.then_some("--net");
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(network)
            .args(["sh", "-c", MAKE, "sh"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(line == "up\n", "no machine can be made (it needs root and overlayfs)");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = fs::read_to_string(children)?.trim().parse()?;
        let machine = Self { unshare, init, folder };
        for name in ["systemctl", "journalctl"] {
            machine.put(
                Path::new(env!("CARGO_BIN_EXE_systemctl-stand-in")),
                &format!("/usr/local/bin/{name}"),
            )?;
        }
        Ok(machine)
    }

    /// Copies a file onto it, with its mode.
    pub(crate) fn put(&self, file: &Path, to: &str) -> Result<()> {
        let root = format!("/proc/{}/root{}/root", self.init, self.folder.path().display());
        fs::copy(file, format!("{root}{to}")).with_context(|| format!("{} to {to}", file.display()))?;
        Ok(())
    }

    /// Runs a line of shell on it, as root.
    pub(crate) fn run(&self, line: &str) -> Result<Done> {
        let output = Command::new("nsenter")
            .args(["--target", &self.init.to_string(), "--mount", "--net", "--pid", "--", "chroot"])
            .arg(self.folder.path().join("root"))
            .args(["env", "-i", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["sh", "-c", line])
            .stdin(Stdio::null())
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok(Done { code: output.status.code(), said: String::from_utf8_lossy(&said).into_owned() })
    }

    /// The same, and it has to succeed; what it said.
    pub(crate) fn must(&self, line: &str) -> Result<String> {
        let Done { code, said } = self.run(line)?;
        ensure!(code == Some(0), "{line}\nended with {code:?}:\n{said}");
        Ok(said)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
