//! Whether the log beside the database is whole, before SQLite takes it up after a crash.
//!
//! SQLite reads the log up to the first frame that is not right and takes what follows for a transaction that a power cut
//! interrupted. That is right for the last one, and for no other: with `synchronous = FULL` each transaction is on the disk
//! before the next one begins. So where a whole transaction stands behind a frame that is not right, that was damaged later, and
//! what had been reported as saved would go without a word. (Damage up to the very end looks like a power cut.)
//!
//! When all of the log has been taken over into the database, and that is on the disk, SQLite begins again at its front: with a
//! new header, which is on the disk before the first frame goes over the old ones. A power cut may tear that header. So one that
//! is not right tells nothing by itself; what the frames behind it hold is held against the database.
//!
//! The format: <https://sqlite.org/fileformat2.html#walformat>.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::file::with_suffix;
use super::{Fault, StoreError};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit says in which order of bytes the sums were made.
const MAGIC: u32 = 0x377f_0682;

/// What is wrong with the log of this database; `None`: nothing, or there is none. Nobody else may have the database open.
///
/// # Errors
/// It cannot be read.
pub(super) fn damage(database: &Path) -> io::Result<Option<String>> {
    match fs::read(with_suffix(database, "-wal")) {
        Ok(log) => Ok(damaged(&log, database)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Before it is opened to write: SQLite passes over what is damaged, and what stands behind it is gone then. Nobody else may have
/// the database open.
///
/// # Errors
/// The log is damaged, or cannot be read.
pub(super) fn check(database: &Path) -> Result<(), StoreError> {
    match damage(database).map_err(|error| StoreError::io(database, &error))? {
        Some(damage) => Err(StoreError::new(database, Fault::DamagedLog, damage)),
        None => Ok(()),
    }
}

fn damaged(log: &[u8], database: &Path) -> Option<String> {
    // The header is on the disk before the first frame.
    let (header, frames) = log.split_at_checked(HEADER)?;
    if frames.is_empty() {
        return None;
    }
    let Some((sums, page)) = begin(header) else {
        let lost = !is_taken_over(frames, database);
        return lost.then(|| "its log, nuncio.db-wal, has lost its beginning".to_owned());
    };
    let salts = header.get(16..24)?;
    let (mut before, mut wrong, mut ended) = (Some(sums), None, false);
    for (number, frame) in frames.chunks_exact(FRAME_HEADER + page).enumerate() {
        let (head, content) = frame.split_at_checked(FRAME_HEADER)?;
        let (about, stored) = (head.get(..8)?, head.get(16..24)?);
        let of_this_log = head.get(8..16)? == salts;
        // Each frame's sums go on from those of the one before, so what an earlier log left behind does not follow.
        let follows = of_this_log && before.is_some_and(|sums| sums.add(about).add(content).are(stored));
        if let (Some(first), true, true) = (wrong, ended, follows) {
            let text = format!("its log, nuncio.db-wal, is not what was written from frame {first} on");
            return Some(text);
        }
        if !follows && wrong.is_none() {
            wrong = Some(number);
        }
        // The last frame of a transaction says how large the database is: another one follows only if that is on the disk.
        ended = wrong.is_some() && of_this_log && word(about.get(4..8)?, u32::from_be_bytes) != 0;
        before = of_this_log.then(|| Sums::read(stored, sums.read));
    }
    None
}

/// Whether the database has all that was committed to a log without its header. Only that tells a header that a power cut has
/// torn from one that was damaged later: the frames behind the one are those of the log before, as whole as behind the other.
fn is_taken_over(frames: &[u8], database: &Path) -> bool {
    // Not before it has to be: whoever has the database open in this process loses his locks when this one is closed (fcntl(2)).
    let Ok(database) = File::open(database) else { return false };
    // The size of a page stands in the database as well, with 1 for what 16 bits do not hold.
    let mut size = [0; 2];
    if database.read_exact_at(&mut size, 16).is_err() {
        return false;
    }
    let page = match u16::from_be_bytes(size) {
        1 => 65_536,
        size => usize::from(size),
    };
    let frames =
        frames.chunks_exact(FRAME_HEADER + page).filter_map(|frame| frame.split_at_checked(FRAME_HEADER));
    let (mut salts, mut open, mut committed, mut pages) = (None, BTreeMap::new(), BTreeMap::new(), 0);
    for (head, content) in frames {
        // What has other salts was left behind by logs before.
        let of_log = head.get(8..16);
        if *salts.get_or_insert(of_log) != of_log {
            break;
        }
        let of = |from| head.get(from..from + 4).map_or(0, |bytes| word(bytes, u32::from_be_bytes));
        open.insert(of(0), content);
        // The last frame of a transaction says how large the database is.
        if of(4) != 0 {
            pages = of(4);
            committed.append(&mut open);
        }
    }
    let mut there = vec![0; page];
    let mut has = |number: u32, content: &[u8]| {
        let Some(before) = number.checked_sub(1) else { return false };
        let from = u64::from(before) * page as u64;
        database.read_exact_at(&mut there, from).is_ok() && there == content
    };
    // Nothing that was ever committed is nothing that SQLite begins with.
    !committed.is_empty() && committed.range(..=pages).all(|(number, content)| has(*number, content))
}

/// The sums of the header and the size of a page; `None`: it is not what SQLite writes.
fn begin(header: &[u8]) -> Option<(Sums, usize)> {
    let magic = word(header.get(..4)?, u32::from_be_bytes);
    let read = match magic {
        MAGIC => u32::from_le_bytes,
        _ if magic == MAGIC | 1 => u32::from_be_bytes,
        _ => return None,
    };
    let page = word(header.get(8..12)?, u32::from_be_bytes);
    let sums = Sums { one: 0, two: 0, read }.add(header.get(..24)?);
    let right = sums.are(header.get(24..HEADER)?) && (512..=65_536).contains(&page) && page.is_power_of_two();
    right.then_some((sums, usize::try_from(page).ok()?))
}

/// The sums of all that stands before.
#[derive(Clone, Copy)]
struct Sums {
    one: u32,
    two: u32,
    read: fn([u8; 4]) -> u32,
}

impl Sums {
    fn add(self, bytes: &[u8]) -> Self {
        bytes.chunks_exact(8).fold(self, |Self { one, two, read }, pair| {
            let (first, second) = pair.split_at(4);
            let one = one.wrapping_add(word(first, read)).wrapping_add(two);
            let two = two.wrapping_add(word(second, read)).wrapping_add(one);
            Self { one, two, read }
        })
    }

    /// As they stand in the log.
    fn read(stored: &[u8], read: fn([u8; 4]) -> u32) -> Self {
        let (one, two) = stored.split_at_checked(4).unwrap_or_default();
        Self { one: word(one, u32::from_be_bytes), two: word(two, u32::from_be_bytes), read }
    }

    fn are(self, stored: &[u8]) -> bool {
        let stored = Self::read(stored, self.read);
        (self.one, self.two) == (stored.one, stored.two)
    }
}

fn word(bytes: &[u8], read: fn([u8; 4]) -> u32) -> u32 {
    bytes.try_into().map_or(0, read)
}
