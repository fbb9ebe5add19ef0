//! The forms in which clients in the style of Lync write their messages.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::FrontEnd;
use nuncio_world::sip_text::SipMessage;

use super::scene::{ALICE, BOB, check_message};
use super::stage::Stage;

/// Font and colour of a message (`msgr`), in base64 without padding.
const FONT: &str = "WAAtAE0ATQBTAC0ASQBNAC0ARgBvAHIAbQBhAHQAOgAgAEYATgA9AFMAZQBnAG8AZQAlADIAMABVAEkAOwAgAEUARgA9ADsAIABDAE8APQAwADsAIABDAFMAPQAwADsAIABQAEYAPQAwAAoADQAKAA0ACgANAAoA";
/// Rich text as these clients mark it.
const RTF: &str = "{\\rtf1\\fbidis\\ansi\\ansicpg1252\\deff0\\nouicompat\\deflang1033{\\fonttbl{\\f0\\fnil Segoe UI;}}\r\n\
                   {\\*\\generator Riched20 15.0}{\\*\\mmathPr}{\\*\\lyncflags<rtf=1>}\\pard\\cf1\\f0\\fs20 Hi\\par\r\n}";
/// What is understood, as a refusal says it (IM-05).
const UNDERSTOOD: [&str; 5] =
    ["text/plain", "text/html", "multipart/alternative", "multipart/related", "message/cpim"];

async fn send(front_end: &FrontEnd, media: &str, body: &str) -> Result<SipMessage> {
    front_end.send_message_as(ALICE, BOB, media, body).await
}

/// A part of a message with several.
fn part(headers: &str, body: &str) -> String {
    format!("--next\r\n{headers}\r\n\r\n{body}\r\n")
}

/// Each becomes the text that its reader would have seen (IM-03, IM-04, IM-06).
pub(crate) async fn bodies_of_every_form_arrive(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    let html = "<DIV style=\"font-size:10pt;font-family:Segoe UI\">Hi <B>Bob</B>, 1 &lt; 2 \u{1F600}</DIV>";
    let rich = part("Content-Type: text/rtf", RTF);
    let page = part("Content-Type: text/html; charset=UTF-8", html);
    let plain = part("Content-Type: text/plain; charset=UTF-8", "Hi Bob, 1 < 2 \u{1F600}");
    let picture = part(
        "Content-Type: image/gif\r\nContent-ID: <smile@pool>\r\nContent-Transfer-Encoding: base64",
        "R0lGODlhAQABAAAAACw=",
    );
    let page_with_picture = part(
        "Content-Type: text/html\r\nContent-ID: <root@pool>",
        "Hi <img src=\"cid:smile@pool\" alt=\":-)\">",
    );
    let end = "--next--\r\n";
    let long = "0123456789 grün ".repeat(6000);
    let cases: [(&str, String, &str); 9] = [
        (
            "text/plain; charset=UTF-8",
            "plain \u{5E9}\u{5DC}\u{5D5}\u{5DD}".to_owned(),
            "plain \u{5E9}\u{5DC}\u{5D5}\u{5DD}",
        ),
        (&format!("text/plain; charset=UTF-8; msgr={FONT}"), "with a font".to_owned(), "with a font"),
        ("text/html; charset=UTF-8", html.to_owned(), "Hi Bob, 1 < 2 \u{1F600}"),
        (
            "multipart/alternative;boundary=next",
            format!("{rich}{page}{plain}{end}"),
            "Hi Bob, 1 < 2 \u{1F600}",
        ),
        ("multipart/alternative; boundary=\"next\"", format!("{rich}{page}{end}"), "Hi Bob, 1 < 2 \u{1F600}"),
        (
            "multipart/related;type=\"text/html\";start=\"<root@pool>\";boundary=next",
            format!("{picture}{page_with_picture}{end}"),
            "Hi :-)",
        ),
        (
            "message/cpim",
            "From: <sip:somebody@else.example>\r\nTo: <sip:bob@fabrikam.com>\r\n\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\nin an envelope"
                .to_owned(),
            "in an envelope",
        ),
        ("text/plain", "two\r\nlines".to_owned(), "two\nlines"),
        ("text/plain;charset=UTF-8", long.clone(), &long),
    ];
    for (media, body, expected) in &cases {
        let answer = send(front_end, media, body).await?;
        ensure!(answer.status() == Some(200), "{media}:\n{answer}");
        let message = bob.next_message().await?;
        check_message(&message, ALICE, BOB, expected)?;
    }
    let more = bob.stanzas_before_ping("end").await?;
    ensure!(more.is_empty(), "{more:?}");
    stage.scene.gateway.still_runs()
}

/// What has no words in a form that we read is refused with the forms that we do, and nothing of it arrives (IM-05).
pub(crate) async fn im_05_what_cannot_be_read_is_refused(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    let rich = part("Content-Type: text/rtf", RTF);
    for (media, body) in [
        ("text/rtf", RTF.to_owned()),
        ("multipart/alternative;boundary=next", format!("{rich}--next--\r\n")),
        ("application/x-ms-ink", "base64:AAA=".to_owned()),
        (
            "text/x-msmsgsinvite; charset=UTF-8",
            "Application-Name: File Transfer\r\nInvitation-Command: INVITE\r\n".to_owned(),
        ),
    ] {
        let answer = send(front_end, media, &body).await?;
        ensure!(answer.status() == Some(415), "{media}:\n{answer}");
        let accept = answer.must("Accept")?;
        ensure!(UNDERSTOOD.iter().all(|media| accept.contains(media)), "{answer}");
    }
    let more = bob.stanzas_before_ping("end").await?;
    ensure!(more.is_empty(), "{more:?}");

    // The client tries again with words.
    let answer = send(front_end, "text/plain", "Hi").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_message(&bob.next_message().await?, ALICE, BOB, "Hi")
}
