//! Every section, type and key, once: what it takes, its default and range, and what it means; and what of the original's
//! is accepted although it does nothing here. The checker reads values by this table; tests find every row in the sample
//! configuration and in the manual page, with the same default, range and unit.

use super::literal::{size_text, time_text};
use crate::collect::Object;
use crate::limits::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CONFIG_PATTERN_BYTES_MAX, CONFIG_TAG_BYTES_MAX, CONFIG_TIME_MS_MAX,
    CONFIG_TIME_MS_MIN, GATHER_MS_MAX, MESSAGE_BYTES_MAX, RING_BYTES_MAX, RING_BYTES_MIN,
};
use alloc::format;
use alloc::string::{String, ToString};

/// Where a key may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// `<system>`
    System,
    /// `<source>` of type `syslog`
    Syslog,
    /// `<source>` of type `oms_heartbeat`
    Heartbeat,
    /// `<source>` of type `heartbeat_request`
    Topology,
    /// `<source>` of type `oms_omi`
    Perf,
    /// `<match>` of type `copy`, which has sections `<store>` in place of keys
    Copy,
    /// `<match>` of type `out_oms`; of any other too, unless the key is about that service
    Match,
    /// `<match>` of type `out_azure_ingestion`
    Ingestion,
    /// `<match>` of type `out_data_collector`
    Collector,
}

/// What the value of a key is, and its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word of at most [`crate::limits::CONFIG_TAG_BYTES_MAX`] bytes.
    Text,
    /// One of these.
    Word(&'static [&'static str]),
    /// One of these names, which may have blanks in them.
    Name(&'static [&'static str]),
    /// A regular expression, as [`super::regex`] has it.
    Regex,
    /// `true` or `false`.
    Flag,
    /// A list of at most [`CONFIG_PATTERN_BYTES_MAX`] bytes, as [`super::hosts`] reads it.
    Hosts,
    /// An absolute path.
    Path,
    /// An IPv4 or IPv6 address.
    Address,
    /// A whole number.
    Count(Range),
    /// A size as the original reads it.
    Size(Range),
    /// A time as the original reads it.
    Time(Range),
    /// A time that may be in milliseconds, read strictly: the key is ours.
    ShortTime(Range),
    /// A key of the original that does nothing here, whatever its value.
    Nothing,
}

/// Bounds, inclusive, in bytes or milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Least value.
    pub min: u64,
    /// Greatest value.
    pub max: u64,
    /// Whether a value outside is taken as the nearest bound, with a warning, because existing files have such values.
    pub clamp: bool,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Where it may stand.
    pub home: Home,
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// The default as it would be written in a file; empty: none.
    pub default: &'static str,
    /// One line on what it means or, for [`Kind::Nothing`], on what is done instead.
    pub meaning: &'static str,
}

/// What a `type` does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What its name says; its keys are at this home.
    Works(Home),
    /// Nothing, and neither do the keys in it.
    Nothing,
}

/// One `type` of a `<source>`, `<filter>` or `<match>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plugin {
    /// Name of the section.
    pub section: &'static str,
    /// Name of the type.
    pub name: &'static str,
    /// What it does here.
    pub effect: Effect,
    /// One line on what it means or, without effect, on what comes of it.
    pub meaning: &'static str,
}

/// The sections that may stand outside any other.
pub const SECTIONS: [&str; 4] = ["source", "filter", "match", "system"];

/// What the original's installer puts in, and what stands for it here. `%WORKSPACE_ID%` stays as it is: no key of ours
/// needs it, since the paths without it lead to the primary workspace.
pub const TOKENS: [(&str, &str); 8] = [
    ("%CONF_DIR_WS%", "/etc/opt/omsd/conf"),
    ("%CERT_DIR_WS%", "/etc/opt/omsd/certs"),
    ("%TMP_DIR_WS%", "/var/opt/omsd"),
    ("%RUN_DIR_WS%", "/var/opt/omsd"),
    ("%STATE_DIR_WS%", "/var/opt/omsd"),
    ("%LOG_DIR_WS%", "/var/opt/omsd"),
    ("%SYSLOG_PORT%", "25224"),
    ("%MONITOR_AGENT_PORT%", "25324"),
];

const WORKS_SYSLOG: Effect = Effect::Works(Home::Syslog);
const WORKS_HEARTBEAT: Effect = Effect::Works(Home::Heartbeat);
const WORKS_TOPOLOGY: Effect = Effect::Works(Home::Topology);
const WORKS_PERF: Effect = Effect::Works(Home::Perf);
const WORKS_MATCH: Effect = Effect::Works(Home::Match);
const WORKS_INGESTION: Effect = Effect::Works(Home::Ingestion);
const WORKS_COLLECTOR: Effect = Effect::Works(Home::Collector);
const NOTHING: Effect = Effect::Nothing;

