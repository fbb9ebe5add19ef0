//! What an earlier process left behind.

use super::*;

#[test]
fn a_restored_subscription_keeps_quiet_until_its_turn() {
    let old = SubRig::live();
    let (record, expires_at) = old.machine.record().unwrap();
    let machine = Subscriber::restore(record.clone(), expires_at);
    let mut rig = SubRig { machine, cseq: old.cseq, sent: old.sent, ..SubRig::idle() };
    assert_eq!(rig.did(), [Did::Bound]);
    assert!(rig.machine.is_live());
    rig.machine.take_up(&mut rig.world.cx());
    assert_eq!(rig.did().last(), Some(&Did::Send(3600)));
    let refresh = rig.sent();
    assert_eq!(cseq(refresh), 1 + RESTORE_JUMP + 1);
    assert_eq!(refresh.call_id().unwrap(), record.call_id);
    assert_eq!(refresh.to_header().unwrap().tag(), Some("fe1"));
    // The front end has forgotten it.
    assert_eq!(rig.answer(481, &[]), [Did::Released, Did::Bound, Did::Send(3600)]);
}

#[test]
fn what_has_shown_since_that_it_lives_is_not_taken_up_again() {
    let old = SubRig::live();
    let (record, expires_at) = old.machine.record().unwrap();
    let machine = Subscriber::restore(record, expires_at);
    let mut rig = SubRig { machine, cseq: old.cseq, sent: old.sent, ..SubRig::idle() };
    rig.did();
    // It answers, though its turn has not come.
    assert_eq!(rig.notify("active;expires=600").0, 200);
    rig.did();
    rig.machine.take_up(&mut rig.world.cx());
    assert_eq!(rig.did(), []);

    let mut begun_since = SubRig::live();
    begun_since.machine.take_up(&mut begun_since.world.cx());
    assert_eq!(begun_since.did(), []);
}

#[test]
fn a_restored_subscription_left_alone_expires() {
    let old = SubRig::live();
    let (record, expires_at) = old.machine.record().unwrap();
    let mut rig = SubRig { machine: Subscriber::restore(record, expires_at), ..SubRig::idle() };
    rig.did();
    let failed = Did::Failed(SubscribeFailure::Expired);
    assert_eq!(rig.until_deadline(), [Did::Released, failed]);
    assert_eq!(rig.world.now, expires_at);
}

#[test]
fn there_is_nothing_to_keep_of_what_is_not_live() {
    assert!(SubRig::idle().machine.record().is_none());
    assert!(SubRig::trying().machine.record().is_none());
    let mut rig = SubRig::live();
    rig.machine.unsubscribe(&mut rig.world.cx());
    assert!(rig.machine.record().is_none());
}

#[test]
fn a_restored_watcher_hears_nothing_before_there_is_something() {
    let old = NotRig::active();
    let (record, expires_at) = old.machine.record().unwrap();
    let machine = Notifier::restore(record, expires_at, true);
    let before = cseq(old.sent.as_ref().unwrap());
    let mut rig = NotRig { machine, ..old };
    assert_eq!(rig.told(), [Told::Bound]);
    assert_eq!(rig.tick(100_000), []);
    assert_eq!(rig.change("two"), [notify("active;expires=500", "two")]);
    assert_eq!(cseq(rig.sent.as_ref().unwrap()), before + RESTORE_JUMP + 1);
    rig.answer(200, &[]);
    assert_eq!(rig.subscribe(2, &["Expires: 600"]).0.status, 200);
}

#[test]
fn ev_14_order_outlives_the_process() {
    let mut old = NotRig::active();
    assert_eq!(old.subscribe(9, &["Expires: 600"]).0.status, 200);
    let (record, expires_at) = old.machine.record().unwrap();
    let machine = Notifier::restore(record, expires_at, false);
    let mut rig = NotRig { machine, ..old };
    rig.told();
    assert_eq!(rig.subscribe(8, &["Expires: 0"]).0.status, 500);
}

#[test]
fn a_restored_watcher_expires_in_time() {
    let old = NotRig::active();
    let (record, expires_at) = old.machine.record().unwrap();
    let machine = Notifier::restore(record, expires_at, true);
    let mut rig = NotRig { machine, ..old };
    rig.told();
    assert_eq!(rig.until_deadline()[0], Told::Ended(NotifierEnd::Expired));
    assert_eq!(rig.world.now, expires_at);
}
