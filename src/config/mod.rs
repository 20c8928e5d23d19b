//! What the administrator wants, checked: text goes in, a [`Config`] or a list of [`Diagnostic`]s comes out.
//!
//! [`grammar`] makes sections and entries of the text, with their places; [`table`] has every key once; `check` reads the
//! entries by the table and finds out which `<match>` takes which source. None of these opens a file: text comes through
//! [`grammar::Files`], which [`files`] implements for a host. [`takeover`] makes our text of the original's.

mod check;
mod diagnostic;
#[cfg(feature = "std")]
pub mod files;
pub mod grammar;
pub mod hosts;
mod literal;
mod pattern;
pub mod regex;
pub mod table;
pub mod takeover;

pub use diagnostic::{Diagnostic, Severity};
pub use grammar::Files;

use crate::collect::Object;
use crate::limits::{
    CHUNK_BYTES_DEFAULT, DESTINATIONS_MAX, FLUSH_MS_DEFAULT, GATHER_MS_DEFAULT, MESSAGE_BYTES_MAX, RETRY_MS_FIRST,
    RETRY_MS_MAX, RING_BYTES_DEFAULT, SYNC_MS_DEFAULT, TOPOLOGY_MS_DEFAULT,
};
use crate::record::perf::Counters;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use diagnostic::Report;
use regex::Regex;

/// Reads and checks a configuration: `path` and all that it includes. With the configuration come warnings; without it,
/// errors, all of them, and the warnings too. Both in the order of the files' lines.
pub fn parse(files: &mut dyn Files, path: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut report = Report::default();
    let root = grammar::read(files, path, &mut report);
    let config = check::config(&root, &mut report);
    let failed = report.failed();
    let diagnostics = report.into_diagnostics();
    match config {
        Some(config) if !failed => Ok((config, diagnostics)),
        _ => Err(diagnostics),
    }
}

/// What is done without a configuration file: syslog on UDP 127.0.0.1:25224, a heartbeat every 60 s, all sent by `out_oms`
/// with the default paths if an identity exists, and printed by `out_stdout` otherwise.
pub fn embedded_default(identity_exists: bool) -> Config {
    let destination = if identity_exists { Destination::Oms(OmsFiles::default()) } else { Destination::Stdout };
    Config { targets: vec![Target::new(destination, Sending::default())], ..Config::default() }
}

/// A configuration that passed every check. Times are in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where syslog is received; at most [`crate::limits::SOURCES_MAX`].
    pub sources: Vec<SyslogSource>,
    /// What is sampled of the host; at most [`crate::limits::PERF_SOURCES_MAX`].
    pub perf: Vec<PerfSource>,
    /// Time between heartbeat records; `None`: no heartbeat source.
    pub heartbeat_ms: Option<u64>,
    /// Time between topology heartbeats until the service says another.
    pub topology_ms: u64,
    /// Where records go: 1 to [`crate::limits::DESTINATIONS_MAX`], each with another name.
    pub targets: Vec<Target>,
    /// Which of them takes what.
    pub routes: Routes,
    /// The ring's settings: those that stand with the first target.
    pub ring: RingSettings,
    /// Refuse (`false`, default) or allow the standard build on a host in FIPS mode.
    pub allow_non_fips: bool,
    /// Keep state on a file system of a network, which no other host must use.
    pub allow_network_state: bool,
    /// What holds the running agent to what it needs (`sandbox`).
    pub sandbox: Sandbox,
    /// What our own log shows.
    pub log_level: LogLevel,
}

/// What becomes of a running agent that does what it never should (`sandbox`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sandbox {
    /// `on`: the kernel stops it. A kernel that could and does not is an error; one that cannot is none.
    #[default]
    On,
    /// `best_effort`: neither is.
    BestEffort,
    /// `log`: system calls are noted in the kernel's log.
    Log,
    /// `off`: nothing, but privileges are given up all the same.
    Off,
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

