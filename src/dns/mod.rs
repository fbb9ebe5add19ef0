//! Finding where to connect: names in, addresses in the order of trying out.
//!
//! [`Resolve`] is the question asked of the domain name system, [`Dns`] answers it with hickory, and
//! [`xmpp_server_candidates`] and [`host_candidates`] turn answers into a list of [`Candidate`]s, [`sip_targets`] into the
//! hosts of a SIP domain. What DNS says
//! decides where a connection goes, never who is at its end: that is the certificate's business (RFC 9525 §6.1.1).

pub use candidates::{
    Candidate, Found, LeftOut, MAX_ADDRESSES_PER_HOST, MAX_CANDIDATES, MAX_SRV_RECORDS, Origin, Reach,
    host_candidates, redirect_candidates, xmpp_server_candidates,
};
pub use error::{DnsError, DnsErrorKind};
pub use order::order_srv;
pub use private::is_private;
pub use resolve::{Family, NaptrRecord, Resolve, SrvRecord};
pub use sip::{MAX_NAPTR_RECORDS, SipLookup, SipTarget, SipTargets, sip_targets};
pub use system::{Dns, DnsConfig};

mod candidates;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod order;
mod private;
mod resolve;
mod sip;
mod system;
