//! What administrators are told: which file a command went by, what a refusal wants, and what a change came to.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::control::Said;
use crate::town::Town;

const NORTHWIND: &str = "[[partner]]\ndomain = \"northwind.com\"\ntype = \"federated\"\n[limits]";

#[tokio::test]
async fn who_is_answered_by_what_is_in_force_hears_of_the_file_that_says_something_else() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let asked = [&["dns", "show"][..], &["check", "certs"], &["check", "store"], &["cert", "show"]];
    let warned = "not in force";
    for words in asked {
        let Said { err, .. } = town.nuncio(words).await?;
        ensure!(err.contains("Done by the running gateway") && !err.contains(warned), "{words:?}: {err}");
    }
    // Of a certificate that the file names, and that is still to be made, the gateway knows nothing.
    let pki = town.folder().join("pki");
    let control = format!(
        "[control]\nlisten = \"{}\"\ntokens = {:?}\ncertificate = {:?}\nkey = {:?}\n",
        town.somewhere(1, 8443),
        town.folder().join("tokens"),
        pki.join("control.pem"),
        pki.join("control.key"),
    );
    std::fs::write(town.folder().join("tokens"), "")?;
    town.edit("[control]\n", &control)?;
    let refused = town.refused(&["cert", "request", "--for", "control"]).await?;
    ensure!(refused.contains("is none of the certificates"), "{refused}");
    for said in [refused, town.refused(&["reload"]).await?] {
        ensure!(said.contains("--here"), "it does not say how to make it: {said}");
    }
    for words in asked {
        let Said { err, .. } = town.nuncio(words).await?;
        let warnings: Vec<&str> = err.lines().filter(|line| line.contains(warned)).collect();
        let [warning] = warnings.as_slice() else { anyhow::bail!("{words:?}: {err}") };
        for part in ["control.certificate", "nuncio reload", "--here"] {
            ensure!(warning.contains(part), "{words:?}: {part} is not in {warning}");
        }
    }
    town.edit(&control, "[control]\n")?;
    // A stored partner that a reload would be refused for makes the file one that cannot be used.
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    town.edit("\"contoso.com\", \"litware.com\"", "\"contoso.com\", \"litware.com\", \"fabrikam.com\"")?;
    town.edit("domains = [\"litware.com\"]", "domains = [\"litware.com\", \"fabrikam.com\"]")?;
    let Said { err, .. } = town.nuncio(&["dns", "show"]).await?;
    ensure!(err.contains("cannot be used, and is not in force") && !err.contains("nuncio reload"), "{err}");
    town.refused(&["reload"]).await?;
    for _ in 0..2 {
        town.edit(", \"fabrikam.com\"", "")?;
    }
    // What waits for the next start is not in force either, whether it was read already or not.
    town.edit("[limits]", "[limits]\ndrain = \"7s\"\n")?;
    let Said { err, .. } = town.nuncio(&["check", "certs"]).await?;
    ensure!(err.contains("it waits for the next start") && !err.contains("nuncio reload"), "{err}");
    town.done(&["reload"]).await?;
    let Said { good, err, .. } = town.nuncio(&["dns", "show"]).await?;
    let waits = err.contains(warned) && err.contains("limits.drain") && err.contains("next start");
    ensure!(good && waits && !err.contains("nuncio reload"), "{err}");
    // And what cannot be read says nothing at all.
    town.edit("drain = \"7s\"", "drain = [")?;
    let Said { good, out, err } = town.nuncio(&["dns", "show", "--json"]).await?;
    ensure!(good && err.contains("nuncio.toml:") && err.contains("not valid TOML"), "{err}");
    serde_json::from_str::<Value>(&out).context(out)?;
    Ok(())
}

