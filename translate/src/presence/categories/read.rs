use compact_str::format_compact;
use nuncio_xmpp::{ElementRef, ns};
use smallvec::SmallVec;

use super::state::{Token, of_availability};
use crate::presence::document::{self, Context, DocumentError};
use crate::presence::notes::clean;
use crate::presence::whole::{State, WHOLE};
use crate::presence::{Availability, Notes, Presentity, Resource};
use crate::time;

/// See [`super::read()`].
pub(super) fn document(document: &[u8], context: &Context<'_>) -> Result<Option<Presentity>, DocumentError> {
    let document = document::parse(document, context)?;
    let root = document.root();
    if !root.is("categories", ns::CATEGORIES) {
        return Err(DocumentError::Root {
            format: "document of categories",
            name: "categories",
            ns: ns::CATEGORIES,
        });
    }
    let known = context.known.and_then(|known| known.resource(WHOLE)).filter(|known| known.is_in_parts());
    let (state, notes) = (state(root), notes(root, context));
    let Some(mut resource) = state.or_else(|| known.cloned()) else { return Ok(None) };
    resource.set_in_parts(true);
    resource.set_notes(notes.or_else(|| known.map(|known| known.notes().clone())).unwrap_or_default());
    Ok(Some(Presentity { resources: vec![resource] }))
}

/// The categories of that name, what was published last first.
fn categories<'a>(root: ElementRef<'a>, name: &str) -> SmallVec<[ElementRef<'a>; 4]> {
    let published = |category: &ElementRef<'a>| category.attr("publishTime").and_then(at);
    let of_that_name = |category: &ElementRef<'a>| {
        category.is("category", ns::CATEGORIES) && category.attr("name") == Some(name)
    };
    let mut categories: SmallVec<_> = root.elements().filter(of_that_name).collect();
    // Of equals the last one: it came later.
    categories.reverse();
    categories.sort_by_key(|category| std::cmp::Reverse(published(category)));
    categories
}

/// `None`: the document does not say.
fn state(root: ElementRef<'_>) -> Option<Resource> {
    let categories = categories(root, "state");
    let states = || {
        categories.iter().filter_map(|category| category.child("state", ns::CATEGORY_STATE)).filter_map(
            |state| {
                let kind = state.attr_ns("type", ns::XSI);
                let kind = kind.map(|kind| kind.rsplit_once(':').map_or(kind, |(_, name)| name));
                let availability: u32 =
                    state.child("availability", ns::CATEGORY_STATE)?.text().trim().parse().ok()?;
                Some((kind, state, availability))
            },
        )
    };
    // States of single devices and of calendars are what the whole is made of, and are none of anybody's business.
    let whole = states().find(|(kind, ..)| *kind == Some("aggregateState"));
    if let Some((_, state, availability)) = whole.or_else(|| states().find(|(kind, ..)| kind.is_none())) {
        return Some(resource(state, availability));
    }
    // Taken back: from now on nobody knows.
    let withdrawn = categories.iter().any(|category| category.elements().next().is_none());
    withdrawn.then(|| Resource::new(WHOLE, Availability::Closed))
}

fn resource(element: ElementRef<'_>, availability: u32) -> Resource {
    let state = of_availability(availability);
    if state == State::Offline {
        return state.resource(None);
    }
    let Some(activity) = activity(element, availability) else { return state.resource(None) };
    let word = activity.attr("token");
    let token = word.and_then(|token| Token::from_word(token.trim()));
    // Words beside a token that is not known may be those of a calendar.
    let own_words = word.is_none() || token.is_some_and(|token| !token.may_be_planned());
    let custom = activity.elements().filter(|child| own_words && child.is("custom", ns::CATEGORY_STATE));
    let own = custom.map(ElementRef::text).find_map(|text| clean(&text));
    let mut resource = state.resource(own.as_deref().or_else(|| token.map(Token::words)));
    if let Some(token) = token {
        resource.show = token.show(state);
    }
    resource
}

/// The first one that is meant for that availability.
fn activity(state: ElementRef<'_>, availability: u32) -> Option<ElementRef<'_>> {
    let bound = |activity: ElementRef<'_>, name| {
        activity.attr(name).and_then(|bound| bound.trim().parse::<u32>().ok())
    };
    state.elements().filter(|child| child.is("activity", ns::CATEGORY_STATE)).find(|activity| {
        bound(*activity, "minAvailability").is_none_or(|least| least <= availability)
            && bound(*activity, "maxAvailability").is_none_or(|most| availability <= most)
    })
}

/// The user's own notes; `None`: the document does not say.
fn notes(root: ElementRef<'_>, context: &Context<'_>) -> Option<Notes> {
    let categories = categories(root, "note");
    if categories.is_empty() {
        return None;
    }
    let lang = root.lang().or(context.language);
    let mut notes = Notes::NONE;
    let bodies = categories.iter().filter_map(|category| category.child("note", ns::CATEGORY_NOTE));
    for body in bodies.flat_map(ElementRef::elements).filter(|child| child.is("body", ns::CATEGORY_NOTE)) {
        // The other one is `OOF`.
        if body.attr("type") == Some("personal") && holds(body, context.now_ms) {
            notes.add(body.lang().or(lang), &body.text());
        }
    }
    Some(notes)
}

/// `startTime` and `endTime`. Times that cannot be read hold never.
fn holds(body: ElementRef<'_>, now_ms: u64) -> bool {
    let bound = |name| body.attr(name).filter(|text| !text.trim().is_empty()).map(at);
    let begun = bound("startTime").is_none_or(|start| start.is_some_and(|start| start <= now_ms));
    let over = bound("endTime").is_some_and(|end| end.is_none_or(|end| end <= now_ms));
    begun && !over
}

/// Milliseconds of Unix time. Front ends leave out that it is Universal Time.
fn at(text: &str) -> Option<u64> {
    let text = text.trim();
    time::parse(text).or_else(|| time::parse(&format_compact!("{text}Z")))
}
