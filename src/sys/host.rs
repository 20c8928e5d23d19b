//! What the host calls itself.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use std::net::UdpSocket;

/// The host's name as gethostname(2) says; empty if it has none.
pub fn hostname() -> String {
    uname(|names| &names.nodename)
}

/// What records call this host, with whatever follows a first dot: the name that Microsoft's docker-cimprov leaves for an agent in a
/// container, else [`hostname`].
pub fn computer() -> String {
    let left = std::fs::read_to_string("/var/opt/microsoft/docker-cimprov/state/containerhostname").unwrap_or_default();
    computer_of(&left)
}

fn computer_of(left: &str) -> String {
    match left.trim() {
        "" => hostname(),
        name => name.into(),
    }
}

/// The kind of machine that the kernel was built for: `x86_64`, also where this program is not. Source: uname(2).
pub fn machine() -> String {
    uname(|names| &names.machine)
}

fn uname(field: fn(&libc::utsname) -> &[libc::c_char]) -> String {
    // SAFETY: all zero is a valid utsname.
    let mut names: libc::utsname = unsafe { core::mem::zeroed() };
    // SAFETY: the pointer is to a live utsname of ours, which the kernel fills. A failure leaves it empty.
    unsafe { libc::uname(&mut names) };
    let bytes: Vec<u8> = field(&names).iter().take_while(|&&c| c != 0).map(|&c| c.cast_unsigned()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The address that this host would send from towards the world: nothing is sent, only the route is asked for.
/// `None` without a route.
pub fn primary_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// The addresses of this host's interfaces, in the kernel's order; empty if it will not say. Source: getifaddrs(3).
pub fn interface_addresses() -> Vec<IpAddr> {
    let mut first: *mut libc::ifaddrs = core::ptr::null_mut();
    // SAFETY: the pointer is to a live pointer, which getifaddrs sets to a list that we free below.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Vec::new();
    }
    let mut addresses = Vec::new();
    let mut entry = first;
    // SAFETY: the list stays as it is until it is freed.
    while let Some(interface) = unsafe { entry.as_ref() } {
        // SAFETY: an entry's address is null or of the family that it says.
        addresses.extend(unsafe { super::socket::address(interface.ifa_addr) });
        entry = interface.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(first) };
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_the_name_that_was_left_for_it() {
        assert_eq!(computer_of("vm7\n"), "vm7");
        assert_eq!(computer_of(" \n"), hostname());
        assert_eq!(computer_of(""), hostname());
    }
}
