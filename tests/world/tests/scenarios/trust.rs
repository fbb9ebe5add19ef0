//! How far contacts are trusted, as the front end is told, and how far its users are believed: for each model in which a
//! Lync-style system takes the gateway in.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::{Decision, FrontEnd};
use nuncio_world::gateway::{Gateway, Partner, Settings};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xmpp_client::XmppClient;

use super::scene::{ALICE, BOB, Scene, check_message};

const FIELD: &str = "ms-edge-proxy-message-trust";

/// The gateway, taken for that, with fabrikam.com for a partner of that type.
async fn gateway(scene: &mut Scene, world: &World, trust: &str, kind: &str) -> Result<()> {
    let partners = vec![Partner { domain: "fabrikam.com", kind, keys: "" }];
    let identities =
        &[("public-verified", "verified.contoso.com"), ("public-unverified", "public.contoso.com")];
    scene.gateway.terminate().await?;
    scene.gateway =
        Gateway::start(world, &Settings { partners, trust, identities, ..Settings::default() }).await?;
    Ok(())
}

/// Alice writes, and Bob may answer: what comes of him on her side. Nobody asserts who he is (SIP-38).
async fn told_of_bob(front_end: &FrontEnd, bob: &mut XmppClient) -> Result<SipMessage> {
    let answer = front_end.send_message(ALICE, BOB, "hello").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_message(&bob.next_message().await?, ALICE, BOB, "hello")?;
    bob.send_message(ALICE, "hi").await?;
    let told = front_end.next_is("MESSAGE").await?.request;
    ensure!(told.body == "hi" && told.header("P-Asserted-Identity").is_none(), "{told}");
    Ok(told)
}

/// The front end is told of each contact what his partner type says, under the name that goes with it, and nothing where it is
/// the edge that says so (`trust`; docs/mapping.md §7). By way of Kamailio it arrives as it was written.
pub(crate) async fn front_ends_are_told_whom_to_trust(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let front_end = FrontEnd::start(&world, &scene.front_end).await?;
    front_end.decide(ALICE, Decision::Accept);
    for (kind, name, said) in [
        ("federated", "nuncio.contoso.com", ["DirectPartner", "verified", "federation", ""]),
        (
            "public-verified",
            "verified.contoso.com",
            ["AuthorizedServer", "verified", "publiccloud", ";ms-remote-fqdn=fabrikam.com"],
        ),
        (
            "public-unverified",
            "public.contoso.com",
            ["AuthorizedServer", "unverified", "publiccloud", ";ms-remote-fqdn=fabrikam.com"],
        ),
    ] {
        for trust in ["server", "edge"] {
            gateway(&mut scene, &world, trust, kind).await?;
            let told = told_of_bob(&front_end, &mut scene.bob).await?;
            let [source, user, network, remote] = said;
            let expected = format!(
                "ms-source-type={source};ms-ep-fqdn={name};ms-source-verified-user={user};\
                 ms-source-network={network}{remote}"
            );
            let expected = (trust == "server").then_some(expected.as_str());
            ensure!(told.header(FIELD) == expected, "{trust}, {kind}:\n{told}");
            let ours = told.all("Via").last().unwrap_or_default();
            ensure!(ours.starts_with(&format!("SIP/2.0/TLS {name}")), "{trust}, {kind}:\n{told}");
        }
    }
    scene.gateway.still_runs()
}

/// A sender whom the edge has not verified is refused, with the reason in the words that may leave an enterprise where the
/// answer does, and a verified one is not (SEC-14).
pub(crate) async fn sec_14_unverified_senders_are_refused(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let front_end = FrontEnd::start(&world, &scene.front_end).await?;
    for (trust, reason, other) in [
        ("edge", "ms-diagnostics-public", "ms-diagnostics"),
        ("server", "ms-diagnostics", "ms-diagnostics-public"),
    ] {
        gateway(&mut scene, &world, trust, "federated").await?;
        let said = |user: &str| {
            format!("ms-source-type=InternetUser;ms-ep-fqdn=edge.contoso.com;ms-source-verified-user={user}")
        };
        let answer =
            front_end.send_message_with((ALICE, BOB), &[(FIELD, &said("unverified"))], "who am I").await?;
        ensure!(answer.status() == Some(403) && answer.must(reason)?.starts_with("29005;"), "{answer}");
        ensure!(answer.header(other).is_none(), "{answer}");
        let answer = front_end.send_message_with((ALICE, BOB), &[(FIELD, &said("verified"))], trust).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let message = scene.bob.next_message().await?;
        check_message(&message, ALICE, BOB, trust)?;
        ensure!(!message.raw.contains("InternetUser"), "{message}");
    }
    scene.gateway.still_runs()
}
