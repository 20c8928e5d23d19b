//! `omsd collect-logs`: an archive for whoever helps. It has no key, password, token or message; what it has is printed first.

use super::{Exit, ended, options, parse, root_of, root_option, say, status};
use crate::agent::paths::Paths;
use crate::check::{self, Scene, Wanted, archive};
use crate::config::Destination;
use crate::limits::{ARCHIVE_BYTES_MAX, ARCHIVE_FILE_BYTES_MAX, CHECK_NAMES_MAX};
use crate::ring::{disk, inspect};
use crate::sys::{clock, file, host};
use crate::upload::deflate::{Compressor, Wrapper};
use crate::upload::oms::read_proxy;
use crate::upload::times::time_text;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use miniserde::json;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Nobody but who made it.
const MODE: u32 = 0o600;

/// Files of the kernel that say what kind of host this is.
const OF_HOST: [&str; 7] = [
    "/proc/version",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/mounts",
    "/etc/os-release",
    "/proc/net/sockstat",
];
/// Files of the kernel about the agent.
const OF_AGENT: [&str; 2] = ["limits", "status"];

/// A file of the archive: its name, its text.
type Entry = (String, String);

/// Runs `omsd collect-logs`.
pub fn command(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    options.optopt("o", "", "the archive; default omsd-logs-HOST-TIME.tar.gz here", "FILE");
    ended(|| {
        let matches = parse(&options, "omsd collect-logs [options]", arguments)?;
        let now_us = clock::wall_us();
        let name = matches.opt_str("o").map_or_else(|| default_name(now_us), PathBuf::from);
        let entries = gather(&root_of(&matches));
        for (name, text) in &entries {
            say(&format!("{:7}  {name}\n", text.len()));
        }
        let bytes = packed(&entries, now_us / 1_000_000);
        match file::write_atomically(&name, &bytes, MODE) {
            Ok(()) => {
                say(&format!("written to {}\n", name.display()));
                Ok(Exit::Ok)
            }
            Err(error) => {
                eprintln!("omsd: {}: {error}", name.display());
                Ok(if error.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::CannotCreate })
            }
        }
    })
}

fn default_name(now_us: u64) -> PathBuf {
    let time = time_text(i64::try_from(now_us / 1000).unwrap_or(0));
    let time: String =
        time[..19].iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|&byte| char::from(byte)).collect();
    let host: String =
        host::hostname().chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').take(32).collect();
    PathBuf::from(format!("omsd-logs-{host}-{time}Z.tar.gz"))
}

fn packed(entries: &[Entry], now_unix_s: u64) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, text) in entries {
        archive::add(&mut tar, &format!("omsd-logs/{name}"), now_unix_s, text.as_bytes());
    }
    archive::end(&mut tar);
    let mut compressor = Compressor::new(Wrapper::Gzip, ARCHIVE_BYTES_MAX);
    match compressor.feed(&tar).and_then(|()| compressor.finish().map(Vec::from)) {
        Ok(bytes) => bytes,
        // It is larger than ever thought of: plain tar is understood, too.
        Err(_) => tar,
    }
}

fn gather(root: &Path) -> Vec<Entry> {
    let paths = Paths::below(root);
    let scene = Scene::new(root, None);
    let mut entries: Vec<Entry> = Vec::new();
    let mut add = |name: &str, text: String| entries.push((name.to_string(), text));
    add("version", super::version_text());
    add("status.json", text_of_agent(&paths.status()));
    add("status", status::described(&paths));
    let mut findings = String::new();
    let offline = Wanted { offline: true, ..Wanted::default() };
    check::run(&scene, &offline, |finding| findings.push_str(&(json::to_string(finding) + "\n")));
    add("check.json", archive::redacted(&findings));
    for (number, path) in (1..).zip(configuration(&scene)) {
        add(
            &format!("configuration-{number}"),
            format!("# {}\n{}", path.display(), archive::redacted(&text_of(&path))),
        );
    }
    if let Some(config) = scene.config() {
        add("ring", ring(&paths.place(&config.ring.path)));
        for (number, target) in (1..).zip(&config.targets) {
            add(&format!("destination-{number}"), destination(&paths, &target.destination));
        }
    }
    add("log", archive::redacted(&text_of_agent(&paths.log())));
    add("files", ["/etc/opt/omsd", "/var/opt/omsd"].map(|path| listing(&paths.place(path), 3)).concat());
    for path in OF_HOST {
        add(&format!("host{}", path.replace('/', "-")), archive::redacted(&text_of(Path::new(path))));
    }
    for name in OF_AGENT.into_iter().filter(|_| scene.agent().is_some()) {
        let pid = scene.agent().unwrap_or_default();
        add(&format!("agent-{name}"), text_of(Path::new(&format!("/proc/{pid}/{name}"))));
    }
    entries
}

