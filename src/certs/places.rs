//! The files that the configuration names for certificates, and what each has to serve for.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{Called, Config, Domain, Host, Identity};

/// The files of one certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What for; never empty.
    pub uses: Vec<Use>,
}

/// One thing that a certificate serves for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    /// Who is shown it.
    pub side: Side,
    /// The section of the configuration: `[sip]`, `[[sip.identity]]`, `[[certificate]]`, `[control]`.
    pub section: &'static str,
    /// The names that it has to carry, in A-labels. Empty where the configuration knows none: front ends call us by an address,
    /// administrators by whatever they like.
    pub names: Vec<String>,
}

/// Who is shown a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Front ends.
    Sip,
    /// Partners.
    Xmpp,
    /// Whoever administers the gateway over TCP.
    Control,
}

/// Why nothing was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The configuration has several certificates, and none was named.
    #[error(
        "the configuration has several certificates; say which one is meant: {} (--for all: one certificate in all their \
         places)", .0.join(", ")
    )]
    Several(Vec<String>),
    /// No certificate is called so.
    #[error("{wanted:?} is none of the certificates of the configuration; there are: {}", .known.join(", "))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
}

/// All places, in the order of the configuration: files that are named more than once are one.
pub fn places(config: &Config) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut add = |files: &Identity, found: Use| {
        let same = |place: &&mut Place| place.certificate == files.certificate && place.key == files.key;
        match places.iter_mut().find(same) {
            Some(place) => place.uses.push(found),
            None => places.push(Place {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                uses: vec![found],
            }),
        }
    };
    for (number, called) in config.sip.called().enumerate() {
        let section = if number == 0 { "[sip]" } else { "[[sip.identity]]" };
        add(called.identity, Use { side: Side::Sip, section, names: host(called).into_iter().collect() });
    }
    for (files, domains) in config.certificates.iter() {
        let names = domains.into_iter().map(|domain| domain.as_str().to_owned()).collect();
        add(files, Use { side: Side::Xmpp, section: "[[certificate]]", names });
    }
    if let Some(remote) = &config.control.remote {
        add(&remote.identity, Use { side: Side::Control, section: "[control]", names: Vec::new() });
    }
    places
}

/// The name by which front ends call us, if it is one.
fn host(called: Called<'_>) -> Option<String> {
    match &called.name.host {
        Host::Name(name) => Some(name.as_str().to_owned()),
        Host::Address(_) => None,
    }
}

/// The places meant by `wanted`: `all`, `sip`, `xmpp`, `control`, one of the names that a certificate has to carry, or its file. Nothing
/// wanted means the only one there is.
///
/// # Errors
/// With what there is.
pub fn select<'a>(places: &'a [Place], wanted: &[String]) -> Result<Vec<&'a Place>, SelectError> {
    let known = || places.iter().map(Place::called).collect();
    match (wanted, places) {
        ([], [only]) => return Ok(vec![only]),
        ([], _) => return Err(SelectError::Several(known())),
        _ => {}
    }
    for text in wanted {
        if !places.iter().any(|place| place.is(text)) {
            return Err(SelectError::Unknown { wanted: text.clone(), known: known() });
        }
    }
    Ok(places.iter().filter(|place| wanted.iter().any(|text| place.is(text))).collect())
}

impl Place {
    /// Whether somebody means it by this.
    fn is(&self, text: &str) -> bool {
        let side = match text {
            "all" => return true,
            "sip" => Some(Side::Sip),
            "xmpp" => Some(Side::Xmpp),
            "control" => Some(Side::Control),
            _ => None,
        };
        let name = Domain::new(text).ok();
        self.uses.iter().any(|used| {
            side == Some(used.side)
                || name.as_ref().is_some_and(|name| used.names.iter().any(|known| known == name.as_str()))
        }) || self.certificate == Path::new(text)
    }

    /// How to ask for it, in a word.
    pub fn called(&self) -> String {
        let name = self.uses.iter().find_map(|used| used.names.first());
        let only_control = self.uses.iter().all(|used| used.side == Side::Control);
        match name {
            Some(name) => format!("--for {name}"),
            None if only_control => "--for control".to_owned(),
            None => format!("--for {}", self.certificate.display()),
        }
    }

    /// All names that a certificate here has to carry.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.uses.iter().flat_map(|used| &used.names).map(String::as_str)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Sources;

    /// The least that a gateway needs, with files in this folder and more lines behind.
    pub(crate) fn config(folder: &Path, change: &[(&str, &str)], more: &str) -> Config {
        let mut text = include_str!("../../tests/config/right/minimal.toml").to_owned();
        for (from, to) in change {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let text = text.replace("pki/", &format!("{}/", folder.display())) + more;
        let sources = Sources::new().toml("nuncio.toml", &text).trusting_paths();
        Config::load(&sources, &|_, _| Ok(())).unwrap().0
    }

    const MORE: &str = "[[certificate]]\ndomains = [\"bücher.example\"]\ncertificate = \"pki/contoso.pem\"\n\
                        key = \"pki/contoso.key\"\n";

    fn called(places: &[&Place]) -> Vec<String> {
        places.iter().map(|place| place.called()).collect()
    }

    #[test]
    fn files_that_are_named_twice_are_one_place_with_two_uses() {
        let served =
            [("domains = [\"contoso.com\"]\nname", "domains = [\"contoso.com\", \"bücher.example\"]\nname")];
        let more = MORE.replace("pki/", "/etc/");
        let config = config(Path::new("/etc"), &served, &more);
        let places = places(&config);
        assert_eq!(places.len(), 2, "{places:?}");
        let names: Vec<Vec<&str>> = places.iter().map(|place| place.names().collect()).collect();
        assert_eq!(names, [vec!["nuncio.contoso.com"], vec!["contoso.com", "xn--bcher-kva.example"]]);
    }

    #[test]
    fn a_place_is_named_by_side_name_or_file_and_only_the_only_one_by_nothing() {
        let config = config(Path::new("/etc"), &[], "");
        let places = places(&config);
        for (wanted, found) in [
            ("sip", "--for nuncio.contoso.com"),
            ("CONTOSO.com", "--for contoso.com"),
            ("/etc/contoso.pem", "--for contoso.com"),
        ] {
            assert_eq!(called(&select(&places, &[wanted.to_owned()]).unwrap()), [found]);
        }
        assert_eq!(select(&places, &["all".to_owned()]).unwrap().len(), 2);
        let known = vec!["--for nuncio.contoso.com".to_owned(), "--for contoso.com".to_owned()];
        assert_eq!(select(&places, &[]), Err(SelectError::Several(known.clone())));
        let wanted = "litware.com".to_owned();
        assert_eq!(
            select(&places, std::slice::from_ref(&wanted)),
            Err(SelectError::Unknown { wanted, known })
        );
        assert_eq!(select(&places[..1], &[]).unwrap().len(), 1);
    }
}
