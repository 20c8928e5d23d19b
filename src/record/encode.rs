//! Record to bytes and back. Layout: one byte kind (0 local, 4 IPv4, 6 IPv6), the address in network order, the message.

use super::{Record, Sender};
use crate::limits::RECORD_HEADER_BYTES_MAX;
use core::net::IpAddr;

/// The bytes that stand in front of the message: what is used of the array, as a slice.
pub fn header(sender: Sender, buffer: &mut [u8; RECORD_HEADER_BYTES_MAX]) -> &[u8] {
    match sender {
        Sender::Local => {
            buffer[0] = 0;
            &buffer[..1]
        }
        Sender::Address(IpAddr::V4(address)) => {
            buffer[0] = 4;
            buffer[1..5].copy_from_slice(&address.octets());
            &buffer[..5]
        }
        Sender::Address(IpAddr::V6(address)) => {
            buffer[0] = 6;
            buffer[1..17].copy_from_slice(&address.octets());
            &buffer[..17]
        }
    }
}

/// The record in a payload; `None` if the payload is not one.
pub fn decode(payload: &[u8]) -> Option<Record<'_>> {
    let (kind, rest) = payload.split_first()?;
    match kind {
        0 => Some(Record { sender: Sender::Local, message: rest }),
        4 => {
            let (octets, message) = rest.split_first_chunk::<4>()?;
            Some(Record { sender: Sender::Address(IpAddr::from(*octets)), message })
        }
        6 => {
            let (octets, message) = rest.split_first_chunk::<16>()?;
            Some(Record { sender: Sender::Address(IpAddr::from(*octets)), message })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[track_caller]
    fn check(sender: Sender) {
        let mut buffer = [0; RECORD_HEADER_BYTES_MAX];
        let mut payload = Vec::from(header(sender, &mut buffer));
        payload.extend_from_slice(b"<13>text");
        assert_eq!(decode(&payload), Some(Record { sender, message: b"<13>text" }));
    }

    #[test]
    fn what_is_encoded_comes_back() {
        check(Sender::Local);
        check(Sender::Address(IpAddr::from([192, 0, 2, 7])));
        check(Sender::Address(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7])));
    }

    #[test]
    fn a_short_or_foreign_payload_is_no_record() {
        for payload in [&b""[..], &[4, 1, 2, 3], &[6; 16], &[9, 1, 2]] {
            assert_eq!(decode(payload), None);
        }
    }
}
