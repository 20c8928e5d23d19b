//! Whole configurations: what is accepted, what is refused, and where the finger points.

use super::*;
use alloc::collections::BTreeMap;
use alloc::format;

/// Files by path.
#[derive(Default)]
pub struct MemoryFiles(BTreeMap<String, Vec<u8>>);

impl MemoryFiles {
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.to_string(), text.as_bytes().to_vec());
        self
    }
}

impl Files for MemoryFiles {
    fn read(&mut self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(path).map(|bytes| bytes[..bytes.len().min(bytes_max + 1)].to_vec()))
    }

    fn list(&mut self, directory: &str, names_max: usize) -> Result<Vec<String>, String> {
        let prefix = if directory.is_empty() || directory.ends_with('/') {
            directory.to_string()
        } else {
            format!("{directory}/")
        };
        let below = self.0.keys().filter_map(|path| path.strip_prefix(&prefix));
        let mut names: Vec<String> = below.map(|rest| rest.split('/').next().unwrap_or_default().to_string()).collect();
        names.dedup();
        names.reverse();
        names.truncate(names_max + 1);
        Ok(names)
    }
}

fn parse_text(text: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    parse(&mut MemoryFiles::default().with("a.conf", text), "a.conf")
}

/// Each finding as `line:column: severity: text`.
fn printed(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(|it| it.to_string().strip_prefix("a.conf:").unwrap_or(&it.to_string()).to_string()).collect()
}

const SYSLOG: &str = "<source>\ntype syslog\nport 25224\nbind 127.0.0.1\n</source>\n";
const HEARTBEAT: &str = "<source>\ntype oms_heartbeat\n</source>\n";
const OMS: &str = "<match **>\ntype out_oms\n</match>\n";

fn source(lines: &str) -> String {
    format!("<source>\ntype syslog\n{lines}\n</source>\n{OMS}")
}

fn output(lines: &str) -> String {
    format!("{SYSLOG}<match **>\ntype out_oms\n{lines}\n</match>\n")
}

#[track_caller]
fn accepted(text: &str) -> Config {
    match parse_text(text) {
        Ok((config, warnings)) => {
            assert_eq!(printed(&warnings), Vec::<String>::new(), "{text}");
            config
        }
        Err(diagnostics) => panic!("{:#?}\n{text}", printed(&diagnostics)),
    }
}

#[track_caller]
fn warned(text: &str, expected: &[&str]) -> Config {
    match parse_text(text) {
        Ok((config, warnings)) => {
            assert_eq!(printed(&warnings), expected, "{text}");
            config
        }
        Err(diagnostics) => panic!("{:#?}\n{text}", printed(&diagnostics)),
    }
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    match parse_text(text) {
        Ok((config, _)) => panic!("{config:#?}\n{text}"),
        Err(diagnostics) => assert_eq!(printed(&diagnostics), expected, "{text}"),
    }
}

#[test]
fn the_embedded_default_is_what_the_shortest_configuration_says() {
    let mut config = accepted(&format!("{SYSLOG}{HEARTBEAT}{OMS}"));
    config.sources[0].line = 0;
    assert_eq!(config, embedded_default(true));
    assert_eq!(embedded_default(false).targets[0].destination, Destination::Stdout);
    assert_eq!(embedded_default(false), Config::default());
}

#[test]
fn without_a_heartbeat_source_there_is_no_heartbeat() {
    assert_eq!(accepted(&format!("{SYSLOG}{OMS}")).heartbeat_ms, None);
    let quick = "<source>\n@type oms_heartbeat\ninterval 5s\n</source>\n";
    assert_eq!(accepted(&format!("{SYSLOG}{quick}{OMS}")).heartbeat_ms, Some(5000));
}

#[test]
fn topology_heartbeats_come_without_a_source_and_at_its_interval_with_one() {
    assert_eq!(accepted(&format!("{SYSLOG}{OMS}")).topology_ms, 20 * 60 * 1000);
    let hourly = "<source>\n@type heartbeat_request\nrun_interval 1h\n</source>\n";
    assert_eq!(accepted(&format!("{SYSLOG}{hourly}{OMS}")).topology_ms, 3_600_000);
}

pub const ORIGINAL: &[(&str, &str)] = &[
    ("/x/omsagent.conf", include_str!("testdata/original/omsagent.conf")),
    ("/x/omsagent.d/apache_logs.conf", include_str!("testdata/original/omsagent.d/apache_logs.conf")),
    ("/x/omsagent.d/collectd.conf", include_str!("testdata/original/omsagent.d/collectd.conf")),
    ("/x/omsagent.d/heartbeat.conf", include_str!("testdata/original/omsagent.d/heartbeat.conf")),
    ("/x/omsagent.d/monitor.conf", include_str!("testdata/original/omsagent.d/monitor.conf")),
    ("/x/omsagent.d/operation.conf", include_str!("testdata/original/omsagent.d/operation.conf")),
    ("/x/omsagent.d/statsd.conf", include_str!("testdata/original/omsagent.d/statsd.conf")),
    ("/x/omsagent.d/syslog.conf", include_str!("testdata/original/omsagent.d/syslog.conf")),
    ("/x/omsagent.d/telemetry.conf", include_str!("testdata/original/omsagent.d/telemetry.conf")),
];

