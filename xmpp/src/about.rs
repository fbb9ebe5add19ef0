//! What a domain, or a user of it, says of itself to who asks: service discovery (XEP-0030) with contact addresses
//! (XEP-0157), software version (XEP-0092), and the least of a vCard (XEP-0054).
//!
//! Only what the answers hold. Who gets one is the caller's affair.

use compact_str::CompactString;

use crate::xml::{StartTag, ns};

/// What every domain has, exactly (XE-01, XE-09, XE-10). Nothing stands here that is not answered.
const DOMAIN_FEATURES: [&str; 4] = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::PING, r"jid\20escaping"];
/// What a user has.
const USER_FEATURES: [&str; 5] = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::VCARD, ns::CHAT_STATES, ns::RECEIPTS];
/// The scope of the form with contact addresses.
const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";

/// What a domain says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The name of the software, shown in the identities.
    pub name: CompactString,
    /// Its version, for those who ask; `None`: nobody is told (XE-04). The operating system is never named.
    pub version: Option<CompactString>,
    /// Whom to turn to, as URIs.
    pub contacts: Vec<(ContactKind, Vec<CompactString>)>,
}

/// What people turn to an address for (XEP-0157 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContactKind {
    /// Spam and other abuse.
    Abuse,
    /// Whoever runs the service.
    Admin,
    /// Praise and complaint.
    Feedback,
    /// Sales.
    Sales,
    /// Vulnerabilities and incidents.
    Security,
    /// Where disturbances are announced.
    Status,
    /// Help for users.
    Support,
}

impl ContactKind {
    /// All of them, in the order of the form.
    pub const ALL: [Self; 7] =
        [Self::Abuse, Self::Admin, Self::Feedback, Self::Sales, Self::Security, Self::Status, Self::Support];

    /// The registered field of the form.
    pub fn field(self) -> &'static str {
        match self {
            Self::Abuse => "abuse-addresses",
            Self::Admin => "admin-addresses",
            Self::Feedback => "feedback-addresses",
            Self::Sales => "sales-addresses",
            Self::Security => "security-addresses",
            Self::Status => "status-addresses",
            Self::Support => "support-addresses",
        }
    }
}

impl About {
    /// Appends the `<query/>` of disco#info about the domain.
    pub fn write_info(&self, out: &mut Vec<u8>) {
        StartTag::open(out, "query").ns(ns::DISCO_INFO).end();
        for (category, kind) in [("server", "im"), ("gateway", "simple")] {
            identity(out, category, kind, Some(&self.name));
        }
        features(out, &DOMAIN_FEATURES);
        if self.version.is_some() {
            features(out, &[ns::VERSION]);
        }
        self.write_contacts(out);
        StartTag::close(out, "query");
    }

    /// Appends the `<query/>` of `jabber:iq:version`. `false`: nobody is told, and nothing was appended.
    pub fn write_version(&self, out: &mut Vec<u8>) -> bool {
        let Some(version) = &self.version else { return false };
        StartTag::open(out, "query").ns(ns::VERSION).end();
        StartTag::text_element(out, "name", &self.name);
        StartTag::text_element(out, "version", version);
        StartTag::close(out, "query");
        true
    }

    /// The form of XEP-0157. Without any address there is none.
    fn write_contacts(&self, out: &mut Vec<u8>) {
        let mut contacts = self.contacts.iter().filter(|(_, uris)| !uris.is_empty()).peekable();
        if contacts.peek().is_none() {
            return;
        }
        StartTag::open(out, "x").ns(ns::DATA_FORM).attr("type", "result").end();
        StartTag::open(out, "field").attr("var", "FORM_TYPE").attr("type", "hidden").end();
        StartTag::text_element(out, "value", SERVER_INFO);
        StartTag::close(out, "field");
        for (kind, uris) in contacts {
            StartTag::open(out, "field").attr("var", kind.field()).attr("type", "list-multi").end();
            uris.iter().for_each(|uri| StartTag::text_element(out, "value", uri));
            StartTag::close(out, "field");
        }
        StartTag::close(out, "x");
    }
}

