//! All sources of one configuration, in the loop's poll set.

use super::datagram::{DatagramSource, SocketFile};
use super::framing;
use super::stream::{After, Connection, StreamSource};
use super::{Datagrams, Sink};
use crate::config::{Listen, SyslogSource};
use crate::limits::{CONNECTIONS_MAX, MESSAGE_BYTES_MAX, TURN_BYTES_MAX};
use crate::sys::poll::{GONE, PollFd, READABLE};
use crate::sys::socket::Batch;
use alloc::vec::Vec;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

// Room to read streams into: a whole message and more, so that a long message costs few calls.
const _: () = assert!(TURN_BYTES_MAX > 2 * framing::input_bytes_max(MESSAGE_BYTES_MAX));
/// No connection is accepted for this long after the descriptor limit was hit.
const ACCEPT_PAUSE_MS: u64 = 1000;

/// A source that could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// What was to be listened on.
    pub listen: Listen,
    /// Line of the section in the configuration.
    pub line: u32,
    /// Why not.
    pub cause: io::Error,
}

/// What one turn over the ready sources found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Some source may have more: come back at once.
    pub more: bool,
    /// Bytes read.
    pub bytes: usize,
    /// How long the loop may leave gathered sources alone now; 0: not at all.
    pub gather_ms: u64,
}

/// Which sources the loop wants to hear from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Sources whose reads are being gathered.
    pub gathered: bool,
    /// Connections: not while the ring is full and their senders are held back.
    pub streams: bool,
    /// Datagram sockets.
    pub datagrams: Datagrams,
}

#[derive(Debug, Clone, Copy)]
enum Token {
    Datagram(usize),
    Listener(usize),
    Connection(usize),
}

/// The open sources.
pub struct Sources {
    datagrams: Vec<DatagramSource>,
    listeners: Vec<StreamSource>,
    connections: Vec<Connection>,
    tokens: Vec<Token>,
    batch: Batch,
    buffer: Vec<u8>,
    accept_again_ms: u64,
    has_told_lost: bool,
    /// Connections that had to wait because [`CONNECTIONS_MAX`] were open, or no descriptor was left.
    pub turned_away: u64,
}

impl Sources {
    /// No source at all: what stands in while others are opened.
    pub fn none() -> Sources {
        Sources {
            datagrams: Vec::new(),
            listeners: Vec::new(),
            connections: Vec::new(),
            tokens: Vec::new(),
            batch: Batch::new(),
            buffer: alloc::vec![0; TURN_BYTES_MAX],
            accept_again_ms: 0,
            has_told_lost: false,
            turned_away: 0,
        }
    }

    /// Opens every source, or says which one could not be.
    pub fn open(configured: &[SyslogSource], place: impl Fn(&str) -> PathBuf) -> Result<Sources, OpenError> {
        let mut sources = Sources::none();
        let opened = Opened::missing_from(&sources, configured, place)?;
        sources.add(opened);
        Ok(sources)
    }

    /// Opens what is configured now and was not before, and closes what is configured no more; what stays is not touched, nor are its
    /// connections. If something cannot be opened, everything is as it was, but for sources that stood in the way of new ones, or that
    /// nobody found any more: with the old configuration, call again.
    pub fn change(
        &mut self,
        configured: &[SyslogSource],
        place: impl Fn(&str) -> PathBuf,
        sink: &mut impl Sink,
    ) -> Result<(), OpenError> {
        let stays = |listen: &Listen| configured.iter().any(|source| source.listen == *listen);
        let in_the_way = |listen: &Listen| configured.iter().any(|source| source.listen.excludes(listen));
        // A socket that nobody finds any more does not stay, either.
        let is_lost = |file: Option<&SocketFile>| file.is_some_and(|file| !file.is_ours());
        self.close_those(|listen, file| is_lost(file) || !stays(listen) && in_the_way(listen), sink);
        let opened = Opened::missing_from(self, configured, place)?;
        self.close_those(|listen, _| !stays(listen), sink);
        self.add(opened);
        self.has_told_lost = false;
        for source in configured {
            self.datagrams
                .iter_mut()
                .filter(|open| open.listen == source.listen)
                .for_each(|open| open.configure(source));
            self.listeners
                .iter_mut()
                .filter(|open| open.listen == source.listen)
                .for_each(|open| open.configure(source));
        }
        Ok(())
    }

    fn is_open(&self, listen: &Listen) -> bool {
        self.datagrams.iter().any(|open| open.listen == *listen)
            || self.listeners.iter().any(|open| open.listen == *listen)
    }

    fn add(&mut self, opened: Opened) {
        self.datagrams.extend(opened.datagrams);
        self.listeners.extend(opened.listeners);
    }

