//! What we are to front ends for partners of some types: one name for each, and one for each type.

use super::super::file::{Root, SipIdentitySection};
use super::super::read::Sections;
use super::{Checker, elements};

impl Checker<'_> {
    pub(super) fn sip_identities(&mut self, root: &Root) {
        let Some(sip) = &root.sip.value else { return };
        let Some(Sections(identities)) = &sip.identities.value else { return };
        let mut names: Vec<_> = sip.name.value.iter().map(|name| (name, sip.name.place)).collect();
        let mut types = Vec::new();
        for identity in identities {
            let (identity, label) = (&identity.value, label(&identity.value));
            if let Some(name) = &identity.name.value {
                if let Some((_, first)) = names.iter().find(|(known, _)| known.host == name.host) {
                    let first = self.places.name(*first);
                    let text =
                        format!("{label} name: it is taken already, at {first}; each identity needs its own");
                    self.error(identity.name.place, text);
                }
                names.push((name, identity.name.place));
            }
            for listed in elements(&identity.types) {
                if let Some((_, first)) = types.iter().find(|(known, _)| *known == listed.value) {
                    let first = self.places.name(*first);
                    let text = format!(
                        "{label} types: \"{}\" has an identity already, at {first}; it can have only one",
                        listed.value
                    );
                    self.error(listed.place, text);
                }
                types.push((listed.value, listed.place));
            }
        }
    }
}

/// How an identity is called in errors.
pub(super) fn label(identity: &SipIdentitySection) -> String {
    let name = identity.name.value.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    format!("[[sip.identity]] {name}:")
}
