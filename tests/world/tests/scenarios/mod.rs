//! The scenarios, by subject.

mod admission;
mod harness;
mod messages;
mod outage;
mod scene;
mod sipp;
mod strangers;
mod streams;

use nuncio_world::runner::Scenario;
use nuncio_world::scenario;

use admission::{front_end_with_server_auth_only, partner_with_server_auth_only};
use harness::{refuses_unknown_authorities, sipp_speaks_through_stunnel, two_ejabberd_domains_federate};
use messages::{
    absent_front_end_is_reported, absent_partner_is_reported, messages_go_both_ways,
    unknown_sip_user_is_reported, unknown_xmpp_user_is_reported,
};
use outage::{ejabberd_stops_and_starts, sigterm_drains};
use sipp::{sipp_front_end_answers, ten_thousand_arrive_in_order};
use strangers::{
    unlisted_partner_is_not_written_to, unlisted_partner_is_refused, unlisted_sip_certificates_are_refused,
};
use streams::{
    bad_certificates_do_not_get_in, bad_certificates_get_no_message, foreign_from_ends_the_stream,
    stanza_before_authentication,
};

/// Every scenario; the long ones first, so that the others run beside them.
pub(crate) const ALL: &[Scenario] = &[
    scenario!(ten_thousand_arrive_in_order),
    scenario!(ejabberd_stops_and_starts),
    scenario!(two_ejabberd_domains_federate),
    scenario!(sipp_speaks_through_stunnel),
    scenario!(refuses_unknown_authorities),
    scenario!(messages_go_both_ways),
    scenario!(messages_go_both_ways_unprivileged as an ordinary user: messages_go_both_ways),
    scenario!(unknown_xmpp_user_is_reported),
    scenario!(unknown_sip_user_is_reported),
    scenario!(absent_front_end_is_reported),
    scenario!(absent_partner_is_reported),
    scenario!(sipp_front_end_answers),
    scenario!(sigterm_drains),
    scenario!(front_end_with_server_auth_only),
    scenario!(partner_with_server_auth_only),
    scenario!(foreign_from_ends_the_stream),
    scenario!(stanza_before_authentication),
    scenario!(bad_certificates_do_not_get_in),
    scenario!(bad_certificates_get_no_message),
    scenario!(unlisted_sip_certificates_are_refused),
    scenario!(unlisted_partner_is_refused),
    scenario!(unlisted_partner_is_not_written_to),
];
