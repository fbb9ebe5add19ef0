//! What RPID and the data model say about a person, a device or a tuple (RFC 4480, RFC 4479; PD-07, PD-08).
//!
//! Read is only what may be shown to somebody. Places, moods, spheres, calendars and whatever else a document may hold
//! are never looked at, so that they cannot reach anybody.

use compact_str::CompactString;
use nuncio_xmpp::{ElementRef, ns};

use crate::presence::document::Context;
use crate::presence::{Activity, Notes};
use crate::time;

/// What one person, device or tuple does.
#[derive(Debug, Clone, Default)]
pub(super) struct Doing {
    /// The one that says most about whether to disturb.
    pub(super) activity: Option<Activity>,
    /// Words for it.
    pub(super) text: Option<CompactString>,
    /// Gone for days: notes are out-of-office notes then.
    pub(super) out_of_office: bool,
    pub(super) input: Option<Input>,
}

/// `<user-input/>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Active,
    /// Since then, if that is told and may be taken in; seconds of Unix time.
    Idle(Option<u64>),
}

impl Doing {
    /// Takes in activities and user input among the children of `parent`; first come, first served.
    pub(super) fn read(&mut self, parent: ElementRef<'_>, context: &Context<'_>) {
        let from_calendar = is_from_calendar(parent);
        for child in parent.elements().filter(|child| child.ns() == ns::PIDF_RPID) {
            match child.name() {
                "activities" if holds(child, context.now_ms) && is_understood(child) => {
                    self.activities(child, from_calendar);
                }
                "user-input" if self.input.is_none() && is_understood(child) => {
                    self.input = input(child, context);
                }
                _ => {}
            }
        }
    }

    fn activities(&mut self, activities: ElementRef<'_>, from_calendar: bool) {
        let known = |child: ElementRef<'_>| {
            (child.ns() == ns::PIDF_RPID).then(|| Activity::from_name(child.name()))?
        };
        let mut silent = from_calendar;
        for activity in activities.elements().filter_map(known) {
            silent |= activity.may_be_planned();
            self.out_of_office |= activity.is_out_of_office();
            if self.activity.is_none_or(|so_far| activity.weight() > so_far.weight()) {
                self.activity = Some(activity);
            }
        }
        if silent || self.text.is_some() {
            return;
        }
        let words = |name: &str| {
            let child = activities.child(name, ns::PIDF_RPID)?;
            crate::presence::notes::clean(&child.text())
        };
        self.text = words("note").or_else(|| words("other"));
    }
}

/// Adds the notes among the children of `parent`. `lang`: the language around it.
pub(super) fn notes(parent: ElementRef<'_>, lang: Option<&str>, notes: &mut Notes) {
    let lang = parent.lang().or(lang);
    for note in parent.elements() {
        if note.name() == "note" && matches!(note.ns(), ns::PIDF | ns::PIDF_DATA_MODEL) {
            notes.add(note.lang().or(lang), &note.text());
        }
    }
}

/// The texts of this element were made by a calendar, which labels them so (RFC 4480 §3.3).
pub(super) fn is_from_calendar(parent: ElementRef<'_>) -> bool {
    let class = parent.child("class", ns::PIDF_RPID);
    class.is_some_and(|class| class.text().to_ascii_lowercase().contains("calendar"))
}

/// False if something in an extension must be understood to use it, and is not (PD-06).
pub(super) fn is_understood(extension: ElementRef<'_>) -> bool {
    let mandatory = |child: ElementRef<'_>| {
        let mark = child.attr_ns("mustUnderstand", ns::PIDF).or_else(|| child.attr("mustUnderstand"));
        matches!(mark, Some("true" | "1"))
    };
    let known = |child: ElementRef<'_>| {
        child.ns() == ns::PIDF_RPID
            && (child.name() == "note" || Activity::from_name(child.name()).is_some())
            && child.elements().next().is_none()
    };
    !extension.elements().any(|child| mandatory(child) && !known(child))
}

/// `from` and `until` (RFC 4480 §3.1). Times that cannot be read hold never.
fn holds(element: ElementRef<'_>, now_ms: u64) -> bool {
    let at = |name| element.attr(name).map(|text| time::parse(text.trim()));
    let begun = at("from").is_none_or(|from| from.is_some_and(|from| from <= now_ms));
    let over = at("until").is_some_and(|until| until.is_none_or(|until| until <= now_ms));
    begun && !over
}

fn input(element: ElementRef<'_>, context: &Context<'_>) -> Option<Input> {
    match element.text().trim() {
        "active" => Some(Input::Active),
        "idle" => {
            let last = element.attr("last-input").filter(|_| context.idle);
            // Idle since tomorrow is since now.
            let since =
                last.and_then(|last| time::parse(last.trim())).map(|ms| ms.min(context.now_ms) / 1000);
            Some(Input::Idle(since))
        }
        _ => None,
    }
}
