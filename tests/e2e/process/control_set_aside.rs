//! Stored entries that do not go with the files any more: set aside, shown, and nobody's hindrance.

use anyhow::{Context, Result, ensure};
use nuncio::store::FILE;

use crate::control::comes_in;
use crate::town::Town;

#[tokio::test]
async fn a_stored_partner_whose_files_are_gone_is_set_aside_and_hinders_nobody() -> Result<()> {
    let town = Town::found().await?;
    let roots = town.folder().join("fabrikam-roots.pem");
    let copy = || std::fs::copy(town.folder().join("pki").join("roots.pem"), &roots);
    copy()?;
    let mut gateway = town.gateway("").await?;
    let setting = format!("roots={}", roots.to_str().context("path")?);
    town.done(&["partner", "new", "fabrikam.com", "type=federated", &setting]).await?;
    gateway.stop().await?;
    std::fs::remove_file(&roots)?;
    let mark = town.log.mark();
    gateway = town.gateway_as_configured().await?;
    town.log.line_after(mark, "the stored partner fabrikam.com is set aside").await?;
    ensure!(!comes_in(&town.fabrikam().await?));

    let said = town.done(&["partner", "new", "northwind.com", "type=federated"]).await?;
    ensure!(said.contains("in force, and saved"), "{said}");
    town.done(&["policy", "set", "global", "default=allow"]).await?;
    town.done(&["reload"]).await?;
    for said in
        [town.done(&["partner", "list"]).await?, town.done(&["partner", "show", "fabrikam.com"]).await?]
    {
        ensure!(
            said.contains("set") && said.contains("aside") && said.contains("fabrikam-roots.pem"),
            "{said}"
        );
    }
    // Exported it goes along, and does not make what is exported useless.
    let exported = town.done(&["partner", "export"]).await?;
    ensure!(exported.contains("# domain = \"fabrikam.com\""), "{exported}");
    let file = town.folder().join("exported.toml");
    std::fs::write(&file, &exported)?;
    town.done(&["partner", "apply", "-f", file.to_str().context("path")?]).await?;

    // Mended he is a partner again, whichever way.
    copy()?;
    town.done(&["reload"]).await?;
    ensure!(comes_in(&town.fabrikam().await?));
    gateway.stop().await?;
    std::fs::remove_file(&roots)?;
    gateway = town.gateway_as_configured().await?;
    let said = town.refused(&["partner", "set", "fabrikam.com", "description=Fabrikam"]).await?;
    ensure!(said.contains("fabrikam-roots.pem"), "{said}");
    town.done(&["partner", "set", "fabrikam.com", "roots="]).await?;
    ensure!(comes_in(&town.fabrikam().await?));
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn tls_19_a_stored_partner_whose_files_go_while_it_runs_vetoes_no_reload_and_stays_one() -> Result<()> {
    let town = Town::found().await?;
    let (roots, lists) = (town.folder().join("fabrikam-roots.pem"), town.folder().join("fabrikam-crls.pem"));
    let copy = || std::fs::copy(town.folder().join("pki").join("roots.pem"), &roots);
    copy()?;
    let mut gateway = town.gateway("").await?;
    let setting = format!("roots={}", roots.to_str().context("path")?);
    town.done(&["partner", "new", "fabrikam.com", "type=federated", &setting]).await?;
    ensure!(comes_in(&town.fabrikam().await?));
    std::fs::remove_file(&roots)?;
    town.edit("[limits]", "[[partner]]\ndomain = \"northwind.com\"\ntype = \"federated\"\n[limits]")?;
    let said = town.by_file(&["check", "config"]).await?;
    ensure!(!said.good && said.out.contains("stored partner fabrikam.com"), "{}{}", said.out, said.err);

    // What was read there before is as good as it was: it stays in use, and everybody hears of it.
    let mark = town.log.mark();
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains("partner[northwind.com]: added"), "{said}");
    let stays = "what was read there before stays in use";
    let warned = |said: &str| {
        said.lines().any(|line| {
            line.contains("stored partner fabrikam.com")
                && line.contains("fabrikam-roots.pem")
                && line.contains(stays)
        })
    };
    ensure!(warned(&said) && !said.contains("is set aside"), "{said}");
    let line = town.log.line_after(mark, stays).await?;
    ensure!(line.contains("WARN") && line.contains("fabrikam-roots.pem"), "{line}");
    town.log.line_after(mark, "certificates, keys, roots and revocation lists were looked at").await?;
    ensure!(comes_in(&town.fabrikam().await?));
    ensure!(town.done(&["status"]).await?.contains("files_not_used"), "it is counted");

    // It is so with SIGHUP, and a change of another entry goes by what is in use.
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    town.log.line_after(mark, stays).await?;
    town.done(&["partner", "new", "tailspin.com", "type=federated"]).await?;
    ensure!(comes_in(&town.fabrikam().await?));
    // What he is held against from now on was never read.
    let said =
        town.refused(&["partner", "set", "fabrikam.com", &format!("crls={}", lists.display())]).await?;
    ensure!(said.contains("cannot read"), "{said}");
    copy()?;
    let said = town.done(&["reload"]).await?;
    ensure!(!said.contains(stays), "{said}");
    ensure!(comes_in(&town.fabrikam().await?));

    // Set aside by a start, there is nothing that could stay.
    std::fs::remove_file(&roots)?;
    gateway.stop().await?;
    let _gateway = town.gateway_as_configured().await?;
    let aside = "the stored partner fabrikam.com is set aside";
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains(&format!("warning: {aside}")) && !said.contains(stays), "{said}");
    ensure!(!comes_in(&town.fabrikam().await?), "by which roots?");
    let said = town.refused(&["partner", "test", "fabrikam.com"]).await?;
    ensure!(said.contains(aside) && !said.contains("partner enable"), "{said}");
    copy()?;
    town.done(&["reload"]).await?;

    // What the file says now, and does not go with what is stored, is an error of the file.
    town.edit("\"northwind.com\"", "\"northwind.com\"\nroots = \"/nowhere/roots.pem\"")?;
    let said = town.refused(&["reload"]).await?;
    ensure!(said.contains("/nowhere/roots.pem"), "{said}");
    ensure!(comes_in(&town.fabrikam().await?));
    Ok(())
}

