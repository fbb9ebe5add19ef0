//! Writing messages. Values from outside go in as values and stay values: nothing given to a builder can end a
//! line, close a quote, add a parameter or begin a header field (SEC-30, SEC-31).

mod head;
mod request;
mod response;
mod text;
mod uri;
mod within;

pub use head::ResponseHead;
pub use request::RequestBuilder;
pub use response::ResponseBuilder;
pub use text::{MAX_DISPLAY, MAX_TEXT, display_name, header_text};
pub use uri::UriBuilder;
pub(crate) use within::write_within_transaction;

/// Header fields by name and value, none as a rule.
pub type Fields = Box<[(&'static str, String)]>;

/// A part without which a message cannot be written is unusable. Parts that a message can do without are left
/// out or cleaned instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The method is not a token.
    #[error("the method is not a token")]
    Method,
    /// Transport, sent-by or branch of Via.
    #[error("the Via cannot be written: transport, host or branch is malformed")]
    Via,
    /// A tag that is not a token.
    #[error("the tag is not a token")]
    Tag,
    /// A Call-ID with characters that no Call-ID has.
    #[error("the Call-ID is malformed")]
    CallId,
    /// A host that is neither name nor address.
    #[error("the host is neither a domain name nor an address")]
    Host,
    /// A user part that is empty.
    #[error("the user part is empty")]
    User,
    /// A parameter without name.
    #[error("the parameter has no name")]
    Param,
}
