//! The account that the agent runs as: one that is there, one that we make, a number, or root where nothing else can be had.

use super::manifest::{Entry, Manifest};
use super::work::Work;
use super::{HostError, ask, at, is_live, program, run};
use crate::sys::privilege;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The account's name unless another is asked for.
pub const NAME: &str = "omsd";
/// What the tools that make accounts leave beside the files that they change: it goes if it was not there before.
const TOOLS_LEAVE: [&str; 6] =
    ["/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/.pwd.lock"];

/// Who owns the state and the identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name, or number in decimal.
    pub user: String,
    /// Its group's.
    pub group: String,
    /// The user's number. Unknown in a dry run for one that is not made yet.
    pub uid: Option<u32>,
    /// The group's.
    pub gid: Option<u32>,
}

impl Account {
    /// Root.
    pub fn root() -> Account {
        Account { user: "root".to_owned(), group: "root".to_owned(), uid: Some(0), gid: Some(0) }
    }

    /// Whether it is root.
    pub fn is_root(&self) -> bool {
        self.uid == Some(0)
    }

    /// `USER:GROUP`
    pub fn owner(&self) -> String {
        format!("{}:{}", self.user, self.group)
    }
}

/// The account to use: the one asked for, by name or number (`UID` or `UID:GID`); else the state's owner; else `omsd`. Those that
/// are not there are made, where a tool for it is. Without one, it is an error to have asked by name; otherwise it is root.
pub fn provide(work: &mut Work, wanted: Option<&str>) -> Result<Account, HostError> {
    let root = work.root().to_owned();
    let owner = fs::metadata(work.place(super::STATE)).map(|found| (found.uid(), found.gid()));
    let name = match (wanted, owner) {
        (Some(wanted), _) => wanted.to_owned(),
        (None, Ok((uid @ 1.., gid))) if privilege::is_root() => format!("{uid}:{gid}"),
        _ => NAME.to_owned(),
    };
    if let Some(account) = find(&root, &name) {
        return Ok(account);
    }
    let makers = if is_live(&root) { Makers::find() } else { None };
    match makers {
        Some(makers) => make(work, makers, &name),
        None if wanted.is_some() => Err(HostError::Refused(format!(
            "there is no account {name} in {}, and no way to make it: make it yourself, or give a number to --user",
            root.display()
        ))),
        None => {
            let reason = if is_live(&root) { "no useradd or adduser" } else { "none is made below another root" };
            work.tell(&format!(
                "there is no account {name}, and {reason}: the agent is root's. For another owner: --user NAME, or --user UID:GID"
            ));
            Ok(Account::root())
        }
    }
}

/// An account that is there: by its number, in passwd, or as `id` knows it from a directory service.
fn find(root: &Path, name: &str) -> Option<Account> {
    let (user, group) = name.split_once(':').unwrap_or((name, name));
    if let (Ok(uid), Ok(gid)) = (user.parse::<u32>(), group.parse::<u32>()) {
        let (user, group) = (name_of(root, "etc/passwd", uid), name_of(root, "etc/group", gid));
        return Some(Account { user, group, uid: Some(uid), gid: Some(gid) });
    }
    let (uid, gid) = in_passwd(root, user).or_else(|| if is_live(root) { from_id(user) } else { None })?;
    let group = name_of(root, "etc/group", gid);
    Some(Account { user: user.to_owned(), group, uid: Some(uid), gid: Some(gid) })
}

