//! `nuncio cert`

mod through;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use axum::http::Method;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::json;

use super::ConfigOption;
use super::client::{Failed, Gateway, WhoArguments, done_here, end, unusable};
use super::report::{findings_text, report_text, say, say_json};
use crate::certs::{self, Assigned, KeyKind, Keys, Live, Name, Place, Prepared, Subject, Wish};
use crate::checks::{self, Checked, Report, What};
use crate::config::{Config, Domain, HANDED_OVER_FROM};

#[derive(Debug, Subcommand)]
pub(super) enum Cert {
    /// Make a key and a signing request for it, with the names that the configuration asks for
    #[command(long_about = REQUEST_ABOUT)]
    Request(RequestArguments),
    /// Show certificates and requests: those in these files, or those of the configuration
    Show {
        /// PEM, or one certificate or request in DER
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// For programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        who: WhoArguments,
        #[command(flatten)]
        config: ConfigOption,
    },
    /// Check what the CA sent, and keep it ready beside the place where it will be used
    #[command(long_about = IMPORT_ABOUT)]
    Import(ImportArguments),
    /// Put in use what was imported, or back in use what was there before
    #[command(long_about = ASSIGN_ABOUT)]
    Assign(AssignArguments),
    /// Check the certificates in use, and tell what waits beside them (the same as "nuncio check certs")
    Check {
        /// For programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigOption,
    },
}

impl Cert {
    fn is_json(&self) -> bool {
        match self {
            Self::Show { json, .. } | Self::Check { json, .. } => *json,
            Self::Request(arguments) => arguments.json,
            Self::Import(arguments) => arguments.json,
            Self::Assign(arguments) => arguments.json,
        }
    }
}

#[derive(Debug, Args)]
struct Chosen {
    /// Which certificate: one of the names that it has to carry, its file, "sip", "xmpp", "control" or "all". It may be left
    /// out if the configuration has only one, and when importing
    #[arg(long = "for", value_name = "WHICH")]
    wanted: Vec<String>,
    #[command(flatten)]
    who: WhoArguments,
    #[command(flatten)]
    config: ConfigOption,
}

#[derive(Debug, Args)]
pub(super) struct RequestArguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Kind of the new key
    #[arg(long, value_name = "KIND", default_value = "rsa2048",
        value_parser = PossibleValuesParser::new(KeyKind::ALL.map(|(word, _)| word)))]
    key_type: String,
    /// Keep the key in use: partners may have pinned it
    #[arg(long, conflicts_with = "key_type")]
    keep_key: bool,
    /// Organisation
    #[arg(long, value_name = "TEXT")]
    organisation: Option<String>,
    /// Part of the organisation
    #[arg(long, value_name = "TEXT")]
    unit: Option<String>,
    /// City
    #[arg(long, value_name = "TEXT")]
    locality: Option<String>,
    /// State or province
    #[arg(long, value_name = "TEXT")]
    state: Option<String>,
    /// Country, two letters
    #[arg(long, value_name = "CODE")]
    country: Option<String>,
    /// One more name to ask for; may be given again
    #[arg(long, value_name = "NAME", value_parser = domain)]
    name: Vec<Domain>,
    /// A name not to ask for, if it is only customary, such as sip.contoso.com; may be given again
    #[arg(long, value_name = "NAME", value_parser = domain)]
    leave_out: Vec<Domain>,
    /// Ask for SRVName and XmppAddr of each XMPP domain as well. For a CA of your own: public ones do not issue them
    #[arg(long)]
    xmpp_names: bool,
    /// Make a new key and request even if one is waiting for its certificate. The key that waits is kept beside the new one
    #[arg(long)]
    replace: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// The certificate and those between it and the root, PEM or DER, in one file or several, in any order. A root that this
    /// machine does not know, that of a CA of your own, is named as well
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The private key, if it was not made here: PEM without passphrase. It is copied
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Take it although another key waits there for the certificate that a CA is signing; that one is kept beside it
    #[arg(long, requires = "key")]
    replace_key: bool,
    /// Put it in use at once
    #[arg(long)]
    assign: bool,
    /// Take it although peers will refuse it
    #[arg(long)]
    anyway: bool,
    /// Do not wait until the gateway shows it
    #[arg(long, requires = "assign")]
    no_wait: bool,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    chosen: Chosen,
}

