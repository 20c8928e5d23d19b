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
    digest: Digest,
}

/// A number for bytes, nearly always another one for others: tells a configuration that was edited. Not for what others may wish to forge.
/// Source: FNV-1a, 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds bytes, and that they end here.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl HostFiles {
    /// `root` is what `--root` says, `/` otherwise.
    pub fn new(root: &Path) -> Self {
        HostFiles { root: root.to_path_buf(), digest: Digest::default() }
    }

    /// Of all that was read so far.
    pub fn digest(&self) -> Digest {
        self.digest
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
        self.digest.add(&bytes);
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

#[cfg(test)]
mod tests {
    use super::super::{Severity, embedded_default, parse};
    use super::*;
    use std::fs;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(alloc::format!("omsd-config-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("etc/d")).unwrap();
        path
    }

    #[test]
    fn an_absolute_include_is_below_the_root_and_a_relative_one_beside_its_file() {
        let root = directory("root");
        let main = root.join("etc/main.conf");
        fs::write(&main, "@include /etc/d/*.conf\n@include match.conf\n").unwrap();
        fs::write(root.join("etc/d/2.conf"), "<source>\ntype oms_heartbeat\n</source>\n").unwrap();
        fs::write(root.join("etc/d/1.conf"), "<source>\ntype syslog\nport 25224\nbind 127.0.0.1\n</source>\n").unwrap();
        fs::write(root.join("etc/match.conf"), "<match **>\ntype out_oms\n</match>\n").unwrap();
        let (mut config, warnings) = parse(&mut HostFiles::new(&root), main.to_str().unwrap()).expect("accepted");
        assert_eq!(warnings, []);
        config.sources[0].line = 0;
        assert_eq!(config, embedded_default(true));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_the_systems_reason() {
        let root = directory("unread");
        fs::write(root.join("a"), "@include etc\n@include gone/*.conf\n").unwrap();
        let errors = parse(&mut HostFiles::new(&root), root.join("a").to_str().unwrap()).expect_err("refused");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!((errors[0].line, errors[0].column, errors[0].severity), (1, 10, Severity::Error));
        assert!(errors[0].text.contains("Is a directory"), "{}", errors[0].text);
        fs::remove_dir_all(&root).unwrap();
    }
}
