//! The scenarios, by subject.

mod admission;
mod bystander;
mod contact_adds;
mod cut;
mod failing;
mod harness;
mod ledger;
mod letters;
mod lync_watches;
mod matrix;
mod messages;
mod outage;
mod restarts;
mod scene;
mod sharing;
mod sipp;
mod sipp_presence;
mod stage;
mod states;
mod strangers;
mod streams;
mod unverified;
mod user_adds;

use nuncio_world::runner::Scenario;
use nuncio_world::scenario;

use self::matrix::{matrix, matrix_direct_tls, offers as matrix_offers};
use admission::{front_end_with_server_auth_only, partner_with_server_auth_only};
use contact_adds::{
    contact_adds_nobody, contact_adds_user_and_is_accepted, contact_adds_user_and_is_denied,
    contact_takes_it_back,
};
use cut::{
    sm_02_a_cut_stream_begins_a_new_session, sm_02_a_cut_stream_both_ways_begins_a_new_session,
    sm_02_a_cut_stream_of_prosodys_begins_a_new_session,
};
use failing::{
    partner_is_black_holed, partner_is_black_holed_acknowledged, partner_is_black_holed_both_ways,
    partner_is_frozen, partner_is_frozen_acknowledged, partner_is_frozen_both_ways, partner_is_killed,
    partner_is_killed_acknowledged, partner_is_killed_both_ways, partner_is_removed_from_dns,
    partner_is_removed_from_dns_acknowledged, partner_is_removed_from_dns_both_ways, partner_reads_slowly,
};
use harness::{
    refuses_unknown_authorities, servers_authenticate_each_other, sipp_speaks_through_stunnel,
    two_ejabberd_domains_federate,
};
use lync_watches::{lync_is_told_by_benotify_and_in_the_answer, lync_watches_many_at_once};
use messages::{
    absent_front_end_is_reported, absent_partner_is_reported, messages_go_both_ways,
    unknown_sip_user_is_reported, unknown_xmpp_user_is_reported,
};
use outage::{ejabberd_stops_and_starts, sigterm_drains};
use restarts::{
    ejabberd_restarts_and_everything_is_as_before, gateway_killed_and_everything_is_as_before,
    gateway_killed_and_front_end_has_forgotten, gateway_killed_before_they_decide,
    planned_stop_sends_deactivated,
};
use sharing::domains_share_a_stream;
use sipp::{sipp_front_end_answers, ten_thousand_arrive_in_order};
use sipp_presence::{sipp_is_subscribed_to, sipp_subscribes_and_refreshes};
use states::{presence_follows_both_ways, resources_are_tuples};
use strangers::{
    unlisted_partner_is_not_written_to, unlisted_partner_is_refused, unlisted_sip_certificates_are_refused,
};
use streams::{
    bad_certificates_do_not_get_in, bad_certificates_get_no_message, foreign_from_ends_the_stream,
    stanza_before_authentication,
};

use unverified::public_unverified_contact_waits_for_the_user;
use user_adds::{user_adds_contact_and_is_accepted, user_adds_contact_and_is_denied, user_takes_it_back};

