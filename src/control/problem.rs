//! Errors as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::config;

/// The media type of problem documents.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request is not done. The texts are for people; programs go by the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// What is wrong with this request, and what to do.
    pub detail: String,
    /// Each thing that is wrong with what was given, where there are several.
    pub errors: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: `/etc/nuncio/nuncio.toml:12:1`, `stored partner fabrikam.com`.
    pub place: String,
    /// What, and what to do about it.
    pub text: String,
}

impl Problem {
    /// With a sentence for people.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        // Whoever asks knows what he has given: it is not sent back to him at any length.
        Self { status, detail: config::with_words_cut(&detail.into()), errors: Vec::new() }
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it contradicts what is there.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 422: it was understood, and cannot be used.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 500: ours.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// 500 for a step that ended in a panic.
    pub fn failed() -> Self {
        Self::internal("an internal error, which the log of the gateway shows")
    }

    /// 422 with everything that is wrong with a configuration.
    pub fn of_report(detail: impl Into<String>, report: &config::Report) -> Self {
        let errors = report.problems().iter().filter(|problem| problem.severity == config::Severity::Error);
        Self {
            errors: errors
                .map(|problem| Fault {
                    place: config::with_words_cut(&problem.place),
                    text: config::with_words_cut(&problem.text),
                })
                .collect(),
            ..Self::refused(detail)
        }
    }

    /// The document.
    pub fn document(&self) -> serde_json::Value {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut document = json!({
            "type": "about:blank",
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(object), false) = (document.as_object_mut(), self.errors.is_empty()) {
            object.insert("errors".to_owned(), json!(self.errors));
        }
        document
    }

    /// Its schema, for the description of the API.
    pub(super) fn schema() -> serde_json::Value {
        json!({
            "type": "object",
            "description": "A problem document (RFC 9457).",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string", "description": "The name of the status." },
                "status": { "type": "integer" },
                "detail": { "type": "string", "description": "What is wrong and what to do, for people." },
                "errors": {
                    "type": "array",
                    "description": "Each thing that is wrong with what was given.",
                    "items": {
                        "type": "object",
                        "required": ["place", "text"],
                        "properties": { "place": { "type": "string" }, "text": { "type": "string" } },
                    },
                },
            },
        })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.document().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
