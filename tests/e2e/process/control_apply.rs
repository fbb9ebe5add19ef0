//! `apply`: from which files, and what it takes to remove with it; and how commands end for scripts.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio::store::FILE;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::process::Command;

use crate::town::Town;

/// Stored partners, by name.
async fn stored(town: &Town) -> Result<Vec<String>> {
    let list = town.done(&["partner", "list"]).await?;
    let stored = list.lines().filter(|line| line.ends_with("[stored]"));
    Ok(stored.filter_map(|line| line.split(':').next()).map(str::to_owned).collect())
}

#[tokio::test]
async fn what_prune_takes_away_is_told_first_and_most_of_all_only_when_it_is_meant() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let all = ["a.example", "b.example", "c.example"];
    for domain in all {
        town.done(&["partner", "new", domain, "type=federated"]).await?;
    }
    let exported = town.done(&["partner", "export"]).await?;
    let file = town.folder().join("partners.toml");
    let path = file.to_str().context("path")?;
    let apply = ["partner", "apply", "-f", path, "--prune"];
    // What a failed export leaves, another file, and half of one.
    let half = exported.split_inclusive("\n\n").take(2).collect::<String>();
    let blocks = town.done(&["block", "export"]).await?;
    let configuration = std::fs::read_to_string(town.folder().join("nuncio.toml"))?;
    for (content, why) in [
        ("", "there is no [[partner]] in it"),
        (&half, "it is not whole"),
        (&blocks, "there is no [[partner]] in it"),
        (&configuration, "is none of what “nuncio partner apply” takes"),
    ] {
        std::fs::write(&file, content)?;
        let said = town.refused(&apply).await?;
        ensure!(said.contains(why) && said.contains("partners.toml"), "{said}");
        ensure!(stored(&town).await? == all, "{said}");
    }

    std::fs::write(&file, "[[partner]]\ndomain = \"a.example\"\ntype = \"federated\"\n")?;
    let said = town.refused(&apply).await?;
    ensure!(said.contains("removes 2 of the 3") && said.contains("b.example, c.example"), "{said}");
    ensure!(said.contains("--confirm-removal"), "{said}");
    // A dry run ends as it would.
    let said = town.ends(1, &[&apply[..], &["--dry-run"]].concat()).await?;
    ensure!(said.contains("and is removed: c.example") && said.contains("Nothing was changed"), "{said}");
    ensure!(stored(&town).await? == all, "{said}");
    let said = town.done(&[&apply[..], &["--confirm-removal"]].concat()).await?;
    ensure!(said.contains("and is removed: b.example") && said.ends_with("saved.\n"), "{said}");
    ensure!(stored(&town).await? == ["a.example"]);

    // An export of nothing is no mistake, and takes everything away if that is meant.
    town.done(&["partner", "remove", "a.example"]).await?;
    std::fs::write(&file, town.done(&["partner", "export"]).await?)?;
    town.done(&["partner", "new", "a.example", "type=federated"]).await?;
    ensure!(town.refused(&apply).await?.contains("removes 1 of the 1"));
    town.done(&[&apply[..], &["--confirm-removal"]].concat()).await?;
    ensure!(stored(&town).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_is_exported_goes_through_a_pipe_and_half_of_it_is_complained_of() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.done(&["partner", "new", "a.example", "type=federated"]).await?;
    let exported = town.done(&["partner", "export"]).await?;
    town.done(&["partner", "remove", "a.example"]).await?;
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
        command.args(words).arg("--socket").arg(town.control());
        command
    };
    let mut apply = command(&["partner", "apply", "-f", "-"]).stdin(Stdio::piped()).spawn()?;
    let mut pipe = apply.stdin.take().context("no standard input")?;
    pipe.write_all(exported.as_bytes()).await?;
    drop(pipe);
    ensure!(apply.wait().await?.success());
    ensure!(stored(&town).await? == ["a.example"]);

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let export = command(&["partner", "export"]).stdout(full).stderr(Stdio::piped()).spawn()?;
    let export = export.wait_with_output().await?;
    let said = String::from_utf8(export.stderr)?;
    ensure!(!export.status.success() && said.contains("standard output cannot be written to"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_program_is_told_as_json_what_was_refused() -> Result<()> {
    let town = Town::found().await?;
    let without = town.nuncio(&["partner", "list", "--json"]).await?;
    let _gateway = town.gateway("").await?;
    let said = town.nuncio(&["partner", "new", "contoso.com", "type=federated", "--json"]).await?;
    let document: Value = serde_json::from_str(&said.out)?;
    ensure!(!said.good && document["status"] == 422, "{document}");
    let why = document["errors"][0]["text"].as_str().unwrap_or_default();
    ensure!(why.contains("is served by this gateway itself"), "{document}");
    let here = town.nuncio(&["partner", "set", "wingtip.com", "enabled", "--json"]).await?;
    for (said, why) in [(without, "no gateway answers"), (here, "expected KEY=VALUE")] {
        let document: Value = serde_json::from_str(&said.out)?;
        ensure!(document["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{document}");
    }
    Ok(())
}

/// Those of which any key has another value, and that are not gone, as they are then.
#[tokio::test]
async fn apply_answers_with_the_entries_that_are_other_ones() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let client = Client::new(town.control());
    let rule = |verdict: &str| json!({ "name": "wards", "users": ["alice@contoso.com"], "verdict": verdict });
    let global = |enabled: bool| json!({ "name": "global", "enabled": enabled });
    let path = "/v1/apply/policies";
    for (entries, prune, expected) in [
        (
            vec![rule("deny"), global(false)],
            false,
            vec![("global", "enabled", json!(false)), ("wards", "verdict", json!("deny"))],
        ),
        (vec![rule("deny"), global(true)], false, vec![("global", "enabled", json!(true))]),
        (vec![rule("allow"), global(true)], false, vec![("wards", "verdict", json!("allow"))]),
        (vec![global(true)], true, vec![]),
    ] {
        let body = json!({ "entries": entries, "prune": prune });
        for path in [format!("{path}?dry_run=true"), path.to_owned()] {
            let reply = client.ask(Method::POST, &path, Some(&body)).await?;
            let answer = reply.json().context("no JSON")?;
            let others = answer["entries"].as_array().with_context(|| format!("{path}: {answer}"))?;
            let names: Vec<_> = others.iter().map(|entry| entry["name"].as_str()).collect();
            ensure!(
                names == expected.iter().map(|(name, ..)| Some(*name)).collect::<Vec<_>>(),
                "{path}: {answer}"
            );
            let said = |(entry, (_, key, value)): (&Value, &(_, &str, Value))| entry[*key] == *value;
            ensure!(others.iter().zip(&expected).all(said), "{path}: {answer}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_setting_is_refused_where_it_is_written_twice_or_is_no_such_value() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for (settings, why) in [
        (&["type=federated", "type=public-verified"][..], "type is there twice"),
        (&["type=federated", "pins=a", "pins=b"], "pins=ONE,OTHER"),
        (
            &["type=federated", "connection_limit=abc"],
            "connection_limit: expected a whole number, found \"abc\"",
        ),
        (&["type=federated", "enabled=maybe"], "enabled: expected true or false, found \"maybe\""),
    ] {
        let said = town.refused(&[&["partner", "new", "a.example"], settings].concat()).await?;
        ensure!(said.contains(why), "{said}");
    }
    ensure!(stored(&town).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_change_that_is_not_on_the_disk_has_an_exit_code_of_its_own() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let database = town.folder().join("state").join(FILE);
    std::fs::rename(&database, database.with_extension("away"))?;
    let said = town.ends(4, &["partner", "new", "a.example", "type=federated"]).await?;
    ensure!(said.contains("it holds, but is not on the disk") && !said.contains("saved."), "{said}");
    Ok(())
}

#[tokio::test]
async fn commands_that_work_beside_the_gateway_fail_in_json_too() -> Result<()> {
    let town = Town::found().await?;
    town.configure("", &town.folder().join("state"))?;
    town.edit("type = \"federated\"", "type = \"friends\"")?;
    for words in [&["dns", "show", "--json"][..], &["cert", "check", "--json"], &["cert", "assign", "--json"]]
    {
        let said = town
            .by_file(
                &[words, &["--config", &town.folder().join("nuncio.toml").display().to_string()]].concat(),
            )
            .await?;
        let document: Value =
            serde_json::from_str(&said.out).with_context(|| format!("{words:?}: {}", said.err))?;
        let why = document["errors"][0]["text"].as_str().unwrap_or_default();
        ensure!(
            !said.good && document["detail"].is_string() && why.contains("friends"),
            "{words:?}: {document}"
        );
        ensure!(said.err.contains("friends"), "{words:?}: {}", said.err);
    }
    // Something listens at the socket that is no gateway.
    let listener = UnixListener::bind(town.control())?;
    let listening = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    for words in [
        &["dns", "show", "--json"][..],
        &["check", "certs", "--json"],
        &["partner", "test", "wingtip.com", "--json"],
    ] {
        let said = town.nuncio(words).await?;
        let document: Value =
            serde_json::from_str(&said.out).with_context(|| format!("{words:?}: {}", said.err))?;
        let why = document["detail"].as_str().unwrap_or_default();
        ensure!(!said.good && why.contains("does not answer as it should"), "{words:?}: {document}");
    }
    listening.abort();
    Ok(())
}

/// Between what it would be and what it is, somebody else may have changed things.
#[tokio::test]
async fn what_was_announced_and_then_refused_is_taken_back() -> Result<()> {
    let town = Town::found().await?;
    for (refusal, end) in [
        (
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\ncontent-length: 38\r\n\r\n{\"title\":\"Gone\",\"detail\":\"it is gone\"}",
            "nothing was changed.",
        ),
        ("", "is not known."),
    ] {
        let listener = UnixListener::bind(town.control())?;
        let would = r#"{"changed":["partner[a.example]"],"lines":["partner[a.example]: removed"]}"#;
        let would = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{would}",
            would.len()
        );
        let gateway = async {
            for answer in [would.as_str(), refusal] {
                let (mut stream, _) = listener.accept().await?;
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    ensure!(stream.read_buf(&mut request).await? > 0, "half a request");
                }
                stream.write_all(answer.as_bytes()).await?;
            }
            Ok(())
        };
        let (said, answered) = tokio::join!(town.nuncio(&["partner", "remove", "a.example"]), gateway);
        answered?;
        let said = said?;
        ensure!(!said.good && said.out.contains("partner[a.example]: removed"), "{}{}", said.out, said.err);
        ensure!(said.out.trim_end().ends_with(end), "{}{}", said.out, said.err);
        std::fs::remove_file(town.control())?;
    }
    Ok(())
}
