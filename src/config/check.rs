//! Sections and entries to a [`Config`]: each value by its row of the table, then each source to its `<match>`.

use super::diagnostic::{Place, Report};
use super::grammar::{Entry, Section};
use super::hosts;
use super::literal::{Reading, flag, short_time_ms, size_bytes, time_ms, whole};
use super::pattern::takes_tag;
use super::table::{self, Effect, Home, Key, Kind, Range};
use super::{
    Config, Destination, FullAction, Listen, LogLevel, OmsFiles, PerfSource, RingSettings, Routes, Sandbox, Sending,
    SyslogSource, Target,
};
use crate::limits::{
    CONFIG_PATTERN_BYTES_MAX, CONFIG_TAG_BYTES_MAX, DESTINATIONS_MAX, SOURCES_MAX, TOPOLOGY_MS_DEFAULT,
};
use crate::syslog::{FACILITIES, SEVERITIES};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

mod azure;
mod perf;

/// The configuration that a tree stands for. What is wrong goes into the report; `None` if nothing can be made of it.
pub fn config(root: &Section, report: &mut Report) -> Option<Config> {
    let mut plan = Plan::default();
    let mut reader = Reader { report };
    reader.loose_entries(root);
    for section in &root.sections {
        match section.name.as_str() {
            "source" => reader.source(section, &mut plan),
            "match" => reader.output(section, &mut plan),
            "filter" => reader.filter(section),
            "system" => reader.system(section, &mut plan),
            _ => reader.unknown_section(section),
        }
    }
    assemble(plan, report)
}

/// What was read so far.
#[derive(Default)]
struct Plan {
    sources: Vec<Input>,
    perf: Vec<Perf>,
    heartbeat: Option<Heartbeat>,
    topology_ms: Option<u64>,
    outputs: Vec<Output>,
    log_level: Option<LogLevel>,
    allow_non_fips: bool,
    allow_network_state: bool,
    sandbox: Sandbox,
}

struct Input {
    source: SyslogSource,
    tag: String,
    tag_place: Place,
    place: Place,
}

struct Heartbeat {
    interval_ms: u64,
    tag: String,
    tag_place: Place,
}

struct Perf {
    source: PerfSource,
    tag: String,
    tag_place: Place,
}

/// A `<match>`.
struct Output {
    patterns: Vec<String>,
    purpose: Purpose,
    place: Place,
}

/// What becomes of the records that a `<match>` takes.
#[derive(PartialEq)]
enum Purpose {
    /// They are sent, to each of these.
    Works(Vec<Settings>),
    /// They would go nowhere: the type has no effect.
    Nothing,
    /// The type is unknown, which is reported already.
    Unknown,
}

#[derive(PartialEq)]
struct Settings {
    target: Target,
    ring: RingSettings,
    log_level: Option<LogLevel>,
    place: Place,
}

struct Reader<'a> {
    report: &'a mut Report,
}

