//! From what somebody wishes to a key and a signing request, with the names that the configuration asks for.

use super::{KeyKind, Name, PrepareError, Prepared, Request, SelectError, Side, Subject, Why};
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
    /// It has to be there.
    #[error("{0} cannot be left out: without it {1} would refuse the certificate")]
    Needed(Domain, &'static str),
    /// It would not be there anyway.
    #[error("{0} cannot be left out, for it is not asked for; what is: {list}", list = .1.join(", "))]
    NotAsked(Domain, Vec<String>),
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
    for unwanted in &wish.leave_out {
        let all = super::names(config, &chosen, &wish.more, &[]);
        match all.iter().find(|name| name.name == unwanted.as_str()) {
            Some(Name { why: Why::SipName, .. }) => {
                return Err(AskError::Needed(unwanted.clone(), "front ends"));
            }
            Some(Name { why: Why::XmppDomain, .. }) => {
                return Err(AskError::Needed(unwanted.clone(), "partners"));
            }
            Some(_) => {}
            None => {
                let all = all.into_iter().map(|name| name.name).collect();
                return Err(AskError::NotAsked(unwanted.clone(), all));
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::super::places::tests::config;
    use super::*;

    #[test]
    fn what_cannot_be_left_out_is_not_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[], "");
        let asked = |name: &str| {
            let leave_out = vec![Domain::new(name).unwrap()];
            let (which, key) = (vec!["all".to_owned()], Some(KeyKind::P256));
            ask(&config, &Wish { which, key, leave_out, replace: true, ..Wish::default() })
        };
        for (name, why) in [
            ("contoso.com", "without it partners would refuse"),
            ("nuncio.contoso.com", "without it front ends would refuse"),
            ("sip.litware.com", "it is not asked for; what is: nuncio.contoso.com"),
        ] {
            let error = asked(name).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains(why), "{error}");
        }
        let (_, names) = asked("sip.contoso.com").unwrap();
        assert!(names.iter().all(|name| name.name != "sip.contoso.com"), "{names:?}");
    }
}