    /// Closes sources and their connections.
    fn close_those(&mut self, chosen: impl Fn(&Listen, Option<&SocketFile>) -> bool, sink: &mut impl Sink) {
        self.tokens.clear(); // places move
        self.datagrams.retain(|source| !chosen(&source.listen, source.file()));
        for listener in self.listeners.extract_if(.., |source| chosen(&source.listen, source.file())) {
            let of_it = |connection: &mut Connection| connection.listener == listener.descriptor();
            self.connections.extract_if(.., of_it).for_each(|mut connection| connection.give_up_partial(sink));
        }
    }

    /// Adds what to poll for. [`Sources::turn`] must get these entries back, in this order.
    pub fn poll_set(&mut self, wanted: Wanted, now_ms: u64, set: &mut Vec<PollFd>) {
        self.tokens.clear();
        let mut add = |token, descriptor: RawFd| {
            self.tokens.push(token);
            set.push(PollFd { fd: descriptor, events: READABLE, revents: 0 });
        };
        for (index, source) in self.datagrams.iter().enumerate() {
            if source.is_wanted(wanted.datagrams) && (wanted.gathered || source.gather_ms == 0) {
                add(Token::Datagram(index), source.descriptor());
            }
        }
        if self.connections.len() < CONNECTIONS_MAX && now_ms >= self.accept_again_ms {
            for (index, source) in self.listeners.iter().enumerate() {
                add(Token::Listener(index), source.descriptor());
            }
        }
        for (index, connection) in self.connections.iter().enumerate() {
            if wanted.streams && (wanted.gathered || connection.gather_ms == 0) {
                add(Token::Connection(index), connection.descriptor());
            }
        }
    }

    /// Reads every source that poll said is ready.
    pub fn turn(&mut self, set: &[PollFd], now_ms: u64, sink: &mut impl Sink) -> Turn {
        let mut turn = Turn::default();
        // Sources that were opened since the set was made are not in it.
        let set = &set[..set.len().min(self.tokens.len())];
        let streams_from = self.tokens.iter().position(|token| matches!(token, Token::Connection(_)));
        let (others, streams) = set.split_at(streams_from.unwrap_or(set.len()).min(set.len()));
        // Datagrams before streams: what room there is must not be gone when their turn comes.
        for (place, _) in others.iter().enumerate().filter(|(_, entry)| entry.revents & (READABLE | GONE) != 0) {
            match self.tokens[place] {
                Token::Datagram(index) => {
                    let source = &mut self.datagrams[index];
                    let (bytes, more) = source.turn(&mut self.batch, sink);
                    turn.bytes += bytes;
                    turn.more |= more;
                    turn.gather_ms = turn.gather_ms.max(source.gather_ms);
                }
                Token::Listener(index) => self.accept(index, now_ms),
                Token::Connection(_) => {}
            }
        }
        // From the end, so that closing a connection moves only ones that have had their turn.
        for (place, entry) in streams.iter().enumerate().rev() {
            let Token::Connection(index) = self.tokens[others.len() + place] else { continue };
            let connection = &mut self.connections[index];
            if entry.revents & (READABLE | GONE) == 0 {
                if connection.partial_deadline_ms().is_some_and(|deadline| now_ms >= deadline) {
                    connection.give_up_partial(sink);
                    drop(self.connections.swap_remove(index));
                }
                continue;
            }
            turn.gather_ms = turn.gather_ms.max(connection.gather_ms);
            let (bytes, after) = connection.turn(&mut self.buffer, now_ms, sink);
            turn.bytes += bytes;
            match after {
                After::Drained => {}
                After::More => turn.more = true,
                After::Closed => drop(self.connections.swap_remove(index)),
            }
        }
        // Also what had no bytes: an empty datagram that is left where it is keeps its socket ready for ever.
        if set.iter().any(|entry| entry.revents & (READABLE | GONE) != 0) {
            sink.keep();
            self.datagrams.iter_mut().for_each(|source| source.let_go(&mut self.batch));
            self.connections.iter_mut().for_each(|connection| connection.let_go(&mut self.buffer));
        }
        turn
    }

