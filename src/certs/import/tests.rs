use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use super::super::places::tests::config;
use super::super::{places, select};
use super::*;
use crate::tls::testing::{Ca, Issued, San, der, eku, now, san};

/// A folder with a configuration, the keys of which are here.
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

    fn put(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn has(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// The import of a text for the place that is wanted, or for whichever fits.
    fn import(&self, text: &[u8], wanted: Option<&str>) -> Result<Vec<Imported>, ImportError> {
        self.import_with(text, wanted, None)
    }

    fn import_with(
        &self,
        text: &[u8],
        wanted: Option<&str>,
        key: Option<&Issued>,
    ) -> Result<Vec<Imported>, ImportError> {
        let places = places(&self.config);
        let chosen = select(&places, &[wanted.unwrap_or("all").to_owned()]).unwrap();
        let given = key.map(|issued| (PathBuf::from("given.key"), issued.key_pem().into_bytes()));
        let keys = Keys { given, named: wanted.is_some() };
        import(&self.config, &chosen, &[("brought.pem".into(), text.to_vec())], &keys, now())
    }
}

fn texts(imported: &Imported, level: Level) -> Vec<&str> {
    let list = imported.findings.iter().filter(|finding| finding.level == level);
    list.map(|finding| finding.text.as_str()).collect()
}

fn both(issued: &Issued, more: &[&Ca]) -> String {
    let others: String = more.iter().map(|ca| ca.pem()).collect();
    issued.pem() + &others
}

#[test]
fn a_certificate_finds_the_place_of_its_key_and_is_written_beside_it() {
    let bench = Bench::new();
    let issued = bench.root.server(&["contoso.com"]);
    bench.put("contoso.key.new", &issued.key_pem());
    bench.put("contoso.key", &KeyPair::generate().unwrap().serialize_pem());
    let imported = bench.import(issued.pem().as_bytes(), None).unwrap();
    let [imported] = imported.as_slice() else { panic!("{imported:?}") };
    assert!(!imported.is_wrong(), "{imported:?}");
    assert_eq!(imported.key, bench.folder.path().join("contoso.key.new"));
    imported.store().unwrap();
    assert_eq!(bench.has("contoso.pem.new"), issued.pem());
    assert!(!bench.folder.path().join("contoso.pem").exists(), "it is in use without being assigned");
}

#[test]
fn what_an_acme_client_brings_takes_the_place_of_control_only_with_all_names_of_the_one_there() {
    let mut bench = Bench::new();
    let control = "[control]\nlisten = \"127.0.0.1:8443\"\ntokens = \"pki/tokens\"\ncertificate = \"pki/control.pem\"\n\
                   key = \"pki/control.key\"\n";
    let path = bench.folder.path().to_owned();
    bench.config = config(&path, &[], &control.replace("pki/", &format!("{}/", path.display())));
    let both = bench.root.server(&["contoso.com", "admin.contoso.com"]);
    let places_of = |bench: &Bench, wanted| -> Vec<String> {
        let imported = bench.import_with(both.pem().as_bytes(), wanted, Some(&both)).unwrap();
        let file = |imported: &Imported| {
            imported.place.certificate.file_name().unwrap().to_string_lossy().into_owned()
        };
        imported.iter().map(file).collect()
    };
    assert_eq!(places_of(&bench, None), ["contoso.pem"], "nothing is known of the other");
    assert_eq!(places_of(&bench, Some("control")), ["control.pem"]);
    bench.put("control.pem", &bench.root.server(&["admin.litware.com"]).pem());
    assert_eq!(places_of(&bench, None), ["contoso.pem"], "it has another name");
    bench.put("control.pem", &bench.root.server(&["admin.contoso.com"]).pem());
    assert_eq!(places_of(&bench, None), ["contoso.pem", "control.pem"]);
}

#[test]
fn what_a_public_ca_signed_does_not_take_the_place_of_what_front_ends_believe_by_itself() {
    let bench = Bench::new();
    let names = ["contoso.com", "nuncio.contoso.com"];
    bench.put("sip.pem", &bench.root.server(&["nuncio.contoso.com"]).pem());
    let places_of = |issued: &Issued, wanted| -> Vec<String> {
        let imported = bench.import_with(issued.pem().as_bytes(), wanted, Some(issued)).unwrap();
        imported.iter().map(|imported| imported.place.called()).collect()
    };
    let public = Ca::new("Public").server(&names);
    assert_eq!(places_of(&public, None), ["--for contoso.com"]);
    assert_eq!(places_of(&public, Some("sip")).len(), 1, "somebody says so");
    assert_eq!(places_of(&bench.root.server(&names), None).len(), 2, "they believe this one as well");
}

#[test]
fn a_chain_is_put_in_order_and_freed_of_what_does_not_belong() {
    let bench = Bench::new();
    let (outer, stranger) = (bench.root.intermediate("Outer"), Ca::new("Stranger"));
    let inner = outer.intermediate("Inner");
    let issued = inner.server(&["contoso.com"]);
    bench.put("contoso.key", &issued.key_pem());
    let shuffled = both(&bench.root.server(&["else.example"]), &[&bench.root, &outer, &stranger])
        + &both(&issued, &[&inner]);
    let imported = bench.import(shuffled.as_bytes(), None).unwrap().remove(0);
    assert_eq!(imported.chain, both(&issued, &[&inner, &outer]));
    let notes = texts(&imported, Level::Note).join("\n");
    for said in [
        "not in order",
        "the root “CN=Root” is left out",
        "“CN=Stranger” does not belong",
        "“CN=server” does not",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    let in_order = bench.import(both(&issued, &[&inner, &outer]).as_bytes(), None).unwrap().remove(0);
    assert!(!texts(&in_order, Level::Note).join("").contains("order"), "{in_order:?}");
}

#[test]
fn an_issuer_that_only_has_the_name_of_the_issuer_does_not_count() {
    let bench = Bench::new();
    let (real, namesake) = (bench.root.intermediate("Between"), Ca::new("Other").intermediate("Between"));
    let issued = real.server(&["contoso.com"]);
    bench.put("contoso.key", &issued.key_pem());
    let imported = bench.import(both(&issued, &[&namesake, &real]).as_bytes(), None).unwrap().remove(0);
    assert_eq!(imported.chain, both(&issued, &[&real]));
}

#[test]
fn an_issuer_that_was_not_brought_is_taken_from_the_file_in_use() {
    let bench = Bench::new();
    let between = bench.root.intermediate("Between");
    let (before, after) = (between.server(&["contoso.com"]), between.server(&["contoso.com"]));
    bench.put("contoso.pem", &both(&before, &[&between]));
    bench.put("contoso.key.new", &after.key_pem());
    let imported = bench.import(after.pem().as_bytes(), None).unwrap().remove(0);
    assert_eq!(imported.chain, both(&after, &[&between]));
    assert!(texts(&imported, Level::Note).iter().any(|text| text.contains("taken from the file in use")));
}

/// An intermediate certificate that is missing is refused, whoever's it is: with it, or with the root of a CA of one's own, it
/// is not.
#[test]
fn a_chain_that_stops_short_of_a_root_is_refused_and_says_what_is_missing() {
    let bench = Bench::new();
    let public = Ca::new("Public Root");
    let between = public.intermediate("Between");
    let issued = between.issue("x", |params| {
        san(params, &[San::Dns("contoso.com")]);
        // AuthorityInfoAccess with caIssuers.
        let (method, url) =
            (der(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 2]]), der(0x86, &[b"http://ca.example/between.crt"]));
        let access = der(0x30, &[&der(0x30, &[&method, &url])]);
        params
            .custom_extensions
            .push(rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access));
    });
    bench.put("contoso.key", &issued.key_pem());
    let alone = bench.import(issued.pem().as_bytes(), None).unwrap().remove(0);
    assert!(alone.is_wrong(), "{alone:?}");
    let wrong = alone.findings.iter().find(|finding| finding.level == Level::Wrong).unwrap();
    assert!(wrong.text.contains("“CN=Between”") && wrong.text.contains("intermediate"), "{wrong:?}");
    let fix = wrong.fix.as_deref().unwrap();
    assert!(fix.contains("http://ca.example/between.crt") && fix.contains("INTERMEDIATE"), "{fix}");
    // With that, the next one up is missing: nobody here knows the root.
    let longer = bench.import(both(&issued, &[&between]).as_bytes(), None).unwrap().remove(0);
    assert!(texts(&longer, Level::Wrong)[0].contains("“CN=Public Root”"), "{longer:?}");
    let whole = bench.import(both(&issued, &[&between, &public]).as_bytes(), None).unwrap().remove(0);
    assert!(!whole.is_wrong(), "{whole:?}");
    assert_eq!(whole.chain, both(&issued, &[&between]), "a root is not sent");
    // One's own CA, which signs without anything in between; its renewal need not bring the root again.
    let own = Ca::new("Own").server(&["contoso.com"]);
    let own_root = Ca::new("Own too");
    bench.put("contoso.key", &own.key_pem());
    assert!(bench.import(own.pem().as_bytes(), None).unwrap().remove(0).is_wrong());
    let own = own_root.server(&["contoso.com"]);
    bench.put("contoso.key", &own.key_pem());
    let imported = bench.import(both(&own, &[&own_root]).as_bytes(), None).unwrap().remove(0);
    assert!(!imported.is_wrong(), "{imported:?}");
    bench.put("contoso.pem", &own.pem());
    assert!(!bench.import(own.pem().as_bytes(), None).unwrap().remove(0).is_wrong());
    // And that of front ends is known.
    let known = bench.root.server(&["contoso.com"]);
    bench.put("contoso.key", &known.key_pem());
    assert!(!bench.import(known.pem().as_bytes(), None).unwrap().remove(0).is_wrong());
}