impl Reader<'_> {
    fn source(&mut self, section: &Section, plan: &mut Plan) {
        match self.home(section) {
            Some(Home::Syslog) => self.syslog(section, plan),
            Some(Home::Heartbeat) => self.heartbeat(section, plan),
            Some(Home::Perf) => self.perf(section, plan),
            Some(Home::Topology) => self.topology(section, plan),
            _ => {}
        }
    }

    fn syslog(&mut self, section: &Section, plan: &mut Plan) {
        self.keys(section, Home::Syslog);
        let mut values = Values { reader: self, section, home: Home::Syslog };
        let (tag, tag_place) = values.text("tag");
        let Some(listen) = values.listen() else { return };
        let source = SyslogSource {
            message_bytes_max: usize::try_from(values.number("message_length_limit")).unwrap_or(usize::MAX),
            gather_ms: values.gather(&listen),
            listen,
            line: section.place.line,
        };
        let twin = plan.sources.iter().find(|other| other.source.listen == source.listen);
        if let Some(twin) = twin {
            let line = self.report.refer(section.place, twin.place);
            self.report.error(section.place, format!("the source on {line} listens there already"));
        }
        if plan.sources.len() >= SOURCES_MAX {
            return self.report.error(section.place, format!("more than {SOURCES_MAX} syslog sources"));
        }
        plan.sources.push(Input { source, tag, tag_place, place: section.place });
    }

    fn heartbeat(&mut self, section: &Section, plan: &mut Plan) {
        self.keys(section, Home::Heartbeat);
        let mut values = Values { reader: self, section, home: Home::Heartbeat };
        let (tag, tag_place) = values.text("tag");
        let interval_ms = values.number("interval");
        if plan.heartbeat.is_some() {
            return self.report.warn(section.place, "a second heartbeat: the first one counts");
        }
        plan.heartbeat = Some(Heartbeat { interval_ms, tag, tag_place });
    }

    fn topology(&mut self, section: &Section, plan: &mut Plan) {
        self.keys(section, Home::Topology);
        let mut values = Values { reader: self, section, home: Home::Topology };
        plan.topology_ms.get_or_insert(values.number("run_interval"));
    }

    fn output(&mut self, section: &Section, plan: &mut Plan) {
        let patterns: Vec<String> = section.argument.split_whitespace().map(str::to_string).collect();
        if patterns.is_empty() {
            self.report.error(section.place, "expected the tags to take, as in `<match oms.**>`");
        }
        let purpose = self.purpose(section);
        plan.outputs.push(Output { patterns, purpose, place: section.place });
    }

    /// What a `<match>` or a `<store>` does.
    fn purpose(&mut self, section: &Section) -> Purpose {
        let known = kind_of(section).is_some_and(|kind| table::find_plugin("match", &kind.value).is_some());
        match self.home(section) {
            Some(Home::Copy) => self.copies(section),
            Some(home) => Purpose::Works(Vec::from([self.settings(section, home)])),
            None if known => Purpose::Nothing,
            None => Purpose::Unknown,
        }
    }

    fn copies(&mut self, section: &Section) -> Purpose {
        self.keys(section, Home::Copy);
        let mut all = Vec::new();
        for store in section.sections.iter().filter(|inner| inner.name == "store") {
            match self.purpose(store) {
                Purpose::Works(settings) => all.extend(settings),
                Purpose::Nothing => {}
                Purpose::Unknown => return Purpose::Unknown,
            }
        }
        if all.is_empty() { Purpose::Nothing } else { Purpose::Works(all) }
    }

    fn settings(&mut self, section: &Section, home: Home) -> Settings {
        self.keys(section, home);
        let stdout = kind_of(section).is_some_and(|entry| entry.value != "out_oms");
        let mut values = Values { reader: self, section, home };
        let destination = match home {
            Home::Ingestion => Destination::AzureIngestion(values.azure_ingestion()),
            Home::Collector => Destination::DataCollector(values.data_collector()),
            _ if stdout => {
                values.warn_of_service_keys();
                Destination::Stdout
            }
            _ => Destination::Oms(values.oms_files()),
        };
        let mut target = Target::new(destination, values.sending());
        if let Some(id) = last_entry(section, "id").filter(|id| !id.value.is_empty()) {
            target.name.clone_from(&id.value);
        }
        Settings { target, ring: values.ring(), log_level: values.log_level(), place: section.place }
    }

    /// Warns even of a type that is known: it has no effect.
    fn filter(&mut self, section: &Section) {
        self.home(section);
    }

    fn system(&mut self, section: &Section, plan: &mut Plan) {
        self.keys(section, Home::System);
        let mut values = Values { reader: self, section, home: Home::System };
        if values.entry("allow_non_fips").is_some() {
            plan.allow_non_fips = values.flag("allow_non_fips");
        }
        if values.entry("allow_network_state").is_some() {
            plan.allow_network_state = values.flag("allow_network_state");
        }
        if values.entry("sandbox").is_some() {
            plan.sandbox = match values.text("sandbox").0.as_str() {
                "best_effort" => Sandbox::BestEffort,
                "log" => Sandbox::Log,
                "off" => Sandbox::Off,
                _ => Sandbox::On,
            };
        }
        plan.log_level = values.log_level().or(plan.log_level);
    }

    fn unknown_section(&mut self, section: &Section) {
        if section.name == "label" {
            let reason = "`<label>` is not known here: put its `<match>` outside and take `@label` out of the source";
            return self.report.error(section.place, reason);
        }
        let hint = nearest(&section.name, table::SECTIONS.into_iter());
        let expected = "expected `<source>`, `<filter>`, `<match>` or `<system>`";
        self.report.error(section.place, format!("unknown section `<{}>`{hint}; {expected}", section.name));
    }

    fn loose_entries(&mut self, root: &Section) {
        for entry in &root.entries {
            let homes = table::KEYS.iter().filter(|key| key.name == entry.key).map(|key| key.home.text());
            let hint = homes.reduce(|first, _| first).map_or(String::new(), |home| format!(": it belongs into {home}"));
            self.report.error(entry.key_place, format!("`{}` outside of any section{hint}", shortened(&entry.key)));
        }
    }

    /// Where the keys of a section with a type are, if the type has an effect. Says so if it has none or is unknown.
    fn home(&mut self, section: &Section) -> Option<Home> {
        let Some(kind) = kind_of(section) else {
            let known = working_types(&section.name);
            self.report.error(section.place, format!("`<{}>` without `type`; {known}", section.name));
            return None;
        };
        match table::find_plugin(&section.name, &kind.value) {
            Some(plugin) => match plugin.effect {
                Effect::Works(home) => Some(home),
                Effect::Nothing => {
                    let reason = format!("type `{}` does nothing here: {}", plugin.name, plugin.meaning);
                    self.report.warn(kind.value_place, reason);
                    None
                }
            },
            None => {
                self.unknown_type(section, kind);
                None
            }
        }
    }

    fn unknown_type(&mut self, section: &Section, kind: &Entry) {
        let names = table::PLUGINS.iter().filter(|plugin| plugin.section == table::of_table(&section.name));
        let names = names.map(|plugin| plugin.name);
        let hint = nearest(&kind.value, names);
        let known = working_types(&section.name);
        let reason = format!("unknown type `{}` of `<{}>`{hint}; {known}", shortened(&kind.value), section.name);
        self.report.error(kind.value_place, reason);
    }

    /// Looks at every key of a section that has an effect, whatever its value.
    fn keys(&mut self, section: &Section, home: Home) {
        for (index, entry) in section.entries.iter().enumerate() {
            let name = bare(&entry.key);
            let typed = home != Home::System && table::COMMON_KEYS.contains(&name);
            match table::find(home, name) {
                None if !typed => self.unknown_key(section, home, entry),
                Some(Key { kind: Kind::Nothing, meaning, .. }) => {
                    self.report.warn(entry.key_place, format!("`{name}` does nothing here: {meaning}"));
                }
                _ => self.duplicate(section, index),
            }
        }
        for inner in section.sections.iter().filter(|inner| home != Home::Copy || inner.name != "store") {
            let reason = format!("`<{}>` in `<{}>` does nothing here", inner.name, section.name);
            self.report.warn(inner.place, reason);
        }
    }

    fn duplicate(&mut self, section: &Section, index: usize) {
        let entry = &section.entries[index];
        if let Some(first) = section.entries[..index].iter().rfind(|before| before.key == entry.key) {
            let line = self.report.refer(entry.key_place, first.key_place);
            self.report.warn(entry.key_place, format!("`{}` again, after {line}: this one counts", entry.key));
        }
    }

    fn unknown_key(&mut self, section: &Section, home: Home, entry: &Entry) {
        let key = shortened(&entry.key);
        let reason = if entry.key == "@label" {
            String::from("`@label` is not known here: records go to the first `<match>` that takes their tag")
        } else if entry.key.contains('=') {
            format!("unknown key `{key}`: a key and its value are parted by a blank, not by `=`")
        } else {
            let rows = table::keys_of(home).filter(|row| row.kind != Kind::Nothing);
            let hint = nearest(&entry.key, rows.clone().map(|row| row.name));
            let names: Vec<&str> = rows.map(|row| row.name).collect();
            match hint.is_empty() {
                false => format!("unknown key `{key}` in `<{}>`{hint}", section.name),
                true => format!("unknown key `{key}` in `<{}>`; expected one of {}", section.name, names.join(", ")),
            }
        };
        self.report.error(entry.key_place, reason);
    }
}

