//! Domains that people take for others: those that mix scripts, and those that look like one that we have already. Certificates and DNS
//! tell them apart; whoever reads a list does not.

use std::collections::HashMap;

use super::super::Domain;
use super::super::address::both_forms;
use super::super::file::Root;
use super::super::read::Sections;
use super::super::source::PlaceId;
use super::{Checker, Served};

impl Checker<'_> {
    /// Warns of partners' domains that look like another one, of ours or of a partner.
    pub(super) fn look_alikes(&mut self, root: &Root, served: &Served) {
        let Some(Sections(partners)) = &root.partners.value else { return };
        let domains = partners.iter().enumerate().flat_map(|(number, partner)| {
            let partner = &partner.value;
            let primary = partner.domain.value.iter().map(|domain| (domain, partner.domain.place));
            let more = partner.additional_domains.value.iter().flatten();
            let more = more.map(|domain| (&domain.value, domain.place));
            primary.chain(more).map(move |(domain, place)| (number, domain, place))
        });
        let domains: Vec<(usize, &Domain, Option<PlaceId>)> = domains.collect();
        let mut alike: HashMap<String, Vec<(Option<usize>, &Domain)>> = HashMap::new();
        let ours = served.order.iter().map(|(domain, _)| (None, domain));
        for (number, domain) in ours.chain(domains.iter().map(|(number, domain, _)| (Some(*number), *domain)))
        {
            alike.entry(look(domain)).or_default().push((number, domain));
        }
        for (number, domain, place) in domains {
            let shown = in_both_forms(domain);
            let label = format!("[[partner]] {shown}:");
            if nuncio_xmpp::Domain::parse(domain.as_str()).is_ok_and(|domain| domain.mixes_scripts()) {
                self.warning(
                    place,
                    format!(
                        "{label} it mixes letters of several scripts, as names do that are made to be taken for others; is it meant?"
                    ),
                );
            }
            let others = alike.get(&look(domain)).into_iter().flatten();
            // What one partner has beside each other, he means.
            for (whose, other) in others.filter(|(whose, other)| *whose != Some(number) && *other != domain) {
                let whose = if whose.is_some() { "a partner's" } else { "one of our own" };
                let other = in_both_forms(other);
                self.warning(
                    place,
                    format!(
                        "{label} it looks like {other}, which is {whose} and another domain; is it meant?"
                    ),
                );
            }
        }
    }
}

/// As it is read, and as it is.
fn in_both_forms(domain: &Domain) -> String {
    let (ascii, unicode) = both_forms(domain.as_str());
    if unicode == ascii { unicode } else { format!("{unicode} ({ascii})") }
}

