//! Files that are read again and again.

use super::text::lines;
use crate::limits::{PROC_FILE_BYTES_MAX, PROC_TRUSTED_MS};
use crate::sys::memory;
use crate::sys::poll::{CHANGED, PollFd, WRITABLE, poll};
use alloc::vec::Vec;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
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

    /// Gives the buffer's memory back until a file is read again.
    pub fn give_back(&mut self) {
        memory::give_back(&mut self.buffer);
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
    /// The moment whose value is known.
    at_ms: Option<u64>,
    read_ms: u64,
    /// The kernel tells when it changes.
    is_watched: bool,
    is_known: bool,
    value: T,
}

impl<T: Default> Reading<T> {
    /// `parse` puts what the bytes say in the place of what earlier ones said.
    pub fn new(path: &'static str, parse: fn(&mut T, &[u8])) -> Reading<T> {
        let value = T::default();
        Reading { path, parse, file: None, at_ms: None, read_ms: 0, is_watched: false, is_known: false, value }
    }

    /// The same of a file of which the kernel tells when it changes; now and again it is read all the same.
    pub fn watched(path: &'static str, parse: fn(&mut T, &[u8])) -> Reading<T> {
        Reading { is_watched: true, ..Reading::new(path, parse) }
    }

    /// What the file says at `now_ms`. `None` if it cannot be read, which is tried again at another time.
    pub fn at(&mut self, now_ms: u64, files: &mut Files) -> Option<&mut T> {
        if self.at_ms != Some(now_ms) {
            self.at_ms = Some(now_ms);
            if !self.is_same(now_ms) {
                self.is_known = self.read(files).is_ok();
                self.read_ms = now_ms;
            }
        }
        self.is_known.then_some(&mut self.value)
    }

    /// What it said last, whenever that was.
    pub fn last(&mut self) -> &mut T {
        &mut self.value
    }

    /// Whether it says for certain what it said when it was read. An ordinary file, which tells no change, can be written.
    fn is_same(&self, now_ms: u64) -> bool {
        let is_recent = now_ms.saturating_sub(self.read_ms) < PROC_TRUSTED_MS;
        let Some(file) = self.file.as_ref().filter(|_| self.is_watched && is_recent) else { return false };
        let mut asked = [PollFd { fd: file.as_raw_fd(), events: CHANGED | WRITABLE, revents: 0 }];
        poll(&mut asked, Some(0)).is_ok() && asked[0].revents == 0
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
    fn a_file_that_tells_its_changes_is_read_again_when_it_does_and_now_and_again() {
        // A pipe's reading end tells nothing until a byte or the end comes.
        let (reader, writer) = io::pipe().unwrap();
        let mut reading = Reading::watched("proc/x", text);
        reading.file = Some(File::from(std::os::fd::OwnedFd::from(reader)));
        assert!(reading.is_same(PROC_TRUSTED_MS - 1));
        assert!(!reading.is_same(PROC_TRUSTED_MS));
        reading.is_watched = false;
        assert!(!reading.is_same(1));
        reading.is_watched = true;
        drop(writer);
        assert!(!reading.is_same(1));
    }

    #[test]
    fn an_ordinary_file_in_the_place_of_one_that_tells_its_changes_is_read_each_time() {
        let tree = Tree::new();
        let mut files = Files::new(tree.root());
        let mut reading = Reading::watched("proc/x", text);
        for (now_ms, content) in [(1, "one"), (2, "two"), (3, "three")] {
            tree.write("proc/x", content);
            assert_eq!(reading.at(now_ms, &mut files).map(|text| text.as_str()), Some(content));
        }
    }

    #[test]
    fn the_mount_table_of_this_machine_can_be_watched() {
        let mut files = Files::new("/".into());
        let mut reading = Reading::watched("proc/self/mountinfo", text);
        assert!(!reading.at(1, &mut files).unwrap().is_empty());
        // What others mount meanwhile makes it another table, but not each time.
        let mut moments = 1..1000;
        assert!(moments.any(|now_ms| reading.at(now_ms, &mut files).is_some() && reading.is_same(now_ms)));
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
