//! Files that are read again and again.

use super::text::lines;
use crate::limits::PROC_FILE_BYTES_MAX;
use alloc::vec::Vec;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Room for a file at first: most fit.
const BUFFER_BYTES: usize = 8 * 1024;

/// Where the files are, and the buffer that they are read into, one after the other.
#[derive(Debug)]
pub struct Files {
    /// `/`, or a tree made for a test.
    pub root: PathBuf,
    buffer: Vec<u8>,
}

impl Files {
    /// Files below `root`. The buffer is made with the first of them.
    pub fn new(root: PathBuf) -> Files {
        Files { root, buffer: Vec::new() }
    }

    /// Reads a file that is not kept open. `None` if it cannot be read.
    pub fn read_once(&mut self, path: &str) -> Option<&[u8]> {
        let file = File::open(self.root.join(path)).ok()?;
        self.read(&file).ok()
    }

    /// The whole file from its start; of one beyond the bound, what lines fit.
    fn read(&mut self, file: &File) -> io::Result<&[u8]> {
        let mut length = 0;
        loop {
            if length == self.buffer.len() {
                if length >= PROC_FILE_BYTES_MAX {
                    let cut_bytes = lines(&self.buffer).last().map_or(0, <[u8]>::len);
                    return Ok(&self.buffer[..length - cut_bytes]);
                }
                self.buffer.resize((length * 2).clamp(BUFFER_BYTES, PROC_FILE_BYTES_MAX), 0);
            }
            match file.read_at(&mut self.buffer[length..], length as u64) {
                Ok(0) => return Ok(&self.buffer[..length]),
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A file that is kept open, and what its bytes say at one moment: samples of the same moment share it.
#[derive(Debug)]
pub struct Reading<T> {
    path: &'static str,
    parse: fn(&mut T, &[u8]),
    file: Option<File>,
    read_ms: Option<u64>,
    is_known: bool,
    value: T,
}

impl<T: Default> Reading<T> {
    /// `parse` puts what the bytes say in the place of what earlier ones said.
    pub fn new(path: &'static str, parse: fn(&mut T, &[u8])) -> Reading<T> {
        Reading { path, parse, file: None, read_ms: None, is_known: false, value: T::default() }
    }

    /// What the file says at `now_ms`. `None` if it cannot be read, which is tried again at another time.
    pub fn at(&mut self, now_ms: u64, files: &mut Files) -> Option<&mut T> {
        if self.read_ms != Some(now_ms) {
            self.read_ms = Some(now_ms);
            self.is_known = self.read(files).is_ok();
        }
        self.is_known.then_some(&mut self.value)
    }

    /// What it said last, whenever that was.
    pub fn last(&mut self) -> &mut T {
        &mut self.value
    }

    fn read(&mut self, files: &mut Files) -> io::Result<()> {
        // Put back only if it could be read: the next time opens it anew.
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(files.root.join(self.path))?,
        };
        (self.parse)(&mut self.value, files.read(&file)?);
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Tree;
    use alloc::string::String;

    fn text(value: &mut String, bytes: &[u8]) {
        *value = String::from_utf8_lossy(bytes).into_owned();
    }

    #[test]
    fn a_file_is_read_once_at_each_moment() {
        let tree = Tree::new();
        tree.write("proc/x", "one");
        let mut files = Files::new(tree.root());
        let mut reading = Reading::new("proc/x", text);
        assert_eq!(reading.at(1, &mut files).map(|text| text.as_str()), Some("one"));
        tree.write("proc/x", "two");
        assert_eq!(reading.at(1, &mut files).map(|text| text.as_str()), Some("one"));
        assert_eq!(reading.at(2, &mut files).map(|text| text.as_str()), Some("two"));
    }

    #[test]
    fn a_file_that_is_missing_is_looked_for_again() {
        let tree = Tree::new();
        let mut files = Files::new(tree.root());
        let mut reading = Reading::new("proc/x", text);
        assert_eq!(reading.at(1, &mut files), None);
        tree.write("proc/x", "one");
        assert_eq!(reading.at(1, &mut files), None);
        assert_eq!(reading.at(2, &mut files).map(|text| text.as_str()), Some("one"));
    }

    #[test]
    fn a_large_file_is_whole_and_one_beyond_the_bound_ends_with_a_line() {
        let tree = Tree::new();
        let mut files = Files::new(tree.root());
        let large = "0123456789abcde\n".repeat(10_000);
        tree.write("proc/x", &large);
        assert_eq!(files.read_once("proc/x"), Some(large.as_bytes()));
        tree.write("proc/x", "small");
        assert_eq!(files.read_once("proc/x"), Some(&b"small"[..]));
        let beyond = "0123456789abcd\n".repeat(PROC_FILE_BYTES_MAX / 15 + 9);
        tree.write("proc/x", &beyond);
        assert_eq!(files.read_once("proc/x").map(<[u8]>::len), Some(PROC_FILE_BYTES_MAX / 15 * 15));
        assert_eq!(files.buffer.len(), PROC_FILE_BYTES_MAX);
    }
}
