//! Beginning and keeping a subscription.

use super::*;

#[test]
fn pr_01_the_subscribe_that_begins_it() {
    let rig = SubRig::trying();
    let sent = rig.sent();
    assert_eq!(sent.request_uri(), "sip:romeo@sip.example");
    assert_eq!(sent.header(HeaderName::Event), Some("presence"));
    assert_eq!(sent.header(HeaderName::Accept), Some("application/pidf+xml"));
    assert_eq!(sent.header(HeaderName::To), Some("<sip:romeo@sip.example>"));
    assert_eq!(cseq(sent), 1);
    let tag = sent.from_header().unwrap().tag().unwrap();
    let contact = format!("<sip:juliet@gw.example:5061;transport=tls;gr={tag}>");
    assert_eq!(sent.header(HeaderName::Contact), Some(contact.as_str()));
    crate::check_request(sent).unwrap();
}

#[test]
fn fields_of_the_configuration_stand_in_every_request() {
    let mut rig = SubRig::idle();
    rig.world.config.headers.push(("User-Agent", "Nuncio".into()));
    rig.machine.subscribe(&mut rig.world.cx());
    rig.did();
    assert_eq!(rig.sent().header(HeaderName::UserAgent), Some("Nuncio"));
}

#[test]
fn a_second_wish_makes_no_second_subscribe() {
    let mut rig = SubRig::trying();
    rig.machine.subscribe(&mut rig.world.cx());
    assert_eq!(rig.did(), []);
    let mut rig = SubRig::live();
    rig.machine.subscribe(&mut rig.world.cx());
    assert_eq!(rig.did(), []);
}

#[test]
fn pr_05_refreshes_well_before_the_end() {
    for seed in 0..100 {
        let mut rig = SubRig::trying();
        rig.world.tokens.state = seed;
        rig.answer(200, &[("Expires", "60")]);
        rig.notify("active;expires=60");
        assert_eq!(rig.until_deadline(), [Did::Send(3600)]);
        let after = rig.world.now - rig.world.start;
        assert!(secs(42) <= after && after <= secs(51), "after {after:?}");
    }
}

#[test]
fn ps_03_refreshes_are_spread() {
    let at = |seed| {
        let mut rig = SubRig::trying();
        rig.world.tokens.state = seed;
        rig.ok();
        rig.notify("active");
        rig.machine.deadline().unwrap() - rig.world.start
    };
    let times: std::collections::BTreeSet<_> = (0..20).map(at).collect();
    assert_eq!(times.len(), 20);
}

#[test]
fn pr_05_the_shortest_of_what_was_said_counts() {
    for (asked, granted, said, lasts) in [
        (3600, Some("600"), "active", 600),
        (3600, Some("600"), "active;expires=300", 300),
        (3600, Some("7200"), "active", 3600),
        (3600, None, "active;expires=9000", 3600),
        (3600, None, "active", 3600),
    ] {
        let mut rig = SubRig::trying();
        let granted: Vec<_> = granted.iter().map(|value| ("Expires", *value)).collect();
        rig.answer(200, &granted);
        rig.notify(said);
        let (_, at) = rig.machine.record().unwrap();
        assert_eq!(at - rig.world.start, secs(lasts), "{asked} {granted:?} {said}");
    }
}

#[test]
fn pr_05_many_notifys_do_not_put_the_refresh_off() {
    let mut rig = SubRig::live();
    let planned = rig.machine.deadline().unwrap();
    for second in 1..2500 {
        rig.world.at(second * 1000);
        rig.notify(&format!("active;expires={}", 3600 - second));
        assert!(rig.machine.deadline().unwrap() <= planned);
    }
}

#[test]
fn no_grant_makes_us_refresh_all_the_time() {
    let mut rig = SubRig::trying();
    let mut refreshes = 0;
    while rig.world.now - rig.world.start < secs(600) {
        rig.answer(200, &[("Expires", "0")]);
        rig.notify("active;expires=0");
        if rig.until_deadline() == [Did::Send(3600)] {
            refreshes += 1;
        }
    }
    assert!(refreshes <= 600 / 7, "{refreshes} in 10 minutes");
}

#[test]
fn a_refresh_stays_in_the_dialog() {
    let mut rig = SubRig::live();
    let first = rig.sent().clone();
    assert_eq!(rig.until_deadline(), [Did::Send(3600)]);
    let refresh = rig.sent();
    assert_eq!(refresh.call_id().unwrap(), first.call_id().unwrap());
    assert_eq!(refresh.from_header().unwrap().tag(), first.from_header().unwrap().tag());
    assert_eq!(refresh.to_header().unwrap().tag(), Some("fe1"));
    assert_eq!(cseq(refresh), 2);
    assert_ne!(refresh.top_via().unwrap().branch(), first.top_via().unwrap().branch());
    assert_eq!(rig.ok(), []);
    assert_eq!(rig.notify("active;expires=3600").0, 200);
    assert!(rig.machine.is_live());
}

