//! The plan as TOML, and in words.

use std::fmt;

use super::access::OtherPolicy;
use super::differs::Differs;
use super::parameters::Kind;
use super::partner::PartnerPlan;
use super::plan::{Plan, Unmapped};
use super::trial;

impl Plan {
    /// What goes into the configuration file, with its notes as comments.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        if self.policy.is_some() || !self.other_policies.is_empty() {
            if let Some(policy) = self.policy {
                text.push_str(&format!("[policy]\ndefault = \"{}\"\n\n", policy.default));
            }
            for other in self.other_policies.iter().filter(|other| !other.same) {
                text.push_str(&rule_to_write(other));
            }
        }
        if !self.limits.is_empty() {
            text.push_str("[limits]\n");
            for limit in &self.limits {
                text.push_str(&format!("{}  # {}\n", limit.line(), limit.parameter));
            }
            text.push('\n');
        }
        for PartnerPlan { entry, ways, notes } in &self.partners {
            text.push_str(&format!("# ways in: {}\n", comment(ways)));
            for note in notes {
                text.push_str(&format!("# {}\n", comment(note)));
            }
            text.push_str(trial::toml(entry).trim_end());
            text.push_str("\n\n");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// Nothing leaves a comment.
fn comment(text: &str) -> String {
    text.chars().map(crate::config::printable).collect()
}

fn rule_to_write(other: &OtherPolicy) -> String {
    let identity = comment(&other.identity);
    let name = identity.rsplit(':').next().unwrap_or_default();
    format!(
        "# The policy {identity} says otherwise. Whom it is granted to is in no export of policies; ask with\n\
         #   Get-CsUser | Where-Object {{\"$($_.ExternalAccessPolicy)\" -eq \"{name}\"}} | ForEach-Object SipAddress\n\
         # [[policy.rule]]\n# users = [\"…\"]\n# verdict = \"{}\"\n\n",
        other.verdict
    )
}

/// For people: first what would be written, last what an administrator has to look after.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_out = self.left_out.iter().filter(|left_out| left_out.of == Kind::Partner).count();
        let (add, there) = (self.partners.len(), self.configured.len());
        writeln!(f, "Partners in the files: {}", add + there + left_out)?;
        writeln!(f, "Configured already: {there}")?;
        writeln!(f, "Not taken over: {left_out}")?;
        writeln!(f, "Partners to add: {add}")?;
        for PartnerPlan { entry, ways, notes } in &self.partners {
            write!(f, "  {}", entry.domain)?;
            for domain in &entry.additional_domains {
                write!(f, ", {domain}")?;
            }
            writeln!(f, ": {}, {ways}", entry.partner_type)?;
            for note in notes {
                writeln!(f, "    note: {}", comment(note))?;
            }
        }
        if !self.configured.is_empty() {
            writeln!(f, "\nConfigured already, and not touched: {}", self.configured.join(", "))?;
            for Differs { domain, keys, command } in &self.differing {
                writeln!(f, "  {domain} is another one in the export: {}", comment(&keys.join("; ")))?;
                writeln!(f, "    to take that over: {}", comment(command))?;
            }
            if self.differing.is_empty() {
                writeln!(f, "  none of them is another one in the export")?;
            }
        }
        if !self.limits.is_empty() {
            writeln!(f, "\nLimits to set:")?;
            for limit in &self.limits {
                writeln!(f, "  limits.{}  (from {})", limit.line(), limit.parameter)?;
            }
        }
        if let Some(policy) = self.policy {
            writeln!(f, "\nSIP users that no rule speaks of: policy.default = \"{}\"", policy.default)?;
        }
        if let Some(warning) = self.warning() {
            writeln!(f, "{warning}")?;
        }
        let (same, other): (Vec<_>, Vec<_>) = self.other_policies.iter().partition(|other| other.same);
        for other in other {
            writeln!(
                f,
                "\nBy hand: the policy {} says \"{}\" for the users it is granted to, who are in no export of policies; \
                 write a [[policy.rule]] for them",
                comment(&other.identity),
                other.verdict
            )?;
        }
        for other in same {
            writeln!(f, "\nThe policy {} says the same, and needs no rule", comment(&other.identity))?;
        }
        if !self.unmapped.is_empty() {
            writeln!(f, "\nWithout counterpart:")?;
            for Unmapped { cmdlet, parameter, first, objects, why } in &self.unmapped {
                let of = if *objects > 1 { format!(", and {} more", objects - 1) } else { String::new() };
                let why = why.unwrap_or("nothing is known of it");
                writeln!(f, "  {cmdlet} {parameter} ({first}{of}): {why}")?;
            }
        }
        if !self.left_out.is_empty() {
            writeln!(f, "\nNOT taken over:")?;
            for left_out in &self.left_out {
                for why in &left_out.why {
                    writeln!(f, "  {}: {}", comment(&left_out.what), comment(why))?;
                }
            }
        }
        Ok(())
    }
}
