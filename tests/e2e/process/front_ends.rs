//! Two front ends for the same domains.

use anyhow::{Result, ensure};

use crate::town::{Town, from_carol, takes_all};

/// Beside pool1, which nobody plays here.
const SPARE: &str = "sip.backoff_initial = \"10ms\"\nsip.backoff_max = \"10ms\"\n
[[sip.front_end]]\nname = \"spare\"\ncertificate_names = [\"spare.contoso.com\"]
next_hops = [\"spare.contoso.com:5061\"]\n";

#[tokio::test]
async fn the_second_takes_what_the_first_cannot_and_shows_a_name_of_its_own() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway(SPARE).await?;
    let mut carol = town.wingtip_speaks().await?;
    // The first one's name is not enough at the second's address.
    let pretender = town.good_front_end()?;
    let mut spare = town.answers_at(town.spare(), &pretender, takes_all).await?;
    carol.say(&from_carol("1", "for the spare")).await?;
    let said = town.log.line_after(0, "no connection to front end spare").await?;
    ensure!(said.contains("expected spare.contoso.com"), "{said}");
    ensure!(spare.waiting().is_empty(), "it was sent to a pretender");
    drop(spare);
    let good = town.pki.good("spare", &["spare.contoso.com"])?;
    spare = town.answers_at(town.spare(), &good, takes_all).await?;
    ensure!(spare.next_message().await?.body == "for the spare");
    Ok(())
}
