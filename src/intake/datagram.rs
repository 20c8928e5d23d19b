//! UDP and unix datagram sockets: one datagram, one message.

use super::{Datagrams, Received, Sink};
use crate::config::{Listen, SyslogSource};
use crate::limits::{DATAGRAM_BATCH, MESSAGE_BYTES_MAX, UDP_RECEIVE_BUFFER_BYTES};
use crate::record::Sender;
use crate::sys::socket::{self, Batch, Datagram};
use crate::syslog::without_line_end;
use core::net::IpAddr;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Bytes of the receive buffer that the kernel charges for a small datagram.
const CHARGE_BYTES: u64 = 1280;
/// Datagrams a second that a receive buffer must outlast while reads are gathered.
const FLOOD_PER_SECOND: u64 = 600_000;

/// One datagram socket.
#[derive(Debug)]
pub struct DatagramSource {
    /// What it was opened for.
    pub listen: Listen,
    socket: OwnedFd,
    is_udp: bool,
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
        Ok(DatagramSource::new(source, socket.into(), true, outlasts_ms))
    }

    /// A unix datagram socket at a path, writable by every account as `/dev/log` is. A socket file that nobody listens
    /// on is replaced.
    pub fn unix(source: &SyslogSource, path: &Path) -> io::Result<DatagramSource> {
        let socket = bind_path(path, |path| UnixDatagram::bind(path), |path| UnixDatagram::unbound()?.connect(path))?;
        Ok(DatagramSource::new(source, socket.into(), false, 0))
    }

    fn new(source: &SyslogSource, socket: OwnedFd, is_udp: bool, gather_ms_max: u64) -> DatagramSource {
        let (listen, peeks) = (source.listen.clone(), socket::set_peeking(&socket));
        let (limit, gather_ms) = (0, 0);
        let peeked = Peeked::default();
        let mut opened = DatagramSource { listen, socket, is_udp, limit, peeks, peeked, gather_ms, gather_ms_max };
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

    /// Whether this socket is one of these.
    pub fn is_wanted(&self, which: Datagrams) -> bool {
        match which {
            Datagrams::All => true,
            // A unix socket drops nothing: its senders wait.
            Datagrams::Filling => self.is_udp && socket::is_filling(self.descriptor()),
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

/// Binds a unix socket, taking the place of one that nobody answers on, never of another file.
pub fn bind_path<S>(
    path: &Path,
    bind: impl Fn(&Path) -> io::Result<S>,
    answers: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<S> {
    let socket = match bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path, answers) => {
            fs::remove_file(path)?;
            bind(path)?
        }
        other => other?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(socket)
}

fn is_abandoned(path: &Path, answers: impl Fn(&Path) -> io::Result<()>) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && answers(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
