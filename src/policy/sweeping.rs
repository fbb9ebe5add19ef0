//! Changes that are right as they are written, and reach further than a slip of the hand would show: what they hit is said,
//! and what hits nothing.

use std::borrow::Cow;

use nuncio_translate::judge::{self, UserPolicy, UserRule};

use super::made;
use crate::config::{Block, BlockAddress, Config, Domain, Partners, PolicyRule, Verdict};

/// So many names are listed, and the rest counted.
const LISTED: usize = 5;

/// What of the difference is worth a word, each in a sentence.
pub(super) fn all(before: &Config, after: &Config) -> Vec<String> {
    let mut texts = Vec::new();
    let partners = match after.partners.len() {
        0 => "and there is no partner yet".to_owned(),
        1 => "with the one partner that there is".to_owned(),
        many => format!("with none of {many} partners"),
    };
    if before.policy.enabled && !after.policy.enabled {
        texts.push(format!(
            "policy.enabled = false ends all of it: no SIP user may exchange anything with any partner ({partners}), and \
             for contacts no user exists; nuncio policy set global enabled=true takes it back"
        ));
    }
    if before.policy.default == Verdict::Allow && after.policy.default == Verdict::Deny {
        let allow = after.policy.rules.iter().filter(|rule| rule.verdict == Verdict::Allow).count();
        texts.push(format!(
            "policy.default = \"deny\" refuses every SIP user of whom no rule says otherwise; rules that allow: {allow}"
        ));
    }
    let (refused, refuses) = (before.policy.refuses_everybody(), after.policy.refuses_everybody());
    if before.policy.default == Verdict::Deny && after.policy.enabled && refuses && !refused {
        texts.push(
            "no rule allows anybody any more, and policy.default is \"deny\": no SIP user may exchange anything with any \
             partner; nuncio policy new NAME verdict=allow lets some of them"
                .to_owned(),
        );
    }
    for (index, rule) in after.policy.rules.iter().enumerate() {
        if !before.policy.rules.contains(rule) {
            texts.extend(of_rule(rule, index, after));
        }
    }
    for block in after.blocks.iter().filter(|block| !before.blocks.contains(block)) {
        texts.extend(of_block(block, &after.partners));
    }
    texts
}

/// The rule that denies every SIP user anything with any partner, by its name and with its place in the order; `None`: there is none.
pub(crate) fn denies_everybody(config: &Config) -> Option<(usize, &PolicyRule)> {
    let denies = |rule: &PolicyRule| rule.verdict == Verdict::Deny && rule.partners.is_empty();
    let all = config.sip.domains.len();
    let mut rules = config.policy.rules.iter().enumerate();
    rules.find(|(_, rule)| denies(rule) && all > 0 && covered(rule, &config.sip.domains).len() == all)
}

/// What a rule is called.
pub(crate) fn name_of(rule: &PolicyRule, index: usize) -> String {
    rule.name.clone().unwrap_or_else(|| format!("number {}", index + 1))
}

fn of_rule(rule: &PolicyRule, index: usize, config: &Config) -> Option<String> {
    let name = name_of(rule, index);
    if rule.verdict == Verdict::Allow {
        return (config.policy.default == Verdict::Allow).then(|| {
            format!(
                "the rule {name} changes nothing: policy.default is \"allow\", and a rule that denies wins over one that \
                 allows; to let nobody else through: nuncio policy set global default=deny"
            )
        });
    }
    let domains = covered(rule, &config.sip.domains);
    if domains.is_empty() {
        return None;
    }
    let partners = match rule.partners.as_slice() {
        [] => format!("any partner (of {})", config.partners.len()),
        partners => listed(partners.iter()),
    };
    let all = if domains.len() == config.sip.domains.len() {
        ", which is everybody who is served here"
    } else {
        ""
    };
    Some(format!(
        "the rule {name} refuses every SIP user of {}{all}: none of them may exchange anything with {partners}, whatever \
         other rules allow",
        listed(domains.into_iter())
    ))
}

/// The domains of which all users are meant. Asked is what judges the messages, for a user of whom nobody has thought: what refuses
/// him refuses everybody there.
fn covered<'a>(rule: &PolicyRule, served: &'a [Domain]) -> Vec<&'a Domain> {
    // For private use, and in nobody's address.
    const NOBODY: &str = "\u{10fffd}";
    let who = rule.users.iter().filter_map(|users| made::who(users).ok()).collect();
    let denies = UserRule { who, partners: Vec::new(), verdict: judge::Verdict::Deny };
    let policy = UserPolicy::new(true, judge::Verdict::Allow, vec![denies]);
    let refused = |domain: &&Domain| {
        made::domain(domain).is_ok_and(|domain| policy.check(&format!("{NOBODY}@{domain}"), "", "").is_err())
    };
    served.iter().filter(refused).collect()
}