const NO_COUNTERS: &str = "only the operating system's counters are collected, by sources of type oms_omi";
const NO_FILES: &str = "files are not followed";
const NO_PROGRAMS: &str = "no program is run";
const NO_LISTENER: &str = "only syslog is listened for";
const NO_SOLUTION: &str = "the records of this solution are not made";
const NO_MAKER: &str = "no source here makes records for it";
const AS_THEY_CAME: &str = "messages are kept and sent as they came, none is changed or left out";
const NOT_HERE: &str = "records go to out_oms, out_azure_ingestion, out_data_collector or out_stdout only";

/// Every type. The first columns are what is written in a file.
#[rustfmt::skip]
pub const PLUGINS: &[Plugin] = &[
    plugin("source", "syslog", WORKS_SYSLOG, "receives syslog messages"),
    plugin("source", "oms_heartbeat", WORKS_HEARTBEAT, "makes a record that says the host is there"),
    plugin("source", "heartbeat_request", WORKS_TOPOLOGY, "tells the service that the agent is there, and renews its certificate"),
    plugin("source", "oms_omi", WORKS_PERF, "samples performance counters of the operating system"),
    plugin("source", "exec", NOTHING, NO_PROGRAMS),
    plugin("source", "tail", NOTHING, NO_FILES),
    plugin("source", "sudo_tail", NOTHING, NO_FILES),
    plugin("source", "udp", NOTHING, NO_LISTENER),
    plugin("source", "tcp", NOTHING, NO_LISTENER),
    plugin("source", "http", NOTHING, NO_LISTENER),
    plugin("source", "forward", NOTHING, NO_LISTENER),
    plugin("source", "statsd", NOTHING, NO_LISTENER),
    plugin("source", "omi", NOTHING, NO_COUNTERS),
    plugin("source", "vminsights", NOTHING, NO_COUNTERS),
    plugin("source", "mongostat", NOTHING, NO_COUNTERS),
    plugin("source", "mysql_workload", NOTHING, NO_COUNTERS),
    plugin("source", "agent_telemetry", NOTHING, "nothing is reported about the agent's own resource use"),
    plugin("source", "dsc_monitor", NOTHING, "there is no configuration agent to watch"),
    plugin("source", "monitor_agent", NOTHING, "`omsd status` says how the agent is"),
    plugin("source", "npmd", NOTHING, NO_SOLUTION),
    plugin("source", "zabbix_alerts", NOTHING, NO_SOLUTION),
    plugin("source", "auoms", NOTHING, NO_SOLUTION),
    plugin("filter", "filter_syslog", NOTHING, "rendering is built in, and host names are not looked up"),
    plugin("filter", "filter_syslog_security", NOTHING, NO_SOLUTION),
    plugin("filter", "filter_operation", NOTHING, "operation records are the agent's own"),
    plugin("filter", "filter_collectd", NOTHING, NO_COUNTERS),
    plugin("filter", "filter_nagios_log", NOTHING, NO_SOLUTION),
    plugin("filter", "filter_flatten", NOTHING, NO_SOLUTION),
    plugin("filter", "filter_omi", NOTHING, NO_COUNTERS),
    plugin("filter", "filter_changetracking", NOTHING, NO_SOLUTION),
    plugin("filter", "filter_patch_management", NOTHING, NO_SOLUTION),
    plugin("filter", "filter_security_baseline", NOTHING, NO_SOLUTION),
    plugin("filter", "record_transformer", NOTHING, AS_THEY_CAME),
    plugin("filter", "grep", NOTHING, AS_THEY_CAME),
    plugin("match", "out_oms", WORKS_MATCH, "sends to Log Analytics, known by the client certificate"),
    plugin("match", "out_azure_ingestion", WORKS_INGESTION, "sends rows to a data collection rule by the Logs Ingestion API"),
    plugin("match", "out_data_collector", WORKS_COLLECTOR, "sends rows to custom tables by the HTTP Data Collector API, which is out of support"),
    plugin("match", "out_stdout", WORKS_MATCH, "prints request bodies as JSON, one a line, on standard output"),
    plugin("match", "stdout", WORKS_MATCH, "the same as out_stdout"),
    plugin("match", "copy", Effect::Works(Home::Copy), "gives each record to every `<store>` in it, which is as a `<match>`"),
    plugin("match", "out_oms_diag", NOTHING, NO_MAKER),
    plugin("match", "out_oms_api", NOTHING, NO_MAKER),
    plugin("match", "out_oms_blob", NOTHING, NO_MAKER),
    plugin("match", "statsd_aggregator", NOTHING, NO_MAKER),
    plugin("match", "null", NOTHING, NOT_HERE),
    plugin("match", "file", NOTHING, NOT_HERE),
    plugin("match", "forward", NOTHING, NOT_HERE),
    plugin("match", "exec", NOTHING, NOT_HERE),
];

