//! Event subscriptions (RFC 6665), without IO: the dialogs of both roles.

mod record;

pub use record::DialogRecord;
