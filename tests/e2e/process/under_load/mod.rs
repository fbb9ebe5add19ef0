//! What the administrator changes while a thousand messages a second go both ways: no message is lost or doubled, by what
//! senders and receivers saw, and none crosses that the rules of its moment forbid.

mod front_end;
mod ledger;
mod pace;
mod partner;
mod rules;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio_world::pki::{Credential, Flaw, Usage};
use nuncio_world::wait::{until, until_ok, within_time};
use nuncio_world::xmpp_peer::XmppPeer;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use self::ledger::Ledger;
use self::pace::{AT_ONCE, Achieved, MOST_UNDER_WAY, ticks};
use self::partner::Partner;
use self::rules::{ALICE, CARL, CAROL, DAVE, Rules, TINA, TOM, URSULA};
use crate::town::{Town, takes_all};

/// What was shown in a handshake.
type Certificate = tokio_rustls::rustls::pki_types::CertificateDer<'static>;

const CHANGES: usize = 200;
/// Messages each way that are sent and cross between two changes.
const APART: usize = 30;
/// What tailspin.com may send in a second: more than it ever does, and far less than it wants to.
const AMPLE: u32 = 30_000;
const TIGHT: u32 = 20;
/// Most messages that may be in doubt when a stream of ours to fabrikam.com ends: those that were written and not proved processed,
/// which an answer to a ping does for all before it. Two SIP users write 125 a second to her.
const MOST_IN_DOUBT: u64 = 200;
/// Keys below `limits.xmpp`, each with what it is in the file when it is there, and with its default. None of them is ever met.
const LIMITS: [(&str, u32, u32); 4] = [
    ("stanzas_per_second", 7_000, 5_000),
    ("bytes_per_second", 8_000_000, 4_194_304),
    ("connections_per_partner", 30, 20),
    ("stanza", 400_000, 524_288),
];
/// For all changes together, also on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(600);

/// Who writes to whom, in turn.
const TURNS: [(&str, &str); 10] = [
    (CAROL, ALICE),
    (URSULA, ALICE),
    (TOM, ALICE),
    (TINA, ALICE),
    (CARL, ALICE),
    (CAROL, DAVE),
    (URSULA, DAVE),
    (TOM, DAVE),
    (TINA, DAVE),
    (CARL, DAVE),
];

/// What is changed.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// fabrikam.com is switched off or on.
    Enabled,
    /// tailspin.com is trusted or not.
    Trust,
    /// Dave may not talk to partners, or may again.
    Policy,
    /// Carl is blocked, or not any more.
    Block,
    /// A new certificate for streams.
    Certificate,
    /// A new one for front ends.
    SipCertificate,
    /// What tailspin.com may send in a second.
    Limit,
    /// A partner in the file.
    File,
    /// Limits in the file, for all partners.
    Limits,
    /// Another CA is trusted, or not any more.
    Roots,
    /// A certificate is revoked, or not any more.
    Revocations,
}

const KINDS: [Change; 11] = [
    Change::Enabled,
    Change::Trust,
    Change::Policy,
    Change::Block,
    Change::Certificate,
    Change::SipCertificate,
    Change::Limit,
    Change::File,
    Change::Limits,
    Change::Roots,
    Change::Revocations,
];

/// The administrator.
struct Admin<'a> {
    town: &'a Town,
    client: Client,
    ledger: &'a RefCell<Ledger>,
    changed: watch::Sender<u64>,
    /// The file without what comes and goes.
    file: String,
    /// What of that is in it: a partner, and limits.
    extras: Cell<(bool, bool)>,
    /// The roots without the other CA.
    roots: String,
    /// Of a front end, by the CA that is not always trusted.
    foreign: Credential,
    /// Of a front end, not always revoked.
    revoked: Credential,
    /// With what a stream is opened to see what the gateway shows.
    looks: Credential,
    /// Whose limit is changed.
    tailspin: Rc<Partner<'a>>,
    /// How often streams had been slowed when the limit was made ample.
    slowed: Cell<u64>,
}

