//! UDP and unix datagram sockets: one datagram, one message.

use super::{Datagrams, Received, Sink};
use crate::config::{Listen, SyslogSource};
use crate::limits::{DATAGRAM_BATCH, MESSAGE_BYTES_MAX, UDP_RECEIVE_BUFFER_BYTES};
use crate::record::Sender;
use crate::sys::process::for_everybody;
use crate::sys::socket::{self, Batch, Datagram, is_abandoned};
use crate::syslog::without_line_end;
use core::net::IpAddr;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Bytes of the receive buffer that the kernel charges for a small datagram.
const CHARGE_BYTES: u64 = 1280;
/// Datagrams a second that a receive buffer must outlast while reads are gathered.
const FLOOD_PER_SECOND: u64 = 600_000;

/// One datagram socket.
#[derive(Debug)]
pub struct DatagramSource {
    /// What it was opened for.
    pub listen: Listen,
    /// `None`: it is a UDP socket.
    file: Option<SocketFile>,
    socket: OwnedFd,
    limit: usize,
    /// Datagrams stay in the socket until they are kept; not on kernels that cannot show more than the first.
    peeks: bool,
    /// What was handed over and is still in the socket.
    peeked: Peeked,
    /// How long reads may be gathered; 0 for unix sockets, whose senders would be blocked after ten datagrams.
    pub gather_ms: u64,
    /// What the receive buffer outlasts in a flood.
    gather_ms_max: u64,
}

/// The front of a socket's queue, as [`Batch::discard`] wants it.
#[derive(Debug, Default)]
struct Peeked {
    count: usize,
    cut: bool,
}

impl DatagramSource {
    /// A UDP socket. The gathering is cut to what the receive buffer outlasts in a flood.
    pub fn udp(source: &SyslogSource, address: IpAddr, port: u16) -> io::Result<DatagramSource> {
        let socket = UdpSocket::bind((address, port))?;
        let buffer = socket::set_receive_buffer(&socket, UDP_RECEIVE_BUFFER_BYTES);
        let outlasts_ms = buffer as u64 * 1000 / (CHARGE_BYTES * FLOOD_PER_SECOND);
        Ok(DatagramSource::new(source, socket.into(), None, outlasts_ms))
    }

    /// A unix datagram socket at a path, writable by every account as `/dev/log` is. A socket file that nobody listens
    /// on is replaced.
    pub fn unix(source: &SyslogSource, path: &Path) -> io::Result<DatagramSource> {
        let (socket, file) = bind_path(path, |path| UnixDatagram::bind(path))?;
        Ok(DatagramSource::new(source, socket.into(), Some(file), 0))
    }

    fn new(source: &SyslogSource, socket: OwnedFd, file: Option<SocketFile>, gather_ms_max: u64) -> DatagramSource {
        let (listen, peeks) = (source.listen.clone(), socket::set_peeking(&socket));
        let (limit, gather_ms) = (0, 0);
        let peeked = Peeked::default();
        let mut opened = DatagramSource { listen, file, socket, limit, peeks, peeked, gather_ms, gather_ms_max };
        opened.configure(source);
        opened
    }

    /// Takes over what can change while the socket is open.
    pub fn configure(&mut self, source: &SyslogSource) {
        self.limit = source.message_bytes_max.clamp(1, MESSAGE_BYTES_MAX);
        self.gather_ms = source.gather_ms.min(self.gather_ms_max);
    }

    /// What to poll for reading.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Its file; `None`: it has none.
    pub fn file(&self) -> Option<&SocketFile> {
        self.file.as_ref()
    }

    /// Whether this socket is one of these.
    pub fn is_wanted(&self, which: Datagrams) -> bool {
        match which {
            Datagrams::All => true,
            // A unix socket drops nothing: its senders wait.
            Datagrams::Filling => self.file.is_none() && socket::is_filling(self.descriptor()),
            Datagrams::None => false,
        }
    }