#[test]
fn the_originals_configuration_works_as_it_is() {
    let mut files = ORIGINAL.iter().fold(MemoryFiles::default(), |files, (path, text)| files.with(path, text));
    let (config, warnings) = parse(&mut files, "/x/omsagent.conf").expect("accepted");
    assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning && warning.line > 0));
    let sending = Sending {
        chunk_bytes: crate::limits::CHUNK_BYTES_MAX,
        retry_limit: Some(6),
        retry_wait_max_ms: 30 * 60 * 1000,
        ..Sending::default()
    };
    let expected = Config {
        sources: vec![SyslogSource { line: 2, ..SyslogSource::default() }],
        perf: vec![PerfSource {
            object: Object::Processor,
            instances: Regex::new(".*").unwrap(),
            counters: 0b100_0001,
            interval_ms: Some(60_000),
            compat: false,
            line: 12,
        }],
        heartbeat_ms: Some(60_000),
        topology_ms: 1_200_000,
        targets: vec![Target::new(Destination::Oms(OmsFiles::default()), sending)],
        routes: Routes::default(),
        ring: RingSettings { full_action: FullAction::DropOldest, ..RingSettings::default() },
        allow_non_fips: false,
        allow_network_state: false,
        sandbox: Sandbox::On,
        log_level: LogLevel::Info,
    };
    assert_eq!(config, expected);
}

#[test]
fn each_thing_without_effect_is_named_with_its_place() {
    let mut files = ORIGINAL.iter().fold(MemoryFiles::default(), |files, (path, text)| files.with(path, text));
    let (_, warnings) = parse(&mut files, "/x/omsagent.conf").expect("accepted");
    let texts: Vec<String> = warnings.iter().map(Diagnostic::to_string).collect();
    for expected in [
        "/x/omsagent.conf:5:8: warning: type `exec` does nothing here: no program is run",
        "/x/omsagent.conf:52:3: warning: `num_threads` does nothing here: one child process for each destination uploads, chunk after chunk",
        "/x/omsagent.conf:57:22: warning: `buffer_chunk_limit` is 4m at most: taken as that",
        "/x/omsagent.conf:59:15: warning: `*` stands for many files, but the ring is one: /var/opt/omsd/ring is taken",
        "/x/omsagent.d/syslog.conf:11:8: warning: type `filter_syslog` does nothing here: rendering is built in, and host \
         names are not looked up",
        "/x/omsagent.d/monitor.conf:7:1: warning: differs from the destination on line 49 of /x/omsagent.conf, which counts for both, in buffer_chunk_limit",
    ] {
        assert!(texts.iter().any(|text| text == expected), "{expected}\nis not among\n{texts:#?}");
    }
}

#[test]
fn every_listener_of_a_source_is_understood() {
    use core::net::Ipv6Addr;
    let rows = [
        ("port 5140\nbind 0.0.0.0", Listen::Udp(Ipv4Addr::UNSPECIFIED.into(), 5140)),
        ("protocol_type tcp\nport 514\nbind ::1", Listen::Tcp(Ipv6Addr::LOCALHOST.into(), 514)),
        ("protocol_type tcp\nport 514\nbind [::]", Listen::Tcp(Ipv6Addr::UNSPECIFIED.into(), 514)),
        ("protocol_type unix\npath /run/x", Listen::UnixStream("/run/x".to_string())),
        ("protocol_type unix_stream\npath \"/run/a b\"", Listen::UnixStream("/run/a b".to_string())),
        ("protocol_type unix_dgram\npath /dev/log", Listen::UnixDatagram("/dev/log".to_string())),
    ];
    for (lines, listen) in rows {
        assert_eq!(accepted(&source(lines)).sources[0].listen, listen, "{lines}");
    }
}

#[test]
fn gathering_is_off_on_unix_datagram_sockets() {
    let network = "port 1\nbind ::1\n";
    assert_eq!(accepted(&source(&format!("{network}gather 0"))).sources[0].gather_ms, 0);
    assert_eq!(accepted(&source(&format!("{network}gather 50ms"))).sources[0].gather_ms, 50);
    assert_eq!(accepted(&source(&format!("{network}gather 1s"))).sources[0].gather_ms, 1000);
    assert_eq!(accepted(&source("protocol_type unix_dgram\npath /dev/log")).sources[0].gather_ms, 0);
}

#[test]
fn a_missing_port_or_address_is_ours_not_the_originals_and_said_so() {
    let config = warned(
        &source("tag oms.syslog"),
        &[
            "1:1: warning: no `port`: 25224 is taken, where the original takes 5140",
            "1:1: warning: no `bind`: 127.0.0.1 is taken, where the original takes every address",
        ],
    );
    assert_eq!(config.sources[0].listen, SyslogSource::default().listen);
}