/// The values of one section, by the table: what the file says if it is right, else the default and a finding.
struct Values<'r, 'a, 's> {
    reader: &'r mut Reader<'a>,
    section: &'s Section,
    home: Home,
}

impl<'s> Values<'_, '_, 's> {
    fn entry(&self, name: &str) -> Option<&'s Entry> {
        last_entry(self.section, name)
    }

    fn row(&self, name: &str) -> &'static Key {
        const NONE: Key = Key { home: Home::System, name: "", kind: Kind::Nothing, default: "", meaning: "" };
        let row = table::find(self.home, name);
        debug_assert!(row.is_some(), "{name} is not in the table");
        row.unwrap_or(&NONE)
    }

    fn refuse(&mut self, entry: &Entry, row: &Key) {
        let value = shortened(&entry.value);
        let reason = format!("`{}`: expected {}, found `{value}` ({})", row.name, row.kind.expected(), row.meaning);
        self.reader.report.error(entry.value_place, reason);
    }

    /// A size, time or count, in bytes or milliseconds.
    fn number(&mut self, name: &str) -> u64 {
        let row = self.row(name);
        let default = read_number(&row.kind, row.default).map_or(0, |reading| reading.value);
        let Some(entry) = self.entry(name) else { return default };
        let (Some(reading), Some(range)) = (read_number(&row.kind, &entry.value), row.kind.range()) else {
            self.refuse(entry, row);
            return default;
        };
        if !reading.exact {
            let taken = row.kind.number_text(reading.value);
            let reason = format!("`{}` is taken as {taken}, as the original does", shortened(&entry.value));
            self.reader.report.warn(entry.value_place, reason);
        }
        self.within(range, reading.value, entry, row).unwrap_or(default)
    }

    fn within(&mut self, range: Range, value: u64, entry: &Entry, row: &Key) -> Option<u64> {
        let nearest = value.clamp(range.min, range.max);
        if nearest == value {
            return Some(value);
        }
        if !range.clamp {
            self.refuse(entry, row);
            return None;
        }
        let end = if value > range.max { "most" } else { "least" };
        let taken = row.kind.number_text(nearest);
        self.reader.report.warn(entry.value_place, format!("`{}` is {taken} at {end}: taken as that", row.name));
        Some(nearest)
    }

    fn flag(&mut self, name: &str) -> bool {
        let row = self.row(name);
        let default = flag(row.default).unwrap_or_default();
        let Some(entry) = self.entry(name) else { return default };
        flag(&entry.value).unwrap_or_else(|| {
            let text = shortened(&entry.value);
            let reason = format!("`{name}` is true or false: `{text}` is taken as {default}, as if it were not set");
            self.reader.report.warn(entry.value_place, reason);
            default
        })
    }

    /// A text or path, or one of the words; with the place to point at when something is wrong with it.
    fn text(&mut self, name: &str) -> (String, Place) {
        let row = self.row(name);
        let Some(entry) = self.entry(name) else { return (row.default.to_string(), self.section.place) };
        let fits = match row.kind {
            Kind::Word(names) | Kind::Name(names) => names.contains(&entry.value.as_str()),
            Kind::Hosts => entry.value.len() <= CONFIG_PATTERN_BYTES_MAX && hosts::is_list(&entry.value),
            Kind::Path => entry.value.starts_with('/') && !entry.value.contains(char::is_control),
            _ => (1..=CONFIG_TAG_BYTES_MAX).contains(&entry.value.len()) && !entry.value.contains(char::is_whitespace),
        };
        if !fits {
            self.refuse(entry, row);
            return (row.default.to_string(), entry.value_place);
        }
        (entry.value.clone(), entry.value_place)
    }

    fn listen(&mut self) -> Option<Listen> {
        let (protocol, place) = self.text("protocol_type");
        if protocol.starts_with("unix") {
            let (path, _) = self.text("path");
            if path.is_empty() && self.entry("path").is_none() {
                self.reader.report.error(place, "a unix socket needs a `path`");
            }
            self.warn_of_unused(&["port", "bind"], "a unix socket");
            return match (path.is_empty(), protocol.as_str()) {
                (true, _) => None,
                (false, "unix_dgram") => Some(Listen::UnixDatagram(path)),
                (false, _) => Some(Listen::UnixStream(path)),
            };
        }
        self.warn_of_unused(&["path"], "udp and tcp");
        let port = u16::try_from(self.number("port")).unwrap_or_default();
        let address = self.address();
        self.warn_of_other_default("port", "5140");
        self.warn_of_other_default("bind", "every address");
        Some(if protocol == "tcp" { Listen::Tcp(address, port) } else { Listen::Udp(address, port) })
    }

    fn address(&mut self) -> IpAddr {
        let row = self.row("bind");
        let default = row.default.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let Some(entry) = self.entry("bind") else { return default };
        let literal = entry.value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&entry.value);
        if literal == "localhost" {
            self.reader.report.warn(entry.value_place, "`localhost` is taken as 127.0.0.1: names are not looked up");
            return default;
        }
        literal.parse().unwrap_or_else(|_| {
            self.refuse(entry, row);
            default
        })
    }

    /// Gathering is for the network: a unix datagram socket holds ten messages and then its senders up.
    fn gather(&mut self, listen: &Listen) -> u64 {
        let gather_ms = self.number("gather");
        if !matches!(listen, Listen::UnixDatagram(_)) {
            return gather_ms;
        }
        self.warn_of_unused(&["gather"], "unix_dgram, which is read at once");
        0
    }

    fn warn_of_unused(&mut self, names: &[&str], what: &str) {
        let section = self.section;
        for entry in names.iter().filter_map(|name| last_entry(section, name)) {
            self.reader.report.warn(entry.key_place, format!("`{}` does nothing for {what}", entry.key));
        }
    }

    fn warn_of_service_keys(&mut self) {
        self.warn_of_unused(&table::SERVICE_KEYS, "out_stdout");
    }

    fn warn_of_other_default(&mut self, name: &str, original: &str) {
        if self.entry(name).is_none() {
            let ours = self.row(name).default;
            let reason = format!("no `{name}`: {ours} is taken, where the original takes {original}");
            self.reader.report.warn(self.section.place, reason);
        }
    }

    fn oms_files(&mut self) -> OmsFiles {
        let workspace = self.workspace();
        let path = |values: &mut Self, name: &str, of_workspace: &str| match values.entry(name) {
            None => of_workspace.to_string(),
            Some(_) => values.text(name).0,
        };
        OmsFiles {
            omsadmin_conf: path(self, "omsadmin_conf_path", &workspace.omsadmin_conf),
            certificate: path(self, "cert_path", &workspace.certificate),
            key: path(self, "key_path", &workspace.key),
            proxy_conf: self.text("proxy_conf_path").0,
            no_proxy: self.text("no_proxy").0,
            ca_file: self.text("ca_file").0,
            compress: self.flag("compress"),
        }
    }

    /// The files of the workspace that is named, if one is.
    fn workspace(&mut self) -> OmsFiles {
        let Some(entry) = self.entry("workspace_id") else { return OmsFiles::default() };
        let (id, place) = self.text("workspace_id");
        if !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            let text = shortened(&entry.value);
            self.reader.report.error(place, format!("`workspace_id`: expected digits, a to f and `-`, found `{text}`"));
        }
        OmsFiles::of_workspace(&id)
    }

    fn ring(&mut self) -> RingSettings {
        RingSettings {
            path: self.ring_path(),
            bytes: self.number("buffer_size"),
            full_action: self.full_action(),
            sync_ms: self.number("sync_interval"),
        }
    }

    fn sending(&mut self) -> Sending {
        let retry_wait_max_ms = self.number("max_retry_wait");
        Sending {
            chunk_bytes: usize::try_from(self.number("buffer_chunk_limit")).unwrap_or(usize::MAX),
            flush_ms: self.number("flush_interval"),
            retry_limit: self.retry_limit(),
            retry_wait_ms: self.number("retry_wait").min(retry_wait_max_ms),
            retry_wait_max_ms,
        }
    }

    /// The original's value is a pattern for the names of many chunk files.
    fn ring_path(&mut self) -> String {
        let (path, place) = self.text("buffer_path");
        if !path.contains('*') {
            return path;
        }
        let ours = self.row("buffer_path").default;
        self.reader.report.warn(place, format!("`*` stands for many files, but the ring is one: {ours} is taken"));
        ours.to_string()
    }

    fn full_action(&mut self) -> FullAction {
        match self.text("buffer_queue_full_action").0.as_str() {
            "drop_oldest_chunk" => FullAction::DropOldest,
            "block" => FullAction::Block,
            "exception" => FullAction::DropNewest,
            _ => FullAction::HoldStreams,
        }
    }

    fn retry_limit(&mut self) -> Option<u32> {
        let limit = u32::try_from(self.number("retry_limit")).ok().filter(|&limit| limit > 0);
        if self.flag("disable_retry_limit") { None } else { limit }
    }

    fn log_level(&mut self) -> Option<LogLevel> {
        self.entry("log_level")?;
        match self.text("log_level").0.as_str() {
            "fatal" => Some(LogLevel::Fatal),
            "error" => Some(LogLevel::Error),
            "warn" => Some(LogLevel::Warn),
            "info" => Some(LogLevel::Info),
            "debug" => Some(LogLevel::Debug),
            "trace" => Some(LogLevel::Trace),
            _ => None,
        }
    }
}

