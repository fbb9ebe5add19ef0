//! The audit trail as data, for whoever asks while the gateway runs (SEC-48).

use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::{FILE, Fault, StoreError, file, schema};
use crate::config::{both_forms, printable};

/// Most entries of one answer.
pub const AUDIT_MOST: usize = 10_000;

/// What is asked for: entries that fit in all of this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery<'a> {
    /// Seconds of Unix time: this late or later.
    pub since: Option<u64>,
    /// Those before this one: the last `id` of the answer before, for the next page.
    pub before: Option<i64>,
    /// Part of who did it, or of what it was done to. Here and below capitals make no difference.
    pub with: Option<&'a str>,
    /// Part of what it was done to.
    pub subject: Option<&'a str>,
    /// Part of who did it.
    pub actor: Option<&'a str>,
    /// At most so many, and never more than [`AUDIT_MOST`].
    pub limit: usize,
}

/// One entry of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    /// Grows with each entry.
    pub id: i64,
    /// Seconds of Unix time.
    pub at: u64,
    pub actor: String,
    pub what: String,
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Looks in the audit trail on disk, the latest first; what waits to be written is not there yet. Changes nothing, and waits for
/// the disk. No text of an entry has a control character in it.
///
/// # Errors
/// There is no database, or it cannot be read.
pub fn audit(state_dir: &Path, query: &AuditQuery<'_>) -> Result<Vec<AuditRow>, StoreError> {
    let path = state_dir.join(FILE);
    // The gateway itself asks, too: it must not open the file and close it again beside SQLite, whose locks would be gone
    // (fcntl(2)).
    if !path.exists() {
        return Err(StoreError::new(&path, Fault::Absent, ""));
    }
    let connection = file::open_to_read(&path)?;
    schema::identify(&path, &connection)?;
    entries(&connection, query).map_err(|error| StoreError::sqlite(&path, &error))
}

fn entries(connection: &Connection, query: &AuditQuery<'_>) -> rusqlite::Result<Vec<AuditRow>> {
    let part = |text: Option<&str>| text.unwrap_or_default().to_lowercase();
    // Parts of domains and addresses, which are on record in either form.
    let (subject_a, subject_u) = both_forms(&part(query.subject));
    let (with_a, with_u) = both_forms(&part(query.with));
    let since = i64::try_from(query.since.unwrap_or_default()).unwrap_or(i64::MAX);
    let limit = i64::try_from(query.limit.min(AUDIT_MOST)).unwrap_or_default();
    let (before, with) = (query.before.unwrap_or(i64::MAX), part(query.with));
    let asked = (
        since,
        before,
        part(query.subject),
        part(query.actor),
        with,
        limit,
        subject_a,
        subject_u,
        with_a,
        with_u,
    );
    let mut statement = connection.prepare(
        "SELECT id, at, actor, what, subject, was, became FROM audit \
         WHERE at >= ?1 AND id < ?2 AND instr(lower(actor), ?4) > 0 \
         AND (instr(lower(subject), ?3) > 0 OR instr(lower(subject), ?7) > 0 OR instr(lower(subject), ?8) > 0) \
         AND (instr(lower(subject), ?5) > 0 OR instr(lower(subject), ?9) > 0 OR instr(lower(subject), ?10) > 0 \
              OR instr(lower(actor), ?5) > 0) \
         ORDER BY id DESC LIMIT ?6",
    )?;
    statement.query_map(asked, entry)?.collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let text = |column| row.get::<_, Option<String>>(column).map(|text| text.map(shown));
    let some = |column| text(column).map(Option::unwrap_or_default);
    Ok(AuditRow {
        id: row.get(0)?,
        at: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
        actor: some(2)?,
        what: some(3)?,
        subject: some(4)?,
        from: text(5)?,
        to: text(6)?,
    })
}

