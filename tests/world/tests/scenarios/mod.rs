//! The scenarios, by subject.

mod harness;

use nuncio_world::runner::Scenario;
use nuncio_world::scenario;

use harness::{refuses_unknown_authorities, sipp_speaks_through_stunnel, two_ejabberd_domains_federate};

/// Every scenario.
pub(crate) const ALL: &[Scenario] = &[
    scenario!(two_ejabberd_domains_federate),
    scenario!(sipp_speaks_through_stunnel),
    scenario!(refuses_unknown_authorities),
];
