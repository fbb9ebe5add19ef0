//! Our own certificates on their way: a key and a signing request with the names that the configuration asks for, the signed
//! certificate checked before anybody is shown it, and put where the configuration names it, from where the running gateway
//! takes it up ([`crate::renew`]).
//!
//! Everything here is a plain function from plain data to plain data. Beside the two files of a certificate and its key,
//! each called FILE by the configuration, stand at most:
//!
//! | file | |
//! |---|---|
//! | FILE`.new` | what will take its place: a key that was made with a request, a certificate that was imported |
//! | FILE`.new.kept-1` | a key that waited for its certificate when another one took its place |
//! | FILE`.old` | what stood in its place before, for [`undo`] |
//! | FILE`.csr` | beside the certificate: the signing request |
//!
//! A key is readable by its owner only from the first byte on, and is shown by nothing.

mod ask;
mod assign;
pub mod expiry;
mod files;
mod import;
mod keep;
mod live;
mod names;
mod places;
mod prepare;
mod ready;
mod request;
mod show;
mod shown;

pub use ask::{AskError, Wish, ask};
pub use assign::{AssignError, Assigned, Waiting, assign, undo, waiting};
pub use files::FileError;
pub use import::{ImportError, Imported, Keys, import};
pub use keep::{StoreError, store};
pub use live::{Live, live};
pub use names::{Name, Why, names};
#[cfg(test)]
pub(crate) use places::tests;
pub use places::{Place, SelectError, Side, Use, places, select};
pub use prepare::{PrepareError, Prepared, prepare};
pub use ready::{NotReady, ready};
pub use request::{KeyKind, Made, Request, RequestError, Subject, request};
pub use show::{ShowError, ShownItem, show};
pub(crate) use show::{key as key_in_words, signature as signature_in_words};
pub use shown::{Seen, listening, see};