    /// Hands over what waits, at most a batch and what there is room for: how many bytes that was; `true`: there may be more.
    pub fn turn(&mut self, batch: &mut Batch, sink: &mut impl Sink) -> (usize, bool) {
        if !self.is_wanted(sink.datagrams()) {
            return (0, false);
        }
        let (socket, count_max) = (self.descriptor(), sink.room_for_datagrams().clamp(1, DATAGRAM_BATCH));
        let answer = if self.peeks { batch.peek(socket, count_max) } else { batch.receive(socket, count_max) };
        // An error of a socket that is not the end of it (a port unreachable, say) is reported once and gone.
        let Ok(count) = answer else { return (0, false) };
        let mut bytes = 0;
        let mut peeked = Peeked::default();
        for datagram in batch.datagrams(count) {
            bytes += datagram.bytes.len();
            peeked = Peeked { count: peeked.count + 1, cut: datagram.cut };
            self.hand_over(&datagram, sink);
            if self.peeks && datagram.cut {
                break;
            }
        }
        if self.peeks {
            self.peeked = peeked;
        }
        (bytes, count == count_max)
    }

    fn hand_over(&self, datagram: &Datagram<'_>, sink: &mut impl Sink) {
        let cut = datagram.cut || datagram.bytes.len() > self.limit;
        let message = without_line_end(&datagram.bytes[..datagram.bytes.len().min(self.limit)]);
        if message.is_empty() {
            sink.malformed();
        } else {
            let sender = datagram.sender.map_or(Sender::Local, Sender::Address);
            sink.receive(Received { sender, message, cut });
        }
    }

    /// Lets go of what the last turn handed over: it is kept now.
    pub fn let_go(&mut self, batch: &mut Batch) {
        let Peeked { count, cut } = core::mem::take(&mut self.peeked);
        if count > 0 {
            // Whatever error there is, the next read meets it as well.
            let _ = batch.discard(self.descriptor(), count, cut);
        }
    }
}

/// The name of a unix socket of ours in the file system. It goes with the socket, where this account may remove it; dropped before the
/// socket is closed, which until then keeps the inode from being another file's.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_path_buf(), device_and_inode: identity(path)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still there: others may remove it, or put theirs in its place, as syslog daemons do with `/dev/log`.
    pub fn is_ours(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.device_and_inode)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Binds a unix socket that every account may write to, taking the place of one that nobody answers on, never of another file.
pub fn bind_path<S>(path: &Path, bind: impl Fn(&Path) -> io::Result<S>) -> io::Result<(S, SocketFile)> {
    let bind = || for_everybody(|| bind(path));
    let socket = match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            bind()?
        }
        other => other?,
    };
    Ok((socket, SocketFile::at(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    /// A directory of its own, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(alloc::format!("omsd-socket-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Place(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn open(path: &Path) -> io::Result<(UnixDatagram, SocketFile)> {
        bind_path(path, |path| UnixDatagram::bind(path))
    }

    #[test]
    fn a_sockets_file_goes_with_it_unless_it_is_anothers_by_then() {
        let place = Place::new("goes");
        let log = place.0.join("log");
        let ours = open(&log).unwrap();
        assert!(ours.1.is_ours());
        assert_eq!(fs::symlink_metadata(&log).unwrap().mode() & 0o777, 0o666);
        drop(ours);
        assert!(fs::symlink_metadata(&log).is_err());
        let ours = open(&log).unwrap();
        fs::remove_file(&log).unwrap();
        assert!(!ours.1.is_ours());
        let other = UnixDatagram::bind(&log).unwrap();
        assert!(!ours.1.is_ours());
        drop(ours);
        UnixDatagram::unbound().unwrap().connect(&log).expect("the other's is still there");
        drop(other);
    }

    #[test]
    fn what_somebody_has_or_is_no_socket_is_not_replaced() {
        let place = Place::new("replaced");
        let at = |name: &str| place.0.join(name);
        let held = (UnixDatagram::bind(at("datagram")).unwrap(), UnixListener::bind(at("stream")).unwrap());
        drop(UnixDatagram::bind(at("dead datagram")).unwrap());
        drop(UnixListener::bind(at("dead stream")).unwrap());
        fs::write(at("file"), "").unwrap();
        symlink(at("dead datagram"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        for (name, expected) in [
            ("datagram", false),
            ("stream", false),
            ("dead datagram", true),
            ("dead stream", true),
            ("file", false),
            ("link", false),
            ("dangling", false),
            ("nothing", false),
        ] {
            assert_eq!(is_abandoned(&at(name)), expected, "{name}");
            let bound = open(&at(name)).map(drop).map_err(|error| error.kind());
            let free = expected || name == "nothing";
            assert_eq!(bound, if free { Ok(()) } else { Err(io::ErrorKind::AddrInUse) }, "{name}");
        }
        drop(held);
    }
}
