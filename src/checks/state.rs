//! The state directory and what lies in it.

use std::fs::Metadata;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::Findings;
use crate::run::node_key;
use crate::store;

/// Looks, as the user this runs as, and writes nothing.
pub(super) fn check(state_dir: &Path, findings: &mut Findings) {
    findings.about(format!("[node] state_dir {}", state_dir.display()));
    let shown = state_dir.display();
    let metadata = match std::fs::metadata(state_dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(state_dir, findings),
        Err(error) => {
            let fix = "set node.state_dir to a directory we may use, and check as the user of the service";
            return findings.wrong(format!("it cannot be opened: {error}"), fix.to_owned());
        }
    };
    match access(state_dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => findings.good("it exists, and this user may write it".to_owned()),
        Err(Errno::ROFS) => findings.wrong(
            "its file system is read-only".to_owned(),
            format!("make it writable (findmnt -T {shown} shows how it is mounted, dmesg why that may have changed)"),
        ),
        Err(_) => findings.wrong("this user may not write it".to_owned(), owner_fix(state_dir)),
    }
    match mode(&metadata) {
        mode if mode & 0o002 != 0 => findings.wrong(
            format!("every user of this machine may change what is in it (mode {mode:03o})"),
            format!("chmod 700 {shown}"),
        ),
        mode if mode & 0o020 != 0 => findings.warning(
            format!("its group may change what is in it (mode {mode:03o})"),
            format!("chmod 700 {shown}"),
        ),
        _ => {}
    }
    key(&state_dir.join(node_key::FILE), findings);
    database(state_dir, findings);
}

fn database(state_dir: &Path, findings: &mut Findings) {
    findings.about(format!("[node] state_dir, store {}", state_dir.join(store::FILE).display()));
    match store::glance(state_dir) {
        Ok(Some(schema)) => {
            findings.good(format!("it can be opened, and has schema {schema}"));
            if let Some(error) = store::obstacle(state_dir) {
                findings.wrong(error.found(), error.advice());
            }
        }
        Ok(None) => {
            findings.note("it does not exist yet; the gateway makes it when it starts first".to_owned());
        }
        Err(error) => findings.wrong(error.found(), error.advice()),
    }
}

fn absent(state_dir: &Path, findings: &mut Findings) {
    let parent =
        state_dir.ancestors().skip(1).find(|parent| parent.as_os_str().is_empty() || parent.exists());
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if access(parent, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        findings.note("it does not exist yet; the gateway makes it when it starts first".to_owned());
    } else {
        let text = format!("it does not exist, and this user may not make it in {}", parent.display());
        findings.wrong(
            text,
            format!(
                "as root: install -d -m 700 -o USER {}, with the user of the service",
                state_dir.display()
            ),
        );
    }
}

fn key(path: &Path, findings: &mut Findings) {
    let shown = path.display();
    findings.about(format!("[node] state_dir, key {shown}"));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        // A byte more than it may have, however long it is.
        file.take(node_key::LENGTH as u64 + 1).read_to_end(&mut bytes)?;
        Ok(metadata)
    });
    let metadata = match opened {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return findings
                .note("it does not exist yet; the gateway makes it when it starts first".to_owned());
        }
        Err(error) => {
            return findings.wrong(format!("this user cannot read it: {error}"), owner_fix(path));
        }
    };
    if bytes.len() != node_key::LENGTH {
        let text = format!("it is damaged: {} bytes instead of {}", metadata.len(), node_key::LENGTH);
        return findings.wrong(text, format!("delete {shown}; the gateway makes a new one"));
    }
    match mode(&metadata) {
        mode if mode & 0o077 != 0 => findings.wrong(
            format!("others than its owner may read or change it (mode {mode:03o})"),
            format!(
                "chmod 600 {shown}; if somebody may have read it, delete it, and the gateway makes a new one"
            ),
        ),
        mode => findings.good(format!("it can be read, by its owner only (mode {mode:03o})")),
    }
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o777
}

fn owner_fix(path: &Path) -> String {
    format!("let the user of the service own it: chown USER {}; and check as that user", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::super::{Finding, Level};
    use super::*;

    fn found(state_dir: &Path) -> Vec<Finding> {
        let mut findings = Findings::default();
        check(state_dir, &mut findings);
        findings.list
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A directory as it should be, with its key.
    fn state() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), 0o700);
        node_key::load(folder.path()).unwrap();
        drop(store::Store::open(folder.path(), store::StoreOptions::default()).unwrap());
        folder
    }

    #[test]
    fn what_the_gateway_makes_itself_is_good() {
        let levels: Vec<_> = found(state().path()).iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Good; 3]);
    }

    #[test]
    fn what_does_not_exist_yet_is_made_later() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        let findings = found(&below);
        assert_eq!((findings.len(), findings[0].level), (1, Level::Note));
        assert!(!below.exists(), "checking made it");
    }

    #[test]
    fn a_directory_that_others_may_write_is_wrong() {
        let folder = state();
        for (mode, level) in [(0o770, Level::Warning), (0o707, Level::Wrong), (0o755, Level::Good)] {
            set(folder.path(), mode);
            let worst = found(folder.path()).into_iter().max_by_key(|finding| finding.level).unwrap();
            assert_eq!(worst.level, level, "{mode:o}: {worst:?}");
            assert_eq!(worst.fix.is_some_and(|fix| fix.starts_with("chmod 700 ")), level != Level::Good);
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_wrong() {
        let folder = state();
        for mode in [0o640, 0o604, 0o620] {
            set(&folder.path().join(node_key::FILE), mode);
            let worst = found(folder.path()).into_iter().max_by_key(|finding| finding.level).unwrap();
            assert_eq!(worst.level, Level::Wrong, "{mode:o}");
            assert!(worst.fix.unwrap().starts_with("chmod 600 "), "{mode:o}");
        }
    }

    #[test]
    fn a_key_of_another_length_is_damaged() {
        let folder = state();
        for length in [0, node_key::LENGTH - 1, node_key::LENGTH + 1] {
            fs::write(folder.path().join(node_key::FILE), vec![7; length]).unwrap();
            let worst = found(folder.path()).into_iter().max_by_key(|finding| finding.level).unwrap();
            assert_eq!(worst.level, Level::Wrong, "{length}");
            assert!(worst.text.contains(&format!("{length} bytes instead of 16")), "{}", worst.text);
        }
    }

    #[test]
    fn a_database_that_cannot_be_used_is_wrong_and_says_what_to_do() {
        let folder = state();
        fs::write(folder.path().join(store::FILE), b"this is no database").unwrap();
        let worst = found(folder.path()).into_iter().max_by_key(|finding| finding.level).unwrap();
        assert_eq!(worst.level, Level::Wrong, "{worst:?}");
        assert!(worst.text.starts_with("it is damaged"), "{}", worst.text);
        assert!(worst.fix.is_some_and(|fix| fix.contains("nuncio store check")));
    }
}
