//! The files an agent is known by, and how they come to be: a certificate is made, the service is told about it in a request
//! signed with the workspace's key, and what it answers is written down.
//!
//! ```text
//!  identity: what is there ─> certificate: keep or make ─> topology: body, signature ─> https ─> identity: write
//! ```
//!
//! Nothing of a working identity is touched before the service has said yes. A certificate that is there is kept, with its
//! agent id, unless it ends within 30 days or does not fit its key.

pub mod certificate;
pub mod identity;
mod key;
pub mod renewal;
#[cfg(test)]
mod tests;
pub mod topology;

pub use key::{NoKey, SharedKey};

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use std::io;
use std::path::Path;

use self::certificate::{Certificate, Subject, expiry_unix_s};
use self::identity::{Directory, FileError, Known, read_small};
use self::topology::{Facts, System};
use crate::config::hosts;
use crate::sys::{self, clock};
use crate::upload::admin_conf::AdminConf;
use crate::upload::fips::{Refused, Standing};
use crate::upload::guid::{is_guid, random_guid};
use crate::upload::https::{self, Answer, Client, HttpsError, Options};
use crate::upload::oms::{USER_AGENT, clock_is_set};
use crate::upload::proxy::Proxy;

/// The cloud that a workspace is in if nothing else is said.
pub const DOMAIN_DEFAULT: &str = "opinsights.azure.com";
/// A certificate with less time left, in seconds, is replaced.
const RENEW_S: i64 = 30 * 86_400;
/// Beyond this difference of clocks, in seconds, a 403 is put down to the clock: signatures carry the time.
const SKEW_S_MAX: i64 = 5 * 60;

/// What `omsd onboard` was asked.
#[derive(Debug)]
pub struct Request<'a> {
    /// `-w`: GUID of the workspace.
    pub workspace_id: &'a str,
    /// `-s` or `--key-file`; wiped when the request is dropped.
    pub shared_key: SharedKey,
    /// `-d`: the cloud's domain; `None`: [`DOMAIN_DEFAULT`].
    pub domain: Option<&'a str>,
    /// `-p`: the proxy, kept in `proxy.conf`; empty: none from now on; `None`: as `proxy.conf` says.
    pub proxy: Option<&'a str>,
    /// `--no-proxy`: hosts that are reached without the proxy, as [`crate::config::hosts`] reads them.
    pub no_proxy: &'a str,
    /// `-a`: Azure resource id; `None`: as before.
    pub resource_id: Option<&'a str>,
    /// `--endpoint`: `https://host[:port]` in place of the names made from workspace and domain.
    pub endpoint: Option<&'a str>,
    /// `--ca-file`: PEM file of authorities trusted beside the system's.
    pub ca_file: Option<&'a Path>,
    /// `--root`: where the installation is.
    pub root: &'a Path,
    /// `--allow-non-fips`: go on although the host is in FIPS mode and this build has no validated module.
    pub allow_non_fips: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onboarded {
    /// GUID of the agent.
    pub agent_guid: String,
    /// Where data will be posted.
    pub oms_endpoint: String,
    /// Whether this agent was known by the same certificate before.
    pub kept_certificate: bool,
    /// Something is odd but works; a sentence.
    pub warning: Option<String>,
}

/// Why there is no new identity. Each displays as a sentence for the operator; none shows the key.
#[derive(Debug)]
pub enum OnboardError {
    /// An option has a value that it cannot have. Holds a sentence.
    BadOption(String),
    /// The host is in FIPS mode. Holds a sentence.
    Fips(Refused),
    /// No answer.
    NoAnswer(HttpsError),
    /// The service refuses this workspace or key.
    Refused {
        /// HTTP status.
        status: u16,
        /// The service's own words.
        reason: Option<String>,
        /// Bytes of the key that was given; real keys have 64.
        key_bytes: usize,
    },
    /// The service could not answer just now. Holds its HTTP status.
    Busy(u16),
    /// The clock is the reason, as far as can be told.
    Clock {
        /// Seconds that the service's clock is ahead of ours; `None`: ours is not set at all.
        skew_s: Option<i64>,
    },
    /// A file or directory cannot be written.
    Files(FileError),
    /// No random numbers, or no certificate could be made.
    Internal(io::Error),
}