#[test]
fn the_buffer_takes_every_key_and_value_of_the_original() {
    let ring = |lines: &str| accepted(&output(lines)).ring;
    let sending = |lines: &str| accepted(&output(lines)).targets.remove(0).sending;
    assert_eq!(ring("buffer_queue_full_action drop_oldest_chunk").full_action, FullAction::DropOldest);
    assert_eq!(ring("buffer_queue_full_action block").full_action, FullAction::Block);
    assert_eq!(ring("buffer_queue_full_action exception").full_action, FullAction::DropNewest);
    assert_eq!(ring("").full_action, FullAction::HoldStreams);
    assert_eq!(sending("retry_limit 6").retry_limit, Some(6));
    assert_eq!(sending("").retry_limit, None);
    assert_eq!(sending("retry_limit 6\ndisable_retry_limit").retry_limit, None);
    assert_eq!(sending("retry_limit 6\ndisable_retry_limit false").retry_limit, Some(6));
    assert_eq!(sending("retry_wait 5s").retry_wait_ms, 5000);
    assert_eq!(sending("max_retry_wait 30m").retry_wait_max_ms, 1_800_000);
    assert_eq!(sending("retry_wait 1h\nmax_retry_wait 10s").retry_wait_ms, 10_000);
    assert_eq!(sending("flush_interval 1m").flush_ms, 60_000);
    assert_eq!(ring("sync_interval 0").sync_ms, 0);
    assert_eq!(ring("sync_interval 250ms").sync_ms, 250);
    assert_eq!(ring("buffer_size 1g").bytes, 1 << 30);
    assert_eq!(sending("buffer_chunk_limit 2m").chunk_bytes, 2 << 20);
    assert_eq!(ring("buffer_path /srv/ring").path, "/srv/ring");
}

#[test]
fn the_originals_file_names_are_taken_as_they_are_written() {
    let names = "omsadmin_conf_path /etc/opt/microsoft/omsagent/conf/omsadmin.conf\n\
                 cert_path /etc/opt/microsoft/omsagent/certs/oms.crt\nkey_path /etc/opt/microsoft/omsagent/certs/oms.key\n\
                 proxy_conf_path /etc/opt/microsoft/omsagent/proxy.conf\nno_proxy 10.0.0.0/8, .example.com\n\
                 ca_file /etc/ca.pem\ncompress false";
    let expected = OmsFiles {
        omsadmin_conf: "/etc/opt/microsoft/omsagent/conf/omsadmin.conf".to_string(),
        certificate: "/etc/opt/microsoft/omsagent/certs/oms.crt".to_string(),
        key: "/etc/opt/microsoft/omsagent/certs/oms.key".to_string(),
        proxy_conf: "/etc/opt/microsoft/omsagent/proxy.conf".to_string(),
        no_proxy: "10.0.0.0/8, .example.com".to_string(),
        ca_file: "/etc/ca.pem".to_string(),
        compress: false,
    };
    assert_eq!(accepted(&output(names)).targets[0].destination, Destination::Oms(expected));
}

#[test]
fn values_that_the_original_reads_strangely_keep_its_meaning_and_a_warning() {
    let config = warned(
        &output("flush_interval 1m30s\nretry_wait 500ms\nbuffer_chunk_limit 1.5m\ncompress on"),
        &[
            "8:16: warning: `1m30s` is taken as 30s, as the original does",
            "9:12: warning: `500ms` is taken as 500m, as the original does",
            "10:20: warning: `1.5m` is taken as 5m, as the original does",
            "10:20: warning: `buffer_chunk_limit` is 4m at most: taken as that",
            "11:10: warning: `compress` is true or false: `on` is taken as true, as if it were not set",
        ],
    );
    assert_eq!(config.targets[0].sending.flush_ms, 30_000);
    assert_eq!(config.targets[0].sending.retry_wait_ms, crate::limits::RETRY_MS_MAX);
    assert_eq!(config.targets[0].sending.chunk_bytes, 4 << 20);
}

#[test]
fn a_value_out_of_range_is_an_error_or_the_nearest_bound_as_the_table_says() {
    refused(
        &output("buffer_size 10k\nretry_limit 0\nretry_limit six"),
        &[
            "8:13: error: `buffer_size`: expected a size such as 64k or 10m, from 256k to 64g, found `10k` (size of the \
             ring file; all of it is claimed at the first start)",
            "10:1: warning: `retry_limit` again, after line 9: this one counts",
            "10:13: error: `retry_limit`: expected a number, from 1 to 1000000, found `six` (attempts before a chunk is \
             discarded and counted; unset: it is kept until the ring overwrites it)",
        ],
    );
    let limits = warned(
        &source("port 1\nbind ::1\nmessage_length_limit 1m"),
        &["5:22: warning: `message_length_limit` is 64k at most: taken as that"],
    );
    assert_eq!(limits.sources[0].message_bytes_max, 65536);
}

#[test]
fn wrong_values_are_refused_at_their_place() {
    refused(
        &source("port 65536\nbind example.com\nprotocol_type sctp\ngather 20"),
        &[
            "3:6: error: `port`: expected a number, from 1 to 65535, found `65536` (port, for udp and tcp)",
            "4:6: error: `bind`: expected an IPv4 or IPv6 address, found `example.com` (address listened on, for udp and tcp)",
            "5:15: error: `protocol_type`: expected one of udp, tcp, unix, unix_stream, unix_dgram, found `sctp` (what is \
             listened on; unix is unix_stream)",
            "6:8: error: `gather`: expected a time such as 20ms or 1s, from 0 to 1s, found `20` (how long messages may be \
             gathered before they are read, under light load; 0 is not at all)",
        ],
    );
    refused(&source("protocol_type unix"), &["3:15: error: a unix socket needs a `path`"]);
    refused(
        &source("protocol_type unix\npath run/x"),
        &[
            "4:6: error: `path`: expected an absolute path, found `run/x` (the socket's file, for unix sockets; required there)",
        ],
    );
}