/// Sends each source to its `<match>`. The one that takes the first source's records has the settings of the ring.
fn assemble(plan: Plan, report: &mut Report) -> Option<Config> {
    let outputs = &plan.outputs;
    let mut of_syslog = Vec::new();
    for input in &plan.sources {
        let taken = outputs_of_syslog(input, outputs, report);
        of_syslog.extend(taken.into_iter().filter(|index| !of_syslog.contains(index)).collect::<Vec<_>>());
    }
    if plan.sources.is_empty() && plan.heartbeat.is_none() && plan.perf.is_empty() && !report.failed() {
        let start = Place { file: 0, line: 1, column: 1 };
        report.error(start, format!("nothing to do: no `<source>` that works; {}", working_types("source")));
    }
    let of_tags = |tags: &mut dyn Iterator<Item = (&str, Place)>, report: &mut Report| {
        let mut taken: Vec<usize> = tags.filter_map(|(tag, place)| output_of(tag, place, outputs, report)).collect();
        taken.dedup();
        taken
    };
    let heartbeat = plan.heartbeat.as_ref().map(|it| (it.tag.as_str(), it.tag_place));
    let of_heartbeat = of_tags(&mut heartbeat.into_iter(), report);
    let of_perf = of_tags(&mut plan.perf.iter().map(|it| (it.tag.as_str(), it.tag_place)), report);
    let mut router = Router { outputs, chosen: Vec::new(), seen: Vec::new() };
    let routes = Routes {
        syslog: router.route(&of_syslog, "syslog", report),
        heartbeat: router.route(&of_heartbeat, "heartbeat", report),
        perf: router.route(&of_perf, "perf", report),
    };
    if !report.failed() {
        router.look_at_the_rest(report);
    }
    let first = *router.chosen.first()?;
    Some(Config {
        targets: router.chosen.iter().map(|settings| settings.target.clone()).collect(),
        routes,
        ring: first.ring.clone(),
        sources: plan.sources.into_iter().map(|input| input.source).collect(),
        perf: plan.perf.into_iter().map(|perf| perf.source).collect(),
        heartbeat_ms: plan.heartbeat.map(|heartbeat| heartbeat.interval_ms),
        topology_ms: plan.topology_ms.unwrap_or(TOPOLOGY_MS_DEFAULT),
        allow_non_fips: plan.allow_non_fips,
        allow_network_state: plan.allow_network_state,
        sandbox: plan.sandbox,
        log_level: plan.log_level.or(first.log_level).unwrap_or(LogLevel::Info),
    })
}

