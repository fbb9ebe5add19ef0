//! Changes of stored entries: what they take in, what they leave alone, and several at once.

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio::store::FILE;
use serde_json::{Value, json};

use crate::control::comes_in;
use crate::town::{ALICE, CAROL, Town};

#[tokio::test]
async fn a_change_leaves_what_was_edited_in_the_files_to_the_next_reload() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.edit("domain = \"wingtip.com\"", "domain = \"wingtip.com\"\nenabled = false")?;
    let said = town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    ensure!(!said.contains("wingtip.com"), "{said}");
    ensure!(!town.done(&["partner", "list"]).await?.contains("DISABLED"));
    // Half edited, the file is nobody's hindrance.
    town.edit("[limits]", "[limits")?;
    town.done(&["partner", "set", "fabrikam.com", "description=Fabrikam"]).await?;
    ensure!(town.refused(&["reload"]).await?.contains("not valid TOML"));
    town.edit("[limits", "[limits]")?;
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains("partner[wingtip.com].enabled: true → false"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_refuses_what_the_change_would() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let garbage = town.folder().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")?;
    let garbage = garbage.to_str().context("path")?;
    for (key, file, why) in [
        ("roots", "/nowhere/roots.pem", "/nowhere/roots.pem"),
        ("crls", "/nowhere/crls.pem", "/nowhere/crls.pem"),
        ("roots", garbage, "garbage.pem"),
    ] {
        let setting = format!("{key}={file}");
        let change = ["partner", "new", "fabrikam.com", "type=federated", &setting];
        let dry = town.refused(&[&change[..], &["--dry-run"]].concat()).await?;
        ensure!(dry.contains(why), "{setting}: {dry}");
        ensure!(town.refused(&change).await? == dry, "{setting}: {dry}");
    }
    Ok(())
}

#[tokio::test]
async fn of_two_changes_at_once_none_is_lost() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    for round in 0..5_u32 {
        let on = round % 2 == 0;
        let wanted = [
            ("description", json!(format!("round {round}"))),
            ("keep_alive", json!(!on)),
            ("bidirectional", json!(on)),
            ("stream_management", json!(!on)),
            ("connection_limit", json!(30 + round)),
            ("dialback", json!(!on)),
            ("sasl", json!(if on { "required" } else { "optional" })),
        ];
        let change = async |(key, value): &(&str, Value)| {
            let client = Client::new(town.control());
            let part = json!({ *key: value });
            client.ask(Method::PATCH, "/v1/partners/fabrikam.com", Some(&part)).await
        };
        let replies = futures_util::future::join_all(wanted.iter().map(change)).await;
        for reply in replies {
            let reply = reply?;
            ensure!(reply.status == 200, "{}", reply.refusal());
        }
        let shown = Client::new(town.control()).ask(Method::GET, "/v1/partners/fabrikam.com", None).await?;
        let shown = shown.json().context("no JSON")?;
        for (key, value) in &wanted {
            ensure!(shown[key] == *value, "round {round}: {key} is lost: {shown}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn of_many_that_are_made_at_once_under_one_name_there_is_one() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for round in 0..5 {
        let domain = format!("fabrikam{round}.com");
        let make = async |_| {
            let client = Client::new(town.control());
            let entry = json!({ "domain": domain, "type": "federated" });
            client.ask(Method::POST, "/v1/partners", Some(&entry)).await
        };
        let replies = futures_util::future::join_all((0..8).map(make)).await;
        let mut statuses = Vec::new();
        for reply in replies {
            statuses.push(reply?.status.as_u16());
        }
        statuses.sort_unstable();
        ensure!(statuses == [201, 409, 409, 409, 409, 409, 409, 409], "{statuses:?}");
    }
    Ok(())
}

#[tokio::test]
async fn prune_leaves_the_global_switch_unless_the_file_speaks_of_it() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.done(&["policy", "set", "global", "enabled=false"]).await?;
    town.done(&["policy", "new", "wards", "users=alice@contoso.com", "verdict=deny"]).await?;
    let file = town.folder().join("policy.toml");
    let path = file.to_str().context("path")?;
    std::fs::write(
        &file,
        "[[policy.rule]]\nname = \"guests\"\nusers = [\"*-ext@contoso.com\"]\nverdict = \"deny\"\n",
    )?;
    let said = town.done(&["policy", "apply", "-f", path, "--prune", "--confirm-removal"]).await?;
    ensure!(
        said.contains("policy.rule[wards]: removed") && said.contains("policy.rule[guests]: added"),
        "{said}"
    );
    ensure!(town.done(&["policy", "list"]).await?.contains("global: OFF"), "{said}");

    std::fs::write(&file, "[policy]\ndefault = \"deny\"\n")?;
    let said = town.done(&["policy", "apply", "-f", path, "--prune", "--confirm-removal"]).await?;
    ensure!(said.contains("policy.enabled: false → true"), "{said}");
    let listed = town.done(&["policy", "list"]).await?;
    ensure!(listed.contains("global: on, default deny") && !listed.contains("guests"), "{listed}");
    Ok(())
}