impl OnboardError {
    /// The program's exit code: 64 usage, 69 refused (key, workspace, clock, a TLS certificate that is not trusted), 70 our own
    /// failure, 73 and 77 files, 75 try again (name, network, proxy, busy service, a clock not set yet), 78 configuration.
    pub fn exit_code(&self) -> u8 {
        match self {
            OnboardError::BadOption(_) => 64,
            OnboardError::Fips(refused) => refused.exit_code(),
            OnboardError::Refused { .. } | OnboardError::Clock { skew_s: Some(_) } => 69,
            OnboardError::NoAnswer(HttpsError::Tls(_) | HttpsError::ProxyTls { .. } | HttpsError::Identity(_)) => 69,
            OnboardError::Internal(_) => 70,
            OnboardError::Files(failed) if failed.error.kind() == io::ErrorKind::PermissionDenied => 77,
            OnboardError::Files(_) => 73,
            OnboardError::NoAnswer(HttpsError::Trust(_) | HttpsError::BadRequest(_)) => 78,
            OnboardError::NoAnswer(_) | OnboardError::Busy(_) | OnboardError::Clock { skew_s: None } => 75,
        }
    }
}

/// Makes this host an agent of a workspace, or makes sure that it is one.
pub fn onboard(request: &Request) -> Result<Onboarded, OnboardError> {
    let endpoints = Endpoints::of(request)?;
    check_resource_id(request)?;
    if !hosts::is_list(request.no_proxy) {
        return Err(OnboardError::BadOption("--no-proxy is not a list of names, addresses and networks".to_owned()));
    }
    Standing::ask().permit(request.allow_non_fips).map_err(OnboardError::Fips)?;
    let directory = Directory::new(request.root, request.workspace_id);
    directory.prepare()?;
    let done = introduce(request, &endpoints, &directory);
    if done.is_err() {
        directory.discard();
    }
    done
}

/// From the facts to the files.
fn introduce(request: &Request, endpoints: &Endpoints, directory: &Directory) -> Result<Onboarded, OnboardError> {
    let now_us = clock::wall_us();
    let now_unix_s = i64::try_from(now_us / 1_000_000).unwrap_or(0);
    if !clock_is_set(now_unix_s) {
        return Err(OnboardError::Clock { skew_s: None });
    }
    let setting = proxy_setting(request, directory);
    let proxy = Proxy::parse(&setting).map_err(|error| OnboardError::BadOption(error.to_string()))?;
    let known = directory.load();
    let chosen = choose(request, known.as_ref(), proxy, now_unix_s)?;
    let answer = ask(request, endpoints, &chosen, now_us)?;
    let response = judge(&answer, request, now_unix_s)?;

    if let Some(new) = &chosen.new_pair {
        directory.store_pair(new, known.as_ref())?;
    }
    if request.proxy.is_some() {
        directory.store_proxy(&setting)?;
    }
    let warning =
        response.dsc_endpoint.is_empty().then(|| "the service's answer names no configuration service".to_owned());
    let kept_resource_id = known.as_ref().map_or("", |known| &known.conf.azure_resource_id);
    let conf = AdminConf {
        workspace_id: request.workspace_id.to_owned(),
        agent_guid: chosen.agent_guid,
        certificate_update_endpoint: response.certificate_update_endpoint,
        url_tld: request.domain.unwrap_or(DOMAIN_DEFAULT).to_owned(),
        dsc_endpoint: response.dsc_endpoint,
        oms_endpoint: endpoints.data.clone(),
        azure_resource_id: request.resource_id.unwrap_or(kept_resource_id).to_owned(),
        cloud_id: identity::cloud_id(),
        uuid: Some(identity::machine_uuid()),
    };
    directory.store_conf(&conf)?;
    Ok(Onboarded {
        agent_guid: conf.agent_guid,
        oms_endpoint: conf.oms_endpoint,
        kept_certificate: chosen.new_pair.is_none(),
        warning,
    })
}

/// The two URLs.
struct Endpoints {
    topology: String,
    data: String,
}