/// Makes a list of the destinations that take something.
struct Router<'p> {
    outputs: &'p [Output],
    chosen: Vec<&'p Settings>,
    /// Where the settings stand that take something.
    seen: Vec<Place>,
}

impl<'p> Router<'p> {
    /// The targets of the records that these outputs take, as bits; the first for a kind that there is none of. A record does not
    /// say which source it is from, so all of one kind have the same.
    fn route(&mut self, taking: &[usize], what: &str, report: &mut Report) -> u8 {
        let mut first = None;
        for &index in taking {
            let Purpose::Works(all) = &self.outputs[index].purpose else { continue };
            let bits = all.iter().fold(0, |bits, settings| bits | self.choose(settings, report));
            let (first_bits, first_place) = *first.get_or_insert((bits, self.outputs[index].place));
            if bits != first_bits {
                let place = self.outputs[index].place;
                let line = report.refer(place, first_place);
                let reason = format!("{what} goes to other destinations by the `<match>` on {line}");
                report.error(place, format!("{reason}: all of it goes to the same; for several, use `type copy`"));
            }
        }
        first.map_or(1, |(bits, _)| bits)
    }

    /// The bit of a target: a new one, or that of one with the same name.
    fn choose(&mut self, settings: &'p Settings, report: &mut Report) -> u8 {
        let target = &settings.target;
        let known = self.chosen.iter().position(|other| other.target.name == target.name);
        if !self.seen.contains(&settings.place) {
            self.seen.push(settings.place);
            if let Some(index) = known {
                self.differs(settings, self.chosen[index], report);
            }
        }
        if let Some(index) = known {
            return 1 << index;
        }
        if self.chosen.len() >= DESTINATIONS_MAX {
            report.error(settings.place, format!("more than {DESTINATIONS_MAX} destinations"));
            return 0;
        }
        if let Some(&first) = self.chosen.first() {
            let keys = ring_keys(&settings.ring, &first.ring);
            if !keys.is_empty() {
                differs(settings, first, "which counts for the ring", &keys, report);
            }
        }
        self.chosen.push(settings);
        1 << (self.chosen.len() - 1)
    }