#[test]
fn of_a_whole_systems_roots_that_were_brought_only_some_are_named() {
    let bench = Bench::new();
    let issued = bench.root.server(&["contoso.com"]);
    bench.put("contoso.key", &issued.key_pem());
    let strangers: String = (0..9).map(|number| Ca::new(&format!("Stranger {number}")).pem()).collect();
    let imported = bench.import((issued.pem() + &strangers).as_bytes(), None).unwrap().remove(0);
    let notes = texts(&imported, Level::Note);
    assert_eq!(notes.iter().filter(|note| note.contains("“CN=Stranger")).count(), 5, "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("4 more do not belong")), "{notes:?}");
}

/// After an undo the key of the newest certificate is the one that was in use before.
#[test]
fn a_certificate_for_the_key_that_was_undone_finds_it_and_brings_it_back() {
    let bench = Bench::new();
    let (first, second) = (bench.root.server(&["contoso.com"]), bench.root.server(&["contoso.com"]));
    bench.put("contoso.pem", &first.pem());
    bench.put("contoso.key", &first.key_pem());
    bench.put("contoso.key.new", &second.key_pem());
    let places = places(&bench.config);
    let place = select(&places, &["contoso.com".to_owned()]).unwrap()[0];
    let takes_in = |pem: &str| {
        bench.import(pem.as_bytes(), None).unwrap().remove(0).store().unwrap();
        super::super::assign(&bench.config, place, false, now()).unwrap();
    };
    takes_in(&second.pem());
    let undone = super::super::undo(place).unwrap();
    assert_eq!(undone.serial, first.facts().serial);
    assert_eq!(undone.replaced, Some(second.facts().serial));
    takes_in(&second.pem());
    assert_eq!((bench.has("contoso.pem"), bench.has("contoso.key")), (second.pem(), second.key_pem()));
    assert_eq!(bench.has("contoso.key.old"), first.key_pem());
}

#[test]
fn der_is_taken_as_well() {
    let bench = Bench::new();
    let issued = bench.root.server(&["contoso.com"]);
    bench.put("contoso.key", &issued.key_pem());
    let imported = bench.import(&issued.chain[0], None).unwrap().remove(0);
    assert_eq!(imported.chain, issued.pem());
}

#[test]
fn a_certificate_for_a_key_that_is_not_here_is_refused_with_the_keys_that_are() {
    let bench = Bench::new();
    bench.put("contoso.key", &KeyPair::generate().unwrap().serialize_pem());
    let error = bench.import(bench.root.server(&["contoso.com"]).pem().as_bytes(), None).unwrap_err();
    let ImportError::NoKey { certificates, keys, kept } = &error else { panic!("{error}") };
    assert_eq!(certificates, &["contoso.com"]);
    assert_eq!(keys, &[bench.folder.path().join("contoso.key").display().to_string()]);
    assert!(kept.is_empty() && error.to_string().contains("the last one that"), "{error}");
}

#[test]
fn a_certificate_for_a_key_that_gave_way_is_refused_with_where_that_is_kept() {
    let bench = Bench::new();
    let issued = bench.root.server(&["contoso.com"]);
    bench.put("contoso.key.new", &KeyPair::generate().unwrap().serialize_pem());
    bench.put("contoso.key.new.kept-1", &KeyPair::generate().unwrap().serialize_pem());
    bench.put("contoso.key.new.kept-2", &issued.key_pem());
    let error = bench.import(issued.pem().as_bytes(), None).unwrap_err().to_string();
    assert!(error.contains("--key") && error.contains("contoso.key.new.kept-2"), "{error}");
    assert!(!error.contains("kept-1"), "{error}");
}

#[test]
fn what_peers_would_refuse_is_wrong_and_says_why() {
    let bench = Bench::new();
    for (issued, said) in [
        (bench.root.server(&["litware.com"]), "it is not for contoso.com"),
        (
            bench.root.issue("x", |params| {
                san(params, &[San::Dns("contoso.com")]);
                eku(params, &[ExtendedKeyUsagePurpose::ClientAuth]);
            }),
            "serverAuth",
        ),
        (
            bench.root.issue("x", |params| {
                san(params, &[San::Dns("contoso.com")]);
                crate::tls::testing::validity(params, 2020, 2025);
            }),
            "it expired on 2025-01-01",
        ),
        (
            bench.root.issue("x", |params| {
                san(params, &[San::Dns("contoso.com")]);
                params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
            }),
            "lacks digitalSignature",
        ),
    ] {
        bench.put("contoso.key", &issued.key_pem());
        let imported = bench.import(issued.pem().as_bytes(), None).unwrap().remove(0);
        assert!(imported.is_wrong(), "{said}");
        let wrong = texts(&imported, Level::Wrong).join("\n");
        assert!(wrong.contains(said), "{said}: {wrong}");
    }
}

#[test]
fn whose_software_will_refuse_it_is_said_of_one_that_is_good() {
    let bench = Bench::new();
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let issued = bench.root.issue("x", |params| change(params));
        bench.put("contoso.key", &issued.key_pem());
        bench.import(issued.pem().as_bytes(), None).unwrap().remove(0)
    };
    let imported = with(&|params| {
        san(params, &[San::Dns("contoso.com")]);
        eku(params, &[ExtendedKeyUsagePurpose::ServerAuth]);
    });
    assert!(texts(&imported, Level::Note).iter().any(|text| text.contains("ejabberd before 25.08")));
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let imported = with(&|params| {
        san(params, &[San::Dns("contoso.com")]);
        eku(params, &both);
    });
    assert!(!texts(&imported, Level::Note).iter().any(|text| text.contains("ejabberd")), "{imported:?}");
    let imported = with(&|params| san(params, &[San::XmppAddr("contoso.com")]));
    assert!(
        texts(&imported, Level::Warning).iter().any(|text| text.contains("XmppAddr only")),
        "{imported:?}"
    );
    let imported = with(&|params| {
        san(params, &[San::Dns("contoso.com")]);
        // TLS feature: status_request.
        let content = der(0x30, &[&[0x02, 0x01, 0x05]]);
        let staple = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], content);
        params.custom_extensions.push(staple);
    });
    assert!(texts(&imported, Level::Warning).iter().any(|text| text.contains("must staple")), "{imported:?}");
}

