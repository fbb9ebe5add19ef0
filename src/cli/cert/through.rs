//! `nuncio cert`, done by the running gateway.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{AssignArguments, Cert, ImportArguments, RequestArguments, asked, verdict};
use crate::certs::{Live, Name, Prepared, ShownItem};
use crate::checks::Finding;
use crate::cli::client::{Failed, Gateway, text};
use crate::cli::report::{findings_text, say, say_json};

/// `Ok(Err)`: why the gateway is not the one to do it.
pub(super) fn run(verb: &Cert, gateway: &Gateway) -> Result<Result<ExitCode, String>, Failed> {
    let (method, path, body) = match verb {
        Cert::Show { .. } | Cert::Check { .. } => (Method::GET, "/v1/certificates", None),
        Cert::Request(arguments) => (Method::POST, "/v1/certificates/request", Some(wish(arguments))),
        Cert::Import(arguments) => (Method::POST, "/v1/certificates/import", Some(brought(arguments)?)),
        Cert::Assign(arguments) => (Method::POST, "/v1/certificates/assign", Some(wanted(arguments))),
    };
    let answer = match gateway.ask_if_there(method, path, body.as_ref())? {
        Ok(answer) => answer,
        Err(why) => return Ok(Err(why)),
    };
    gateway.says_who("this");
    let done = match verb {
        Cert::Show { json, .. } | Cert::Check { json, .. } => shown(&answer, *json)?,
        Cert::Request(arguments) => requested(&answer, arguments)?,
        Cert::Import(arguments) => imported(answer, arguments)?,
        Cert::Assign(arguments) => assigned(&answer, arguments.json)?,
    };
    Ok(Ok(done))
}

fn wish(arguments: &RequestArguments) -> Value {
    let RequestArguments { organisation, unit, locality, state, country, .. } = arguments;
    let names = |list: &[crate::config::Domain]| -> Vec<String> {
        list.iter().map(|name| name.as_str().to_owned()).collect()
    };
    json!({
        "for": arguments.chosen.wanted,
        "key_type": arguments.key_type,
        "keep_key": arguments.keep_key,
        "organisation": organisation, "unit": unit, "locality": locality, "state": state, "country": country,
        "names": names(&arguments.name),
        "leave_out": names(&arguments.leave_out),
        "xmpp_names": arguments.xmpp_names,
        "replace": arguments.replace,
    })
}

fn brought(arguments: &ImportArguments) -> Result<Value, Failed> {
    let mut certificates = String::new();
    for file in &arguments.files {
        certificates.push_str(&pem(&read(file)?));
        certificates.push('\n');
    }
    let key = arguments.key.as_ref().map(read).transpose()?;
    Ok(json!({
        "certificates": certificates,
        "key": key.map(|key| String::from_utf8_lossy(&key).into_owned()),
        "for": arguments.chosen.wanted,
        "assign": arguments.assign,
        "anyway": arguments.anyway,
        "replace_key": arguments.replace_key,
        "wait": arguments.assign && !arguments.no_wait,
    }))
}

fn wanted(arguments: &AssignArguments) -> Value {
    json!({
        "for": arguments.chosen.wanted,
        "undo": arguments.undo,
        "anyway": arguments.anyway,
        "wait": !arguments.no_wait,
    })
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failed> {
    std::fs::read(file).map_err(|error| Failed::new(format!("{}: {error}", file.display())))
}

/// As PEM, what may be a certificate in DER.
fn pem(content: &[u8]) -> String {
    match std::str::from_utf8(content) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let base64 = STANDARD.encode(content);
            let label = if crate::tls::is_pkcs7(content) { "PKCS7" } else { "CERTIFICATE" };
            format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
        }
    }
}

/// A part of the answer.
fn part<T: DeserializeOwned>(answer: &Value, key: &str) -> Result<T, Failed> {
    let part = answer.get(key).cloned().unwrap_or_default();
    serde_json::from_value(part)
        .map_err(|error| Failed::new(format!("the gateway answered something else than {key}: {error}")))
}

fn shown(answer: &Value, as_json: bool) -> Result<ExitCode, Failed> {
    if as_json {
        return Ok(say_json(answer));
    }
    let (mut out, mut failed) = (String::new(), false);
    for one in answer.as_array().into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", text(one, "certificate"));
        for item in part::<Vec<ShownItem>>(one, "items")? {
            let _ = writeln!(out, "{item}");
        }
        if let Some(why) = one.get("unreadable").and_then(Value::as_str) {
            failed = true;
            eprintln!("nuncio: {}: {why}", text(one, "certificate"));
        }
    }
    let done = say(&format!("{}\n", out.trim_end()));
    Ok(if failed { ExitCode::FAILURE } else { done })
}

fn requested(answer: &Value, arguments: &RequestArguments) -> Result<ExitCode, Failed> {
    if arguments.json {
        return Ok(say_json(answer));
    }
    let made = Prepared {
        pem: part(answer, "request")?,
        file: part(answer, "file")?,
        keys: part(answer, "keys")?,
        kept: part(answer, "kept")?,
    };
    let names: Vec<Name> = part(answer, "names")?;
    Ok(say(&asked(&made, &names, Some(&arguments.key_type))))
}

fn imported(mut answer: Value, arguments: &ImportArguments) -> Result<ExitCode, Failed> {
    if arguments.json {
        if let Some(object) = answer.as_object_mut() {
            object.insert("taken".to_owned(), json!(true));
        }
        return assigned(&answer, true);
    }
    for one in answer.get("imported").and_then(Value::as_array).into_iter().flatten() {
        let place = one.get("place").cloned().unwrap_or_default();
        let findings: Vec<Finding> = part(one, "findings")?;
        say(&format!("For {}:\n{}\n", text(&place, "certificate"), findings_text(&findings, 0)));
    }
    say(&super::kept(&part::<Vec<PathBuf>>(&answer, "kept")?));
    match arguments.assign {
        true => assigned(&answer, false),
        false => Ok(say("It is kept ready. To put it in use: nuncio cert assign\n")),
    }
}

fn assigned(answer: &Value, as_json: bool) -> Result<ExitCode, Failed> {
    let live: Vec<Live> = part(answer, "live")?;
    if as_json {
        say_json(answer);
        return Ok(verdict(&live));
    }
    let mut out = String::new();
    for one in answer.get("assigned").and_then(Value::as_array).into_iter().flatten() {
        let place = one.get("place").cloned().unwrap_or_default();
        let undo = one.get("undo").and_then(Value::as_bool).unwrap_or_default();
        let (file, serial, not_after) =
            (text(&place, "certificate"), text(one, "serial"), text(one, "not_after"));
        out.push_str(&super::in_place(file, serial, not_after, undo));
    }
    live.iter().for_each(|live| {
        let _ = writeln!(out, "{}", live.text);
    });
    say(&out);
    Ok(verdict(&live))
}
