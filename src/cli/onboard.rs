//! `omsd onboard`: registers this host with a workspace, renews its certificate, lists where it is registered, ends that.

use super::status::is_running;
use super::{Exit, ended, no_word, options, parse_with_words, root_of, root_option, say, usage_error};
use crate::host::manifest;
use crate::onboard::identity;
use crate::onboard::renewal::{self, Errand};
use crate::onboard::{self, Onboarded, Request, SharedKey};
use crate::sys::arguments;
use crate::upload::fips::Standing;
use crate::upload::guid::is_guid;
use alloc::format;
use alloc::string::{String, ToString};
use getopts::{Matches, Options};
use std::env;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const BRIEF: &str = "omsd onboard -w ID (--key-file FILE | -s KEY) [options]\n       omsd onboard --renew [-w ID] [--ca-file FILE] [--root DIR]\n       \
     omsd onboard list [--root DIR]\n       omsd onboard remove ID [--root DIR]";

/// The environment variable for what `-p` says, which ps does not show.
const PROXY: &str = "OMSD_PROXY";

/// Runs `omsd onboard`. Its exit codes are those of [`onboard::OnboardError::exit_code`].
pub fn command(arguments: &[String]) -> Exit {
    let options = all_options();
    ended(|| {
        // Before anything else, and whether or not the rest is right: a key on the command line must not stay in ps, nor
        // must a proxy's password.
        let hidden = hide_secrets(&options, arguments);
        let matches = parse_with_words(&options, BRIEF, arguments)?;
        match matches.free.first().map(String::as_str) {
            Some("list") => return list(&matches),
            Some("remove") => return remove(&matches),
            _ => no_word(&matches)?,
        }
        if matches.opt_present("renew") {
            return renew(&matches);
        }
        if !hidden {
            eprintln!(
                "omsd: key and proxy could not be hidden from ps: use --key-file, and {PROXY} in the environment"
            );
        }
        register(&matches)
    })
}

fn all_options() -> Options {
    let mut options = options();
    root_option(&mut options);
    options.optopt("w", "workspace", "workspace id, a GUID", "ID");
    options.optopt("", "key-file", "file with the workspace's key; - for standard input", "FILE");
    options.optopt("s", "key", "the workspace's key; stays in the shell's history: rather use --key-file", "KEY");
    options.optopt("d", "domain", &format!("the cloud's domain (default {})", onboard::DOMAIN_DEFAULT), "DOMAIN");
    let proxy =
        format!("[http://|https://][user:password@]host[:port], or the variable {PROXY}; empty: none from now on");
    options.optopt("p", "proxy", &proxy, "PROXY");
    options.optopt("", "no-proxy", "hosts to reach without it, parted by commas", "HOSTS");
    options.optopt("a", "resource", "Azure resource id", "RESOURCE");
    options.optopt("", "endpoint", "https://host[:port] in place of the names made from workspace and domain", "URL");
    options.optopt("", "ca-file", "PEM file of authorities trusted beside the system's", "FILE");
    options.optflag("", "renew", "get a new certificate now, as the running agent does by itself when it is time");
    options.optflag("", "allow-non-fips", "go on on a host in FIPS mode, although this build has no validated module");
    options
}

/// Overwrites the key, and the proxy if it has a password; whether all of them are gone.
fn hide_secrets(options: &Options, arguments: &[String]) -> bool {
    let Ok(matches) = options.parse(arguments) else { return true };
    let proxy = matches.opt_str("proxy").filter(|setting| setting.contains('@'));
    let secrets = matches.opt_str("key").into_iter().chain(proxy);
    secrets.filter(|secret| !arguments::hide(secret)).count() == 0
}

fn register(matches: &Matches) -> Result<Exit, Exit> {
    let workspace_id = matches.opt_str("workspace").ok_or_else(|| usage_error("onboard wants a workspace: -w ID"))?;
    let root = root_of(matches);
    let [domain, no_proxy, resource_id, endpoint] =
        ["domain", "no-proxy", "resource", "endpoint"].map(|name| matches.opt_str(name));
    let from_environment = || env::var(PROXY).ok().filter(|setting| !setting.is_empty());
    let proxy = matches.opt_str("proxy").or_else(from_environment);
    let ca_file = matches.opt_str("ca-file").map(PathBuf::from);
    let request = Request {
        workspace_id: &workspace_id,
        shared_key: key(matches)?,
        domain: domain.as_deref(),
        proxy: proxy.as_deref(),
        no_proxy: no_proxy.as_deref().unwrap_or_default(),
        resource_id: resource_id.as_deref(),
        endpoint: endpoint.as_deref(),
        ca_file: ca_file.as_deref(),
        root: &root,
        allow_non_fips: matches.opt_present("allow-non-fips"),
    };
    match onboard::onboard(&request) {
        Ok(onboarded) => {
            say(&describe(&workspace_id, &onboarded, &root));
            Ok(Exit::Ok)
        }
        Err(error) => {
            eprintln!("omsd: {error}");
            Err(Exit::from_code(error.exit_code()))
        }
    }
}

