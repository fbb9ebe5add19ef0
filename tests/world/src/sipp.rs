//! SIPp: many conversations at a known pace, and a front end that answers whatever it is told to.

use std::fs;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::documents::Format;
use crate::kamailio::Edge;
use crate::process::Process;
use crate::template::fill;
use crate::wait::listening;
use crate::world::{CALLER, FRONT_END, World};

/// Where SIPp, as the called front end, takes plain SIP from stunnel or Kamailio.
pub const ANSWERING: SocketAddr = SocketAddr::new(FRONT_END, 5060);
/// Where stunnel or Kamailio takes plain SIP from SIPp.
pub const OUTGOING: SocketAddr = SocketAddr::new(CALLER, 5060);

/// A running SIPp.
#[derive(Debug)]
pub struct Sipp {
    process: Process,
}

impl Sipp {
    /// Sends `each` numbered MESSAGEs in each of the conversations, all conversations at a time, one pending in each.
    ///
    /// Conversation *c* is between `user<c>@contoso.com` and `to`; the body of message *n* is `<c> <n> …`.
    pub fn send_messages(world: &World, conversations: usize, each: usize, to: &str) -> Result<Self> {
        let users = world.folder().join("sipp-users.csv");
        let lines: String = (0..conversations).map(|number| format!("{number};\n")).collect();
        fs::write(&users, format!("SEQUENTIAL\n{lines}"))?;
        let (to_user, to_host) = to.split_once('@').unwrap_or((to, ""));
        let scenario = fill(
            include_str!("../../interop/sipp/send-messages.xml"),
            &[
                ("transport", transport(world)),
                ("each", &each.to_string()),
                ("to_user", to_user),
                ("to_host", to_host),
            ],
        )?;
        let file = world.folder().join("send-messages.xml");
        fs::write(&file, scenario)?;
        let count = conversations.to_string();
        let mut command = Command::new("sipp");
        command
            .arg(OUTGOING.to_string())
            .arg("-sf")
            .arg(&file)
            .arg("-inf")
            .arg(&users)
            .args(["-i", &CALLER.to_string(), "-p", "5090", "-t", "t1"])
            .args(["-m", &count, "-l", &count, "-r", &count])
            .args(common(world, "sipp-caller"));
        Ok(Self { process: spawn(world, "sipp-caller", &mut command)? })
    }

    /// Answers every MESSAGE with the status.
    pub async fn answer_messages(world: &World, status: u16, reason: &str) -> Result<Self> {
        let scenario = fill(
            include_str!("../../interop/sipp/answer-messages.xml"),
            &[("status", &status.to_string()), ("reason", reason)],
        )?;
        Self::listen(world, "answer-messages.xml", &scenario, &[]).await
    }

    /// Asks once with OPTIONS; succeeds when the answer is 200.
    pub fn ask_options(world: &World) -> Result<Self> {
        let scenario =
            fill(include_str!("../../interop/sipp/ask-options.xml"), &[("transport", transport(world))])?;
        Self::call_once(world, "sipp-options", &scenario)
    }

    /// An endpoint of the SIP user subscribes to the contact; succeeds when the answer has that status.
    pub fn subscribe(
        world: &World,
        (from, to): (&str, &str),
        endpoint: &str,
        expires: u32,
        status: u16,
    ) -> Result<Self> {
        Self::subscribe_as(world, (from, to), endpoint, (expires, status), Format::Pidf.media())
    }

    /// As [`Self::subscribe`], for a time, with that status to it, and understanding these formats (Accept).
    pub fn subscribe_as(
        world: &World,
        (from, to): (&str, &str),
        endpoint: &str,
        (expires, status): (u32, u16),
        accept: &str,
    ) -> Result<Self> {
        let scenario = fill(
            include_str!("../../interop/sipp/subscribe.xml"),
            &[
                ("transport", transport(world)),
                ("from", from),
                ("to", to),
                ("endpoint", endpoint),
                ("accept", accept),
                ("expires", &expires.to_string()),
                ("status", &status.to_string()),
            ],
        )?;
        Self::call_once(world, &format!("sipp-{endpoint}"), &scenario)
    }

    /// An endpoint subscribes, refreshes and ends it, and hears that it has ended; succeeds when all answers are right.
    pub fn refresh(world: &World, (from, to): (&str, &str), endpoint: &str) -> Result<Self> {
        let scenario = fill(
            include_str!("../../interop/sipp/refresh.xml"),
            &[("transport", transport(world)), ("from", from), ("to", to), ("endpoint", endpoint)],
        )?;
        Self::call_once(world, &format!("sipp-{endpoint}"), &scenario)
    }

