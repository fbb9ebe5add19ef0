//! The front end under load: it sends what its users write, and takes what is for them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;

use anyhow::{Context, Result};
use nuncio_world::sip_agent::{SipConnection, SipServer};

use super::ledger::Ledger;
use super::pace::{AT_ONCE, ticks};
use super::rules::{ALICE, CARL, CAROL, DAVE, TOM, URSULA, Way};

/// Who writes to whom, in turn.
pub(crate) const TURNS: [(&str, &str); 8] = [
    (ALICE, CAROL),
    (DAVE, CAROL),
    (ALICE, URSULA),
    (DAVE, URSULA),
    (ALICE, TOM),
    (DAVE, TOM),
    (ALICE, CARL),
    (DAVE, CARL),
];

/// Writes until `stopped`.
pub(crate) async fn calls(
    mut connection: SipConnection,
    ledger: &RefCell<Ledger>,
    stopped: &Cell<bool>,
) -> Result<Infallible> {
    let mut tick = ticks();
    let mut asked = HashMap::new();
    let mut turns = TURNS.into_iter().cycle();
    loop {
        tokio::select! {
            answer = connection.next() => {
                let answer = answer?.context("the gateway has closed the connection of the front end")?;
                let status = answer.status().with_context(|| format!("on the front end's connection:\n{answer}"))?;
                if status >= 200 {
                    let call = answer.header("Call-ID").unwrap_or_default();
                    let number = asked.remove(call).with_context(|| format!("an answer to nothing:\n{answer}"))?;
                    ledger.borrow_mut().answered(number, status);
                }
            }
            _ = tick.tick(), if !stopped.get() => {
                for (user, contact) in turns.by_ref().take(AT_ONCE) {
                    if !ledger.borrow_mut().turn(Way::ToXmpp, contact, 0) {
                        continue;
                    }
                    let number = ledger.borrow_mut().send(Way::ToXmpp, user, contact);
                    let call = connection.send_message(user, contact, &format!("message {number}")).await?;
                    asked.insert(call, number);
                }
            }
        }
    }
}

/// Takes what comes.
pub(crate) async fn answers(mut server: SipServer, ledger: &RefCell<Ledger>) -> Result<Infallible> {
    loop {
        // Nothing may come for a while.
        let Ok(request) = server.next_message().await else { continue };
        let (from, to) = (request.address("From")?, request.address("To")?);
        let (from, to) = (from.trim_start_matches("sip:"), to.trim_start_matches("sip:"));
        let mut ledger = ledger.borrow_mut();
        if request.body.starts_with("message ") {
            ledger.arrived(Way::ToSip, from, to, &request.body);
        } else {
            ledger.told_later(to, from, &request.body);
        }
    }
}
