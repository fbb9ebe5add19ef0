//! Writing files so that nobody ever finds half of one, or a key that is not his.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Why a file could not be written or moved.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is one, and nobody asked for it to be replaced.
    #[error("{} exists; it is not overwritten unless you say so", .0.display())]
    Exists(PathBuf),
    /// The place is a link, and whoever made it looks after what it leads to.
    #[error(
        "{} is a link to {}: whoever made it, an ACME client perhaps, looks after the file; name another place in the \
         configuration, or renew where the link leads", .link.display(), .leads_to.display()
    )]
    Link {
        /// The link.
        link: PathBuf,
        /// What it leads to.
        leads_to: PathBuf,
    },
    /// The system's error.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Keys had given way when something failed, and could not be put back.
    #[error("{error}; keys that waited there for their certificates are kept as {}", list(.files))]
    Away {
        /// What failed.
        error: Box<Self>,
        /// Where the keys are.
        files: Vec<PathBuf>,
    },
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// Who may do what with a file: its mode, and its owner and group where they can be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) owner: Option<(u32, u32)>,
}

impl Access {
    /// Of a new key that will replace the file at `place`: of its owner, and of nobody else.
    pub(super) fn of_new_key(place: &Path) -> Self {
        Self { mode: 0o600, owner: owner_of(place) }
    }

    /// Of a key in its place: as the one before it; a group that could read that one can read it still. The first one is for
    /// the group that its directory is for, as `/etc/nuncio` is for the service, which could not start without. Nobody else
    /// can read it.
    pub(super) fn of_key(place: &Path) -> Self {
        let before = fs::metadata(place).map(|metadata| metadata.mode());
        let group = before.unwrap_or_else(|_| {
            let directory = fs::metadata(folder(place)).map_or(0, |metadata| metadata.mode());
            // Kept from all others, and not from the group: that is who it is for.
            if directory & 0o057 == 0o050 { 0o040 } else { 0 }
        });
        Self { mode: 0o600 | (group & 0o040), ..Self::of_new_key(place) }
    }

    /// Of what everybody may know.
    pub(super) fn public(place: &Path) -> Self {
        Self { mode: 0o644, owner: owner_of(place) }
    }

    /// Gives it to a file.
    pub(super) fn give(self, path: &Path) -> Result<(), FileError> {
        let given = File::open(path).and_then(|file| self.give_file(&file));
        given.map_err(|error| FileError::Io { path: path.into(), error })
    }

    fn give_file(self, file: &File) -> io::Result<()> {
        if let Some((user, group)) = self.owner.filter(|_| rustix::process::geteuid().is_root()) {
            fchown(file, Some(user), Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(self.mode))
    }
}

/// The owner of a file, or else of the directory that it would be in.
fn owner_of(place: &Path) -> Option<(u32, u32)> {
    let metadata = fs::metadata(place).or_else(|_| fs::metadata(folder(place))).ok()?;
    Some((metadata.uid(), metadata.gid()))
}

/// The path with something behind it: `contoso.pem.new`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Whether there is a file to replace; a link is none.
pub(super) fn exists(path: &Path) -> Result<bool, FileError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            let leads_to = fs::read_link(path).unwrap_or_default();
            Err(FileError::Link { link: path.into(), leads_to })
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::Io { path: path.into(), error }),
    }
}

/// Writes a file: under another name in the same directory, to the disk, and then in its place. Nobody but its owner can
/// read it before it has its access. With `replace` an older one goes.
pub(super) fn write(path: &Path, content: &[u8], access: Access, replace: bool) -> Result<(), FileError> {
    let failed = |error| FileError::Io { path: path.into(), error };
    if exists(path)? && !replace {
        return Err(FileError::Exists(path.into()));
    }
    let draft = beside(path, &format!(".{:016x}", rand::random::<u64>()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        access.give_file(&file)?;
        file.sync_all()
    })();
    let placed = written.map_err(failed).and_then(|()| rename(&draft, path, replace));
    if placed.is_err() {
        // What is left of it may be a key.
        let _ = fs::remove_file(&draft);
    }
    placed
}

/// Moves a file within its directory, and sees to it that the disk knows.
pub(super) fn rename(from: &Path, to: &Path, replace: bool) -> Result<(), FileError> {
    let renamed = match replace {
        true => fs::rename(from, to),
        false => renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from),
    };
    settled(renamed, to)
}

/// Has two files of one directory change places, at once.
pub(super) fn exchange(one: &Path, other: &Path) -> Result<(), FileError> {
    settled(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(io::Error::from), other)
}

fn settled(renamed: io::Result<()>, to: &Path) -> Result<(), FileError> {
    match renamed.and_then(|()| File::open(folder(to))?.sync_all()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(FileError::Exists(to.into())),
        Err(error) => Err(FileError::Io { path: to.into(), error }),
    }
}

pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Access = Access { mode: 0o600, owner: None };

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_whole_private_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write(&path, b"secret", SECRET, false).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (b"secret".as_slice(), 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a draft is left");
    }

    #[test]
    fn nothing_is_overwritten_unless_somebody_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write(&path, b"one", SECRET, false).unwrap();
        assert!(matches!(write(&path, b"two", SECRET, false), Err(FileError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        let other = folder.path().join("b");
        fs::write(&other, "three").unwrap();
        assert!(matches!(rename(&other, &path, false), Err(FileError::Exists(_))));
        write(&path, b"two", SECRET, true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a draft is left");
    }

    #[test]
    fn a_link_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("live.pem"), folder.path().join("archive.pem"));
        fs::write(&file, "theirs").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let refused = write(&link, b"ours", SECRET, true);
        assert!(
            matches!(&refused, Err(FileError::Link { leads_to, .. }) if *leads_to == file),
            "{refused:?}"
        );
        assert_eq!(fs::read(&file).unwrap(), b"theirs");
    }

    #[test]
    fn the_first_key_is_for_the_group_that_its_directory_is_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        for (directory, key) in
            [(0o750, 0o640), (0o770, 0o640), (0o700, 0o600), (0o755, 0o600), (0o710, 0o600)]
        {
            fs::set_permissions(folder.path(), Permissions::from_mode(directory)).unwrap();
            assert_eq!(Access::of_key(&path).mode, key, "{directory:o}");
        }
    }

    #[test]
    fn a_key_keeps_the_group_that_may_read_it_and_loses_everybody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        assert_eq!(Access::of_key(&path).mode, 0o600, "there was none");
        fs::write(&path, "old").unwrap();
        for (before, after) in [(0o600, 0o600), (0o640, 0o640), (0o664, 0o640), (0o604, 0o600)] {
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            assert_eq!(Access::of_key(&path).mode, after, "{before:o}");
        }
    }
}
