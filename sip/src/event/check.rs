//! Verdicts on SUBSCRIBE and NOTIFY that need no subscription.

use compact_str::CompactString;

use super::{Answer, EventConfig, Extras, NoDialog};
use crate::{ContentType, HeaderName, Message, Uri};

/// 423 is for durations below an hour only (RFC 6665 §4.2.1.1; PR-39).
const BRIEF: u32 = 3600;
/// Of what a request says no more than so many characters are quoted.
const QUOTED: usize = 80;
/// EV-14.
pub(super) const OUT_OF_ORDER: &str = "its CSeq is lower than that of a request before it in the same dialog";

/// What a SUBSCRIBE that passed asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Seconds granted: never more than asked for; 0 is a fetch, or the end of a subscription.
    pub expires: u32,
    /// The media type chosen from its Accept: of [`EventConfig::writes`] the one it wants most.
    pub media: &'static str,
    /// The `id` parameter of Event.
    pub event_id: Option<CompactString>,
    /// What of Lync's it asks for.
    pub extras: Extras,
}

/// Judges a SUBSCRIBE. One with a To tag belongs to a dialog: if no machine is bound to the tag, it gets 481. For the
/// dialog of an INVITE there is [`dialog_sharing_refused`]. `routable` says whether NOTIFY may go to that Contact
/// (PS-06).
///
/// # Errors
/// The answer it gets: 400, 403, 406, 423, 481, 489.
pub fn check_subscribe(
    request: &Message,
    config: &EventConfig,
    routable: impl FnOnce(&Uri<'_>) -> bool,
) -> Result<Wanted, Answer> {
    if request.to_header().is_ok_and(|to| to.tag().is_some()) {
        return Err(unknown_subscription());
    }
    if request.from_header().map_err(|error| NoDialog::from(error).answer())?.tag().is_none() {
        return Err(NoDialog::NoTag.answer());
    }
    check_terms(request, config, routable, true)
}

/// What has to be right with every SUBSCRIBE, outside and inside a dialog.
pub(super) fn check_terms(
    request: &Message,
    config: &EventConfig,
    routable: impl FnOnce(&Uri<'_>) -> bool,
    needs_contact: bool,
) -> Result<Wanted, Answer> {
    let event_id = check_event(request, config)?;
    check_contact(request, routable, needs_contact)?;
    let media = choose_media(request, config).ok_or_else(|| not_acceptable(request, config))?;
    let asked = request.expires().map_err(|error| NoDialog::from(error).answer())?;
    let expires = grant(asked, config)?;
    let event_id = event_id.map(CompactString::from);
    Ok(Wanted { expires, media, event_id, extras: Extras::of(request).among(config.gives) })
}

fn not_acceptable(request: &Message, config: &EventConfig) -> Answer {
    let writes = config.writes.join(", ");
    // Without Accept it is our own list that lacks the default; then there is nothing to be quoted.
    let why = format!("it accepts {}; what is written is {writes}", seen(request, HeaderName::Accept));
    Answer::plain(406).because(why)
}

fn wrong_package(request: &Message, config: &EventConfig) -> Answer {
    let (came, package) = (seen(request, HeaderName::Event), config.package);
    let why = format!("its event package is {came}; the only one that crosses is \"{package}\"");
    Answer::plain(489).with("Allow-Events", package).because(why)
}

/// PS-06.
fn leads_elsewhere(contact: &Uri<'_>) -> Answer {
    let host = clipped(&contact.host().to_string());
    let why = format!(
        "its Contact leads to {host}, which is neither the address it came from nor below a domain or a host name of \
         this front end; NOTIFY does not go there"
    );
    Answer::new(403, "Contact Leads Elsewhere").because(why)
}

/// What the field says, for the eyes of an administrator.
fn seen(request: &Message, field: HeaderName) -> String {
    let values: Vec<_> = request.headers(field).collect();
    if values.is_empty() { "not named".to_owned() } else { format!("\"{}\"", clipped(&values.join(", "))) }
}

/// The other side wrote it, so it is as long as that likes.
fn clipped(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

/// SUBSCRIBE inside the dialog of an INVITE (RFC 6665 §4.5.2; EV-12), or a second one beside another in its dialog.
pub fn dialog_sharing_refused() -> Answer {
    Answer::new(403, "Dialog Sharing Not Supported").because(
        "it asks for a second subscription inside the dialog of another one; it needs a dialog of its own",
    )
}

/// The answer to a request inside a dialog of which no machine knows (EV-05, EV-06).
pub fn unknown_subscription() -> Answer {
    Answer::plain(481)
        .because("it belongs to no subscription that the gateway knows, or to one that has ended")
}

/// The answer to a NOTIFY under whose To tag no machine is bound (EV-05).
pub fn check_notify(request: &Message, config: &EventConfig) -> Answer {
    match check_event(request, config) {
        Err(answer) => answer,
        Ok(_) => unknown_subscription(),
    }
}

/// The `id` of an Event of our package, which is compared byte by byte (EV-01, EV-02).
pub(super) fn check_event<'a>(request: &'a Message, config: &EventConfig) -> Result<Option<&'a str>, Answer> {
    let event = request.event().ok().flatten();
    match event.filter(|event| event.package == config.package) {
        Some(event) if request.headers_bytes(HeaderName::Event).count() == 1 => Ok(event.id()),
        _ => Err(wrong_package(request, config)),
    }
}

fn check_contact(
    request: &Message,
    routable: impl FnOnce(&Uri<'_>) -> bool,
    needed: bool,
) -> Result<(), Answer> {
    let mut contacts = request.list(HeaderName::Contact);
    let unusable = || NoDialog::Contact.answer();
    match (contacts.next(), contacts.next()) {
        (None, _) if !needed => Ok(()),
        (Some(only), None) => {
            let address = crate::NameAddr::parse(only).map_err(|_| unusable())?;
            if !address.uri.is_sip() {
                return Err(unusable());
            }
            if routable(&address.uri) { Ok(()) } else { Err(leads_elsewhere(&address.uri)) }
        }
        _ => Err(unusable()),
    }
}

/// The media type of ours that the watcher wants most (PR-43). Of equals what it names comes before what it only does not
/// exclude, and then the first of ours; of what only a wildcard covers the package's own. Without Accept it is that as well
/// (RFC 3856 §6.7).
fn choose_media(request: &Message, config: &EventConfig) -> Option<&'static str> {
    let is_default = |media: &str| media.eq_ignore_ascii_case(config.default_media);
    if request.header_bytes(HeaderName::Accept).is_none() {
        return config.writes.iter().copied().find(|media| is_default(media));
    }
    let wanted = config.writes.iter().filter_map(|media| {
        let (quality, named) = quality(request, media);
        (quality > 0).then_some(((quality, named, named || is_default(media)), *media))
    });
    // The last of equals otherwise.
    wanted.rev().max_by_key(|(wish, _)| *wish).map(|(_, media)| media)
}

/// How much whoever sent Accept wants it, in thousandths, and whether it is named; 0 is a no. The most specific range decides
/// (RFC 3261 §20.1, RFC 9110 §12.5.1).
pub(crate) fn quality(request: &Message, media: &str) -> (u16, bool) {
    const NAMED: u8 = 3;
    let Ok(media) = ContentType::parse(media) else { return (0, false) };
    let rank = |range: &ContentType<'_>| match (range.main, range.sub) {
        ("*", "*") => Some(1),
        (main, "*") if main.eq_ignore_ascii_case(media.main) => Some(2),
        (main, sub) if media.is(main, sub) => Some(NAMED),
        _ => None,
    };
    let ranges = request.accept().filter_map(Result::ok);
    let best =
        ranges.filter_map(|range| Some((rank(&range)?, range.param("q").map_or(1000, |q| thousandths(&q)))));
    best.max().map_or((0, false), |(rank, quality)| (quality, rank == NAMED))
}

