//! The agent's own sockets, held open by the test: what is left in them when the agent is dead is what it had not read. That makes "had read" a set of numbers
//! and not a guess.

use crate::harness::Source;
use crate::process::{lives, pid_of};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::io::{self, Read};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// Silence after which a datagram socket is empty. Loopback delivers at once; this is for a busy machine.
const SILENCE: Duration = Duration::from_millis(25);

/// Copies of the sockets that a round sends to.
pub struct Held {
    udp: UdpSocket,
    unix: UnixDatagram,
    tcp: TcpStream,
}

/// What the agent had not read.
pub struct Unread {
    /// Datagrams, as text.
    pub udp: Vec<String>,
    /// See `udp`.
    pub unix: Vec<String>,
    /// Bytes of the connection.
    pub tcp_bytes: usize,
}

impl Held {
    /// Copies of the agent's sockets; waits until it has accepted the connection from `peer_port`. `None`: it died before.
    pub fn of(pid: u32, udp: Source, peer_port: u16, unix: &Path) -> Option<Held> {
        let handle = pidfd_open(pid_of(pid), PidfdFlags::empty()).ok()?;
        let take = |find: &dyn Fn() -> Option<String>| loop {
            if let Some(number) = find().and_then(|inode| descriptor_of(pid, &inode)) {
                match pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()) {
                    Ok(socket) => return Some::<OwnedFd>(socket),
                    Err(rustix::io::Errno::SRCH | rustix::io::Errno::BADF) => {}
                    Err(error) => panic!("pidfd_getfd, which needs Linux 5.6 and root: {error}"),
                }
            }
            if !lives(pid) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let unix = unix.display().to_string();
        Some(Held {
            udp: take(&|| inode("udp", 1, udp.port(), 9))?.into(),
            tcp: take(&|| inode("tcp", 2, peer_port, 9))?.into(),
            unix: take(&|| unix_inode(&unix))?.into(),
        })
    }

    /// Empties and closes them. The agent is dead, and the senders are done and have closed their connection.
    pub fn drain(mut self) -> Unread {
        let mut tcp = Vec::new();
        self.tcp.set_nonblocking(false).expect("a blocking socket");
        self.tcp.read_to_end(&mut tcp).expect("the rest of the connection");
        self.udp.set_read_timeout(Some(SILENCE)).expect("a timeout");
        self.unix.set_nonblocking(true).expect("a setting");
        self.udp.set_nonblocking(false).expect("a setting");
        Unread {
            udp: datagrams(|buffer| self.udp.recv(buffer)),
            unix: datagrams(|buffer| self.unix.recv(buffer)),
            tcp_bytes: tcp.len(),
        }
    }
}

fn datagrams(mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>) -> Vec<String> {
    let mut buffer = [0; 2048];
    let mut found = Vec::new();
    loop {
        match receive(&mut buffer) {
            Ok(count) => found.push(String::from_utf8_lossy(&buffer[..count]).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return found,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("a socket of the agent's cannot be read: {error}"),
        }
    }
}

/// The inode of the socket in a table whose address in this column has this port. Source: proc_pid_net(5).
fn inode(table: &str, column: usize, port: u16, inode_column: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/self/net/{table}")).ok()?;
    let port = format!(":{port:04X}");
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut found = rows.filter(|row| row.get(column).is_some_and(|address| address.ends_with(&port)));
    found.find_map(|row| Some((*row.get(inode_column)?).to_owned())).filter(|inode| inode != "0")
}

fn unix_inode(path: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/net/unix").ok()?;
    let line = text.lines().find(|line| line.ends_with(path))?;
    line.split_whitespace().nth(6).map(str::to_owned)
}

fn descriptor_of(pid: u32, inode: &str) -> Option<i32> {
    let wanted = format!("socket:[{inode}]");
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let mut found =
        entries.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()));
    found.find_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// UDP datagrams that the kernel threw away because the receive buffer was full.
pub fn udp_drops(source: Source) -> u64 {
    inode("udp", 1, source.port(), 12).and_then(|drops| drops.parse().ok()).unwrap_or(0)
}