#[derive(Debug, Args)]
pub(super) struct AssignArguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Put back what was in use before; a second time takes that back
    #[arg(long)]
    undo: bool,
    /// Put it in use although peers will refuse it
    #[arg(long, conflicts_with = "undo")]
    anyway: bool,
    /// Do not wait until the gateway shows it
    #[arg(long)]
    no_wait: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::new(text).map_err(|error| error.to_string())
}

pub(super) fn run(verb: &Cert, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let of = match verb {
        Cert::Show { files, json, .. } if !files.is_empty() => return show(files, *json),
        Cert::Show { config, .. } | Cert::Check { config, .. } => config,
        Cert::Request(arguments) => &arguments.chosen.config,
        Cert::Import(arguments) => &arguments.chosen.config,
        Cert::Assign(arguments) => &arguments.chosen.config,
    };
    let who = match verb {
        Cert::Check { .. } => None,
        Cert::Show { who, .. } => Some(who),
        Cert::Request(arguments) => Some(&arguments.chosen.who),
        Cert::Import(arguments) => Some(&arguments.chosen.who),
        Cert::Assign(arguments) => Some(&arguments.chosen.who),
    };
    let gateway = who.and_then(|who| who.gateway(&of.config, &environment));
    if let Some(gateway) = &gateway {
        match through::run(verb, gateway) {
            Ok(Ok(done)) => return done,
            Ok(Err(why)) => done_here(&why),
            Err(failed) => return end(Err(failed.in_json(verb.is_json()))),
        }
    }
    let config = match of.load(environment) {
        Ok(config) => config,
        Err(report) => return unusable(&report, verb.is_json()),
    };
    if let Some(why) = unknown_origin(verb, &config) {
        return end(Err(Failed::new(why).in_json(verb.is_json())));
    }
    let done = match verb {
        Cert::Show { json, .. } => {
            let files: Vec<_> = certs::places(&config).into_iter().map(|place| place.certificate).collect();
            return show(&files, *json);
        }
        Cert::Check { json, .. } => return check(&config, *json),
        Cert::Request(arguments) => request(&config, arguments),
        Cert::Import(arguments) => import(&config, arguments, gateway.as_ref()),
        Cert::Assign(arguments) => assign(&config, arguments, gateway.as_ref()),
    };
    done.unwrap_or_else(|why| end(Err(Failed::new(why).in_json(verb.is_json()))))
}

/// Of a key that systemd hands over only its unit knows what it is a copy of, unless it is the unit of the package.
fn unknown_origin(verb: &Cert, config: &Config) -> Option<String> {
    if matches!(verb, Cert::Show { .. } | Cert::Check { .. }) {
        return None;
    }
    let mut places = certs::places(config).into_iter();
    let unknown = places.find(|place| place.key.starts_with("${CREDENTIALS_DIRECTORY}"))?;
    Some(format!(
        "{} is a copy that systemd makes at the start, and which file it is made of cannot be told from here: LoadCredential= of \
         the unit says it. Name that folder, in which the file has to be called as in the configuration: \
         CREDENTIALS_DIRECTORY=FOLDER nuncio cert …. Keys in {HANDED_OVER_FROM} are found without, as \
         ${{CREDENTIALS_DIRECTORY}}/keys_FILE",
        unknown.key.display()
    ))
}

