//! `id.files`, `id.key`, `id.ids`: what the agent is known by.

use super::{Finding, Grade, Scene, Tell};
use crate::config::{Config, Destination, Identity, RowSettings};
use crate::crypto;
use crate::onboard::certificate;
use crate::onboard::renewal::day_text;
use crate::upload::admin_conf::AdminConf;
use crate::upload::guid::is_guid;
use crate::upload::https::fitting_key;
use crate::{limits, sys};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const DAY_S: i64 = 86_400;
/// A certificate that ends sooner is worth a warning: it should have been renewed by then.
const DAYS_LEFT: i64 = 30;

/// A file that must or may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Needed {
    path: String,
    /// Bits of its mode that must not be set.
    forbidden: u32,
    may_be_missing: bool,
}

/// Owner, group and mode.
#[derive(Debug, Clone, Copy)]
struct Access {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Access {
    fn of(found: &Metadata) -> Access {
        Access { uid: found.uid(), gid: found.gid(), mode: found.permissions().mode() & 0o7777 }
    }

    /// Whether this account has the bit (4 read, 2 write, 1 search), its other groups left aside.
    fn permits(self, account: (u32, u32), bit: u32) -> bool {
        let shift = match account {
            (0, _) => return true,
            (uid, _) if uid == self.uid => 6,
            (_, gid) if gid == self.gid => 3,
            _ => 0,
        };
        self.mode & (bit << shift) != 0
    }
}

/// A file as it was found, with the directory that it is in.
enum Seen {
    Missing,
    Hidden(String),
    There { file: Access, directory: Access },
}

pub(super) fn files(scene: &Scene, tell: Tell) {
    scene.configured(&["id.files"], tell, |config, tell| {
        let account = account(scene);
        let judged = needed(config).into_iter().map(|needed| {
            let path = scene.paths.place(&needed.path);
            let grade = judge_file(&needed, &path.to_string_lossy(), &see(&path), account);
            (needed, grade)
        });
        tell(sum_up(judged.map(|(_, judged)| judged).collect()));
    });
}

/// The account of the agent: whose the state directory is. `None`: there is none yet.
pub fn account(scene: &Scene) -> Option<(u32, u32)> {
    let directory = scene.paths.lock();
    let found = fs::metadata(directory.parent()?).ok()?;
    Some((found.uid(), found.gid()))
}

/// Whether an account may write into a directory.
pub fn may_write(directory: &Metadata, account: (u32, u32)) -> bool {
    Access::of(directory).permits(account, 2) && Access::of(directory).permits(account, 1)
}

fn see(path: &Path) -> Seen {
    let directory = fs::metadata(path.parent().unwrap_or(path));
    match (fs::metadata(path), directory) {
        (Ok(file), Ok(directory)) => Seen::There { file: Access::of(&file), directory: Access::of(&directory) },
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Seen::Missing,
        (Err(error), _) | (_, Err(error)) => Seen::Hidden(error.to_string()),
    }
}

/// Every file that the destinations name.
fn needed(config: &Config) -> Vec<Needed> {
    let mut all: Vec<Needed> = Vec::new();
    let mut add = |path: &str, forbidden, may_be_missing| {
        let needed = Needed { path: path.to_string(), forbidden, may_be_missing };
        if !path.is_empty() && !all.contains(&needed) {
            all.push(needed);
        }
    };
    /// Anyone may read it; of what only the agent should read, others must not; of a secret, nobody but its owner.
    const PUBLIC: u32 = 0o022;
    const PRIVATE: u32 = 0o027;
    const SECRET: u32 = 0o077;
    for target in &config.targets {
        let rows: Option<&RowSettings> = match &target.destination {
            Destination::Stdout => None,
            Destination::Oms(files) => {
                add(&files.omsadmin_conf, PUBLIC, false);
                add(&files.certificate, PUBLIC, false);
                add(&files.key, PRIVATE, false);
                add(&files.proxy_conf, PRIVATE, true);
                add(&files.ca_file, PUBLIC, false);
                None
            }
            Destination::AzureIngestion(settings) => {
                match &settings.identity {
                    Identity::Secret { secret, .. } => add(secret, SECRET, false),
                    Identity::Certificate { certificate, key, .. } => {
                        add(certificate, PUBLIC, false);
                        add(key, SECRET, false);
                    }
                    Identity::Managed { .. } | Identity::Arc { .. } => {}
                }
                Some(&settings.rows)
            }
            Destination::DataCollector(settings) => {
                add(&settings.shared_key, SECRET, false);
                Some(&settings.rows)
            }
        };
        if let Some(rows) = rows {
            add(&rows.proxy_conf, PRIVATE, true);
            add(&rows.ca_file, PUBLIC, false);
        }
    }
    all
}

/// One file: how it is and, if it is not as it should be, what to do.
fn judge_file(needed: &Needed, path: &str, seen: &Seen, account: Option<(u32, u32)>) -> (Grade, String, String) {
    match seen {
        Seen::Missing if needed.may_be_missing => (Grade::Pass, String::new(), String::new()),
        Seen::Missing => (
            Grade::Fail,
            format!("{path} is missing"),
            "put it there; those of out_oms come with omsd onboard".to_string(),
        ),
        Seen::Hidden(why) => (Grade::Skip, format!("{path}: {why}"), String::new()),
        Seen::There { file, .. } if file.mode & needed.forbidden != 0 => (
            Grade::Fail,
            format!("{path} has mode {:o}: too much", file.mode),
            format!("chmod {:o} {path}", file.mode & !needed.forbidden),
        ),
        Seen::There { file, directory } => match account {
            Some(account) if !file.permits(account, 4) || !directory.permits(account, 1) => (
                Grade::Fail,
                format!(
                    "{path} (user {}, mode {:o}) cannot be read by the agent's account, user {}",
                    file.uid, file.mode, account.0
                ),
                format!("chown {}:{} {path}, and let it into the directory", account.0, account.1),
            ),
            _ => (Grade::Pass, String::new(), String::new()),
        },
    }
}

fn sum_up(judged: Vec<(Grade, String, String)>) -> Finding {
    const ID: &str = "id.files";
    let count = judged.len();
    let of = |grade| judged.iter().filter(move |(found, ..)| *found == grade);
    let lines = |grade| of(grade).skip(1).map(|(_, text, _)| text.clone()).collect();
    if let Some((_, text, fix)) = of(Grade::Fail).next() {
        return Finding::fail(ID, text, fix).with(lines(Grade::Fail));
    }
    match of(Grade::Skip).next() {
        Some((_, text, _)) => Finding::skip(ID, text).with(lines(Grade::Skip)),
        None if count == 0 => Finding::skip(ID, "no destination needs a file"),
        None => Finding::pass(ID, format!("{count} files: there, readable for the agent, closed to others")),
    }
}

/// A certificate with what should be its key.
struct Pair {
    /// The certificate's file.
    path: String,
    /// Of the certificate; empty if it cannot be read.
    digest: String,
    /// The key is the certificate's; `None`: one of them cannot be read, `why`.
    fits: Option<bool>,
    why: String,
    end_unix_s: Option<i64>,
}

pub(super) fn keys(scene: &Scene, tell: Tell) {
    scene.configured(&["id.key"], tell, |config, tell| {
        let pairs = config.targets.iter().filter_map(|target| match &target.destination {
            Destination::Oms(files) => Some((&files.certificate, &files.key)),
            Destination::AzureIngestion(settings) => match &settings.identity {
                Identity::Certificate { certificate, key, .. } => Some((certificate, key)),
                _ => None,
            },
            _ => None,
        });
        let mut found = false;
        for (certificate, key) in pairs {
            found = true;
            tell(judge_pair(&pair(&scene.paths.place(certificate), &scene.paths.place(key)), scene.now_unix_s()));
        }
        if !found {
            tell(Finding::skip("id.key", "no destination has a certificate"));
        }
    });
}

fn pair(certificate: &Path, key: &Path) -> Pair {
    let mut pair = Pair {
        path: certificate.display().to_string(),
        digest: String::new(),
        fits: None,
        why: String::new(),
        end_unix_s: None,
    };
    match (read(certificate), read(key)) {
        (Ok(certificate), Ok(mut key)) => {
            pair.fits = Some(fitting_key(&certificate, &key).is_some());
            sys::wipe_string(&mut key);
            pair.end_unix_s = certificate::expiry_unix_s(&certificate);
            pair.digest = crypto::sha256_hex(certificate.as_bytes());
            pair.digest.truncate(8);
        }
        (Ok(_), Err(error)) => pair.why = format!("{}: {error}", key.display()),
        (Err(error), other) => {
            other.into_iter().for_each(|mut key| sys::wipe_string(&mut key));
            pair.why = format!("{}: {error}", pair.path);
        }
    }
    pair
}

/// A small file. Its text may be a secret: the caller wipes it.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::with_capacity(16 * 1024);
    File::open(path)?.take(limits::IDENTITY_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn judge_pair(pair: &Pair, now_unix_s: i64) -> Finding {
    const ID: &str = "id.key";
    const RENEW: &str = "omsd onboard --renew; if the log says why it was not renewed, mend that first";
    let Pair { path, digest, fits, why, end_unix_s } = pair;
    let end = end_unix_s.map_or_else(|| "at a time that is not known".to_string(), day_text);
    match (fits, end_unix_s.map(|end| (end - now_unix_s).div_euclid(DAY_S))) {
        (None, _) => Finding::skip(ID, why),
        (Some(false), _) => Finding::fail(
            ID,
            format!("{path}: the key beside it is another certificate's"),
            "onboard again: omsd onboard",
        ),
        (_, Some(..0)) => Finding::fail(
            ID,
            format!("{path} ended {end}"),
            "is the clock right? then onboard again: omsd onboard (a certificate of your own: replace it)",
        ),
        (_, Some(days @ ..DAYS_LEFT)) => Finding::warn(ID, format!("{path} ends {end}, in {days} days"), RENEW),
        _ => Finding::pass(ID, format!("{path} (SHA-256 {digest}) and its key belong together; it ends {end}")),
    }
}

/// Who and where, as each of the places says.
struct Ids {
    path: String,
    workspace: String,
    /// The workspace's directory, if the file is in one.
    directory: Option<String>,
    /// The certificate's names have the workspace's id; `None`: it cannot be read.
    is_in_certificate: Option<bool>,
    endpoint: String,
    domain: String,
}

pub(super) fn ids(scene: &Scene, tell: Tell) {
    const ID: &str = "id.ids";
    scene.configured(&[ID], tell, |config, tell| {
        let mut found = false;
        for target in &config.targets {
            let Destination::Oms(files) = &target.destination else { continue };
            found = true;
            let path = scene.paths.place(&files.omsadmin_conf);
            let parsed = read(&path).map_err(|error| error.to_string());
            let parsed = parsed.and_then(|text| AdminConf::parse(&text).map_err(|error| format!("{error:?}")));
            tell(match parsed {
                Ok(conf) => judge_ids(&ids_of(&path, conf, &scene.paths.place(&files.certificate))),
                Err(error) => Finding::skip(ID, format!("{}: {error}", path.display())),
            });
        }
        if !found {
            tell(Finding::skip(ID, "no out_oms destination"));
        }
    });
}

fn ids_of(path: &Path, conf: AdminConf, certificate: &Path) -> Ids {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let directory = real.parent().and_then(Path::parent).and_then(Path::file_name);
    let directory = directory.and_then(|name| name.to_str()).filter(|name| is_guid(name)).map(str::to_string);
    let text = read(certificate).ok();
    let names = text.as_deref().and_then(certificate::der).map(|der| der.to_ascii_lowercase());
    let id = conf.workspace_id.to_ascii_lowercase();
    Ids {
        path: path.display().to_string(),
        directory,
        is_in_certificate: names.map(|names| memchr::memmem::find(&names, id.as_bytes()).is_some()),
        workspace: conf.workspace_id,
        endpoint: conf.oms_endpoint,
        domain: conf.url_tld,
    }
}

fn judge_ids(ids: &Ids) -> Finding {
    const ID: &str = "id.ids";
    const AGAIN: &str = "onboard again: omsd onboard";
    let Ids { path, workspace, directory, is_in_certificate, endpoint, domain } = ids;
    let host = endpoint.strip_prefix("https://").unwrap_or(endpoint).split(['/', ':']).next().unwrap_or("");
    let (first, rest) = host.split_once('.').unwrap_or((host, ""));
    let is_azure = rest.contains(".opinsights.azure.");
    if !is_guid(workspace) {
        return Finding::fail(ID, format!("{path} names no workspace"), AGAIN);
    }
    if let Some(directory) = directory.as_ref().filter(|name| !name.eq_ignore_ascii_case(workspace)) {
        return Finding::fail(ID, format!("{path} is in the directory {directory}, but names {workspace}"), AGAIN);
    }
    if *is_in_certificate == Some(false) {
        return Finding::fail(ID, format!("the certificate is not one for {workspace}"), AGAIN);
    }
    if is_azure && (!first.eq_ignore_ascii_case(workspace) || !rest.ends_with(domain.as_str())) {
        return Finding::fail(ID, format!("{host} is not the endpoint of {workspace} in {domain}"), AGAIN);
    }
    Finding::pass(ID, format!("workspace {workspace}, endpoint {host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: Access = Access { uid: 100, gid: 200, mode: 0o640 };

    #[test]
    fn a_file_is_there_readable_for_the_agent_and_closed_to_others() {
        let key = Needed { path: "/k".into(), forbidden: 0o027, may_be_missing: false };
        let there = |mode, uid, gid| Seen::There {
            file: Access { mode, uid, gid },
            directory: Access { mode: 0o755, ..ACCESS },
        };
        let closed = Seen::There { file: ACCESS, directory: Access { mode: 0o700, uid: 0, gid: 0 } };
        let agent = Some((100, 200));
        for (seen, account, expected, fix) in [
            (there(0o600, 100, 200), agent, Grade::Pass, ""),
            (there(0o640, 0, 200), agent, Grade::Pass, ""),
            (there(0o600, 0, 0), agent, Grade::Fail, "chown 100:200 /k"),
            (there(0o600, 7, 7), Some((0, 0)), Grade::Pass, ""),
            (there(0o600, 7, 7), None, Grade::Pass, ""),
            (there(0o644, 100, 200), agent, Grade::Fail, "chmod 640 /k"),
            (there(0o660, 100, 200), agent, Grade::Fail, "chmod 640 /k"),
            (closed, agent, Grade::Fail, "into the directory"),
            (Seen::Missing, agent, Grade::Fail, "omsd onboard"),
            (Seen::Hidden("no".into()), agent, Grade::Skip, ""),
        ] {
            let (grade, text, found) = judge_file(&key, "/k", &seen, account);
            assert!(grade == expected && found.contains(fix), "{grade:?} {text} {found}");
        }
        let proxy = Needed { may_be_missing: true, ..key };
        assert_eq!(judge_file(&proxy, "/p", &Seen::Missing, agent).0, Grade::Pass);
    }

    #[test]
    fn the_worst_file_is_the_finding_and_the_others_are_named() {
        let row = |grade, text: &str| (grade, text.to_string(), "do".to_string());
        let found = sum_up(Vec::from([
            row(Grade::Pass, ""),
            row(Grade::Fail, "a"),
            row(Grade::Skip, "b"),
            row(Grade::Fail, "c"),
        ]));
        assert_eq!(found, Finding::fail("id.files", "a", "do").with(Vec::from(["c".to_string()])));
        assert_eq!(sum_up(Vec::from([row(Grade::Skip, "b")])).result, Grade::Skip);
        assert_eq!(sum_up(Vec::new()).result, Grade::Skip);
        assert_eq!(sum_up(Vec::from([row(Grade::Pass, "")])).result, Grade::Pass);
    }

    #[test]
    fn a_certificate_fits_its_key_and_lasts() {
        const NOW: i64 = 1_800_000_000;
        let pair = |fits, days: Option<i64>| Pair {
            path: "/c".into(),
            digest: "0011aabb".into(),
            fits,
            why: "denied".into(),
            end_unix_s: days.map(|days| NOW + days * DAY_S),
        };
        for (pair, expected, part) in [
            (pair(Some(true), Some(365)), Grade::Pass, "0011aabb"),
            (pair(Some(true), None), Grade::Pass, "not known"),
            (pair(Some(true), Some(29)), Grade::Warn, "in 29 days"),
            (pair(Some(true), Some(-1)), Grade::Fail, "ended 2027-01-14"),
            (pair(Some(false), Some(365)), Grade::Fail, "another certificate's"),
            (pair(None, None), Grade::Skip, "denied"),
        ] {
            let found = judge_pair(&pair, NOW);
            assert!(found.result == expected && found.text.contains(part), "{found:?}");
            assert_eq!(found.fix.is_empty(), matches!(expected, Grade::Pass | Grade::Skip));
        }
    }

    #[test]
    fn directory_certificate_and_endpoint_speak_of_one_workspace() {
        const ONE: &str = "0c9f6c9e-3a52-4f0b-8a8e-6a1b4b7d5e21";
        const OTHER: &str = "5f3a1c0e-7b64-4d0e-9c1f-2a6b8d9e4f10";
        let ids = |directory: &str, is_in_certificate, host: &str| Ids {
            path: "/omsadmin.conf".into(),
            workspace: ONE.into(),
            directory: Some(directory.to_string()).filter(|name| !name.is_empty()),
            is_in_certificate,
            endpoint: format!("https://{host}/OperationalData.svc/PostJsonDataItems"),
            domain: "opinsights.azure.com".into(),
        };
        let own = format!("{ONE}.ods.opinsights.azure.com");
        for (ids, expected) in [
            (ids(ONE, Some(true), &own), Grade::Pass),
            (
                ids(
                    &ONE.to_uppercase(),
                    Some(true),
                    &own.to_uppercase().replace("ODS.OPINSIGHTS.AZURE.COM", "ods.opinsights.azure.com"),
                ),
                Grade::Pass,
            ),
            (ids("", None, "gateway.example:8443"), Grade::Pass),
            (ids(OTHER, Some(true), &own), Grade::Fail),
            (ids(ONE, Some(false), &own), Grade::Fail),
            (ids(ONE, Some(true), &format!("{OTHER}.ods.opinsights.azure.com")), Grade::Fail),
            (ids(ONE, Some(true), &format!("{ONE}.ods.opinsights.azure.us")), Grade::Fail),
            (Ids { workspace: "".into(), ..ids("", None, "x") }, Grade::Fail),
        ] {
            assert_eq!(judge_ids(&ids).result, expected, "{:?} {}", ids.directory, ids.endpoint);
        }
    }
}
