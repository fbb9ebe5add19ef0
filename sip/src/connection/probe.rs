//! OPTIONS as a sign of life, and `ms-keep-alive`, by which front ends in the style of Lync agree on one.
//!
//! The one who asks writes `UAC;hop-hop=yes` into a request; the other one's answer begins with `UAS`, and its `timeout` says
//! within how many seconds it wants to hear something, a ping being enough.

use std::time::Duration;

use crate::HeaderName;

/// What we tell a peer who asks: more than twice what clients ping in.
pub const MS_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(300);

/// The whole request, for the branch that it is to be known by. Port and transport stand in the Request-URI as somebody else
/// would write them; Max-Forwards says that it is for the next hop only.
pub(super) fn options(to: &str, sent_by: &str, branch: &str, token: &str) -> String {
    format!(
        "OPTIONS sip:{to};transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS {sent_by};branch={branch};alias\r\nMax-Forwards: 0\r\n\
         From: <sip:{sent_by}>;tag={token}\r\nTo: <sip:{to}>\r\nCall-ID: {token}\r\nCSeq: 1 OPTIONS\r\n\
         {}: UAC;hop-hop=yes\r\nContent-Length: 0\r\n\r\n",
        HeaderName::MsKeepAlive.as_str()
    )
}

/// The value that agrees to what a peer asks for, if it asks for something between us and it.
pub(super) fn agreed(value: &str) -> Option<String> {
    let asks =
        is_of(value, "UAC") && parameter(value, "hop-hop").is_some_and(|yes| yes.eq_ignore_ascii_case("yes"));
    let seconds = MS_KEEP_ALIVE_TIMEOUT.as_secs();
    asks.then(|| format!("UAS;tcp=no;hop-hop=yes;end-end=no;timeout={seconds}"))
}

/// What the peer's answer says.
pub(super) fn timeout(value: &str) -> Option<Duration> {
    let seconds = parameter(value, "timeout").filter(|_| is_of(value, "UAS"))?;
    seconds.parse().ok().map(|seconds: u32| Duration::from_secs(seconds.into()))
}

fn is_of(value: &str, side: &str) -> bool {
    value.split(';').next().is_some_and(|first| first.trim().eq_ignore_ascii_case(side))
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_question_about_this_hop_is_agreed_to() {
        let answer = Some("UAS;tcp=no;hop-hop=yes;end-end=no;timeout=300".to_owned());
        for value in ["UAC;hop-hop=yes", "uac ; Hop-Hop = Yes ; x", "UAC;tcp=no;hop-hop=yes;end-end=no"] {
            assert_eq!(agreed(value), answer, "{value}");
        }
        for value in [
            "",
            "UAC",
            "UAC;hop-hop=no",
            "UAC;end-end=yes",
            "UAS;hop-hop=yes",
            ";hop-hop=yes",
            "UACK;hop-hop=yes",
        ] {
            assert_eq!(agreed(value), None, "{value}");
        }
    }

    #[test]
    fn only_a_time_in_an_answer_counts() {
        assert_eq!(timeout("UAS; tcp=no; hop-hop=yes; timeout=120"), Some(Duration::from_secs(120)));
        for value in ["UAC;timeout=120", "UAS", "UAS;timeout", "UAS;timeout=-1", "UAS;timeout=99999999999"] {
            assert_eq!(timeout(value), None, "{value}");
        }
    }
}