    /// A user begins a session with the contact, says these things in it, types, refreshes it, wants what no session has,
    /// closes it, and is told that it is gone; succeeds when all answers are right.
    pub fn session(world: &World, (from, to): (&str, &str), bodies: &[&str]) -> Result<Self> {
        const TEXT: &str = "text/plain;charset=UTF-8";
        let composing =
            "<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>";
        let said = bodies.iter().map(|body| ("MESSAGE", TEXT, *body, "200"));
        let all = said.chain([
            (
                "INFO",
                "application/xml",
                "<KeyboardActivity><status status=\"type\"/></KeyboardActivity>",
                "200",
            ),
            ("MESSAGE", "application/im-iscomposing+xml", composing, "200"),
            ("UPDATE", "application/sdp", "", "200"),
            ("MESSAGE", "text/rtf", "{\\rtf1 x}", "415"),
            ("INFO", "application/dtmf-relay", "Signal=1", "415"),
            ("REFER", TEXT, "", "405"),
            ("BYE", TEXT, "", "200"),
            ("MESSAGE", TEXT, "too late", "481"),
        ]);
        let mut requests = String::new();
        for (number, (method, media, body, status)) in (2..).zip(all) {
            requests += &fill(
                include_str!("../../interop/sipp/session-request.xml"),
                &[
                    ("transport", transport(world)),
                    ("from", from),
                    ("to", to),
                    ("method", method),
                    ("number", &i32::to_string(&number)),
                    ("media", media),
                    ("body", body),
                    ("status", status),
                ],
            )?;
        }
        let scenario = fill(
            include_str!("../../interop/sipp/session.xml"),
            &[("transport", transport(world)), ("from", from), ("to", to), ("requests", &requests)],
        )?;
        Self::call_once(world, "sipp-session", &scenario)
    }

    /// A user, who is `verified` or `unverified` by what his edge says, invites the contact; succeeds when the answer has that
    /// status, and this in its `ms-diagnostics` (a regular expression).
    pub fn refused(
        world: &World,
        (from, user): (&str, &str),
        to: &str,
        (status, reason): (u16, &str),
    ) -> Result<Self> {
        let scenario = fill(
            include_str!("../../interop/sipp/refused-session.xml"),
            &[
                ("transport", transport(world)),
                ("from", from),
                ("user", user),
                ("to", to),
                ("status", &status.to_string()),
                ("reason", reason),
            ],
        )?;
        Self::call_once(world, &format!("sipp-refused-{}", to.replace(['@', '.'], "-")), &scenario)
    }

    /// The user is invited once: he accepts, hears something, says "heard" and closes the session.
    pub async fn answer_session(world: &World, user: &str) -> Result<Self> {
        let (host, contact) = own(world);
        let scenario = fill(
            include_str!("../../interop/sipp/answer-session.xml"),
            &[("transport", transport(world)), ("host", &host), ("contact", &contact), ("user", user)],
        )?;
        Self::listen(world, "answer-session.xml", &scenario, &["-m", "1"]).await
    }

    /// Whoever is invited refuses once, with this status; succeeds when that is acknowledged.
    pub async fn refuse_session(world: &World, status: u16, reason: &str) -> Result<Self> {
        let scenario = fill(
            include_str!("../../interop/sipp/refuse-session.xml"),
            &[("status", &status.to_string()), ("reason", reason)],
        )?;
        Self::listen(world, "refuse-session.xml", &scenario, &["-m", "1"]).await
    }

    /// Whoever is invited lets it ring; succeeds when the invitation has been withdrawn, and that is acknowledged.
    pub async fn ring(world: &World) -> Result<Self> {
        let scenario = include_str!("../../interop/sipp/ring.xml");
        Self::listen(world, "ring.xml", scenario, &["-m", "1"]).await
    }

    /// Takes every NOTIFY.
    pub async fn take_notify(world: &World) -> Result<Self> {
        let scenario = include_str!("../../interop/sipp/take-notify.xml");
        Self::listen(world, "take-notify.xml", scenario, &[]).await
    }

    /// An endpoint in the style of Lync subscribes to a contact whom the user sees; succeeds when the answer has what is known of
    /// him, in this format and with this note.
    pub fn subscribe_in_lync_style(
        world: &World,
        (from, to): (&str, &str),
        endpoint: &str,
        (format, note): (Format, &str),
    ) -> Result<Self> {
        let scenario = fill(
            include_str!("../../interop/sipp/benotify.xml"),
            &[
                ("transport", transport(world)),
                ("from", from),
                ("to", to),
                ("endpoint", endpoint),
                ("media", format.media()),
                ("media_pattern", &format.media().replace('+', "[+]")),
                ("note", note),
            ],
        )?;
        Self::call_once(world, &format!("sipp-{endpoint}"), &scenario)
    }

    /// Takes every NOTIFY, and every BENOTIFY, which it does not answer.
    pub async fn take_benotify(world: &World) -> Result<Self> {
        let scenario = include_str!("../../interop/sipp/take-benotify.xml");
        Self::listen(world, "take-benotify.xml", scenario, &[]).await
    }

    /// The user is watched once: what is to happen then stands in the scenario; succeeds when it did.
    pub async fn answer_subscribe(world: &World, user: &str) -> Result<Self> {
        let (host, contact) = own(world);
        let scenario = fill(
            include_str!("../../interop/sipp/answer-subscribe.xml"),
            &[("transport", transport(world)), ("host", &host), ("contact", &contact), ("user", user)],
        )?;
        Self::listen(world, "answer-subscribe.xml", &scenario, &["-m", "1"]).await
    }

