//! What the administrator changes while a thousand messages a second go both ways: no message is lost or doubled, by what
//! senders and receivers saw, and none crosses that the rules of its moment forbid.

mod front_end;
mod ledger;
mod partner;
mod rules;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio_world::wait::{until, within_time};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use self::front_end::{AT_ONCE, EVERY, MOST_UNDER_WAY};
use self::ledger::Ledger;
use self::partner::Partner;
use self::rules::{ALICE, CARL, CAROL, DAVE, Rules, TINA, TOM, URSULA, Way};
use crate::town::{Town, takes_all};

const CHANGES: usize = 200;
/// Messages between two changes.
const APART: usize = 60;
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
}

const KINDS: [Change; 8] = [
    Change::Enabled,
    Change::Trust,
    Change::Policy,
    Change::Block,
    Change::Certificate,
    Change::SipCertificate,
    Change::Limit,
    Change::File,
];

/// The administrator.
struct Admin<'a> {
    town: &'a Town,
    client: Client,
    ledger: &'a RefCell<Ledger>,
    changed: watch::Sender<u64>,
    /// The file without the partner that comes and goes.
    file: String,
}

impl Admin<'_> {
    async fn asks(&self, method: Method, path: &str, body: Option<Value>) -> Result<()> {
        let reply = self.client.ask(method.clone(), path, body.as_ref()).await?;
        let said = String::from_utf8_lossy(&reply.body);
        ensure!(reply.status.is_success(), "{method} {path}: {} {said}", reply.status);
        Ok(())
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
            Change::Certificate | Change::SipCertificate | Change::Limit | Change::File => {}
        }
        self.ledger.borrow_mut().history.ask(rules);
        let pki = &self.town.pki;
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
                pki.good("gateway-contoso", &["contoso.com"])?;
                self.asks(Method::POST, "/v1/reload", None).await?;
            }
            Change::SipCertificate => {
                pki.good("gateway-sip", &["nuncio.contoso.com"])?;
                self.asks(Method::POST, "/v1/reload", None).await?;
            }
            Change::Limit => {
                let body = json!({ "stanzas_per_second": if odd_round { 20_000 } else { 30_000 } });
                self.asks(Method::PATCH, "/v1/partners/tailspin.com", Some(body)).await?;
            }
            Change::File => {
                let more = "[[partner]]\ndomain = \"litware-partner.example\"\ntype = \"federated\"\n";
                let text = format!("{}{}", self.file, if odd_round { more } else { "" });
                std::fs::write(self.town.folder().join("nuncio.toml"), text)?;
                self.asks(Method::POST, "/v1/reload", None).await?;
            }
        }
        self.ledger.borrow_mut().history.told();
        self.changed.send_modify(|changes| *changes += 1);
        Ok(())
    }
}

/// The contacts write until `stopped`.
async fn contacts_write(
    partners: &[Rc<Partner<'_>>],
    ledger: &RefCell<Ledger>,
    stopped: &Cell<bool>,
) -> Infallible {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut turns = TURNS.into_iter().cycle();
    loop {
        tick.tick().await;
        for (contact, user) in turns.by_ref().take(AT_ONCE) {
            if stopped.get() || ledger.borrow().under_way(Way::ToSip) >= MOST_UNDER_WAY {
                break;
            }
            partners.iter().filter(|partner| partner.is_of(contact)).for_each(|it| it.send(contact, user));
        }
    }
}

#[tokio::test]
async fn two_hundred_changes_under_load_lose_and_double_nothing_and_let_nothing_pass_that_they_forbid()
-> Result<()> {
    let town = Town::with_zone(|zone, at| {
        [("wingtip.com", 3), ("fabrikam.com", 6), ("tailspin.com", 7)].into_iter().fold(
            zone.host("fe.contoso.com", at(2)),
            |zone, (domain, host)| {
                let name = format!("xmpp.{domain}");
                zone.host(&name, at(host)).xmpp(domain, &name, 5269)
            },
        )
    })
    .await?;
    // Nobody is kept out for having tried while he was switched off.
    let mut gateway = town.gateway("xmpp.failures_per_address = 1000000").await?;
    let first =
        Rules { fabrikam_enabled: true, tailspin_public: false, dave_denied: false, carl_blocked: false };
    let ledger = RefCell::new(Ledger::new(first));
    let (changed, changes) = watch::channel(0);
    let admin = Admin {
        town: &town,
        client: Client::new(town.control()),
        ledger: &ledger,
        changed,
        file: std::fs::read_to_string(town.folder().join("nuncio.toml"))?,
    };
    for domain in ["fabrikam.com", "tailspin.com"] {
        admin
            .asks(Method::POST, "/v1/partners", Some(json!({ "domain": domain, "type": "federated" })))
            .await?;
    }

    let found =
        |domain, host| Partner::found(domain, &town.pki, town.somewhere(host, 5269), town.xmpp(), &ledger);
    let (wingtip, for_wingtip) = found("wingtip.com", 3).await?;
    let (fabrikam, for_fabrikam) = found("fabrikam.com", 6).await?;
    let (tailspin, for_tailspin) = found("tailspin.com", 7).await?;
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
            async { Ok(contacts_write(&partners, &ledger, &stopped).await) },
        )
    };
    let began = Instant::now();
    let administration = async {
        for number in 0..CHANGES {
            let enough = ledger.borrow().sent() + APART;
            until("messages to be sent", || async { ledger.borrow().sent() >= enough }).await?;
            admin.makes(number).await.with_context(|| format!("change {number}"))?;
        }
        stopped.set(true);
        let at_rest = || async {
            let ledger = ledger.borrow();
            ledger.under_way(Way::ToXmpp) + ledger.under_way(Way::ToSip) == 0
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

    let sum = ledger.borrow().check()?;
    let sent = ledger.borrow().sent();
    println!("{sent} messages in {time:.1?} ({:.0}/s): {sum:?}", sent as f64 / time.as_secs_f64());
    ensure!(sum.crossed > sum.refused && sum.refused > 500, "hardly anything was tried: {sum:?}");
    for (partner, streams) in [(&wingtip, 1), (&tailspin, 1)] {
        let counts = (partner.opened.get(), partner.accepted.get());
        ensure!(counts == (streams, streams), "a partner was disturbed: {counts:?}");
    }
    let counts = (fabrikam.opened.get(), fabrikam.accepted.get());
    ensure!(counts.0 > 1 && counts.1 > 1, "fabrikam.com was never disturbed: {counts:?}");
    ensure!(gateway.stop().await?.success(), "{}", town.log.tail(40).join("\n"));
    Ok(())
}
