//! Session timers (RFC 4028; CH-13).

use super::*;

/// A session that the other side began with these fields, acknowledged.
fn answering_with(extra: &[&str]) -> (Rig, Answer) {
    let (mut rig, answer) = Rig::invited_with(extra);
    // Idleness is another matter.
    rig.world.config.idle = Duration::from_secs(100_000);
    rig.ack(1);
    (rig, answer)
}

/// A session of ours that was accepted with these fields.
fn called_with(extra: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::inviting();
    rig.world.config.idle = Duration::from_secs(100_000);
    assert_eq!(rig.accepted(extra), [send("ACK"), Did::Established]);
    rig
}

const TIMER: &str = "Supported: timer";
const UPDATES: (&str, &str) = ("Allow", "INVITE, ACK, BYE, UPDATE, MESSAGE");
const OURS_TO_REFRESH: (&str, &str) = ("Session-Expires", "600;refresher=uac");

#[test]
fn ch_13_without_a_word_there_is_no_interval() {
    let (rig, answer) = answering_with(&[TIMER]);
    assert!(answer.header("Session-Expires").is_none() && answer.header("Require").is_none());
    assert_eq!(rig.session.deadline(), Some(rig.world.start + rig.world.config.idle));
}

#[test]
fn ch_13_an_interval_of_90_s_is_granted_and_one_of_89_is_422() {
    let (_, answer) = answering_with(&[TIMER, "Session-Expires: 90"]);
    assert_eq!(answer.header("Session-Expires"), Some("90;refresher=uac"));
    assert_eq!(answer.header("Require"), Some("timer"));
    let refusal =
        check_invite(&invite(&[TIMER, "Session-Expires: 89"], OFFER), &World::new().config).unwrap_err();
    assert_eq!((refusal.status, refusal.header("Min-SE")), (422, Some("90")));
}

#[test]
fn ch_13_who_does_not_know_timers_is_refreshed_by_us() {
    // A proxy has asked for it.
    let (mut rig, answer) = answering_with(&["x: 300"]);
    assert_eq!(answer.header("Session-Expires"), Some("300;refresher=uas"));
    assert!(answer.header("Require").is_none());
    assert_eq!(rig.tick(149_999), []);
    assert_eq!(rig.tick(150_000), [send("UPDATE")]);
}

#[test]
fn ch_13_what_they_want_us_to_refresh_we_refresh() {
    let (_, answer) = answering_with(&[TIMER, "Session-Expires: 600;refresher=uas"]);
    assert_eq!(answer.header("Session-Expires"), Some("600;refresher=uas"));
}

#[test]
fn ch_13_an_interval_is_never_longer_than_asked_for_or_configured() {
    let (_, answer) = answering_with(&[TIMER, "Session-Expires: 86400"]);
    assert_eq!(answer.header("Session-Expires"), Some("1800;refresher=uac"));
    let (_, answer) = answering_with(&[TIMER, "Session-Expires: 86400", "Min-SE: 3600"]);
    assert_eq!(answer.header("Session-Expires"), Some("3600;refresher=uac"));
}

#[test]
fn ch_13_a_malformed_interval_is_400() {
    let request = invite(&["Session-Expires: soon"], OFFER);
    assert_eq!(check_invite(&request, &World::new().config).unwrap_err().status, 400);
}

#[test]
fn ch_13_what_they_do_not_refresh_ends_with_bye() {
    let (mut rig, _) = answering_with(&[TIMER, "Session-Expires: 90"]);
    assert_eq!(rig.tick(59_999), [], "a third of it, at most 32 s, before the end");
    assert_eq!(rig.tick(60_000), [Did::Ended(SessionEnd::NotRefreshed), send("BYE")]);
}

#[test]
fn ch_13_a_refresh_of_theirs_begins_the_interval_anew() {
    let (mut rig, _) = answering_with(&[TIMER, "Session-Expires: 90"]);
    rig.world.at(50_000);
    let (answer, _) = rig.request("UPDATE", &[TIMER, "Session-Expires: 90;refresher=uac"], "");
    assert_eq!(answer.unwrap().header("Session-Expires"), Some("90;refresher=uac"));
    assert_eq!(rig.tick(109_999), []);
    assert_eq!(rig.tick(110_000)[0], Did::Ended(SessionEnd::NotRefreshed));
}

#[test]
fn ch_13_ours_is_refreshed_at_half_by_update() {
    let mut rig = called_with(&[OURS_TO_REFRESH, UPDATES]);
    assert_eq!(rig.tick(299_999), []);
    assert_eq!(rig.tick(300_000), [send("UPDATE")]);
    let (_, update) = rig.last("UPDATE");
    assert_eq!(update.header(HeaderName::SessionExpires), Some("600;refresher=uac"));
    assert!(update.body().is_empty());
    assert_eq!(rig.answer("UPDATE", 200, &[OURS_TO_REFRESH]), []);
    assert_eq!(rig.tick(599_999), []);
    assert_eq!(rig.tick(600_000), [send("UPDATE")]);
}

