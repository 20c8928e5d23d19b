//! Sockets: what std does not do, in batches and with fall-backs for old kernels.

use crate::limits::{DATAGRAM_BATCH, MESSAGE_BYTES_MAX};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{c_int, c_void};
use core::mem::{size_of, zeroed};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Asks for a receive buffer of so many bytes, with privilege beyond the system's limit, and says what the socket has
/// now. The kernel counts its own bookkeeping in, so the usable part is smaller. Source: socket(7), `SO_RCVBUF`.
pub fn set_receive_buffer(socket: &impl AsRawFd, bytes: usize) -> usize {
    let wanted = c_int::try_from(bytes).unwrap_or(c_int::MAX / 2);
    if set_option(socket.as_raw_fd(), libc::SO_RCVBUFFORCE, wanted).is_err() {
        // Unprivileged: the kernel cuts this to net.core.rmem_max, which is an answer too.
        let _ = set_option(socket.as_raw_fd(), libc::SO_RCVBUF, wanted);
    }
    usize::try_from(option(socket.as_raw_fd(), libc::SO_RCVBUF)).unwrap_or(0)
}

/// Whether more than half of a socket's receive buffer is taken; `true`, to be on the safe side, where the kernel does not say
/// (before 4.12). Source: sock_diag(7), `SO_MEMINFO`.
pub fn is_half_full(socket: RawFd) -> bool {
    const TAKEN: usize = 0;
    const SIZE: usize = 1;
    let mut figures = [0_u32; 9];
    let mut length = length_of::<[u32; 9]>();
    // SAFETY: both pointers are to live values of the size that `length` says.
    let told =
        unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, (&raw mut figures).cast(), &mut length) };
    told != 0 || figures[TAKEN] > figures[SIZE] / 2
}

fn set_option(socket: RawFd, name: c_int, value: c_int) -> io::Result<()> {
    let length = length_of::<c_int>();
    // SAFETY: pointer and length describe one live int.
    let done = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, name, (&raw const value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn option(socket: RawFd, name: c_int) -> c_int {
    let mut value: c_int = 0;
    let mut length = length_of::<c_int>();
    // SAFETY: both pointers are to live values of the size that `length` says.
    unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, name, (&raw mut value).cast(), &mut length) };
    value
}

#[expect(clippy::cast_possible_truncation, reason = "the types used here are at most 128 bytes")]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// Reads what is there, at most the slice; 0 is the end of the stream. Never waits on a non-blocking descriptor.
/// Source: recv(2).
pub fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe one slice, borrowed mutably for the call.
    let count = unsafe { libc::recv(socket, buffer.as_mut_ptr().cast::<c_void>(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Bytes of one datagram's place: the longest message, and one more that shows a cut.
const PLACE_BYTES: usize = MESSAGE_BYTES_MAX + 1;

/// Room for datagrams that one call takes together. Pages that no datagram reached are never resident.
pub struct Batch {
    bytes: Vec<u8>,
    names: Box<[libc::sockaddr_storage; DATAGRAM_BATCH]>,
    lengths: [(usize, usize); DATAGRAM_BATCH],
    together: bool,
}

/// One datagram of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its bytes, at most [`MESSAGE_BYTES_MAX`].
    pub bytes: &'a [u8],
    /// Its sender's address; `None` for a unix socket.
    pub sender: Option<IpAddr>,
    /// There was more than fits.
    pub cut: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Batch::new()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch {
            bytes: alloc::vec![0; PLACE_BYTES * DATAGRAM_BATCH],
            // SAFETY: all zero is a valid sockaddr_storage (family unspecified).
            names: Box::new(unsafe { zeroed() }),
            lengths: [(0, 0); DATAGRAM_BATCH],
            together: true,
        }
    }

    /// Takes the datagrams that wait on a socket, at most [`DATAGRAM_BATCH`], and says how many. Never waits: nothing there
    /// is `WouldBlock`. One recvmmsg(2) where the kernel has it (2.6.33), else recvmsg(2) one by one.
    pub fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        // SAFETY: all zero is a valid iovec (null, 0) and a valid mmsghdr.
        let (mut parts, mut headers): ([libc::iovec; DATAGRAM_BATCH], [libc::mmsghdr; DATAGRAM_BATCH]) =
            unsafe { (zeroed(), zeroed()) };
        let places = self.bytes.chunks_exact_mut(PLACE_BYTES);
        for (((part, header), place), name) in
            parts.iter_mut().zip(headers.iter_mut()).zip(places).zip(self.names.iter_mut())
        {
            *part = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: PLACE_BYTES };
            name.ss_family = 0;
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        let count = self.take(socket, &mut headers)?;
        for (length, header) in self.lengths.iter_mut().zip(&headers[..count]) {
            let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let bytes = header.msg_len as usize;
            *length = (bytes.min(MESSAGE_BYTES_MAX), if truncated { PLACE_BYTES } else { bytes });
        }
        Ok(count)
    }

    fn take(&mut self, socket: RawFd, headers: &mut [libc::mmsghdr; DATAGRAM_BATCH]) -> io::Result<usize> {
        if self.together {
            match receive_together(socket, headers) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => self.together = false,
                answer => return answer,
            }
        }
        receive_one_by_one(socket, headers)
    }

    /// The datagrams of the last [`Batch::receive`], which answered `count`.
    pub fn datagrams(&self, count: usize) -> impl Iterator<Item = Datagram<'_>> {
        let places = self.bytes.chunks_exact(PLACE_BYTES);
        places.zip(&self.lengths).zip(self.names.iter()).take(count).map(|((place, &(kept, sent)), name)| Datagram {
            bytes: &place[..kept],
            // SAFETY: the kernel wrote the name, or it is all zero.
            sender: unsafe { address((&raw const *name).cast()) },
            cut: sent > MESSAGE_BYTES_MAX,
        })
    }

    /// Gives the pages that a burst filled back to the kernel.
    pub fn give_back(&mut self) {
        super::memory::give_back(&mut self.bytes);
    }
}

