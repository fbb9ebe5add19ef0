//! The one table of endpoints: what each is called, which role it needs, what goes in and what comes out. The router, the
//! description of the API and the tests of the roles are made from it, so that none of them can forget one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use serde_json::Value;
use tracing::warn;

use super::extract::LONGEST_BODY;
use super::{Caller, Problem, Role, Shared};
use crate::log_limit::{Cause, Source};
use crate::net::now;

/// How long one request may take, its body included.
const REQUEST_TIME: Duration = Duration::from_secs(120);

/// One endpoint.
pub struct Endpoint {
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: Method,
    /// As axum writes it: `/v1/partners/{domain}`.
    pub path: &'static str,
    /// The least that whoever asks has to be.
    pub role: Role,
    /// What stands for the part in braces is a number.
    pub numbered: bool,
    /// What it does, in a line.
    pub summary: String,
    /// The parameters in the query.
    pub query: Vec<Parameter>,
    /// The schema of the body it takes.
    pub takes: Option<Value>,
    /// What it answers if all goes well.
    pub gives: Answer,
    /// How long it may take, the body of the request included.
    time: Duration,
    handler: MethodRouter<Shared>,
}

/// The methods that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Post,
    Put,
    Patch,
    Delete,
}

/// A parameter in the query.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: &'static str,
    pub about: &'static str,
    /// JSON schema.
    pub schema: Value,
    /// There is no answer without it.
    pub required: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub media_type: &'static str,
    /// JSON schema; absent: anything.
    pub schema: Option<Value>,
}

impl Answer {
    /// 200 with JSON.
    pub fn json(schema: Value) -> Self {
        Self { status: StatusCode::OK, media_type: "application/json", schema: Some(schema) }
    }

    /// 200 with text of this media type.
    pub fn text(media_type: &'static str) -> Self {
        Self { status: StatusCode::OK, media_type, schema: None }
    }

    /// The same with another status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl Endpoint {
    /// GET.
    pub fn get<H, T>(
        path: &'static str,
        role: Role,
        summary: impl Into<String>,
        gives: Answer,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        Self::new((Method::GET, MethodFilter::GET), path, role, summary, gives, handler)
    }

    /// POST, PUT, PATCH or DELETE. It changes something, so it is for [`Role::Admin`].
    pub fn change<H, T>(
        change: Change,
        path: &'static str,
        summary: impl Into<String>,
        gives: Answer,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let method = match change {
            Change::Post => (Method::POST, MethodFilter::POST),
            Change::Put => (Method::PUT, MethodFilter::PUT),
            Change::Patch => (Method::PATCH, MethodFilter::PATCH),
            Change::Delete => (Method::DELETE, MethodFilter::DELETE),
        };
        Self::new(method, path, Role::Admin, summary, gives, handler)
    }

    fn new<H, T>(
        (method, filter): (Method, MethodFilter),
        path: &'static str,
        role: Role,
        summary: impl Into<String>,
        gives: Answer,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let (summary, handler) = (summary.into(), on(filter, handler));
        let (numbered, query, takes, time) = (false, Vec::new(), None, REQUEST_TIME);
        Self { method, path, role, numbered, summary, query, takes, gives, time, handler }
    }

    /// Lets those with less than the method usually asks for use it: a check that changes nothing may be a POST.
    #[must_use]
    pub fn for_role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// What stands for the part in braces of its path is a number.
    #[must_use]
    pub fn numbered(self) -> Self {
        Self { numbered: true, ..self }
    }

    /// The schema of its body.
    #[must_use]
    pub fn takes(self, schema: Value) -> Self {
        Self { takes: Some(schema), ..self }
    }

    /// One more parameter in the query.
    #[must_use]
    pub fn query(mut self, name: &'static str, about: &'static str, schema: Value) -> Self {
        self.query.push(Parameter { name, about, schema, required: false });
        self
    }

    /// One more, without which there is no answer.
    #[must_use]
    pub fn needs(mut self, name: &'static str, about: &'static str, schema: Value) -> Self {
        self.query.push(Parameter { name, about, schema, required: true });
        self
    }

    /// It may take longer than others.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self { time, ..self }
    }
}

/// The endpoints as a service, each behind its role; everything else is a problem document.
pub(super) fn router(control: Shared, endpoints: Vec<Endpoint>) -> Router {
    let mut router = Router::new();
    for Endpoint { method, path, role, time, handler, .. } in endpoints {
        let door = Door { needed: role, method, path, control: Arc::clone(&control) };
        let timed = handler.route_layer(from_fn_with_state(time, in_time));
        router = router.route(path, timed.route_layer(from_fn_with_state(door, guard)));
    }
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(control)
}

/// Goes with the answer of an endpoint that anyone may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForAnyone;

/// The way to one endpoint.
#[derive(Clone)]
struct Door {
    needed: Role,
    method: Method,
    path: &'static str,
    control: Shared,
}

/// Lets in who has the role. Who has not is noted, but not as often as he likes.
async fn guard(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let Door { needed, method, path, control } = door;
    if caller.role >= needed {
        let mut response = next.run(request).await;
        if needed == Role::Anyone {
            response.extensions_mut().insert(ForAnyone);
        }
        return response;
    }
    let Caller { name, role, why, by_token } = caller;
    let status = match role {
        Role::Anyone if by_token => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    };
    let lacks = match status {
        StatusCode::UNAUTHORIZED => format!("this needs a token with the role {needed}: {why}"),
        _ => format!("this needs the role {needed}, and {name} has the role {role}: {why}"),
    };
    let log = control.context.gateway.log_budget();
    if log.allows(Cause::ControlRefused, Source::Caller(&name), now().instant) {
        warn!("{method} {path} was refused: {lacks}");
        let subject = format!("{method} {path}");
        control.authority.audit(&name, "request.refused", &subject, None, Some(lacks.clone()));
    }
    Problem::new(status, lacks).into_response()
}

async fn nowhere(request: Request) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}; /v1/openapi.json lists what there is",
        request.uri().path()
    ))
}

async fn other_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} does not go with {}; the header Allow says what does",
            request.method(),
            request.uri().path()
        ),
    )
}

async fn in_time(State(most): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(most, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = most.as_secs();
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("it was not done within {seconds} s, and may be done all the same"),
            )
            .into_response()
        }
    }
}
