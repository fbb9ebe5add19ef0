//! A partner is tried by an administrator: his server lets us in, and answers a ping on a stream of its own.

use anyhow::{Result, ensure};
use nuncio_world::World;

use super::scene::Scene;

pub(crate) async fn a_partner_is_tried(world: World) -> Result<()> {
    let scene = Scene::set(&world).await?;
    // Nobody has written to anybody yet, so there is no stream that the answer could come on.
    let said = scene.gateway.tries("fabrikam.com").await?;
    ensure!(said.contains("he lets us in by SASL EXTERNAL over TLS"), "{said}");
    ensure!(said.contains("he answers a ping after "), "{said}");
    let log = scene.gateway.log();
    let his = log.so_many_lines_with(1, &["inbound stream established", "partner=\"fabrikam.com\""]).await?;
    ensure!(his.len() == 1, "{his:?}\n{said}");
    let ours = log.lines_with(&["outbound stream established"]);
    ensure!(ours.is_empty(), "that of the trial is none that stanzas go over: {ours:?}");
    Ok(())
}