    /// Names outputs that take nothing and would do it otherwise.
    fn look_at_the_rest(&self, report: &mut Report) {
        for output in self.outputs {
            let Purpose::Works(all) = &output.purpose else { continue };
            for settings in all.iter().filter(|settings| !self.seen.contains(&settings.place)) {
                match self.chosen.iter().find(|chosen| chosen.target.name == settings.target.name) {
                    Some(chosen) => self.differs(settings, chosen, report),
                    None => {
                        report.warn(settings.place, "takes no records: there are none, or a `<match>` before it does")
                    }
                }
            }
        }
    }

    /// Two sections stand for one destination: the first one's settings count.
    fn differs(&self, settings: &Settings, other: &Settings, report: &mut Report) {
        let (one, two) = (&settings.target, &other.target);
        let keys = [
            different_type(one, two),
            ring_keys(&settings.ring, &other.ring),
            sending_keys(&one.sending, &two.sending),
        ]
        .concat();
        if one.destination != two.destination {
            let line = report.refer(settings.place, other.place);
            let reason = format!(
                "has the name of the destination on {line} (`{}`), but differs in {}",
                one.name,
                keys.join(", ")
            );
            report.error(settings.place, format!("{reason}: give it another `@id`"));
        } else if !keys.is_empty() {
            differs(settings, other, "which counts for both", &keys, report);
        }
    }
}

