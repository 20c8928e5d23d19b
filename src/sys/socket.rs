//! Sockets: what std does not do, in batches and with fall-backs for old kernels.

use crate::limits::{DATAGRAM_BATCH, MESSAGE_BYTES_MAX};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{c_int, c_void};
use core::mem::{size_of, zeroed};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

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

/// Whether more than three quarters of a socket's receive buffer are taken; `true`, to be on the safe side, where the kernel does not say
/// (before 4.12). Source: sock_diag(7), `SO_MEMINFO`.
pub fn is_filling(socket: RawFd) -> bool {
    const TAKEN: usize = 0;
    const SIZE: usize = 1;
    let mut figures = [0_u32; 9];
    let mut length = length_of::<[u32; 9]>();
    // SAFETY: both pointers are to live values of the size that `length` says.
    let told =
        unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, (&raw mut figures).cast(), &mut length) };
    told != 0 || figures[TAKEN] > figures[SIZE] / 4 * 3
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

/// Copies what is there, at most the slice, and leaves it in the stream socket; 0 is the end of the stream. Never waits.
/// Source: recv(2), `MSG_PEEK`.
pub fn peek(socket: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, libc::MSG_PEEK)
}

/// Takes as much as the slice is long off the front of a stream socket, where [`peek`] saw it; the slice's content means nothing
/// afterwards. Source: tcp(7), `MSG_TRUNC`: nothing is copied; unix sockets copy.
pub fn discard(socket: RawFd, mut peeked: &mut [u8]) -> io::Result<()> {
    while !peeked.is_empty() {
        let count = receive(socket, peeked, libc::MSG_TRUNC)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        peeked = peeked.split_at_mut(count.min(peeked.len())).1;
    }
    Ok(())
}

