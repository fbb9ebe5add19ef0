//! Whether files have changed, without reading them each time.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that changed so recently may have changed again within the same tick of the file system's clock.
const YOUNG: Duration = Duration::from_secs(2);

/// What some files look like from outside. Links are followed, so that a link to another folder is a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    files: Vec<Option<Outside>>,
    young: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outside {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    /// Also when the permissions change, which may be what makes a file readable.
    changed: (i64, i64),
}

impl Look {
    /// Looks at the files now.
    pub(super) fn at(files: &[PathBuf], now: SystemTime) -> Self {
        let files: Vec<_> = files.iter().map(|file| Outside::of(file).ok()).collect();
        let youngest = files.iter().flatten().map(|file| file.changed.0).max();
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let young = youngest.is_some_and(|second| {
            u64::try_from(second).is_ok_and(|second| Duration::from_secs(second) + YOUNG > now)
        });
        Self { files, young }
    }

    /// Whether the files may hold something else than when this look was taken, given a later one.
    pub(super) fn differs(&self, later: &Self) -> bool {
        self.young || self.files != later.files
    }
}

impl Outside {
    fn of(file: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(file)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file, and a time at which it is not young any more.
    fn file() -> (tempfile::TempDir, PathBuf, SystemTime) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        (folder, path, SystemTime::now() + Duration::from_secs(60))
    }

    #[test]
    fn a_file_that_nobody_touches_is_the_same() {
        let (_folder, path, later) = file();
        let files = [path];
        let look = Look::at(&files, later);
        assert!(!look.differs(&Look::at(&files, later + Duration::from_secs(60))));
    }

    #[test]
    fn a_file_that_comes_goes_or_is_replaced_is_another() {
        let (folder, path, later) = file();
        let files = [path.clone()];
        let first = Look::at(&files, later);
        fs::remove_file(&path).unwrap();
        let gone = Look::at(&files, later);
        assert!(first.differs(&gone));
        fs::write(folder.path().join("b"), "1").unwrap();
        fs::rename(folder.path().join("b"), &path).unwrap();
        let back = Look::at(&files, later);
        assert!(gone.differs(&back));
        assert!(first.differs(&back), "the same content in another file");
    }

    #[test]
    fn a_young_file_is_looked_into_again() {
        let (_folder, path, _) = file();
        let files = [path];
        let now = SystemTime::now();
        let look = Look::at(&files, now);
        assert!(look.differs(&Look::at(&files, now)), "it was written this moment, and may be again");
    }
}
