//! The error tables of RFC 7247 §7, row by row.

use nuncio_translate::errors::{About, Answering, SipTrouble, UNIFORM_REFUSAL, XmppTrouble, to_sip, to_xmpp};
use nuncio_xmpp::Condition as C;
use nuncio_xmpp::ErrorType as T;

fn status(condition: C, about: About) -> u16 {
    to_sip(&XmppTrouble::new(condition, about), Answering::NonInvite).status
}

/// EXS-01…EXS-23: condition, answer about a full JID, answer about a bare one, in answer to a MESSAGE.
const EXS: [(C, u16, u16); 22] = [
    (C::BadRequest, 400, 400),
    (C::Conflict, 400, 400),
    (C::FeatureNotImplemented, 405, 501),
    (C::Forbidden, 403, 603),
    (C::Gone, 410, 410),
    (C::InternalServerError, 500, 500),
    (C::ItemNotFound, 404, 604),
    (C::JidMalformed, 400, 400),
    (C::NotAcceptable, 406, 606),
    (C::NotAllowed, 403, 403),
    (C::NotAuthorized, 403, 403),
    (C::PolicyViolation, 403, 403),
    (C::RecipientUnavailable, 480, 600),
    (C::Redirect, 480, 480),
    (C::RegistrationRequired, 403, 403),
    (C::RemoteServerNotFound, 504, 504),
    (C::RemoteServerTimeout, 504, 504),
    (C::ResourceConstraint, 500, 500),
    (C::ServiceUnavailable, 403, 403),
    (C::SubscriptionRequired, 400, 400),
    (C::Undefined, 400, 400),
    (C::UnexpectedRequest, 491, 491),
];

#[test]
fn exs_01_to_23_every_condition_has_its_answer() {
    assert_eq!(EXS.len(), C::ALL.len());
    for (condition, full, bare) in EXS {
        assert_eq!(status(condition, About::FullJid), full, "{condition}");
        assert_eq!(status(condition, About::BareJid), bare, "{condition}");
    }
}

#[test]
fn exs_05_and_14_a_new_address_is_named() {
    for (condition, status) in [(C::Gone, 301), (C::Redirect, 302)] {
        let trouble = XmppTrouble {
            new_address: Some("sip:romeo@elsewhere.example"),
            ..XmppTrouble::new(condition, About::BareJid)
        };
        let failure = to_sip(&trouble, Answering::NonInvite);
        assert_eq!(
            (failure.status, failure.contact.as_deref()),
            (status, Some("sip:romeo@elsewhere.example"))
        );
    }
    let stray =
        XmppTrouble { new_address: Some("sip:a@b"), ..XmppTrouble::new(C::ItemNotFound, About::BareJid) };
    assert_eq!(to_sip(&stray, Answering::NonInvite).contact, None);
}

#[test]
fn exs_16_17_and_sip_27_408_answers_an_invite_only() {
    for condition in [C::RemoteServerNotFound, C::RemoteServerTimeout] {
        let trouble = XmppTrouble::new(condition, About::BareJid);
        assert_eq!(to_sip(&trouble, Answering::Invite).status, 408);
        assert_eq!(to_sip(&trouble, Answering::NonInvite).status, 504);
    }
    let no_such =
        XmppTrouble { no_such_domain: true, ..XmppTrouble::new(C::RemoteServerNotFound, About::BareJid) };
    assert_eq!(to_sip(&no_such, Answering::NonInvite).status, 404);
}

#[test]
fn exs_22_the_type_decides_about_unexpected_request() {
    let trouble = XmppTrouble { kind: T::Modify, ..XmppTrouble::new(C::UnexpectedRequest, About::BareJid) };
    assert_eq!(to_sip(&trouble, Answering::NonInvite).status, 400);
}

