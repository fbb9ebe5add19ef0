//! Tests that run themselves again in another process: to be killed, or to live on a disk of their own.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder that a child process is to work in.
const FOLDER: &str = "NUNCIO_STORE_TEST_FOLDER";

/// `Some` in a child process.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// This test again, in a process of its own, started by `wrapper`.
pub(crate) fn again(test: &str, folder: &Path, wrapper: &[&str]) -> Command {
    let mut words: Vec<&OsStr> = wrapper.iter().map(OsStr::new).collect();
    let program = std::env::current_exe().unwrap();
    words.push(program.as_os_str());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end; what it wrote to standard error, where the log goes.
pub(crate) fn run(test: &str, folder: &Path, wrapper: &[&str]) -> String {
    let output = again(test, folder, wrapper).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "the test has another name: {out}");
    err.into_owned()
}

/// Starts a program with a small disk of its own on the folder: as root, or as one who is root only in there.
pub(crate) fn small_disk(folder: &Path) -> Vec<&str> {
    const MOUNT: &str = "mount -t tmpfs -o size=8m none \"$0\" && exec \"$@\"";
    let namespaces = if is_root() { ["--mount", "--ipc"] } else { ["--mount", "--map-root-user"] };
    [&["unshare"][..], &namespaces, &["sh", "-c", MOUNT, folder.to_str().unwrap()]].concat()
}

/// Starts a program that file permissions bind.
pub(crate) fn bound_by_permissions() -> Vec<&'static str> {
    if is_root() {
        vec!["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"]
    } else {
        vec!["env"]
    }
}

/// Sends the log of this process to standard error, as `nuncio run` does.
pub(crate) fn log() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
