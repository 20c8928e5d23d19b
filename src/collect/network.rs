//! Network: `/proc/net/dev`, what each interface carried since boot.

use super::text::{Name, lines, numbers};
use super::{Sink, report};

/// A line of `/proc/net/dev`. Source: proc_net(5); the numbers 1 to 3, 9 to 11 and 14 behind the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`.
    pub name: Name,
    received_bytes: u64,
    received_packets: u64,
    receive_errors: u64,
    sent_bytes: u64,
    sent_packets: u64,
    send_errors: u64,
    collisions: u64,
}

/// The interfaces, in the file's order. The headings have no colon, and what has too few numbers is no interface.
pub fn parse(net_dev: &[u8]) -> impl Iterator<Item = Interface> {
    lines(net_dev).filter_map(|line| {
        let colon = line.iter().rposition(|&byte| byte == b':')?; // the first number may touch it
        let numbers: [u64; 14] = numbers(&line[colon + 1..])?;
        Some(Interface {
            name: Name::new(line[..colon].trim_ascii()),
            received_bytes: numbers[0],
            received_packets: numbers[1],
            receive_errors: numbers[2],
            sent_bytes: numbers[8],
            sent_packets: numbers[9],
            send_errors: numbers[10],
            collisions: numbers[13],
        })
    })
}

/// One interface: totals since boot, as the original's, not rates.
pub fn sample(interface: &Interface, sink: &mut dyn Sink) {
    let Interface { received_bytes, received_packets, receive_errors, .. } = *interface;
    let Interface { sent_bytes, sent_packets, send_errors, collisions, .. } = *interface;
    let bytes = received_bytes.saturating_add(sent_bytes);
    let values =
        [sent_bytes, received_bytes, sent_packets, received_packets, bytes, receive_errors, send_errors, collisions];
    report(sink, interface.name.as_bytes(), &values.map(|value| Some(value as f64)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Found;

    const HEADINGS: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    fn found(lines: &str) -> Found {
        let mut found = Found::default();
        let file = [HEADINGS, lines].concat();
        parse(file.as_bytes()).for_each(|interface| sample(&interface, &mut found));
        found
    }

    #[test]
    fn columns_are_the_originals() {
        let found = found(
            "    lo: 8749874987 1 0 9876543210 0 0 0 0 8749874987 1 0 0 0 0 0 0\n  \
               eth0:  305641    1606    2    0    0     0          0         0   132686     437    5    0    0     8       0          0\n  \
               sit0:10 11 12 0 0 0 0 0 14 15 16 0 17 9 0 0\n",
        );
        assert_eq!(found.names(), ["lo", "eth0", "sit0"]);
        let numbers =
            |name| found.values(name).iter().map(|value| value.expect("known")).collect::<alloc::vec::Vec<_>>();
        assert_eq!(numbers("eth0"), [132686.0, 305641.0, 437.0, 1606.0, 438327.0, 2.0, 5.0, 8.0]);
        assert_eq!(numbers("sit0"), [14.0, 10.0, 15.0, 11.0, 24.0, 12.0, 16.0, 9.0]);
        assert_eq!(numbers("lo")[1], 8749874987.0);
    }

    #[test]
    fn lines_that_are_no_interfaces_are_left_out() {
        assert_eq!(found("eth0: 1 2 3\neth1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\n:\n").names(), [""; 0]);
        assert_eq!(found("eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14\n").names(), ["eth0:1"]);
    }
}