#[test]
fn exs_19_and_23_some_codes_are_never_sent() {
    for condition in C::ALL.iter().copied() {
        for about in [About::FullJid, About::BareJid] {
            for kind in [T::Auth, T::Cancel, T::Continue, T::Modify, T::Wait] {
                let trouble = XmppTrouble { kind, ..XmppTrouble::new(condition, about) };
                let failure = to_sip(&trouble, Answering::NonInvite);
                assert!(!matches!(failure.status, 401 | 407 | 408 | 503), "{condition}");
                assert_eq!(failure.needs_allow(), failure.status == 405);
                assert!(!failure.reason.is_empty());
            }
        }
    }
}

#[test]
fn arc_08_the_text_becomes_the_phrase_on_one_line() {
    let with = |text| {
        to_sip(&XmppTrouble::new(C::Forbidden, About::FullJid).with_text(Some(text)), Answering::NonInvite)
            .reason
    };
    assert_eq!(with("Not today\r\nRoute: <sip:evil>"), "Not today Route: <sip:evil>");
    assert_eq!(with(" \r\n"), "Forbidden");
    assert_eq!(with(&"x".repeat(9999)).len(), 256);
}

fn answered(status: u16) -> SipTrouble<'static> {
    SipTrouble::Answered { status, reason: "Reason", new_address: None }
}

/// ESX-01…ESX-48 without a new address, and what the class decides.
const ESX: [(u16, C); 80] = [
    (300, C::RecipientUnavailable),
    (301, C::RecipientUnavailable),
    (302, C::RecipientUnavailable),
    (305, C::RecipientUnavailable),
    (380, C::NotAcceptable),
    (399, C::RecipientUnavailable),
    (400, C::BadRequest),
    (401, C::NotAuthorized),
    (402, C::BadRequest),
    (403, C::Forbidden),
    (404, C::ItemNotFound),
    (405, C::FeatureNotImplemented),
    (406, C::NotAcceptable),
    (407, C::RegistrationRequired),
    (408, C::RemoteServerTimeout),
    (409, C::BadRequest),
    (410, C::Gone),
    (412, C::BadRequest),
    (413, C::PolicyViolation),
    (414, C::PolicyViolation),
    (415, C::NotAcceptable),
    (416, C::NotAcceptable),
    (420, C::FeatureNotImplemented),
    (421, C::NotAcceptable),
    (422, C::BadRequest),
    (423, C::ResourceConstraint),
    (424, C::BadRequest),
    (425, C::BadRequest),
    (428, C::BadRequest),
    (429, C::BadRequest),
    (430, C::RecipientUnavailable),
    (433, C::BadRequest),
    (436, C::BadRequest),
    (437, C::BadRequest),
    (438, C::BadRequest),
    (439, C::FeatureNotImplemented),
    (440, C::PolicyViolation),
    (469, C::BadRequest),
    (470, C::BadRequest),
    (480, C::RecipientUnavailable),
    (481, C::ItemNotFound),
    (482, C::NotAcceptable),
    (483, C::NotAcceptable),
    (484, C::ItemNotFound),
    (485, C::ItemNotFound),
    (486, C::RecipientUnavailable),
    (487, C::RecipientUnavailable),
    (488, C::NotAcceptable),
    (489, C::PolicyViolation),
    (491, C::UnexpectedRequest),
    (493, C::BadRequest),
    (494, C::BadRequest),
    (499, C::BadRequest),
    (500, C::InternalServerError),
    (501, C::FeatureNotImplemented),
    (502, C::RemoteServerNotFound),
    (503, C::InternalServerError),
    (504, C::RemoteServerTimeout),
    (505, C::NotAcceptable),
    (513, C::PolicyViolation),
    (555, C::InternalServerError),
    (580, C::InternalServerError),
    (599, C::InternalServerError),
    (600, C::RecipientUnavailable),
    (603, C::RecipientUnavailable),
    (604, C::ItemNotFound),
    (606, C::NotAcceptable),
    (607, C::RecipientUnavailable),
    (608, C::RecipientUnavailable),
    (699, C::RecipientUnavailable),
    (310, C::RecipientUnavailable),
    (379, C::RecipientUnavailable),
    (381, C::RecipientUnavailable),
    (403, C::Forbidden),
    (411, C::BadRequest),
    (417, C::BadRequest),
    (492, C::BadRequest),
    (506, C::InternalServerError),
    (512, C::InternalServerError),
    (601, C::RecipientUnavailable),
];

