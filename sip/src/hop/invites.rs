//! INVITEs on their way, and which of them nobody wants any more (RFC 3261 §9).

use std::collections::BTreeMap;
use std::time::Instant;

use super::{HopConnection, HopFailure, HopGroup, HopOutput, OutRequest};
use crate::Fields;

/// INVITEs that are at a connection, by the branch that the caller knows.
#[derive(Debug, Default)]
pub(super) struct Invites(BTreeMap<String, Invite>);

#[derive(Debug)]
struct Invite {
    connection: HopConnection,
    /// The branch it has there.
    branch: String,
    cancelled: bool,
}

impl Invites {
    /// This one goes to a connection.
    pub(super) fn leaves(&mut self, request: &OutRequest, connection: HopConnection) {
        let invite = Invite { connection, branch: request.branch().to_owned(), cancelled: false };
        self.0.insert(request.base_branch().to_owned(), invite);
    }

    /// It has come back; whether it was cancelled meanwhile.
    pub(super) fn came_back(&mut self, request: &OutRequest) -> bool {
        self.0.remove(request.base_branch()).is_some_and(|invite| invite.cancelled)
    }

    fn cancel(&mut self, branch: &str) -> Option<(HopConnection, String)> {
        let invite = self.0.get_mut(branch)?;
        invite.cancelled = true;
        Some((invite.connection, invite.branch.clone()))
    }
}

impl<E> HopGroup<E> {
    /// An INVITE is not wanted any more (RFC 3261 §9); `branch` is the one it was pushed with. Its outcome comes back as
    /// always: [`HopFailure::Withdrawn`] if nothing of it was sent, else what is answered after CANCEL, which carries these
    /// fields. Whatever that is, the INVITE goes to nobody else: who got it then would not hear of the CANCEL. False: it is
    /// not here, or has come back already.
    pub fn cancel(&mut self, branch: &str, fields: &Fields, now: Instant) -> bool {
        if let Some((connection, branch)) = self.invites.cancel(branch) {
            self.outputs.push_back(HopOutput::Cancel { connection, branch, fields: fields.clone() });
        } else if let Some(outgoing) = self.held.take(branch).or_else(|| self.diverted.take(branch)) {
            self.fail(outgoing, HopFailure::Withdrawn);
            self.advance(now);
        } else {
            return false;
        }
        true
    }
}