/// What went wrong, in a sentence.
type Done = Result<ExitCode, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn request(config: &Config, arguments: &RequestArguments) -> Done {
    let RequestArguments { organisation, unit, locality, state, country, .. } = arguments;
    let (organisation, unit, locality) = (organisation.clone(), unit.clone(), locality.clone());
    let kind = KeyKind::ALL.iter().find(|(word, _)| *word == arguments.key_type);
    let kind = kind.map_or_else(KeyKind::default, |(_, kind)| *kind);
    let wish = Wish {
        which: arguments.chosen.wanted.clone(),
        key: (!arguments.keep_key).then_some(kind),
        subject: Subject { organisation, unit, locality, state: state.clone(), country: country.clone() },
        more: arguments.name.clone(),
        leave_out: arguments.leave_out.clone(),
        xmpp_names: arguments.xmpp_names,
        replace: arguments.replace,
    };
    let (made, names) = certs::ask(config, &wish).map_err(text)?;
    if arguments.json {
        return Ok(say_json(&json!({
            "request": made.pem, "file": made.file, "keys": made.keys, "kept": made.kept, "names": names,
        })));
    }
    let key = (!arguments.keep_key).then(|| kind.to_string());
    Ok(say(&asked(&made, &names, key.as_deref())))
}

/// A request that was made, and what comes next; `key`: the kind of the new one.
fn asked(made: &Prepared, names: &[Name], key: Option<&str>) -> String {
    let mut out = String::from("The certificate is asked for these names:\n\n");
    for name in names {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {:<32} {}", name.name, name.why);
    }
    match made.keys.as_slice() {
        [] => out.push_str("\nThe key is the one in use.\n"),
        keys => {
            let keys: Vec<_> = keys.iter().map(|file| file.display().to_string()).collect();
            let _ = writeln!(
                out,
                "\nA new key ({}) is in {}, for its owner only.",
                key.unwrap_or_default(),
                keys.join(" and ")
            );
        }
    }
    out.push_str(&kept(&made.kept));
    let _ = writeln!(
        out,
        "The request is in {file}; it is no secret:\n\n{pem}\nHave it signed. Then: nuncio cert import --assign FILE, with what \
         the CA sends. Until then nothing changes.",
        file = made.file.display(),
        pem = made.pem
    );
    out
}

fn show(files: &[PathBuf], json: bool) -> ExitCode {
    let (mut shown, mut out, mut failed) = (Vec::new(), String::new(), false);
    for file in files {
        let items = std::fs::read(file).map_err(text).and_then(|content| certs::show(&content).map_err(text));
        match items {
            Ok(items) => {
                let _ = writeln!(out, "{}", file.display());
                items.iter().for_each(|item| {
                    let _ = writeln!(out, "{item}");
                });
                shown.push(json!({ "file": file, "items": items }));
            }
            Err(error) => {
                failed = true;
                eprintln!("nuncio: {}: {error}", file.display());
            }
        }
    }
    let done = if json { say_json(&shown) } else { say(&format!("{}\n", out.trim_end())) };
    if failed { ExitCode::FAILURE } else { done }
}