/// One `<source>` of type `oms_omi`.
#[derive(Debug, Clone, PartialEq)]
pub struct PerfSource {
    /// What is measured (`object_name`).
    pub object: Object,
    /// Which instances: those in whose names this is found (`instance_regex`).
    pub instances: Regex,
    /// Which of the object's counters (`counter_name_regex`).
    pub counters: Counters,
    /// Time from one sample to the next (`interval`); `None`: one sample at the start.
    pub interval_ms: Option<u64>,
    /// Values as coarse as the original's (`compat`).
    pub compat: bool,
    /// Line of the section in its file, for messages about it; 0: built in.
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

impl Listen {
    /// Whether both can hardly be open at once: the same port, at whatever addresses, or the same path.
    pub fn excludes(&self, other: &Listen) -> bool {
        match (self, other) {
            (Listen::Udp(_, port), Listen::Udp(_, other)) | (Listen::Tcp(_, port), Listen::Tcp(_, other)) => {
                port == other
            }
            (
                Listen::UnixDatagram(path) | Listen::UnixStream(path),
                Listen::UnixDatagram(other) | Listen::UnixStream(other),
            ) => path == other,
            _ => false,
        }
    }
}

/// A `<match>` that takes records, or a `<store>` of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What it is known by, to the operator and, after a restart, to the ring: its `@id`, or else its type and its workspace or
    /// rule.
    pub name: String,
    /// Where its requests go.
    pub destination: Destination,
    /// How its records wait until then.
    pub sending: Sending,
}

/// The targets that each kind of record goes to: bit n is `targets[n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routes {
    /// Syslog messages.
    pub syslog: u8,
    /// Performance counters.
    pub perf: u8,
    /// Heartbeats.
    pub heartbeat: u8,
}

/// Where the directories of an onboarded workspace are.
const WORKSPACES: &str = "/etc/opt/omsd/";

impl Target {
    /// A target with the name that follows from where it goes.
    pub fn new(destination: Destination, sending: Sending) -> Target {
        Target { name: destination.name(), destination, sending }
    }
}

impl Destination {
    /// The `type` that it is of.
    pub fn type_name(&self) -> &'static str {
        match self {
            Destination::Stdout => "out_stdout",
            Destination::Oms(_) => "out_oms",
            Destination::AzureIngestion(_) => "out_azure_ingestion",
            Destination::DataCollector(_) => "out_data_collector",
        }
    }

    /// Its `proxy_conf_path`. `None`: it sends nothing over the network.
    pub fn proxy_conf(&self) -> Option<&str> {
        match self {
            Destination::Stdout => None,
            Destination::Oms(files) => Some(&files.proxy_conf),
            Destination::AzureIngestion(settings) => Some(&settings.rows.proxy_conf),
            Destination::DataCollector(settings) => Some(&settings.rows.proxy_conf),
        }
    }

    /// What a target is called that has no `@id`: the `type` and which rule or, where it is not the primary one, which workspace.
    pub fn name(&self) -> String {
        let files = match self {
            Destination::Oms(files) => files,
            Destination::AzureIngestion(rule) => return [self.type_name(), " ", &rule.rule_id].concat(),
            _ => return self.type_name().to_string(),
        };
        let path = files.omsadmin_conf.as_str();
        let workspace = path.strip_prefix(WORKSPACES).and_then(|rest| rest.strip_suffix("/conf/omsadmin.conf"));
        match workspace {
            _ if path == OmsFiles::default().omsadmin_conf => "out_oms".to_string(),
            Some(workspace) => ["out_oms ", workspace].concat(),
            None => ["out_oms ", path].concat(),
        }
    }
}

/// What makes requests of records.
#[derive(Debug, Clone, PartialEq)]
pub enum Destination {
    /// `type out_stdout`: request bodies as JSON lines.
    Stdout,
    /// `type out_oms`: ODS with a client certificate.
    Oms(OmsFiles),
    /// `type out_azure_ingestion`: the Logs Ingestion API.
    AzureIngestion(AzureIngestion),
    /// `type out_data_collector`: the HTTP Data Collector API.
    DataCollector(DataCollector),
}

/// What `out_azure_ingestion` is told. Paths are absolute, before `--root` is put in front.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AzureIngestion {
    /// `endpoint`: `https://HOST[:PORT]`, of the data collection endpoint or of the rule itself.
    pub endpoint: String,
    /// `dcr_id`: the rule's immutable id.
    pub rule_id: String,
    /// `api_version`
    pub api_version: String,
    /// `cloud`
    pub cloud: Cloud,
    /// `authority`: `https://HOST[:PORT]` that tokens are asked for.
    pub authority: String,
    /// `identity`, and what goes with it.
    pub identity: Identity,
    /// What it has in common with [`DataCollector`].
    pub rows: RowSettings,
}

/// What `out_data_collector` is told.
#[derive(Debug, Clone, PartialEq)]
pub struct DataCollector {
    /// `workspace_id`
    pub workspace_id: String,
    /// `shared_key_path`
    pub shared_key: String,
    /// `endpoint`: `https://HOST[:PORT]`
    pub endpoint: String,
    /// `api_version`
    pub api_version: String,
    /// What it has in common with [`AzureIngestion`].
    pub rows: RowSettings,
}