impl core::fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Batch")
    }
}

fn receive_together(socket: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
    // The type of the flags differs between C libraries; the system call itself has one form.
    // SAFETY: every header points to a live name and a live iovec of our own, whose lengths are right; no timeout.
    let taken = unsafe {
        libc::syscall(
            libc::SYS_recvmmsg,
            socket,
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
            core::ptr::null_mut::<libc::timespec>(),
        )
    };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

fn receive_one_by_one(socket: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    for (taken, header) in headers.iter_mut().enumerate() {
        // SAFETY: as for receive_together.
        let length = unsafe { libc::recvmsg(socket, &mut header.msg_hdr, libc::MSG_DONTWAIT) };
        match u32::try_from(length) {
            Ok(length) => header.msg_len = length,
            Err(_) if taken > 0 => return Ok(taken),
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok(headers.len())
}

/// The address in a socket name of any family; `None` for a null pointer and for families without one.
///
/// # Safety
///
/// `name` is null, or points to a socket name of the family that it says.
pub unsafe fn address(name: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller vouches for the pointer; every socket name begins with its family.
    match c_int::from(unsafe { name.as_ref() }?.sa_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in; it may be aligned less strictly.
            let name = unsafe { name.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a sockaddr_in6.
            let name = unsafe { name.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(name.sin6_addr.s6_addr).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixDatagram;

    fn check_a_batch(together: bool) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        for text in ["one", "", "three"] {
            sender.send(text.as_bytes()).unwrap();
        }
        let mut batch = Batch { together, ..Batch::new() };
        let count = batch.receive(receiver.as_raw_fd()).unwrap();
        let seen: Vec<_> =
            batch.datagrams(count).map(|datagram| (datagram.bytes, datagram.sender, datagram.cut)).collect();
        let home = Some(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(seen, [(&b"one"[..], home, false), (b"", home, false), (b"three", home, false)]);
        assert_eq!(batch.receive(receiver.as_raw_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn datagrams_come_together_and_one_by_one_alike() {
        check_a_batch(true);
        check_a_batch(false);
    }

    #[test]
    fn a_receive_buffer_tells_when_it_is_half_full() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_receive_buffer(&receiver, 64 * 1024);
        assert!(!is_half_full(receiver.as_raw_fd()));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..64 {
            sender.send_to(&[0; 4000], receiver.local_addr().unwrap()).unwrap();
        }
        assert!(is_half_full(receiver.as_raw_fd()));
    }

    #[test]
    fn a_datagram_over_the_limit_is_cut_and_says_so() {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        sender.send(&[b'x'; MESSAGE_BYTES_MAX + 10]).unwrap();
        sender.send(&[b'y'; MESSAGE_BYTES_MAX]).unwrap();
        let mut batch = Batch::new();
        let count = batch.receive(receiver.as_raw_fd()).unwrap();
        let seen: Vec<_> =
            batch.datagrams(count).map(|datagram| (datagram.bytes.len(), datagram.sender, datagram.cut)).collect();
        assert_eq!(seen, [(MESSAGE_BYTES_MAX, None, true), (MESSAGE_BYTES_MAX, None, false)]);
    }
}
