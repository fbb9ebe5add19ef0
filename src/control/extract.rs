//! What handlers take from requests, with problem documents for what cannot be taken.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Json, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::Problem;

/// The longest body that is read, in bytes. All partners of a large gateway fit.
pub(super) const LONGEST_BODY: usize = 16 * 1024 * 1024;

/// The body of a request: JSON, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Json::from_request(request, state).await.map(|Json(body)| Self(body)).map_err(unreadable)
    }
}

fn unreadable(rejection: JsonRejection) -> Problem {
    let detail = match &rejection {
        JsonRejection::MissingJsonContentType(_) => {
            "the body has to be JSON, with \"Content-Type: application/json\"".to_owned()
        }
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            format!("the body is longer than {LONGEST_BODY} bytes; give what is in it in several requests")
        }
        JsonRejection::JsonSyntaxError(_) => format!("the body is not JSON: {}", rejection.body_text()),
        _ => rejection.body_text(),
    };
    Problem::new(rejection.status(), detail)
}

/// How many are wanted: `usual`, unless somebody says so, from 1 to `most`.
pub(super) fn at_most(wanted: Option<usize>, usual: usize, most: usize) -> Result<usize, Problem> {
    match wanted.unwrap_or(usual) {
        number if (1..=most).contains(&number) => Ok(number),
        number => Err(Problem::refused(format!("most: {number} is not from 1 to {most}"))),
    }
}

/// A part of the path, or the query, as axum takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked<T>(pub T);

impl<S: Send + Sync, T> FromRequestParts<S> for Checked<T>
where
    T: FromRequestParts<S>,
    T::Rejection: Unreadable,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        T::from_request_parts(parts, state).await.map(Self).map_err(Unreadable::problem)
    }
}

/// What axum says when it cannot take something.
pub trait Unreadable {
    /// The same as a problem document.
    fn problem(self) -> Problem;
}

impl Unreadable for PathRejection {
    fn problem(self) -> Problem {
        Problem::new(self.status(), self.body_text())
    }
}

impl Unreadable for QueryRejection {
    fn problem(self) -> Problem {
        Problem::new(self.status(), self.body_text())
    }
}
