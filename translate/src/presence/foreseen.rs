//! What a document says of times to come: a note that ends at noon, an activity that begins then. Read when the document
//! arrives, for each such time, and carried out when it has come; the document itself is not kept.

use nuncio_xmpp::ElementRef;
use smallvec::SmallVec;

use super::model::{Presentity, Resource};

/// Most times of one document, or of one and what was known before it, that are looked ahead to. Later ones count for
/// nothing until another document comes.
pub const MAX_FORESEEN: usize = 16;

/// A resource as it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreseen {
    /// Milliseconds of Unix time.
    at_ms: u64,
    resource: Resource,
}

/// Milliseconds of Unix time, all to come, in order.
#[derive(Debug)]
pub(super) struct Times(SmallVec<[u64; 4]>);

impl Times {
    /// The values of these attributes anywhere in the document, and the times known already.
    pub(super) fn after(
        now_ms: u64,
        root: ElementRef<'_>,
        bounds: &[&str],
        read: fn(&str) -> Option<u64>,
        known: Option<&Resource>,
    ) -> Self {
        let mut times = SmallVec::new();
        collect(root, &mut |element| {
            times.extend(bounds.iter().filter_map(|bound| element.attr(bound)).filter_map(read));
        });
        times.extend(std::iter::successors(known, |known| known.next()).filter_map(Resource::changes_at));
        times.retain(|time| *time > now_ms);
        times.sort_unstable();
        times.dedup();
        times.truncate(MAX_FORESEEN);
        Self(times)
    }

    /// Adds to what is so now what will be: `read` reads the document as if it were that time.
    pub(super) fn foresee(self, now: &mut Presentity, read: impl Fn(u64) -> Option<Presentity>) {
        for at_ms in self.0 {
            let then = read(at_ms).unwrap_or_default();
            for resource in then.resources {
                let known = now.resources.iter_mut().find(|known| known.id == resource.id);
                if let Some(known) = known {
                    known.foresee(at_ms, resource);
                }
            }
        }
    }
}

fn collect<'a>(element: ElementRef<'a>, each: &mut impl FnMut(ElementRef<'a>)) {
    each(element);
    element.elements().for_each(|child| collect(child, each));
}

impl Presentity {
    /// When something becomes otherwise without a new document, in milliseconds of Unix time.
    pub fn changes_at(&self) -> Option<u64> {
        self.resources.iter().filter_map(Resource::changes_at).min()
    }

    /// What was foreseen for a time up to now has come about. True if there was anything.
    pub fn time_passed(&mut self, now_ms: u64) -> bool {
        let mut changed = false;
        for resource in &mut self.resources {
            while let Some(foreseen) = resource.take_foreseen(|foreseen| foreseen.at_ms <= now_ms) {
                // What the subscription is, nobody can foresee.
                let (updated_ms, part) = (resource.updated_ms(), resource.part());
                *resource = foreseen.resource;
                resource.set_updated_ms(updated_ms);
                resource.set_part(part);
                changed = true;
            }
        }
        changed
    }
}

impl Resource {
    /// As it will be at that time, as far as can be foreseen.
    pub(super) fn at(&self, time_ms: u64) -> &Self {
        match self.foreseen() {
            Some(foreseen) if foreseen.at_ms <= time_ms => foreseen.resource.at(time_ms),
            _ => self,
        }
    }

    fn next(&self) -> Option<&Self> {
        self.foreseen().map(|foreseen| &foreseen.resource)
    }

    fn changes_at(&self) -> Option<u64> {
        self.foreseen().map(|foreseen| foreseen.at_ms)
    }

    /// Times come in order.
    fn foresee(&mut self, at_ms: u64, resource: Self) {
        if self.foreseen().is_some() {
            if let Some(foreseen) = self.foreseen_mut() {
                foreseen.resource.foresee(at_ms, resource);
            }
        } else if *self != resource {
            self.set_foreseen(Some(Foreseen { at_ms, resource }));
        }
    }
}