const PROTOCOLS: Kind = Kind::Word(&["udp", "tcp", "unix", "unix_stream", "unix_dgram"]);
const LOG_LEVELS: Kind = Kind::Word(&["fatal", "error", "warn", "info", "debug", "trace"]);
const FULL_ACTIONS: Kind = Kind::Word(&["drop_oldest_chunk", "block", "exception"]);
const SANDBOXES: Kind = Kind::Word(&["on", "best_effort", "log", "off"]);
const PORT: Kind = Kind::Count(bounds(1, 65_535));
const ATTEMPTS: Kind = Kind::Count(bounds(1, 1_000_000));
const MESSAGE_LENGTH: Kind = Kind::Size(near(480, MESSAGE_BYTES_MAX as u64));
const CHUNK: Kind = Kind::Size(near(CHUNK_BYTES_MIN as u64, CHUNK_BYTES_MAX as u64));
const RING: Kind = Kind::Size(bounds(RING_BYTES_MIN, RING_BYTES_MAX));
const GATHER: Kind = Kind::ShortTime(bounds(0, GATHER_MS_MAX));
const SYNC: Kind = Kind::ShortTime(bounds(0, CONFIG_TIME_MS_MAX));
const INTERVAL: Kind = Kind::Time(bounds(1000, CONFIG_TIME_MS_MAX));
const SAMPLE_INTERVAL: Kind = Kind::Time(near(1000, CONFIG_TIME_MS_MAX));
const OBJECT: Kind = Kind::Name(&OBJECTS);
const WAIT: Kind = Kind::Time(near(CONFIG_TIME_MS_MIN, CONFIG_TIME_MS_MAX));

const CLOUDS: Kind = Kind::Word(&["public", "usgov", "china"]);
const IDENTITIES: Kind = Kind::Word(&["managed", "arc", "secret", "certificate"]);
const TABLES: Kind = Kind::Word(&["Syslog", "CommonSecurityLog"]);
const WARNINGS: Kind = Kind::Word(&["warning", "warn"]);

/// What `object_name` may be: the objects in the order of their numbers.
pub const OBJECTS: [&str; Object::ALL.len()] = object_names();

/// Objects of the original that other programs measured for it.
pub const FOREIGN_OBJECTS: [&str; 5] =
    ["Container", "Apache HTTP Server", "Apache Virtual Host", "MySQL Server", "MySQL Database"];

const fn object_names() -> [&'static str; Object::ALL.len()] {
    let mut names = [""; Object::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Object::ALL[index].name();
        index += 1;
    }
    names
}

const EVERY_FORM: &str = "every form of syslog message is known and kept whole";
const NO_KEYS: &str = "the fields of a record are those of the service's table";
const ONE_RING: &str = "all that waits is in one file: `buffer_size` bounds it";
const BY_MATCH: &str = "the identity is the one that the `<match>` sends with";
const OWN_LOG: &str = "the level of the agent's own log is set in `<system>`";