fn import(config: &Config, arguments: &ImportArguments, gateway: Option<&Gateway>) -> Done {
    let read = |file: &PathBuf| {
        let content = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok::<_, String>((file.clone(), content))
    };
    let texts: Vec<_> = arguments.files.iter().map(read).collect::<Result<_, _>>()?;
    let keys = Keys {
        given: arguments.key.as_ref().map(read).transpose()?,
        named: !arguments.chosen.wanted.is_empty(),
    };
    let places = certs::places(config);
    let wanted = match arguments.chosen.wanted.as_slice() {
        [] => vec!["all".to_owned()],
        wanted => wanted.to_vec(),
    };
    let chosen = certs::select(&places, &wanted).map_err(text)?;
    let imported = certs::import(config, &chosen, &texts, &keys, SystemTime::now()).map_err(text)?;
    let wrong = imported.iter().any(certs::Imported::is_wrong);
    let taken = arguments.anyway || !wrong;
    let put_by = match taken {
        true => certs::store(&imported, arguments.replace_key).map_err(text)?,
        false => Vec::new(),
    };
    if !arguments.json {
        for imported in &imported {
            let place = &imported.place;
            say(&format!("For {}:\n{}\n", place.certificate.display(), findings_text(&imported.findings, 0)));
        }
        say(&kept(&put_by));
    }
    if !taken {
        let why = "it is not taken: peers would refuse it. Mend it as said above, or take it all the same with --anyway";
        if arguments.json {
            eprintln!("nuncio: {why}");
            say_json(&json!({ "imported": imported, "taken": false }));
            return Ok(ExitCode::FAILURE);
        }
        return Err(why.to_owned());
    }
    let mut assigned = Vec::new();
    if arguments.assign {
        for imported in &imported {
            let done = certs::assign(config, &imported.place, arguments.anyway, SystemTime::now());
            assigned.push(done.map_err(text)?);
        }
        tell_gateway(gateway);
    }
    let live = if arguments.no_wait { Vec::new() } else { wait(config, &assigned)? };
    if arguments.json {
        say_json(&json!({
            "imported": imported, "taken": true, "kept": put_by, "assigned": assigned, "live": live,
        }));
    } else if arguments.assign {
        tell(&assigned, &live);
    } else {
        say("It is kept ready. To put it in use: nuncio cert assign\n");
    }
    Ok(verdict(&live))
}

/// Which keys gave way.
fn kept(files: &[PathBuf]) -> String {
    let line = |file: &PathBuf| {
        format!(
            "The key that waited there for its certificate is kept as {file}. When that certificate comes: nuncio cert import CERT \
             --key {file} (and --replace-key, if another key waits there then).\n",
            file = file.display()
        )
    };
    files.iter().map(line).collect()
}

fn assign(config: &Config, arguments: &AssignArguments, gateway: Option<&Gateway>) -> Done {
    let places = certs::places(config);
    let chosen = certs::ready(&places, &arguments.chosen.wanted, arguments.undo).map_err(text)?;
    let one = |place: &&Place| match arguments.undo {
        true => certs::undo(place),
        false => certs::assign(config, place, arguments.anyway, SystemTime::now()),
    };
    let assigned: Vec<Assigned> = chosen.iter().map(one).collect::<Result<_, _>>().map_err(text)?;
    tell_gateway(gateway);
    let live = if arguments.no_wait { Vec::new() } else { wait(config, &assigned)? };
    match arguments.json {
        true => say_json(&json!({ "assigned": assigned, "live": live })),
        false => tell(&assigned, &live),
    };
    Ok(verdict(&live))
}

/// A gateway that may not write the files itself may run all the same, and need not find out by itself. If none does, or does not
/// listen to whoever asks, it does, within limits.file_check.
fn tell_gateway(gateway: Option<&Gateway>) {
    if let Some(gateway) = gateway {
        let _ = gateway.ask(Method::POST, "/v1/certificates/look", None);
    }
}

fn tell(assigned: &[Assigned], live: &[Live]) -> ExitCode {
    let mut out = String::new();
    for Assigned { place, serial, not_after, undo, .. } in assigned {
        out.push_str(&in_place(&place.certificate.display().to_string(), serial, not_after, *undo));
    }
    for live in live {
        let _ = writeln!(out, "{}", live.text);
    }
    say(&out)
}

fn in_place(file: &str, serial: &str, not_after: &str, undo: bool) -> String {
    let undo = match undo {
        true => "What was there before is kept: nuncio cert assign --undo brings it back.\n",
        false => "",
    };
    format!("{file}: in its place, serial {serial}, valid until {not_after}.\n{undo}")
}

fn verdict(live: &[Live]) -> ExitCode {
    if live.iter().any(|live| live.shown == Some(false)) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Waits until the gateway, if it runs here, shows what is in its place.
fn wait(config: &Config, assigned: &[Assigned]) -> Result<Vec<Live>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    Ok(runtime.block_on(certs::live(config, assigned)))
}