impl Endpoints {
    /// From workspace and domain, or from `--endpoint`; checks all three.
    fn of(request: &Request) -> Result<Endpoints, OnboardError> {
        let workspace_id = request.workspace_id;
        if !is_guid(workspace_id) {
            let example = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
            return Err(OnboardError::BadOption(format!("the workspace id is not a GUID ({example}): see the portal")));
        }
        let domain = request.domain.unwrap_or(DOMAIN_DEFAULT);
        if !domain.contains('.') || !domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
            return Err(OnboardError::BadOption(format!("{domain:?} is not a domain such as {DOMAIN_DEFAULT}")));
        }
        let (oms, ods) = match request.endpoint {
            Some(endpoint) => {
                let endpoint = check_endpoint(endpoint)?;
                (endpoint.to_owned(), endpoint.to_owned())
            }
            None => (format!("https://{workspace_id}.oms.{domain}"), format!("https://{workspace_id}.ods.{domain}")),
        };
        Ok(Endpoints { topology: oms + topology::PATH, data: ods + "/OperationalData.svc/PostJsonDataItems" })
    }
}

/// `https://host[:port]`, without its last slash.
fn check_endpoint(endpoint: &str) -> Result<&str, OnboardError> {
    let endpoint = endpoint.strip_suffix('/').unwrap_or(endpoint);
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    match endpoint.strip_prefix("https://") {
        Some(host) if !host.is_empty() && host.bytes().all(fine) => Ok(endpoint),
        _ => Err(OnboardError::BadOption(format!("{endpoint:?} is not of the form https://host:port"))),
    }
}

fn check_resource_id(request: &Request) -> Result<(), OnboardError> {
    let fine = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && text.len() <= 1024;
    match request.resource_id {
        Some(text) if !fine(text) => {
            Err(OnboardError::BadOption("the resource id holds what no resource id holds".to_owned()))
        }
        _ => Ok(()),
    }
}

fn proxy_setting(request: &Request, directory: &Directory) -> String {
    let setting = request.proxy.map(ToOwned::to_owned).or_else(|| directory.proxy()).unwrap_or_default();
    setting.trim().to_owned()
}

/// Who this agent will be, and a client that shows its certificate.
struct Chosen {
    agent_guid: String,
    certificate_pem: String,
    /// A pair that is not in its files yet; `None`: the one that is there is kept.
    new_pair: Option<Certificate>,
    client: Client,
}

/// Keeps what is there, as far as it can be used.
fn choose(
    request: &Request,
    known: Option<&Known>,
    proxy: Option<Proxy>,
    now_unix_s: i64,
) -> Result<Chosen, OnboardError> {
    let connect = |pair: &Certificate| {
        let identity =
            https::Identity { certificate_pem: pair.certificate_pem.as_bytes(), key_pem: pair.key_pem.as_bytes() };
        let proxy = proxy.clone();
        Client::new(Options { identity: Some(identity), ca_file: request.ca_file, proxy, no_proxy: request.no_proxy })
    };
    if let Some(known) = known {
        let lasts = expiry_unix_s(&known.pair.certificate_pem).is_some_and(|end| end - now_unix_s > RENEW_S);
        let client = if lasts { Some(connect(&known.pair)) } else { None };
        match client {
            None | Some(Err(HttpsError::Identity(_))) => {}
            Some(client) => {
                return Ok(Chosen {
                    agent_guid: known.conf.agent_guid.clone(),
                    certificate_pem: known.pair.certificate_pem.clone(),
                    new_pair: None,
                    client: client.map_err(OnboardError::NoAnswer)?,
                });
            }
        }
    }
    let agent_guid = match known {
        Some(known) => known.conf.agent_guid.clone(),
        None => new_guid()?,
    };
    let subject = Subject { workspace_id: request.workspace_id, agent_guid: &agent_guid };
    let pair = Certificate::generate(subject, now_unix_s).map_err(OnboardError::Internal)?;
    let client = connect(&pair).map_err(OnboardError::NoAnswer)?;
    Ok(Chosen { agent_guid, certificate_pem: pair.certificate_pem.clone(), new_pair: Some(pair), client })
}

fn new_guid() -> Result<String, OnboardError> {
    let mut random = [0; 16];
    sys::random_bytes(&mut random).map_err(OnboardError::Internal)?;
    Ok(random_guid(random))
}

