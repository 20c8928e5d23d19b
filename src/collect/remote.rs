//! The space of file systems that may hang: a forked child asks them, and a later sample has its answers.
//!
//! ```text
//!  Idle ── one is due ──> Asking ── the pipe ends, or the deadline passes: kill ──> Ending ── reaped ──> Idle
//! ```
//!
//! There is one child at most. One that even a kill does not end stays the only one until its server answers.

use super::logical_disk::Space;
use crate::limits::{REMOTE_MAX, REMOTE_MS_MAX, REMOTE_RETRY_MS};
use crate::sys::process::{self, Pid};
use crate::sys::seccomp::{self, Role};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};

/// An answer on its way through the pipe: which, then its numbers; no bytes in a block: it does not say.
const ANSWER_BYTES: usize = 7 * 8;

/// File systems that may hang, and what they said last.
#[derive(Debug)]
pub struct Remote {
    /// How one is asked.
    ask: fn(&CStr) -> Option<Space>,
    known: Vec<Known>,
    state: State,
}

#[derive(Debug)]
struct Known {
    path: CString,
    space: Option<Space>,
    /// Not asked before.
    due_ms: u64,
}

#[derive(Debug)]
enum State {
    Idle,
    Asking(Asking),
    Ending(Pid),
}

#[derive(Debug)]
struct Asking {
    pid: Pid,
    answers: File,
    deadline_ms: u64,
    /// Indices of those not heard of yet, the next one last.
    open: Vec<usize>,
}

impl Remote {
    /// Nothing to ask yet. `ask` may hang.
    pub fn new(ask: fn(&CStr) -> Option<Space>) -> Remote {
        Remote { ask, known: Vec::new(), state: State::Idle }
    }

    /// These are mounted now. If they are others than before, all are asked anew.
    pub fn set(&mut self, paths: impl Iterator<Item = CString>) {
        let paths: Vec<CString> = paths.take(REMOTE_MAX).collect();
        if paths.iter().eq(self.known.iter().map(|known| &known.path)) {
            return;
        }
        self.known = paths.into_iter().map(|path| Known { path, space: None, due_ms: 0 }).collect();
        if let State::Asking(asking) = &self.state {
            self.state = end(asking);
        }
    }

    /// What the file system at this path said last; `None` if it hangs, does not say, or was not asked yet.
    pub fn space(&self, path: &CStr) -> Option<Space> {
        self.known.iter().find(|known| *known.path == *path)?.space
    }

    /// One turn: tidies, and asks who is due. Never waits.
    pub fn turn(&mut self, now_ms: u64) {
        self.tidy(now_ms);
        if matches!(self.state, State::Idle) {
            self.start(now_ms);
        }
    }

    /// Hears what there is to hear, ends what takes too long, reaps what has ended. Asks nobody: for when no sample may come.
    pub fn tidy(&mut self, now_ms: u64) {
        if let State::Asking(asking) = &mut self.state {
            let is_at_end = hear(asking, &mut self.known);
            if is_at_end || now_ms >= asking.deadline_ms {
                give_up(&asking.open, &mut self.known, now_ms);
                self.state = end(asking);
            }
        }
        if let State::Ending(pid) = self.state
            && process::reap(pid).is_some()
        {
            self.state = State::Idle;
        }
    }

    /// Stays idle if nothing is due or nothing can be forked: the next turn tries again.
    fn start(&mut self, now_ms: u64) {
        let due = |index: &usize| now_ms >= self.known[*index].due_ms;
        let open: Vec<usize> = (0..self.known.len()).rev().filter(due).collect();
        if open.is_empty() {
            return;
        }
        if let Ok((pid, answers)) = process::fork_to_tell(|answers| self.answer(&open, answers)) {
            self.state = State::Asking(Asking { pid, answers, deadline_ms: now_ms + REMOTE_MS_MAX, open });
        }
    }