/// Every key. The columns: home, name, value and range, default, meaning.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key(Home::System, "log_level", LOG_LEVELS, "info", "least severe messages that the agent's own log shows"),
    key(Home::System, "allow_non_fips", Kind::Flag, "false", "upload although the host is in FIPS mode and this build is not a FIPS build"),
    key(Home::System, "allow_network_state", Kind::Flag, "false", "keep state on a file system of a network, which no other host may use"),
    key(Home::System, "sandbox", SANDBOXES, "on", "what holds the running agent to the system calls and files that it needs"),
    key(Home::System, "rpc_endpoint", Kind::Nothing, "", "there is no control port: signals do its work"),
    key(Home::System, "process_name", Kind::Nothing, "", "the process is named omsd"),
    key(Home::System, "root_dir", Kind::Nothing, "", "`--root` puts all paths below a directory"),
    key(Home::System, "without_source", Kind::Nothing, "", "sources are always started"),
    key(Home::System, "suppress_config_dump", Kind::Nothing, "", "the configuration is never written to the log"),
    key(Home::System, "suppress_repeated_stacktrace", Kind::Nothing, "", "there are no stack traces"),
    key(Home::System, "emit_error_log_interval", Kind::Nothing, "", "what repeats is counted and reported once per interval"),

    key(Home::Syslog, "protocol_type", PROTOCOLS, "udp", "what is listened on; unix is unix_stream"),
    key(Home::Syslog, "port", PORT, "25224", "port, for udp and tcp"),
    key(Home::Syslog, "bind", Kind::Address, "127.0.0.1", "address listened on, for udp and tcp"),
    key(Home::Syslog, "path", Kind::Path, "", "the socket's file, for unix sockets; required there"),
    key(Home::Syslog, "tag", Kind::Text, "oms.syslog", "name by which a `<match>` takes the messages, followed by facility and severity"),
    key(Home::Syslog, "message_length_limit", MESSAGE_LENGTH, "64k", "longest message kept whole; the rest is cut and counted"),
    key(Home::Syslog, "gather", GATHER, "20ms", "how long messages may be gathered before they are read, under light load; 0 is not at all"),
    key(Home::Syslog, "delimiter", Kind::Nothing, "", "a stream's framing is recognised: octet counting or newlines"),
    key(Home::Syslog, "message_format", Kind::Nothing, "", EVERY_FORM),
    key(Home::Syslog, "format", Kind::Nothing, "", EVERY_FORM),
    key(Home::Syslog, "time_format", Kind::Nothing, "", EVERY_FORM),
    key(Home::Syslog, "with_priority", Kind::Nothing, "", EVERY_FORM),
    key(Home::Syslog, "allow_without_priority", Kind::Nothing, "", EVERY_FORM),
    key(Home::Syslog, "default_priority", Kind::Nothing, "", EVERY_FORM),
    key(Home::Syslog, "keep_time_key", Kind::Nothing, "", NO_KEYS),
    key(Home::Syslog, "include_source_host", Kind::Nothing, "", NO_KEYS),
    key(Home::Syslog, "source_host_key", Kind::Nothing, "", NO_KEYS),
    key(Home::Syslog, "facility_key", Kind::Nothing, "", NO_KEYS),
    key(Home::Syslog, "priority_key", Kind::Nothing, "", NO_KEYS),
    key(Home::Syslog, "log_level", Kind::Nothing, "", OWN_LOG),

    key(Home::Heartbeat, "interval", INTERVAL, "60s", "time from one heartbeat to the next"),
    key(Home::Heartbeat, "tag", Kind::Text, "oms.heartbeat", "name by which a `<match>` takes the records"),
    key(Home::Heartbeat, "log_level", Kind::Nothing, "", OWN_LOG),

    key(Home::Topology, "run_interval", INTERVAL, "20m", "time from one topology heartbeat to the next, until the service says another"),
    key(Home::Topology, "omsadmin_conf_path", Kind::Nothing, "", BY_MATCH),
    key(Home::Topology, "cert_path", Kind::Nothing, "", BY_MATCH),
    key(Home::Topology, "key_path", Kind::Nothing, "", BY_MATCH),
    key(Home::Topology, "proxy_path", Kind::Nothing, "", BY_MATCH),
    key(Home::Topology, "pid_path", Kind::Nothing, "", "the agent knows its own process"),
    key(Home::Topology, "os_info", Kind::Nothing, "", "the host's release files are read"),
    key(Home::Topology, "install_info", Kind::Nothing, "", "the agent knows its own version"),
    key(Home::Topology, "log_level", Kind::Nothing, "", OWN_LOG),

    key(Home::Perf, "object_name", OBJECT, "", "what is measured; required"),
    key(Home::Perf, "instance_regex", Kind::Regex, ".*", "which instances, by a regular expression that is searched for in their names"),
    key(Home::Perf, "counter_name_regex", Kind::Regex, ".*", "which counters, by one that is searched for in theirs"),
    key(Home::Perf, "interval", SAMPLE_INTERVAL, "", "time from one sample to the next; unset: one sample at the start"),
    key(Home::Perf, "compat", Kind::Flag, "false", "values as coarse as the original's"),
    key(Home::Perf, "tag", Kind::Text, "oms.omi", "name by which a `<match>` takes the records"),
    key(Home::Perf, "omi_mapping_path", Kind::Nothing, "", "objects, counters and their names are built in"),
    key(Home::Perf, "log_level", Kind::Nothing, "", OWN_LOG),

    key(Home::Copy, "deep_copy", Kind::Nothing, "", "a record is kept once, whoever it is for"),

    key(Home::Match, "workspace_id", Kind::Text, "", "an onboarded workspace; unset: the primary one. Says where the next three are"),
    key(Home::Match, "omsadmin_conf_path", Kind::Path, "/etc/opt/omsd/conf/omsadmin.conf", "which workspace, agent and endpoint"),
    key(Home::Match, "cert_path", Kind::Path, "/etc/opt/omsd/certs/oms.crt", "client certificate, PEM"),
    key(Home::Match, "key_path", Kind::Path, "/etc/opt/omsd/certs/oms.key", "its private key, PEM"),
    key(Home::Match, "proxy_conf_path", Kind::Path, "/etc/opt/omsd/proxy.conf", "proxy, as [http://|https://][user:password@]host[:port]; no such file, no proxy"),
    key(Home::Match, "no_proxy", Kind::Hosts, "", "hosts that are reached without the proxy"),
    key(Home::Match, "ca_file", Kind::Path, "", "certificates trusted in addition to the usual ones, PEM"),
    key(Home::Match, "compress", Kind::Flag, "true", "compress request bodies"),
    key(Home::Match, "buffer_path", Kind::Path, "/var/opt/omsd/ring", "the ring file, which keeps what is not yet sent"),
    key(Home::Match, "buffer_size", RING, "10m", "size of the ring file; all of it is claimed at the first start"),
    key(Home::Match, "buffer_chunk_limit", CHUNK, "1m", "what waits goes into one request up to this size, uncompressed"),
    key(Home::Match, "buffer_queue_full_action", FULL_ACTIONS, "", "what happens when the ring is full; unset: datagrams overwrite the oldest, stream senders are held back"),
    key(Home::Match, "flush_interval", WAIT, "20s", "longest time that a message waits for others before it is sent"),
    key(Home::Match, "sync_interval", SYNC, "1s", "what a power cut may cost at most; 0 syncs every batch"),
    key(Home::Match, "retry_limit", ATTEMPTS, "", "attempts before a chunk is discarded and counted; unset: it is kept until the ring overwrites it"),
    key(Home::Match, "disable_retry_limit", Kind::Flag, "false", "never discard, whatever `retry_limit` says"),
    key(Home::Match, "retry_wait", WAIT, "30s", "wait after the first failed attempt; doubles with each further one"),
    key(Home::Match, "max_retry_wait", WAIT, "16m", "longest wait between two attempts"),
    key(Home::Match, "log_level", LOG_LEVELS, "", "as in `<system>`, where that does not set it"),
    key(Home::Match, "buffer_type", Kind::Nothing, "", ONE_RING),
    key(Home::Match, "buffer_queue_limit", Kind::Nothing, "", ONE_RING),
    key(Home::Match, "num_threads", Kind::Nothing, "", "one child process for each destination uploads, chunk after chunk"),
    key(Home::Match, "run_in_background", Kind::Nothing, "", "uploading never holds up receiving"),
    key(Home::Match, "try_flush_interval", Kind::Nothing, "", "the agent wakes when there is something to do"),
    key(Home::Match, "queued_chunk_flush_interval", Kind::Nothing, "", "chunks that wait follow one another at once"),
    key(Home::Match, "slow_flush_log_threshold", Kind::Nothing, "", "an upload that takes too long is ended and tried again"),
    key(Home::Match, "flush_at_shutdown", Kind::Nothing, "", "what waits at a stop is in the ring and sent after the next start"),

    key(Home::Ingestion, "endpoint", Kind::Text, "", "https address of the data collection endpoint, or of the rule's own; required"),
    key(Home::Ingestion, "dcr_id", Kind::Text, "", "immutable id of the data collection rule, dcr- and 32 hexadecimal digits; required"),
    key(Home::Ingestion, "identity", IDENTITIES, "managed", "by what right: the machine's managed identity, Azure Arc's, or an application's secret or certificate"),
    key(Home::Ingestion, "tenant_id", Kind::Text, "", "tenant of the application; required with a secret or certificate"),
    key(Home::Ingestion, "client_id", Kind::Text, "", "the application; with managed, the user-assigned identity to use; required with a secret or certificate"),
    key(Home::Ingestion, "secret_path", Kind::Path, "/etc/opt/omsd/secret", "file with the application's secret, mode 600"),
    key(Home::Ingestion, "cert_path", Kind::Path, "/etc/opt/omsd/certs/ingestion.crt", "the application's certificate, PEM"),
    key(Home::Ingestion, "key_path", Kind::Path, "/etc/opt/omsd/certs/ingestion.key", "its private key, RSA, PEM, mode 600"),
    key(Home::Ingestion, "cloud", CLOUDS, "public", "which of Azure's clouds"),
    key(Home::Ingestion, "authority", Kind::Text, "", "https address that tokens are asked for; unset: the cloud's"),
    key(Home::Ingestion, "identity_endpoint", Kind::Text, "", "http address of the metadata service, on this machine or its link; unset: that of Azure or of Azure Arc"),
    key(Home::Ingestion, "api_version", Kind::Text, "2023-01-01", "version of the Logs Ingestion API"),
    key(Home::Ingestion, "syslog_stream", Kind::Text, "Custom-HostSyslog", "the rule's stream for syslog rows"),
    key(Home::Ingestion, "perf_stream", Kind::Text, "Custom-HostPerf", "for values of performance counters"),
    key(Home::Ingestion, "heartbeat_stream", Kind::Text, "Custom-HostHeartbeat", "for heartbeats"),
    key(Home::Ingestion, "operation_stream", Kind::Text, "Custom-HostOperation", "for records about losses"),
    key(Home::Ingestion, "syslog_table", TABLES, "Syslog", "whose columns syslog rows have; CommonSecurityLog is for CEF events"),
    key(Home::Ingestion, "severity_warning", WARNINGS, "warning", "what a warning is called in SeverityLevel"),

    key(Home::Collector, "workspace_id", Kind::Text, "", "the workspace; required"),
    key(Home::Collector, "shared_key_path", Kind::Path, "/etc/opt/omsd/shared.key", "file with the workspace's primary or secondary key, mode 600"),
    key(Home::Collector, "endpoint", Kind::Text, "", "https address to post to; unset: that of the workspace in cloud"),
    key(Home::Collector, "cloud", CLOUDS, "public", "which of Azure's clouds"),
    key(Home::Collector, "api_version", Kind::Text, "2016-04-01", "version of the HTTP Data Collector API"),
    key(Home::Collector, "syslog_stream", Kind::Text, "HostSyslog", "Log-Type of syslog rows: the table's name without _CL"),
    key(Home::Collector, "perf_stream", Kind::Text, "HostPerf", "of values of performance counters"),
    key(Home::Collector, "heartbeat_stream", Kind::Text, "HostHeartbeat", "of heartbeats"),
    key(Home::Collector, "operation_stream", Kind::Text, "HostOperation", "of records about losses"),
    key(Home::Collector, "syslog_table", TABLES, "Syslog", "whose columns syslog rows have; CommonSecurityLog is for CEF events"),
    key(Home::Collector, "severity_warning", WARNINGS, "warning", "what a warning is called in SeverityLevel"),
];

