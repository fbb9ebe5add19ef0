//! The state directory and what lies in it.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nuncio_xmpp::Domain;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::Findings;
use crate::config::{self, Config};
use crate::run::node_key;
use crate::store;

/// Looks, as the user this runs as, and writes nothing.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let state_dir = &config.node.state_dir;
    files(state_dir, findings);
    forgotten(state_dir, &Named::of(config), findings);
}

fn files(state_dir: &Path, findings: &mut Findings) {
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

/// The domains that the configuration names, as they stand in addresses.
struct Named {
    served: HashSet<String>,
    partners: HashSet<String>,
}

impl Named {
    fn of(config: &Config) -> Self {
        let normalised = |domain: &config::Domain| {
            Domain::parse(domain.as_str())
                .map_or_else(|_| domain.as_str().to_owned(), |d| d.as_str().to_owned())
        };
        Self {
            served: config.sip.domains.iter().map(normalised).collect(),
            partners: config.partners.iter().flat_map(|partner| partner.domains()).map(normalised).collect(),
        }
    }
}

/// What the next start forgets, because the configuration does not name the domain any more. Perhaps it was taken out for a
/// while only, or misspelt.
fn forgotten(state_dir: &Path, named: &Named, findings: &mut Findings) {
    // A database that cannot be read has been spoken of.
    let Ok(census) = store::census(state_dir) else { return };
    let mut lost: BTreeMap<(&str, bool), (u64, u64)> = BTreeMap::new();
    for count in &census {
        let domain = match count {
            _ if !named.partners.contains(&count.remote) => (count.remote.as_str(), false),
            _ if !named.served.contains(&count.local) => (count.local.as_str(), true),
            _ => continue,
        };
        let sums = lost.entry(domain).or_default();
        *sums = (sums.0 + count.pairs, sums.1 + count.added);
    }
    for ((domain, ours), (pairs, added)) in lost {
        let shown: String = domain.chars().map(config::printable).collect();
        let (whose, put_back) = match ours {
            true => (
                format!("of users of {shown}, which is not in sip.domains"),
                "put the domain back before the start",
            ),
            false => (
                format!("with {shown}, which no [[partner]] entry names"),
                "put the entry back before the start; with enabled = false nothing crosses and nothing is forgotten",
            ),
        };
        let noun = if pairs == 1 { "pair" } else { "pairs" };
        findings.warning(
            format!(
                "it has {pairs} {noun} {whose}: the next start ends their subscriptions and forgets them for good, and \
                 with them that SIP users have added contacts ({added})"
            ),
            format!("if that is not meant, {put_back}"),
        );
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
        files(state_dir, &mut findings);
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

    /// A pair of alice and a contact, whom she has added or not.
    fn remember(folder: &Path, contact: &str, added: bool) {
        let database = rusqlite::Connection::open(folder.join(store::FILE)).unwrap();
        let since = added.then_some(1);
        let sql = "INSERT INTO pair (sip_user, contact, added_since, last_subscribe, to_state, from_state, from_since, \
            saved_at) VALUES ('alice@contoso.com', ?1, ?2, ?2, 'yes', 'no', 0, 1)";
        database.execute(sql, (contact, since)).unwrap();
    }

    fn forgotten_with(folder: &Path, served: &str, partner: &str) -> Vec<Finding> {
        let named = Named { served: [served.to_owned()].into(), partners: [partner.to_owned()].into() };
        let mut findings = Findings::default();
        forgotten(folder, &named, &mut findings);
        findings.list
    }

    #[test]
    fn what_the_next_start_would_forget_is_warned_of() {
        let folder = state();
        for (contact, added) in
            [("bob@fabrikam.com", true), ("carol@fabrikam.com", false), ("dora@public.example", true)]
        {
            remember(folder.path(), contact, added);
        }
        let found = forgotten_with(folder.path(), "contoso.com", "public.example");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].level, Level::Warning);
        let start = "it has 2 pairs with fabrikam.com, which no [[partner]] entry names: the next start ends";
        assert!(found[0].text.starts_with(start), "{}", found[0].text);
        assert!(found[0].text.ends_with("that SIP users have added contacts (1)"), "{}", found[0].text);
        assert!(found[0].fix.as_deref().unwrap().contains("enabled = false"), "{found:?}");
    }

    #[test]
    fn so_is_what_goes_with_a_domain_of_ours() {
        let folder = state();
        remember(folder.path(), "bob@fabrikam.com", false);
        let found = forgotten_with(folder.path(), "other.example", "fabrikam.com");
        assert_eq!(found.len(), 1, "{found:?}");
        let start = "it has 1 pair of users of contoso.com, which is not in sip.domains: ";
        assert!(found[0].text.starts_with(start), "{}", found[0].text);
    }

    #[test]
    fn what_the_configuration_names_is_not_spoken_of_nor_is_a_database_that_is_not_there() {
        let folder = state();
        remember(folder.path(), "bob@fabrikam.com", true);
        assert_eq!(forgotten_with(folder.path(), "contoso.com", "fabrikam.com"), []);
        assert_eq!(forgotten_with(Path::new("/nonexistent"), "a.example", "b.example"), []);
    }
}
