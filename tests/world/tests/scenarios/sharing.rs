//! Two domains of ours on one stream, where the partner takes dialback and there is room for one.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::dns::Changes;
use nuncio_world::gateway::{Partner, Settings};
use nuncio_world::xmpp_server::Setup;

use super::scene::{ALICE, BOB, Scene, check_message};

const DAVE: &str = "dave@contoso.net";

pub(crate) async fn domains_share_a_stream(world: World) -> Result<()> {
    let more = "srv-host=_xmpp-server._tcp.contoso.net,nuncio.contoso.com,5269,0,0\n";
    world.change_dns(Changes { more, without: &[] }).await?;
    // A server that does not take our certificate: what is left is dialback, for each domain.
    let setup = Setup { dialback: true, knows_us: false, ..Setup::default() };
    let keys = "sasl = \"optional\"\nconnection_limit = 1";
    let settings = Settings {
        partners: vec![Partner { keys, ..Partner::federated("fabrikam.com") }],
        more_domains: &["contoso.net"],
        ..Settings::default()
    };
    let mut scene = Scene::set_at(&world, world.brand(), &setup, &settings).await?;
    let mut front_end = scene.calls(&world).await?;
    for (from, text) in [(ALICE, "one"), (DAVE, "two"), (ALICE, "three"), (DAVE, "four")] {
        let call = front_end.send_message(from, BOB, text).await?;
        check_message(&scene.bob.next_message().await?, from, BOB, text)?;
        let answer = front_end.final_answer(&call).await?;
        ensure!(answer.status() == Some(200), "{text}: {answer:?}");
    }
    let log = scene.gateway.log();
    let opened = log.so_many_lines_with(1, &["outbound stream established"]).await?;
    ensure!(opened.len() == 1 && opened[0].contains("dialback over TLS"), "{opened:?}");
    let shared = log.so_many_lines_with(1, &["the lane shares one", "local=contoso.net"]).await?;
    ensure!(shared.len() == 1, "{shared:?}");
    scene.gateway.still_runs()
}