#[tokio::test]
async fn what_is_stored_of_a_domain_that_becomes_ours_is_set_aside_at_the_start() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    for (kind, name) in
        [("block", "tailspin.com"), ("block", "mallory@tailspin.com"), ("block", "mallory@wingtip.com")]
    {
        town.done(&[kind, "add", name]).await?;
    }
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    gateway.stop().await?;
    town.edit("\"litware.com\"]\nname", "\"litware.com\", \"tailspin.com\", \"fabrikam.com\"]\nname")?;
    town.edit(
        "domains = [\"litware.com\"]",
        "domains = [\"litware.com\", \"tailspin.com\", \"fabrikam.com\"]",
    )?;
    let mark = town.log.mark();
    gateway = town.gateway_as_configured().await?;
    for name in ["block mallory@tailspin.com", "block tailspin.com", "partner fabrikam.com"] {
        town.log.line_after(mark, &format!("the stored {name} is set aside")).await?;
    }
    for (kind, name, others) in [("block", "tailspin.com", 3), ("partner", "fabrikam.com", 2)] {
        let listed = town.done(&[kind, "list"]).await?;
        ensure!(listed.lines().count() == others && listed.contains("set aside"), "{listed}");
        let shown = town.done(&[kind, "show", name]).await?;
        ensure!(
            shown.contains("is one of our own") || shown.contains("is served by this gateway itself"),
            "{shown}"
        );
        town.done(&[kind, "remove", name]).await?;
        ensure!(town.refused(&[kind, "show", name]).await?.contains("there is no"));
    }
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_a_file_declares_by_now_is_set_aside_and_can_be_removed() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.done(&["partner", "new", "fabrikam.com", "type=public-verified"]).await?;
    town.edit("[limits]", "[[partner]]\ndomain = \"fabrikam.com\"\ntype = \"federated\"\n[limits]")?;
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains("partner[fabrikam.com].type: \"public-verified\" → \"federated\""), "{said}");
    let listed = town.done(&["partner", "list"]).await?;
    ensure!(listed.contains("fabrikam.com: federated") && listed.contains("set aside"), "{listed}");
    town.done(&["partner", "remove", "fabrikam.com"]).await?;
    let listed = town.done(&["partner", "list"]).await?;
    ensure!(listed.contains("fabrikam.com: federated") && !listed.contains("set aside"), "{listed}");
    ensure!(town.refused(&["partner", "remove", "fabrikam.com"]).await?.contains("is declared at"));
    Ok(())
}

