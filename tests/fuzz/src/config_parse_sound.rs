//! Any text, and any files that include one another, are read to their end: every finding points into a text, an accepted
//! configuration is within its bounds, and reading stays within its own. Input: the text of `a.conf`; a line `=== PATH` begins another file.

use crate::memory::peak_bytes;
use omsd::config::{Config, Destination, Diagnostic, Files, Listen, Severity, parse};
use omsd::limits::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CONFIG_BYTES_MAX, CONFIG_DIAGNOSTICS_MAX, CONFIG_FILES_MAX, CONFIG_TIME_MS_MAX,
    DESTINATIONS_MAX, GATHER_MS_MAX, MESSAGE_BYTES_MAX, PERF_SOURCES_MAX, RING_BYTES_MAX, RING_BYTES_MIN, SOURCES_MAX,
};
use std::collections::BTreeMap;

/// What configurations are made of.
pub const WORDS: &[&[u8]] = &[
    b"<source>\n",
    b"</source>\n",
    b"<match **>\n",
    b"<match oms.** docker.**>\n",
    b"</match>\n",
    b"<filter **>\n",
    b"</filter>\n",
    b"<system>\n",
    b"</system>\n",
    b"type syslog\n",
    b"type out_oms\n",
    b"type out_stdout\n",
    b"type oms_heartbeat\n",
    b"type filter_syslog\n",
    b"type oms_omi\n",
    b"object_name \"Logical Disk\"\n",
    b"object_name Container\n",
    b"instance_regex \"\\\\d*(a|b)+\"\n",
    b"counter_name_regex %WORKSPACE_ID%(?=\n",
    b"interval 10s\n",
    b"port 25224\n",
    b"port 65536\n",
    b"bind 127.0.0.1\n",
    b"bind ::1\n",
    b"protocol_type tcp\n",
    b"protocol_type unix_dgram\n",
    b"path /run/omsd.sock\n",
    b"tag oms.syslog\n",
    b"buffer_path /var/ring\n",
    b"buffer_size 10m\n",
    b"buffer_chunk_limit 99999999999999999999g\n",
    b"flush_interval 20s\n",
    b"retry_wait 1e999\n",
    b"max_retry_wait 0x10\n",
    b"retry_limit 6\n",
    b"gather 20ms\n",
    b"message_length_limit 64k\n",
    b"log_level trace\n",
    b"@include *.conf\n",
    b"@include a.conf\n",
    b"@include d/*\n",
    b"@include /d/{b,c}.conf\n",
    b"include x\n",
    b"\n=== d/b.conf\n",
    b"\n=== c.conf\n",
    b"%CONF_DIR_WS%",
    b"%STATE_DIR_WS%",
    b"\"",
    b"'",
    b"\\",
    b"#{",
    b" #",
    b"[1, {\"a\": [",
    b"]}",
    b"{a,{b,c}}",
    b"[!a-]",
    b"**",
    b"*?",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\r\n",
    b"\t",
    b"\0",
    b"\xc3\xa9",
];

/// Heap that reading may hold beside ten times the text: bounded findings, bounded lists of names.
const BYTES_BESIDE: usize = 4 * 1024 * 1024;

/// See the head of this file.
pub fn check(data: &[u8]) {
    let mut files = Texts::of(data);
    let (outcome, bytes) = peak_bytes(|| parse(&mut files, ENTRY));
    assert!(files.reads <= CONFIG_FILES_MAX + 1, "{} files read", files.reads);
    assert!(bytes <= BYTES_BESIDE + 10 * files.read_bytes, "{bytes} bytes of heap for {} of text", files.read_bytes);
    let findings = match &outcome {
        Ok((config, warnings)) => {
            assert!(warnings.iter().all(|finding| finding.severity == Severity::Warning), "{warnings:?}");
            check_config(config);
            warnings
        }
        Err(findings) => {
            assert!(findings.iter().any(|finding| finding.severity == Severity::Error), "refused without a reason");
            findings
        }
    };
    assert!(findings.len() <= CONFIG_DIAGNOSTICS_MAX + 1);
    findings.iter().for_each(|finding| files.check_place(finding));
    assert_eq!(parse(&mut files, ENTRY), outcome, "read again");
}

const ENTRY: &str = "a.conf";

/// Files by path.
struct Texts {
    by_path: BTreeMap<String, Vec<u8>>,
    reads: usize,
    read_bytes: usize,
}

