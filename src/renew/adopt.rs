//! Another configuration: what its files hold is loaded before anything is changed, and what is in use already stays as it is.

use std::collections::HashMap;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::SystemTime;

use super::slot::{Slot, Source};
use super::sources::{IdentityFiles, ProofFiles, RootsFile};
use super::{InUse, Renewal, identities, open, put_in_use};
use crate::certs::expiry::Told;
use crate::config::{Config, Domain, Partner};
use crate::tls::Proof;

/// What is looked at from now on, loaded as far as it is not in use already.
pub struct Prepared {
    sip_identities: Vec<Next<IdentityFiles>>,
    xmpp_identities: Vec<Next<IdentityFiles>>,
    control_identities: Vec<Next<IdentityFiles>>,
    sip_roots: Next<RootsFile>,
    xmpp_roots: Next<RootsFile>,
    sip_proof: Next<ProofFiles>,
    proofs: Vec<Next<ProofFiles>>,
}

/// What cannot be used, with what to do about it.
#[derive(Debug)]
pub enum Unusable {
    /// What partners' certificates are to be held against.
    Partners(Vec<(Domain, String)>),
    /// Something else.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Unusable {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Those of these partners whose files cannot be used, and why.
pub fn unusable<'a>(partners: impl IntoIterator<Item = &'a Partner>) -> Vec<(Domain, String)> {
    let now = SystemTime::now();
    let fault = |partner: &Partner| {
        let fault = Slot::open(ProofFiles::of(partner), now).err();
        fault.map(|why| (partner.domain.clone(), why))
    };
    partners.into_iter().filter_map(fault).collect()
}

/// The files that cannot be used of those that the certificates of all peers of a side are held against: each by its key, and why.
pub fn unusable_for_all(config: &Config) -> Vec<(&'static str, String)> {
    let now = SystemTime::now();
    let mut faults = Vec::new();
    let mut look = |key, fault: Option<String>| faults.extend(fault.map(|why| (key, why)));
    look("sip.roots", Slot::open(RootsFile::new(Some(&config.sip.roots)), now).err());
    if let Some(roots) = &config.xmpp.roots {
        look("xmpp.roots", Slot::open(RootsFile::new(Some(roots)), now).err());
    }
    look("sip.crls", Slot::open(ProofFiles::of_front_ends(config), now).err());
    faults
}

/// One thing.
enum Next<S: Source> {
    /// It is in use, at this place.
    Same(usize, S),
    New(Slot<S>),
}

impl Renewal {
    /// Loads what this configuration names and is not in use.
    ///
    /// # Errors
    /// Files that cannot be used. Nothing is changed then, and nothing otherwise.
    pub fn prepare(&self, config: &Config, now: SystemTime) -> Result<Prepared, Unusable> {
        let shared = Arc::new(config.clone());
        let like = IdentityFiles::is_like;
        let mut xmpp_identities = Vec::new();
        for (files, domains) in config.certificates.iter() {
            let domains = domains.into_iter().cloned().collect();
            let source = IdentityFiles::of_domains(&shared, files, domains);
            xmpp_identities.push(next(&self.xmpp_identities, source, like, now, "[[certificate]]")?);
        }
        let roots = |slot, file, what| next(from_ref(slot), RootsFile::new(file), RootsFile::eq, now, what);
        // Found by their names: there may be thousands of partners.
        let by_name: HashMap<String, usize> =
            self.proofs.iter().enumerate().map(|(at, slot)| (slot.source().name(), at)).collect();
        let proof = |source: ProofFiles| match by_name.get(&source.name()) {
            Some(at) if self.proofs.get(*at).is_some_and(|slot| *slot.source() == source) => {
                Ok(Next::Same(*at, source))
            }
            _ => Slot::open(source, now).map(Next::New),
        };
        let (mut proofs, mut faults) = (Vec::with_capacity(config.partners.len()), Vec::new());
        for partner in config.partners.iter() {
            match proof(ProofFiles::of(partner)) {
                Ok(next) => proofs.push(next),
                Err(why) => faults.push((partner.domain.clone(), why)),
            }
        }
        if !faults.is_empty() {
            return Err(Unusable::Partners(faults));
        }
        Ok(Prepared {
            sip_identities: IdentityFiles::of_front_ends(&shared)
                .map(|source| next(&self.sip_identities, source, like, now, "sip.certificate"))
                .collect::<anyhow::Result<_>>()?,
            xmpp_identities,
            control_identities: IdentityFiles::of_control(&shared)
                .map(|source| next(&self.control_identities, source, like, now, "control.certificate"))
                .into_iter()
                .collect::<anyhow::Result<_>>()?,
            sip_roots: roots(&self.sip_roots, Some(&config.sip.roots), "sip.roots")?,
            xmpp_roots: roots(&self.xmpp_roots, config.xmpp.roots.as_ref(), "xmpp.roots")?,
            sip_proof: next(
                from_ref(&self.sip_proof),
                ProofFiles::of_front_ends(config),
                ProofFiles::eq,
                now,
                "sip.crls",
            )?,
            proofs,
        })
    }