#[tokio::test]
async fn what_is_declared_or_set_aside_is_refused_with_what_to_do() -> Result<()> {
    let town = Town::found().await?;
    let roots = town.folder().join("fabrikam-roots.pem");
    std::fs::copy(town.folder().join("pki").join("roots.pem"), &roots)?;
    let mut gateway = town.gateway("").await?;
    let setting = format!("roots={}", roots.to_str().context("path")?);
    town.done(&["partner", "new", "fabrikam.com", "type=federated", &setting]).await?;
    town.done(&["partner", "new", "northwind.com", "type=public-verified"]).await?;
    gateway.stop().await?;
    std::fs::remove_file(&roots)?;
    town.edit("[limits]", NORTHWIND)?;
    let _gateway = town.gateway_as_configured().await?;

    for domain in ["wingtip.com", "chat.wingtip.com", "northwind.com"] {
        let said = town.refused(&["partner", "new", domain, "type=federated"]).await?;
        ensure!(said.contains(" is declared at ") && said.contains("nuncio.toml:"), "{said}");
    }
    let said = town.refused(&["partner", "set", "northwind.com", "description=North"]).await?;
    for part in ["nuncio.toml:", "set aside", "nuncio partner remove northwind.com"] {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    let said = town.refused(&["partner", "set", "fabrikam.com", "description=Fabrikam"]).await?;
    for part in ["fabrikam-roots.pem", "set aside", "nuncio partner set fabrikam.com", "partner remove"] {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    // It was there, although it did not hold.
    let would = town.done(&["partner", "remove", "northwind.com", "--dry-run"]).await?;
    ensure!(would.contains("stored partner northwind.com: removed"), "{would}");
    let said = town.done(&["partner", "remove", "northwind.com"]).await?;
    let done = said.contains("stored partner northwind.com: removed") && said.ends_with("saved.\n");
    ensure!(done && !said.contains("It was so already"), "{said}");
    ensure!(said.matches("northwind.com").count() == 1, "it is told twice: {said}");
    Ok(())
}

#[tokio::test]
async fn a_refusal_names_what_is_to_be_written_instead() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for (words, why) in [
        (&["policy", "remove", "global"][..], "nuncio policy set global"),
        (&["policy", "new", "global", "enabled=false"], "nuncio policy set global KEY=VALUE"),
        (&["block", "add", "Mallory@fabrikam.com/home/office"], "it has a resource"),
        (&["block", "add", "Mallory@fabrikam.com/home/office"], "block \"Mallory@fabrikam.com\""),
    ] {
        let said = town.refused(words).await?;
        ensure!(said.contains(why), "{words:?}: {said}");
    }
    // Taken as it is written, and perhaps not as it is meant.
    let said = town.done(&["block", "add", "192.0.2.5/24"]).await?;
    for part in ["block[192.0.2.0/24]: added", "warning: ", "all of 192.0.2.0/24", "192.0.2.5 alone"] {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    let said = town.done(&["block", "add", "198.51.100.0/24"]).await?;
    ensure!(!said.contains("warning"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_refusal_repeats_only_the_beginning_of_what_is_endless() -> Result<()> {
    const MOST: usize = 1500;
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let endless = "x".repeat(60_000);
    let words = "ward 7 ".repeat(2_000);
    let address = format!("{endless}@fabrikam.com");
    let roots = format!("roots=/{endless}");
    for command in [
        &["partner", "new", &endless, "type=federated"][..],
        &["partner", "show", &endless],
        &["partner", "set", &endless, "enabled=true"],
        &["partner", "test", &endless],
        &["partner", "allow-dialback", &endless],
        &["partner", "new", "fabrikam.com", "type=federated", &roots],
        &["policy", "new", &endless, "users=alice", "verdict=deny"],
        &["policy", "new", &words, "users=alice", "verdict=deny"],
        &["policy", "remove", &words],
        &["block", "add", &address],
        &["block", "remove", &address],
        &["consent", "remove", &endless, "bob@fabrikam.com"],
        &["subscriptions", "close", "user", &endless, "bob@fabrikam.com"],
        &["sessions", "close", &endless],
        &["check", "connectivity", &endless],
        &["cert", "request", "--for", &endless],
    ] {
        let Said { good, out, err } = town.nuncio(command).await?;
        let head = [command[0], command[1]];
        ensure!(!good, "{head:?} was done");
        let length = out.len() + err.len();
        ensure!(length < MOST, "{head:?}: {length} bytes: {}", err.chars().take(300).collect::<String>());
        ensure!(out.contains("xxx") || err.contains("xxx") || err.contains("ward 7"), "{head:?}: {out}{err}");
    }
    Ok(())
}

#[tokio::test]
async fn apply_shows_what_comes_of_each_that_changes_and_a_dry_run_ends_as_it_would() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for domain in ["a.example", "c.example", "d.example"] {
        town.done(&["partner", "new", domain, "type=federated"]).await?;
    }
    let file = town.folder().join("partners.toml");
    let path = file.to_str().context("path")?;
    let one = |domain: &str, more: &str| format!("[[partner]]\ndomain = \"{domain}\"\n{more}\n");
    let plain = "type = \"public-verified\"\ntls = \"not-supported\"\nsasl = \"not-supported\"";
    let text = one("a.example", "type = \"federated\"") + &one("b.example", plain);
    std::fs::write(&file, &text)?;
    let apply = ["partner", "apply", "-f", path];
    let said = town.done(&[&apply[..], &["--dry-run"]].concat()).await?;
    let comes = "b.example: public-verified, dialback over plain TCP [stored]";
    ensure!(said.contains(comes) && !said.contains("a.example"), "{said}");
    let said = town.done(&apply).await?;
    ensure!(said.contains(comes) && said.contains("partner[b.example]: added"), "{said}");
    ensure!(!said.contains("a.example"), "it is as it was: {said}");
    // What is worth a word is said of it.
    std::fs::write(&file, text.replace("federated", "public-verified"))?;
    let said = town.done(&apply).await?;
    ensure!(said.contains("a.example: public-verified") && said.contains("warned (dialback never"), "{said}");
    std::fs::write(
        &file,
        text.replace(
            "federated\"",
            "federated\"\ntls = \"optional\"\nsasl = \"optional\"\naccept_spoofable = true",
        ),
    )?;
    let said = town.done(&[&apply[..], &["--dry-run"]].concat()).await?;
    ensure!(said.matches("SASL needs TLS").count() == 1, "once is enough: {said}");
    // Nothing but plain dialback, for one who is trusted like our own users: taken, and not clean.
    let plain = "federated\"\ntls = \"not-supported\"\nsasl = \"not-supported\"\naccept_spoofable = true";
    std::fs::write(&file, text.replace("federated\"", plain))?;
    let said = town.done(&[&apply[..], &["--dry-run"]].concat()).await?;
    ensure!(said.contains("accept_spoofable: by dialback over plain TCP"), "{said}");
    ensure!(said.matches("by dialback over plain TCP, which is open").count() == 1, "once is enough: {said}");
    let would: Value =
        serde_json::from_str(&town.done(&[&apply[..], &["--dry-run", "--json"]].concat()).await?)?;
    ensure!(would["entries"][0]["negotiation"]["verdict"] == "warned", "{would}");
    let one_more = ["partner", "new", "one.example", "type=public-verified", "tls=optional", "--dry-run"];
    let said = town.done(&one_more).await?;
    ensure!(
        said.matches("SASL needs TLS").count() == 1 && said.contains("  warned: "),
        "once is enough: {said}"
    );

    let prune = [&apply[..], &["--prune"]].concat();
    let wanted = "--confirm-removal";
    std::fs::write(&file, one("a.example", "type = \"public-verified\""))?;
    ensure!(town.refused(&prune).await?.contains(wanted));
    let Said { good, out, err } = town.nuncio(&[&prune[..], &["--dry-run"]].concat()).await?;
    ensure!(!good && err.contains(wanted) && out.contains("partner[b.example]: removed"), "{out}{err}");
    ensure!(out.contains("Nothing was changed"), "{out}");
    let would = town.ends(1, &[&prune[..], &["--dry-run", "--json"]].concat()).await?;
    let would: Value = serde_json::from_str(&would)?;
    ensure!(would["saved"] == false && would["lines"][0] == "partner[b.example]: removed", "{would}");
    let would = town.done(&[&prune[..], &["--dry-run", wanted]].concat()).await?;
    ensure!(would.contains("and is removed: b.example"), "{would}");
    let set = town.done(&["partner", "set", "c.example", "description=C", "--dry-run", "--json"]).await?;
    let set: Value = serde_json::from_str(&set)?;
    ensure!(set["saved"] == false && set["unsaved"].is_null(), "{set}");
    ensure!(town.done(&["partner", "list"]).await?.lines().count() == 5);
    Ok(())
}

#[tokio::test]
async fn a_search_in_the_audit_trail_that_finds_nothing_says_so() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let said = town.done(&["audit", "nobody@example.org"]).await?;
    ensure!(said.contains("no entry") && said.contains("nobody@example.org"), "{said}");
    ensure!(town.done(&["audit", "nobody@example.org", "--json"]).await?.trim() == "[]");
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    ensure!(!town.done(&["audit", "fabrikam.com"]).await?.contains("no entry"));
    Ok(())
}
