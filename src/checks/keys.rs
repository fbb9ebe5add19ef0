//! Who may read our private keys.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group};

use super::Findings;
use crate::certs;
use crate::config::Config;

/// Looks at the modes of the keys that the configuration names, and of those that wait beside them or were in use before: they
/// are as good, for whoever has them, as long as their certificates are.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for place in certs::places(config) {
        for ending in ["", ".new", ".old"] {
            let mut file = place.key.clone().into_os_string();
            file.push(ending);
            let file = PathBuf::from(file);
            // What is not there, or may not be looked at, has been spoken of or is no matter.
            if let Ok(metadata) = fs::metadata(&file)
                && seen.insert(file.clone())
            {
                findings.about(format!("key {}", file.display()));
                look(&file, &metadata, findings);
            }
        }
    }
}

fn look(file: &Path, metadata: &Metadata, findings: &mut Findings) {
    let (mode, shown) = (metadata.permissions().mode() & 0o777, file.display());
    if mode & 0o007 != 0 {
        let may = if mode & 0o004 != 0 { "read" } else { "change" };
        findings.warning(
            format!("every user of this machine may {may} it (mode {mode:03o}), and whoever has it can pass for this gateway"),
            format!(
                "chmod {:03o} {shown}; if somebody may have read it, have a certificate issued for a new key: nuncio cert request",
                mode & 0o640
            ),
        );
    } else if mode & 0o060 != 0 && !is_deliberate(file, metadata.gid()) {
        let group = metadata.gid();
        let name = Group::from_gid(Gid::from_raw(group)).ok().flatten();
        let name = name.map_or_else(|| format!("with number {group}"), |group| group.name);
        findings.warning(
            format!("members of the group {name} may read or change it (mode {mode:03o}), which is not the group of its folder"),
            format!("chmod 600 {shown}; or, if it is for the service, chgrp it to the group that the service runs with, mode 640"),
        );
    } else if mode & 0o020 != 0 {
        findings.warning(format!("its group may change it (mode {mode:03o})"), format!("chmod 640 {shown}"));
    }
}

/// Whether the group is one that somebody meant: that of the service or of the folder, as in `/etc/nuncio`, or root's, which is what
/// copies that systemd hands over show (their mode is the mask of an access list with the user of the service).
fn is_deliberate(file: &Path, group: u32) -> bool {
    let folder = file.parent().and_then(|folder| fs::metadata(folder).ok());
    group == 0
        || group == rustix::process::getegid().as_raw()
        || folder.is_some_and(|folder| folder.gid() == group)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::super::Level;
    use super::*;
    use crate::certs::tests::config;

    fn found(modes: &[(&str, u32)]) -> Vec<(Level, String, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in modes {
            let file = folder.path().join(name);
            fs::write(&file, "key").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(*mode)).unwrap();
        }
        let mut findings = Findings::default();
        check(&config(folder.path(), &[], ""), &mut findings);
        let short = |text: String| text.replace(&folder.path().display().to_string(), "DIR");
        let told = findings.into_list().into_iter();
        told.map(|found| (found.level, short(found.subject), short(found.text + "; " + &found.fix.unwrap())))
            .collect()
    }

    #[test]
    fn a_key_that_everybody_may_read_is_warned_of_with_what_to_run() {
        assert_eq!(found(&[("contoso.key", 0o600), ("sip.key", 0o640)]), []);
        let one = |modes: &[(&str, u32)]| {
            let found = found(modes);
            assert_eq!(found.len(), 1, "{found:?}");
            found.into_iter().next().unwrap()
        };
        let (level, subject, text) = one(&[("contoso.key", 0o644), ("sip.key", 0o600)]);
        assert_eq!((level, subject.as_str()), (Level::Warning, "key DIR/contoso.key"));
        assert!(text.contains("mode 644") && text.contains("chmod 640 DIR/contoso.key"), "{text}");
        let (_, subject, text) = one(&[("sip.key.new", 0o604)]);
        assert!(subject.ends_with("sip.key.new") && text.contains("chmod 600 "), "{subject}: {text}");
        let (_, _, text) = one(&[("sip.key.old", 0o660)]);
        assert!(text.contains("its group may change it") && text.contains("chmod 640"), "{text}");
    }

    /// Only root can give a file away; as anybody else there is nothing to see.
    #[test]
    fn a_group_that_has_nothing_to_do_with_the_service_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.key");
        fs::write(&file, "key").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let metadata = fs::metadata(&file).unwrap();
        assert!(is_deliberate(&file, metadata.gid()));
        assert!(is_deliberate(&file, 0), "a copy that systemd hands over");
        assert!(!is_deliberate(&file, 4_000_000_001));
    }
}
