//! A machine to install on: this one, with everything that is written going to memory, in namespaces of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The package, built once for all tests.
pub(crate) static PACKAGE: LazyLock<PathBuf> = LazyLock::new(|| package().unwrap());

/// Builds the package around the program of this profile, which takes seconds; that of a release differs in nothing else.
fn package() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Where cargo has put this test: target/debug/deps.
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).context("no target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built =
        Command::new(&cargo).current_dir(&root).args(["build", "--quiet", "-p", "nuncio"]).status()?;
    ensure!(built.success(), "nuncio cannot be built");
    nuncio_packaging::write(&profile.join("package"))?;
    let file = profile.join("package/nuncio.deb");
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
echo up
exec sleep infinity
"#;

impl Machine {
    /// A machine without the package.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", MAKE, "sh"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(line == "up\n", "no machine can be made (it needs root and overlayfs)");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = fs::read_to_string(children)?.trim().parse()?;
        Ok(Self { unshare, init, folder })
    }

    /// One with the package, and with the stand-in for systemctl (see `systemctl-stand-in.rs`: it is not systemd).
    pub(crate) fn installed() -> Result<Self> {
        let machine = Self::new()?;
        machine.must(&format!("dpkg --install {}", PACKAGE.display()))?;
        let stand_in = env!("CARGO_BIN_EXE_systemctl-stand-in");
        machine.must(&format!("install {stand_in} /usr/local/bin/systemctl"))?;
        Ok(machine)
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