#[test]
fn a_key_from_elsewhere_comes_with_its_certificate_and_is_private() {
    use std::os::unix::fs::MetadataExt as _;
    let bench = Bench::new();
    let issued = bench.root.server(&["contoso.com"]);
    let imported = bench.import_with(issued.pem().as_bytes(), None, Some(&issued)).unwrap();
    let [imported] = imported.as_slice() else { panic!("it is not for front ends: {imported:?}") };
    imported.store().unwrap();
    assert_eq!(bench.has("contoso.key.new"), issued.key_pem());
    let mode = fs::metadata(bench.folder.path().join("contoso.key.new")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stranger = bench.root.server(&["else.example"]);
    let refused = bench.import_with(stranger.pem().as_bytes(), None, Some(&stranger));
    assert!(matches!(refused, Err(ImportError::NoPlace)), "{refused:?}");
    let named = bench.import_with(stranger.pem().as_bytes(), Some("xmpp"), Some(&stranger)).unwrap();
    assert!(named[0].is_wrong(), "it is said why");
}

#[test]
fn what_cannot_be_used_says_what_it_is_and_what_to_do() {
    let bench = Bench::new();
    let short = include_str!("../../tls/identity/samples/rsa1024.key");
    bench.put("contoso.key", short);
    let issued = bench.root.server(&["contoso.com"]);
    let error = bench.import(issued.pem().as_bytes(), None).unwrap_err().to_string();
    assert!(error.contains("an RSA key of 1024 bits is too short"), "{error}");
    let places = places(&bench.config);
    let given = Some((PathBuf::from("given.key"), short.as_bytes().to_vec()));
    let texts = [("brought.pem".into(), issued.pem().into_bytes())];
    let keys = Keys { given, named: false };
    let error = import(&bench.config, &[&places[1]], &texts, &keys, now()).unwrap_err().to_string();
    assert!(error.contains("given.key is unusable: an RSA key of 1024 bits is too short"), "{error}");

    let der = b"\x30\x82\x05\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0";
    let pem: &[u8] = b"-----BEGIN PKCS7-----\nMIIFAA==\n-----END PKCS7-----\n";
    for (bundle, form) in [(&der[..], "-inform DER"), (pem, "-inform PEM")] {
        let error = bench.import(bundle, None).unwrap_err().to_string();
        assert!(error.contains("PKCS #7 (.p7b)") && error.contains(form), "{error}");
    }
}

#[test]
fn nothing_that_is_shown_of_an_import_has_the_key() {
    let bench = Bench::new();
    let issued = bench.root.server(&["contoso.com"]);
    let imported = bench.import_with(issued.pem().as_bytes(), Some("xmpp"), Some(&issued)).unwrap();
    let secret = issued.key_pem();
    let line = secret.lines().nth(1).unwrap();
    let json = serde_json::to_string(&imported).unwrap();
    assert!(json.contains("\"level\":\"good\""), "{json}");
    assert!(!json.contains(line) && !format!("{imported:?}").contains(line));
    assert!(!format!("{imported:?}").contains(&format!("{:?}", secret.as_bytes())));
}
