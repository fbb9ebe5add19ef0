//! `nuncio store`

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use nuncio_translate::pair::PairKey;
use nuncio_xmpp::{BareJid, Domain};

use super::{ConfigArguments, complain, load};
use crate::net::now;
use crate::store::{self, Fault, Forgotten, Shown, StoreError, Table};

#[derive(Debug, Args)]
pub(super) struct StoreArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    config: ConfigArguments,
    /// The state directory; then no configuration is read
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["config", "files"])]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read everything and say whether it is whole; the exit code is 1 if not
    Check {
        #[command(flatten)]
        place: Place,
    },
    /// Write a copy to a file that does not exist yet
    #[command(long_about = BACKUP_ABOUT)]
    Backup {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Take back that a SIP user has added a contact, while the gateway is stopped
    #[command(long_about = FORGET_ABOUT)]
    ForgetConsent {
        /// The SIP user, as "store show" has it: alice@contoso.com
        user: String,
        /// The contact: bob@fabrikam.com
        contact: String,
        #[command(flatten)]
        place: Place,
    },
    /// Take a partner with dialback alone again, who had proved his domain by certificate
    #[command(long_about = ALLOW_ABOUT)]
    AllowDialback {
        #[arg(value_name = "DOMAIN")]
        domain: String,
        #[command(flatten)]
        place: Place,
    },
    /// Show what is in it; secrets are never shown
    Show {
        /// "pairs" (who added whom, who watches whom, the SIP dialogs; this unless said), "pending" (messages of contacts
        /// that wait for a user to answer an invitation, without what they say) or "audit" (who changed what, the latest
        /// first)
        #[arg(value_parser = What::parse)]
        what: Option<What>,
        /// One JSON object per line, times in seconds of Unix time
        #[arg(long)]
        json: bool,
        /// Only what has TEXT in one of its addresses
        #[arg(long, value_name = "TEXT")]
        with: Option<String>,
        /// At most so many
        #[arg(long, value_name = "NUMBER")]
        most: Option<usize>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Clone)]
enum What {
    Pairs,
    Pending,
    Audit,
    /// The first configuration file: nothing was said of what to show.
    File(PathBuf),
}

impl What {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "pairs" | "pair" => Ok(Self::Pairs),
            "pending" => Ok(Self::Pending),
            "audit" => Ok(Self::Audit),
            file if file.contains(['/', '.']) => Ok(Self::File(file.into())),
            _ => Err("it is neither \"pairs\", \"pending\" nor \"audit\", nor the name of a file".to_owned()),
        }
    }
}

pub(super) fn run(arguments: &StoreArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let (Verb::Check { place }
    | Verb::Backup { place, .. }
    | Verb::ForgetConsent { place, .. }
    | Verb::AllowDialback { place, .. }
    | Verb::Show { place, .. }) = &arguments.verb;
    let mut config = place.config.clone();
    if let Verb::Show { what: Some(What::File(file)), .. } = &arguments.verb {
        if place.state_dir.is_some() || !config.config.is_empty() {
            eprintln!("nuncio: {} is one place too many to look for the state directory", file.display());
            return ExitCode::from(2);
        }
        config.files.insert(0, file.clone());
    }
    let state_dir = match &place.state_dir {
        Some(folder) => folder.clone(),
        None => match load(&config.sources(environment)) {
            Ok((config, _)) => config.node.state_dir,
            Err(report) => {
                complain(&report);
                eprintln!("With --state-dir FOLDER this command needs no configuration.");
                return ExitCode::FAILURE;
            }
        },
    };
    let done = match &arguments.verb {
        Verb::Check { .. } => check(&state_dir),
        Verb::Backup { file, .. } => backup(&state_dir, file),
        Verb::ForgetConsent { user, contact, .. } => forget_consent(&state_dir, user, contact),
        Verb::AllowDialback { domain, .. } => allow_dialback(&state_dir, domain),
        Verb::Show { what, json, with, most, .. } => {
            let table = match what {
                Some(What::Audit) => Table::Audit,
                Some(What::Pending) => Table::Pending,
                Some(What::Pairs | What::File(_)) | None => Table::Pairs,
            };
            let most = most.unwrap_or(usize::MAX);
            show(&state_dir, Shown { table, json: *json, with: with.as_deref(), most })
        }
    };
    done.unwrap_or_else(|error| {
        match (&arguments.verb, &error.fault) {
            (Verb::AllowDialback { domain, .. }, Fault::InUse) => {
                running(&format!("nuncio partner allow-dialback {domain}"))
            }
            (Verb::ForgetConsent { user, contact, .. }, Fault::InUse) => {
                running(&format!("nuncio consent remove {user} {contact}"))
            }
            _ => eprintln!("nuncio: {error}"),
        }
        ExitCode::FAILURE
    })
}

