//! What a change does to those who look at the policy, and what is none.

use std::fs;
use std::time::SystemTime;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::config::{Entry, Kind};
use crate::gateway::testing::{gateway_of, moment};
use crate::store::StoreOptions;
use crate::tls::testing::{Ca, Issued};

/// An authority over a small gateway, with its files.
struct Office {
    folder: TempDir,
    gateway: Arc<Gateway>,
    authority: Authority,
    /// How much is logged, if a reload has said so.
    logged: Arc<Mutex<Vec<String>>>,
}

impl Office {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new("Root");
        let put = |name: &str, issued: &Issued| {
            fs::write(folder.path().join(format!("{name}.pem")), issued.pem()).unwrap();
            fs::write(folder.path().join(format!("{name}.key")), issued.key_pem()).unwrap();
        };
        put("sip", &ca.server(&["nuncio.contoso.com"]));
        put("contoso", &ca.server(&["contoso.com"]));
        fs::write(folder.path().join("roots.pem"), ca.pem()).unwrap();
        let text = include_str!("../../tests/config/right/minimal.toml");
        let file = folder.path().join("nuncio.toml");
        fs::write(&file, text.replace("pki/", "")).unwrap();

        let sources = Sources::new().file(file).read_now();
        let loaded = load(&sources).unwrap();
        let config = &loaded.config;
        let gateway = Arc::new(gateway_of("contoso.com", "fabrikam.com"));
        gateway.set_policy(made::snapshot(config).unwrap());
        while gateway.run_errands(moment()) {}
        let renewal = Renewal::open(config, SystemTime::now()).unwrap();
        let logged = Arc::<Mutex<Vec<String>>>::default();
        let levels = Arc::clone(&logged);
        let log_level = LogLevel::new(move |level| {
            levels.lock().push(level.to_owned());
            Ok(())
        });
        let governed = Governed {
            gateway: Arc::clone(&gateway),
            store: Arc::new(Store::open(folder.path(), StoreOptions::default()).unwrap().store),
            in_use: renewal.in_use().unwrap(),
            renewal: Arc::new(Mutex::new(renewal)),
            access: Access::new(NewAccess::load(config).unwrap()),
            done: watch::channel((Ticket::default(), Outcome::Saved)).1,
            log_level,
        };
        Self { folder, gateway, authority: Authority::new(sources, loaded, governed), logged }
    }

    fn change(&self, edit: Edit) -> Vec<String> {
        lines(&self.authority.change("test", edit, false).unwrap().changed)
    }

    fn edit(&self, from: &str, to: &str) {
        let file = self.folder.path().join("nuncio.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from));
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    }

    fn reload(&self) -> Vec<String> {
        lines(&self.authority.reload("test").unwrap().changed)
    }

    /// The generation of the policy, and whether pairs are to look at it.
    fn policy(&self) -> (u64, bool) {
        let wakes = !self.gateway.errands_are_short();
        while self.gateway.run_errands(moment()) {}
        (self.gateway.policy().generation(), wakes)
    }

    /// What waits to be written: nobody writes it here.
    fn written(&self) -> usize {
        self.authority.governed.store.health().waiting
    }
}

fn northwind(keys: serde_json::Value) -> (Kind, String, Entry) {
    (Kind::Partner, "northwind.com".to_owned(), keys.as_object().cloned().unwrap())
}

fn put(keys: serde_json::Value) -> Edit {
    let (kind, name, entry) = northwind(keys);
    Edit::Put(kind, name, entry)
}

#[test]
fn what_changes_nothing_wakes_nobody() {
    let office = Office::open();
    assert_eq!(office.policy(), (1, false));
    office.change(put(json!({ "type": "federated" })));
    assert_eq!(office.policy(), (2, true));
    let written = office.written();
    assert!(office.change(put(json!({ "type": "federated" }))).is_empty());
    assert!(office.reload().is_empty());
    assert_eq!((office.policy(), office.written()), ((2, false), written));
}