/// Keys of every section that has a type. `id`, the original's name for one of several plug-ins, names a destination; elsewhere it
/// says nothing.
pub const COMMON_KEYS: [&str; 2] = ["type", "id"];

/// Keys that may be written with `@` in front, which then counts more than the same key without.
pub const AT_KEYS: [&str; 3] = ["type", "id", "log_level"];

/// Keys of a `<match>` that are about the service: without effect where the type is `out_stdout`.
pub const SERVICE_KEYS: [&str; 8] = [
    "workspace_id",
    "omsadmin_conf_path",
    "cert_path",
    "key_path",
    "proxy_conf_path",
    "no_proxy",
    "ca_file",
    "compress",
];

/// Keys of a `<match>` that are about the identity of `out_oms`: other types have their own or none.
pub const IDENTITY_KEYS: [&str; 4] = ["workspace_id", "omsadmin_conf_path", "cert_path", "key_path"];

const fn plugin(section: &'static str, name: &'static str, effect: Effect, meaning: &'static str) -> Plugin {
    Plugin { section, name, effect, meaning }
}

const fn key(home: Home, name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key { home, name, kind, default, meaning }
}

const fn bounds(min: u64, max: u64) -> Range {
    Range { min, max, clamp: false }
}

const fn near(min: u64, max: u64) -> Range {
    Range { min, max, clamp: true }
}