/// What changes the database while no gateway runs is done by the one that does.
fn running(instead: &str) {
    eprintln!(
        "nuncio: the gateway is running, and nothing else may write to its database: have it do that, with {}; or stop it first",
        super::client::printable(instead)
    );
}

fn check(state_dir: &Path) -> Result<ExitCode, StoreError> {
    let checked = match store::check(state_dir) {
        Err(error) if error.fault == Fault::Damaged => {
            eprintln!("damaged: {}: {}\n\n{UNREADABLE}", error.path.display(), error.evidence);
            return Ok(ExitCode::FAILURE);
        }
        Err(error) if error.fault == Fault::Denied => {
            eprintln!("nuncio: {error}. {}", unwritable(&error.fault));
            return Ok(ExitCode::FAILURE);
        }
        checked => checked?,
    };
    let mut text =
        format!("{}: schema {}, {} KiB\n", checked.path.display(), checked.schema, checked.bytes / 1024);
    for (table, rows) in &checked.tables {
        text.push_str(&format!("  {table:<8} {rows:>9}\n"));
    }
    if checked.findings.is_empty() {
        text.push_str("It is whole.\n");
        let done = say(&text);
        if let Some(error) = &checked.unwritable {
            eprintln!("\nBut {error}. {}", unwritable(&error.fault));
        }
        return Ok(done);
    }
    say(&text);
    for finding in &checked.findings {
        eprintln!("damaged: {finding}");
    }
    if let Some(fault @ Fault::DamagedLog) = &checked.fault {
        eprintln!("\nThat is its log alone: {}.", fault.advice(&checked.path));
        return Ok(ExitCode::FAILURE);
    }
    eprintln!(
        "\nStop the gateway, keep a copy of the three files nuncio.db*, and restore the last backup. What can still be \
         read comes out with \"nuncio store show --json\"."
    );
    Ok(ExitCode::FAILURE)
}

/// What a gateway makes of a database that it cannot write.
fn unwritable(fault: &Fault) -> String {
    match fault {
        Fault::Full | Fault::ReadOnly => {
            "A gateway serves with what is in it, and from memory; what it cannot write before it ends is lost."
                .to_owned()
        }
        _ => format!(
            "A gateway does not start with it as user {}. If that is not the user of the service, check as that one: \
             \"sudo -u nuncio nuncio store check\".",
            rustix::process::geteuid().as_raw()
        ),
    }
}

fn backup(state_dir: &Path, file: &Path) -> Result<ExitCode, StoreError> {
    let bytes = store::backup(state_dir, file)?;
    Ok(say(&format!(
        "{}: {} KiB, whole. It contains secrets of this node: keep it as safe as its keys.\n",
        file.display(),
        bytes / 1024
    )))
}

