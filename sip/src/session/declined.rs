//! A 2xx to an INVITE of ours whose session is no more: of another branch of a fork, after the session with the first one
//! has ended.

use super::Context;
use crate::dialog::Dialog;
use crate::hop::OutRequest;
use crate::{Message, Method};

/// What such a response gets: ACK, and BYE behind it (RFC 3261 §13.2.2.4). All that is needed for them stands in the response,
/// so nothing is kept for it; how long it may come, 64·T1 after the first one, the transaction knows
/// ([`Output::Early`](crate::connection::Output::Early)). A repeat gets both once more; the other side knows no such
/// session then. `None`: it is no such response, or makes no dialog.
pub fn decline(response: &Message, context: &mut Context<'_>) -> Option<[OutRequest; 2]> {
    let number = response.cseq().ok().filter(|cseq| cseq.method == Method::Invite)?.number;
    response.status().filter(|status| status.is_success())?;
    let mut dialog = Dialog::answered(response).ok()?;
    let origin = context.config.origin();
    let ack = dialog.ack(number, &origin, context.tokens, None).ok()?;
    let bye = dialog.request(Method::Bye, &origin, context.tokens, &[], None).ok()?;
    Some([ack, bye])
}
