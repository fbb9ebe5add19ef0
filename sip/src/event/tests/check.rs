//! Verdicts on SUBSCRIBE outside of dialogs.

use super::*;

fn check(extra: &[&str]) -> Result<Wanted, u16> {
    let config = EventConfig::presence("gw.example", "gw.example");
    check_subscribe(&subscribe(1, "", extra), &config, |_| true).map_err(|answer| answer.status)
}

#[test]
fn ev_01_and_ev_02_event_is_compared_byte_by_byte() {
    for (event, passes) in [
        ("Event: presence", true),
        ("Event: presence;id=4", true),
        ("Event: presence;other=4", true),
        ("Event: Presence", false),
        ("Event: presence.winfo", false),
        ("Event: foo", false),
        ("Event: presence, foo", false),
    ] {
        assert_eq!(check(&[event]).is_ok(), passes, "{event}");
    }
    assert_eq!(check(&["-Event"]), Err(489));
    let config = EventConfig::presence("gw.example", "gw.example");
    let answer = check_subscribe(&subscribe(1, "", &["Event: foo"]), &config, |_| true).unwrap_err();
    assert_eq!(answer.header("Allow-Events"), Some("presence"));
    assert_eq!(check(&["Event: presence;id=4"]).unwrap().event_id.as_deref(), Some("4"));
}

#[test]
fn pr_43_accept_decides() {
    for (accept, passes) in [
        ("Accept: application/pidf+xml", true),
        ("Accept: application/foo", false),
        ("Accept: application/foo, Application/PIDF+xml;q=0.1", true),
        ("Accept: */*", true),
        ("Accept: application/*", true),
        ("Accept: text/*", false),
        ("Accept: application/pidf+xml;q=0", false),
        ("Accept: application/pidf+xml;q=0.0, */*", false),
        ("Accept: application/pidf+xml;q=0.001", true),
        ("Accept:", false),
        ("Accept: ;;", false),
    ] {
        assert_eq!(check(&[accept]).map(|wanted| wanted.media).ok().is_some(), passes, "{accept}");
    }
    assert_eq!(check(&["Accept: application/foo"]), Err(406));
    assert_eq!(check(&[]).unwrap().media, "application/pidf+xml");
}

#[test]
fn pr_43_the_watcher_gets_what_it_wants_most_by_q() {
    let mut config = EventConfig::presence("gw.example", "gw.example");
    config.writes = vec!["application/msrtc-event-categories+xml", "application/pidf+xml"];
    let (categories, pidf) = (Some("application/msrtc-event-categories+xml"), Some("application/pidf+xml"));
    for (accept, expected) in [
        ("application/msrtc-event-categories+xml;q=0.5, application/pidf+xml", pidf),
        ("application/msrtc-event-categories+xml;q=0.8, application/pidf+xml;q=0.799", categories),
        ("application/pidf+xml;q=0.7, application/*;q=0.6", pidf),
        ("application/pidf+xml;q=0.6, */*;q=0.7", categories),
        ("application/pidf+xml;q=0.5, application/msrtc-event-categories+xml;q=0.5", categories),
        ("application/pidf+xml;q=0.001, application/msrtc-event-categories+xml;q=0", pidf),
        ("application/pidf+xml;q=0, */*;q=0.0", None),
        // None of them a qvalue.
        ("application/pidf+xml;q=9, application/msrtc-event-categories+xml;q=0.9", pidf),
        ("application/pidf+xml;q=0.1234, application/msrtc-event-categories+xml;q=0.9", pidf),
    ] {
        let request = subscribe(1, "", &[&format!("Accept: {accept}")]);
        let media = check_subscribe(&request, &config, |_| true).ok().map(|wanted| wanted.media);
        assert_eq!(media, expected, "{accept}");
    }
}