    fn accept(&mut self, index: usize, now_ms: u64) {
        while self.connections.len() < CONNECTIONS_MAX {
            match self.listeners[index].accept(now_ms) {
                Ok(connection) => self.connections.push(connection),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The peer gave up before we took it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.accept_again_ms = now_ms + ACCEPT_PAUSE_MS;
                    break;
                }
            }
        }
        self.turned_away += 1;
    }

    /// The next moment at which there is something to do although no source is ready: a partial message whose rest never came, unless
    /// its sender is held back, or an accept to try again.
    pub fn deadline_ms(&self, wanted: Wanted, now_ms: u64) -> Option<u64> {
        let partial = self.connections.iter().filter_map(Connection::partial_deadline_ms).min();
        let accept = (self.accept_again_ms > now_ms).then_some(self.accept_again_ms);
        [partial.filter(|_| wanted.streams && wanted.gathered), accept].into_iter().flatten().min()
    }

    /// Takes the fronts of messages that are half here: the agent stops.
    pub fn close(mut self, sink: &mut impl Sink) {
        for connection in &mut self.connections {
            connection.give_up_partial(sink);
        }
    }

    /// Where a socket of ours was that nobody finds any more: removed, or another's is there. Told once.
    pub fn lost(&mut self) -> Option<&Path> {
        let datagrams = self.datagrams.iter().filter_map(DatagramSource::file);
        let mut files = datagrams.chain(self.listeners.iter().filter_map(StreamSource::file));
        let lost = files.find(|file| !self.has_told_lost && !file.is_ours());
        self.has_told_lost |= lost.is_some();
        lost.map(SocketFile::path)
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Gives memory that a burst filled back to the kernel.
    pub fn give_back(&mut self) {
        self.batch.give_back();
        crate::sys::memory::give_back(&mut self.buffer);
    }
}

/// Sockets that were opened and that nobody reads yet.
#[derive(Default)]
struct Opened {
    datagrams: Vec<DatagramSource>,
    listeners: Vec<StreamSource>,
}

impl Opened {
    /// Opens those sources that are not open already.
    fn missing_from(
        open: &Sources,
        configured: &[SyslogSource],
        place: impl Fn(&str) -> PathBuf,
    ) -> Result<Opened, OpenError> {
        let mut opened = Opened::default();
        for source in configured.iter().filter(|source| !open.is_open(&source.listen)) {
            let done = opened.open(source, &place);
            done.map_err(|cause| OpenError { listen: source.listen.clone(), line: source.line, cause })?;
        }
        Ok(opened)
    }

    fn open(&mut self, source: &SyslogSource, place: impl Fn(&str) -> PathBuf) -> io::Result<()> {
        let made_room = |path: &Path| path.parent().map_or(Ok(()), std::fs::create_dir_all);
        match &source.listen {
            Listen::Udp(address, port) => self.datagrams.push(DatagramSource::udp(source, *address, *port)?),
            Listen::Tcp(address, port) => self.listeners.push(StreamSource::tcp(source, *address, *port)?),
            Listen::UnixDatagram(path) => {
                let path = place(path);
                made_room(&path)?;
                self.datagrams.push(DatagramSource::unix(source, &path)?);
            }
            Listen::UnixStream(path) => {
                let path = place(path);
                made_room(&path)?;
                self.listeners.push(StreamSource::unix(source, &path)?);
            }
        }
        Ok(())
    }
}

impl core::fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Sources")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::Received;
    use crate::sys::poll::poll;
    use std::os::unix::net::UnixDatagram;

    /// Counts what it is given.
    #[derive(Default)]
    struct Counts {
        received: usize,
        malformed: usize,
        kept: usize,
    }

    impl Sink for Counts {
        fn receive(&mut self, _: Received<'_>) {
            self.received += 1;
        }

        fn has_room_for_stream(&self) -> bool {
            true
        }

        fn datagrams(&self) -> Datagrams {
            Datagrams::All
        }

        fn room_for_datagrams(&self) -> usize {
            usize::MAX
        }

        fn keep(&mut self) {
            self.kept = self.received;
        }

        fn malformed(&mut self) {
            self.malformed += 1;
        }
    }

    fn source(listen: Listen) -> SyslogSource {
        SyslogSource { listen, message_bytes_max: 100, gather_ms: 0, line: 1 }
    }

    #[test]
    fn datagrams_leave_their_socket_also_empty_ones() {
        let path = std::env::temp_dir().join(alloc::format!("omsd-sources-{}", std::process::id()));
        let mut sources = Sources::open(&[source(Listen::UnixDatagram("unused".into()))], |_| path.clone()).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let wanted = Wanted { gathered: true, streams: true, datagrams: Datagrams::All };
        let (mut counts, mut set) = (Counts::default(), Vec::new());
        for texts in [&["", ""][..], &["one", "", "two"], &[""]] {
            texts.iter().for_each(|text| assert!(sender.send_to(text.as_bytes(), &path).is_ok()));
            for ready in [1, 0] {
                set.clear();
                sources.poll_set(wanted, 0, &mut set);
                assert_eq!(poll(&mut set, Some(0)).unwrap(), ready);
                sources.turn(&set, 0, &mut counts);
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!((counts.received, counts.kept, counts.malformed), (2, 2, 4));
    }
}