#[test]
fn a_tag_is_one_word_of_bounded_length() {
    let long = format!("port 1\nbind ::1\ntag {}", "a".repeat(129));
    for lines in ["port 1\nbind ::1\ntag a b", "port 1\nbind ::1\ntag", &long] {
        let Err(diagnostics) = parse_text(&source(lines)) else { panic!("accepted: {lines}") };
        assert!(diagnostics[0].text.starts_with("`tag`: expected a word of at most 128 bytes"), "{diagnostics:?}");
    }
}

#[test]
fn an_unknown_name_is_an_error_that_knows_the_nearest() {
    refused(
        &output("flush_intervall 20s\nretries=6\nwhat"),
        &[
            "8:1: error: unknown key `flush_intervall` in `<match>`: did you mean `flush_interval`?",
            "9:1: error: unknown key `retries=6`: a key and its value are parted by a blank, not by `=`",
            "10:1: error: unknown key `what` in `<match>`; expected one of workspace_id, omsadmin_conf_path, cert_path, key_path, \
             proxy_conf_path, no_proxy, ca_file, compress, buffer_path, buffer_size, buffer_chunk_limit, buffer_queue_full_action, \
             flush_interval, sync_interval, retry_limit, disable_retry_limit, retry_wait, max_retry_wait, log_level",
        ],
    );
    refused(
        &format!("<source>\ntype sysolg\n</source>\n<sauce>\n</sauce>\n{SYSLOG}{OMS}"),
        &[
            "2:6: error: unknown type `sysolg` of `<source>`: did you mean `syslog`?; expected syslog or oms_heartbeat or heartbeat_request or oms_omi",
            "4:1: error: unknown section `<sauce>`: did you mean `source`?; expected `<source>`, `<filter>`, `<match>` or \
             `<system>`",
        ],
    );
    refused(
        &format!("flush_interval 1s\nx y\n<match>\n</match>\n{SYSLOG}{OMS}"),
        &[
            "1:1: error: `flush_interval` outside of any section: it belongs into <match>",
            "2:1: error: `x` outside of any section",
            "3:1: error: expected the tags to take, as in `<match oms.**>`",
            "3:1: error: `<match>` without `type`; expected out_oms or out_azure_ingestion or \
             out_data_collector or out_stdout or stdout or copy",
        ],
    );
}

#[test]
fn labels_are_refused_because_they_would_change_the_route() {
    refused(
        &format!("<source>\n@type syslog\n@label @A\nport 1\nbind ::1\n</source>\n<label @A>\n{OMS}</label>\n{OMS}"),
        &[
            "3:1: error: `@label` is not known here: records go to the first `<match>` that takes their tag",
            "7:1: error: `<label>` is not known here: put its `<match>` outside and take `@label` out of the source",
        ],
    );
}

#[test]
fn a_source_that_no_match_takes_is_an_error() {
    refused(
        &format!("{SYSLOG}<match diag.**>\ntype out_oms\n</match>\n"),
        &["1:1: error: no `<match>` takes these messages, whose tag is `oms.syslog.FACILITY.SEVERITY`: write `<match \
             oms.syslog.**>`"],
    );
    refused(
        &format!("{SYSLOG}{HEARTBEAT}<match oms.syslog.**>\ntype out_oms\n</match>\n"),
        &["6:1: error: no `<match>` takes the tag `oms.heartbeat`: write `<match oms.heartbeat>`"],
    );
    refused(
        &source("port 1\nbind ::1\ntag a").replace("**", "a.{kern,user}.*"),
        &["5:5: error: no `<match>` takes `a.mail.emerg`, for one, and messages are not left out by their tag: write \
             `<match a.**>`"],
    );
    refused(
        &format!("{SYSLOG}<match oms.**>\ntype copy\n</match>\n{OMS}"),
        &["1:1: error: the `<match>` on line 6 takes these records, but its type does nothing here"],
    );
    refused(
        &format!("{SYSLOG}<match oms.**>\ntype forward\n</match>\n{OMS}"),
        &[
            "1:1: error: the `<match>` on line 6 takes these records, but its type does nothing here",
            "7:6: warning: type `forward` does nothing here: records go to out_oms, out_azure_ingestion, out_data_collector \
             or out_stdout only",
        ],
    );
    refused(
        "",
        &[
            "1:1: error: nothing to do: no `<source>` that works; expected syslog or oms_heartbeat or heartbeat_request or oms_omi",
        ],
    );
}

#[test]
fn each_match_is_a_destination_of_its_own_and_takes_its_tags() {
    let first = "<match oms.heartbeat>\ntype out_oms\nflush_interval 1s\nbuffer_size 20m\n</match>\n";
    let config = warned(
        &format!("{SYSLOG}{HEARTBEAT}{first}<match **>\ntype out_stdout\nflush_interval 2s\n</match>\n"),
        &["9:1: warning: differs from the destination on line 14, which counts for the ring, in buffer_size"],
    );
    let targets: Vec<_> = config.targets.iter().map(|target| (target.name.as_str(), target.sending.flush_ms)).collect();
    assert_eq!(targets, [("out_stdout", 2000), ("out_oms", 1000)]);
    assert_eq!(config.routes, Routes { syslog: 1, heartbeat: 2, perf: 1 });
    assert_eq!(config.ring.bytes, 10 << 20);
}

