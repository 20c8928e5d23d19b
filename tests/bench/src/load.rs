//! Sending: one message at a time at a steady pace, or as fast as the receiver takes them.

use crate::messages::Messages;
use crate::sys;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::ops::Range;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

/// Messages that go into one write when nothing holds the sender back.
const MESSAGES_AT_ONCE: usize = 512;

/// Where messages go in.
#[derive(Debug, Clone)]
pub enum Entrance<'a> {
    /// A port of the loopback address, a line feed behind each message; so many a second, or as fast as it goes.
    Tcp(u16, Option<u32>),
    /// A port of the loopback address, nobody waits for anybody.
    Udp(u16),
    /// A unix datagram socket, where the kernel holds the sender back.
    UnixDatagram(&'a Path),
}

/// Sends the messages with these numbers; how long that took. Fails where the receiver refuses or has gone.
pub fn send(messages: &mut Messages, numbers: Range<usize>, entrance: &Entrance<'_>) -> io::Result<Duration> {
    match entrance {
        Entrance::Tcp(port, per_second) => {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(Duration::from_secs(60)))?;
            let start = Instant::now();
            match per_second {
                Some(per_second) => send_paced(&mut stream, messages, numbers, *per_second)?,
                None => send_lines(&mut stream, messages, numbers)?,
            }
            Ok(start.elapsed())
        }
        Entrance::Udp(port) => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, *port))?;
            send_datagrams(messages, numbers, |datagrams| sys::send_all(&socket, datagrams))
        }
        Entrance::UnixDatagram(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            send_datagrams(messages, numbers, |datagrams| sys::send_all(&socket, datagrams))
        }
    }
}

/// Each message in a write of its own, at its own time: a thousand programs that log now and then, not one that logs in bursts.
fn send_paced(
    stream: &mut TcpStream,
    messages: &mut Messages,
    numbers: Range<usize>,
    per_second: u32,
) -> io::Result<()> {
    let start = Instant::now();
    for (step, number) in numbers.enumerate() {
        let due = Duration::from_secs(step as u64) / per_second;
        if let Some(early) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(early);
        }
        stream.write_all(messages.take(number..number + 1, 1).lines())?;
    }
    Ok(())
}

fn send_lines(stream: &mut TcpStream, messages: &mut Messages, mut numbers: Range<usize>) -> io::Result<()> {
    while !numbers.is_empty() {
        let taken = messages.take(numbers.clone(), MESSAGES_AT_ONCE);
        stream.write_all(taken.lines())?;
        numbers.start += taken.count();
    }
    Ok(())
}

fn send_datagrams(
    messages: &mut Messages,
    mut numbers: Range<usize>,
    send: impl Fn(&[&[u8]]) -> io::Result<()>,
) -> io::Result<Duration> {
    let start = Instant::now();
    while !numbers.is_empty() {
        let taken = messages.take(numbers.clone(), MESSAGES_AT_ONCE);
        send(&taken.datagrams())?;
        numbers.start += taken.count();
    }
    Ok(start.elapsed())
}