fn key(matches: &Matches) -> Result<SharedKey, Exit> {
    let not_a_key = |_| usage_error("the key is not base64 text as the portal shows it");
    match (matches.opt_str("key-file"), matches.opt_str("key")) {
        (Some(_), Some(_)) => Err(usage_error("give either --key-file or -s")),
        (None, None) => Err(usage_error("onboard wants the workspace's key: --key-file FILE, or - for standard input")),
        (None, Some(key)) => SharedKey::parse(key).map_err(not_a_key),
        (Some(path), None) => {
            let read = SharedKey::read(&path).map_err(|error| {
                eprintln!("omsd: {path}: {error}");
                Exit::Permission
            })?;
            read.map_err(not_a_key)
        }
    }
}

fn describe(workspace_id: &str, onboarded: &Onboarded, root: &Path) -> String {
    let mut text = format!("Onboarded to workspace {workspace_id} as agent {}.\n", onboarded.agent_guid);
    if onboarded.kept_certificate {
        text.push_str("The certificate that was here is still in use.\n");
    }
    text.push_str(&format!("Records will go to {}.\n", onboarded.oms_endpoint));
    if let Some(warning) = &onboarded.warning {
        text.push_str(&format!("Warning: {warning}\n"));
    }
    let others = identity::list(root).len();
    if others > 1 {
        text.push_str(&format!(
            "This host has {others} workspaces. Without a configuration file, records go to each of them;\n"
        ));
        text.push_str("with one, `workspace_id` says where a `<match>` sends: see omsd.conf(5), DESTINATIONS.\n");
    }
    if root != Path::new("/") {
        return text + &format!("Next: omsd run --root {}\n", root.display());
    }
    // By `omsd install`, or by a package.
    let is_installed = [manifest::PATH, "/lib/systemd/system/omsd.service"].iter().any(|path| Path::new(path).exists());
    text + if is_installed { "Next: omsd service restart\n" } else { "Next: omsd run\n" }
}

/// A new certificate for one workspace, by default the primary one.
fn renew(matches: &Matches) -> Result<Exit, Exit> {
    let root = root_of(matches);
    Standing::ask().permit(matches.opt_present("allow-non-fips")).map_err(|refused| {
        eprintln!("omsd: {refused}");
        Exit::from_code(refused.exit_code())
    })?;
    let workspace_id = matches.opt_str("workspace").map_or_else(|| Ok(String::new()), |id| guid(&id))?;
    let files = identity::files(&root, &workspace_id, matches.opt_str("ca-file"), matches.opt_str("no-proxy"));
    let report = renewal::visit(&files, Errand::Renew);
    if report.renewed {
        say(&format!("The certificate was renewed; it ends on {}.\n", renewal::day_text(report.end_unix_s)));
    }
    if report.reason.is_empty() {
        return Ok(Exit::Ok);
    }
    eprintln!("omsd: {}", report.reason);
    Err(Exit::from_code(report.exit_code))
}

fn guid(text: &str) -> Result<String, Exit> {
    if is_guid(text) { Ok(text.to_string()) } else { Err(usage_error(&format!("{text} is not a workspace id"))) }
}

/// As the original, removing what is not there is no error.
fn remove(matches: &Matches) -> Result<Exit, Exit> {
    let [_, workspace_id] = &matches.free[..] else { return Err(usage_error("onboard remove wants one workspace id")) };
    let root = root_of(matches);
    identity::remove(&root, &guid(workspace_id)?).map_err(|error| {
        eprintln!("omsd: cannot remove {error}");
        let denied = error.error.kind() == ErrorKind::PermissionDenied;
        if denied { Exit::Permission } else { Exit::CannotCreate }
    })?;
    say(&format!(
        "This host is no agent of workspace {workspace_id} any more. A running agent notices when it is restarted.\n"
    ));
    Ok(Exit::Ok)
}

fn list(matches: &Matches) -> Result<Exit, Exit> {
    let root = root_of(matches);
    say(&identity::list_text(&identity::list(&root), is_running(&root)));
    Ok(Exit::Ok)
}