/// Appends the `<query/>` of disco#info about a user.
pub fn write_user_info(out: &mut Vec<u8>) {
    StartTag::open(out, "query").ns(ns::DISCO_INFO).end();
    identity(out, "account", "registered", None);
    features(out, &USER_FEATURES);
    StartTag::close(out, "query");
}

/// Appends the `<query/>` of disco#items: there are none, at whatever node.
pub fn write_no_items(out: &mut Vec<u8>, node: Option<&str>) {
    StartTag::open(out, "query").ns(ns::DISCO_ITEMS).opt_attr("node", node).empty();
}

/// Appends a vCard that tells no more than the address does (XE-06).
pub fn write_vcard(out: &mut Vec<u8>, name: &str, address: &str) {
    StartTag::open(out, "vCard").ns(ns::VCARD).end();
    StartTag::text_element(out, "FN", name);
    StartTag::text_element(out, "JABBERID", address);
    StartTag::close(out, "vCard");
}

fn identity(out: &mut Vec<u8>, category: &str, kind: &str, name: Option<&str>) {
    StartTag::open(out, "identity")
        .attr("category", category)
        .attr("type", kind)
        .opt_attr("name", name)
        .empty();
}

fn features(out: &mut Vec<u8>, features: &[&str]) {
    for feature in features {
        StartTag::open(out, "feature").attr("var", feature).empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn about() -> About {
        About { name: "Nuncio".into(), ..About::default() }
    }

    #[test]
    fn xe_05_addresses_come_as_a_form_of_the_registered_fields() {
        let contacts = vec![
            (ContactKind::Abuse, vec!["mailto:abuse@contoso.com".into(), "https://contoso.com/?a&b".into()]),
            (ContactKind::Sales, Vec::new()),
            (ContactKind::Status, vec!["https://status.contoso.com".into()]),
        ];
        let info = written(|out| About { contacts, ..about() }.write_info(out));
        let form = "<x xmlns='jabber:x:data' type='result'>\
            <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/network/serverinfo</value></field>\
            <field var='abuse-addresses' type='list-multi'><value>mailto:abuse@contoso.com</value>\
            <value>https://contoso.com/?a&amp;b</value></field>\
            <field var='status-addresses' type='list-multi'><value>https://status.contoso.com</value></field></x></query>";
        assert!(info.ends_with(form), "{info}");
    }

    #[test]
    fn xe_05_without_an_address_there_is_no_form() {
        assert!(!written(|out| about().write_info(out)).contains("jabber:x:data"));
        let contacts = vec![(ContactKind::Abuse, Vec::new())];
        assert!(!written(|out| About { contacts, ..about() }.write_info(out)).contains("jabber:x:data"));
    }

    #[test]
    fn xe_05_every_kind_has_a_field_of_its_own() {
        let fields: std::collections::BTreeSet<_> = ContactKind::ALL.map(ContactKind::field).into();
        assert_eq!(fields.len(), ContactKind::ALL.len());
        assert!(fields.iter().all(|field| field.ends_with("-addresses")));
    }

    #[test]
    fn xe_04_the_version_is_a_feature_exactly_if_it_is_told() {
        let told = About { version: Some("1.2.3".into()), ..about() };
        assert_eq!(
            written(|out| assert!(told.write_version(out))),
            "<query xmlns='jabber:iq:version'><name>Nuncio</name><version>1.2.3</version></query>"
        );
        assert!(written(|out| told.write_info(out)).contains("<feature var='jabber:iq:version'/>"));
        assert_eq!(written(|out| assert!(!about().write_version(out))), "");
        assert!(!written(|out| about().write_info(out)).contains("jabber:iq:version"));
    }

    #[test]
    fn xe_06_a_vcard_says_what_the_address_says() {
        assert_eq!(
            written(|out| write_vcard(out, "o'hara & co", r"o\27hara\20\26\20co@contoso.com")),
            r"<vCard xmlns='vcard-temp'><FN>o'hara &amp; co</FN><JABBERID>o\27hara\20\26\20co@contoso.com</JABBERID></vCard>"
        );
    }
}