const TWO_WORKSPACES: &str = "<match oms.**>\ntype copy\n<store>\ntype out_oms\nworkspace_id a-1\n</store>\n<store>\n@type out_oms\n\
                              workspace_id b-2\ncert_path /x/oms.crt\nflush_interval 1s\n</store>\n</match>\n";

#[test]
fn a_copy_goes_to_every_store_each_with_its_own_identity() {
    let config = accepted(&format!("{SYSLOG}{HEARTBEAT}{TWO_WORKSPACES}"));
    let names: Vec<_> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["out_oms a-1", "out_oms b-2"]);
    assert_eq!(config.routes, Routes { syslog: 3, heartbeat: 3, perf: 1 });
    let Destination::Oms(files) = &config.targets[1].destination else { panic!("out_oms") };
    assert_eq!(files.omsadmin_conf, "/etc/opt/omsd/b-2/conf/omsadmin.conf");
    assert_eq!((files.key.as_str(), files.certificate.as_str()), ("/etc/opt/omsd/b-2/certs/oms.key", "/x/oms.crt"));
    assert_eq!(config.targets[1].sending.flush_ms, 1000);
}

#[test]
fn without_a_file_everything_goes_to_each_workspace_of_the_host() {
    let ids: Vec<String> = ["1", "2", "3", "4", "5"].map(str::to_string).into();
    let mut config = embedded_default(true);
    config.send_to_workspaces(&ids[..1]);
    assert_eq!(config, embedded_default(true));
    config.send_to_workspaces(&ids);
    let names: Vec<_> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["out_oms 1", "out_oms 2", "out_oms 3", "out_oms 4"]);
    assert!([config.routes.syslog, config.routes.perf, config.routes.heartbeat].iter().all(|all| all & 15 == 15));
}

#[test]
fn a_destination_is_known_by_its_id_or_by_its_workspace() {
    let name = |keys: &str| accepted(&output(keys)).targets[0].name.clone();
    assert_eq!(name(""), "out_oms");
    assert_eq!(name("@id upstream"), "upstream");
    assert_eq!(name("workspace_id 12ab-34"), "out_oms 12ab-34");
    assert_eq!(name("omsadmin_conf_path /etc/opt/omsd/12ab-34/conf/omsadmin.conf"), "out_oms 12ab-34");
    assert_eq!(name("omsadmin_conf_path /a/b.conf"), "out_oms /a/b.conf");
}

#[test]
fn what_is_wrong_with_several_destinations_is_named() {
    let store = |keys: &str| format!("<store>\ntype out_oms\n{keys}\n</store>\n");
    let copy = |stores: &str| format!("{SYSLOG}<match **>\ntype copy\n{stores}</match>\n");
    refused(
        &copy(&(store("@id a") + &store("@id a\ncompress false"))),
        &[
            "12:1: error: has the name of the destination on line 8 (`a`), but differs in compress: give it another `@id`",
        ],
    );
    refused(
        &copy(&(1..=5).map(|id| store(&format!("workspace_id {id}"))).collect::<String>()),
        &["24:1: error: more than 4 destinations"],
    );
    refused(
        &copy(&store("workspace_id ../../x")),
        &["10:14: error: `workspace_id`: expected digits, a to f and `-`, found `../../x`"],
    );
    warned(
        &copy(&(store("") + "<store>\ntype null\n</store>\n")),
        &[
            "13:6: warning: type `null` does nothing here: records go to out_oms, out_azure_ingestion, out_data_collector or out_stdout only",
        ],
    );
    warned(&copy(&(store("") + "<other>\n</other>\n")), &["12:1: warning: `<other>` in `<match>` does nothing here"]);
}

#[test]
fn the_first_match_in_the_files_order_takes_a_tag() {
    let other = "<match oms.syslog.**>\ntype out_oms\nbuffer_size 20m\n</match>\n";
    let config = accepted(&format!("{SYSLOG}{other}"));
    assert_eq!(config.ring.bytes, 20 << 20);
    let config = warned(
        &format!("{SYSLOG}{OMS}{other}"),
        &["9:1: warning: differs from the destination on line 6, which counts for both, in buffer_size"],
    );
    assert_eq!(config.ring.bytes, 10 << 20);
}

#[test]
fn syslog_that_is_parted_between_workspaces_is_refused() {
    let two = "<match oms.syslog.auth.**>\ntype out_oms\nomsadmin_conf_path /b\n</match>\n";
    refused(
        &format!("{SYSLOG}{two}{OMS}"),
        &[
            "6:1: error: syslog goes to other destinations by the `<match>` on line 10: all of it goes to the same; for \
             several, use `type copy`",
        ],
    );
}

#[test]
fn one_address_is_listened_on_once_and_sources_are_bounded() {
    refused(&format!("{SYSLOG}{SYSLOG}{OMS}"), &["6:1: error: the source on line 1 listens there already"]);
    let sources = |count: usize| -> String {
        (1..=count).map(|port| format!("<source>\ntype syslog\nbind ::1\nport {port}\n</source>\n")).collect()
    };
    assert_eq!(accepted(&format!("{}{OMS}", sources(16))).sources.len(), 16);
    refused(&format!("{}{OMS}", sources(17)), &["81:1: error: more than 16 syslog sources"]);
}