#[test]
fn esx_01_to_48_every_code_has_its_condition() {
    for (status, condition) in ESX {
        let failure = to_xmpp(&answered(status), true).unwrap();
        assert_eq!(failure.condition, condition, "{status}");
        assert_eq!(failure.kind, condition.default_type(), "{status}");
        assert_eq!(failure.text.as_deref(), Some("Reason"));
        assert_eq!(failure.new_address, None);
    }
}

#[test]
fn esx_01_to_06_a_new_address_is_named_where_the_condition_carries_one() {
    for (status, condition) in [
        (300, C::Redirect),
        (301, C::Gone),
        (302, C::Redirect),
        (305, C::Redirect),
        (380, C::NotAcceptable),
        (399, C::Redirect),
        (410, C::Gone),
        (404, C::ItemNotFound),
    ] {
        let new_address = Some("xmpp:romeo@elsewhere.example");
        let failure = to_xmpp(&SipTrouble::Answered { status, reason: "", new_address }, true).unwrap();
        assert_eq!(failure.condition, condition, "{status}");
        // ESX-16: 410 must not name one.
        let expected = if matches!(status, 380 | 404 | 410) { None } else { new_address };
        assert_eq!(failure.new_address.as_deref(), expected, "{status}");
    }
}

#[test]
fn err_06_provisional_and_success_are_no_errors() {
    for status in [100, 180, 199, 200, 202, 299] {
        assert_eq!(to_xmpp(&answered(status), true), None);
    }
}

#[test]
fn err_07_no_answer_is_408_and_no_connection_503_and_doubt_is_said() {
    let timeout = to_xmpp(&SipTrouble::Timeout, false).unwrap();
    assert_eq!(timeout.condition, C::RemoteServerTimeout);
    assert!(timeout.text.unwrap().contains("may or may not"));
    for (written, doubt) in [(true, true), (false, false)] {
        let lost = to_xmpp(&SipTrouble::Transport { written }, false).unwrap();
        assert_eq!(lost.condition, C::InternalServerError);
        assert_eq!(lost.text.unwrap().contains("may or may not"), doubt);
    }
}

#[test]
fn dec_03_strangers_learn_nothing_about_the_user() {
    let new_address = Some("xmpp:romeo@elsewhere.example");
    for status in 300..700 {
        for new_address in [None, new_address] {
            let trouble = SipTrouble::Answered { status, reason: "Romeo is in Mantua", new_address };
            let failure = to_xmpp(&trouble, false).unwrap();
            assert!(!failure.text.as_deref().unwrap_or_default().contains("Mantua"), "{status}");
            assert_eq!(failure.new_address, None, "{status}");
            let about_the_user = matches!(
                status,
                300..=379 | 381..=399 | 401 | 403 | 404 | 407 | 410 | 430 | 480 | 481 | 484..=487 | 600..=605 | 607..=699
            );
            assert_eq!(failure == UNIFORM_REFUSAL, about_the_user, "{status}");
        }
    }
}

#[test]
fn arc_08_the_phrase_becomes_text_on_one_line() {
    let text = |reason| {
        to_xmpp(&SipTrouble::Answered { status: 480, reason, new_address: None }, true).unwrap().text
    };
    assert_eq!(text("Gone<fishing>").as_deref(), Some("Gone<fishing>"));
    assert_eq!(text("a\u{85}b").as_deref(), Some("a b"));
    assert_eq!(text("").as_deref(), Some("Temporarily Unavailable"));
}