#[test]
fn ch_13_who_takes_no_update_is_refreshed_by_re_invite_with_the_same_description() {
    let mut rig = called_with(&[OURS_TO_REFRESH]);
    let (_, first) = rig.last("INVITE");
    assert_eq!(rig.tick(300_000), [send("INVITE")]);
    let (serial, second) = rig.last("INVITE");
    assert_eq!(second.body(), first.body());
    let ok = response(&second, 200, "fe1", &[CONTACT, OURS_TO_REFRESH], OFFER);
    rig.session.response(serial, &ok, &mut rig.world.cx());
    assert_eq!(rig.did(), [send("ACK")]);
    assert_eq!(rig.last("ACK").1.header(HeaderName::CSeq), Some("2 ACK"));
}

#[test]
fn ch_13_update_that_is_not_taken_after_all_becomes_re_invite() {
    let mut rig = called_with(&[OURS_TO_REFRESH, UPDATES]);
    rig.tick(300_000);
    assert_eq!(rig.answer("UPDATE", 501, &[]), [send("INVITE")]);
}

#[test]
fn ch_13_a_refresh_that_fails_is_tried_again_until_the_interval_ends() {
    let mut rig = called_with(&[OURS_TO_REFRESH, UPDATES]);
    rig.tick(300_000);
    assert_eq!(rig.answer("UPDATE", 500, &[]), []);
    assert_eq!(rig.tick(375_000), [send("UPDATE")]);
    assert_eq!(rig.fails("UPDATE", Undelivered::NotSent), []);
    assert_eq!(rig.tick(450_000), [send("UPDATE")]);
    rig.answer("UPDATE", 503, &[]);
    rig.tick(525_000);
    assert_eq!(rig.tick(568_000)[0], Did::Ended(SessionEnd::NotRefreshed));
}

#[test]
fn ch_13_a_refresh_answered_481_ends_the_session() {
    let mut rig = called_with(&[OURS_TO_REFRESH, UPDATES]);
    rig.tick(300_000);
    assert_eq!(rig.answer("UPDATE", 481, &[]), [Did::Ended(SessionEnd::Gone(481)), Did::Released]);
}

#[test]
fn ch_13_422_to_a_refresh_makes_the_interval_longer() {
    let mut rig = called_with(&[OURS_TO_REFRESH, UPDATES]);
    rig.tick(300_000);
    assert_eq!(rig.answer("UPDATE", 422, &[("Min-SE", "900")]), [send("UPDATE")]);
    assert_eq!(rig.last("UPDATE").1.header(HeaderName::SessionExpires), Some("900;refresher=uac"));
    assert_eq!(rig.answer("UPDATE", 422, &[("Min-SE", "900")]), [], "that is what it was");
}

#[test]
fn ch_13_422_to_an_invite_is_followed_once() {
    let mut rig = Rig::inviting();
    assert_eq!(rig.answer("INVITE", 422, &[("Min-SE", "1200")]), [send("INVITE")]);
    let (_, second) = rig.last("INVITE");
    assert_eq!(second.header(HeaderName::SessionExpires), Some("1200"));
    assert_eq!(second.header(HeaderName::CSeq), Some("2 INVITE"));
    assert_eq!(rig.answer("INVITE", 422, &[("Min-SE", "1800")]), [failed("422"), Did::Released]);
}

#[test]
fn ch_13_422_with_more_than_we_go_along_with_is_a_refusal() {
    let mut rig = Rig::inviting();
    assert_eq!(rig.answer("INVITE", 422, &[("Min-SE", "1801")]), [failed("422"), Did::Released]);
}

/// A re-INVITE of ours is under way.
fn reinviting() -> Rig {
    let mut rig = called_with(&[OURS_TO_REFRESH]);
    assert_eq!(rig.tick(300_000), [send("INVITE")]);
    rig
}

#[test]
fn ch_12_their_offer_while_ours_waits_is_491() {
    let mut rig = reinviting();
    assert_eq!(rig.status("INVITE", &[], OFFER), 491);
    assert_eq!(rig.status("UPDATE", &[], OFFER), 491);
    assert_eq!(rig.status("UPDATE", &[], ""), 200, "without offer there is no glare");
    rig.accepted(&[OURS_TO_REFRESH]);
    assert_eq!(rig.status("INVITE", &[], OFFER), 200);
}

#[test]
fn ch_12_after_491_who_chose_the_call_id_waits_longer() {
    let mut rig = reinviting();
    assert_eq!(rig.answer("INVITE", 491, &[]), []);
    // Chance says: in the middle of 2.1 and 4 s.
    assert_eq!(rig.tick(303_039), []);
    assert_eq!(rig.tick(303_050), [send("INVITE")]);

    let (mut rig, _) = answering_with(&["x: 300"]);
    assert_eq!(rig.tick(150_000), [send("UPDATE")]);
    rig.answer("UPDATE", 491, &[]);
    assert_eq!(rig.tick(150_980), []);
    assert_eq!(rig.tick(151_000), [send("UPDATE")]);
}