/// The row of a key.
pub fn find(home: Home, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.home == home && key.name == name).or_else(|| keys_of(home).find(|key| key.name == name))
}

/// Every key that may stand at a home, those of any `<match>` included.
pub fn keys_of(home: Home) -> impl Iterator<Item = &'static Key> + Clone {
    let shared = matches!(home, Home::Ingestion | Home::Collector);
    let fits =
        move |key: &&Key| key.home == home || (shared && key.home == Home::Match && !IDENTITY_KEYS.contains(&key.name));
    KEYS.iter().filter(fits)
}

/// The row of a type.
pub fn find_plugin(section: &str, name: &str) -> Option<&'static Plugin> {
    let section = of_table(section);
    PLUGINS.iter().find(|plugin| plugin.section == section && plugin.name == name)
}

/// The section under which a section's types stand in the table: a `<store>` is as a `<match>`.
pub fn of_table(section: &str) -> &str {
    if section == "store" { "match" } else { section }
}

impl Home {
    /// How a person calls it.
    pub fn text(self) -> &'static str {
        match self {
            Home::System => "<system>",
            Home::Syslog => "<source>, type syslog",
            Home::Heartbeat => "<source>, type oms_heartbeat",
            Home::Perf => "<source>, type oms_omi",
            Home::Topology => "<source>, type heartbeat_request",
            Home::Copy => "<match>, type copy",
            Home::Match => "<match>",
            Home::Ingestion => "<match>, type out_azure_ingestion",
            Home::Collector => "<match>, type out_data_collector",
        }
    }
}

impl Kind {
    /// What stands in place of the value in a description of the key.
    pub fn unit(&self) -> String {
        match self {
            Kind::Text => "text".to_string(),
            Kind::Word(words) => words.join("|"),
            Kind::Name(_) => "name".to_string(),
            Kind::Regex => "expression".to_string(),
            Kind::Flag => "true|false".to_string(),
            Kind::Hosts => "hosts".to_string(),
            Kind::Path => "path".to_string(),
            Kind::Address => "address".to_string(),
            Kind::Count(_) => "number".to_string(),
            Kind::Size(_) => "size".to_string(),
            Kind::Time(_) | Kind::ShortTime(_) => "time".to_string(),
            Kind::Nothing => "value".to_string(),
        }
    }

