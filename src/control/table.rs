//! The one table of endpoints: what each is called, which role it needs, what goes in and what comes out. The router, the
//! description of the API and the tests of the roles are made from it, so that none of them can forget one.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use serde_json::Value;

use super::extract::LONGEST_BODY;
use super::{Caller, Problem, Role, Shared};

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
    pub summary: &'static str,
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
    pub fn get<H, T>(path: &'static str, role: Role, summary: &'static str, gives: Answer, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        Self::new(Method::GET, path, role, summary, gives, on(MethodFilter::GET, handler))
    }

    /// POST. It changes something, so it is for [`Role::Admin`].
    pub fn post<H, T>(path: &'static str, summary: &'static str, gives: Answer, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        Self::new(Method::POST, path, Role::Admin, summary, gives, on(MethodFilter::POST, handler))
    }

    /// PUT. It changes something, so it is for [`Role::Admin`].
    pub fn put<H, T>(path: &'static str, summary: &'static str, gives: Answer, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        Self::new(Method::PUT, path, Role::Admin, summary, gives, on(MethodFilter::PUT, handler))
    }

    /// PATCH. It changes something, so it is for [`Role::Admin`].
    pub fn patch<H, T>(path: &'static str, summary: &'static str, gives: Answer, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        Self::new(Method::PATCH, path, Role::Admin, summary, gives, on(MethodFilter::PATCH, handler))
    }

    /// DELETE. It changes something, so it is for [`Role::Admin`].
    pub fn delete<H, T>(path: &'static str, summary: &'static str, gives: Answer, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        Self::new(Method::DELETE, path, Role::Admin, summary, gives, on(MethodFilter::DELETE, handler))
    }

    fn new(
        method: Method,
        path: &'static str,
        role: Role,
        summary: &'static str,
        gives: Answer,
        handler: MethodRouter<Shared>,
    ) -> Self {
        Self {
            method,
            path,
            role,
            numbered: false,
            summary,
            query: Vec::new(),
            takes: None,
            gives,
            time: REQUEST_TIME,
            handler,
        }
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
    for endpoint in endpoints {
        let timed = endpoint.handler.route_layer(from_fn_with_state(endpoint.time, in_time));
        let guarded = timed.route_layer(from_fn_with_state(endpoint.role, guard));
        router = router.route(endpoint.path, guarded);
    }
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(control)
}

/// Lets in who has the role.
async fn guard(
    State(needed): State<Role>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    if caller.role >= needed {
        return next.run(request).await;
    }
    let Caller { name, role, why, by_token } = caller;
    let status = match role {
        Role::Anyone if by_token => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    };
    Problem::new(status, format!("this needs the role {needed}, and {name} has the role {role}: {why}"))
        .into_response()
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