fn allow_dialback(state_dir: &Path, domain: &str) -> Result<ExitCode, StoreError> {
    let domain = match Domain::parse(domain) {
        Ok(domain) => domain,
        Err(error) => {
            eprintln!("nuncio: {domain:?} is not a domain: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    if store::allow_dialback(state_dir, domain.as_str(), now().unix())? {
        return Ok(say(&format!(
            "{domain} may come in by dialback alone again, if its entry allows that.\n"
        )));
    }
    let proved = format!("{domain} has not proved itself by certificate: nothing of this kind keeps it out.");
    eprintln!("nuncio: {proved} (Additional domains of a partner are to be named themselves.)");
    Ok(ExitCode::FAILURE)
}

fn show(state_dir: &Path, what: Shown<'_>) -> Result<ExitCode, StoreError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let count = store::show(state_dir, what, &mut |line| writeln!(out, "{line}"))?;
    if count == 0 && what.most > 0 && !what.json {
        let things = match what.table {
            Table::Pairs => "pairs",
            Table::Pending => "messages that wait for people",
            Table::Audit => "entries of the audit trail",
        };
        // Whoever reads the output with a program gets none; people learn that it was not forgotten.
        match what.with {
            None => eprintln!("There are no {things} on record."),
            Some(text) => eprintln!("There are no {things} on record with {text:?} in an address."),
        }
    }
    // Whoever closed the pipe has seen enough.
    Ok(out.flush().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

fn forget_consent(state_dir: &Path, user: &str, contact: &str) -> Result<ExitCode, StoreError> {
    let bare = |text: &str| match BareJid::parse(text.strip_prefix("sip:").unwrap_or(text)) {
        Ok(address) if address.local().is_some() => Some(address),
        _ => {
            eprintln!("nuncio: {text:?} is no address of a user; it has to look like alice@contoso.com");
            None
        }
    };
    let (Some(user), Some(contact)) = (bare(user), bare(contact)) else { return Ok(ExitCode::FAILURE) };
    let key = PairKey::new(user.as_str(), contact.as_str());
    match store::forget_consent(state_dir, &key, "administrator")? {
        Forgotten::Unknown => {
            eprintln!(
                "nuncio: nothing is on record of {user} and {contact}; nothing was changed. \"nuncio store show --with \
                 {contact}\" shows with whom the contact is on record."
            );
            Ok(ExitCode::FAILURE)
        }
        Forgotten::NotAdded => {
            eprintln!("nuncio: {user} has not added {contact}; nothing was changed.");
            Ok(ExitCode::FAILURE)
        }
        Forgotten::Taken { endpoints, contact_watches } => {
            let mut text = format!("{user} does not count as having added {contact} any more.\n");
            if endpoints > 0 {
                text.push_str(&format!(
                    "When the gateway starts, the subscriptions of his endpoints ({endpoints}) to the contact end as rejected.\n"
                ));
            }
            if contact_watches {
                text.push_str(
                    "If the partner is public-unverified, the contact is told then that he does not see the user any more.\n",
                );
            }
            text.push_str("If the user subscribes to the contact again, he adds him again; a rule in [policy] keeps him \
                from it.\n");
            Ok(say(&text))
        }
    }
}

fn say(text: &str) -> ExitCode {
    io::stdout().write_all(text.as_bytes()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

pub(super) const ABOUT: &str = "\
Look after nuncio.db, the database in node.state_dir of what survives a restart: who added whom, subscriptions, the \
audit trail.

All of this but forget-consent and allow-dialback may be done while the gateway runs, and changes nothing in the database.";

const UNREADABLE: &str = "\
Nothing was changed, and nothing can be read from it as it is. Stop the gateway, keep a copy of the three files nuncio.db*, \
and restore the last backup. Without one, move the three files away: Nuncio then starts empty, and users have to add their \
contacts again.";

const FORGET_ABOUT: &str = "\
Take back that a SIP user has added a contact, while the gateway is stopped.

Run it as the user of the service. The audit trail gets an entry. What follows happens when the gateway starts: the \
subscriptions of the user's endpoints to the contact end as rejected, and if the partner type asks for consent the contact \
is told that he does not see the user any more. docs/trust.md says it in full. It refuses while a gateway runs on \
the same state directory.";

const BACKUP_ABOUT: &str = "\
Write a copy to a file that does not exist yet.

The copy is whole and of one moment, also while the gateway runs; copying nuncio.db by other means while it runs is not. \
To restore: stop the gateway, move nuncio.db, nuncio.db-wal and nuncio.db-shm away, put the copy in the place of \
nuncio.db, owned by the user of the service, and start.";

const ALLOW_ABOUT: &str = "\
Take a partner with dialback alone again, who had proved his domain by certificate.

Once a partner has come in by certificate (SASL EXTERNAL), he is not taken with less, although his entry allows dialback: \
somebody may be posing as him. When he says that his certificate is gone for good, or was for the wrong name, this \
command forgets that he had one, and writes it into the audit trail. The next time he proves himself by certificate, it \
holds again.

The gateway has to be stopped for it; one that runs is told by nuncio partner allow-dialback.";