#[test]
fn the_agents_own_settings_are_in_the_system_section() {
    let system = "<system>\nlog_level warn\nallow_non_fips yes\nallow_network_state true\nsandbox log\n</system>\n";
    let config = accepted(&format!("{system}{}", output("log_level debug")));
    assert!(config.allow_non_fips && config.allow_network_state);
    assert_eq!(config.sandbox, Sandbox::Log);
    assert_eq!(accepted(&output("")).sandbox, Sandbox::On);
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(accepted(&output("log_level debug")).log_level, LogLevel::Debug);
    assert_eq!(accepted(&output("@log_level trace")).log_level, LogLevel::Trace);
}

fn perf(lines: &str) -> String {
    format!("<source>\ntype oms_omi\n{lines}\n</source>\n{OMS}")
}

#[test]
fn a_perf_source_of_the_portal_works_as_it_is() {
    let source = "object_name \"Logical Disk\"\ninstance_regex \".*\"\n\
                  counter_name_regex \"(% Used Inodes|Free Megabytes|% Used Space)\"\ninterval 10s\n\
                  omi_mapping_path /etc/opt/microsoft/omsagent/1/conf/omsagent.d/omi_mapping.json";
    let config = warned(
        &perf(source),
        &["7:1: warning: `omi_mapping_path` does nothing here: objects, counters and their names are built in"],
    );
    assert_eq!(config.sources, []);
    let expected = PerfSource {
        object: Object::LogicalDisk,
        instances: Regex::new(".*").unwrap(),
        counters: 0b10101,
        interval_ms: Some(10_000),
        compat: false,
        line: 1,
    };
    assert_eq!(config.perf, [expected]);
    let config = accepted(&perf("object_name Memory\ncompat true"));
    assert_eq!((config.perf[0].counters, config.perf[0].interval_ms, config.perf[0].compat), (0x7ff, None, true));
}

#[test]
fn counters_are_chosen_as_the_original_chooses_them() {
    let chosen = |object: &str, expression: &str| -> Vec<&str> {
        let config = accepted(&perf(&format!("object_name {object}\ncounter_name_regex {expression}")));
        let names = config.perf[0].object.counters().iter().enumerate();
        names.filter(|(index, _)| config.perf[0].counters >> index & 1 == 1).map(|(_, name)| *name).collect()
    };
    assert_eq!(chosen("Logical Disk", "%"), ["% Free Space", "% Used Space", "% Free Inodes", "% Used Inodes"]);
    assert_eq!(chosen("Logical Disk", "%|Disk").len(), 10);
    assert_eq!(chosen("Network", "(Total Bytes)"), ["Total Bytes Transmitted", "Total Bytes Received", "Total Bytes"]);
    for both in ["(Used Memory kBytes)", "(Used Memory)", "^Used Memory$"] {
        assert_eq!(chosen("Process", both), ["Used Memory kBytes"], "{both}");
    }
    assert_eq!(chosen("Memory", "^Used Memory"), ["Used Memory MBytes"]);
}

#[test]
fn a_wrong_perf_source_is_named_with_its_place() {
    refused(
        &perf("interval 5s"),
        &[
            "1:1: error: a perf source needs an `object_name`: one of Processor, Memory, Logical Disk, Physical Disk, Network, \
             System, Process",
        ],
    );
    refused(
        &perf("object_name \"Proces\""),
        &[
            "3:13: error: `object_name`: expected one of Processor, Memory, Logical Disk, Physical Disk, Network, System, \
             Process, found `Proces` (what is measured; required)",
        ],
    );
    refused(
        &perf("object_name Memory\ninstance_regex \"*\"\ncounter_name_regex (?i)a\ninterval soon"),
        &[
            "4:17: error: `instance_regex`: nothing for `*` to repeat",
            "5:20: error: `counter_name_regex`: of the groups that begin with `(?`, only `(?:` is supported",
            "6:10: error: `interval`: expected a time such as 20s or 5m, from 1s to 1d, found `soon` (time from one sample to \
             the next; unset: one sample at the start)",
        ],
    );
    // Where a character of the value stands is only known if nothing in front of it was written otherwise.
    refused(
        &perf("object_name Memory\ninstance_regex \"\\\\d*+\""),
        &["4:16: error: `instance_regex`: `*+`, which never gives back, is not supported"],
    );
    refused(
        &format!(
            "{SYSLOG}<source>\ntype oms_omi\nobject_name System\n</source>\n<match oms.syslog.**>\ntype out_oms\n</match>"
        ),
        &["6:1: error: no `<match>` takes the tag `oms.omi`: write `<match oms.omi>`"],
    );
}

#[test]
fn what_perf_sources_cannot_do_here_is_a_warning() {
    let config = warned(
        &format!("{SYSLOG}{}", perf("object_name \"Apache HTTP Server\"\ninterval 30s")),
        &["8:13: warning: Apache HTTP Server is not measured here: this source does nothing"],
    );
    assert_eq!(config.perf, []);
    let config = warned(
        &perf("object_name Memory\ncounter_name_regex \"Idle\"\ninterval 0"),
        &[
            "4:20: warning: this is in no name of a counter of Memory: its records will be empty",
            "5:10: warning: `interval` is 1s at least: taken as that",
        ],
    );
    assert_eq!((config.perf[0].counters, config.perf[0].interval_ms), (0, Some(1000)));
}

