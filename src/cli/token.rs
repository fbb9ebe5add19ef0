//! `nuncio token`

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;

use crate::control::{Role, tokens};

#[derive(Debug, clap::Args)]
pub(super) struct TokenArguments {
    /// Whose it is: a name without spaces, which the audit trail will show
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// What may be done with it
    #[arg(long, value_name = "ROLE", default_value = "viewer", value_parser = PossibleValuesParser::new(Role::GIVEN.map(Role::as_str)))]
    role: String,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 64 letters, digits and the characters - _ . @".to_owned())
}

pub(super) fn run(arguments: &TokenArguments) -> ExitCode {
    let role = Role::GIVEN.into_iter().find(|role| role.as_str() == arguments.role).unwrap_or(Role::Viewer);
    let made = tokens::make(&arguments.name, role);
    eprintln!(
        "The token, which is shown only this once; what makes requests sends it as \"Authorization: Bearer TOKEN\":"
    );
    eprintln!("\n  {}\n", made.token);
    eprintln!("The line for the file of control.tokens; it takes effect with nuncio reload:");
    let said = super::report::say(&format!("{}\n", made.line));
    if said != ExitCode::SUCCESS {
        eprintln!("nuncio: the token above is in no file: it opens nothing, so make another one");
    }
    said
}

pub(super) const ABOUT: &str = "\
Make a token for the control plane over TCP.

The token goes to standard error, its line for the file of control.tokens to standard output: nuncio token grafana \
>> /etc/nuncio/tokens. Nothing else is written anywhere, and no running gateway is needed.";
