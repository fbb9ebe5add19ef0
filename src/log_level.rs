//! How much is logged, which a reload changes: whoever looks for a fault cannot have the gateway restarted for it.

use std::fmt;
use std::sync::Arc;

/// Sets the level of the log.
#[derive(Clone, Default)]
pub struct LogLevel(Option<Arc<Set>>);

type Set = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl LogLevel {
    /// By this.
    pub fn new(set: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(set)))
    }

    /// From now on it is this one, which the configuration has found to be one.
    pub(crate) fn set(&self, level: &str) {
        if let Some(set) = &self.0
            && let Err(error) = set(level)
        {
            tracing::error!("the level of the log stays as it was: {error}");
        }
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevel")
    }
}
