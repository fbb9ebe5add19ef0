//! The documented parameters of the three cmdlets, and what becomes of each.

use super::value::Object;

/// Which cmdlet an object came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `Get-CsXmppAllowedPartner`
    Partner,
    /// `Get-CsXmppGatewayConfiguration`
    Gateway,
    /// `Get-CsExternalAccessPolicy`
    Access,
}

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is written to this key.
    Key(&'static str),
    /// There is nothing like it; why, or what does it instead.
    Without(&'static str),
    /// It is of the cmdlet, and in no export.
    OfTheCmdlet(&'static str),
    /// It is in exports, and says nothing about XMPP.
    Aside,
}

/// A documented parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

const fn key(name: &'static str, key: &'static str) -> Parameter {
    Parameter { name, fate: Fate::Key(key) }
}

const fn without(name: &'static str, why: &'static str) -> Parameter {
    Parameter { name, fate: Fate::Without(why) }
}

const fn of_the_cmdlet(name: &'static str, what: &'static str) -> Parameter {
    Parameter { name, fate: Fate::OfTheCmdlet(what) }
}

const fn aside(name: &'static str) -> Parameter {
    Parameter { name, fate: Fate::Aside }
}

const PARTNER: &[Parameter] = &[
    key("Identity", "partner.domain"),
    key("Domain", "partner.domain"),
    key("AdditionalDomains", "partner.additional_domains"),
    key("ConnectionLimit", "partner.connection_limit"),
    key("Description", "partner.description"),
    key("EnableKeepAlive", "partner.keep_alive"),
    key("PartnerType", "partner.type"),
    key("ProxyFqdn", "partner.proxy"),
    key("SaslNegotiation", "partner.sasl"),
    key("TlsNegotiation", "partner.tls"),
    key("SupportDialbackNegotiation", "partner.dialback"),
    of_the_cmdlet("Filter", "which partners are exported"),
    of_the_cmdlet("LocalStore", "from which copy of the configuration"),
    of_the_cmdlet("InMemory", "how the cmdlet runs"),
    of_the_cmdlet("Instance", "how the cmdlet runs"),
    of_the_cmdlet("Force", "how the cmdlet runs"),
    of_the_cmdlet("Confirm", "how the cmdlet runs"),
    of_the_cmdlet("WhatIf", "nothing is changed here anyway"),
];

const GATEWAY: &[Parameter] = &[
    aside("Identity"),
    key("ConnectionLimit", "limits.xmpp.streams"),
    key("PartnerConnectionLimit", "limits.xmpp.connections_per_partner"),
    without(
        "DialbackPassphrase",
        "keys are made from a secret of Nuncio's own (`xmpp.dialback_secret`); partners never see it, so that nothing \
         has to be taken over",
    ),
    without("EnableLoggingAllMessageBodies", "bodies are never logged"),
    key("KeepAliveInterval", "limits.xmpp.keep_alive"),
    key("StreamEstablishmentTimeout", "limits.xmpp.establishment"),
    key("StreamInactivityTimeout", "limits.xmpp.inactivity"),
    key("SubscriptionRefreshInterval", "limits.presence.longest"),
    of_the_cmdlet("Filter", "which of them are exported"),
    of_the_cmdlet("LocalStore", "from which copy of the configuration"),
    of_the_cmdlet("Instance", "how the cmdlet runs"),
    of_the_cmdlet("Force", "how the cmdlet runs"),
    of_the_cmdlet("Confirm", "how the cmdlet runs"),
    of_the_cmdlet("WhatIf", "nothing is changed here anyway"),
];

const ACCESS: &[Parameter] = &[
    aside("Identity"),
    aside("Description"),
    key("EnableXmppAccess", "policy.default"),
    key("EnableFederationAccess", "policy.default"),
    without("EnableOutsideAccess", "it is about users who sign in from outside; the front ends decide that"),
    without("EnablePublicCloudAccess", "it is about public SIP providers, not about XMPP partners"),
    without("EnablePublicCloudAudioVideoAccess", "there is no audio or video with XMPP partners"),
    of_the_cmdlet("Filter", "which policies are exported"),
    of_the_cmdlet("LocalStore", "from which copy of the configuration"),
    of_the_cmdlet("Instance", "how the cmdlet runs"),
    of_the_cmdlet("Force", "how the cmdlet runs"),
    of_the_cmdlet("Confirm", "how the cmdlet runs"),
    of_the_cmdlet("WhatIf", "nothing is changed here anyway"),
];

/// Properties that every exported object may have, of PowerShell and of the store that they come from.
const PLUMBING: &[&str] = &[
    "Anchor",
    "Element",
    "Key",
    "PSComputerName",
    "PSShowComputerName",
    "RunspaceId",
    "ScopeClass",
    "XsAnyAttributes",
    "XsAnyElements",
];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Partner, Self::Gateway, Self::Access];

    /// The cmdlet.
    pub const fn cmdlet(self) -> &'static str {
        match self {
            Self::Partner => "Get-CsXmppAllowedPartner",
            Self::Gateway => "Get-CsXmppGatewayConfiguration",
            Self::Access => "Get-CsExternalAccessPolicy",
        }
    }

    /// Every documented parameter.
    pub const fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Partner => PARTNER,
            Self::Gateway => GATEWAY,
            Self::Access => ACCESS,
        }
    }

    /// Which cmdlet an object came from, by what no other has.
    pub(super) fn of(object: &Object) -> Option<Self> {
        let any = |names: &[&str]| names.iter().any(|name| object.has(name));
        if any(&["PartnerType", "TlsNegotiation", "SaslNegotiation", "SupportDialbackNegotiation"]) {
            return Some(Self::Partner);
        }
        if any(&["PartnerConnectionLimit", "StreamEstablishmentTimeout", "StreamInactivityTimeout"]) {
            return Some(Self::Gateway);
        }
        any(&["EnableXmppAccess"]).then_some(Self::Access)
    }

    /// What becomes of a property of that name; `None` if nothing is known of it.
    pub(super) fn fate(self, name: &str) -> Option<Fate> {
        let parameter = self.parameters().iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name));
        let plumbing =
            || PLUMBING.iter().any(|known| known.eq_ignore_ascii_case(name)).then_some(Fate::Aside);
        parameter.map(|parameter| parameter.fate).or_else(plumbing)
    }
}

/// The tables of `docs/import.md`.
pub fn markdown() -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        text.push_str(&format!("### {}\n\n| parameter | becomes |\n|---|---|\n", kind.cmdlet()));
        for Parameter { name, fate } in kind.parameters() {
            let fate = match fate {
                Fate::Key(key) => format!("`{key}`"),
                Fate::Without(why) => format!("no counterpart: {why}"),
                Fate::OfTheCmdlet(what) => format!("of the cmdlet: {what}"),
                Fate::Aside => "shown in the plan".to_owned(),
            };
            text.push_str(&format!("| {name} | {fate} |\n"));
        }
        text.push('\n');
    }
    text
}