    /// The user is watched once: he is in a call, in every format, with the format's name as his note.
    pub async fn publish(world: &World, user: &str) -> Result<Self> {
        let (host, contact) = own(world);
        let mut notifies = String::new();
        for (number, format) in (1..).zip(Format::ALL) {
            notifies += &fill(
                include_str!("../../interop/sipp/notify.xml"),
                &[
                    ("transport", transport(world)),
                    ("host", &host),
                    ("contact", &contact),
                    ("user", user),
                    ("number", &number.to_string()),
                    ("media", format.media()),
                    ("document", &format.in_a_call(user, &format!("{format:?}")).replace('\r', "")),
                ],
            )?;
        }
        let scenario = fill(
            include_str!("../../interop/sipp/publish.xml"),
            &[("contact", &contact), ("notifies", &notifies)],
        )?;
        Self::listen(world, "publish.xml", &scenario, &["-m", "1"]).await
    }

    /// Waits for its end; success means that every call went as its scenario says.
    pub async fn ended(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.process.ended_within(patience).await
    }

    /// Waits until SIPp has seen or sent a message with the text (only where messages are traced).
    pub async fn says(&mut self, text: &str) -> Result<String> {
        self.process.says(text).await
    }

    /// Whether it has seen or sent a message with the text after the mark.
    pub fn has_said_after(&self, mark: usize, text: &str) -> bool {
        self.process.log().text().lines().skip(mark).any(|line| line.contains(text))
    }

    /// What it has seen and sent so far is before this mark.
    pub fn mark(&self) -> usize {
        self.process.log().mark()
    }

    /// As [`Self::says`], after the mark.
    pub async fn says_after(&self, mark: usize, text: &str) -> Result<String> {
        self.process.log().line_after(mark, text).await
    }

    /// The message with the text, from its first line up to there, as soon as it has come (only where messages are traced).
    pub async fn received_with(&mut self, text: &str) -> Result<String> {
        self.says(text).await?;
        let log = self.process.log().text();
        let before = log.split_once(text).map(|(before, _)| before);
        let message = before.and_then(|before| before.rsplit_once(" message received "));
        let (_, message) = message.with_context(|| format!("nothing received with {text:?}"))?;
        Ok(message.split_once('\n').map_or(message, |(_, rest)| rest).trim_start().to_owned())
    }

    /// Stops it.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Calls the gateway once.
    fn call_once(world: &World, name: &str, scenario: &str) -> Result<Self> {
        let file = world.folder().join(format!("{name}.xml"));
        fs::write(&file, scenario)?;
        let mut command = Command::new("sipp");
        command
            .arg(OUTGOING.to_string())
            .arg("-sf")
            .arg(&file)
            .args(["-i", &CALLER.to_string(), "-p", "5091", "-t", "t1", "-m", "1"])
            .args(common(world, name));
        Ok(Self { process: spawn(world, name, &mut command)? })
    }

    /// Is called by the gateway.
    async fn listen(world: &World, name: &str, scenario: &str, more: &[&str]) -> Result<Self> {
        let file = world.folder().join(name);
        fs::write(&file, scenario)?;
        let mut command = Command::new("sipp");
        command
            .arg("-sf")
            .arg(&file)
            .args(["-i", &FRONT_END.to_string(), "-p", "5060", "-t", "t1"])
            .args(["-trace_msg", "-message_file", "/dev/stderr"])
            .args(more)
            .args(common(world, "sipp-front-end"));
        let process = spawn(world, "sipp-front-end", &mut command)?;
        listening("sipp", ANSWERING).await?;
        Ok(Self { process })
    }
}

/// SIPp's own host and Contact, as whoever calls it must see them.
fn own(world: &World) -> (String, String) {
    match world.edge() {
        Edge::Agent => ("fe.contoso.com:5061".to_owned(), "sip:fe.contoso.com:5061;transport=tls".to_owned()),
        Edge::Kamailio => (ANSWERING.to_string(), format!("sip:{ANSWERING};transport=tcp")),
    }
}

/// What the other end of SIPp's connections speaks: stunnel leaves messages as they are, Kamailio is a SIP server itself.
fn transport(world: &World) -> &'static str {
    match world.edge() {
        Edge::Agent => "TLS",
        Edge::Kamailio => "TCP",
    }
}

fn common(world: &World, name: &str) -> [String; 5] {
    let errors = world.folder().join(format!("{name}.errors")).display().to_string();
    ["-nostdin", "-nd", "-trace_err", "-error_file", &errors].map(str::to_owned)
}

fn spawn(world: &World, name: &str, command: &mut Command) -> Result<Process> {
    // SIPp draws a screen; it needs to know on what.
    world.spawn(name, command.env("TERM", "dumb").current_dir(world.folder()))
}