impl Admin<'_> {
    async fn asks(&self, method: Method, path: &str, body: Option<Value>) -> Result<()> {
        let reply = self.client.ask(method.clone(), path, body.as_ref()).await?;
        let said = String::from_utf8_lossy(&reply.body);
        ensure!(reply.status.is_success(), "{method} {path}: {} {said}", reply.status);
        Ok(())
    }

    /// How often a stream was not read for a while because its partner sent more than he may.
    async fn slowed(&self) -> Result<u64> {
        let reply = self.client.ask(Method::GET, "/metrics", None).await?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("nuncio_streams_slowed_total "));
        line.and_then(|count| count.parse().ok()).context("nothing is said of slowed streams")
    }

    /// The change that was made shows.
    async fn sees(&self, kind: Change, tight: bool, new: Option<&Certificate>) -> Result<()> {
        let pki = &self.town.pki;
        match kind {
            Change::Certificate => {
                let shows = async || {
                    let (xmpp, looks) = (self.town.xmpp(), Some(&self.looks));
                    let stream = XmppPeer::secured(pki, looks, xmpp, "wingtip.com", "contoso.com").await?;
                    Ok(stream.shown() == new)
                };
                until_ok("new streams to be shown the new certificate", shows).await?;
            }
            Change::SipCertificate => {
                // Whoever shows nothing is given nothing to carry.
                let shows = async || Ok(self.town.calls(None).await?.shown() == new);
                until_ok("new front ends to be shown the new certificate", shows).await?;
            }
            Change::Limit if tight => {
                let before = self.slowed.get();
                // However slow the machine is: more at once than may come in five seconds.
                self.tailspin.floods();
                let bites = async || Ok(self.slowed().await? > before);
                until_ok("tailspin.com to be read more slowly", bites).await?;
            }
            Change::Limit => self.slowed.set(self.slowed().await?),
            Change::Limits => {
                let reply = self.client.ask(Method::GET, "/v1/config", None).await?;
                let settings = reply.json().context("no JSON")?["settings"].clone();
                let value = |path: &str| {
                    let all = settings.as_array().into_iter().flatten();
                    let mut found = all.filter(|setting| setting["path"] == path);
                    found.next().map(|setting| setting["value"].clone())
                };
                for (key, with, without) in LIMITS {
                    let (path, expected) = (format!("limits.xmpp.{key}"), if tight { with } else { without });
                    ensure!(value(&path) == Some(json!(expected)), "{path} is {:?}", value(&path));
                }
            }
            Change::Roots => self.sees_whether(&self.foreign, tight).await?,
            Change::Revocations => self.sees_whether(&self.revoked, !tight).await?,
            Change::Enabled | Change::Trust | Change::Policy | Change::Block | Change::File => {}
        }
        Ok(())
    }

    /// Somebody with this certificate is a front end, or is told that he is none.
    async fn sees_whether(&self, presents: &Credential, is_believed: bool) -> Result<()> {
        let expected = if is_believed { 200 } else { 403 };
        let answered = async || {
            let mut front_end = self.town.calls(Some(presents)).await?;
            let call = front_end.send_options("contoso.com").await?;
            anyhow::Ok(front_end.final_answer(&call).await?.status() == Some(expected))
        };
        // Who is let in at the moment in which he is not believed any more sees the connection end.
        let shows = || async { answered().await.unwrap_or(false) };
        until(&format!("{expected} for who shows a certificate"), shows).await
    }

    /// Writes the file with what is to be in it, and has it read.
    async fn reloads_with(&self, partner: bool, limits: bool) -> Result<()> {
        self.extras.set((partner, limits));
        let more = "[[partner]]\ndomain = \"litware-partner.example\"\ntype = \"federated\"\n";
        let lines = |(key, with, _): &(&str, u32, u32)| format!("xmpp.{key} = {with}\n");
        let text = match limits {
            true => {
                let lines: String = LIMITS.iter().map(lines).collect();
                self.file.replacen("[limits]\n", &format!("[limits]\n{lines}"), 1)
            }
            false => self.file.clone(),
        };
        let text = format!("{text}{}", if partner { more } else { "" });
        std::fs::write(self.town.folder().join("nuncio.toml"), text)?;
        self.asks(Method::POST, "/v1/reload", None).await
    }

    /// Makes the change of that number, and waits until it is in force.
    async fn makes(&self, number: usize) -> Result<()> {
        // Each round of the kinds in another order.
        let kind = KINDS[(number * 3 + number / KINDS.len()) % KINDS.len()];
        let odd_round = (number / KINDS.len()).is_multiple_of(2);
        let mut rules = self.ledger.borrow().history.last();
        match kind {
            Change::Enabled => rules.fabrikam_enabled ^= true,
            Change::Trust => rules.tailspin_public ^= true,
            Change::Policy => rules.dave_denied ^= true,
            Change::Block => rules.carl_blocked ^= true,
            Change::Certificate
            | Change::SipCertificate
            | Change::Limit
            | Change::File
            | Change::Limits
            | Change::Roots
            | Change::Revocations => {}
        }
        self.ledger.borrow_mut().history.ask(rules);
        let (pki, mut new) = (&self.town.pki, None);
        match kind {
            Change::Enabled => {
                let body = json!({ "enabled": rules.fabrikam_enabled });
                self.asks(Method::PATCH, "/v1/partners/fabrikam.com", Some(body)).await?;
            }
            Change::Trust => {
                let trust = if rules.tailspin_public { "public-unverified" } else { "federated" };
                let body = json!({ "type": trust });
                self.asks(Method::PATCH, "/v1/partners/tailspin.com", Some(body)).await?;
            }
            Change::Policy if rules.dave_denied => {
                let body = json!({ "users": [DAVE], "verdict": "deny" });
                self.asks(Method::PUT, "/v1/policies/dave", Some(body)).await?;
            }
            Change::Policy => self.asks(Method::DELETE, "/v1/policies/dave", None).await?,
            Change::Block if rules.carl_blocked => {
                self.asks(Method::PUT, &format!("/v1/blocks/{CARL}"), Some(json!({}))).await?;
            }
            Change::Block => self.asks(Method::DELETE, &format!("/v1/blocks/{CARL}"), None).await?,
            Change::Certificate => {
                new = Some(pki.good("gateway-contoso", &["contoso.com"])?.certificate);
                self.asks(Method::POST, "/v1/reload", None).await?;
            }
            Change::SipCertificate => {
                new = Some(pki.good("gateway-sip", &["nuncio.contoso.com"])?.certificate);
                self.asks(Method::POST, "/v1/reload", None).await?;
            }
            Change::Limit => {
                if odd_round {
                    // What was read already when the limit was made ample may have counted after that.
                    let since = self.slowed().await?.saturating_sub(self.slowed.get());
                    ensure!(since <= 1, "an ample limit has slowed tailspin.com {since} times");
                }
                let body = json!({ "stanzas_per_second": if odd_round { TIGHT } else { AMPLE } });
                self.asks(Method::PATCH, "/v1/partners/tailspin.com", Some(body)).await?;
            }
            Change::File => self.reloads_with(odd_round, self.extras.get().1).await?,
            Change::Limits => self.reloads_with(self.extras.get().0, odd_round).await?,
            Change::Roots => {
                let other = std::fs::read_to_string(pki.other_roots_file())?;
                let text = if odd_round { format!("{}{other}", self.roots) } else { self.roots.clone() };
                std::fs::write(pki.roots_file(), text)?;
                self.asks(Method::POST, "/v1/reload", None).await?;
            }
            Change::Revocations => {
                let list = if odd_round { vec![&self.revoked] } else { Vec::new() };
                std::fs::write(revocations(self.town), pki.revocations(&list)?)?;
                self.asks(Method::POST, "/v1/reload", None).await?;
            }
        }
        self.ledger.borrow_mut().history.told();
        self.changed.send_modify(|changes| *changes += 1);
        self.sees(kind, odd_round, new.as_ref()).await
    }
}

