//! The nine subscription states of RFC 6121, Appendix A: what the SIP user's server would keep in a roster.
//!
//! Pure tables. [`To`] and [`From`] are independent columns, so nine states are two small enums; a request
//! that is [kept](From::Kept) counts as pending, for nobody outside can tell the difference.

use super::record::{From, To};

/// The four subscription stanzas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stanza {
    Subscribe,
    Unsubscribe,
    Subscribed,
    Unsubscribed,
}

impl Stanza {
    /// Its `type` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
        }
    }

    pub fn from_type(name: &str) -> Option<Self> {
        [Self::Subscribe, Self::Unsubscribe, Self::Subscribed, Self::Unsubscribed]
            .into_iter()
            .find(|stanza| stanza.as_str() == name)
    }
}

/// What to do with a subscription stanza of the contact (RFC 6121 §A.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inbound {
    /// It changes the state and concerns the SIP user.
    Deliver,
    /// It was asked already and waits for its answer.
    NotAgain,
    /// It was agreed to already: answer `subscribed`.
    Confirm,
    /// Silently dropped.
    Ignore,
}

/// A subscription stanza of the contact arrives. `From::Pending` stands for any request that waits; who keeps
/// it back for the time being says `From::Kept` instead.
pub fn inbound(to: &mut To, from: &mut From, stanza: Stanza) -> Inbound {
    match stanza {
        Stanza::Subscribe => match from {
            From::Yes => Inbound::Confirm,
            From::Pending | From::Kept => Inbound::NotAgain,
            From::No => {
                *from = From::Pending;
                Inbound::Deliver
            }
        },
        Stanza::Unsubscribe => replace(from, From::No, |from| from != From::No),
        Stanza::Subscribed => replace(to, To::Yes, |to| to == To::Pending),
        Stanza::Unsubscribed => replace(to, To::No, |to| to != To::No),
    }
}

/// Whether a subscription stanza of the SIP user goes out (RFC 6121 §A.2). The state changes even where
/// nothing is sent.
pub fn outbound(to: &mut To, from: &mut From, stanza: Stanza) -> bool {
    match stanza {
        Stanza::Subscribe => {
            if *to == To::No {
                *to = To::Pending;
            }
            true
        }
        Stanza::Unsubscribe => {
            *to = To::No;
            true
        }
        Stanza::Subscribed => {
            let asked = matches!(from, From::Pending | From::Kept);
            if asked {
                *from = From::Yes;
            }
            asked
        }
        Stanza::Unsubscribed => {
            let changes = *from != From::No;
            *from = From::No;
            changes
        }
    }
}

