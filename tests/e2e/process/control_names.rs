//! How entries are named: what is no name, what looks like another one, and how names are shown.

use anyhow::{Result, ensure};

use crate::town::Town;

#[tokio::test]
async fn what_is_neither_an_address_nor_a_domain_is_refused_with_what_was_expected() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for (arguments, why) in [
        (&["block", "add", "300.1.1.1"][..], "four numbers from 0 to 255"),
        (&["block", "add", "192.168.1"], "four numbers from 0 to 255"),
        (&["block", "add", "192.168.1/24"], "is no IP address"),
        (&["block", "add", "*@fabrikam.com"], "it is no pattern"),
        (&["block", "add", "mallory@192.168.1"], "four numbers from 0 to 255"),
        (&["partner", "new", "300.1.1.1", "type=federated"], "four numbers from 0 to 255"),
        (&["partner", "new", "*.fabrikam.com", "type=federated"], "each domain is listed by itself"),
        (&["policy", "new", "wards", "users=192.168.1", "verdict=deny"], "four numbers from 0 to 255"),
        (&["policy", "new", "wards", "users=*@192.168.1", "verdict=deny"], "four numbers from 0 to 255"),
    ] {
        let said = town.refused(arguments).await?;
        ensure!(said.contains(why), "{arguments:?}: {said}");
    }
    let block = town.refused(&["block", "add", "300.1.1.1"]).await?;
    ensure!(block.contains("expected a contact such as"), "{block}");
    Ok(())
}

#[tokio::test]
async fn texts_have_an_end_and_so_have_names() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let (long, name) = (format!("description={}", "x".repeat(1001)), "x".repeat(101));
    for arguments in [
        &["partner", "new", "fabrikam.com", "type=federated", &long][..],
        &["block", "add", "mallory@fabrikam.com", &long],
        &["policy", "new", &name, "users=alice@contoso.com", "verdict=deny"],
    ] {
        let said = town.refused(arguments).await?;
        ensure!(said.contains("1 characters; expected 100") && said.len() < 1000, "{said}");
    }
    town.done(&["partner", "new", "fabrikam.com", "type=federated", &long[..long.len() - 1]]).await?;
    Ok(())
}

#[tokio::test]
async fn a_domain_that_looks_like_another_one_or_is_the_gateways_name_is_told() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let said = town.refused(&["partner", "new", "nuncio.contoso.com", "type=federated"]).await?;
    ensure!(said.contains("is the name of this gateway itself (sip.name"), "{said}");
    let said = town.done(&["partner", "new", "wingt\u{456}p.com", "type=federated"]).await?;
    for warning in ["mixes letters of several scripts", "it looks like wingtip.com, which is a partner's"] {
        ensure!(said.contains(warning), "{said}");
    }
    // Who has nothing to do with it hears nothing of it.
    let said = town.done(&["partner", "new", "bücher.example", "type=federated"]).await?;
    ensure!(!said.contains("warning"), "{said}");
    town.done(&["block", "add", "müller.example"]).await?;
    for (list, shown) in [
        (&["partner", "list"][..], "xn--bcher-kva.example (bücher.example): federated"),
        (&["partner", "show", "bücher.example"], "xn--bcher-kva.example\" (bücher.example)"),
        (&["block", "list"], "xn--mller-kva.example (müller.example)"),
        (
            &["audit", "bücher.example"],
            "partner.created  xn--bcher-kva.example (bücher.example): type = \"federated\"",
        ),
    ] {
        let said = town.done(list).await?;
        ensure!(said.contains(shown), "{list:?}: {said}");
    }
    town.done(&["partner", "set", "bücher.example", "sasl=optional", "description=Books"]).await?;
    let said = town.done(&["audit", "bücher.example", "--most", "1"]).await?;
    ensure!(
        said.contains("sasl: \"required\" (the default) → \"optional\"; description: \"Books\", was not set"),
        "{said}"
    );
    ensure!(!said.contains("federated\""), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_goes_with_a_partner_is_told_only_if_it_goes() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    town.done(&["partner", "new", "fabrikam.com", "type=public-verified"]).await?;
    let said = town.done(&["partner", "remove", "fabrikam.com", "--dry-run"]).await?;
    ensure!(said.contains("goes what is known of his users"), "{said}");
    // The file has him by now.
    town.edit("[limits]", "[[partner]]\ndomain = \"fabrikam.com\"\ntype = \"federated\"\n[limits]")?;
    town.done(&["reload"]).await?;
    let said = town.done(&["partner", "remove", "fabrikam.com"]).await?;
    ensure!(!said.contains("goes what is known of his users"), "{said}");
    Ok(())
}
