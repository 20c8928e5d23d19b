//! UDP and unix datagram sockets: one datagram, one message.

use super::framing::without_line_end;
use super::{Datagrams, Received, Sink};
use crate::limits::{TURN_BYTES_MAX, UDP_RECEIVE_BUFFER_BYTES};
use crate::record::Sender;
use crate::sys::socket::{self, Batch};
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
    socket: OwnedFd,
    is_udp: bool,
    limit: usize,
    /// How long reads may be gathered; 0 for unix sockets, whose senders would be blocked after ten datagrams.
    pub gather_ms: u64,
}

impl DatagramSource {
    /// A UDP socket. The gathering is cut to what the receive buffer outlasts in a flood.
    pub fn udp(address: IpAddr, port: u16, limit: usize, gather_ms: u64) -> io::Result<DatagramSource> {
        let socket = UdpSocket::bind((address, port))?;
        let buffer = socket::set_receive_buffer(&socket, UDP_RECEIVE_BUFFER_BYTES);
        let outlasts_ms = buffer as u64 * 1000 / (CHARGE_BYTES * FLOOD_PER_SECOND);
        Ok(DatagramSource { socket: socket.into(), is_udp: true, limit, gather_ms: gather_ms.min(outlasts_ms) })
    }

    /// A unix datagram socket at a path, writable by every account as `/dev/log` is. A socket file that nobody listens
    /// on is replaced.
    pub fn unix(path: &Path, limit: usize) -> io::Result<DatagramSource> {
        let socket = bind_path(path, |path| UnixDatagram::bind(path), |path| UnixDatagram::unbound()?.connect(path))?;
        Ok(DatagramSource { socket: socket.into(), is_udp: false, limit, gather_ms: 0 })
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
            Datagrams::Filling => self.is_udp && socket::is_half_full(self.descriptor()),
            Datagrams::None => false,
        }
    }

    /// Reads what waits, at most a turn's worth. How many bytes that was; `true`: there may be more.
    pub fn turn(&self, batch: &mut Batch, sink: &mut impl Sink) -> (usize, bool) {
        let mut bytes = 0;
        while bytes < TURN_BYTES_MAX && self.is_wanted(sink.datagrams()) {
            // An error of a socket that is not the end of it (a port unreachable, say) is reported once and gone.
            let Ok(count) = batch.receive(self.descriptor()) else { return (bytes, false) };
            for datagram in batch.datagrams(count) {
                bytes += datagram.bytes.len();
                let cut = datagram.cut || datagram.bytes.len() > self.limit;
                let message = without_line_end(&datagram.bytes[..datagram.bytes.len().min(self.limit)]);
                if message.is_empty() {
                    sink.malformed();
                } else {
                    let sender = datagram.sender.map_or(Sender::Local, Sender::Address);
                    sink.receive(Received { sender, message, cut });
                }
            }
            if count < crate::limits::DATAGRAM_BATCH {
                return (bytes, false);
            }
        }
        (bytes, bytes >= TURN_BYTES_MAX)
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
