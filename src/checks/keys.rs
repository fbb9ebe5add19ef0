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
    let service = Whose::of(&config.node.state_dir);
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
                let folder = file.parent().and_then(Whose::of);
                let around = Around { folder, service, runs: rustix::process::getegid().as_raw() };
                look(&file, metadata.permissions().mode() & 0o777, Whose::from(&metadata), &around, findings);
            }
        }
    }
}

/// To whom a file or a folder belongs.
#[derive(Clone, Copy)]
struct Whose {
    user: u32,
    group: u32,
}

impl Whose {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::from)
    }
}

impl From<&Metadata> for Whose {
    fn from(metadata: &Metadata) -> Self {
        Self { user: metadata.uid(), group: metadata.gid() }
    }
}

/// What a key is held against.
struct Around {
    /// To whom its folder belongs.
    folder: Option<Whose>,
    /// To whom the state directory belongs, which is the service, whoever asks; `None`: there is none yet.
    service: Option<Whose>,
    /// The group of this process.
    runs: u32,
}

impl Around {
    /// Whether the group is one that somebody meant: that of the service or of the folder, as in `/etc/nuncio`, or root's, which is
    /// what copies that systemd hands over show (their mode is the mask of an access list with the user of the service).
    fn means(&self, group: u32) -> bool {
        let known = [self.folder, self.service].into_iter().flatten().map(|whose| whose.group);
        group == 0 || group == self.runs || known.into_iter().any(|known| known == group)
    }
}

fn look(file: &Path, mode: u32, whose: Whose, around: &Around, findings: &mut Findings) {
    let shown = file.display();
    // To execute it is nothing.
    if mode & 0o006 != 0 {
        let may = if mode & 0o004 != 0 { "read" } else { "change" };
        findings.warning(
            format!(
                "every user of this machine may {may} it (mode {mode:03o}), and whoever has it can pass for this gateway"
            ),
            format!(
                "{}; if somebody may have read it, have a certificate issued for a new key: nuncio cert request",
                narrower(file, mode & 0o640, whose, around)
            ),
        );
    } else if mode & 0o060 != 0 && !around.means(whose.group) {
        findings.warning(
            format!(
                "members of the group {} may read or change it (mode {mode:03o}), which is neither that of its folder nor that of \
                 node.state_dir",
                name(whose.group)
            ),
            narrower(file, 0o600, whose, around),
        );
    } else if mode & 0o020 != 0 {
        findings.warning(format!("its group may change it (mode {mode:03o})"), format!("chmod 640 {shown}"));
    }
}

/// The commands after which the service can still read the key, and nobody else. `mode`: what is enough if it is the service's own.
fn narrower(file: &Path, mode: u32, whose: Whose, around: &Around) -> String {
    let file = file.display();
    match around.service {
        Some(service) if service.user == whose.user => format!("chmod {mode:03o} {file}"),
        Some(service) => format!("chgrp {} {file} && chmod 640 {file}", name(service.group)),
        None if around.means(whose.group) => format!("chmod {mode:03o} {file}"),
        None => format!(
            "chgrp it to the group that the service runs with, and chmod 640 {file}; or, if it is the service's own, chmod \
             600 {file}"
        ),
    }
}

/// The name of a group, or its number, which commands take as well.
fn name(group: u32) -> String {
    let known = Group::from_gid(Gid::from_raw(group)).ok().flatten();
    known.map_or_else(|| group.to_string(), |group| group.name)
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
        let state = format!("[node]\nstate_dir = {:?}\n", folder.path());
        check(&config(folder.path(), &[], &state), &mut findings);
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

    const OTHERS: u32 = 4_000_000_001;
    const SERVICE: Whose = Whose { user: 4_000_000_002, group: 4_000_000_002 };

    /// What is said of a key of this mode in a folder of root's.
    fn said(mode: u32, whose: Whose, service: Option<Whose>) -> String {
        let around = Around { folder: Some(Whose { user: 0, group: 0 }), service, runs: 0 };
        let mut findings = Findings::default();
        findings.about("key".to_owned());
        look(Path::new("/x.key"), mode, whose, &around, &mut findings);
        let said = findings.into_list().into_iter().map(|found| found.text + "; " + &found.fix.unwrap());
        said.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_group_that_has_nothing_to_do_with_the_service_is_named() {
        let roots = |group| Whose { user: 0, group };
        assert_eq!(
            said(0o640, roots(SERVICE.group), Some(SERVICE)),
            "",
            "root asks, and the key is the service's"
        );
        assert_eq!(said(0o640, roots(0), Some(SERVICE)), "", "a copy that systemd hands over");
        let text = said(0o640, roots(OTHERS), Some(SERVICE));
        assert!(text.contains("members of the group 4000000001 may read"), "{text}");
        // It must not be locked out by what is advised.
        assert!(text.ends_with("; chgrp 4000000002 /x.key && chmod 640 /x.key"), "{text}");
        let own = Whose { group: OTHERS, ..SERVICE };
        let text = said(0o640, own, Some(SERVICE));
        assert!(text.ends_with("; chmod 600 /x.key"), "{text}");
        let text = said(0o640, roots(OTHERS), None);
        assert!(
            text.contains("; chgrp it to the group that the service runs with, and chmod 640 /x.key; or"),
            "{text}"
        );
    }

    #[test]
    fn the_service_is_not_locked_out_when_nobody_else_is_to_read() {
        let roots = Whose { user: 0, group: 0 };
        let text = said(0o644, roots, Some(SERVICE));
        assert!(text.contains("; chgrp 4000000002 /x.key && chmod 640 /x.key; if somebody"), "{text}");
        assert_eq!(said(0o601, roots, Some(SERVICE)), "", "to execute it is nothing");
        assert!(said(0o602, roots, Some(SERVICE)).contains("may change it"));
    }
}