fn receive(socket: RawFd, buffer: &mut [u8], flags: c_int) -> io::Result<usize> {
    let (start, length, flags) = (buffer.as_mut_ptr().cast::<c_void>(), buffer.len(), flags | libc::MSG_DONTWAIT);
    // SAFETY: pointer and length describe one slice, borrowed mutably for the call.
    let count = unsafe { libc::recv(socket, start, length, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Lets [`Batch::peek`] see one datagram after the other. `false`: the kernel cannot (unix sockets before 3.4, UDP before 4.7).
/// Source: socket(7), `SO_PEEK_OFF`.
pub fn set_peeking(socket: &impl AsRawFd) -> bool {
    set_option(socket.as_raw_fd(), libc::SO_PEEK_OFF, 0).is_ok()
}

/// Whether this is a unix socket, of whatever kind, that no process has. What a link leads to does not count.
/// Source: connect(2), `ECONNREFUSED`.
pub fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    // A stream socket that somebody has refuses by another error.
    let asked = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    is_socket && asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
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

    /// Takes the datagrams that wait on a socket, at most `count_max` and [`DATAGRAM_BATCH`], and says how many. Never waits: nothing there
    /// is `WouldBlock`. One recvmmsg(2) where the kernel has it (2.6.33), else recvmsg(2) one by one.
    pub fn receive(&mut self, socket: RawFd, count_max: usize) -> io::Result<usize> {
        self.copy(socket, count_max, 0)
    }

    /// The same, but leaves them in the socket, which [`set_peeking`] prepared, until [`Batch::discard`]. Behind one that is
    /// cut the kernel goes on with its rest: what follows it is none of the socket's datagrams.
    pub fn peek(&mut self, socket: RawFd, count_max: usize) -> io::Result<usize> {
        self.copy(socket, count_max, libc::MSG_PEEK)
    }

    /// Takes the oldest `count` datagrams off a socket, which [`Batch::peek`] saw. `cut`: the last of them was, so that the next peek
    /// must be told where to begin.
    pub fn discard(&mut self, socket: RawFd, count: usize, cut: bool) -> io::Result<()> {
        let mut left = count.min(DATAGRAM_BATCH);
        while left > 0 {
            // SAFETY: all zero is a valid mmsghdr: no name, no room for bytes.
            let mut headers: [libc::mmsghdr; DATAGRAM_BATCH] = unsafe { zeroed() };
            // The whole length counts, so that the offset of the next peek goes back by it.
            left -= self.call(socket, &mut headers[..left], libc::MSG_TRUNC)?;
        }
        if cut { set_option(socket, libc::SO_PEEK_OFF, 0) } else { Ok(()) }
    }

    fn copy(&mut self, socket: RawFd, count_max: usize, flags: c_int) -> io::Result<usize> {
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
        let count = self.call(socket, &mut headers[..count_max.min(DATAGRAM_BATCH)], flags)?;
        for (length, header) in self.lengths.iter_mut().zip(&headers[..count]) {
            let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let bytes = header.msg_len as usize;
            *length = (bytes.min(MESSAGE_BYTES_MAX), if truncated { PLACE_BYTES } else { bytes });
        }
        Ok(count)
    }

    fn call(&mut self, socket: RawFd, headers: &mut [libc::mmsghdr], flags: c_int) -> io::Result<usize> {
        if self.together {
            match receive_together(socket, headers, flags) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => self.together = false,
                answer => return answer,
            }
        }
        receive_one_by_one(socket, headers, flags)
    }

    /// The datagrams of the last [`Batch::receive`] or [`Batch::peek`], which answered `count`.
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

fn receive_together(socket: RawFd, headers: &mut [libc::mmsghdr], flags: c_int) -> io::Result<usize> {
    let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
    // The type of the flags differs between C libraries; the system call itself has one form.
    // SAFETY: every header points to a live name and a live iovec of our own, whose lengths are right; no timeout.
    let taken = unsafe {
        libc::syscall(
            libc::SYS_recvmmsg,
            socket,
            headers.as_mut_ptr(),
            count,
            flags | libc::MSG_DONTWAIT,
            core::ptr::null_mut::<libc::timespec>(),
        )
    };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

fn receive_one_by_one(socket: RawFd, headers: &mut [libc::mmsghdr], flags: c_int) -> io::Result<usize> {
    for (taken, header) in headers.iter_mut().enumerate() {
        // SAFETY: as for receive_together.
        let length = unsafe { libc::recvmsg(socket, &mut header.msg_hdr, flags | libc::MSG_DONTWAIT) };
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
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;

    fn check_a_batch(together: bool) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        for text in ["one", "", "three"] {
            sender.send(text.as_bytes()).unwrap();
        }
        let mut batch = Batch { together, ..Batch::new() };
        let count = batch.receive(receiver.as_raw_fd(), DATAGRAM_BATCH).unwrap();
        let seen: Vec<_> =
            batch.datagrams(count).map(|datagram| (datagram.bytes, datagram.sender, datagram.cut)).collect();
        let home = Some(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(seen, [(&b"one"[..], home, false), (b"", home, false), (b"three", home, false)]);
        assert_eq!(batch.receive(receiver.as_raw_fd(), DATAGRAM_BATCH).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn datagrams_come_together_and_one_by_one_alike() {
        check_a_batch(true);
        check_a_batch(false);
    }

    fn check_peeking(together: bool, receiver: &impl AsRawFd, send: impl Fn(&[u8])) {
        assert!(set_peeking(receiver));
        let receiver = receiver.as_raw_fd();
        let mut batch = Batch { together, ..Batch::new() };
        for count_max in [6, 2, 4, 1] {
            let texts = ["", "one", "", "", "three", "four"];
            texts.iter().for_each(|text| send(text.as_bytes()));
            for expected in texts.chunks(count_max) {
                let count = batch.peek(receiver, count_max).unwrap();
                let seen: Vec<_> = batch.datagrams(count).map(|datagram| datagram.bytes).collect();
                assert_eq!(seen, expected.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
                batch.discard(receiver, count, false).unwrap();
            }
            assert_eq!(batch.peek(receiver, 1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_peeked_datagram_stays_until_it_is_discarded() {
        for together in [true, false] {
            let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            let home = receiver.local_addr().unwrap();
            check_peeking(together, &receiver, |bytes| assert!(sender.send_to(bytes, home).is_ok()));
            let (sender, receiver) = UnixDatagram::pair().unwrap();
            check_peeking(together, &receiver, |bytes| assert!(sender.send(bytes).is_ok()));
        }
    }

    #[test]
    fn a_peeked_datagram_that_does_not_fit_costs_no_other() {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        assert!(set_peeking(&receiver));
        let sizes = [5, 2 * PLACE_BYTES + 7, 9, PLACE_BYTES + 1, 3, MESSAGE_BYTES_MAX];
        sizes.iter().for_each(|&bytes| assert!(sender.send(&alloc::vec![b'x'; bytes]).is_ok()));
        let mut batch = Batch::new();
        let mut seen = Vec::new();
        while let Ok(count) = batch.peek(receiver.as_raw_fd(), DATAGRAM_BATCH) {
            let cut = batch.datagrams(count).position(|datagram| datagram.cut);
            let count = cut.map_or(count, |place| place + 1);
            seen.extend(batch.datagrams(count).map(|datagram| datagram.bytes.len()));
            batch.discard(receiver.as_raw_fd(), count, cut.is_some()).unwrap();
        }
        assert_eq!(seen, sizes.map(|bytes| bytes.min(MESSAGE_BYTES_MAX)));
    }

    fn check_stream(receiver: &impl AsRawFd, sender: &mut impl io::Write) {
        let receiver = receiver.as_raw_fd();
        let mut buffer = [0; 64];
        sender.write_all(b"one two").unwrap();
        assert_eq!(peek(receiver, &mut buffer).unwrap(), 7);
        discard(receiver, &mut buffer[..4]).unwrap();
        sender.write_all(b" three").unwrap();
        assert_eq!(peek(receiver, &mut buffer).unwrap(), 9);
        assert_eq!(&buffer[..9], b"two three");
        assert_eq!(peek(receiver, &mut buffer).unwrap(), 9);
        discard(receiver, &mut buffer[..9]).unwrap();
        assert_eq!(peek(receiver, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn peeked_bytes_of_a_stream_stay_until_they_are_discarded() {
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        check_stream(&receiver, &mut sender);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        check_stream(&listener.accept().unwrap().0, &mut sender);
    }

    #[test]
    fn a_receive_buffer_tells_when_it_is_filling() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_receive_buffer(&receiver, 64 * 1024);
        assert!(!is_filling(receiver.as_raw_fd()));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..64 {
            sender.send_to(&[0; 4000], receiver.local_addr().unwrap()).unwrap();
        }
        assert!(is_filling(receiver.as_raw_fd()));
    }

    #[test]
    fn a_datagram_over_the_limit_is_cut_and_says_so() {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        sender.send(&[b'x'; MESSAGE_BYTES_MAX + 10]).unwrap();
        sender.send(&[b'y'; MESSAGE_BYTES_MAX]).unwrap();
        let mut batch = Batch::new();
        let count = batch.receive(receiver.as_raw_fd(), DATAGRAM_BATCH).unwrap();
        let seen: Vec<_> =
            batch.datagrams(count).map(|datagram| (datagram.bytes.len(), datagram.sender, datagram.cut)).collect();
        assert_eq!(seen, [(MESSAGE_BYTES_MAX, None, true), (MESSAGE_BYTES_MAX, None, false)]);
    }
}
