//! How many pairs there are, by the domains of the two.

use std::path::Path;

use super::{FILE, StoreError, file, schema};

/// The pairs on record of one domain of ours with one domain outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// The SIP users' domain.
    pub local: String,
    /// The contacts' domain.
    pub remote: String,
    pub pairs: u64,
    /// Those in which the SIP user has added the contact.
    pub added: u64,
}

/// Counts them, in the order of the domains. Changes nothing. The gateway may run.
///
/// # Errors
/// There is no database, or it cannot be read.
pub fn census(state_dir: &Path) -> Result<Vec<Census>, StoreError> {
    let path = state_dir.join(FILE);
    let connection = file::open_to_read(&path)?;
    schema::identify(&path, &connection)?;
    let count = |error| StoreError::sqlite(&path, &error);
    let mut statement = connection.prepare(COUNT).map_err(count)?;
    let rows = statement.query_map((), |row| {
        let number = |column| row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or_default());
        Ok(Census { local: row.get(0)?, remote: row.get(1)?, pairs: number(2)?, added: number(3)? })
    });
    rows.and_then(Iterator::collect).map_err(count)
}

/// Both addresses are bare ones: what is behind the @, or all of it, is the domain.
const COUNT: &str = "SELECT substr(sip_user, instr(sip_user, '@') + 1) AS local, \
    substr(contact, instr(contact, '@') + 1) AS remote, count(*), count(added_since) \
    FROM pair GROUP BY local, remote ORDER BY remote, local";