/// The file with the list of what is revoked.
fn revocations(town: &Town) -> std::path::PathBuf {
    town.folder().join("revoked.pem")
}

/// The contacts write until `stopped`.
async fn contacts_write(partners: &[Rc<Partner<'_>>], stopped: &Cell<bool>) -> Infallible {
    let mut tick = ticks();
    // Their servers have streams of their own to begin with.
    while !partners.iter().all(|partner| partner.is_up()) {
        tick.tick().await;
    }
    let mut turns = TURNS.into_iter().cycle();
    loop {
        tick.tick().await;
        if stopped.get() {
            continue;
        }
        for (contact, user) in turns.by_ref().take(AT_ONCE) {
            partners
                .iter()
                .filter(|partner| partner.is_of(contact))
                .for_each(|it| it.has_turn(contact, user));
        }
    }
}

#[tokio::test]
async fn two_hundred_changes_under_load_lose_and_double_nothing_and_let_nothing_pass_that_they_forbid()
-> Result<()> {
    let mut town = Town::with_zone(|zone, at| {
        [("wingtip.com", 3), ("fabrikam.com", 6), ("tailspin.com", 7)].into_iter().fold(
            zone.host("fe.contoso.com", at(2)),
            |zone, (domain, host)| {
                let name = format!("xmpp.{domain}");
                zone.host(&name, at(host)).xmpp(domain, &name, 5269)
            },
        )
    })
    .await?;
    // Nobody is kept out for having tried while he was switched off, and files are looked at when that is asked for.
    let limits =
        "xmpp.failures_per_address = 1000000\nsip.failures_per_address = 1000000\nfile_check = \"1d\"";
    town.sip = format!("crls = {:?}", revocations(&town));
    std::fs::write(revocations(&town), town.pki.revocations(&[])?)?;
    let foreign = town.pki.issue("foreign", &["fe.contoso.com"], Usage::Both, Flaw::OtherAuthority)?;
    let mut gateway = town.gateway(limits).await?;
    let first =
        Rules { fabrikam_enabled: true, tailspin_public: false, dave_denied: false, carl_blocked: false };
    let ledger = RefCell::new(Ledger::new(first));
    let (changed, changes) = watch::channel(0);
    let found =
        |domain, host| Partner::found(domain, &town.pki, town.somewhere(host, 5269), town.xmpp(), &ledger);
    let (wingtip, for_wingtip) = found("wingtip.com", 3).await?;
    let (fabrikam, for_fabrikam) = found("fabrikam.com", 6).await?;
    let (tailspin, for_tailspin) = found("tailspin.com", 7).await?;
    let admin = Admin {
        town: &town,
        client: Client::new(town.control()),
        ledger: &ledger,
        changed,
        file: std::fs::read_to_string(town.folder().join("nuncio.toml"))?,
        extras: Cell::new((false, false)),
        roots: std::fs::read_to_string(town.pki.roots_file())?,
        foreign,
        revoked: town.pki.good("revoked", &["fe.contoso.com"])?,
        looks: town.pki.good("wingtip-looks", &["wingtip.com"])?,
        slowed: Cell::new(0),
        tailspin: Rc::clone(&tailspin),
    };
    for domain in ["fabrikam.com", "tailspin.com"] {
        let body = json!({ "domain": domain, "type": "federated", "stanzas_per_second": AMPLE });
        admin.asks(Method::POST, "/v1/partners", Some(body)).await?;
    }

    let partners = [Rc::clone(&wingtip), Rc::clone(&fabrikam), Rc::clone(&tailspin)];
    let front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let connection = town.calls(Some(&town.good_front_end()?)).await?;

    let stopped = Cell::new(false);
    let load = async {
        tokio::try_join!(
            front_end::calls(connection, &ledger, &stopped),
            front_end::answers(front_end, &ledger),
            wingtip.speaks(for_wingtip, changes.clone()),
            fabrikam.speaks(for_fabrikam, changes.clone()),
            tailspin.speaks(for_tailspin, changes),
            Rc::clone(&wingtip).listens(),
            Rc::clone(&fabrikam).listens(),
            Rc::clone(&tailspin).listens(),
            async { Ok(contacts_write(&partners, &stopped).await) },
        )
    };
    let began = Instant::now();
    let administration = async {
        for number in 0..CHANGES {
            // Not turns to write: messages that crossed, and that were sent under what the change before has brought.
            ledger.borrow_mut().begins_stretch();
            until("messages to cross both ways", || async { ledger.borrow().have_crossed_since(APART) })
                .await?;
            admin.makes(number).await.with_context(|| format!("change {number}"))?;
        }
        stopped.set(true);
        let at_rest = || async {
            let waiting = wingtip.waiting() + tailspin.waiting();
            waiting + ledger.borrow().under_way() == 0
        };
        // If it does not come, the ledger says what is missing.
        until("the end of all messages under way", at_rest).await.ok();
        anyhow::Ok(())
    };
    tokio::select! {
        ended = load => match ended {
            Ok(_) => bail!("the load has ended"),
            Err(error) => return Err(error).context("the load"),
        },
        done = within_time("all changes", PATIENCE, administration) => done??,
    }
    let time = began.elapsed();

    {
        let ledger = ledger.borrow();
        let (sum, sent, pace) = (ledger.check()?, ledger.sent(), &ledger.pace);
        let (full, away, waiting) = (pace.full, pace.away.len(), fabrikam.waiting());
        println!("{sum:?}, {waiting} waiting for a stream");
        ensure!(sum.refused > 500, "hardly anything was tried that is forbidden: {sum:?}");
        // None of the rules forbids for good: of those whom they touch something comes through, and not a trace only beside what
        // others get.
        let crossed = ledger.crossed_by_each();
        let of = |who: &str| -> usize {
            let his = crossed.iter().filter(|((_, user, contact), _)| [*user, *contact].contains(&who));
            his.map(|(_, many)| many).sum()
        };
        for (touched, other) in [(DAVE, ALICE), (CARL, CAROL), (URSULA, CAROL)] {
            let both = (of(touched), of(other));
            println!("{touched} beside {other}: {both:?}");
            ensure!(both.0 * 40 > both.1, "of {touched} hardly anything crossed beside {other}: {both:?}");
        }
        ensure!(of(TINA) > 0, "she who may begin at times was never let: {crossed:?}");
        ensure!(sum.crossed == ledger.crossed() as u64, "{} arrived: {sum:?}", ledger.crossed());
        let crossed: Vec<[usize; 2]> = ledger.crossed_by_stretch();
        ensure!(crossed.len() == CHANGES, "{} changes", crossed.len());
        let idle = crossed.iter().position(|each_way| each_way.iter().any(|crossed| *crossed < APART));
        ensure!(idle.is_none(), "before change {idle:?} hardly anything crossed: {crossed:?}");

        // A thousand turns in a second, and each of them is accounted for; so is each message.
        ensure!(pace.offered == sent + full + away + waiting, "{} turns: {sent}, {full}, …", pace.offered);
        ensure!(pace.away.iter().all(|contact| *contact == URSULA), "another partner had no stream");
        let ends = sum.crossed + sum.refused + sum.cut + sum.told_later;
        ensure!(ends == sent as u64, "{sent} were sent, and {sum:?}");
        let each = ledger.sent_by_each();
        let pairs = TURNS.len() + front_end::TURNS.len();
        ensure!(
            each.len() == pairs && each.values().all(|sent| *sent > 2 * APART),
            "somebody hardly wrote: {each:?}"
        );

        // Nothing but switching fabrikam.com off ends streams in the middle (the ledger sees to that), and each end costs few.
        let (cut, most) = (sum.cut, fabrikam.opened.get() * MOST_UNDER_WAY as u64);
        ensure!(cut <= most, "{cut} were cut off, of {most} that may have been under way");
        let (told, most) = (sum.told, fabrikam.accepted.get() * MOST_IN_DOUBT);
        ensure!(
            told <= most,
            "users were told that {told} may be lost, of {most} that may have been in doubt"
        );
        for (partner, streams) in [(&wingtip, 1), (&tailspin, 1)] {
            let counts = (partner.opened.get(), partner.accepted.get());
            ensure!(counts == (streams, streams), "a partner was disturbed: {counts:?}");
        }
        let counts = (fabrikam.opened.get(), fabrikam.accepted.get());
        ensure!(counts.0 > 1 && counts.1 > 1, "fabrikam.com was never disturbed: {counts:?}");

        // How far this run was from a thousand messages in a second is told: most of all, what the machine had no room for.
        let achieved = Achieved { sent, time, pace }.to_string();
        let share = format!("of {} turns {full} (", pace.offered);
        ensure!(achieved.contains(&share), "{share} is not told: {achieved}");
        println!("{CHANGES} changes: {achieved}");
    }
    ensure!(gateway.stop().await?.success(), "{}", town.log.tail(40).join("\n"));
    Ok(())
}
