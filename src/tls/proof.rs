//! What the certificates of one partner are held against: roots of his own instead of those of all, the keys he may have,
//! and revocation lists.

use std::collections::HashSet;
use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::chain::{judge_with, words};
use super::pem::{self, PemError};
use super::{ChainStatus, PeerFacts, Roots};

/// Why revocation lists cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// The file cannot be read as PEM with revocation lists.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A list in it cannot be used.
    #[error("revocation list {index} in {} cannot be used: {detail}", file.display())]
    Unusable {
        /// The file.
        file: std::path::PathBuf,
        /// Its number in the file, from 1.
        index: usize,
        /// What is wrong with it.
        detail: String,
    },
}

/// What is asked of the certificates of one partner. The default asks nothing but a chain to the roots of all.
#[derive(Debug, Default)]
pub struct Proof {
    /// His own, which count instead of those of all (TLS-15).
    roots: Option<Roots>,
    /// SHA-256 of the keys he may have; empty: any.
    pins: HashSet<[u8; 32]>,
    pins_replace_roots: bool,
    crls: Vec<CertRevocationList<'static>>,
}

impl Proof {
    /// Believes these roots and no longer those of all: whoever names a CA for a partner does not want that any other
    /// CA of the world can speak for him.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Believes these keys only; if they `replace_roots`, without looking at their chains.
    #[must_use]
    pub fn with_pins(mut self, pins: impl IntoIterator<Item = [u8; 32]>, replace_roots: bool) -> Self {
        self.pins = pins.into_iter().collect();
        self.pins_replace_roots = replace_roots;
        self
    }

    /// Looks the chain up in the lists of a PEM file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds no list or one that cannot be used.
    pub fn with_crls(self, file: &Path) -> Result<Self, CrlError> {
        self.with_crls_of(&pem::read(file)?, file)
    }

    /// As [`Self::with_crls`], from text; `file` is only named in errors.
    ///
    /// # Errors
    ///
    /// When the text holds no list or one that cannot be used.
    pub fn with_crls_of(mut self, text: &[u8], file: &Path) -> Result<Self, CrlError> {
        self.crls = crls(text, file)?;
        Ok(self)
    }

    /// The roots that count instead of those of all, if there are any.
    pub fn own_roots(&self) -> Option<&Roots> {
        self.roots.as_ref()
    }

    /// Whether it asks no more than a chain to the roots of all.
    pub fn is_plain(&self) -> bool {
        self.roots.is_none() && self.pins.is_empty() && self.crls.is_empty()
    }

    /// Whether what the peer presented is to be believed now; `common` are the roots of all.
    pub fn judge(&self, peer: &PeerFacts, common: &Roots, now: SystemTime) -> ChainStatus {
        self.judge_lasting(peer, common, now).0
    }

    /// The same, and until when it is to be believed, if that has an end: a key that is believed without a chain has none.
    pub fn judge_lasting(
        &self,
        peer: &PeerFacts,
        common: &Roots,
        now: SystemTime,
    ) -> (ChainStatus, Option<SystemTime>) {
        if !self.pins.is_empty()
            && let Some(certificate) = peer.certificate()
        {
            if !self.pins.contains(&certificate.spki_sha256) {
                return (ChainStatus::NotPinned { key: STANDARD.encode(certificate.spki_sha256) }, None);
            }
            if self.pins_replace_roots {
                return (ChainStatus::Valid, None);
            }
        }
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().collect();
        let (status, issuers_until) =
            judge_with(&peer.chain, self.roots.as_ref().unwrap_or(common), &crls, now);
        // What was read of it at the handshake is not read again.
        let own = peer.certificate().filter(|_| status.is_valid()).map(|certificate| certificate.not_after);
        (status, issuers_until.into_iter().chain(own).min())
    }
}