#[test]
fn a_refresh_that_a_notify_overtakes_is_the_only_one() {
    let mut rig = SubRig::live();
    assert_eq!(rig.until_deadline(), [Did::Send(3600)]);
    rig.notify("active;expires=3600");
    rig.ok();
    let next = rig.machine.deadline().unwrap() - rig.world.now;
    assert!(secs(2520) <= next && next <= secs(3060), "{next:?}");
}

#[test]
fn pr_07_min_expires_is_followed() {
    let mut rig = SubRig::trying();
    let first = rig.sent().clone();
    assert_eq!(rig.answer(423, &[("Min-Expires", "7200")]), [Did::Send(7200)]);
    assert_eq!(rig.sent().call_id().unwrap(), first.call_id().unwrap());
    assert_eq!(cseq(rig.sent()), 2);
    // And remembered.
    rig.ok();
    rig.notify("active");
    assert_eq!(rig.until_deadline(), [Did::Send(7200)]);
    assert_eq!(rig.answer(423, &[("Min-Expires", "9000")]), [Did::Send(9000)]);
}

#[test]
fn pr_07_min_expires_is_followed_once_and_within_reason() {
    let day = 24 * 3600;
    for (least, followed) in [(3600, false), (3601, true), (day, true), (day + 1, false)] {
        let mut rig = SubRig::trying();
        let did = rig.answer(423, &[("Min-Expires", &least.to_string())]);
        let refused = vec![Did::Released, Did::Refused(423, false)];
        assert_eq!(did, if followed { vec![Did::Send(least)] } else { refused.clone() }, "{least}");
        if followed {
            assert_eq!(rig.answer(423, &[("Min-Expires", &(least + 1).to_string())]), refused);
        }
    }
    assert_eq!(SubRig::trying().answer(423, &[]), [Did::Released, Did::Refused(423, false)]);
}

#[test]
fn pr_07_a_dialog_that_is_gone_is_replaced_without_a_word() {
    let mut rig = SubRig::refreshing();
    let old = rig.sent().clone();
    assert_eq!(rig.answer(481, &[]), [Did::Released, Did::Bound, Did::Send(3600)]);
    let new = rig.sent();
    assert_ne!(new.call_id().unwrap(), old.call_id().unwrap());
    assert_ne!(new.from_header().unwrap().tag(), old.from_header().unwrap().tag());
    assert_eq!(new.to_header().unwrap().tag(), None);
    assert_eq!(new.request_uri(), "sip:romeo@sip.example");
    assert_eq!(rig.answer(481, &[]), [Did::Released, Did::Refused(481, false)]);
}

#[test]
fn ev_06_202_is_200() {
    let mut rig = SubRig::trying();
    assert_eq!(rig.answer(202, &[("Expires", "600")]), []);
    assert_eq!(rig.notify("pending;expires=600"), (200, vec![Did::Pending]));
    assert_eq!(rig.machine.record().unwrap().1 - rig.world.start, secs(600));
}

#[test]
fn pr_12_a_fetch_is_a_dialog_of_its_own() {
    let mut rig = SubRig::idle();
    rig.machine.fetch(&mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Bound, Did::Send(0)]);
    assert_eq!(rig.sent().to_header().unwrap().tag(), None);
    assert_eq!(rig.ok(), []);
    let notify = Notify { state: "terminated;reason=timeout", body: "<presence/>", ..Notify::default() };
    let answer = rig.machine.notify(&notify.to(rig.sent()), &mut rig.world.cx());
    assert_eq!(answer.status, 200);
    let mut documents = Vec::new();
    while let Some(output) = rig.machine.poll() {
        if let SubscriberOutput::Report(SubscriberReport::Ended { document, .. }) = output {
            documents.push(document.as_ref().map(body));
        }
    }
    assert_eq!(documents, [Some("<presence/>".to_owned())]);
    assert!(rig.machine.is_idle());
}

#[test]
fn pr_12_a_fetch_that_is_never_closed_ends_with_timer_n() {
    let mut rig = SubRig::idle();
    rig.machine.fetch(&mut rig.world.cx());
    rig.did();
    rig.ok();
    assert_eq!(rig.notify("active"), (200, vec![Did::Active(None)]));
    assert_eq!(rig.tick(31_999), []);
    let ended = Did::Ended(EndReason::Timeout, Again::AtOnce);
    assert_eq!(rig.tick(32_000), [Did::Released, ended]);
}

#[test]
fn a_wish_during_a_fetch_is_done_after_it() {
    let mut rig = SubRig::idle();
    rig.machine.fetch(&mut rig.world.cx());
    rig.machine.subscribe(&mut rig.world.cx());
    rig.did();
    let refused = Did::Refused(500, false);
    assert_eq!(rig.answer(500, &[]), [Did::Released, refused, Did::Bound, Did::Send(3600)]);
}

#[test]
fn a_planned_subscription_begins_at_the_earlier_time() {
    let mut rig = SubRig::idle();
    rig.machine.subscribe_after(secs(60), &mut rig.world.cx());
    rig.machine.subscribe_after(secs(30), &mut rig.world.cx());
    rig.machine.subscribe_after(secs(90), &mut rig.world.cx());
    assert_eq!(rig.tick(29_999), []);
    assert_eq!(rig.tick(30_000), [Did::Bound, Did::Send(3600)]);
}
