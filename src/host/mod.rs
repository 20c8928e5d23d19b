//! Life on a host: to install, supervise and remove what runs there, so that nothing is left behind.
//!
//! Everything that is made has its line in the [`manifest`] before it is made, and is taken back by that line alone. Only these commands,
//! which an administrator types, run other programs of the host; the agent never does. With a root that is not `/` they write files
//! below it and run nothing: that is how an image is made.
//!
//! [`import`] takes over what Microsoft's agent has on the host; it has a list of its own, for it is given back by itself.

pub mod account;
pub mod forward;
pub mod import;
pub mod init;
pub mod install;
pub mod manifest;
pub mod service;
pub mod uninstall;
mod work;

use self::manifest::{Entry, Manifest};
use crate::sys::command::{self, Output};
use crate::sys::process::{self, Ended};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a program is installed unless another place is named.
pub const PREFIX: &str = "/opt/omsd";
/// The configuration's directory, with the identities in it.
pub const CONFIGURATION: &str = "/etc/opt/omsd";
/// The state's directory.
pub const STATE: &str = "/var/opt/omsd";
/// The program, below the prefix.
const PROGRAM: &str = "/bin/omsd";

/// Why one of these commands did not do what it was asked for. Each says what to do.
#[derive(Debug)]
pub enum HostError {
    /// A file or directory.
    File(PathBuf, io::Error),
    /// Only root may.
    NotRoot,
    /// What was asked for cannot be had on this host.
    Refused(String),
    /// Another program failed.
    Command(String),
}

impl HostError {
    /// The command's exit code, as in the manual.
    pub fn exit_code(&self) -> u8 {
        match self {
            HostError::NotRoot => 77,
            HostError::File(_, error) if error.kind() == io::ErrorKind::PermissionDenied => 77,
            HostError::File(..) | HostError::Refused(_) => 73,
            HostError::Command(_) => 75,
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostError::File(path, error) => {
                write!(f, "{}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::ReadOnlyFilesystem => {
                        f.write_str("; make it writable for the time of this command, or use another --prefix")
                    }
                    io::ErrorKind::PermissionDenied => f.write_str("; run this as root"),
                    _ => Ok(()),
                }
            }
            HostError::NotRoot => f.write_str(
                "only root may do this; without root, copy the program anywhere and use omsd run --root DIRECTORY",
            ),
            HostError::Refused(text) | HostError::Command(text) => f.write_str(text),
        }
    }
}

/// Makes an error of the file system one that names the file.
fn at(path: &Path) -> impl FnOnce(io::Error) -> HostError {
    let path = path.to_owned();
    move |error| HostError::File(path, error)
}

/// Whether this is the host that runs, not an image of one.
fn is_live(root: &Path) -> bool {
    root == Path::new("/")
}

/// Where programs of the system are looked for, whatever PATH says.
const PLACES: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// A program of the system below the root.
fn program(root: &Path, name: &str) -> Option<PathBuf> {
    let places = PLACES.iter().map(|place| root.join(place.trim_start_matches('/')).join(name));
    places.into_iter().find(|path| path.is_file())
}

/// Our own program that the manifest names; without a manifest the one that runs, which is a package's then, or a copy by hand.
fn installed_program(manifest: &Manifest) -> String {
    let installed = manifest.entries().iter().find_map(|entry| match entry {
        Entry::File { path, .. } if path.ends_with(PROGRAM) => Some(path.clone()),
        _ => None,
    });
    let own =
        || process::program().map_or_else(|_| format!("{PREFIX}{PROGRAM}"), |path| path.to_string_lossy().into_owned());
    installed.unwrap_or_else(own)
}

/// Runs a program of the live host. Fails if it is not there or does not end with 0.
fn run(name: &str, arguments: &[&str]) -> Result<(), HostError> {
    let path = if name.starts_with('/') { Some(PathBuf::from(name)) } else { program(Path::new("/"), name) };
    let path = path.ok_or_else(|| HostError::Command(format!("{name} is not there")))?;
    let (ended, _) = command::run(&path, arguments, b"", Output::Show).map_err(at(&path))?;
    match ended {
        Ended::Exited(0) => Ok(()),
        ended => Err(HostError::Command(format!("{name} {} failed: {ended}", arguments.join(" ")))),
    }
}

/// Runs a program of the live host and gives what it prints: `Err` with that if it fails.
fn ask(path: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
    let (ended, bytes) = command::run(path, arguments, input.as_bytes(), Output::Gather)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if ended == Ended::Exited(0) { Ok(text) } else { Err(text) }
}