fn differs(one: &Settings, other: &Settings, what: &str, keys: &[&str], report: &mut Report) {
    let line = report.refer(one.place, other.place);
    report.warn(one.place, format!("differs from the destination on {line}, {what}, in {}", keys.join(", ")));
}

/// The outputs that work and take messages of a source, the first one's first. A message of any facility and severity has
/// to go to one.
fn outputs_of_syslog(input: &Input, outputs: &[Output], report: &mut Report) -> Vec<usize> {
    let mut taken: Vec<usize> = Vec::new();
    let mut left = None;
    for tag in FACILITIES.iter().flat_map(|facility| SEVERITIES.map(|it| format!("{}.{facility}.{it}", input.tag))) {
        match first_taking(outputs, &tag) {
            Some(index) if taken.contains(&index) => {}
            Some(index) => taken.push(index),
            None => left = left.or(Some(tag)),
        }
    }
    let root = &input.tag;
    match left {
        Some(_) if taken.is_empty() => {
            let reason = format!("no `<match>` takes these messages, whose tag is `{root}.FACILITY.SEVERITY`");
            report.error(input.tag_place, format!("{reason}: write `<match {root}.**>`"));
        }
        Some(tag) => {
            let reason = format!("no `<match>` takes `{tag}`, for one, and messages are not left out by their tag");
            report.error(input.tag_place, format!("{reason}: write `<match {root}.**>`"));
        }
        None => {}
    }
    taken.retain(|&index| works(&outputs[index], input.tag_place, report));
    taken
}

/// The output that takes all records of a source, if it works.
fn output_of(tag: &str, place: Place, outputs: &[Output], report: &mut Report) -> Option<usize> {
    let Some(index) = first_taking(outputs, tag) else {
        report.error(place, format!("no `<match>` takes the tag `{tag}`: write `<match {tag}>`"));
        return None;
    };
    works(&outputs[index], place, report).then_some(index)
}

fn first_taking(outputs: &[Output], tag: &str) -> Option<usize> {
    outputs.iter().position(|output| output.patterns.iter().any(|pattern| takes_tag(pattern, tag)))
}

fn works(output: &Output, source: Place, report: &mut Report) -> bool {
    if output.purpose == Purpose::Nothing {
        let line = report.refer(source, output.place);
        report.error(source, format!("the `<match>` on {line} takes these records, but its type does nothing here"));
    }
    matches!(output.purpose, Purpose::Works(_))
}

