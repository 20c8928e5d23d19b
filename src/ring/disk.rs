//! The file system behind [`Storage`] and [`Place`].

use super::file::{Opened, Ring};
use super::recover::OpenError;
use super::storage::{Fault, Place, Storage};
use crate::sys;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Suffix of a ring file that is being built.
const NEW: &str = ".new";

/// A ring file of the file system.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
}

impl DiskFile {
    /// Whether somebody has deleted the file: it works on, but nobody will find it again. Source: unlink(2).
    pub fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

/// A ring file that may be written.
pub type DiskRing = Ring<DiskFile>;

/// Opens the ring file at `path`, makes it if there is none, resizes it if it has another size than `file_bytes`.
/// `now_us`: wall clock. The caller holds the lock that keeps a second agent out.
pub fn open(path: &Path, file_bytes: u64, now_us: u64) -> Result<(DiskRing, Opened), OpenError> {
    let mut salt = [0; 8];
    sys::random_bytes(&mut salt).map_err(|error| OpenError::Fault(error.into()))?;
    let opened = Ring::open(&mut DiskPlace { path: path.into() }, file_bytes, u64::from_le_bytes(salt), now_us);
    if opened.as_ref().is_err_and(|error| *error != OpenError::Fault(Fault::TAKEN)) {
        // A disk that is too small is not made fuller by an attempt.
        let _ = fs::remove_file(beside(path, NEW));
    }
    opened
}

/// Opens a ring file to look at it. It may be in use.
pub fn open_read_only(path: &Path) -> io::Result<DiskFile> {
    Ok(DiskFile { file: sys::file::open_to_look(path)? })
}

/// Moves a file that is no readable ring out of the way, to `NAME.damaged` beside it, in place of what was set aside
/// before. Returns where it went.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = beside(path, ".damaged");
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

impl Storage for DiskFile {
    fn file_bytes(&self) -> Result<u64, Fault> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => {
                    bytes[done..].fill(0);
                    return Ok(());
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        Ok(self.file.write_all_at(bytes, offset)?)
    }

    fn sync(&mut self) -> Result<(), Fault> {
        Ok(self.file.sync_data()?)
    }

    fn allocate(&mut self, bytes: u64) -> Result<(), Fault> {
        Ok(sys::file::allocate(&self.file, bytes)?)
    }
}

/// The path of a ring file. Its successor is built at `NAME.new`.
#[derive(Debug)]
pub struct DiskPlace {
    /// The ring file's path.
    pub path: PathBuf,
}

impl Place for DiskPlace {
    type Storage = DiskFile;

    fn current(&mut self) -> Result<Option<DiskFile>, Fault> {
        let opened = OpenOptions::new().read(true).write(true).custom_flags(sys::file::NO_FOLLOW).open(&self.path);
        match opened {
            Ok(file) => locked(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn fresh(&mut self) -> Result<DiskFile, Fault> {
        let path = beside(&self.path, NEW);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(sys::file::NO_FOLLOW);
        locked(options.open(path)?)
    }

    fn adopt(&mut self) -> Result<(), Fault> {
        fs::rename(beside(&self.path, NEW), &self.path)?;
        Ok(sys::file::sync_directory_of(&self.path)?)
    }
}

/// Beside the agent's own lock a second one, for a ring that two state directories lead to. Where files cannot be locked it is
/// done without.
fn locked(file: File) -> Result<DiskFile, Fault> {
    match sys::file::lock(&file) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Fault::TAKEN),
        _ => Ok(DiskFile { file }),
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        let by_kind = if error.kind() == io::ErrorKind::WriteZero { Fault::NO_SPACE } else { Fault::DEVICE };
        error.raw_os_error().map_or(by_kind, |errno| Fault { errno })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::os::unix::fs::PermissionsExt;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(std::format!("omsd-ring-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn payloads(ring: &mut DiskRing) -> Vec<Vec<u8>> {
        let mut piece = Vec::new();
        if !ring.begin_chunk(0, u64::MAX, u64::MAX) {
            return Vec::new();
        }
        while !ring.next_piece(0, &mut piece, usize::MAX).unwrap().done {}
        let (mut found, mut rest) = (Vec::new(), &piece[..]);
        while let Some((_, payload, after)) = super::super::frame::split(rest) {
            found.push(payload.into());
            rest = after;
        }
        found
    }

    #[test]
    fn a_new_file_has_its_full_size_and_is_readable_by_its_owner_alone() {
        let directory = Directory::new("new");
        let path = directory.0.join("ring");
        let (_, opened) = open(&path, 100_000, 1).unwrap();
        assert!(opened.created);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (100_000, 0o600));
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
    }

    #[test]
    fn what_was_committed_is_there_after_opening_again_and_after_a_resize() {
        let directory = Directory::new("again");
        let path = directory.0.join("ring");
        let (mut ring, _) = open(&path, 100_000, 1).unwrap();
        ring.append(0, 0, 5, &[b"one"]).unwrap();
        ring.append(0, 0, 6, &[b"t", b"wo"]).unwrap();
        ring.commit().unwrap();
        drop(ring);
        for bytes in [100_000, 200_000, 50_000] {
            let (mut ring, opened) = open(&path, bytes, 1).unwrap();
            assert!(!opened.created);
            assert_eq!(payloads(&mut ring), [b"one", b"two"]);
            assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
            assert_eq!(ring.stream(0).unwrap().counters.received, 2);
        }
    }

    #[test]
    fn a_file_that_is_no_ring_is_refused_and_can_be_set_aside() {
        let directory = Directory::new("foreign");
        let path = directory.0.join("ring");
        fs::write(&path, [b'x'; 20_000]).unwrap();
        assert_eq!(open(&path, 100_000, 1).err(), Some(OpenError::NotARing));
        set_aside(&path).unwrap();
        assert!(open(&path, 100_000, 1).unwrap().1.created);
        fs::write(&path, []).unwrap();
        assert!(open(&path, 100_000, 1).unwrap().1.created, "an empty file is no ring yet");
    }

    #[test]
    fn a_ring_that_is_open_is_not_opened_again_but_may_be_looked_at() {
        let directory = Directory::new("taken");
        let path = directory.0.join("ring");
        let first = open(&path, 100_000, 1).unwrap();
        for bytes in [100_000, 200_000] {
            assert_eq!(open(&path, bytes, 1).err(), Some(OpenError::Fault(Fault::TAKEN)));
        }
        assert!(open_read_only(&path).is_ok());
        drop(first);
        assert!(open(&path, 100_000, 1).is_ok());
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let directory = Directory::new("link");
        let path = directory.0.join("ring");
        std::os::unix::fs::symlink("/nonexistent", &path).unwrap();
        assert!(matches!(open(&path, 100_000, 1), Err(OpenError::Fault(_))));
    }
}
