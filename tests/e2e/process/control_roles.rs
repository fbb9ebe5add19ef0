//! The table of endpoints, as clients meet it over TCP: who may use which, and whether the description says so.

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio::control::tokens::{self, Made};
use nuncio::control::{Endpoint, Role, endpoints};
use serde_json::Value;

use crate::control::asks;
use crate::town::Town;

/// Tokens that open the gateway over TCP.
struct Keys {
    admin: Made,
    viewer: Made,
}

impl Town {
    /// The control plane will be served over TCP as well.
    fn opens_control(&mut self) -> Result<Keys> {
        let keys =
            Keys { admin: tokens::make("ops", Role::Admin), viewer: tokens::make("grafana", Role::Viewer) };
        let file = self.folder().join("tokens");
        std::fs::write(&file, format!("{}\n{}\n", keys.admin.line, keys.viewer.line))?;
        let pki = self.folder().join("pki");
        self.control_more = format!(
            "listen = \"{}\"\ntokens = {file:?}\ncertificate = {:?}\nkey = {:?}\n",
            self.somewhere(1, 8443),
            pki.join("gateway-sip.pem"),
            pki.join("gateway-sip.key"),
        );
        Ok(keys)
    }
}

/// A path that nobody has anything at.
pub(crate) fn example(path: &str) -> String {
    path.replace(['{', '}'], "")
}

#[tokio::test]
async fn every_endpoint_refuses_who_has_not_its_role() -> Result<()> {
    let mut town = Town::found().await?;
    let keys = town.opens_control()?;
    let _gateway = town.gateway("").await?;
    let mut seen = 0;
    for endpoint in endpoints() {
        let (method, path) = (endpoint.method.as_str(), example(endpoint.path));
        let refused = async |token| -> Result<Option<u16>> {
            let (status, media_type) = asks(&town, seen, method, &path, token).await?;
            let refused = [401, 403].contains(&status).then_some(status);
            let readable = refused.is_none() || media_type == "application/problem+json";
            ensure!(readable, "{method} {path}: {media_type}");
            Ok(refused)
        };
        let found = [
            refused(None).await?,
            refused(Some("nuncio_wrong")).await?,
            refused(Some(&keys.viewer.token)).await?,
            refused(Some(&keys.admin.token)).await?,
        ];
        let expected = match endpoint.role {
            Role::Anyone => [None; 4],
            Role::Viewer => [Some(401), Some(401), None, None],
            Role::Admin => [Some(401), Some(401), Some(403), None],
        };
        ensure!(found == expected, "{method} {path} needs {}: {found:?}", endpoint.role);
        seen += 1;
    }
    ensure!(seen > 40, "only {seen} endpoints");
    Ok(())
}

/// What changes something, or reaches out to others, is for admins; a new endpoint has to be thought about.
#[test]
fn viewers_see_everything_and_change_nothing() {
    let is_for = |role: Role| endpoints().into_iter().filter(move |endpoint| endpoint.role == role);
    for Endpoint { method, path, .. } in is_for(Role::Viewer).chain(is_for(Role::Anyone)) {
        assert_eq!(method, Method::GET, "{path} changes something");
    }
    let reads_for_admins: Vec<_> =
        is_for(Role::Admin).filter(|endpoint| endpoint.method == Method::GET).collect();
    let paths: Vec<_> = reads_for_admins.iter().map(|endpoint| endpoint.path).collect();
    assert_eq!(paths, ["/v1/checks/connectivity"]);
}

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

#[tokio::test]
async fn the_description_has_every_endpoint_and_nothing_else() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let client = Client::new(town.control());
    let description = client.ask(Method::GET, "/v1/openapi.json", None).await?.json().context("no JSON")?;
    let paths = description["paths"].as_object().context("no paths")?;
    let described = |path: &str, method: &Method| -> Option<&Value> {
        paths.get(path)?.get(method.as_str().to_lowercase())
    };
    let mut operations = 0;
    for endpoint in endpoints() {
        let operation = described(endpoint.path, &endpoint.method)
            .with_context(|| format!("{} {} is not described", endpoint.method, endpoint.path))?;
        let parameters = operation["parameters"].as_array().context("no parameters")?;
        let named = |place: &str| parameters.iter().filter(|one| one["in"] == place).count();
        ensure!(named("path") == endpoint.path.matches('{').count(), "{operation}");
        ensure!(named("query") == endpoint.query.len(), "{operation}");
        ensure!(operation.get("requestBody").is_some() == endpoint.takes.is_some(), "{operation}");
        ensure!(operation.get("security").is_some() == (endpoint.role > Role::Anyone), "{operation}");
        operations += 1;
    }
    let all = paths.values().filter_map(Value::as_object).map(serde_json::Map::len).sum::<usize>();
    ensure!(all == operations, "{all} are described, and {operations} are there");

    let types = "/~1v1~1partners/post/requestBody/content/application~1json/schema/properties/type/enum";
    let types = description["paths"].pointer(types);
    ensure!(
        types == Some(&serde_json::json!(["federated", "public-verified", "public-unverified"])),
        "{types:?}"
    );

    // The rule “global” stands for [policy], and has its keys.
    let global =
        "/~1v1~1policies~1{name}/patch/requestBody/content/application~1json/schema/anyOf/1/properties";
    let global = description["paths"].pointer(global).context("not described")?;
    for key in ["enabled", "default", "consent"] {
        ensure!(global.get(key).is_some(), "{key} is not in {global}");
    }

    // What the router has is what is described.
    for path in paths.keys() {
        for method in METHODS {
            let reply = client.ask(method.clone(), &example(path), None).await?;
            let is_there = reply.status != 405;
            ensure!(is_there == described(path, &method).is_some(), "{method} {path}: {}", reply.status);
            let detail = reply.json().unwrap_or_default()["detail"].to_string();
            ensure!(!detail.contains("there is nothing at"), "{method} {path}: {detail}");
        }
    }
    Ok(())
}
