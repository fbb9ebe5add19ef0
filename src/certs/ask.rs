//! From what somebody wishes to a key and a signing request, with the names that the configuration asks for.

use super::{KeyKind, Name, PrepareError, Prepared, Request, SelectError, Side, Subject};
use super::{names, places, prepare, select};
use crate::config::{Config, Domain};

/// What somebody wishes.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// For which certificates, as [`select`] takes it.
    pub which: Vec<String>,
    /// The kind of the new key; `None`: the one in use.
    pub key: Option<KeyKind>,
    pub subject: Subject,
    /// Names beside those of the configuration.
    pub more: Vec<Domain>,
    /// Customary names not to ask for.
    pub leave_out: Vec<Domain>,
    /// SRVName and XmppAddr of each XMPP domain as well.
    pub xmpp_names: bool,
    /// Also if a request is with the CA.
    pub replace: bool,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It is not clear for which certificate.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// It cannot be made.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
}

/// Makes the request, and the names that it asks for with the reason of each.
///
/// # Errors
/// See [`AskError`].
pub fn ask(config: &Config, wish: &Wish) -> Result<(Prepared, Vec<Name>), AskError> {
    let places = places(config);
    let chosen = select(&places, &wish.which)?;
    let names = names(config, &chosen, &wish.more, &wish.leave_out);
    let xmpp = chosen.iter().any(|place| place.uses.iter().any(|used| used.side == Side::Xmpp));
    let domains = config.sip.domains.iter().filter(|domain| {
        let names = chosen.iter().flat_map(|place| place.names());
        names.into_iter().any(|name| name == domain.as_str())
    });
    let wanted = Request {
        subject: wish.subject.clone(),
        names: names.iter().map(|name| name.name.clone()).collect(),
        xmpp_names: if wish.xmpp_names && xmpp { domains.cloned().collect() } else { Vec::new() },
    };
    let made = prepare(&chosen, wish.key, &wanted, wish.replace)?;
    Ok((made, names))
}
