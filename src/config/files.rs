//! Configuration files of a host.

use super::grammar::Files;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Reads through the host's file system. An absolute `@include` starts at the root directory it was made with, a relative
/// one beside the file that it stands in.
#[derive(Debug)]
pub struct HostFiles {
    root: PathBuf,
}

impl HostFiles {
    /// `root` is what `--root` says, `/` otherwise.
    pub fn new(root: &Path) -> Self {
        HostFiles { root: root.to_path_buf() }
    }
}

impl Files for HostFiles {
    fn read(&mut self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(Some(bytes))
    }

    fn list(&mut self, directory: &str, names_max: usize) -> Result<Vec<String>, String> {
        let directory = if directory.is_empty() { "." } else { directory };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.to_string()),
        };
        let mut names = Vec::new();
        for entry in entries.take(names_max.saturating_add(1)) {
            let name = entry.map_err(|error| error.to_string())?.file_name();
            names.push(name.into_string().map_err(|name| alloc::format!("a name that is not UTF-8: {name:?}"))?);
        }
        Ok(names)
    }

    fn root(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }
}