/// A `qvalue`; one that is none counts as 1: the type itself was named.
fn thousandths(q: &str) -> u16 {
    let (whole, decimals) = q.split_once('.').unwrap_or((q, ""));
    if whole != "0" || decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return 1000;
    }
    let digits = decimals.bytes().map(|byte| u16::from(byte - b'0')).chain(std::iter::repeat(0));
    digits.take(3).fold(0, |sum, digit| sum * 10 + digit)
}

fn grant(asked: Option<u32>, config: &EventConfig) -> Result<u32, Answer> {
    let asked = asked.unwrap_or(config.default_expires);
    if asked > 0 && asked < config.min_expires.min(BRIEF) {
        let least = config.min_expires.min(BRIEF);
        let why = format!("it asks for {asked} s; the least is {least} s");
        return Err(Answer::plain(423).with("Min-Expires", least.to_string()).because(why));
    }
    Ok(asked.min(config.max_expires))
}

/// Whether the body of a NOTIFY is something we said we read; an empty one always is.
pub(super) fn check_body(request: &Message, config: &EventConfig) -> Result<(), Answer> {
    if request.body().is_empty() {
        return Ok(());
    }
    let encoded = request.list(HeaderName::ContentEncoding).any(|c| !c.eq_ignore_ascii_case("identity"));
    if encoded {
        let why = "its body is compressed or encoded (Content-Encoding), which is not read";
        return Err(Answer::plain(415).with("Accept-Encoding", "identity").because(why));
    }
    let readable = match request.content_type() {
        Ok(Some(media)) => {
            let is = |ours: &&str| ContentType::parse(ours).is_ok_and(|o| media.is(o.main, o.sub));
            config.reads.iter().any(is)
        }
        Ok(None) => true,
        Err(_) => false,
    };
    if readable {
        return Ok(());
    }
    let (came, reads) = (seen(request, HeaderName::ContentType), config.reads.join(", "));
    let why = format!("its body has the type {came}; what is read is {reads}");
    Err(Answer::plain(415).with("Accept", reads).because(why))
}