fn check(config: &Config, json: bool) -> ExitCode {
    let findings = [checks::certificates(config, SystemTime::now()), checks::keys(config)].concat();
    let report = Report::new(vec![Checked { check: What::Certs, findings }]);
    let waiting: Vec<_> = certs::waiting(&certs::places(config))
        .into_iter()
        .filter(|waiting| waiting.key || waiting.certificate)
        .collect();
    let done = if json {
        // In the form of “nuncio check certs”, with more.
        let mut told = json!(report);
        if let Some(told) = told.as_object_mut() {
            told.insert("waiting".to_owned(), json!(waiting));
        }
        say_json(&told)
    } else {
        let mut out = report_text(&report);
        for waiting in &waiting {
            let file = waiting.place.certificate.display();
            let _ = match waiting.certificate {
                true => writeln!(
                    out,
                    "\nA certificate for {file} was imported and is not in use: nuncio cert assign"
                ),
                false => {
                    writeln!(out, "\nA request for {file} waits for its certificate: nuncio cert import FILE")
                }
            };
        }
        say(&out)
    };
    if report.is_wrong() { ExitCode::FAILURE } else { done }
}

pub(super) const ABOUT: &str = "\
Make signing requests, and put signed certificates in use.

The configuration names the files of each certificate and its key; these commands write beside them, and into them only when \
told to. A gateway that runs does it itself, for members of control.admin_group; standard error says whether it did. All work \
while none runs, too, and before the first certificate exists: then, with --here and with --config, run them as a user who may \
write where the configuration names the files; what is written belongs to the owner of what it replaces.";

pub(super) const EXAMPLES: &str = "\
Examples:
  nuncio cert request --for xmpp --organisation \"Contoso Ltd\" --country GB
  nuncio cert show /etc/nuncio/contoso.pem.csr
  nuncio cert import contoso.crt intermediate.crt
  nuncio cert assign
  nuncio cert assign --undo
  nuncio cert import --assign --key privkey.pem fullchain.pem    (the hook of an ACME client)

Exit codes: 0 done; 1 refused, or not done; 2 the command line is wrong.";

const REQUEST_ABOUT: &str = "\
Make a key and a signing request for it, with the names that the configuration asks for.

Asked for are, as DNS names in A-labels: for the SIP side the name by which front ends call the gateway, those of \
[[sip.identity]], and sip.DOMAIN of each domain; for the XMPP side the domains and the hosts that partners connect to; for \
administration over TCP what --name says. No wildcards, for they count for nothing on the SIP side, and no SIP URIs, for a \
certificate that has one speaks for nothing else there. SRVName and XmppAddr (--xmpp-names) add nothing for partners who \
look at DNS names, which is all of them; with a CA of your own they tie the certificate to XMPP.

The key goes to FILE.new beside the key of the configuration, for its owner only, and is never shown; the request goes to \
FILE.csr beside the certificate and to standard output. What is in use stays in use.";

const IMPORT_ABOUT: &str = "\
Check what the CA sent, and keep it ready beside the place where it will be used.

It finds the place by the key: the one that the last request made, or the one in use. The chain is put in order, and what does \
not belong to it is left out; missing intermediates are taken from the file in use if they are there. Checked are the names \
for everything that it has to serve for, validity, usages, key and signatures, and the chain up to a root; it says whose \
software will refuse it. What peers would refuse is not taken. Nor is a chain that stops short of a root of this machine, \
of sip.roots, of xmpp.roots or among the files: it lacks an intermediate certificate, which is named. The root of a CA of \
your own is given as one more file, and not sent.";

const ASSIGN_ABOUT: &str = "\
Put in use what was imported, or back in use what was there before.

Each file is replaced at once. A gateway that runs takes it up at once if it can be told, or else within limits.file_check \
(10s): new connections are shown it, \
those that exist go on. The command waits until its listeners show it, and says so; the exit code is 1 if they do not.";
