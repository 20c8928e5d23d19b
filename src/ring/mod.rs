//! The ring: frames of several streams in one file of fixed size, kept through crashes, oldest overwritten last.
//!
//! ```text
//!  append ─> [append buffer] ─commit─> file ─sync─> disk        (commit survives kill -9, sync a power cut)
//!                                       │
//!            begin_chunk ─> next_piece ─┴─> pipe ─> answer ─> acknowledge · refuse · discard · put_back
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`frame`] | one frame's bytes; the format document of the whole file stands there |
//! | [`layout`] | the file's header, and where a position of the ring lies in the file |
//! | [`cursor`] | what the two cursor slots remember: tail, head, and for each destination an [`Account`] with a [`StreamState`] for each stream |
//! | [`storage`] | what the ring asks of a disk: [`Storage`] (one file) and [`Place`] (its name) |
//! | [`walk`] | from frame to frame, over damage |
//! | [`recover`] | what a file holds, found again from its bytes |
//! | [`mod@file`] | [`Ring`]: append, commit, sync, read, settle |
//! | [`inspect`] | list, dump, verify: reads only, needs no lock |
//! | [`disk`] | `std`: the file system behind [`Storage`] and [`Place`] |
//!
//! # How it is used
//!
//! - Open: [`disk::open`] (or [`Ring::open`] over a [`Place`] of one's own). It creates, recovers, or resizes. A file
//!   that is no ring is an [`OpenError`]; [`disk::set_aside`] moves it out of the way. One process at a time: the
//!   caller holds the lock.
//! - Destinations: [`Ring::attach`] says for whom records are kept; until then there is one, at place 0. A frame is stored once; a
//!   *flow* is one stream on its way to one destination, numbered by [`flow`] (at place 0 as the stream), with its own mark, chunk,
//!   retry schedule and counters. [`frame::except`] keeps a record from some of them.
//! - Intake: [`Ring::append`] per record, [`Ring::commit`] once a turn, [`Ring::sync`] every sync interval
//!   ([`Ring::is_dirty`]). Nothing between `append` and `commit` survives a kill. When the disk fails, `commit` keeps
//!   the frames and is called again; when `append` refuses, the caller says so with [`Ring::count`] and
//!   [`Loss::Dropped`].
//! - Room: [`Ring::free_bytes`] is what can be appended before a pending frame is overwritten; [`Ring::free_bytes_for`] looks at some
//!   destinations only.
//! - Upload: [`Ring::begin_chunk`], [`Ring::next_piece`] until `done`, then one of [`Ring::acknowledge`],
//!   [`Ring::refuse`], [`Ring::discard`], [`Ring::put_back`]. One chunk of each flow at a time. A refused record is
//!   set aside by a chunk of one record: `begin_chunk(flow, bytes, 1)`. The child takes pieces apart with
//!   [`frame::split`].
//! - Account: [`Ring::stream`] (counters, retry state), [`Ring::pending`], [`Ring::unreported`],
//!   [`Ring::mark_reported`].
//!
//! # What stays true
//!
//! - For each flow, at any moment: received = sent + pending + overwritten + corrupt + refused + discarded + dropped.
//! - Whatever a crash left behind, opening it keeps every synced frame that had not been overwritten, once and in
//!   order.
//! - After a power cut at most one acknowledged chunk is pending again.
//! - Nothing here panics on what it reads, and memory is bounded: the append buffer, and one window while reading.

pub mod cursor;
#[cfg(feature = "std")]
pub mod disk;
pub mod file;
pub mod frame;
pub mod inspect;
pub mod layout;
pub mod recover;
pub mod storage;
pub mod walk;

pub use cursor::{Account, Counters, Loss, Mark, Retry, StreamState, flow};
pub use file::{AppendError, Attached, Opened, Pending, Piece, Ring};
pub use recover::OpenError;
pub use storage::{Fault, Place, Storage};
