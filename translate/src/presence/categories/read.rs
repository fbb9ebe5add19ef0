use compact_str::format_compact;
use nuncio_xmpp::{ElementRef, ns};
use smallvec::SmallVec;

use super::state::{Token, of_availability};
use crate::presence::document::{self, Context, DocumentError};
use crate::presence::foreseen::Times;
use crate::presence::instance::{Kind, StateInstance};
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
    let known = context.known.and_then(|known| known.resource(WHOLE)).filter(|known| known.part().is_some());
    let times = Times::after(context.now_ms, root, &["startTime", "endTime"], at, known);
    let read = |now_ms| {
        whole(root, &Context { now_ms, ..*context }, known.map(|known| known.at(now_ms)))
            .map(|resource| Presentity { resources: vec![resource] })
    };
    let mut now = read(context.now_ms);
    if let Some(now) = &mut now {
        times.foresee(now, read);
    }
    Ok(now)
}

/// What the document makes of what was known.
fn whole(root: ElementRef<'_>, context: &Context<'_>, known: Option<&Resource>) -> Option<Resource> {
    let mut resource = state(root, known).or_else(|| known.cloned())?;
    let (instance, notes) = notes(root, context, known).unwrap_or_else(|| {
        known.map(|known| (known.note_instance(), known.notes().clone())).unwrap_or_default()
    });
    resource.set_notes_of(instance, notes);
    resource.set_foreseen(None);
    Some(resource)
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
fn state(root: ElementRef<'_>, known: Option<&Resource>) -> Option<Resource> {
    let categories = categories(root, "state");
    let states = || {
        categories.iter().filter_map(|category| {
            let state = category.child("state", ns::CATEGORY_STATE)?;
            let availability: u32 =
                state.child("availability", ns::CATEGORY_STATE)?.text().trim().parse().ok()?;
            Some((kind(state)?, instance(*category), state, availability))
        })
    };
    let withdrawn = |part: StateInstance| {
        categories.iter().any(|category| is_empty(*category) && (part.is(instance(*category))))
    };
    let part = known.and_then(Resource::part);
    let stands = part.filter(|part| !withdrawn(*part));
    let counts = |instance: u32| stands.is_none_or(|part| part.kind() == Kind::Plain || part.is(instance));
    let found = states().find(|(kind, ..)| *kind == Kind::Aggregate);
    let found =
        found.or_else(|| states().find(|(kind, instance, ..)| *kind == Kind::Plain && counts(*instance)));
    if let Some((kind, instance, state, availability)) = found {
        let mut resource = resource(state, availability);
        resource.set_part(Some(StateInstance::new(kind, instance)));
        return Some(resource);
    }
    // Taken back: from now on nobody knows.
    let gone = match part {
        Some(part) => withdrawn(part).then_some(part),
        None => categories
            .iter()
            .find(|category| is_empty(**category))
            .map(|category| StateInstance::new(Kind::Plain, instance(*category))),
    }?;
    let mut resource = Resource::new(WHOLE, Availability::Closed);
    resource.set_part(Some(gone.taken_back()));
    Some(resource)
}

/// Of the whole. States of single devices and of calendars are what it is made of, and are none of anybody's business.
fn kind(state: ElementRef<'_>) -> Option<Kind> {
    let Some(kind) = state.attr_ns("type", ns::XSI) else { return Some(Kind::Plain) };
    let name = kind.rsplit_once(':').map_or(kind, |(_, name)| name);
    (name == "aggregateState").then_some(Kind::Aggregate)
}

/// The number that tells categories of one name apart; 0 where there is none.
fn instance(category: ElementRef<'_>) -> u32 {
    category.attr("instance").and_then(|instance| instance.trim().parse().ok()).unwrap_or(0)
}

/// That instance is taken back.
fn is_empty(category: ElementRef<'_>) -> bool {
    category.elements().next().is_none()
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

/// The user's own notes, and their instance; `None`: the document does not say.
fn notes(root: ElementRef<'_>, context: &Context<'_>, known: Option<&Resource>) -> Option<(u32, Notes)> {
    let categories = categories(root, "note");
    let lang = root.lang().or(context.language);
    let mut notes = Notes::NONE;
    let mut told = None;
    for category in &categories {
        let bodies = category.child("note", ns::CATEGORY_NOTE).into_iter().flat_map(ElementRef::elements);
        for body in bodies.filter(|child| child.is("body", ns::CATEGORY_NOTE)) {
            // The other one is `OOF`.
            if body.attr("type") == Some("personal") {
                told.get_or_insert_with(|| instance(*category));
                if holds(body, context.now_ms) {
                    notes.add(body.lang().or(lang), &body.text());
                }
            }
        }
    }
    if let Some(instance) = told {
        return Some((instance, notes));
    }
    // An instance without a note of his own takes away the one that came from it, and none from elsewhere.
    let known = known.map(Resource::note_instance);
    categories.iter().any(|category| known == Some(instance(*category))).then(Default::default)
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
