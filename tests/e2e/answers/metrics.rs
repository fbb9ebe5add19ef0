//! Metrics of a gateway that has had something to do.

use std::time::Duration;

use nuncio::health;
use nuncio::metrics::{self, Certificate, Format, Sources};
use nuncio_world::promtool::promtool;

use crate::house::{House, Reply};
use crate::text::Request;

const BOB: &str = "bob@fabrikam.com";

fn render(house: &House, format: Format) -> String {
    let ready = health::ready(&house.gateway, house.now);
    let certificate = Certificate { side: "xmpp", name: "contoso.com".into(), not_after: 1_800_000_000 };
    let sources = Sources { gateway: &house.gateway, certificates: &[certificate], ready: &ready };
    metrics::render(&sources, format, house.now)
}

/// The number of the one sample that begins so.
fn sample(house: &House, begins: &str) -> u64 {
    let text = render(house, Format::OpenMetrics);
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(begins)).collect();
    let [rest] = lines[..] else { panic!("{} samples begin with {begins}:\n{text}", lines.len()) };
    rest.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn says(house: &mut House, from: &str, to: &str) {
    let remote = from.rsplit_once('@').expect("an address").1.to_owned();
    house.partner_says(
        &remote,
        &format!("<message from='{from}' to='{to}' id='m1'><body>hi</body></message>"),
    );
}

/// Messages both ways that arrive, fail and are refused; streams in both directions; a subscription.
fn busy_house() -> House {
    let mut house = House::new();
    let wire = house.front_end();
    house.send(wire, Request::message(BOB, "hello").bytes());
    house.send(wire, Request::message("someone@nowhere.example", "hello").bytes());
    says(&mut house, "bob@fabrikam.com", "alice@contoso.com");
    says(&mut house, "bob@public.example", "alice@contoso.com");
    house.rule = Box::new(|_| Reply::Status(480, "Temporarily Unavailable"));
    says(&mut house, "bob@fabrikam.com", "alice@contoso.com");
    house.advance(Duration::from_secs(3));
    house
}

#[test]
fn promtool_has_nothing_to_complain_about() {
    let text = render(&busy_house(), Format::Text);
    assert_eq!(promtool(["check", "metrics"], &text), Ok(String::new()), "{text}");
}

#[test]
fn prometheus_reads_all_of_it_as_openmetrics() {
    let text = render(&busy_house(), Format::OpenMetrics);
    // Its reader of whole files wants to know when each number was true.
    let timed: String = text
        .lines()
        .map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1795184285\n") })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let [file, blocks] = ["metrics", "blocks"].map(|name| folder.path().join(name));
    std::fs::write(&file, timed).expect("it can be written");
    let read = ["tsdb", "create-blocks-from", "openmetrics"].map(Into::into);
    let said = promtool(read.into_iter().chain([file, blocks.clone()]), "").expect("it reads it");
    let listed = promtool([std::path::Path::new("tsdb"), "list".as_ref(), &blocks], "").expect("it lists it");
    let samples = text.lines().filter(|line| !line.starts_with('#')).count().to_string();
    assert!(listed.contains(&samples), "{samples} samples:\n{said}\n{listed}");
}

#[test]
fn a_message_is_counted_with_its_partner_its_direction_and_what_became_of_it() {
    let house = busy_house();
    let messages = |labels: &str| sample(&house, &format!("nuncio_messages_total{{{labels}\"}}"));
    let to_bob = "partner=\"fabrikam.com\",direction=\"sip-to-xmpp\",outcome=\"";
    let from_bob = "partner=\"fabrikam.com\",direction=\"xmpp-to-sip\",outcome=\"";
    assert_eq!(messages(&format!("{to_bob}delivered")), 1);
    assert_eq!(messages("partner=\"other\",direction=\"sip-to-xmpp\",outcome=\"refused"), 1);
    assert_eq!((messages(&format!("{from_bob}delivered")), messages(&format!("{from_bob}failed"))), (1, 1));
    assert_eq!(messages("partner=\"public.example\",direction=\"xmpp-to-sip\",outcome=\"refused"), 1);
}

#[test]
fn a_message_takes_the_time_from_its_arrival_to_the_answer_of_the_front_end() {
    let mut house = House::new();
    house.front_end_takes = Duration::from_millis(300);
    says(&mut house, BOB, "alice@contoso.com");
    house.advance(Duration::from_secs(1));
    let bucket = |le: &str| {
        let of = "partner=\"fabrikam.com\",direction=\"xmpp-to-sip\"";
        sample(&house, &format!("nuncio_message_duration_seconds_bucket{{{of},le=\"{le}\"}}"))
    };
    assert_eq!((bucket("0.25"), bucket("0.5"), bucket("+Inf")), (0, 1, 1));
    let answers = |class| {
        sample(&house, &format!("nuncio_front_end_responses_total{{front_end=\"pool1\",class=\"{class}\"}}"))
    };
    assert_eq!((answers("2xx"), answers("4xx"), answers("none")), (1, 0, 0));
}

#[test]
fn a_refusal_is_counted_with_its_rule() {
    let house = busy_house();
    let refusals = |partner, direction, rule| {
        let labels = format!("partner=\"{partner}\",direction=\"{direction}\",rule=\"{rule}\"");
        sample(&house, &format!("nuncio_refusals_total{{{labels}}}"))
    };
    assert_eq!(refusals("other", "sip-to-xmpp", "unlisted-domain"), 1);
    assert_eq!(refusals("public.example", "xmpp-to-sip", "sip-user-first"), 1);
    assert_eq!(refusals("fabrikam.com", "xmpp-to-sip", "sip-user-first"), 0);
}

#[test]
fn streams_stand_under_their_method_as_long_as_they_are_up() {
    let mut house = busy_house();
    let streams = |house: &House, what: &str, direction: &str| {
        sample(
            house,
            &format!(
                "nuncio_streams{what}{{partner=\"fabrikam.com\",direction=\"{direction}\",method=\"sasl-external\""
            ),
        )
    };
    assert_eq!((streams(&house, "", "inbound"), streams(&house, "", "outbound")), (1, 1));
    house.partner_dies("fabrikam.com");
    assert_eq!((streams(&house, "", "inbound"), streams(&house, "", "outbound")), (0, 0));
    assert_eq!(streams(&house, "_established_total", "inbound"), 1);
}

#[test]
fn nobody_outside_makes_a_label() {
    let mut house = House::new();
    let wire = house.front_end();
    house.send(wire, Request::message(BOB, "hello").bytes());
    let series = |house: &House| {
        let text = render(house, Format::OpenMetrics);
        text.lines()
            .map(|line| line.rsplit_once(' ').map_or(line, |(series, _)| series).to_owned())
            .collect::<Vec<_>>()
    };
    let before = series(&house);
    for number in 0..50 {
        house.send(wire, Request::message(&format!("bob@d{number}.example"), "hello").bytes());
        house.send(wire, Request::new("PUBLISH", BOB).bytes());
    }
    assert_eq!(series(&house), before);
}