#[test]
fn perf_sources_are_bounded_and_those_of_other_tags_have_their_match() {
    let source = "<source>\ntype oms_omi\nobject_name System\n</source>\n";
    assert_eq!(accepted(&format!("{}{OMS}", source.repeat(64))).perf.len(), 64);
    refused(&format!("{}{OMS}", source.repeat(65)), &["257:1: error: more than 64 perf sources"]);
    let outputs =
        "<match oms.syslog.**>\ntype out_oms\n</match>\n<match a>\ntype out_oms\nflush_interval 1s\n</match>\n";
    let config = warned(
        &format!("{SYSLOG}<source>\ntype oms_omi\nobject_name System\ntag a\n</source>\n{outputs}"),
        &["14:1: warning: differs from the destination on line 11, which counts for both, in flush_interval"],
    );
    assert_eq!(config.perf.len(), 1);
}

#[test]
fn keys_about_the_service_do_nothing_for_standard_output() {
    let config = warned(
        &format!("{SYSLOG}<match **>\ntype out_stdout\ncert_path /x\n</match>\n"),
        &["8:1: warning: `cert_path` does nothing for out_stdout"],
    );
    assert_eq!(config.targets[0].destination, Destination::Stdout);
}

#[test]
fn the_type_with_an_at_sign_counts_more() {
    let config = accepted(
        "<source>\n@type syslog\ntype oms_omi\nport 1\nbind ::1\nid a\n@id b\n</source>\n<match **>\n@type stdout\n</match>\n",
    );
    assert_eq!(config.targets[0].destination, Destination::Stdout);
}

#[test]
fn findings_are_bounded_but_an_error_is_always_among_them() {
    let many = "num_threads 1\n".repeat(400) + "what\n";
    let Err(diagnostics) = parse_text(&output(&many)) else { panic!("accepted") };
    assert_eq!(diagnostics.len(), crate::limits::CONFIG_DIAGNOSTICS_MAX + 1);
    assert!(diagnostics.iter().any(|it| it.severity == Severity::Error && it.text.contains("`what`")));
    assert!(diagnostics.last().is_some_and(|it| it.text.contains("more like these")));
}

/// A small generator, so that a failure is repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap_or(0)
    }
}

const PIECES: &[&str] = &[
    "<source>",
    "</source>",
    "<match **>",
    "</match>",
    "<match",
    ">",
    "<",
    "</",
    "<a b>",
    "</a>",
    "\n",
    "\n",
    "\n",
    "\r\n",
    " ",
    "\t",
    "#",
    " # x",
    "\"",
    "'",
    "\\",
    "#{",
    "[",
    "]",
    "{",
    "}",
    ",",
    "*",
    "**",
    "%CONF_DIR_WS%",
    "%SYSLOG_PORT%",
    "@include ",
    "include ",
    "a.conf",
    "b*",
    "b.conf",
    "/",
    "type ",
    "@type ",
    "syslog",
    "out_oms",
    "port ",
    "bind ",
    "::1",
    "1m30s",
    "15m",
    "999999999999999999999999",
    "-1",
    "0",
    "é",
    "\u{feff}",
    "\0",
    "@",
    "=",
    "tag ",
    "oms.{a,b}.",
    "<system>",
];

/// Parses and looks where the findings point.
#[track_caller]
fn sound(text: Vec<u8>, seed: u64) {
    let mut files = MemoryFiles::default().with("b.conf", "<source>\ntype syslog\n</source>\nx");
    files.0.insert("a.conf".to_string(), text);
    let diagnostics = parse(&mut files, "a.conf").map_or_else(|errors| errors, |(_, warnings)| warnings);
    for it in diagnostics {
        let text = &files.0[&it.file];
        assert!(points_into(text, &it), "seed {seed}: {it}\nin {:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn arbitrary_text_never_panics_and_findings_point_into_it() {
    for seed in 1..4000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut text = Vec::new();
        for _ in 0..random.below(60) {
            if random.below(20) == 0 {
                text.push(u8::try_from(random.below(256)).unwrap_or(0));
            } else {
                text.extend_from_slice(PIECES[random.below(PIECES.len())].as_bytes());
            }
        }
        sound(text, seed);
    }
}

#[test]
fn a_good_configuration_gone_bad_never_panics_and_findings_point_into_it() {
    let whole: Vec<u8> = ORIGINAL.iter().flat_map(|(_, text)| text.bytes()).collect();
    for seed in 1..300_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut text = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len());
            let end = (at + random.below(12)).min(text.len());
            text.splice(at..end, PIECES[random.below(PIECES.len())].bytes());
        }
        sound(text, seed);
    }
}

/// On a character of a line, or directly behind its last.
fn points_into(bytes: &[u8], it: &Diagnostic) -> bool {
    let line = bytes.split(|&byte| byte == b'\n').nth(it.line as usize - 1);
    let characters = |line: &[u8]| line.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    line.is_some_and(|line| it.column >= 1 && it.column as usize <= characters(line) + 1)
}

