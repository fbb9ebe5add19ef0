//! Files that cannot be used, and what administrators are told of them: of those that the configuration names, and of the
//! configuration itself.

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;
use nuncio_world::pki::{Flaw, Usage};
use tokio::process::Command;

use crate::control::{Said, comes_in};
use crate::town::Town;

impl Town {
    /// An administrator's command that is told of the file and not of the socket.
    pub(crate) async fn by_file(&self, words: &[&str]) -> Result<Said> {
        self.by_file_in(Command::new(env!("CARGO_BIN_EXE_nuncio")), words).await
    }

    /// The same where nobody serves the usual socket, as somebody may on this machine.
    async fn by_file_alone(&self, words: &[&str]) -> Result<Said> {
        const NEEDS: &str = "this test sees another /run than the rest of the machine, for which it needs unshare(1) and root, or \
                             without root that unprivileged users may make user namespaces";
        const ALONE: &str = "mount -t tmpfs none /run && echo alone >&2 && exec \"$@\"";
        let mut command = Command::new("/usr/bin/unshare");
        command.arg("--mount").args((!geteuid().is_root()).then_some("--map-root-user"));
        command.args(["/bin/sh", "-c", ALONE, "sh", env!("CARGO_BIN_EXE_nuncio")]);
        let mut said = self.by_file_in(command, words).await.context(NEEDS)?;
        let err = said.err.strip_prefix("alone\n").with_context(|| format!("{NEEDS}: {}", said.err))?;
        said.err = err.to_owned();
        Ok(said)
    }