impl Texts {
    fn of(data: &[u8]) -> Texts {
        let mut texts = Texts { by_path: BTreeMap::new(), reads: 0, read_bytes: 0 };
        let mut path = String::from(ENTRY);
        for line in data.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_prefix(b"=== ") {
                Some(name) => path = String::from_utf8_lossy(name).trim().to_string(),
                None => texts.by_path.entry(path.clone()).or_default().extend_from_slice(line),
            }
        }
        texts
    }

    /// A finding is about a line of a file, or the end of one; about a file that is not there, its first.
    fn check_place(&self, finding: &Diagnostic) {
        let nothing = Vec::new();
        let text = self.by_path.get(&finding.file).unwrap_or(&nothing);
        assert!(self.by_path.contains_key(&finding.file) || finding.file == ENTRY, "{finding}");
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        let line = usize::try_from(finding.line).ok().and_then(|line| line.checked_sub(1)).and_then(|at| lines.get(at));
        let line = line.unwrap_or_else(|| panic!("{finding}: the text has {} lines", lines.len()));
        let characters = line.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        assert!((1..=characters + 1).contains(&(finding.column as usize)), "{finding}: {characters} characters");
        assert!(!finding.text.is_empty());
    }
}

impl Files for Texts {
    fn read(&mut self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        if path.ends_with("forbidden") {
            return Err(String::from("permission denied"));
        }
        let Some(bytes) = self.by_path.get(path) else { return Ok(None) };
        let bytes = &bytes[..bytes.len().min(bytes_max + 1)];
        self.reads += 1;
        self.read_bytes += bytes.len();
        assert!(self.read_bytes <= 2 * (CONFIG_BYTES_MAX + 1), "more text than a configuration may have");
        Ok(Some(bytes.to_vec()))
    }

    fn list(&mut self, directory: &str, names_max: usize) -> Result<Vec<String>, String> {
        let slash = if directory.is_empty() || directory.ends_with('/') { "" } else { "/" };
        let prefix = format!("{directory}{slash}");
        let below = self.by_path.keys().filter_map(|path| path.strip_prefix(&prefix));
        let mut names: Vec<String> = below.map(|rest| rest.split('/').next().unwrap_or_default().to_string()).collect();
        names.dedup();
        names.truncate(names_max + 1);
        Ok(names)
    }
}

/// What an accepted configuration promises to the rest of the program.
fn check_config(config: &Config) {
    assert!(config.sources.len() <= SOURCES_MAX);
    for source in &config.sources {
        assert!((1..=MESSAGE_BYTES_MAX).contains(&source.message_bytes_max), "{source:?}");
        assert!(source.gather_ms <= GATHER_MS_MAX, "{source:?}");
        match &source.listen {
            Listen::Udp(_, port) | Listen::Tcp(_, port) => assert!(*port > 0, "{source:?}"),
            Listen::UnixDatagram(path) | Listen::UnixStream(path) => check_path(path),
        }
    }
    assert!(config.perf.len() <= PERF_SOURCES_MAX);
    for source in &config.perf {
        assert!(u32::from(source.counters) >> source.object.counters().len() == 0, "{source:?}");
        assert!(source.interval_ms.is_none_or(|time| (1000..=CONFIG_TIME_MS_MAX).contains(&time)), "{source:?}");
    }
    assert!(config.heartbeat_ms.is_none_or(|time| (1..=CONFIG_TIME_MS_MAX).contains(&time)));
    let ring = &config.ring;
    check_path(&ring.path);
    assert!((RING_BYTES_MIN..=RING_BYTES_MAX).contains(&ring.bytes) && ring.sync_ms <= CONFIG_TIME_MS_MAX, "{ring:?}");
    assert!((1..=DESTINATIONS_MAX).contains(&config.targets.len()));
    for (index, target) in config.targets.iter().enumerate() {
        assert!(config.targets[..index].iter().all(|other| other.name != target.name), "{}", target.name);
        let sending = &target.sending;
        assert!((CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&sending.chunk_bytes), "{sending:?}");
        for time in [sending.flush_ms, sending.retry_wait_ms, sending.retry_wait_max_ms] {
            assert!((1..=CONFIG_TIME_MS_MAX).contains(&time), "{sending:?}");
        }
        assert!(sending.retry_wait_ms <= sending.retry_wait_max_ms, "{sending:?}");
        if let Destination::Oms(files) = &target.destination {
            let paths = [&files.omsadmin_conf, &files.certificate, &files.key, &files.proxy_conf];
            paths.into_iter().for_each(|path| check_path(path));
        }
    }
}

fn check_path(path: &str) {
    assert!(path.starts_with('/') && !path.contains('\0'), "{path:?}");
}
