use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::super::places;
use super::super::places::tests::config;
use super::*;
use crate::tls::testing::{Ca, Issued, now};

struct Bench {
    folder: tempfile::TempDir,
    config: Config,
    root: Ca,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Ca::new("Root");
        fs::write(folder.path().join("roots.pem"), root.pem()).unwrap();
        let config = config(folder.path(), &[], "");
        Self { folder, config, root }
    }

    fn place(&self) -> Place {
        places(&self.config).remove(1)
    }

    fn put(&self, issued: &Issued, ending: &str) {
        fs::write(self.file(&format!("contoso.pem{ending}")), issued.pem()).unwrap();
        fs::write(self.file(&format!("contoso.key{ending}")), issued.key_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn assign(&self) -> Result<Assigned, AssignError> {
        assign(&self.config, &self.place(), false, now())
    }

    /// Whether this is in use, and fits.
    fn uses(&self, issued: &Issued) -> bool {
        let identity = Identity::load(&self.file("contoso.pem"), &self.file("contoso.key")).unwrap();
        *identity.certificate() == issued.facts()
    }

    fn waits(&self) -> Waiting {
        waiting(&[self.place()]).remove(0)
    }
}

#[test]
fn what_was_imported_takes_its_place_and_can_be_taken_back_and_forth() {
    let bench = Bench::new();
    let (one, two) = (bench.root.server(&["contoso.com"]), bench.root.server(&["contoso.com"]));
    bench.put(&one, "");
    bench.put(&two, ".new");
    assert!(bench.waits().certificate && !bench.waits().undo);
    assert_eq!(bench.assign().unwrap().sha256, two.facts().sha256);
    assert!(bench.uses(&two));
    assert!(!bench.waits().certificate && !bench.waits().key && bench.waits().undo);
    for issued in [&one, &two, &one] {
        assert_eq!(undo(&bench.place()).unwrap().sha256, issued.facts().sha256);
        assert!(bench.uses(issued));
    }
}

#[test]
fn the_first_certificate_of_all_has_nothing_to_go_back_to() {
    let bench = Bench::new();
    let one = bench.root.server(&["contoso.com"]);
    assert!(matches!(bench.assign(), Err(AssignError::Nothing(_))));
    bench.put(&one, ".new");
    bench.assign().unwrap();
    assert!(bench.uses(&one));
    assert!(matches!(undo(&bench.place()), Err(AssignError::NothingBefore(_))));
}

#[test]
fn a_stop_between_the_two_files_is_mended_by_doing_it_again_and_undo_still_leads_back() {
    let bench = Bench::new();
    let (one, two) = (bench.root.server(&["contoso.com"]), bench.root.server(&["contoso.com"]));
    bench.put(&one, "");
    bench.put(&one, ".old");
    bench.put(&two, ".new");
    fs::rename(bench.file("contoso.key.new"), bench.file("contoso.key")).unwrap();
    bench.assign().unwrap();
    assert!(bench.uses(&two));
    undo(&bench.place()).unwrap();
    assert!(bench.uses(&one));
}

#[test]
fn a_certificate_for_the_key_in_use_leaves_one_alone_that_was_made_for_the_next_request() {
    let bench = Bench::new();
    let (one, next) = (bench.root.server(&["contoso.com"]), bench.root.server(&["contoso.com"]));
    bench.put(&one, "");
    fs::write(bench.file("contoso.pem.new"), one.pem()).unwrap();
    fs::write(bench.file("contoso.key.new"), next.key_pem()).unwrap();
    bench.assign().unwrap();
    assert!(bench.uses(&one));
    assert_eq!(fs::read_to_string(bench.file("contoso.key.new")).unwrap(), next.key_pem());
}

#[test]
fn what_peers_would_refuse_is_put_in_use_only_anyway() {
    let bench = Bench::new();
    let (one, other) = (bench.root.server(&["contoso.com"]), bench.root.server(&["litware.com"]));
    bench.put(&one, "");
    bench.put(&other, ".new");
    let refused = bench.assign().unwrap_err();
    assert!(matches!(&refused, AssignError::Wrong(list) if !list.is_empty()), "{refused}");
    assert!(bench.uses(&one) && bench.waits().certificate);
    assign(&bench.config, &bench.place(), true, now()).unwrap();
    assert!(bench.uses(&other));
}

#[test]
fn files_that_do_not_fit_each_other_are_never_put_in_use() {
    let bench = Bench::new();
    let (one, two) = (bench.root.server(&["contoso.com"]), bench.root.server(&["contoso.com"]));
    bench.put(&one, "");
    fs::write(bench.file("contoso.pem.new"), two.pem()).unwrap();
    let refused = assign(&bench.config, &bench.place(), true, now());
    assert!(matches!(refused, Err(AssignError::Identity(_))), "{refused:?}");
    assert!(bench.uses(&one));
}

#[test]
fn a_key_is_as_private_in_its_place_as_the_one_before() {
    let bench = Bench::new();
    let (one, two) = (bench.root.server(&["contoso.com"]), bench.root.server(&["contoso.com"]));
    for (before, after) in [(0o604, 0o600), (0o644, 0o640), (0o640, 0o640), (0o600, 0o600)] {
        bench.put(&one, "");
        fs::set_permissions(bench.file("contoso.key"), fs::Permissions::from_mode(before)).unwrap();
        bench.put(&two, ".new");
        bench.assign().unwrap();
        for name in ["contoso.key", "contoso.key.old"] {
            let mode = fs::metadata(bench.file(name)).unwrap().mode() & 0o777;
            assert_eq!(mode, after, "{name} after {before:o}");
        }
    }
}

#[test]
fn a_link_of_an_acme_client_is_not_cut() {
    let bench = Bench::new();
    let (one, two) = (bench.root.server(&["contoso.com"]), bench.root.server(&["contoso.com"]));
    bench.put(&one, "");
    fs::rename(bench.file("contoso.pem"), bench.file("archive.pem")).unwrap();
    std::os::unix::fs::symlink(bench.file("archive.pem"), bench.file("contoso.pem")).unwrap();
    bench.put(&two, ".new");
    let refused = bench.assign();
    assert!(matches!(refused, Err(AssignError::File(FileError::Link { .. }))), "{refused:?}");
    assert!(bench.uses(&one));
}
