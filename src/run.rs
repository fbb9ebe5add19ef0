//! Running the gateway.

use crate::config::Config;

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// Always, for now: the sides are not connected to each other yet.
pub async fn run(config: Config) -> anyhow::Result<()> {
    anyhow::bail!("node {}: the gateway is not wired yet", config.node.label)
}