fn of_block(block: &Block, partners: &Partners) -> Option<String> {
    let (blocked, what) = match &block.address {
        BlockAddress::Network(_) => return None,
        BlockAddress::Domain(domain) => (domain.clone(), true),
        BlockAddress::Contact(jid) => {
            (Domain::new(jid.rsplit_once('@').map_or(jid, |(_, domain)| domain)).ok()?, false)
        }
    };
    let shown = blocked.to_unicode();
    let Some(partner) = partners.of(&blocked) else {
        let end = format!(".{}", blocked.as_str());
        let every = partners
            .iter()
            .flat_map(|partner| std::iter::once(&partner.domain).chain(&partner.additional_domains));
        let below: Vec<&Domain> = every.filter(|domain| what && domain.as_str().ends_with(&end)).collect();
        return Some(match below.is_empty() {
            true => format!(
                "the block of {} keeps out nobody who could come in now: {shown} is no partner's domain, and who is no \
                 partner is refused anyway",
                block.address
            ),
            false => format!(
                "the block of {shown} keeps out nobody: domains below it are not included; block those that are meant: {}",
                listed(below.into_iter())
            ),
        });
    };
    what.then(|| {
        let every = std::iter::once(&partner.domain).chain(&partner.additional_domains);
        let others: Vec<&Domain> = every.filter(|domain| **domain != blocked).collect();
        let others = match others.is_empty() {
            true => String::new(),
            false => format!("; his other domains are not: {}", listed(others.into_iter())),
        };
        format!(
            "the block of {shown} keeps out the whole partner {}, all of his users there and his servers{others}",
            partner.domain.to_unicode()
        )
    })
}

fn listed<'a>(domains: impl Iterator<Item = &'a Domain>) -> String {
    let names: Vec<Cow<'_, str>> = domains.map(Domain::to_unicode).collect();
    match names.get(..LISTED) {
        Some(first) if names.len() > LISTED => {
            format!("{} and {} more", first.join(", "), names.len() - LISTED)
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    /// A configuration with three domains, two partners, and this behind it.
    fn config(more: &str) -> Config {
        let text = include_str!("../../tests/config/right/minimal.toml");
        let text = text.replace("[\"contoso.com\"]", "[\"contoso.com\", \"litware.com\"]");
        let partner = "additional_domains = [\"it.fabrikam.com\"]\n[[partner]]\ndomain = \"northwind.com\"\ntype = \"federated\"\n";
        let sources = Sources::new().toml("nuncio.toml", format!("{text}{partner}{more}"));
        Config::load(&sources.trusting_paths(), &|_, _| Ok(())).unwrap().0
    }

    fn said(more: &str) -> String {
        all(&config(""), &config(more)).join("\n")
    }

    fn rule(users: &str, more: &str) -> String {
        format!("[[policy.rule]]\nname = \"x\"\nusers = [\"{users}\"]\n{more}\n")
    }

    #[test]
    fn what_a_sweeping_change_hits_is_said_once() {
        for (more, parts) in [
            ("[policy]\nenabled = false\n".to_owned(), &["no SIP user", "none of 2 partners"][..]),
            ("[policy]\ndefault = \"deny\"\n".to_owned(), &["refuses every SIP user", "rules that allow: 0"]),
            (
                rule("*", "verdict = \"deny\""),
                &["rule x", "contoso.com, litware.com, which is everybody", "any partner (of 2)"],
            ),
            (rule("*@*", "verdict = \"deny\""), &["contoso.com, litware.com, which is everybody"]),
            (rule("*@*tware.*", "verdict = \"deny\""), &["of litware.com: none"]),
            (
                rule("*@contoso.com", "verdict = \"deny\"\npartners = [\"northwind.com\"]"),
                &["of contoso.com: none", "anything with northwind.com,"],
            ),
            (rule("litware.com", "verdict = \"deny\""), &["of litware.com: none"]),
            (
                "[[block]]\naddress = \"fabrikam.com\"\n".to_owned(),
                &["the whole partner fabrikam.com", "his other domains are not: it.fabrikam.com"],
            ),
        ] {
            let said = said(&more);
            assert_eq!(said.lines().count(), 1, "{more}: {said}");
            parts.iter().for_each(|part| assert!(said.contains(part), "{part} is not in: {said}"));
            assert!(all(&config(&more), &config(&more)).is_empty(), "what was so before: {more}");
        }
        for users in ["help*@contoso.com", "*a*@*", "a@contoso.com"] {
            assert_eq!(said(&rule(users, "verdict = \"deny\"")), "", "{users}");
        }
        assert_eq!(said("[[block]]\naddress = \"mallory@fabrikam.com\"\n"), "");
        assert_eq!(said("[[block]]\naddress = \"192.0.2.1\"\n"), "", "networks have a check of their own");
    }

    #[test]
    fn what_hits_nobody_is_said() {
        assert!(said("[[block]]\naddress = \"com\"\n").contains(
            "not included; block those that are meant: fabrikam.com, it.fabrikam.com, northwind.com"
        ));
        assert!(said("[[block]]\naddress = \"evil.example\"\n").contains("no partner's domain"));
        assert!(
            said("[[block]]\naddress = \"a@evil.example\"\n")
                .contains("the block of a@evil.example keeps out nobody")
        );
        let allows = rule("a@contoso.com", "verdict = \"allow\"");
        assert!(said(&allows).contains("changes nothing"));
        let closed = config("[policy]\ndefault = \"deny\"\n");
        let some = config(&format!("[policy]\ndefault = \"deny\"\n{allows}"));
        assert_eq!(all(&closed, &some), [""; 0]);
        let said = all(&some, &closed).join("\n");
        assert!(said.contains("no rule allows anybody any more") && said.lines().count() == 1, "{said}");
    }

    #[test]
    fn a_rule_that_denies_everybody_is_found() {
        let named = |more: &str| {
            let config = config(more);
            denies_everybody(&config).map(|(index, rule)| name_of(rule, index))
        };
        assert_eq!(named(&rule("*", "verdict = \"deny\"")).as_deref(), Some("x"));
        for (users, more) in [
            ("*", "verdict = \"allow\""),
            ("*@contoso.com", "verdict = \"deny\""),
            ("*", "verdict = \"deny\"\npartners = [\"northwind.com\"]"),
        ] {
            assert_eq!(named(&rule(users, more)), None, "{users} {more}");
        }
    }
}
