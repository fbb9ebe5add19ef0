//! The scenarios, by subject.

mod admission;
mod bodies;
mod bystander;
mod composing;
mod contact_adds;
mod cut;
mod documents;
mod edge;
mod failing;
mod failover;
mod failover_sessions;
mod harness;
mod ledger;
mod letters;
mod lync_watches;
mod matrix;
mod messages;
mod outage;
mod receipts;
mod restarts;
mod scene;
mod session_changes;
mod session_refusals;
mod sessions;
mod sharing;
mod sipp;
mod sipp_presence;
mod stage;
mod states;
mod strangers;
mod streams;
mod tried;
mod trust;
mod unverified;
mod user_adds;

use nuncio_world::runner::Scenario;
use nuncio_world::scenario;

use self::matrix::{matrix, matrix_direct_tls, offers as matrix_offers};
use admission::{front_end_with_server_auth_only, partner_with_server_auth_only};
use bodies::{bodies_of_every_form_arrive, im_05_what_cannot_be_read_is_refused};
use composing::im_33_is_composing_both_ways;
use contact_adds::{
    contact_adds_nobody, contact_adds_user_and_is_accepted, contact_adds_user_and_is_denied,
    contact_takes_it_back, pr_07_contact_adds_user_for_longer,
};
use cut::{
    sm_02_a_cut_stream_begins_a_new_session, sm_02_a_cut_stream_both_ways_begins_a_new_session,
    sm_02_a_cut_stream_of_prosodys_begins_a_new_session,
};
use documents::{
    contact_sees_every_format, pr_43_endpoints_are_told_in_their_formats, sipp_speaks_every_format,
};
use edge::{
    front_end_killed_and_everything_is_as_before, front_end_killed_and_has_forgotten,
    kamailio_stays_in_the_path,
};
use failing::{
    partner_is_black_holed, partner_is_black_holed_acknowledged, partner_is_black_holed_both_ways,
    partner_is_frozen, partner_is_frozen_acknowledged, partner_is_frozen_both_ways, partner_is_killed,
    partner_is_killed_acknowledged, partner_is_killed_both_ways, partner_is_removed_from_dns,
    partner_is_removed_from_dns_acknowledged, partner_is_removed_from_dns_both_ways, partner_reads_slowly,
};
use failover::front_ends_take_over_from_each_other;
use failover_sessions::sessions_and_presence_go_on_at_another_front_end;
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
use receipts::{
    ch_08_notifications_come_in_sessions, im_40_the_contact_hears_what_became_of_a_message,
    im_41_the_user_asks_what_became_of_a_message,
};
use restarts::{
    ejabberd_restarts_and_everything_is_as_before, gateway_killed_and_everything_is_as_before,
    gateway_killed_and_front_end_has_forgotten, gateway_killed_before_they_decide,
    planned_stop_sends_deactivated,
};
use session_changes::{
    ch_12_a_session_is_changed_from_inside, ch_13_sessions_are_refreshed_or_end,
    sip_28_invitations_are_withdrawn,
};
use session_refusals::{
    ch_03_a_front_end_without_sessions_is_learnt, ch_10_calls_and_conferences_are_refused,
};
use sessions::{
    ch_02_a_contact_begins_a_session, ch_03_a_refused_session, ch_04_a_user_begins_a_session,
    front_end_has_forgotten_the_session, glare_ends_in_one_session, im_30_typing_and_receipts,
};
use sharing::domains_share_a_stream;
use sipp::{
    sipp_front_end_answers, sipp_has_sessions, sipp_is_refused_sessions, ten_thousand_arrive_in_order,
};
use sipp_presence::{sipp_is_subscribed_to, sipp_is_told_by_benotify, sipp_subscribes_and_refreshes};
use states::{presence_follows_both_ways, resources_are_tuples};
use strangers::{
    sip_01_unlisted_sip_certificates_are_refused, unlisted_partner_is_not_written_to,
    unlisted_partner_is_refused,
};
use streams::{
    bad_certificates_do_not_get_in, bad_certificates_get_no_message, foreign_from_ends_the_stream,
    stanza_before_authentication,
};
use tried::a_partner_is_tried;
use trust::{front_ends_are_told_whom_to_trust, sec_14_unverified_senders_are_refused};
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
    scenario!(ch_13_sessions_are_refreshed_or_end),
    scenario!(ch_13_sessions_are_refreshed_or_end_kamailio through Kamailio: ch_13_sessions_are_refreshed_or_end),
    scenario!(sipp_is_subscribed_to),
    scenario!(sipp_subscribes_and_refreshes),
    scenario!(sipp_is_told_by_benotify),
    scenario!(gateway_killed_and_everything_is_as_before),
    scenario!(gateway_killed_and_front_end_has_forgotten),
    scenario!(gateway_killed_before_they_decide),
    scenario!(ejabberd_restarts_and_everything_is_as_before),
    scenario!(planned_stop_sends_deactivated),
    scenario!(partner_restarts_prosody with Prosody: ejabberd_restarts_and_everything_is_as_before),
    scenario!(sm_02_a_cut_stream_begins_a_new_session),
    scenario!(sm_02_a_cut_stream_both_ways_begins_a_new_session),
    scenario!(sm_02_a_cut_stream_of_prosodys_begins_a_new_session),
    scenario!(a_partner_is_tried),
    scenario!(a_partner_is_tried_prosody with Prosody: a_partner_is_tried),
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
    scenario!(sipp_front_end_answers_kamailio through Kamailio: sipp_front_end_answers),
    scenario!(sipp_is_subscribed_to_kamailio through Kamailio: sipp_is_subscribed_to),
    scenario!(sipp_is_told_by_benotify_kamailio through Kamailio: sipp_is_told_by_benotify),
    scenario!(sipp_subscribes_and_refreshes_kamailio through Kamailio: sipp_subscribes_and_refreshes),
    scenario!(ten_thousand_arrive_in_order_kamailio through Kamailio: ten_thousand_arrive_in_order),
    scenario!(ch_04_a_user_begins_a_session),
    scenario!(ch_04_a_user_begins_a_session_kamailio through Kamailio: ch_04_a_user_begins_a_session),
    scenario!(ch_02_a_contact_begins_a_session),
    scenario!(ch_02_a_contact_begins_a_session_kamailio through Kamailio: ch_02_a_contact_begins_a_session),
    scenario!(ch_03_a_refused_session),
    scenario!(ch_03_a_refused_session_kamailio through Kamailio: ch_03_a_refused_session),
    scenario!(im_30_typing_and_receipts),
    scenario!(im_30_typing_and_receipts_kamailio through Kamailio: im_30_typing_and_receipts),
    scenario!(glare_ends_in_one_session),
    scenario!(glare_ends_in_one_session_kamailio through Kamailio: glare_ends_in_one_session),
    scenario!(front_end_has_forgotten_the_session),
    scenario!(front_end_has_forgotten_the_session_kamailio through Kamailio: front_end_has_forgotten_the_session),
    scenario!(ch_08_notifications_come_in_sessions),
    scenario!(ch_08_notifications_come_in_sessions_kamailio through Kamailio: ch_08_notifications_come_in_sessions),
    scenario!(im_40_the_contact_hears_what_became_of_a_message),
    scenario!(im_40_the_contact_hears_what_became_of_a_message_kamailio through Kamailio: im_40_the_contact_hears_what_became_of_a_message),
    scenario!(im_41_the_user_asks_what_became_of_a_message),
    scenario!(im_41_the_user_asks_what_became_of_a_message_kamailio through Kamailio: im_41_the_user_asks_what_became_of_a_message),
    scenario!(im_33_is_composing_both_ways),
    scenario!(im_33_is_composing_both_ways_kamailio through Kamailio: im_33_is_composing_both_ways),
    scenario!(ch_12_a_session_is_changed_from_inside),
    scenario!(ch_12_a_session_is_changed_from_inside_kamailio through Kamailio: ch_12_a_session_is_changed_from_inside),
    scenario!(sip_28_invitations_are_withdrawn),
    scenario!(sip_28_invitations_are_withdrawn_kamailio through Kamailio: sip_28_invitations_are_withdrawn),
    scenario!(ch_03_a_front_end_without_sessions_is_learnt),
    scenario!(ch_03_a_front_end_without_sessions_is_learnt_kamailio through Kamailio: ch_03_a_front_end_without_sessions_is_learnt),
    scenario!(ch_10_calls_and_conferences_are_refused),
    scenario!(ch_10_calls_and_conferences_are_refused_kamailio through Kamailio: ch_10_calls_and_conferences_are_refused),
    scenario!(front_ends_are_told_whom_to_trust),
    scenario!(front_ends_are_told_whom_to_trust_kamailio through Kamailio: front_ends_are_told_whom_to_trust),
    scenario!(sec_14_unverified_senders_are_refused),
    scenario!(sec_14_unverified_senders_are_refused_kamailio through Kamailio: sec_14_unverified_senders_are_refused),
    scenario!(pr_07_contact_adds_user_for_longer),
    scenario!(pr_07_contact_adds_user_for_longer_kamailio through Kamailio: pr_07_contact_adds_user_for_longer),
    scenario!(sipp_has_sessions),
    scenario!(sipp_has_sessions_kamailio through Kamailio: sipp_has_sessions),
    scenario!(sipp_is_refused_sessions),
    scenario!(sipp_is_refused_sessions_kamailio through Kamailio: sipp_is_refused_sessions),
    scenario!(sessions_and_presence_go_on_at_another_front_end),
    scenario!(sessions_and_presence_go_on_at_another_front_end_kamailio through Kamailio:
        sessions_and_presence_go_on_at_another_front_end),
    scenario!(front_ends_take_over_from_each_other),
    scenario!(front_ends_take_over_from_each_other_kamailio through Kamailio: front_ends_take_over_from_each_other),
    scenario!(bodies_of_every_form_arrive),
    scenario!(bodies_of_every_form_arrive_kamailio through Kamailio: bodies_of_every_form_arrive),
    scenario!(im_05_what_cannot_be_read_is_refused),
    scenario!(im_05_what_cannot_be_read_is_refused_kamailio through Kamailio:
        im_05_what_cannot_be_read_is_refused),
    scenario!(pr_43_endpoints_are_told_in_their_formats),
    scenario!(pr_43_endpoints_are_told_in_their_formats_kamailio through Kamailio:
        pr_43_endpoints_are_told_in_their_formats),
    scenario!(contact_sees_every_format),
    scenario!(contact_sees_every_format_kamailio through Kamailio: contact_sees_every_format),
    scenario!(sipp_speaks_every_format),
    scenario!(sipp_speaks_every_format_kamailio through Kamailio: sipp_speaks_every_format),
    scenario!(front_end_killed_and_everything_is_as_before),
    scenario!(front_end_killed_and_everything_is_as_before_kamailio through Kamailio: front_end_killed_and_everything_is_as_before),
    scenario!(front_end_killed_and_has_forgotten),
    scenario!(front_end_killed_and_has_forgotten_kamailio through Kamailio: front_end_killed_and_has_forgotten),
    scenario!(kamailio_stays_in_the_path through Kamailio: kamailio_stays_in_the_path),
    scenario!(messages_go_both_ways_kamailio through Kamailio: messages_go_both_ways),
    scenario!(unknown_xmpp_user_is_reported_kamailio through Kamailio: unknown_xmpp_user_is_reported),
    scenario!(unknown_sip_user_is_reported_kamailio through Kamailio: unknown_sip_user_is_reported),
    scenario!(contact_adds_user_and_is_accepted_kamailio through Kamailio: contact_adds_user_and_is_accepted),
    scenario!(contact_adds_user_and_is_denied_kamailio through Kamailio: contact_adds_user_and_is_denied),
    scenario!(contact_takes_it_back_kamailio through Kamailio: contact_takes_it_back),
    scenario!(user_adds_contact_and_is_accepted_kamailio through Kamailio: user_adds_contact_and_is_accepted),
    scenario!(user_adds_contact_and_is_denied_kamailio through Kamailio: user_adds_contact_and_is_denied),
    scenario!(user_takes_it_back_kamailio through Kamailio: user_takes_it_back),
    scenario!(presence_follows_both_ways_kamailio through Kamailio: presence_follows_both_ways),
    scenario!(resources_are_tuples_kamailio through Kamailio: resources_are_tuples),
    scenario!(gateway_killed_and_everything_is_as_before_kamailio through Kamailio: gateway_killed_and_everything_is_as_before),
    scenario!(gateway_killed_and_front_end_has_forgotten_kamailio through Kamailio: gateway_killed_and_front_end_has_forgotten),
    scenario!(gateway_killed_before_they_decide_kamailio through Kamailio: gateway_killed_before_they_decide),
    scenario!(lync_is_told_by_benotify_and_in_the_answer_kamailio through Kamailio: lync_is_told_by_benotify_and_in_the_answer),
    scenario!(lync_watches_many_at_once_kamailio through Kamailio: lync_watches_many_at_once),
    scenario!(contact_adds_nobody_kamailio through Kamailio: contact_adds_nobody),
    scenario!(public_unverified_contact_waits_for_the_user_kamailio through Kamailio: public_unverified_contact_waits_for_the_user),
    scenario!(absent_partner_is_reported_kamailio through Kamailio: absent_partner_is_reported),
    scenario!(ejabberd_restarts_and_everything_is_as_before_kamailio through Kamailio: ejabberd_restarts_and_everything_is_as_before),
    scenario!(sigterm_drains_kamailio through Kamailio: sigterm_drains),
    scenario!(domains_share_a_stream_kamailio through Kamailio: domains_share_a_stream),
    scenario!(absent_front_end_is_reported_kamailio through Kamailio: absent_front_end_is_reported),
    scenario!(planned_stop_sends_deactivated_kamailio through Kamailio: planned_stop_sends_deactivated),
    scenario!(sigterm_drains),
    scenario!(sigterm_drains_prosody with Prosody: sigterm_drains),
    scenario!(front_end_with_server_auth_only),
    scenario!(partner_with_server_auth_only),
    scenario!(foreign_from_ends_the_stream),
    scenario!(stanza_before_authentication),
    scenario!(bad_certificates_do_not_get_in),
    scenario!(bad_certificates_get_no_message),
    scenario!(sip_01_unlisted_sip_certificates_are_refused),
    scenario!(unlisted_partner_is_refused),
    scenario!(unlisted_partner_is_not_written_to),
];
