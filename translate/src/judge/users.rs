//! Which SIP users may talk to XMPP partners at all.

use std::collections::HashMap;

use compact_str::CompactString;

use super::Refusal;

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allow,
    Deny,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// One user, by his normalised bare JID.
    User(CompactString),
    /// Every user of a served domain.
    Domain(CompactString),
    /// Every user whose bare JID matches; `*` stands for any text, also none.
    Pattern(CompactString),
}

/// One rule of the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRule {
    pub who: Vec<Who>,
    /// Domains of the partners it is about; empty: all partners.
    pub partners: Vec<CompactString>,
    pub verdict: Verdict,
}

/// The policy for SIP users: a global switch, what holds when no rule speaks of a user, and rules.
/// A rule that denies wins over every rule that allows, and any rule wins over the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPolicy {
    enabled: bool,
    default: Verdict,
    rules: Vec<UserRule>,
    users: HashMap<CompactString, Vec<usize>>,
    domains: HashMap<CompactString, Vec<usize>>,
    /// Pattern and rule.
    patterns: Vec<(CompactString, usize)>,
}

impl Default for UserPolicy {
    /// Everybody may.
    fn default() -> Self {
        Self::new(true, Verdict::Allow, Vec::new())
    }
}

impl UserPolicy {
    /// `enabled`: the global switch; off refuses everybody. `default`: for users no rule speaks of.
    pub fn new(enabled: bool, default: Verdict, rules: Vec<UserRule>) -> Self {
        let mut policy = Self {
            enabled,
            default,
            rules,
            users: HashMap::new(),
            domains: HashMap::new(),
            patterns: Vec::new(),
        };
        for (index, rule) in policy.rules.iter().enumerate() {
            for who in &rule.who {
                match who {
                    Who::User(user) => policy.users.entry(user.clone()).or_default().push(index),
                    Who::Domain(domain) => policy.domains.entry(domain.clone()).or_default().push(index),
                    Who::Pattern(pattern) => policy.patterns.push((pattern.clone(), index)),
                }
            }
        }
        policy
    }

    /// Whether `user`, a normalised bare JID, may talk to contacts at `partner_domain`, one of the domains
    /// of the partner whose primary domain is `primary`.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn check(&self, user: &str, primary: &str, partner_domain: &str) -> Result<(), Refusal> {
        if !self.enabled {
            return Err(Refusal::FederationOff);
        }
        if self.rules.is_empty() && self.default == Verdict::Allow {
            return Ok(());
        }
        let mut allowed = false;
        for rule in self.about(user) {
            let concerns = rule.partners.is_empty()
                || rule.partners.iter().any(|domain| domain == primary || domain == partner_domain);
            match rule.verdict {
                Verdict::Deny if concerns => return Err(Refusal::UserDenied),
                Verdict::Allow if concerns => allowed = true,
                _ => {}
            }
        }
        if allowed || self.default == Verdict::Allow { Ok(()) } else { Err(Refusal::UserNotAllowed) }
    }

    /// The rules that speak of `user`.
    fn about(&self, user: &str) -> impl Iterator<Item = &UserRule> {
        let domain = user.rsplit_once('@').map_or(user, |(_, domain)| domain);
        let named = self.users.get(user).into_iter().chain(self.domains.get(domain)).flatten().copied();
        let matching =
            self.patterns.iter().filter(|(pattern, _)| matches(pattern, user)).map(|(_, rule)| *rule);
        named.chain(matching).filter_map(|index| self.rules.get(index))
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text. Linear in time: each part between two stars is
/// looked for once, behind the one before it.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    parts.all(|part| {
        rest.split_once(part).is_some_and(|(_, behind)| {
            rest = behind;
            true
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verdict: Verdict, who: Who, partners: &[&str]) -> UserRule {
        UserRule { who: vec![who], partners: partners.iter().map(|&domain| domain.into()).collect(), verdict }
    }

    fn ask(policy: &UserPolicy, user: &str) -> Result<(), Refusal> {
        policy.check(user, "fabrikam.example", "it.fabrikam.example")
    }

    #[test]
    fn without_rules_everybody_may() {
        assert_eq!(ask(&UserPolicy::default(), "alice@contoso.example"), Ok(()));
    }

    #[test]
    fn the_global_switch_refuses_everybody_whatever_the_rules_say() {
        let allow = rule(Verdict::Allow, Who::User("alice@contoso.example".into()), &[]);
        let policy = UserPolicy::new(false, Verdict::Allow, vec![allow]);
        assert_eq!(ask(&policy, "alice@contoso.example"), Err(Refusal::FederationOff));
    }

    #[test]
    fn a_closed_default_lets_only_named_users_through() {
        let rules = vec![
            rule(Verdict::Allow, Who::User("alice@contoso.example".into()), &[]),
            rule(Verdict::Allow, Who::Domain("sales.example".into()), &[]),
            rule(Verdict::Allow, Who::Pattern("help*@contoso.example".into()), &[]),
        ];
        let policy = UserPolicy::new(true, Verdict::Deny, rules);
        for user in ["alice@contoso.example", "anybody@sales.example", "helpdesk@contoso.example"] {
            assert_eq!(ask(&policy, user), Ok(()), "{user}");
        }
        for user in ["bob@contoso.example", "x@more.sales.example", "helpdesk@contoso.example.org"] {
            assert_eq!(ask(&policy, user), Err(Refusal::UserNotAllowed), "{user}");
        }
    }

    #[test]
    fn deny_wins_in_whatever_order_and_however_general_it_is() {
        let allow = rule(Verdict::Allow, Who::User("alice@contoso.example".into()), &[]);
        let deny = rule(Verdict::Deny, Who::Domain("contoso.example".into()), &[]);
        for rules in [vec![allow.clone(), deny.clone()], vec![deny, allow]] {
            let policy = UserPolicy::new(true, Verdict::Allow, rules);
            assert_eq!(ask(&policy, "alice@contoso.example"), Err(Refusal::UserDenied));
        }
    }

    #[test]
    fn a_rule_may_be_about_some_partners_only() {
        let deny = |domain| rule(Verdict::Deny, Who::Domain("contoso.example".into()), &[domain]);
        let with = |domain| UserPolicy::new(true, Verdict::Allow, vec![deny(domain)]);
        assert_eq!(ask(&with("other.example"), "alice@contoso.example"), Ok(()));
        // By the partner's primary domain, which names all of it, or by one of its domains.
        for domain in ["fabrikam.example", "it.fabrikam.example"] {
            assert_eq!(ask(&with(domain), "alice@contoso.example"), Err(Refusal::UserDenied), "{domain}");
        }
        assert_eq!(
            with("it.fabrikam.example").check(
                "alice@contoso.example",
                "fabrikam.example",
                "fabrikam.example"
            ),
            Ok(())
        );
    }

    #[test]
    fn patterns_match_the_whole_address() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a@b", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "abcb", false),
            ("a*a", "a", false),
            ("*@b", "a@b", true),
            ("*@b", "a@bb", false),
            ("a@b", "a@b", true),
            ("a@b", "a@bc", false),
            ("", "", true),
            ("", "x", false),
            ("**x", "yyx", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