/// Sends the topology request.
fn ask(request: &Request, endpoints: &Endpoints, chosen: &Chosen, now_us: u64) -> Result<Answer, OnboardError> {
    let host_name = sys::host::hostname();
    let body = topology::request_body(&Facts {
        host_name: host_name.trim(),
        agent_guid: &chosen.agent_guid,
        certificate_pem: &chosen.certificate_pem,
        system: &this_system(),
    });
    let date = topology::request_date(now_us);
    let hash = topology::content_hash(body.as_bytes());
    let signature = topology::signature(&request.shared_key, &date, &hash);
    let headers = [
        ("x-ms-Date", date.as_str()),
        ("x-ms-version", "August, 2014"),
        ("x-ms-SHA256_Content", &hash),
        ("Authorization", &format!("{}; {signature}", request.workspace_id)),
        ("User-Agent", USER_AGENT),
        ("Accept-Language", "en-US"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    chosen.client.post(&endpoints.topology, &headers, body.as_bytes()).map_err(OnboardError::NoAnswer)
}

/// The operating system of this host, as the first release file that says enough says.
pub fn this_system() -> System {
    let read = |path, parse: fn(&str) -> Option<System>| read_small(path).as_deref().and_then(parse);
    read("/etc/opt/microsoft/scx/conf/scx-release", System::from_scx_release)
        .or_else(|| read("/etc/os-release", System::from_os_release))
        .or_else(|| read("/usr/lib/os-release", System::from_os_release))
        .or_else(|| read("/etc/redhat-release", System::from_redhat_release))
        .unwrap_or_else(System::unknown)
}

fn judge(answer: &Answer, request: &Request, now_unix_s: i64) -> Result<topology::Response, OnboardError> {
    let skew_s = answer.date_unix_s.map(|date| date.saturating_sub(now_unix_s));
    match answer.status {
        200..300 => Ok(topology::parse_response(&answer.body)),
        403 if skew_s.is_some_and(|skew_s| skew_s.abs() > SKEW_S_MAX) => Err(OnboardError::Clock { skew_s }),
        status @ (408 | 429 | 500..) => Err(OnboardError::Busy(status)),
        status => Err(OnboardError::Refused {
            status,
            reason: topology::parse_reason(&answer.body),
            key_bytes: request.shared_key.bytes().len(),
        }),
    }
}

impl From<FileError> for OnboardError {
    fn from(error: FileError) -> OnboardError {
        OnboardError::Files(error)
    }
}

impl fmt::Display for Onboarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = if self.kept_certificate { "the certificate it had" } else { "a new certificate" };
        write!(f, "onboarded as agent {} with {certificate}; data will go to {}", self.agent_guid, self.oms_endpoint)
    }
}

impl fmt::Display for OnboardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnboardError::BadOption(what) => f.write_str(what),
            OnboardError::Fips(refused) => refused.fmt(f),
            OnboardError::NoAnswer(error) => write!(f, "{error}"),
            OnboardError::Refused { status, reason, key_bytes } => {
                write!(f, "the service refuses ({status})")?;
                if let Some(reason) = reason {
                    write!(f, ": {reason}")?;
                }
                f.write_str("; check workspace id and shared key")?;
                if *key_bytes != 64 { write!(f, " (the key has {key_bytes} bytes, keys have 64)") } else { Ok(()) }
            }
            OnboardError::Busy(status) => {
                write!(f, "the service cannot answer now ({status}): try again in some minutes")
            }
            OnboardError::Clock { skew_s: None } => {
                f.write_str("this host's clock is not set: set it, then onboard again")
            }
            OnboardError::Clock { skew_s: Some(skew_s) } => {
                let direction = if *skew_s > 0 { "behind" } else { "ahead of" };
                let minutes = skew_s.abs() / 60;
                write!(
                    f,
                    "the service refuses (403), and this host's clock is {minutes} min {direction} its clock: \
                     set the clock, then onboard again"
                )
            }
            OnboardError::Files(failed) => write!(f, "cannot write {failed}"),
            OnboardError::Internal(error) => write!(f, "no certificate could be made: {error}"),
        }
    }
}

impl core::error::Error for OnboardError {}
