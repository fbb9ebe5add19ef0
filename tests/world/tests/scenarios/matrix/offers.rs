//! What a real server offers to another one that it knows by its certificate: what it cannot do is no claim of ours.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::world::FABRIKAM;
use nuncio_world::xmpp_peer::XmppPeer;
use nuncio_world::xmpp_server::{Brand, SERVERS, Setup, Tls, XmppServer};

use super::page;

const SM: &str = "urn:xmpp:sm:3";

/// Every extension that matters here: what it is, and its element among the features.
const EXTENSIONS: [(&str, &str, &str); 4] = [
    ("server dialback (XEP-0220)", "dialback", "urn:xmpp:features:dialback"),
    ("streams both ways (XEP-0288)", "bidi", "urn:xmpp:features:bidi"),
    ("stream management (XEP-0198)", "sm", SM),
    ("limits of a stream (XEP-0478)", "limits", "urn:xmpp:stream-limits:0"),
];

/// Why a server lacks one.
fn why_not(brand: Brand, name: &str) -> &'static str {
    match (brand, name) {
        (Brand::Ejabberd, "sm") => "`mod_stream_mgmt` is for its clients",
        _ => "this version has no module for it",
    }
}

/// The server is set up for everything it has, and says what that is.
pub(crate) async fn offers(world: World) -> Result<()> {
    let brand = world.brand();
    let prosody = brand == Brand::Prosody;
    let setup =
        Setup { tls: Tls::Optional, dialback: true, bidi: prosody, acks: prosody, ..Setup::default() };
    let fabrikam = world.pki().good("fabrikam", &["fabrikam.com"])?;
    let domains = [("fabrikam.com", &fabrikam)];
    let server = XmppServer::start(&world, brand, ("server", FABRIKAM), &domains, &setup).await?;
    let version = server.user("bob", "fabrikam.com").await?.server_version().await?.1;

    let contoso = world.pki().good("contoso", &["contoso.com"])?;
    let address = SocketAddr::new(FABRIKAM, SERVERS);
    let mut peer =
        XmppPeer::authenticated(world.pki(), &contoso, address, "contoso.com", "fabrikam.com").await?;
    let mut table = String::from("| what | by a certificate that it knows | remark |\n|---|---|---|\n");
    for (what, name, namespace) in EXTENSIONS {
        let offered = peer.was_offered(name, namespace);
        let (word, remark) = if offered { ("offered", "") } else { ("not offered", why_not(brand, name)) };
        let _ = writeln!(table, "| {what} | {word} | {remark} |");
    }
    if peer.was_offered("sm", SM) {
        peer.say(&format!("<enable xmlns='{SM}' resume='true'/>")).await?;
        let enabled = peer.element().await?;
        ensure!(enabled.name == "enabled", "{enabled}");
        let (word, remark) = match enabled.attribute("id") {
            Some(_) => ("possible", ""),
            None => {
                ("not possible: it names no session", "`mod_smacks` names one only where that has a user")
            }
        };
        let _ = writeln!(table, "| … resuming its sessions | {word} | {remark} |");
    }
    page::compare(&format!("offers of {brand}"), &format!("{brand} {version}"), &table)
}