    /// What partners' certificates will be held against, in the order of the partners.
    pub fn proofs_with(&self, prepared: &Prepared) -> Vec<Arc<Proof>> {
        let proof = |next: &Next<ProofFiles>| match next {
            Next::Same(at, _) => self.proofs.get(*at).map(|slot| Arc::clone(slot.current())),
            Next::New(slot) => Some(Arc::clone(slot.current())),
        };
        prepared.proofs.iter().filter_map(proof).collect()
    }

    /// Puts it in use for new handshakes. The proofs of partners are for whoever knows the partners: [`Renewal::proofs_with`].
    pub fn adopt(&mut self, prepared: Prepared, in_use: &InUse) {
        let Prepared { sip_identities, xmpp_identities, control_identities, .. } = prepared;
        let Prepared { sip_roots, xmpp_roots, sip_proof, proofs, .. } = prepared;
        let sip_before = self.sip_identities.len();
        let both_before = sip_before + self.xmpp_identities.len();
        let sip = take_all(&mut self.sip_identities, sip_identities);
        if sip.changed {
            put_in_use(&in_use.sip_identities, identities(&self.sip_identities));
        }
        let xmpp = take_all(&mut self.xmpp_identities, xmpp_identities);
        if xmpp.changed {
            put_in_use(&in_use.xmpp_identities, identities(&self.xmpp_identities));
        }
        let control = take_all(&mut self.control_identities, control_identities);
        // Without any the socket shows what it has until the next start; no token opens anything there.
        if control.changed
            && let Some(store) = &in_use.control_identities
            && !self.control_identities.is_empty()
        {
            put_in_use(store, identities(&self.control_identities));
        }
        let behind =
            |taken: Taken, before: usize| taken.from.into_iter().map(move |at| at.map(|at| before + at));
        let from = behind(sip, 0).chain(behind(xmpp, sip_before)).chain(behind(control, both_before));
        self.told = follow(&self.told, from);
        if let Next::New(slot) = sip_roots {
            in_use.sip_roots.replace(Arc::clone(slot.current()));
            self.sip_roots = slot;
        }
        if let Next::New(slot) = xmpp_roots {
            in_use.xmpp_roots.replace(Arc::clone(slot.current()));
            self.xmpp_roots = slot;
        }
        if let Next::New(slot) = sip_proof {
            in_use.sip_proof.store(Arc::clone(slot.current()));
            self.sip_proof = slot;
        }
        take_all(&mut self.proofs, proofs);
    }
}

fn next<S: Source>(
    in_use: &[Slot<S>],
    source: S,
    is_like: impl Fn(&S, &S) -> bool,
    now: SystemTime,
    what: &'static str,
) -> anyhow::Result<Next<S>> {
    match in_use.iter().position(|slot| is_like(slot.source(), &source)) {
        Some(at) => Ok(Next::Same(at, source)),
        None => open(source, now, what).map(Next::New),
    }
}

/// What was told of certificates goes where they go. Of a new one nothing was told: a reload says nothing of ends.
fn follow(told: &[Told], from: impl Iterator<Item = Option<usize>>) -> Vec<Told> {
    from.map(|at| at.and_then(|at| told.get(at)).copied().unwrap_or_default()).collect()
}

/// What became of slots.
struct Taken {
    /// There is anything new, or in another order.
    changed: bool,
    /// The place where each was before; `None`: it is new.
    from: Vec<Option<usize>>,
}

fn take_all<S: Source>(slots: &mut Vec<Slot<S>>, next: Vec<Next<S>>) -> Taken {
    let mut old: Vec<Option<Slot<S>>> = std::mem::take(slots).into_iter().map(Some).collect();
    let mut changed = old.len() != next.len();
    let mut from = Vec::with_capacity(next.len());
    for (place, next) in next.into_iter().enumerate() {
        match next {
            Next::Same(at, source) => {
                changed |= at != place;
                from.push(Some(at));
                // Each source is like one slot at most: no two are alike in a configuration.
                slots.extend(old.get_mut(at).and_then(Option::take).map(|slot| slot.under(source)));
            }
            Next::New(slot) => {
                changed = true;
                from.push(None);
                slots.push(slot);
            }
        }
    }
    Taken { changed, from }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::super::sources::tests::{opened, put};
    use super::*;
    use crate::tls::testing::{Ca, now};

    #[test]
    fn what_was_told_of_a_certificate_goes_with_it_to_its_new_place() {
        let ca = Ca::new("Root");
        let slot = || {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("roots.pem"), ca.pem()).unwrap();
            put(folder.path(), &ca.server(&["contoso.com"]));
            let slot = opened(folder.path());
            (folder, slot)
        };
        let [(_a, first), (_b, second), (_c, new)] = [slot(), slot(), slot()];
        let end = now() + Duration::from_secs(60);
        let said = |end| {
            let mut told = Told::default();
            told.due(end, now()).expect("it is near");
            told
        };
        let told = [said(end), said(end + Duration::from_secs(60))];
        let same = |at, slot: &Slot<IdentityFiles>| Next::Same(at, slot.source().clone());
        let next = vec![Next::New(new), same(1, &second), same(0, &first)];
        let mut slots = vec![first, second];
        let taken = take_all(&mut slots, next);
        assert!(taken.changed);
        let told_now = follow(&told, taken.from.into_iter());
        assert_eq!(told_now, [Told::default(), told[1], told[0]]);
        assert_eq!(told_now.len(), slots.len(), "each has what was told of it");
    }
}
