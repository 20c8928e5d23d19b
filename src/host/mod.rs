//! Life on a host: to install, supervise and remove what runs there, so that nothing is left behind.
//!
//! Everything that is made has its line in the [`manifest`] before it is made, and is taken back by that line alone. Only these commands,
//! which an administrator types, run other programs of the host; the agent never does.

pub mod manifest;
