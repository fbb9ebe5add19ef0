//! An administrator's word while the gateway is stopped.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{
    AuditEntry, Committed, FILE, Fault, Keep, Outcome, Store, StoreError, StoreOptions, Ticket, file,
};

/// How long the disk may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Forgets that a partner's domain proved itself by certificate, so that dialback alone is taken again (SEC-11), and adds
/// that to the audit trail. `at`: seconds of Unix time. `false`: there was nothing to forget.
///
/// # Errors
/// There is no database, it cannot be used, or the gateway runs.
pub fn allow_dialback(state_dir: &Path, domain: &str, at: u64) -> Result<bool, StoreError> {
    let path = state_dir.join(FILE);
    if file::look(&path)? == file::Found::Nothing {
        return Err(StoreError::new(&path, Fault::Absent, ""));
    }
    // How long the trail is kept is for the gateway to say.
    let forever =
        StoreOptions { audit_age: Duration::MAX, audit_entries: usize::MAX, ..StoreOptions::default() };
    let opened = Store::open(state_dir, forever)?;
    // A gateway would go on from memory; here there is nobody to go on.
    if let Some(error) = opened.unwritable {
        return Err(error);
    }
    let store = opened.store;
    if !store.proved().iter().any(|proved| proved == domain) {
        return Ok(false);
    }
    store.set_proved(domain, false);
    store.audit(AuditEntry::dialback_allowed(domain, "administrator", at));
    store.start(Arc::new(Nobody)).map_err(|error| StoreError::io(&path, &error))?;
    store.close(PATIENCE)?;
    Ok(true)
}

/// Nobody waits.
struct Nobody;

impl Committed for Nobody {
    fn committed(&self, _up_to: Ticket, _outcome: Outcome) {}
}