#[test]
fn only_this_machine_and_its_link_are_asked() {
    for (url, address) in [
        ("http://169.254.169.254/metadata/identity/oauth2/token", "169.254.169.254:80"),
        ("http://localhost:40342/metadata", "127.0.0.1:40342"),
        ("http://127.0.0.5:1/", "127.0.0.5:1"),
    ] {
        assert_eq!(Nearby::parse(url).map(|place| place.address), address.parse().ok(), "{url}");
    }
    for url in [
        "https://169.254.169.254/x",
        "http://169.254.169.254",
        "http://10.0.0.1/x",
        "http://169.253.1.1/x",
        "http://example.com/x",
        "http://localhost:0/x",
        "http://localhost:x/x",
        "http://127.0.0.1/x?y",
        "http://127.0.0.1/x y",
        "http://user@127.0.0.1/x",
        "",
    ] {
        assert_eq!(Nearby::parse(url), None, "{url}");
    }
}

fn ingestion(lines: &str) -> String {
    let rule = "dcr-0123456789abcdef0123456789abcdef";
    format!(
        "{SYSLOG}<match **>\ntype out_azure_ingestion\nendpoint https://x.ingest.monitor.azure.com\ndcr_id {rule}\n{lines}</match>\n"
    )
}

#[test]
fn an_ingestion_endpoint_has_an_identity() {
    let settings = |lines: &str| match accepted(&ingestion(lines)).targets.remove(0).destination {
        Destination::AzureIngestion(settings) => settings,
        other => panic!("{other:?}"),
    };
    let managed = settings("");
    assert_eq!(managed.endpoint, "https://x.ingest.monitor.azure.com");
    assert_eq!(managed.authority, "https://login.microsoftonline.com");
    assert_eq!((managed.rows.names.perf.as_str(), managed.rows.warning), ("Custom-HostPerf", "warning"));
    let Identity::Managed { client, endpoint } = &managed.identity else { panic!("{managed:?}") };
    assert_eq!(
        (client.as_str(), endpoint.to_string()),
        ("", "http://169.254.169.254:80/metadata/identity/oauth2/token".into())
    );
    let app = "tenant_id contoso.example\nclient_id 01234567-89ab-cdef-0123-456789abcdef\n";
    for (cloud, domain) in [("public", ".com"), ("usgov", ".us"), ("china", ".cn")] {
        let settings = settings(&format!("identity secret\n{app}cloud {cloud}\n"));
        assert!(settings.authority.starts_with("https://login.") && settings.authority.ends_with(domain));
        assert_eq!(settings.cloud.audience(), format!("https://monitor.azure{domain}"));
        assert!(matches!(settings.identity, Identity::Secret { secret, .. } if secret == "/etc/opt/omsd/secret"));
    }
    let certificate = settings(&format!("identity certificate\n{app}key_path /k\n")).identity;
    assert!(matches!(certificate, Identity::Certificate { key, .. } if key == "/k"));
    let arc = settings("identity arc\n").identity;
    assert!(matches!(arc, Identity::Arc { endpoint, .. } if endpoint.address.port() == 40342));
}

#[test]
fn what_an_ingestion_endpoint_lacks_is_named() {
    let wrong = |lines: &str, expected: &str| match parse_text(&ingestion(lines)) {
        Ok(accepted) => panic!("{accepted:?}"),
        Err(errors) => assert!(printed(&errors).iter().any(|error| error.contains(expected)), "{:?}", printed(&errors)),
    };
    wrong("dcr_id my-rule\n", "the rule's immutable id (dcr- and 32 hexadecimal digits), not its name");
    wrong("endpoint http://x\n", "`endpoint`: expected an https address");
    wrong("endpoint https://x/path\n", "`endpoint`: expected an https address");
    wrong("identity secret\n", "no `tenant_id`");
    wrong("identity secret\ntenant_id t\nclient_id app\n", "`client_id`: expected the application's GUID");
    wrong("identity_endpoint http://10.0.0.1/x\n", "on this machine (127.0.0.1, localhost) or its link");
    wrong("perf_stream a/b\n", "`perf_stream`: expected a name that the rule has");
    wrong("omsadmin_conf_path /x\n", "unknown key `omsadmin_conf_path`");
    wrong("workspace_id a-1\n", "unknown key `workspace_id`");
}

#[test]
fn a_store_may_be_of_any_type_that_sends_and_is_named_by_it() {
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let rule = ingestion("").split_once("<match **>\n").map(|(_, rule)| rule.replace("</match>", "</store>"));
    let collector = format!("type out_data_collector\nworkspace_id {id}\n</store>\n");
    let stores = format!("<store>\ntype out_oms\n</store>\n<store>\n{}<store>\n{collector}", rule.unwrap_or_default());
    let (config, _) = parse_text(&format!("{SYSLOG}<match **>\ntype copy\n{stores}</match>\n")).expect("accepted");
    let names: Vec<_> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["out_oms", "out_azure_ingestion dcr-0123456789abcdef0123456789abcdef", "out_data_collector"]);
    assert_eq!(config.routes.syslog, 0b111);
    assert!(config.uploads());
}

#[test]
fn the_data_collector_says_that_it_is_out_of_support() {
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let text = format!("{SYSLOG}<match **>\ntype out_data_collector\nworkspace_id {id}\ncloud usgov\n</match>\n");
    let config = warned(
        &text,
        &[
            "6:1: warning: out_data_collector uses an API that is out of support since 2026-09-14: prefer out_azure_ingestion",
        ],
    );
    let Destination::DataCollector(settings) = &config.targets[0].destination else { panic!("{config:?}") };
    assert_eq!(settings.endpoint, format!("https://{id}.ods.opinsights.azure.us"));
}