/// What all that send rows are told.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSettings {
    /// The stream or log type of each kind of record.
    pub names: RowNames,
    /// `syslog_table`
    pub syslog_table: SyslogTable,
    /// `severity_warning`
    pub warning: &'static str,
    /// `proxy_conf_path`
    pub proxy_conf: String,
    /// `no_proxy`: hosts that are reached without it, as [`hosts`] reads them; empty: none.
    pub no_proxy: String,
    /// `ca_file`; empty: none.
    pub ca_file: String,
    /// `compress`
    pub compress: bool,
}

/// What each kind of record is called where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowNames {
    /// `syslog_stream`
    pub syslog: String,
    /// `perf_stream`
    pub perf: String,
    /// `heartbeat_stream`
    pub heartbeat: String,
    /// `operation_stream`
    pub operation: String,
}

/// The table that syslog rows are for (`syslog_table`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyslogTable {
    /// `Syslog`
    Syslog,
    /// `CommonSecurityLog`: messages that are CEF events; of any other the text, with its tag, is the `Message`.
    CommonSecurityLog,
}

/// Which of Azure's clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cloud {
    /// `public`
    #[default]
    Public,
    /// `usgov`
    UsGov,
    /// `china`
    China,
}

/// An application that is registered with a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct App {
    /// `tenant_id`
    pub tenant: String,
    /// `client_id`
    pub client: String,
}

/// Who we are to Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// `identity secret`: an application and the file of its secret.
    Secret {
        /// Which application.
        app: App,
        /// `secret_path`
        secret: String,
    },
    /// `identity certificate`: an application and its certificate's files.
    Certificate {
        /// Which application.
        app: App,
        /// `cert_path`
        certificate: String,
        /// `key_path`
        key: String,
    },
    /// `identity managed`: the machine is one of Azure's.
    Managed {
        /// `client_id` of a user-assigned one; empty: the system's.
        client: String,
        /// `identity_endpoint`
        endpoint: Nearby,
    },
    /// `identity arc`: the machine is known to Azure Arc.
    Arc {
        /// `identity_endpoint`
        endpoint: Nearby,
        /// Where challenges are; set by who uses it.
        challenges: String,
    },
}

impl Default for Identity {
    fn default() -> Self {
        Identity::Managed { client: String::new(), endpoint: Nearby::default() }
    }
}

impl Cloud {
    /// Where tokens are asked for. Source: "National clouds" of the Microsoft identity platform.
    pub fn authority(self) -> &'static str {
        match self {
            Cloud::Public => "https://login.microsoftonline.com",
            Cloud::UsGov => "https://login.microsoftonline.us",
            Cloud::China => "https://login.partner.microsoftonline.cn",
        }
    }

    /// What tokens are for. Source: "Logs Ingestion API in Azure Monitor".
    pub fn audience(self) -> &'static str {
        match self {
            Cloud::Public => "https://monitor.azure.com",
            Cloud::UsGov => "https://monitor.azure.us",
            Cloud::China => "https://monitor.azure.cn",
        }
    }
}

/// A service that is asked by plain HTTP, and therefore is on this machine or its link: a token that crosses a network in clear is a
/// token lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearby {
    /// Loopback or link-local.
    pub address: SocketAddr,
    /// Path, without a query.
    pub path: String,
}

impl Nearby {
    /// Reads `http://ADDRESS[:PORT]/PATH`; `None` unless the address is one of loopback, `localhost`, or of 169.254.0.0/16.
    pub fn parse(url: &str) -> Option<Nearby> {
        let rest = url.strip_prefix("http://")?;
        let (host, path) = rest.split_at(rest.find('/')?);
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, port.parse().ok()?),
            None => (host, 80),
        };
        let ip = if name == "localhost" { Ipv4Addr::LOCALHOST } else { name.parse().ok()? };
        let fine = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        let near = (ip.is_loopback() || ip.is_link_local()) && port > 0;
        (near && fine).then(|| Nearby { address: (ip, port).into(), path: path.to_string() })
    }
}

impl Default for Nearby {
    fn default() -> Self {
        Nearby { address: (Ipv4Addr::LOCALHOST, 80).into(), path: String::new() }
    }
}

impl fmt::Display for Nearby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.path)
    }
}