#[tokio::test]
async fn what_is_set_aside_outlives_an_export_that_is_applied_with_prune() -> Result<()> {
    let town = Town::found().await?;
    let roots = town.folder().join("fabrikam-roots.pem");
    std::fs::copy(town.folder().join("pki").join("roots.pem"), &roots)?;
    let mut gateway = town.gateway("").await?;
    let setting = format!("roots={}", roots.to_str().context("path")?);
    town.done(&["partner", "new", "fabrikam.com", "type=federated", &setting]).await?;
    town.done(&["partner", "new", "northwind.com", "type=federated"]).await?;
    town.done(&["policy", "new", "wards", "users=alice@contoso.com", "verdict=deny"]).await?;
    town.done(&["policy", "new", "staff", "users=*@litware.com", "verdict=allow"]).await?;
    gateway.stop().await?;
    std::fs::remove_file(&roots)?;
    // As a later version may have written it, which had to be taken back.
    rusqlite::Connection::open(town.folder().join("state").join(FILE))?.execute(
        "UPDATE policy SET settings = json_set(settings, '$.users', json('[\"alice@contoso.com\", \"ward 7\"]')) WHERE name = 'wards'",
        (),
    )?;
    gateway = town.gateway_as_configured().await?;

    for (kind, name, other) in [("partner", "fabrikam.com", "northwind.com"), ("policy", "wards", "staff")] {
        let before = town.done(&[kind, "show", name]).await?;
        ensure!(before.contains("set_aside"), "{before}");
        let file = town.folder().join(format!("{kind}.toml"));
        let path = file.to_str().context("path")?;
        let exported = town.done(&[kind, "export"]).await?;
        std::fs::write(&file, &exported)?;
        let left = format!("the stored {kind} {name} is set aside, and is left as it is");
        let said = town.done(&[kind, "apply", "-f", path, "--prune"]).await?;
        ensure!(said.contains(&left) && said.contains("It was so already"), "{said}");
        ensure!(!said.contains("is removed"), "{said}");
        ensure!(town.done(&[kind, "show", name]).await? == before);
        // Nor does it count for what is left.
        std::fs::write(
            &file,
            exported.lines().filter(|line| line.starts_with("# nuncio")).collect::<Vec<_>>().join("\n"),
        )?;
        let said = town.refused(&[kind, "apply", "-f", path, "--prune"]).await?;
        ensure!(said.contains("removes 1 of the 1") && !said.contains(name), "{said}");
        let said = town.done(&[kind, "apply", "-f", path, "--prune", "--confirm-removal"]).await?;
        ensure!(said.contains(&left) && said.contains(&format!("is removed: {other}")), "{said}");
        ensure!(town.done(&[kind, "show", name]).await? == before);
    }
    // It is there after a restart as well, and goes when it is named.
    gateway.stop().await?;
    gateway = town.gateway_as_configured().await?;
    for (kind, name) in [("partner", "fabrikam.com"), ("policy", "wards")] {
        ensure!(town.done(&[kind, "list"]).await?.contains("set aside"));
        town.done(&[kind, "remove", name]).await?;
        ensure!(!town.done(&[kind, "list"]).await?.contains("set aside"));
    }
    gateway.stop().await?;
    Ok(())
}