#[test]
fn what_no_rule_asks_about_makes_no_other_policy() {
    let office = Office::open();
    office.change(put(json!({ "type": "federated", "description": "since May" })));
    assert_eq!(office.policy(), (2, true));
    let (kind, name, part) = northwind(json!({ "description": "since June", "keep_alive": false }));
    assert_eq!(office.change(Edit::Patch(kind, name, part)).len(), 2);
    office.edit("[xmpp]", "[limits]\ndrain = \"7s\"\n[xmpp]");
    assert_eq!(office.reload().len(), 1);
    assert_eq!(office.policy(), (2, false));
    let (kind, name, part) = northwind(json!({ "enabled": false }));
    office.change(Edit::Patch(kind, name, part));
    assert_eq!(office.policy(), (3, true));
}

#[test]
fn what_waits_for_the_next_start_and_is_taken_back_does_not_wait_any_more() {
    let office = Office::open();
    office.edit("[xmpp]", "[limits]\ndrain = \"7s\"\n[xmpp]");
    assert_eq!(office.reload(), ["limits.drain: \"20s\" → \"7s\" (with the next start)"]);
    office.edit("drain = \"7s\"", "drain = \"8s\"");
    assert_eq!(office.reload(), ["limits.drain: \"7s\" → \"8s\" (with the next start)"]);
    office.edit("drain = \"8s\"", "");
    let waits =
        "limits.drain: \"8s\" → \"20s\" (as it is in force: what waited for the next start is taken back)";
    let unread = office.authority.unread().unwrap();
    assert_eq!((lines(&unread.reload), unread.next_start.len()), (vec![waits.to_owned()], 0));
    let applied = office.authority.reload("test").unwrap();
    assert_eq!(lines(&applied.changed), [waits]);
    assert_eq!((applied.changed[0].takes_effect, applied.pending.len()), (Effect::Now, 0));
}

#[test]
fn whoever_changes_more_than_a_little_hears_what_it_hits() {
    let office = Office::open();
    let block = Edit::Put(Kind::Block, "fabrikam.com".to_owned(), Entry::new());
    let applied = office.authority.change("test", block, false).unwrap();
    assert!(
        applied.warnings.iter().any(|said| said.contains("whole partner fabrikam.com")),
        "{:?}",
        applied.warnings
    );
    office.change(put(json!({ "type": "federated" })));
    office.edit("[xmpp]", "[policy]\nenabled = false\n[xmpp]");
    let applied = office.authority.reload("test").unwrap();
    let warnings = applied.warnings.join("\n");
    assert!(warnings.contains("none of 2 partners") && !warnings.contains("whole partner"), "{warnings}");
}

#[test]
fn the_level_of_the_log_changes_with_a_reload() {
    let office = Office::open();
    office.edit("[xmpp]", "[log]\nlevel = \"nuncio::gateway=debug\"\n[xmpp]");
    assert_eq!(office.reload(), ["log.level: \"info\" → \"nuncio::gateway=debug\""]);
    office.change(put(json!({ "type": "federated" })));
    assert_eq!(*office.logged.lock(), ["nuncio::gateway=debug"], "once, when it is another one");
}

#[test]
fn partners_in_another_order_keep_what_is_theirs() {
    let office = Office::open();
    let partner = |domain: &str, more: &str| {
        format!("[[partner]]\ndomain = \"{domain}\"\ntype = \"federated\"\n{more}\n")
    };
    let (plain, own) = (partner("a.example", ""), partner("b.example", "roots = \"roots.pem\""));
    office.edit("[[partner]]", &format!("{plain}{own}[[partner]]"));
    office.reload();
    office.edit(&format!("{plain}{own}"), &format!("{own}{plain}"));
    assert!(office.reload().is_empty(), "no key has another value");
    for (domain, is_plain) in [("a.example", true), ("b.example", false), ("fabrikam.com", true)] {
        assert_eq!(office.gateway.partner_streams(domain).proof.is_plain(), is_plain, "{domain}");
        let federation = office.authority.federation(&office.authority.governed.renewal.lock().proofs());
        office.gateway.set_federation(federation.unwrap(), moment());
        assert_eq!(office.gateway.partner_streams(domain).proof.is_plain(), is_plain, "{domain}");
    }
}
