//! What the administrator wants, checked: text goes in, a [`Config`] or a list of [`Diagnostic`]s comes out.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// A configuration that passed every check. Times are in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where syslog is received; at most [`crate::limits::SOURCES_MAX`].
    pub sources: Vec<SyslogSource>,
    /// Seconds between heartbeat records in milliseconds; `None`: no heartbeat source.
    pub heartbeat_ms: Option<u64>,
    /// Where records go.
    pub destination: Destination,
    /// How they wait until then.
    pub buffer: Buffer,
    /// Refuse (`false`, default) or allow the standard build on a host in FIPS mode.
    pub allow_non_fips: bool,
    /// What our own log shows.
    pub log_level: LogLevel,
}

/// One `<source>` of type `syslog`.
#[derive(Debug, Clone, PartialEq)]
pub struct SyslogSource {
    /// What is listened on.
    pub listen: Listen,
    /// Longest message kept whole (`message_length_limit`).
    pub message_bytes_max: usize,
    /// How long reads are gathered under light load (`gather`); 0: not at all.
    pub gather_ms: u64,
    /// Line of the section in its file, for messages about it.
    pub line: u32,
}

/// What a syslog source listens on.
#[derive(Debug, Clone, PartialEq)]
pub enum Listen {
    /// `protocol_type udp`
    Udp(IpAddr, u16),
    /// `protocol_type tcp`
    Tcp(IpAddr, u16),
    /// `protocol_type unix_dgram`: path of the socket.
    UnixDatagram(String),
    /// `protocol_type unix` or `unix_stream`: path of the socket.
    UnixStream(String),
}

/// The `<match>` that takes the records.
#[derive(Debug, Clone, PartialEq)]
pub enum Destination {
    /// `type out_stdout`: request bodies as JSON lines.
    Stdout,
    /// `type out_oms`: ODS with a client certificate.
    Oms(OmsFiles),
}

/// The files `out_oms` is known by; all absolute, before `--root` is put in front.
#[derive(Debug, Clone, PartialEq)]
pub struct OmsFiles {
    /// `omsadmin_conf_path`
    pub omsadmin_conf: String,
    /// `cert_path`
    pub certificate: String,
    /// `key_path`
    pub key: String,
    /// `proxy_conf_path`
    pub proxy_conf: String,
    /// `ca_file`: PEM certificates trusted in addition to the system's; empty: none.
    pub ca_file: String,
    /// `compress`
    pub compress: bool,
}

/// The buffer and retry parameters of the `<match>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    /// `buffer_path`: the ring file, absolute, before `--root`.
    pub ring_path: String,
    /// `buffer_size`: the ring file's size.
    pub ring_bytes: u64,
    /// `buffer_chunk_limit`: raw frames in one request.
    pub chunk_bytes: usize,
    /// `buffer_queue_full_action`
    pub full_action: FullAction,
    /// `flush_interval`
    pub flush_ms: u64,
    /// `sync_interval`; 0: every batch.
    pub sync_ms: u64,
    /// `retry_limit`: attempts before a chunk is discarded; `None`: never, our default.
    pub retry_limit: Option<u32>,
    /// `retry_wait`
    pub retry_wait_ms: u64,
    /// `max_retry_wait`
    pub retry_wait_max_ms: u64,
}

/// What happens to new messages when the ring is full of frames not yet delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullAction {
    /// Unset, our default: datagrams overwrite the oldest frame, stream senders are held back.
    HoldStreams,
    /// `drop_oldest_chunk`: everything overwrites the oldest.
    DropOldest,
    /// `block`: nothing is read until there is room.
    Block,
    /// `exception`: the new message is dropped and counted.
    DropNewest,
}

/// What our own log shows, most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what stops the agent.
    Fatal,
    /// And what needs an administrator.
    Error,
    /// And what went wrong but mends itself.
    Warn,
    /// And what happens: the default.
    Info,
    /// And each upload.
    Debug,
    /// And each turn.
    Trace,
}