impl Default for RowSettings {
    fn default() -> Self {
        RowSettings {
            names: RowNames::default(),
            syslog_table: SyslogTable::Syslog,
            warning: "warning",
            proxy_conf: "/etc/opt/omsd/proxy.conf".to_string(),
            no_proxy: String::new(),
            ca_file: String::new(),
            compress: true,
        }
    }
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
    /// `no_proxy`: hosts that are reached without the proxy, as [`hosts`] reads them; empty: none.
    pub no_proxy: String,
    /// `ca_file`: PEM certificates trusted in addition to the system's; empty: none.
    pub ca_file: String,
    /// `compress`
    pub compress: bool,
}

/// The parameters of a `<match>` that concern the ring file, of which there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct RingSettings {
    /// `buffer_path`: the ring file, absolute, before `--root`.
    pub path: String,
    /// `buffer_size`: the ring file's size.
    pub bytes: u64,
    /// `buffer_queue_full_action`
    pub full_action: FullAction,
    /// `sync_interval`; 0: every batch.
    pub sync_ms: u64,
}

/// The parameters of a `<match>` that say how its own records become requests, and what follows a failed one.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    /// `buffer_chunk_limit`: raw frames in one request.
    pub chunk_bytes: usize,
    /// `flush_interval`
    pub flush_ms: u64,
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

impl Config {
    /// Whether any record leaves this host.
    pub fn uploads(&self) -> bool {
        self.targets.iter().any(|target| target.destination != Destination::Stdout)
    }

    /// Sends everything to each of these onboarded workspaces, if they are several. The first ones count.
    pub fn send_to_workspaces(&mut self, ids: &[String]) {
        let Some(first) = self.targets.first().filter(|_| ids.len() > 1) else { return };
        let target = |id: &String| Target::new(Destination::Oms(OmsFiles::of_workspace(id)), first.sending.clone());
        self.targets = ids.iter().take(DESTINATIONS_MAX).map(target).collect();
        self.routes = Routes { syslog: u8::MAX, perf: u8::MAX, heartbeat: u8::MAX };
    }
}

impl OmsFiles {
    /// Those of an onboarded workspace, whether or not it is the primary one.
    pub fn of_workspace(id: &str) -> OmsFiles {
        let path = |file: &str| [WORKSPACES, id, file].concat();
        OmsFiles {
            omsadmin_conf: path("/conf/omsadmin.conf"),
            certificate: path("/certs/oms.crt"),
            key: path("/certs/oms.key"),
            ..OmsFiles::default()
        }
    }
}

impl Default for Routes {
    fn default() -> Self {
        Routes { syslog: 1, perf: 1, heartbeat: 1 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            sources: vec![SyslogSource::default()],
            perf: Vec::new(),
            heartbeat_ms: Some(60_000),
            topology_ms: TOPOLOGY_MS_DEFAULT,
            targets: vec![Target::new(Destination::Stdout, Sending::default())],
            routes: Routes::default(),
            ring: RingSettings::default(),
            allow_non_fips: false,
            allow_network_state: false,
            sandbox: Sandbox::default(),
            log_level: LogLevel::Info,
        }
    }
}

impl Default for SyslogSource {
    fn default() -> Self {
        SyslogSource {
            listen: Listen::Udp(Ipv4Addr::LOCALHOST.into(), 25224),
            message_bytes_max: MESSAGE_BYTES_MAX,
            gather_ms: GATHER_MS_DEFAULT,
            line: 0,
        }
    }
}

impl Default for OmsFiles {
    fn default() -> Self {
        OmsFiles {
            omsadmin_conf: "/etc/opt/omsd/conf/omsadmin.conf".to_string(),
            certificate: "/etc/opt/omsd/certs/oms.crt".to_string(),
            key: "/etc/opt/omsd/certs/oms.key".to_string(),
            proxy_conf: "/etc/opt/omsd/proxy.conf".to_string(),
            no_proxy: String::new(),
            ca_file: String::new(),
            compress: true,
        }
    }
}

impl Default for RingSettings {
    fn default() -> Self {
        RingSettings {
            path: "/var/opt/omsd/ring".to_string(),
            bytes: RING_BYTES_DEFAULT,
            full_action: FullAction::HoldStreams,
            sync_ms: SYNC_MS_DEFAULT,
        }
    }
}

impl Default for Sending {
    fn default() -> Self {
        Sending {
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            flush_ms: FLUSH_MS_DEFAULT,
            retry_limit: None,
            retry_wait_ms: RETRY_MS_FIRST,
            retry_wait_max_ms: RETRY_MS_MAX,
        }
    }
}

#[cfg(test)]
mod tests;