    async fn by_file_in(&self, mut command: Command, words: &[&str]) -> Result<Said> {
        command.args(words).env_clear().env("NUNCIO_CONFIG", self.folder().join("nuncio.toml"));
        let output = command.output().await?;
        Ok(Said {
            good: output.status.success(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }
}

/// Of no key.
const PIN: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
const FABRIKAM: &str = "[[partner]]\ndomain = \"fabrikam.com\"\ntype = \"federated\"\n[limits]";

#[tokio::test]
async fn a_reload_and_every_check_name_files_that_a_start_would_not_take() -> Result<()> {
    let town = Town::found().await?;
    let gateway = town.gateway("").await?;
    town.edit("[limits]", FABRIKAM)?;
    let broken = "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n";
    for (file, content) in [
        ("gateway-contoso.pem", Some("half a certificate")),
        ("gateway-contoso.pem", None),
        ("gateway-sip.key", Some("")),
        ("roots.pem", Some(broken)),
    ] {
        let path = town.folder().join("pki").join(file);
        let good = fs::read(&path)?;
        match content {
            Some(content) => fs::write(&path, content)?,
            None => fs::remove_file(&path)?,
        }
        let said = town.refused(&["reload"]).await?;
        ensure!(said.contains(file), "{file}, {content:?}: {said}");
        ensure!(!comes_in(&town.fabrikam().await?), "{file}, {content:?}: it was taken all the same");
        for check in [&["check"][..], &["check", "config"]] {
            let Said { good, out, err } = town.by_file(check).await?;
            ensure!(
                !good && format!("{out}{err}").contains(file),
                "{file}, {content:?}, {check:?}: {out}{err}"
            );
        }
        let mark = town.log.mark();
        gateway.signal("HUP").await?;
        let line = town.log.line_after(mark, "the configuration stays as it was").await?;
        ensure!(line.contains("WARN") && line.contains(file) && line.contains("by=\"SIGHUP\""), "{line}");
        fs::write(&path, good)?;
    }
    // What was not to do with it is not held up.
    town.done(&["partner", "new", "northwind.com", "type=federated"]).await?;
    town.done(&["reload"]).await?;
    ensure!(comes_in(&town.fabrikam().await?));
    Ok(())
}

#[tokio::test]
async fn a_reload_that_is_rejected_is_in_the_log_in_one_line_with_every_reason() -> Result<()> {
    let town = Town::found().await?;
    let gateway = town.gateway("").await?;
    town.edit("[limits]", "[limits]\ndrain = 7\nnonsense = true\n")?;
    let reasons = ["drain", "nonsense", "nuncio.toml:"];
    let mark = town.log.mark();
    let said = town.refused(&["reload"]).await?;
    ensure!(
        said.contains("for these 2 reasons") && reasons.iter().all(|reason| said.contains(reason)),
        "{said}"
    );
    let line = town.log.line_after(mark, "the configuration stays as it was").await?;
    ensure!(reasons.iter().all(|reason| line.contains(reason)), "{line}");

    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    let line = town.log.line_after(mark, "the configuration stays as it was").await?;
    ensure!(reasons.iter().all(|reason| line.contains(reason)), "{line}");

    town.edit("nonsense = true\n", "")?;
    let said = town.refused(&["reload"]).await?;
    ensure!(said.contains("for this reason"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_reload_warns_of_what_will_not_do_and_by_sighup_the_log_does() -> Result<()> {
    let town = Town::found().await?;
    let gateway = town.gateway("").await?;
    let expired = town.pki.issue("expired", &["nuncio.contoso.com"], Usage::Both, Flaw::Expired)?;
    for (from, to) in [("gateway-sip.pem", &expired.certificate_file), ("gateway-sip.key", &expired.key_file)]
    {
        let from = town.folder().join("pki").join(from).display().to_string();
        town.edit(&from, &to.display().to_string())?;
    }
    town.edit("[limits]", &format!("{}pins = [{PIN:?}]\n[limits]", FABRIKAM.replace("[limits]", "")))?;
    // It can be read, and is put in force; that is not all that there is to say.
    let (is_over, pins) = ("it expired on 2021-01-01", "there is only one, and the federation ends");
    let said = town.done(&["reload"]).await?;
    for warning in [is_over, pins] {
        let line = said.lines().find(|line| line.contains(warning)).context(said.clone())?;
        ensure!(line.trim_start().starts_with("warning: "), "{said}");
    }
    ensure!(said.contains("expired.pem"), "{said}");

    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    for warning in [is_over, pins] {
        let line = town.log.line_after(mark, warning).await?;
        ensure!(line.contains("WARN") && line.contains("by=\"SIGHUP\""), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_cannot_be_read_does_not_hide_the_gateway_that_runs() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.edit("[limits]", "[limits]\nnonsense = true\n")?;
    let Said { good, err, .. } = town.by_file_alone(&["status"]).await?;
    ensure!(good, "the socket is in the file all the same: {err}");

    town.edit("nonsense = true", "nonsense = [")?;
    let Said { good, err, .. } = town.by_file_alone(&["status"]).await?;
    ensure!(!good, "it cannot be known");
    let usual = "no gateway answers at /run/nuncio/control.sock";
    for part in [usual, "cannot be read: ", "nuncio.toml:", "not valid TOML", "--socket"] {
        ensure!(err.contains(part), "{part} is not in {err}");
    }
    ensure!(!err.contains("certificate"), "that is not why: {err}");
    ensure!(town.nuncio(&["status"]).await?.good, "who names the socket needs no file");

    // A socket that is no path is named as what it is.
    town.edit("nonsense = [", "")?;
    town.edit(&format!("socket = {:?}", town.control()), "socket = 7")?;
    let Said { good, err, .. } = town.by_file_alone(&["status"]).await?;
    ensure!(!good && err.contains(usual) && err.contains("socket"), "{err}");
    ensure!(err.contains("cannot be read: ") && err.contains("expected"), "{err}");
    // One that is not set is in the usual place, and there is nothing to doubt.
    town.edit("socket = 7", "")?;
    town.edit("[[certificate]]", "[[other]]")?;
    let Said { good, err, .. } = town.by_file_alone(&["status"]).await?;
    ensure!(!good && err.contains(usual) && !err.contains("cannot be read"), "{err}");
    fs::remove_file(town.folder().join("nuncio.toml"))?;
    let Said { good, err, .. } = town.by_file_alone(&["status"]).await?;
    ensure!(!good && err.contains(usual) && err.contains("there is no such file; NUNCIO_CONFIG"), "{err}");
    ensure!(!err.contains("[[certificate]]"), "that is not why: {err}");
    ensure!(town.nuncio(&["status"]).await?.good, "who names the socket needs no file");
    Ok(())
}

#[tokio::test]
async fn a_change_tells_of_what_it_changes_and_not_of_what_was_so_before() -> Result<()> {
    let mut town = Town::found().await?;
    town.partner = format!("pins = [{PIN:?}]");
    let _gateway = town.gateway("").await?;
    let warning = "there is only one, and the federation ends";
    let said = town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    ensure!(!said.contains(warning), "that is of wingtip.com: {said}");
    let pin = format!("pins={PIN}");
    for change in [
        ["partner", "new", "northwind.com", "type=federated", &pin],
        ["partner", "set", "northwind.com", "description=North", "keep_alive=false"],
    ] {
        let said = town.done(&change).await?;
        ensure!(said.matches(warning).count() == 1, "{change:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_partner_is_shown_with_what_holds_by_default_marked_as_such() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.done(&["partner", "new", "fabrikam.com", "type=federated", "connection_limit=7", "tls=required"])
        .await?;
    let shown = town.done(&["partner", "show", "fabrikam.com"]).await?;
    let line = |key: &str| {
        let mut lines = shown.lines();
        lines.find(|line| line.split_whitespace().next() == Some(key)).context(format!("{key} in {shown}"))
    };
    for (key, value, default) in [
        ("type", "\"federated\"", false),
        ("connection_limit", "7", false),
        ("tls", "\"required\"", false),
        ("keep_alive", "true", true),
        ("negotiation_rules", "\"strict\"", true),
        ("stanza_limit", "524288", true),
    ] {
        let line = line(key)?;
        ensure!(line.contains(value) && line.ends_with("(default)") == default, "{key}: {line}");
    }
    Ok(())
}

#[tokio::test]
async fn blocks_are_added_listed_and_removed_and_only_partners_are_switched() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let help = town.by_file(&["block", "--help"]).await?.out;
    for verb in ["add", "list", "remove"] {
        ensure!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb} is not in {help}");
    }
    town.done(&["block", "add", "mallory@fabrikam.com", "description=spam"]).await?;
    ensure!(town.done(&["block", "list"]).await?.starts_with("mallory@fabrikam.com: spam"));
    town.done(&["block", "remove", "mallory@fabrikam.com"]).await?;
    ensure!(town.done(&["block", "list"]).await? == "There are none.\n");
    for kind in ["policy", "block"] {
        for verb in ["enable", "disable"] {
            let help = town.by_file(&[kind, "--help"]).await?.out;
            ensure!(!help.lines().any(|line| line.trim_start().starts_with(verb)), "{kind}: {help}");
        }
    }
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    town.done(&["partner", "disable", "fabrikam.com"]).await?;
    let said = town.done(&["partner", "enable", "fabrikam.com"]).await?;
    ensure!(said.contains("enabled: false → true"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_partner_is_somebody_elsewhere() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for name in ["localhost", "LOCALHOST.", "xmpp.localhost"] {
        let said = town.refused(&["partner", "new", name, "type=federated"]).await?;
        ensure!(said.contains("is this machine itself"), "{name}: {said}");
    }
    let said = town.done(&["partner", "new", "fabrikam", "type=federated", "--dry-run"]).await?;
    ensure!(said.contains("warning: ") && said.contains("fabrikam has no dot in it"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_plan_tells_which_partners_the_running_gateway_has() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    let export = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import/partners.json");
    // What is left out of it makes the exit code 1.
    let Said { out, .. } = town.nuncio(&["import", "lync", export]).await?;
    let there = "Configured already, and not touched: fabrikam.com";
    ensure!(out.contains(there) && out.contains("\n  gmail.com"), "{out}");
    ensure!(!out.contains("\n  fabrikam.com:"), "{out}");
    ensure!(
        out.contains(
            "additional_domains is [] here, [\"corp.fabrikam.com\", \"it.fabrikam.com\"] in the export"
        ),
        "{out}"
    );
    // What would be refused when it is applied is left out of the plan.
    town.done(&["partner", "new", "others.example", "type=federated", "additional_domains=Gmail.COM"])
        .await?;
    let Said { out, .. } = town.nuncio(&["import", "lync", export]).await?;
    ensure!(out.contains("gmail.com is a domain of the partner others.example already"), "{out}");
    ensure!(!out.contains("\n  gmail.com"), "{out}");
    Ok(())
}
