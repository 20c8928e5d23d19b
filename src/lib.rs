//! omsd takes syslog and counters from a Linux server to Azure Monitor: one static program, one process that listens,
//! one file that remembers, and a short-lived child that uploads.
//!
//! ```text
//!  UDP, TCP ──┐                ┌──────────── one process, one thread, one poll(2) ────────────┐
//!  unix ──────┼─> intake ──────┤  record ─> ring file: fixed size, checksummed frames         │
//!  counters ──┤                └─────────┬───────────────────────────────────────▲────────────┘
//!  heartbeat ─┘                          │ pipe: the frames of one chunk         │ pipe: sent, later, refused
//!                                        ▼                                       │
//!                     upload child (forked): parse ─> items ─> deflate ─> https ─┘
//! ```
//!
//! # Rooms, in the order the data flows
//!
//! | room | what it does | it never |
//! |---|---|---|
//! | [`intake`] | peeks, splits streams into messages, lets go of what is kept | knows that a ring exists |
//! | [`collect`] | reads `/proc` and `/sys`, has the formula of every counter | knows who wants it, or where it goes |
//! | [`record`] | what we keep: of a message its bytes and where it came from, of a sample its values | parses a message |
//! | [`ring`] | keeps frames through crashes, in one bounded file | knows what syslog is |
//! | [`upload`] | picks chunks, forks the child, renders items or rows, gets tokens, posts, judges the answer | writes to the ring |
//! | [`syslog`] | PRI, RFC 3164, RFC 5424: bytes to [`syslog::Message`] | allocates |
//! | [`config`] | the original's grammar, every key in one table | starts anything |
//! | [`onboard`] | certificate, topology request, renewal: the files an agent is known by | touches a working identity before the new one works |
//! | [`crypto`] | the one door to the cryptographic module | has a second way to do it |
//! | [`agent`] | the loop, the deadlines, the loss report, the lock and who asks its holder for something; alone joins two rooms | parses hostile bytes |
//! | [`host`] | installs, supervises, removes: each thing has its line in a manifest first | asks a question, uses the network |
//! | [`check`] | `omsd check`: looks at everything, judges what it sees, packs an archive for support | changes anything |
//! | [`sys`] | poll, signals, sockets, clocks: the only `unsafe` | decides anything |
//! | [`limits`] | every bound on memory, disk and time | |
//!
//! Arrows: `main → cli → agent → {intake, collect, ring, upload} → {config, record, syslog, limits}`, and any of them
//! `→ sys → libc`. Beside these:
//!
//! - [`config`] and [`record`] know the catalogue of [`collect`], objects and the names of their counters, and [`config`] the names
//!   that [`syslog`] has for facilities and severities. [`sys`] answers in a type of each of the two.
//! - [`upload`] knows the frame's bytes and nothing else of the ring. It goes `→ crypto`, which goes to ring or to AWS-LC; so does
//!   [`onboard`], which posts with what [`upload`] posts with.
//! - [`agent`] asks [`onboard`] which operating system this is, for the heartbeat, and has a child of its own look after the
//!   identity, which takes keys and TLS.
//! - [`host`], behind [`cli`] like the agent, asks [`agent`] who holds the lock and takes identities over for [`onboard`]; it alone
//!   runs other programs.
//! - [`check`] looks into every room, and only [`cli`] knows of it. [`cli`] itself calls [`config`] and [`onboard`], looks into a ring
//!   file ([`ring::inspect`]) and asks [`crypto`] its name.
//!
//! # What must stay true
//!
//! - The long-lived process never links its fate to TLS or to a parser: both live in the child.
//! - A message leaves its socket when the ring file has it: a killed agent has lost nothing that it had read.
//! - Nothing on the intake path allocates per message.
//! - A full ring lets senders wait or overwrites the oldest frame, and counts every frame that it lost.
//! - What the agent may do only shrinks: root opens the sources and becomes another; a child can do less than its parent, before it
//!   reads a byte from the network. Neither ever runs another program. A new system call is a line of conf/seccomp.txt.
//! - No threads, in either process, libraries included.
//! - The core (everything not behind `std`) cannot open a file or read a clock; `tests/run` builds it for bare metal.

#![no_std]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::alloc_instead_of_core)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

/// A line on standard error, for everything below. std's ends the program when nobody takes the line, as behind a closed pipe or on a
/// full disk.
#[cfg(feature = "std")]
macro_rules! eprintln {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = std::writeln!(std::io::stderr(), $($text)*);
    }};
}

pub mod limits;

#[cfg(feature = "std")]
pub mod agent;
#[cfg(feature = "std")]
pub mod check;
#[cfg(feature = "std")]
pub mod cli;
pub mod collect;
pub mod config;
#[cfg(feature = "std")]
pub mod crypto;
#[cfg(feature = "std")]
pub mod host;
pub mod intake;
#[cfg(feature = "std")]
pub mod onboard;
pub mod record;
pub mod ring;
#[cfg(feature = "std")]
pub mod sys;
pub mod syslog;
pub mod upload;