    /// The child's whole life.
    fn answer(&self, open: &[usize], answers: &mut File) {
        if seccomp::narrow(Role::Space).is_err() {
            return;
        }
        for &index in open.iter().rev() {
            let answer = encode(index, (self.ask)(&self.known[index].path).unwrap_or_default());
            if answers.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// At the end of a process that has a child still. It is reaped here only if it ended at once: nothing waits for it.
impl Drop for Remote {
    fn drop(&mut self) {
        if let State::Asking(Asking { pid, .. }) | State::Ending(pid) = self.state {
            process::kill(pid);
            process::reap(pid);
        }
    }
}

/// Takes the answers that came; `true` when there will be no more.
fn hear(asking: &mut Asking, known: &mut [Known]) -> bool {
    let mut answer = [0; ANSWER_BYTES];
    // Whole answers only: a write of so few bytes to a pipe is not split.
    while !asking.open.is_empty() {
        match asking.answers.read(&mut answer) {
            Ok(ANSWER_BYTES) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => return true,
        }
        let (index, space) = decode(&answer);
        asking.open.retain(|&open| open as u64 != index);
        if let Some(known) = usize::try_from(index).ok().and_then(|index| known.get_mut(index)) {
            known.space = Some(space).filter(|space| space.block_bytes > 0);
        }
    }
    true
}

/// Who was being asked hangs, and is left alone for long; who was behind it is not known about, and is asked again next.
fn give_up(open: &[usize], known: &mut [Known], now_ms: u64) {
    open.iter().for_each(|&index| known[index].space = None);
    if let Some(&hanging) = open.last() {
        known[hanging].due_ms = now_ms + REMOTE_RETRY_MS;
    }
}

fn end(asking: &Asking) -> State {
    process::kill(asking.pid);
    State::Ending(asking.pid)
}

fn encode(index: usize, space: Space) -> [u8; ANSWER_BYTES] {
    let Space { block_bytes, blocks, free, available, inodes, inodes_free } = space;
    let numbers = [index as u64, block_bytes, blocks, free, available, inodes, inodes_free];
    let mut answer = [0; ANSWER_BYTES];
    for (slot, number) in answer.chunks_exact_mut(8).zip(numbers) {
        slot.copy_from_slice(&number.to_le_bytes());
    }
    answer
}

fn decode(answer: &[u8; ANSWER_BYTES]) -> (u64, Space) {
    let (numbers, _) = answer.as_chunks::<8>();
    let number = |index: usize| u64::from_le_bytes(numbers[index]);
    let space = Space {
        block_bytes: number(1),
        blocks: number(2),
        free: number(3),
        available: number(4),
        inodes: number(5),
        inodes_free: number(6),
    };
    (number(0), space)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Tree;
    use core::time::Duration;
    use std::thread::sleep;

    fn blocks(path: &CStr) -> Option<u64> {
        core::str::from_utf8(path.to_bytes()).ok()?.parse().ok()
    }

    /// Says of `7` that it has 7 blocks; hangs at `hangs`, and at files that there are; says nothing of anything else.
    fn ask(path: &CStr) -> Option<Space> {
        if path == c"hangs" || std::fs::exists(path.to_str().unwrap()).unwrap() {
            sleep(Duration::MAX);
        }
        let path = if path.to_bytes().starts_with(b"/") { c"5" } else { path };
        Some(Space { block_bytes: 1, blocks: blocks(path)?, inodes_free: 9, ..Space::default() })
    }

    fn remote(paths: &[&CStr]) -> Remote {
        let mut remote = Remote::new(ask);
        remote.set(paths.iter().map(|&path| path.into()));
        remote
    }

    /// Turns at `now_ms` until `done`.
    #[track_caller]
    fn turn_until(remote: &mut Remote, now_ms: u64, done: impl Fn(&Remote) -> bool) {
        for _ in 0..1000 {
            remote.turn(now_ms);
            if done(remote) {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("not done: {remote:?}");
    }

    fn said(remote: &Remote, path: &CStr) -> Option<u64> {
        remote.space(path).map(|space| space.blocks)
    }

    #[test]
    fn answers_come_in_a_later_turn_and_stay() {
        let mut remote = remote(&[c"7", c"silent", c"8"]);
        remote.turn(0);
        assert_eq!(said(&remote, c"7"), None);
        turn_until(&mut remote, 1, |remote| said(remote, c"8").is_some());
        assert_eq!(remote.space(c"7"), Some(Space { block_bytes: 1, blocks: 7, inodes_free: 9, ..Space::default() }));
        assert_eq!(said(&remote, c"silent"), None);
        remote.set([c"7", c"silent", c"8"].iter().map(|&path| path.into()));
        assert_eq!(said(&remote, c"7"), Some(7), "nothing changed");
        remote.set([c"8"].iter().map(|&path| path.into()));
        assert_eq!(said(&remote, c"8"), None, "asked anew");
        turn_until(&mut remote, 2, |remote| said(remote, c"8").is_some());
    }

    #[test]
    fn one_that_hangs_is_given_up_at_its_deadline_and_its_neighbours_are_not() {
        let mut remote = remote(&[c"7", c"hangs", c"8"]);
        turn_until(&mut remote, 0, |remote| said(remote, c"7").is_some());
        for now_ms in [1, 100, REMOTE_MS_MAX - 1] {
            remote.turn(now_ms);
            assert_eq!((said(&remote, c"8"), said(&remote, c"7")), (None, Some(7)));
        }
        remote.turn(REMOTE_MS_MAX);
        turn_until(&mut remote, REMOTE_MS_MAX + 1, |remote| said(remote, c"8").is_some());
        assert_eq!(said(&remote, c"hangs"), None);
        let asks_it = |remote: &Remote| matches!(&remote.state, State::Asking(asking) if asking.open.contains(&1));
        let again_ms = REMOTE_MS_MAX + REMOTE_RETRY_MS;
        for _ in 0..50 {
            remote.turn(again_ms - 1);
            assert!(!asks_it(&remote));
            sleep(Duration::from_millis(1));
        }
        turn_until(&mut remote, again_ms, asks_it);
    }

    #[test]
    fn a_child_is_reaped_when_nobody_asks_any_more() {
        let mut remote = remote(&[c"hangs"]);
        remote.turn(0);
        let State::Asking(Asking { pid, .. }) = remote.state else { panic!("{remote:?}") };
        remote.tidy(REMOTE_MS_MAX - 1);
        assert!(matches!(remote.state, State::Asking(_)));
        for _ in 0..1000 {
            remote.tidy(REMOTE_MS_MAX);
            if matches!(remote.state, State::Idle) {
                assert_eq!(process::reap(pid), None, "no child of ours");
                return;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("not done: {remote:?}");
    }

    #[test]
    fn one_that_answered_once_and_hangs_now_is_not_known_about() {
        let tree = Tree::new();
        let path = CString::new(tree.root().join("gate").into_os_string().into_encoded_bytes()).unwrap();
        let mut remote = remote(&[&path]);
        turn_until(&mut remote, 0, |remote| said(remote, &path) == Some(5));
        tree.write("gate", "");
        for _ in 0..20 {
            remote.turn(1);
            sleep(Duration::from_millis(10));
        }
        assert_eq!(said(&remote, &path), Some(5), "it may still answer");
        remote.turn(REMOTE_MS_MAX + 1);
        assert_eq!(said(&remote, &path), None);
    }
}
