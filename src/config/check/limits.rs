//! Limits: which would leave nothing through, and which contradict each other.

use ::config::{Value, ValueKind};

use super::super::federation::{RATE_MIN_BYTES, RATE_MIN_STANZAS};
use super::super::file::Root;
use super::super::source::PlaceId;
use super::super::value::duration_text;
use super::Checker;

impl Checker<'_> {
    pub(super) fn limits(&mut self, root: &Root, merged: &Value) {
        let Some(limits) = &root.limits.value else { return };
        let (sip, xmpp) = (&limits.sip, &limits.xmpp);
        // What RFC 3428 §8 allows everywhere: no network asks for less, and the header fields alone take several
        // hundred.
        const SMALLEST_CAP: usize = 1300;
        if (1..SMALLEST_CAP).contains(&sip.message) {
            let text = format!(
                "[limits.sip] message: {} is too small: the header fields count as well, and hardly a message would pass; \
                 {SMALLEST_CAP} (RFC 3428) is the least, 0 means any length",
                sip.message
            );
            self.error(find(merged, &["limits", "sip", "message"]), text);
        }
        let xmpp_rates = [
            ("stanzas_per_second", xmpp.stanzas_per_second, RATE_MIN_STANZAS),
            ("bytes_per_second", xmpp.bytes_per_second, RATE_MIN_BYTES),
        ];
        for (key, rate, least) in xmpp_rates {
            if (1..least).contains(&rate) {
                let text = format!(
                    "[limits.xmpp] {key}: {rate} is too small: a partner would hardly be heard; {least} is the least, 0 \
                     means any number"
                );
                self.error(find(merged, &["limits", "xmpp", key]), text);
            }
        }
        let bytes = |n: usize| n.to_string();
        let rules = [
            ("sip", "header", bytes(sip.header), "head", bytes(sip.head), sip.header <= sip.head),
            (
                "sip",
                "backoff_initial",
                duration_text(sip.backoff_initial),
                "backoff_max",
                duration_text(sip.backoff_max),
                sip.backoff_initial <= sip.backoff_max,
            ),
            (
                "xmpp",
                "pre_auth_stanza",
                bytes(xmpp.pre_auth_stanza),
                "stanza",
                bytes(xmpp.stanza),
                xmpp.pre_auth_stanza <= xmpp.stanza,
            ),
            // Else a stanza that may be received could never be sent on.
            (
                "xmpp",
                "stanza",
                bytes(xmpp.stanza),
                "lane_bytes",
                bytes(xmpp.lane_bytes),
                xmpp.stanza <= xmpp.lane_bytes,
            ),
            (
                "xmpp",
                "backoff_initial",
                duration_text(xmpp.backoff_initial),
                "backoff_max",
                duration_text(xmpp.backoff_max),
                xmpp.backoff_initial <= xmpp.backoff_max,
            ),
        ];
        for (section, small, small_is, large, large_is, right) in rules {
            if right {
                continue;
            }
            let place = |key| find(merged, &["limits", section, key]);
            let (place_of_small, place_of_large) = (place(small), place(large));
            // One of the two was changed, or both: the complaint goes to one that is really written somewhere.
            let at = place_of_small.or(place_of_large);
            self.error(
                at,
                format!(
                    "[limits.{section}] {small} ({small_is}) must not be larger than {large} ({large_is})"
                ),
            );
        }
    }
}

/// The place of a value in the merged tree.
fn find(tree: &Value, path: &[&str]) -> Option<PlaceId> {
    let mut at = tree;
    for name in path {
        let ValueKind::Table(table) = &at.kind else { return None };
        at = table.get(*name)?;
    }
    PlaceId::of(at)
}