    /// The bounds, if the value is a number.
    pub fn range(&self) -> Option<Range> {
        match self {
            Kind::Count(range) | Kind::Size(range) | Kind::Time(range) | Kind::ShortTime(range) => Some(*range),
            _ => None,
        }
    }

    /// A number in the unit of this kind, as it would be written in a file.
    pub fn number_text(&self, value: u64) -> String {
        match self {
            Kind::Size(_) => size_text(value),
            Kind::Time(_) | Kind::ShortTime(_) => time_text(value),
            _ => value.to_string(),
        }
    }

    /// What is expected, for an error message.
    pub fn expected(&self) -> String {
        let what = match self {
            Kind::Text => format!("a word of at most {CONFIG_TAG_BYTES_MAX} bytes without blanks"),
            Kind::Word(names) | Kind::Name(names) => return format!("one of {}", names.join(", ")),
            Kind::Regex => "a regular expression".to_string(),
            Kind::Flag => "true or false".to_string(),
            Kind::Hosts => {
                format!(
                    "names, addresses or networks (10.0.0.0/8), parted by commas, {CONFIG_PATTERN_BYTES_MAX} bytes at most"
                )
            }
            Kind::Path => "an absolute path".to_string(),
            Kind::Address => "an IPv4 or IPv6 address".to_string(),
            Kind::Count(_) => "a number".to_string(),
            Kind::Size(_) => "a size such as 64k or 10m".to_string(),
            Kind::Time(_) => "a time such as 20s or 5m".to_string(),
            Kind::ShortTime(_) => "a time such as 20ms or 1s".to_string(),
            Kind::Nothing => return String::new(),
        };
        match self.range() {
            Some(Range { min, max, .. }) => {
                format!("{what}, from {} to {}", self.number_text(min), self.number_text(max))
            }
            None => what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::Report;
    use super::super::grammar::{self, Section};
    use super::super::tests::MemoryFiles;
    use super::super::{embedded_default, parse};
    use super::*;
    use crate::limits;
    use alloc::vec::Vec;

    const SAMPLE: &str = include_str!("../../conf/omsd.conf");
    const INGESTION_SAMPLE: &str = include_str!("../../conf/azure/ingestion.conf");
    const COLLECTOR_SAMPLE: &str = include_str!("../../conf/azure/collector.conf");
    const MANUAL: &str = include_str!("../../conf/man/omsd.conf.5");

    fn working_keys() -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(|key| key.kind != Kind::Nothing)
    }

    /// The sample with every line switched on: `#` is taken away where no blank follows it, or two, inside a section.
    fn switched_on(sample: &str) -> String {
        let on = |line: &str| match line.trim_start().strip_prefix('#') {
            Some(rest) if rest.starts_with("  ") && !rest.starts_with("   ") => rest.to_string(),
            Some(rest) if !rest.starts_with(' ') => rest.to_string(),
            _ => line.to_string(),
        };
        sample.lines().map(on).collect::<Vec<_>>().join("\n") + "\n"
    }

    fn home_of(section: &Section) -> Option<Home> {
        let kind = section.entries.iter().find(|entry| entry.key == "type").map_or("", |entry| &entry.value);
        match find_plugin(&section.name, kind)?.effect {
            Effect::Works(home) => Some(home),
            Effect::Nothing => None,
        }
    }

    #[test]
    fn the_sample_says_what_the_embedded_default_does() {
        let (mut config, warnings) = parse(&mut MemoryFiles::default().with("a", SAMPLE), "a").expect("accepted");
        assert_eq!(warnings, []);
        config.sources[0].line = 0;
        assert_eq!(config, embedded_default(true));
    }

    #[test]
    fn the_sample_with_every_line_switched_on_is_accepted() {
        let (config, warnings) =
            parse(&mut MemoryFiles::default().with("a", &switched_on(SAMPLE)), "a").expect("accepted");
        assert_eq!(warnings, []);
        assert_eq!(config.sources.len(), 3);
        assert_eq!(config.targets[0].sending.retry_limit, Some(6));
    }

    #[test]
    fn every_key_is_in_the_sample_with_its_default() {
        let mut report = Report::default();
        let text = switched_on(SAMPLE) + &switched_on(INGESTION_SAMPLE) + &switched_on(COLLECTOR_SAMPLE);
        let root = grammar::read(&mut MemoryFiles::default().with("a", &text), "a", &mut report);
        for key in working_keys() {
            let at_home = |section: &&Section| home_of(section) == Some(key.home) || section.name == "system";
            let at_home =
                root.sections.iter().filter(|it| at_home(it) && (it.name == "system") == (key.home == Home::System));
            let found = at_home
                .flat_map(|section| &section.entries)
                .any(|entry| entry.key == key.name && (key.default.is_empty() || entry.value == key.default));
            assert!(found, "{} with {:?} in {} of the sample", key.name, key.default, key.home.text());
        }
    }

    #[test]
    fn every_key_is_in_the_manual_with_its_unit_default_and_range() {
        for key in working_keys() {
            let heading = format!("\n.SS \"{}\"\n", key.home.text());
            let section = MANUAL.split(&heading).nth(1).unwrap_or_else(|| panic!("{heading}"));
            let section = section.split("\n.S").next().unwrap_or_default();
            let head = format!(".BI {} \" {}\"\n", key.name, key.kind.unit());
            let text = section.split(&head).nth(1).unwrap_or_else(|| panic!("{head} in {}", key.home.text()));
            let mut expected = match key.default {
                "" => String::from("No default.\n"),
                default => format!("Default {default}.\n"),
            };
            if let Some(Range { min, max, .. }) = key.kind.range() {
                expected += &format!("Range {} to {}.\n", key.kind.number_text(min), key.kind.number_text(max));
            }
            assert!(text.starts_with(&expected), "{head}{expected}");
        }
    }

    #[test]
    fn what_does_nothing_is_listed_in_the_manual() {
        let listed = MANUAL.split(".SH ACCEPTED WITHOUT EFFECT").nth(1).unwrap_or_default();
        let paragraph = |head: &str| -> Vec<String> {
            let text = listed.split(&format!(".TP\n{head}\n")).nth(1).unwrap_or_else(|| panic!("{head}"));
            let text = text.split("\n.").next().unwrap_or_default();
            text.split([',', '\n']).map(|word| word.trim().trim_end_matches('.').to_string()).collect()
        };
        for plugin in PLUGINS.iter().filter(|plugin| plugin.effect == Effect::Nothing) {
            let names = paragraph(&format!("types of <{}>", plugin.section));
            assert!(names.iter().any(|name| name == plugin.name), "{} in {names:?}", plugin.name);
        }
        for key in KEYS.iter().filter(|key| key.kind == Kind::Nothing) {
            let names = paragraph(match key.home {
                Home::System => "keys of <system>",
                Home::Syslog => "keys of a syslog source",
                Home::Heartbeat => "keys of a heartbeat source",
                Home::Perf => "keys of a perf source",
                Home::Topology => "keys of a heartbeat_request source",
                Home::Copy => "keys of copy",
                Home::Match | Home::Ingestion | Home::Collector => "keys of <match>",
            });
            assert!(names.iter().any(|name| name == key.name), "{} in {names:?}", key.name);
        }
    }

    #[test]
    fn the_manual_names_no_key_that_is_not_in_the_table() {
        for line in MANUAL.lines().filter_map(|line| line.strip_prefix(".BI ")) {
            let name = line.split(' ').next().unwrap_or_default();
            assert!(
                name == "<" || name == "</" || name == "\\-\\-root" || KEYS.iter().any(|key| key.name == name),
                "{line}"
            );
        }
    }

    #[test]
    fn no_row_is_there_twice_and_every_row_says_what_it_means() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(
                !KEYS[..index].iter().any(|other| (other.home, other.name) == (key.home, key.name)),
                "{}",
                key.name
            );
            assert!(!key.meaning.is_empty());
        }
        for (index, plugin) in PLUGINS.iter().enumerate() {
            let same = |other: &Plugin| (other.section, other.name) == (plugin.section, plugin.name);
            assert!(!PLUGINS[..index].iter().any(same), "{}", plugin.name);
            assert!(!plugin.meaning.is_empty());
        }
    }

    #[test]
    fn the_numbers_of_the_table_are_those_of_the_limits() {
        let rows = [
            (Home::Syslog, "message_length_limit", limits::MESSAGE_BYTES_MAX as u64),
            (Home::Syslog, "gather", limits::GATHER_MS_DEFAULT),
            (Home::Match, "buffer_size", limits::RING_BYTES_DEFAULT),
            (Home::Match, "buffer_chunk_limit", limits::CHUNK_BYTES_DEFAULT as u64),
            (Home::Match, "flush_interval", limits::FLUSH_MS_DEFAULT),
            (Home::Match, "sync_interval", limits::SYNC_MS_DEFAULT),
            (Home::Match, "retry_wait", limits::RETRY_MS_FIRST),
            (Home::Match, "max_retry_wait", limits::RETRY_MS_MAX),
        ];
        for (home, name, value) in rows {
            let key = find(home, name).expect(name);
            assert_eq!(key.default, key.kind.number_text(value), "{name}");
        }
    }
}
