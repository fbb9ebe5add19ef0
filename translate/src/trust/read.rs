//! What the field says of a request of a SIP user. It can only make us believe less: a user of ours whom the edge itself does
//! not vouch for is nobody. No partner's trust level is ever raised by it.

use nuncio_sip::{HeaderName, Message};

/// Why a sender who claims to be a user of ours is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The edge could not verify him, or does not say that it could.
    #[error("the edge has not verified the sender (ms-source-verified-user)")]
    Unverified,
    /// He comes from a public provider, where no user of ours is.
    #[error("the edge says that the request comes from a public provider (ms-source-network=publiccloud)")]
    PublicCloud,
}

/// Why the sender of a request is not believed, by what all edges on its way say. `None`: no edge saw it, for it comes from
/// inside, or each has verified the sender.
///
/// To be asked only about front ends whose [`TrustModel::reads`](super::TrustModel::reads).
pub fn doubt(request: &Message) -> Option<Doubt> {
    request.headers_bytes(HeaderName::MsEdgeProxyMessageTrust).find_map(|value| {
        let Ok(value) = std::str::from_utf8(value) else { return Some(Doubt::Unverified) };
        let is = |name: &str, wanted: &str| all(value, name).any(|found| found.eq_ignore_ascii_case(wanted));
        let verified = || {
            let mut said = all(value, "ms-source-verified-user").peekable();
            said.peek().is_some() && said.all(|found| found.eq_ignore_ascii_case("verified"))
        };
        if is("ms-source-network", "publiccloud") {
            return Some(Doubt::PublicCloud);
        }
        (!verified()).then_some(Doubt::Unverified)
    })
}

/// The values of all parameters of this name. The field has nothing but parameters.
fn all<'a>(value: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    value.split([';', ',']).filter_map(move |parameter| {
        let (found, value) = parameter.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn doubt_of(fields: &str) -> Option<Doubt> {
        let text = format!("MESSAGE sip:a@b.example SIP/2.0\r\n{fields}Content-Length: 0\r\n\r\n");
        doubt(&Message::parse(Bytes::from(text)).unwrap())
    }

    fn field(parameters: &str) -> String {
        format!("ms-edge-proxy-message-trust: {parameters}\r\n")
    }

    #[test]
    fn who_was_verified_or_comes_from_inside_is_believed() {
        assert_eq!(doubt_of(""), None);
        for believed in [
            "ms-source-type=InternetUser;ms-ep-fqdn=edge.contoso.com;ms-source-verified-user=verified",
            "MS-SOURCE-TYPE=AutoFederation ; ms-source-verified-user = \"Verified\" ;ms-source-network=federation",
        ] {
            assert_eq!(doubt_of(&field(believed)), None, "{believed}");
        }
    }

    #[test]
    fn who_is_not_plainly_verified_is_not_believed() {
        for doubted in [
            "ms-source-type=InternetUser;ms-source-verified-user=unverified",
            "ms-source-type=InternetUser",
            "",
            "ms-source-verified-user",
            "verified",
            "ms-source-verified-user=verified;ms-source-verified-user=unverified",
            "ms-source-verified-user=verified, ms-source-verified-user=unverified",
        ] {
            assert_eq!(doubt_of(&field(doubted)), Some(Doubt::Unverified), "{doubted}");
        }
    }

    #[test]
    fn nobody_of_ours_comes_from_a_public_provider() {
        let cloud = field("ms-source-verified-user=verified;ms-source-network=publiccloud");
        assert_eq!(doubt_of(&cloud), Some(Doubt::PublicCloud));
    }

    #[test]
    fn each_edge_on_the_way_counts() {
        let (good, bad) =
            (field("ms-source-verified-user=verified"), field("ms-source-verified-user=unverified"));
        assert_eq!(doubt_of(&(good.clone() + &good)), None);
        assert_eq!(doubt_of(&(good.clone() + &bad)), Some(Doubt::Unverified));
        assert_eq!(doubt_of(&(bad + &good)), Some(Doubt::Unverified));
    }
}