fn different_type(one: &Target, other: &Target) -> Vec<&'static str> {
    match (&one.destination, &other.destination) {
        (Destination::Oms(one), Destination::Oms(other)) => different_files(one, other),
        (one, other) if one == other => Vec::new(),
        (one, other) if one.type_name() == other.type_name() => Vec::from(["where it goes"]),
        _ => Vec::from(["type"]),
    }
}

fn ring_keys(one: &RingSettings, other: &RingSettings) -> Vec<&'static str> {
    names_of(&[
        ("buffer_path", one.path == other.path),
        ("buffer_size", one.bytes == other.bytes),
        ("buffer_queue_full_action", one.full_action == other.full_action),
        ("sync_interval", one.sync_ms == other.sync_ms),
    ])
}

fn sending_keys(one: &Sending, other: &Sending) -> Vec<&'static str> {
    names_of(&[
        ("buffer_chunk_limit", one.chunk_bytes == other.chunk_bytes),
        ("flush_interval", one.flush_ms == other.flush_ms),
        ("retry_limit", one.retry_limit == other.retry_limit),
        ("retry_wait", one.retry_wait_ms == other.retry_wait_ms),
        ("max_retry_wait", one.retry_wait_max_ms == other.retry_wait_max_ms),
    ])
}

fn names_of(pairs: &[(&'static str, bool)]) -> Vec<&'static str> {
    pairs.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect()
}

fn different_files(one: &OmsFiles, other: &OmsFiles) -> Vec<&'static str> {
    names_of(&[
        ("omsadmin_conf_path", one.omsadmin_conf == other.omsadmin_conf),
        ("cert_path", one.certificate == other.certificate),
        ("key_path", one.key == other.key),
        ("proxy_conf_path", one.proxy_conf == other.proxy_conf),
        ("no_proxy", one.no_proxy == other.no_proxy),
        ("ca_file", one.ca_file == other.ca_file),
        ("compress", one.compress == other.compress),
    ])
}

fn read_number(kind: &Kind, text: &str) -> Option<Reading> {
    match kind {
        Kind::Count(_) => whole(text).map(|value| Reading { value, exact: true }),
        Kind::Size(_) => size_bytes(text),
        Kind::Time(_) => time_ms(text),
        Kind::ShortTime(_) => short_time_ms(text).map(|value| Reading { value, exact: true }),
        _ => None,
    }
}

/// The `type` of a section: the last `@type`, else the last `type`.
fn kind_of(section: &Section) -> Option<&Entry> {
    last_entry(section, "type")
}

/// The entry that counts: one with `@` before one without, a later one before an earlier one.
pub(super) fn last_entry<'s>(section: &'s Section, name: &str) -> Option<&'s Entry> {
    let marked = |entry: &&Entry| entry.key.starts_with('@') && bare(&entry.key) == name;
    let named = |entry: &&Entry| entry.key == name;
    section.entries.iter().rfind(marked).or_else(|| section.entries.iter().rfind(named))
}

/// A key without the `@` that may stand in front of a few.
pub(super) fn bare(key: &str) -> &str {
    key.strip_prefix('@').filter(|name| table::AT_KEYS.contains(name)).unwrap_or(key)
}

fn working_types(section: &str) -> String {
    let section = table::of_table(section);
    let works = |plugin: &&table::Plugin| plugin.section == section && plugin.effect != Effect::Nothing;
    let names: Vec<&str> = table::PLUGINS.iter().filter(works).map(|plugin| plugin.name).collect();
    if names.is_empty() {
        String::from("no type has an effect here")
    } else {
        format!("expected {}", names.join(" or "))
    }
}

/// Text of a file for a message: its beginning, if it is long.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

/// `: did you mean ...?` with the name that differs least, if any differs little.
fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> String {
    const BYTES_MAX: usize = 40;
    if text.len() > BYTES_MAX {
        return String::new();
    }
    let best = names.map(|name| (distance(text.as_bytes(), name.as_bytes()), name)).min();
    match best {
        Some((distance, name)) if distance <= 1 + text.len() / 4 => format!(": did you mean `{name}`?"),
        _ => String::new(),
    }
}

/// How many bytes have to be put in, taken out or changed to make one of the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.iter().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], index + 1);
        for at in 0..other.len() {
            let changed = diagonal + usize::from(*byte != other[at]);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
