//! The description of the API (OpenAPI 3.1), made from the table of endpoints.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::table::{Endpoint, Parameter};
use super::{Answer, Problem, Role, endpoints};

pub(super) fn endpoints_here() -> Vec<Endpoint> {
    let schema = json!({ "type": "object" });
    let summary = "This description of the API.";
    vec![Endpoint::get("/v1/openapi.json", Role::Viewer, summary, Answer::json(schema), show)]
}

async fn show() -> Json<Value> {
    Json(document(&endpoints()))
}

/// The description of these endpoints.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let mut paths = Map::new();
    for endpoint in endpoints {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(endpoint.method.as_str().to_ascii_lowercase(), operation(endpoint));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Nuncio",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Administration of the gateway while it runs. Keys of partners, policies and blocks are those of \
                the configuration file.",
        },
        "paths": paths,
        "components": {
            "schemas": { "Problem": Problem::schema() },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut parameters: Vec<Value> = in_path(endpoint.path)
        .map(|name| {
            let schema = match endpoint.numbered {
                true => json!({ "type": "integer", "minimum": 0 }),
                false => json!({ "type": "string", "minLength": 1 }),
            };
            let mut parameter = json!({ "name": name, "in": "path", "required": true, "schema": schema });
            if let (Some(object), Some(example)) = (parameter.as_object_mut(), example(name)) {
                object.insert("example".to_owned(), json!(example));
            }
            parameter
        })
        .collect();
    parameters.extend(endpoint.query.iter().map(|Parameter { name, about, schema, required }| {
        json!({ "name": name, "in": "query", "required": required, "description": about, "schema": schema })
    }));
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "description": format!("Needs the role {}.", endpoint.role),
        "parameters": parameters,
        "responses": responses(endpoint),
    });
    let Some(object) = operation.as_object_mut() else { return operation };
    if let Some(schema) = &endpoint.takes {
        let content = json!({ "application/json": { "schema": schema } });
        object.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    if endpoint.role > Role::Anyone {
        object.insert("security".to_owned(), json!([{ "token": [] }]));
    }
    operation
}

fn responses(endpoint: &Endpoint) -> Value {
    let Answer { status, media_type, schema } = &endpoint.gives;
    let content = match schema {
        Some(schema) => json!({ *media_type: { "schema": schema } }),
        None => json!({ *media_type: {} }),
    };
    let about = status.canonical_reason().unwrap_or("Done");
    let mut responses = json!({
        status.as_str(): { "description": about, "content": content },
        "default": {
            "description": "Why it is not done.",
            "content": {
                "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
            },
        },
    });
    // What is not there after a dry run was not made.
    if let (Some(object), StatusCode::CREATED) = (responses.as_object_mut(), *status) {
        let dry = json!({ "description": "What it would amount to.", "content": content });
        object.insert(StatusCode::OK.as_str().to_owned(), dry);
    }
    responses
}

/// What may stand in a path, for those who try it out.
fn example(name: &str) -> Option<&'static str> {
    match name {
        "domain" => Some("fabrikam.com"),
        "name" => Some("wards"),
        "address" => Some("mallory@fabrikam.com"),
        _ => None,
    }
}

/// The names in braces.
fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// `GET /v1/partners/{domain}` is `get_partners_domain`.
fn operation_id(endpoint: &Endpoint) -> String {
    let mut id = endpoint.method.as_str().to_ascii_lowercase();
    for part in endpoint.path.split(['/', '{', '}', '.']).filter(|part| !part.is_empty() && *part != "v1") {
        id.push('_');
        id.push_str(part);
    }
    id
}