#[test]
fn our_order_chooses_among_what_is_accepted() {
    let mut config = EventConfig::presence("gw.example", "gw.example");
    config.writes = vec!["application/msrtc-event-categories+xml", "application/pidf+xml"];
    let media =
        |accept: &str| check_subscribe(&subscribe(1, "", &[accept]), &config, |_| true).unwrap().media;
    let both = "Accept: application/pidf+xml, application/msrtc-event-categories+xml";
    assert_eq!(media(both), "application/msrtc-event-categories+xml");
    assert_eq!(media("Accept: application/pidf+xml"), "application/pidf+xml");
    // Without Accept it is the package's own.
    let request = subscribe(1, "", &[]);
    assert_eq!(check_subscribe(&request, &config, |_| true).unwrap().media, "application/pidf+xml");
}

#[test]
fn pr_43_who_names_nothing_else_gets_what_everybody_reads() {
    let mut config = EventConfig::presence("gw.example", "gw.example");
    config.writes = vec!["application/msrtc-event-categories+xml", "application/pidf+xml"];
    for accept in [
        "*/*",
        "application/*",
        "application/pidf+xml, */*",
        "application/*, application/pidf+xml;q=1.0",
        "text/plain, application/pidf+xml, application/*",
    ] {
        let request = subscribe(1, "", &[&format!("Accept: {accept}")]);
        let media = check_subscribe(&request, &config, |_| true).unwrap().media;
        assert_eq!(media, "application/pidf+xml", "{accept}");
    }
    let named = subscribe(1, "", &["Accept: application/msrtc-event-categories+xml, */*"]);
    assert_eq!(check_subscribe(&named, &config, |_| true).unwrap().media, config.writes[0]);
}

#[test]
fn pr_30_and_ev_10_the_duration_granted() {
    for (expires, granted) in [
        (&[] as &[&str], 3600),
        (&["Expires: 0"], 0),
        (&["Expires: 60"], 60),
        (&["Expires: 28800"], 28_800),
        (&["Expires: 28801"], 28_800),
        (&["Expires: 4294967295"], 28_800),
    ] {
        assert_eq!(check(expires).unwrap().expires, granted, "{expires:?}");
    }
    assert_eq!(check(&["Expires: soon"]), Err(400));
}

#[test]
fn pr_39_423_only_where_it_is_allowed() {
    let answer = |min: u32, asked: u32| {
        let mut config = EventConfig::presence("gw.example", "gw.example");
        config.min_expires = min;
        let request = subscribe(1, "", &[&format!("Expires: {asked}")]);
        check_subscribe(&request, &config, |_| true).err().map(|answer| {
            let least = answer.header("Min-Expires").unwrap().to_owned();
            (answer.status, least)
        })
    };
    for asked in [1, 10, 599] {
        assert_eq!(answer(600, asked), Some((423, "600".into())), "{asked}");
    }
    for asked in [0, 600, 3599, 3600] {
        assert_eq!(answer(600, asked), None, "{asked}");
    }
    // A minimum above an hour cannot be had.
    assert_eq!(answer(7200, 3599), Some((423, "3600".into())));
    assert_eq!(answer(7200, 3600), None);
}

#[test]
fn ps_06_notify_goes_to_no_third_party() {
    let config = EventConfig::presence("gw.example", "gw.example");
    let ours = |uri: &crate::Uri<'_>| uri.as_str().contains("@sip.example");
    let status = |contact: &str| {
        check_subscribe(&subscribe(1, "", &[contact]), &config, ours).err().map(|answer| answer.status)
    };
    assert_eq!(status("Contact: <sip:romeo@sip.example>"), None);
    assert_eq!(status("Contact: <sip:victim@192.0.2.9>"), Some(403));
    assert_eq!(status("Contact: <tel:+12345>"), Some(400));
    assert_eq!(status("Contact: *"), Some(400));
    assert_eq!(status("Contact: <sip:a@sip.example>, <sip:b@sip.example>"), Some(400));
    assert_eq!(status("-Contact"), Some(400));
}

#[test]
fn ev_12_a_dialog_nobody_knows() {
    let config = EventConfig::presence("gw.example", "gw.example");
    let answer = check_subscribe(&subscribe(2, "lost", &[]), &config, |_| true).unwrap_err();
    assert_eq!(answer.status, 481);
    assert_eq!(dialog_sharing_refused().status, 403);
}

#[test]
fn a_watcher_without_tag_has_no_dialog() {
    assert_eq!(check(&["From: <sip:romeo@sip.example>"]), Err(400));
}
