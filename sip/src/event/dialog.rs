//! Dialogs (RFC 3261 §12).

use compact_str::CompactString;

use super::{Context, DialogRecord};
use crate::hop::OutRequest;
use crate::{BuildError, HeaderError, Message, Method, RequestBuilder, UriError};

/// How far the `CSeq` of a restored dialog jumps ahead. A record may lag behind what was sent: requests are not
/// worth a write to disk each. No subscription sends as many requests as this between two saves of its record — at
/// one NOTIFY in 5 s it takes 3.8 days —, and the numbers last for 32,767 restarts of one dialog.
pub const RESTORE_JUMP: u32 = 1 << 16;

/// One dialog. What the other side chose is kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog(pub(super) DialogRecord);

/// Where a request stands in the order of its dialog (RFC 3261 §12.2.2; EV-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    New,
    /// The same number again: a repeat of the last one.
    Repeat,
    /// A lower number: answered 500, and nothing changes.
    Old,
}

impl Dialog {
    /// A dialog that a request of ours is to begin.
    ///
    /// # Errors
    /// [`UriError`]: one of the two is no SIP URI.
    pub fn outgoing(local_uri: &str, remote_uri: &str) -> Result<Self, UriError> {
        let _ = (local_uri, remote_uri);
        Err(UriError::Scheme)
    }

    /// The dialog that a request of the other side begins (RFC 3261 §12.1.1).
    ///
    /// # Errors
    /// [`HeaderError`]: a field without which there is no dialog.
    pub fn incoming(request: &Message, local_tag: &str) -> Result<Self, HeaderError> {
        let _ = local_tag;
        request.call_id()?;
        Err(HeaderError::Params)
    }

    /// Goes on with a dialog of an earlier process; `CSeq` jumps ahead by [`RESTORE_JUMP`].
    pub fn restore(record: DialogRecord) -> Self {
        Self(record)
    }

    /// What is worth keeping.
    pub fn record(&self) -> &DialogRecord {
        &self.0
    }

    pub(super) fn request(
        &mut self,
        _method: Method<'_>,
        _context: &mut Context<'_>,
        _fields: impl for<'o> FnOnce(RequestBuilder<'o>) -> RequestBuilder<'o>,
        _body: Option<(&str, &[u8])>,
    ) -> Result<OutRequest, BuildError> {
        Err(BuildError::Via)
    }

    pub(super) fn local_tag(&self) -> &CompactString {
        &self.0.local_tag
    }
}
