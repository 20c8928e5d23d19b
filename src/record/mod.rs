//! What we keep: of a message its bytes as they came, and where they came from; of a sample the values in few bytes.

pub mod encode;
pub mod number;
pub mod perf;

use core::net::IpAddr;

/// Who handed us a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A unix socket, or nobody known (standard input of `render`).
    Local,
    /// A peer on the network, loopback included.
    Address(IpAddr),
}

/// One syslog message as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Who sent it.
    pub sender: Sender,
    /// The bytes, without their framing.
    pub message: &'a [u8],
}