/// Every scenario; the long ones first, so that the others run beside them.
pub(crate) const ALL: &[Scenario] = &[
    scenario!(matrix),
    scenario!(matrix_prosody with Prosody: matrix),
    scenario!(matrix_direct_tls),
    scenario!(matrix_direct_tls_prosody with Prosody: matrix_direct_tls),
    scenario!(matrix_offers),
    scenario!(matrix_offers_prosody with Prosody: matrix_offers),
    scenario!(ten_thousand_arrive_in_order),
    scenario!(ejabberd_stops_and_starts),
    scenario!(partner_stops_and_starts_prosody with Prosody: ejabberd_stops_and_starts),
    scenario!(partner_reads_slowly with Prosody: partner_reads_slowly),
    scenario!(partner_is_killed),
    scenario!(partner_is_killed_prosody with Prosody: partner_is_killed),
    scenario!(partner_is_frozen),
    scenario!(partner_is_frozen_prosody with Prosody: partner_is_frozen),
    scenario!(partner_is_black_holed),
    scenario!(partner_is_removed_from_dns),
    scenario!(partner_is_killed_both_ways with Prosody: partner_is_killed_both_ways),
    scenario!(partner_is_killed_acknowledged with Prosody: partner_is_killed_acknowledged),
    scenario!(partner_is_frozen_both_ways with Prosody: partner_is_frozen_both_ways),
    scenario!(partner_is_frozen_acknowledged with Prosody: partner_is_frozen_acknowledged),
    scenario!(partner_is_black_holed_both_ways with Prosody: partner_is_black_holed_both_ways),
    scenario!(partner_is_black_holed_acknowledged with Prosody: partner_is_black_holed_acknowledged),
    scenario!(partner_is_removed_from_dns_both_ways with Prosody: partner_is_removed_from_dns_both_ways),
    scenario!(partner_is_removed_from_dns_acknowledged with Prosody: partner_is_removed_from_dns_acknowledged),
    scenario!(sipp_is_subscribed_to),
    scenario!(sipp_subscribes_and_refreshes),
    scenario!(gateway_killed_and_everything_is_as_before),
    scenario!(gateway_killed_and_front_end_has_forgotten),
    scenario!(gateway_killed_before_they_decide),
    scenario!(ejabberd_restarts_and_everything_is_as_before),
    scenario!(planned_stop_sends_deactivated),
    scenario!(partner_restarts_prosody with Prosody: ejabberd_restarts_and_everything_is_as_before),
    scenario!(sm_02_a_cut_stream_begins_a_new_session),
    scenario!(sm_02_a_cut_stream_both_ways_begins_a_new_session),
    scenario!(sm_02_a_cut_stream_of_prosodys_begins_a_new_session),
    scenario!(domains_share_a_stream),
    scenario!(domains_share_a_stream_prosody with Prosody: domains_share_a_stream),
    scenario!(two_ejabberd_domains_federate),
    scenario!(servers_authenticate_each_other),
    scenario!(sipp_speaks_through_stunnel),
    scenario!(refuses_unknown_authorities),
    scenario!(contact_adds_user_and_is_accepted),
    scenario!(contact_adds_user_and_is_denied),
    scenario!(contact_adds_nobody),
    scenario!(contact_takes_it_back),
    scenario!(user_adds_contact_and_is_accepted),
    scenario!(user_adds_contact_and_is_denied),
    scenario!(user_takes_it_back),
    scenario!(lync_is_told_by_benotify_and_in_the_answer),
    scenario!(lync_watches_many_at_once),
    scenario!(presence_follows_both_ways),
    scenario!(resources_are_tuples),
    scenario!(contact_adds_user_prosody with Prosody: contact_adds_user_and_is_accepted),
    scenario!(contact_takes_it_back_prosody with Prosody: contact_takes_it_back),
    scenario!(user_adds_contact_prosody with Prosody: user_adds_contact_and_is_accepted),
    scenario!(user_takes_it_back_prosody with Prosody: user_takes_it_back),
    scenario!(presence_follows_both_ways_prosody with Prosody: presence_follows_both_ways),
    scenario!(resources_are_tuples_prosody with Prosody: resources_are_tuples),
    scenario!(public_unverified_contact_waits_for_the_user),
    scenario!(messages_go_both_ways),
    scenario!(messages_go_both_ways_unprivileged as an ordinary user: messages_go_both_ways),
    scenario!(messages_go_both_ways_prosody with Prosody: messages_go_both_ways),
    scenario!(unknown_xmpp_user_is_reported),
    scenario!(unknown_xmpp_user_is_reported_prosody with Prosody: unknown_xmpp_user_is_reported),
    scenario!(unknown_sip_user_is_reported),
    scenario!(absent_front_end_is_reported),
    scenario!(absent_partner_is_reported),
    scenario!(sipp_front_end_answers),
    scenario!(sigterm_drains),
    scenario!(sigterm_drains_prosody with Prosody: sigterm_drains),
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