fn shown(text: String) -> String {
    text.chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trail of ten entries; every third is an administrator's.
    fn trail() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        file::create(&path).unwrap();
        let mut connection = file::open(&path).unwrap();
        schema::migrate(&path, &mut connection).unwrap();
        for number in 0..10 {
            let actor = if number % 3 == 0 { "Admin\u{7}" } else { "nuncio" };
            let entry = (1000 + number, actor, "partner.changed", format!("P{number}.example"), "old", "new");
            connection
                .execute("INSERT INTO audit (at, actor, what, subject, was, became) VALUES (?1, ?2, ?3, ?4, ?5, ?6)", entry)
                .unwrap();
        }
        folder
    }

    fn times(folder: &tempfile::TempDir, query: &AuditQuery<'_>) -> Vec<u64> {
        audit(folder.path(), query).unwrap().iter().map(|row| row.at).collect()
    }

    const ALL: AuditQuery<'static> =
        AuditQuery { since: None, before: None, with: None, subject: None, actor: None, limit: AUDIT_MOST };

    #[test]
    fn sec_48_the_latest_come_first_and_page_by_page() {
        let folder = trail();
        assert_eq!(times(&folder, &AuditQuery { limit: 3, ..ALL }), [1009, 1008, 1007]);
        let first = audit(folder.path(), &AuditQuery { limit: 3, ..ALL }).unwrap();
        let next = AuditQuery { before: first.last().map(|row| row.id), limit: 2, ..ALL };
        assert_eq!(times(&folder, &next), [1006, 1005]);
        assert!(times(&folder, &AuditQuery { limit: 0, ..ALL }).is_empty());
    }

    #[test]
    fn sec_48_time_actor_and_subject_narrow_it() {
        let folder = trail();
        assert_eq!(times(&folder, &AuditQuery { since: Some(1008), ..ALL }), [1009, 1008]);
        assert_eq!(times(&folder, &AuditQuery { actor: Some("ADMIN"), ..ALL }), [1009, 1006, 1003, 1000]);
        assert_eq!(times(&folder, &AuditQuery { subject: Some("p3.ex"), ..ALL }), [1003]);
        assert!(
            times(&folder, &AuditQuery { actor: Some("nuncio"), subject: Some("p3."), ..ALL }).is_empty()
        );
        assert_eq!(times(&folder, &AuditQuery { with: Some("P3."), ..ALL }), [1003]);
        assert_eq!(times(&folder, &AuditQuery { with: Some("admin"), limit: 2, ..ALL }), [1009, 1006]);
        let connection = file::open(&folder.path().join(FILE)).unwrap();
        for (at, subject) in [(2000, "xn--bcher-kva.example"), (2001, "mallory@bücher.example")] {
            let sql = "INSERT INTO audit (at, actor, what, subject) VALUES (?1, 'root', 'block.created', ?2)";
            connection.execute(sql, (at, subject)).unwrap();
        }
        for text in ["Bücher.example", "xn--bcher-kva.example", "bücher"] {
            assert_eq!(times(&folder, &AuditQuery { with: Some(text), ..ALL }), [2001, 2000], "{text}");
            assert_eq!(times(&folder, &AuditQuery { subject: Some(text), ..ALL }), [2001, 2000], "{text}");
        }
        let user = "mallory@xn--bcher-kva.example";
        assert_eq!(times(&folder, &AuditQuery { with: Some(user), ..ALL }), [2001]);
        assert!(times(&folder, &AuditQuery { subject: Some("%"), ..ALL }).is_empty(), "no wildcards");
    }

    #[test]
    fn an_entry_is_plain_data_without_control_characters() {
        let row = audit(trail().path(), &AuditQuery { since: Some(1009), ..ALL }).unwrap().remove(0);
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(
            text,
            "{\"id\":10,\"at\":1009,\"actor\":\"Admin\u{fffd}\",\"what\":\"partner.changed\",\"subject\":\"P9.example\",\
             \"from\":\"old\",\"to\":\"new\"}"
        );
    }

    #[test]
    fn without_a_database_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = audit(folder.path(), &ALL).unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
}