fn in_passwd(root: &Path, name: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string(root.join("etc/passwd")).ok()?;
    let mut fields =
        text.lines().map(|line| line.split(':')).find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    fields.next()?;
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn from_id(name: &str) -> Option<(u32, u32)> {
    let path = program(Path::new("/"), "id")?;
    let number = |option| ask(&path, &[option, "--", name], "").ok()?.trim().parse().ok();
    Some((number("-u")?, number("-g")?))
}

/// The name of a number in a file of lines `NAME:x:NUMBER`; else the number.
fn name_of(root: &Path, file: &str, number: u32) -> String {
    let text = fs::read_to_string(root.join(file)).unwrap_or_default();
    let number = number.to_string();
    let is_it = |line: &&str| line.split(':').nth(2) == Some(number.as_str());
    let name = text.lines().find(is_it).and_then(|line| line.split(':').next());
    name.map_or_else(|| number.clone(), ToOwned::to_owned)
}

/// Which tools make accounts and groups here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Makers {
    /// useradd and groupadd, of the shadow or pwdutils package.
    Shadow,
    /// adduser and addgroup of busybox. Debian's programs of this name need useradd, which is then there, too.
    Busybox,
}

impl Makers {
    fn find() -> Option<Makers> {
        let has = |name| program(Path::new("/"), name).is_some();
        match () {
            () if has("useradd") && has("groupadd") => Some(Makers::Shadow),
            () if has("adduser") && has("addgroup") => Some(Makers::Busybox),
            () => None,
        }
    }
}

fn make(work: &mut Work, makers: Makers, name: &str) -> Result<Account, HostError> {
    let usable = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !name.bytes().all(usable) || !name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_') {
        return Err(HostError::Refused(format!(
            "{name} is no name for an account: lower-case letters, digits, _ and -"
        )));
    }
    let shell =
        program(Path::new("/"), "nologin").map_or_else(|| "/bin/false".to_owned(), |path| path.display().to_string());
    for path in TOOLS_LEAVE {
        if !work.place(path).exists() {
            work.note(Entry::Leftover(path.to_owned()))?;
        }
    }
    if name_to_gid(work.root(), name).is_none() {
        work.note(Entry::Group(name.to_owned()))?;
        match makers {
            Makers::Shadow => work.run("groupadd", &["-r", name])?,
            Makers::Busybox => work.run("addgroup", &["-S", name])?,
        }
    }
    work.note(Entry::Account(name.to_owned()))?;
    match makers {
        Makers::Shadow => work.run("useradd", &["-r", "-M", "-g", name, "-d", super::STATE, "-s", &shell, name])?,
        Makers::Busybox => {
            work.run("adduser", &["-S", "-D", "-H", "-h", super::STATE, "-s", &shell, "-G", name, name])?;
        }
    }
    if work.is_dry() {
        return Ok(Account { user: name.to_owned(), group: name.to_owned(), uid: None, gid: None });
    }
    find(work.root(), name).ok_or_else(|| HostError::Command(format!("the account {name} was made and is not there")))
}

fn name_to_gid(root: &Path, name: &str) -> Option<u32> {
    let text = fs::read_to_string(root.join("etc/group")).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Removes the accounts and groups that we made, then what the tools left. Gives what is still there.
pub fn remove(manifest: &Manifest) -> Vec<String> {
    let root = manifest.place("");
    let mut left = Vec::new();
    for entry in manifest.entries().iter().rev() {
        match entry {
            Entry::Account(name) if in_passwd(&root, name).is_some() => {
                let removed = run("userdel", &[name]).or_else(|_| run("deluser", &[name]));
                if removed.is_err() || in_passwd(&root, name).is_some() {
                    left.push(format!("account {name}"));
                }
            }
            Entry::Group(name) if name_to_gid(&root, name).is_some() => {
                let removed = run("groupdel", &[name]).or_else(|_| run("delgroup", &[name]));
                if removed.is_err() || name_to_gid(&root, name).is_some() {
                    left.push(format!("group {name}"));
                }
            }
            _ => {}
        }
    }
    for entry in manifest.entries() {
        if let Entry::Leftover(path) = entry {
            let path = manifest.place(path);
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file())
                && let Err(error) = fs::remove_file(&path)
            {
                left.push(at(&path)(error).to_string());
            }
        }
    }
    left
}
