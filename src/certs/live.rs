//! Whether the listeners of a running gateway show what was put in its place.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Assigned, Seen, Side, listening, see};
use crate::config::Config;

/// What a listener shows after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Whether it shows what is in its place; `None`: nobody listens there.
    pub shown: Option<bool>,
    /// The same for people.
    pub text: String,
}

/// Waits until the gateway, if it runs here, shows what is in its place.
pub async fn live(config: &Config, assigned: &[Assigned]) -> Vec<Live> {
    /// What it may take besides the interval at which the gateway looks: files that are replaced one after the other settle.
    const SETTLE: Duration = Duration::from_secs(8);
    let patience = config.limits.file_check.min(Duration::from_secs(60)) + SETTLE;
    let mut live = Vec::new();
    for assigned in assigned {
        if assigned.needs_restart {
            let text = format!(
                "{} is handed over when the gateway starts: a gateway that runs goes on with both files from before until \
                 systemctl restart nuncio",
                assigned.place.key.display()
            );
            live.push(Live { shown: None, text });
            continue;
        }
        for used in &assigned.place.uses {
            let fallback = config.sip.name.host.to_string();
            let name = used.names.first().unwrap_or(&fallback);
            for address in listening(config, used.side) {
                live.push(shows(used.side, address, name, assigned, patience).await);
            }
        }
    }
    live
}

async fn shows(side: Side, address: SocketAddr, name: &str, assigned: &Assigned, patience: Duration) -> Live {
    const GLANCE: Duration = Duration::from_millis(500);
    let end = tokio::time::Instant::now() + patience;
    loop {
        let (shown, said) = match see(side, address, name).await {
            Seen::Certificate(seen) if seen.sha256 == assigned.sha256 => {
                return Live {
                    shown: Some(true),
                    text: format!("{address} shows it to who asks for {name}"),
                };
            }
            Seen::Certificate(seen) => {
                (Some(false), format!("still shows the one with serial {}", seen.serial))
            }
            Seen::NoHandshake(why) => (Some(false), format!("cannot be asked: {why}")),
            Seen::NoConnection(why) => {
                let text = format!("{address}: {why}; a gateway that is started here uses it from then on");
                return Live { shown: None, text };
            }
        };
        if tokio::time::Instant::now() >= end {
            let text = format!("{address} {said} to who asks for {name}: the log of the gateway says why");
            return Live { shown, text };
        }
        tokio::time::sleep(GLANCE).await;
    }
}