#[tokio::test]
async fn what_is_exported_says_what_is_set_and_brings_it_back() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let partner =
        ["partner", "new", "fabrikam.com", "type=federated", "description=\"F\" & Söhne \\", "sasl=required"];
    town.done(&partner).await?;
    town.done(&["partner", "set", "fabrikam.com", "additional_domains=it.fabrikam.com,corp.fabrikam.com"])
        .await?;
    town.done(&["partner", "new", "northwind.com", "type=public-verified", "connection_limit=7"]).await?;
    town.done(&["policy", "set", "global", "enabled=false"]).await?;
    town.done(&["policy", "new", "wards", "users=alice@contoso.com", "verdict=deny", "partners=wingtip.com"])
        .await?;
    town.done(&["block", "add", "192.0.2.0/24", "description=scans"]).await?;
    town.done(&["block", "add", "mallory@wingtip.com"]).await?;
    for (kind, names, unset) in [
        ("partner", &["fabrikam.com", "northwind.com"][..], "keep_alive"),
        ("policy", &["global", "wards"], "consent"),
        ("block", &["192.0.2.0/24", "mallory@wingtip.com"], "description = \"\""),
    ] {
        let exported = town.done(&[kind, "export"]).await?;
        ensure!(!exported.contains(unset), "{unset} was not set: {exported}");
        let file = town.folder().join("exported.toml");
        std::fs::write(&file, &exported)?;
        let path = file.to_str().context("path")?;
        let said = town.done(&[kind, "apply", "-f", path, "--prune"]).await?;
        ensure!(said.ends_with("It was so already.\n") && !said.contains("→"), "{said}");
        for name in names {
            town.done(&[kind, "remove", name]).await?;
        }
        ensure!(!town.done(&[kind, "export"]).await?.contains('['));
        town.done(&[kind, "apply", "-f", path]).await?;
        ensure!(town.done(&[kind, "export"]).await? == exported, "{exported}");
    }
    Ok(())
}

#[tokio::test]
async fn consent_is_acknowledged_when_it_is_on_the_disk_and_not_before() -> Result<()> {
    let town = Town::found().await?;
    let database = town.folder().join("state").join(FILE);
    ensure!(town.gateway("").await?.stop().await?.success());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    {
        let connection = rusqlite::Connection::open(&database)?;
        for contact in [CAROL, "dave@wingtip.com"] {
            connection.execute(
                "INSERT INTO pair (sip_user, contact, added_since, last_subscribe, to_state, from_state, from_since, saved_at) \
                 VALUES (?1, ?2, ?3, ?3, 'no', 'no', 0, ?3)",
                (ALICE, contact, i64::try_from(now)?),
            )?;
        }
    }
    let mut gateway = town.gateway("").await?;
    let said = town.done(&["consent", "remove", ALICE, CAROL]).await?;
    ensure!(said.contains("does not count as having added") && !said.contains("disk"), "{said}");
    gateway.kill().await?;
    let _gateway = town.gateway("").await?;
    let listed = town.done(&["consent", "list"]).await?;
    ensure!(!listed.contains(CAROL) && listed.contains("dave@wingtip.com"), "{listed}");

    // Nothing can be written any more, and that is said.
    std::fs::rename(&database, database.with_extension("away"))?;
    let said = town.ends(4, &["consent", "remove", ALICE, "dave@wingtip.com"]).await?;
    ensure!(said.contains("it holds, but is not on the disk"), "{said}");
    ensure!(!comes_in(&town.fabrikam().await?));
    Ok(())
}
