//! SIP for the gateway, without IO: framing and reading of messages over the receive buffer, URIs and header
//! values, what must be refused and how, builders that no foreign value can break out of, transactions, dialogs,
//! subscriptions and sessions of messages.
//!
//! The wire layer keeps the bytes. A [`Message`] is its buffer plus an index of header fields; values are read
//! when asked for, and what we do not own is handed on as it came.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod build;
mod check;
pub mod connection;
mod date;
pub mod dialog;
mod error;
pub mod escape;
pub mod event;
mod frame;
mod header_name;
pub mod hop;
mod host;
mod lex;
mod limits;
mod list;
mod message;
mod method;
pub mod multipart;
mod name_addr;
mod params;
pub mod sdp;
pub mod session;
mod status;
mod tick;
mod uri;
mod values;
mod via;

pub use build::{
    BuildError, Fields, MAX_DISPLAY, MAX_TEXT, RequestBuilder, ResponseBuilder, ResponseHead, UriBuilder,
    display_name, header_text,
};
pub use check::{DropReason, Rejection, check_request, check_request_with, check_response};
pub(crate) use check::{read_request, read_response};
pub use date::{format_date, parse_date};
pub use error::HeaderError;
pub use escape::EscapeError;
pub use frame::{Frame, FrameError, FrameErrorKind, Framer};
pub use header_name::HeaderName;
pub use host::Host;
pub use limits::Limits;
pub use list::CommaList;
pub use message::{Defect, Message, ParseError};
pub use method::Method;
pub use name_addr::NameAddr;
pub use params::{ParamIter, Params};
pub use status::StatusCode;
pub use tick::Tick;
pub use uri::{Scheme, Uri, UriError};
pub use values::{CSeq, ContentType, Event, RetryAfter, SubscriptionState, Token, WarningValue};
pub use via::Via;
