//! A list of hosts, as `no_proxy` has it: names, addresses and networks, parted by commas or blanks.
//!
//! A name stands for itself and for every name below it, with or without `.` or `*.` in front. An address or a network
//! (`10.0.0.0/8`, `fd00::/8`) stands for hosts that are written as addresses: no name is looked up. `*` stands for every host.

use core::net::IpAddr;

/// What one word of a list stands for.
enum Hosts<'a> {
    All,
    Below(&'a str),
    Network { start: IpAddr, prefix_bits: u32 },
}

/// Whether every word of the list means something.
pub fn is_list(list: &str) -> bool {
    words(list).all(|word| read(word).is_some())
}

/// Whether the list has this host: a name, or an address without brackets. Words without a meaning have none.
pub fn covers(list: &str, host: &str) -> bool {
    words(list).filter_map(read).any(|hosts| match hosts {
        Hosts::All => true,
        Hosts::Below(name) => is_below(host.trim_end_matches('.'), name),
        Hosts::Network { start, prefix_bits } => {
            host.parse().is_ok_and(|address| is_within(address, start, prefix_bits))
        }
    })
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ', '\t']).filter(|word| !word.is_empty())
}

fn read(word: &str) -> Option<Hosts<'_>> {
    if word == "*" {
        return Some(Hosts::All);
    }
    let (address, prefix) = word.split_once('/').map_or((word, None), |(address, prefix)| (address, Some(prefix)));
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    if let Ok(start) = address.parse() {
        let all_bits = address_bits(start).1;
        let prefix_bits = prefix.map_or(Some(all_bits), |prefix| prefix.parse().ok())?;
        return (prefix_bits <= all_bits).then_some(Hosts::Network { start, prefix_bits });
    }
    let name = word.strip_prefix("*.").unwrap_or(word).trim_start_matches('.').trim_end_matches('.');
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!name.is_empty() && name.bytes().all(fine)).then_some(Hosts::Below(name))
}

fn is_below(host: &str, name: &str) -> bool {
    let Some((above, end)) = host.len().checked_sub(name.len()).and_then(|at| host.split_at_checked(at)) else {
        return false;
    };
    end.eq_ignore_ascii_case(name) && (above.is_empty() || above.ends_with('.'))
}

fn is_within(address: IpAddr, start: IpAddr, prefix_bits: u32) -> bool {
    let ((address, address_bits), (start, all_bits)) = (address_bits(address), address_bits(start));
    address_bits == all_bits && (address ^ start).checked_shr(all_bits - prefix_bits).unwrap_or(0) == 0
}

/// The address as a number, and how many bits it has.
fn address_bits(address: IpAddr) -> (u128, u32) {
    match address.to_canonical() {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, covered: &[&str], others: &[&str]) {
        assert!(is_list(list), "{list:?}");
        for host in covered {
            assert!(covers(list, host), "{list:?} has {host}");
        }
        for host in others {
            assert!(!covers(list, host), "{list:?} has not {host}");
        }
    }

    #[test]
    fn a_name_stands_for_itself_and_all_below() {
        let (covered, others) = (
            ["example.com", "a.example.com", "A.B.EXAMPLE.COM", "example.com."],
            ["badexample.com", "example.com.evil", "com", ""],
        );
        for list in [
            "example.com",
            ".example.com",
            "*.example.com",
            "Example.Com.",
            "x, example.com",
            "x example.com",
            "x,,example.com ,",
        ] {
            check(list, &covered, &others);
        }
        check("localhost", &["localhost"], &["127.0.0.1", "::1"]);
    }

    #[test]
    fn addresses_and_networks_stand_for_addresses() {
        check("10.0.0.1", &["10.0.0.1"], &["10.0.0.10", "110.0.0.1", "::ffff:10.0.0.2"]);
        check("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"], &["11.0.0.0", "9.255.255.255", "::a00:0"]);
        check("10.1.2.3/8", &["10.9.9.9"], &["11.1.2.3"]);
        check("192.168.1.128/25", &["192.168.1.128", "192.168.1.255"], &["192.168.1.127"]);
        check("0.0.0.0/0", &["1.2.3.4", "255.255.255.255"], &["::1", "name"]);
        check("fd00::/8", &["fd00::1", "fdff::"], &["fe80::1", "10.0.0.1"]);
        check("[2001:db8::1]", &["2001:db8::1", "2001:DB8:0::1"], &["2001:db8::2"]);
        check("::/0", &["::", "2001:db8::1"], &["1.2.3.4"]);
    }

    #[test]
    fn a_star_is_every_host_and_an_empty_list_none() {
        check("*", &["example.com", "10.0.0.1", "::1"], &[]);
        check("", &[], &["example.com", "10.0.0.1", ""]);
        check(" , ", &[], &["example.com"]);
    }

    #[test]
    fn words_without_a_meaning_make_no_list() {
        for list in [
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "fd00::/129",
            "name/8",
            "a:b",
            "a.*",
            ".",
            "http://a",
            "a;b",
            "[::1",
        ] {
            assert!(!is_list(list), "{list:?}");
        }
        assert!(!covers("10.0.0.0/33", "10.0.0.0"));
    }
}