/// What a domain looks like: the same text for those that people take for each other. Of the confusable letters (UTS 39 §4) it has those
/// that are in names: Cyrillic, Greek and Armenian ones that look Latin, Latin ones with marks, and digits.
fn look(domain: &Domain) -> String {
    const ALIKE: [(char, &str); 28] = [
        ('a', "аαàáâãäåāăąǎạả"),
        ('b', "ьЬ"),
        ('c', "сϲçćĉċč"),
        ('d', "ԁďđ"),
        ('e', "еєεèéêëēĕėęěҽẹ"),
        ('f', "ƒ"),
        ('g', "ցɡĝğġģ"),
        ('h', "һհĥħ"),
        ('i', "іιìíîïĩīĭįıɩ"),
        ('j', "јϳĵ"),
        ('k', "кκķĸ"),
        ('l', "ӏ1ĺļľŀłɫ"),
        ('m', "мṃ"),
        ('n', "пηոñńņňŋ"),
        ('o', "оοσօ0òóôõöøōŏőọ"),
        ('p', "рρ"),
        ('q', "ԛզ"),
        ('r', "гŕŗř"),
        ('s', "ѕśŝşšș"),
        ('t', "тτţťŧț"),
        ('u', "υսùúûüũūŭůűų"),
        ('v', "νѵ"),
        ('w', "ԝωшẁẃẅŵ"),
        ('x', "хχ"),
        ('y', "уүγýÿŷỳ"),
        ('z', "źżžƶ"),
        ('h', "нΗ"),
        ('b', "вβƅ"),
    ];
    let looks = |c: char| ALIKE.iter().find(|(_, like)| like.contains(c)).map_or(c, |(letter, _)| *letter);
    let plain = |c: char| if c.is_ascii() && !matches!(c, '0' | '1') { c } else { looks(c) };
    let look: String = domain.to_unicode().chars().map(plain).collect();
    look.replace("rn", "m").replace("vv", "w")
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Entry, Kind, Sources, Stored};

    /// What is warned of when these are partners, too.
    fn warnings(domains: &[&str]) -> Vec<String> {
        let mut stored = Stored::default();
        for domain in domains {
            let mut entry = Entry::new();
            entry.insert("type".to_owned(), "federated".into());
            stored.put(Kind::Partner, domain, entry);
        }
        warnings_of(stored)
    }

    fn warnings_of(stored: Stored) -> Vec<String> {
        let text = include_str!("../../../tests/config/right/minimal.toml");
        let sources = Sources::new().toml("nuncio.toml", text).trusting_paths().stored(stored);
        let (_, report) = Config::load(&sources, &|_, _| Ok(())).unwrap();
        report.problems().iter().map(|problem| problem.text.clone()).collect()
    }

    #[test]
    fn a_domain_that_is_taken_for_another_is_warned_of() {
        for (domain, part) in [
            // With Cyrillic letters among Latin ones, with a mark, with digits, and in letters that run together.
            ("cоntоsо.com", "mixes letters of several scripts"),
            ("cоntоsо.com", "it looks like contoso.com, which is one of our own"),
            ("fabrikäm.com", "it looks like fabrikam.com, which is a partner's"),
            ("c0ntos0.com", "it looks like contoso.com"),
            ("fabrikarn.com", "it looks like fabrikam.com"),
        ] {
            let warnings = warnings(&[domain]);
            assert!(warnings.iter().any(|warning| warning.contains(part)), "{domain}: {warnings:?}");
        }
        let one = warnings(&["bücher.example", "northwind.com", "почта.example"]);
        assert!(one.is_empty(), "{one:?}");
        let mut sources = Stored::default();
        let mut entry = Entry::new();
        entry.insert("type".to_owned(), "federated".into());
        entry.insert("additional_domains".to_owned(), vec!["muller.example"].into());
        sources.put(Kind::Partner, "müller.example", entry);
        let own = warnings_of(sources);
        assert!(own.is_empty(), "both are his: {own:?}");
        // Each of a partner's domains may be taken for another, and another for it.
        let more = |domain: &str, more: &str| {
            let mut entry = Entry::new();
            entry.insert("type".to_owned(), "federated".into());
            entry.insert("additional_domains".to_owned(), vec![more].into());
            let mut stored = Stored::default();
            stored.put(Kind::Partner, domain, entry);
            stored
        };
        let his = warnings_of(more("northwind.com", "c0ntos0.com"));
        assert!(
            his.iter().any(|warning| warning.contains("c0ntos0.com: it looks like contoso.com")),
            "{his:?}"
        );
        let mut two = more("northwind.com", "tailspin.example");
        let mut entry = Entry::new();
        entry.insert("type".to_owned(), "federated".into());
        two.put(Kind::Partner, "tai1spin.example", entry);
        let two = warnings_of(two);
        let other = "tai1spin.example: it looks like tailspin.example, which is a partner's";
        assert!(two.iter().any(|warning| warning.contains(other)), "{two:?}");
        let both = warnings(&["paypal.example", "раураӏ.example"]);
        assert!(both.iter().any(|warning| warning.contains("(xn--")), "{both:?}");
    }
}