fn crls(text: &[u8], file: &Path) -> Result<Vec<CertRevocationList<'static>>, CrlError> {
    let lists = pem::revocation_lists(text, file)?.into_iter().enumerate();
    lists
        .map(|(index, der)| {
            let list = OwnedCertRevocationList::from_der(&der);
            list.map(CertRevocationList::Owned).map_err(|error| CrlError::Unusable {
                file: file.into(),
                index: index + 1,
                detail: words(&error),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    use super::*;
    use crate::tls::Presented;
    use crate::tls::date;
    use crate::tls::testing::{Ca, Issued, now, self_signed, validity};

    fn pin(issued: &Issued) -> [u8; 32] {
        issued.facts().spki_sha256
    }

    #[test]
    fn s2s_34_it_is_believed_until_the_first_certificate_on_its_way_to_the_root_expires() {
        let ca = Ca::new("Root");
        let until = |proof: &Proof, issued: &Issued| {
            proof.judge_lasting(&issued.presented(), &ca.roots(), now()).1.map(date)
        };
        let plain = Proof::default();
        let leaf = ca.issue("a.ex", |params| validity(params, 2020, 2030));
        assert_eq!(until(&plain, &leaf).unwrap(), "2030-01-01 00:00:00 UTC");
        let short = ca.intermediate_with("Short", |params| validity(params, 2020, 2028));
        let mut below = short.issue("a.ex", |params| validity(params, 2020, 2030));
        below.chain.push(short.der());
        assert_eq!(until(&plain, &below).unwrap(), "2028-01-01 00:00:00 UTC");
        // Servers send what is of no use as well.
        let mut with_another = leaf;
        with_another.chain.push(short.der());
        assert_eq!(until(&plain, &with_another).unwrap(), "2030-01-01 00:00:00 UTC");
        let pinned = Proof::default().with_pins([pin(&below)], true);
        assert_eq!(until(&pinned, &below), None, "a key that is believed in place of the chain");
    }

    #[test]
    fn without_anything_of_his_own_the_roots_of_all_decide() {
        let (ours, theirs) = (Ca::new("Ours"), Ca::new("Theirs"));
        let plain = Proof::default();
        assert!(plain.is_plain());
        let judged = |ca: &Ca| plain.judge(&ca.server(&["a.ex"]).presented(), &ours.roots(), now());
        assert_eq!(judged(&ours), ChainStatus::Valid);
        assert_eq!(judged(&theirs), ChainStatus::UnknownIssuer { issuer: "CN=Theirs".to_owned() });
    }

    #[test]
    fn tls_15_roots_of_his_own_count_alone_and_never_those_of_all() {
        let (common, own, others) = (Ca::new("Common"), Ca::new("Own"), Ca::new("Others"));
        let proof = Proof::default().with_roots(own.roots());
        let judged = |ca: &Ca| proof.judge(&ca.server(&["a.ex"]).presented(), &common.roots(), now());
        assert_eq!(judged(&own), ChainStatus::Valid);
        assert_eq!(judged(&common), ChainStatus::UnknownIssuer { issuer: "CN=Common".to_owned() });
        assert!(!judged(&others).is_valid());
    }

    #[test]
    fn sec_12_a_key_that_is_not_pinned_is_not_believed_even_with_a_good_chain() {
        let ca = Ca::new("Root");
        let (his, another) = (ca.server(&["a.ex"]), ca.server(&["a.ex"]));
        let proof = Proof::default().with_pins([pin(&his)], false);
        assert_eq!(proof.judge(&his.presented(), &ca.roots(), now()), ChainStatus::Valid);
        let judged = proof.judge(&another.presented(), &ca.roots(), now());
        assert_eq!(judged, ChainStatus::NotPinned { key: STANDARD.encode(pin(&another)) });
    }

    #[test]
    fn sec_12_pins_stand_beside_the_chain_unless_they_replace_it() {
        let ca = Ca::new("Root");
        let own = self_signed("a.ex", |_| ());
        let beside = Proof::default().with_pins([pin(&own)], false);
        assert_eq!(beside.judge(&own.presented(), &ca.roots(), now()), ChainStatus::SelfSigned);
        let instead = Proof::default().with_pins([pin(&own)], true);
        assert_eq!(instead.judge(&own.presented(), &ca.roots(), now()), ChainStatus::Valid);
        let other = self_signed("a.ex", |_| ());
        assert!(!instead.judge(&other.presented(), &ca.roots(), now()).is_valid());
    }

    #[test]
    fn without_a_certificate_pins_prove_nothing() {
        let ca = Ca::new("Root");
        let mut nobody = ca.server(&["a.ex"]).presented();
        let proof = Proof::default().with_pins([nobody.certificate().unwrap().spki_sha256], true);
        nobody.presented = Presented::Nothing;
        nobody.chain.clear();
        assert_eq!(proof.judge(&nobody, &ca.roots(), now()), ChainStatus::Missing);
    }

    #[test]
    fn a_revoked_certificate_is_not_believed_nor_any_when_the_list_has_run_out() {
        let ca = Ca::new("Root");
        let serial = |n: u64| SerialNumber::from(n);
        let (good, bad) = (
            ca.issue("a.ex", |params| params.serial_number = Some(serial(7))),
            ca.issue("a.ex", |params| params.serial_number = Some(serial(8))),
        );
        let list = |until: i32| {
            let revoked = RevokedCertParams {
                serial_number: serial(8),
                revocation_time: date_time_ymd(2026, 1, 1),
                reason_code: None,
                invalidity_date: None,
            };
            let params = CertificateRevocationListParams {
                this_update: date_time_ymd(2025, 1, 1),
                next_update: date_time_ymd(until, 1, 1),
                crl_number: serial(1),
                issuing_distribution_point: None,
                revoked_certs: vec![revoked],
                key_identifier_method: KeyIdMethod::Sha256,
            };
            let pem = params.signed_by(ca.issuer()).unwrap().pem().unwrap();
            Proof { crls: crls(pem.as_bytes(), Path::new("crl.pem")).unwrap(), ..Proof::default() }
        };
        let valid = list(2030);
        assert_eq!(valid.judge(&good.presented(), &ca.roots(), now()), ChainStatus::Valid);
        assert_eq!(valid.judge(&bad.presented(), &ca.roots(), now()), ChainStatus::Revoked);
        let old = list(2026).judge(&good.presented(), &ca.roots(), now());
        assert!(matches!(old, ChainStatus::RevocationUnknown { .. }), "{old}");
        // A list of one issuer says nothing about the certificates of another.
        let other = Ca::new("Other");
        assert_eq!(
            valid.judge(&other.server(&["a.ex"]).presented(), &other.roots(), now()),
            ChainStatus::Valid
        );
    }

    #[test]
    fn a_file_without_lists_is_named() {
        let ca = Ca::new("Root");
        let error = crls(ca.pem().as_bytes(), Path::new("crl.pem")).unwrap_err().to_string();
        assert!(error.contains("crl.pem has no revocation list"), "{error}");
    }
}