fn replace<T: Copy>(column: &mut T, new: T, changes: impl FnOnce(T) -> bool) -> Inbound {
    if changes(*column) {
        *column = new;
        Inbound::Deliver
    } else {
        Inbound::Ignore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type State = (To, From);

    const STATES: [(&str, State); 9] = [
        ("None", (To::No, From::No)),
        ("None+PendOut", (To::Pending, From::No)),
        ("None+PendIn", (To::No, From::Pending)),
        ("None+PendOut+In", (To::Pending, From::Pending)),
        ("To", (To::Yes, From::No)),
        ("To+PendIn", (To::Yes, From::Pending)),
        ("From", (To::No, From::Yes)),
        ("From+PendOut", (To::Pending, From::Yes)),
        ("Both", (To::Yes, From::Yes)),
    ];
    const STANZAS: [Stanza; 4] =
        [Stanza::Subscribe, Stanza::Unsubscribe, Stanza::Subscribed, Stanza::Unsubscribed];

    fn state(name: &str) -> State {
        STATES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}")).1
    }

    /// RFC 6121 §A.3, row by row: for each stanza the verdict and the next state ("" is the same).
    #[test]
    fn every_inbound_transition_of_rfc_6121_a_3() {
        use Inbound::{Confirm, Deliver, Ignore, NotAgain};
        #[rustfmt::skip]
        let table: [(&str, [(Inbound, &str); 4]); 9] = [
            // subscribe, unsubscribe, subscribed, unsubscribed
            ("None",            [(Deliver, "None+PendIn"), (Ignore, ""), (Ignore, ""), (Ignore, "")]),
            ("None+PendOut",    [(Deliver, "None+PendOut+In"), (Ignore, ""), (Deliver, "To"), (Deliver, "None")]),
            ("None+PendIn",     [(NotAgain, ""), (Deliver, "None"), (Ignore, ""), (Ignore, "")]),
            ("None+PendOut+In", [(NotAgain, ""), (Deliver, "None+PendOut"), (Deliver, "To+PendIn"), (Deliver, "None+PendIn")]),
            ("To",              [(Deliver, "To+PendIn"), (Ignore, ""), (Ignore, ""), (Deliver, "None")]),
            ("To+PendIn",       [(NotAgain, ""), (Deliver, "To"), (Ignore, ""), (Deliver, "None+PendIn")]),
            ("From",            [(Confirm, ""), (Deliver, "None"), (Ignore, ""), (Ignore, "")]),
            ("From+PendOut",    [(Confirm, ""), (Deliver, "None+PendOut"), (Deliver, "Both"), (Deliver, "From")]),
            ("Both",            [(Confirm, ""), (Deliver, "To"), (Ignore, ""), (Deliver, "From")]),
        ];
        for (name, row) in table {
            for (stanza, (verdict, next)) in STANZAS.into_iter().zip(row) {
                let (mut to, mut from) = state(name);
                assert_eq!(inbound(&mut to, &mut from, stanza), verdict, "{name}, {stanza:?}");
                let next = if next.is_empty() { name } else { next };
                assert_eq!((to, from), state(next), "{name}, {stanza:?}");
            }
        }
    }

    /// RFC 6121 §A.2, row by row: whether it is routed, and the next state ("" is the same).
    #[test]
    fn every_outbound_transition_of_rfc_6121_a_2() {
        #[rustfmt::skip]
        let table: [(&str, [(bool, &str); 4]); 9] = [
            // subscribe, unsubscribe, subscribed, unsubscribed
            ("None",            [(true, "None+PendOut"), (true, ""), (false, ""), (false, "")]),
            ("None+PendOut",    [(true, ""), (true, "None"), (false, ""), (false, "")]),
            ("None+PendIn",     [(true, "None+PendOut+In"), (true, ""), (true, "From"), (true, "None")]),
            ("None+PendOut+In", [(true, ""), (true, "None+PendIn"), (true, "From+PendOut"), (true, "None+PendOut")]),
            ("To",              [(true, ""), (true, "None"), (false, ""), (false, "")]),
            ("To+PendIn",       [(true, ""), (true, "None+PendIn"), (true, "Both"), (true, "To")]),
            ("From",            [(true, "From+PendOut"), (true, ""), (false, ""), (true, "None")]),
            ("From+PendOut",    [(true, ""), (true, "From"), (false, ""), (true, "None+PendOut")]),
            ("Both",            [(true, ""), (true, "From"), (false, ""), (true, "To")]),
        ];
        for (name, row) in table {
            for (stanza, (routed, next)) in STANZAS.into_iter().zip(row) {
                let (mut to, mut from) = state(name);
                assert_eq!(outbound(&mut to, &mut from, stanza), routed, "{name}, {stanza:?}");
                let next = if next.is_empty() { name } else { next };
                assert_eq!((to, from), state(next), "{name}, {stanza:?}");
            }
        }
    }

    #[test]
    fn a_kept_request_looks_pending_from_outside() {
        for (stanza, verdict, next) in [
            (Stanza::Subscribe, Inbound::NotAgain, From::Kept),
            (Stanza::Unsubscribe, Inbound::Deliver, From::No),
        ] {
            let (mut to, mut from) = (To::No, From::Kept);
            assert_eq!(inbound(&mut to, &mut from, stanza), verdict);
            assert_eq!((to, from), (To::No, next));
        }
    }
}