/// As much of a text as goes into the archive, or why there is none.
fn text_of(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(ARCHIVE_FILE_BYTES_MAX).read_to_end(&mut bytes));
    or_why(path, read.map(|_| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The same of a file that the agent's account has: a link of its to what only root may read leads nowhere.
fn text_of_agent(path: &Path) -> String {
    or_why(path, file::text_to_look(path, ARCHIVE_FILE_BYTES_MAX))
}

fn or_why(path: &Path, text: io::Result<String>) -> String {
    text.unwrap_or_else(|error| format!("{}: {error}\n", path.display()))
}

/// The configuration's file and those beside it: what it includes.
fn configuration(scene: &Scene) -> Vec<PathBuf> {
    let Some(main) = scene.file() else { return Vec::new() };
    let directory = main.parent().unwrap_or(main).join("omsagent.d");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut others: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    others.sort_unstable();
    others.truncate(CHECK_NAMES_MAX);
    core::iter::once(main.to_path_buf()).chain(others).collect()
}

/// The ring's account: how much of what, and no message.
fn ring(path: &Path) -> String {
    let mut text = String::new();
    let looked = disk::open_read_only(path).map_err(|error| error.to_string());
    match looked.and_then(|file| inspect::look(&file).map_err(|error| error.to_string())) {
        // Writing to a String cannot fail.
        Ok(look) => _ = look.write_to(&mut text, super::ring::stream_name),
        Err(error) => text = format!("{}: {error}\n", path.display()),
    }
    text
}

/// What a destination is known by, as far as others may know it.
fn destination(paths: &Paths, destination: &Destination) -> String {
    let name = destination.type_name();
    let Some(proxy_conf) = destination.proxy_conf() else { return format!("{name}\n") };
    let proxy = match read_proxy(&paths.place(proxy_conf).to_string_lossy()) {
        Ok(None) => "none".to_string(),
        Ok(Some(proxy)) => proxy.to_string(),
        Err(reason) => archive::redacted(&reason).trim_end().to_string(),
    };
    let identity = match destination {
        Destination::Oms(files) => archive::redacted(&text_of_agent(&paths.place(&files.omsadmin_conf))),
        _ => String::new(),
    };
    format!("{name}\nproxy: {proxy}\n{identity}")
}

/// Mode, owner, size and name of everything below a directory.
fn listing(directory: &Path, depth: usize) -> String {
    let mut text = String::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .take(CHECK_NAMES_MAX)
        .map(|entry| entry.path())
        .collect();
    entries.sort_unstable();
    for path in entries {
        let Ok(found) = path.symlink_metadata() else { continue };
        let (mode, uid, gid, bytes) = (found.mode(), found.uid(), found.gid(), found.len());
        text.push_str(&format!("{mode:06o} {uid:5} {gid:5} {bytes:10} {}\n", path.display()));
        if found.is_dir() && depth > 1 {
            text.push_str(&listing(&path, depth - 1));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    #[test]
    fn what_leads_out_of_the_state_directory_is_not_packed_nor_waited_for() {
        let root = std::env::temp_dir().join(format!("omsd-collect-{}", std::process::id()));
        let paths = Paths::below(&root);
        fs::create_dir_all(paths.state()).unwrap();
        let secret = root.join("secret");
        fs::write(&secret, "canary").unwrap();
        assert!(Command::new("mkfifo").arg(paths.log()).status().unwrap().success());
        symlink(&secret, paths.status()).unwrap();
        let mut packed: Vec<Entry> = gather(&root);
        fs::remove_file(paths.status()).unwrap();
        fs::hard_link(&secret, paths.status()).unwrap();
        packed.extend(gather(&root));
        fs::remove_dir_all(&root).unwrap();
        assert!(packed.iter().any(|(name, text)| name == "log" && text.contains("/log: ")));
        assert!(packed.iter().all(|(_, text)| !text.contains("canary")), "{packed:?}");
    }
}
