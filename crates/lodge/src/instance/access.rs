//! The way into guests from this user's side: the default key, and per guest the key, user and host key to use.
//!
//! Kept in this user's own directories, not in the daemon: a private key is nobody else's. Losing them costs a
//! `--identity` at the next login and nothing else, so failing to remember is silent, never a failure.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Subcommand;
use lodge_client::api::ErrorKind;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::read_file;
use crate::failure::{Failure, invalid};
use crate::output::lines;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The default key's files, the private half first
    #[command(alias = "ls")]
    List,
    /// The default key's public half; it is made if there is none
    Show,
}

impl Verb {
    pub fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List => {
                let key = default_key_file()?;
                let files: Vec<PathBuf> =
                    [key.clone(), public_half(&key)].into_iter().filter(|file| file.exists()).collect();
                session.show(&files, |files| lines(files.iter().map(|file| file.display())));
            }
            Self::Show => {
                let public = default_key()?.public;
                session.show(&public, |public| lines(public));
            }
        }
        Ok(())
    }
}

/// Public keys for a guest, and the private key that goes with one of them.
#[derive(Debug, Default)]
pub struct Keys {
    /// One line each, as OpenSSH writes them.
    pub public: Vec<String>,
    /// Where the private half of one of them lies.
    pub private: Option<PathBuf>,
}

impl Keys {
    /// Those of `files`; without any, the default key's.
    pub fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        if files.is_empty() {
            return default_key();
        }
        let mut keys = Self::default();
        for file in files {
            // The private half was named: its public half lies beside it.
            let beside = public_half(file);
            let public = if file.extension().is_none_or(|end| end != "pub") && beside.exists() {
                beside
            } else {
                file.clone()
            };
            keys.public.push(check_public_key(&read_file(&public)?, &public)?);
            let private = public.with_extension("");
            let absolute = || std::path::absolute(&private).ok().filter(|private| private.is_file());
            keys.private = keys.private.take().or_else(absolute);
        }
        Ok(keys)
    }
}

/// A line that OpenSSH takes as a public key. A private key must not get past here.
fn check_public_key(text: &str, file: &Path) -> Result<String, Failure> {
    let lines = text.lines().map(str::trim);
    let line = lines.into_iter().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    let sort = line.split(' ').next().unwrap_or_default();
    let known = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| sort.starts_with(start));
    if !known || line.split(' ').count() < 2 {
        return Err(invalid(format!("`{}` is no public SSH key", file.display()))
            .hint("give the file that ends in .pub; `ssh-keygen -t ed25519` makes a pair"));
    }
    Ok(line.to_owned())
}

fn public_half(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// The key for guests for whom no other was named; made at its first use.
fn default_key() -> Result<Keys, Failure> {
    let key = default_key_file()?;
    if !key.exists() {
        make_key(&key)?;
    }
    let public = public_half(&key);
    Ok(Keys { public: vec![check_public_key(&read_file(&public)?, &public)?], private: Some(key) })
}

fn make_key(key: &Path) -> Result<(), Failure> {
    let failed = |why: String| {
        Failure::new(ErrorKind::Internal, format!("cannot make the key `{}`", key.display()))
            .because(why)
            .hint("install openssh-client, or name a public key with --ssh-key")
    };
    key.parent().map_or(Ok(()), private_directory).map_err(|error| failed(error.to_string()))?;
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "lodge", "-f"])
        .arg(key)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("ssh-keygen: {error}")))?;
    if made.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&made.stderr).into_owned()))
    }
}

fn private_directory(directory: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn default_key_file() -> Result<PathBuf, Failure> {
    Ok(user_directory("XDG_CONFIG_HOME", ".config")?.join("id_ed25519"))
}

/// `$XDG_…/lodge`, else below `$HOME`.
fn user_directory(variable: &str, below_home: &str) -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set(variable).or_else(|| Some(set("HOME")?.join(below_home)));
    let base = base.ok_or_else(|| invalid("HOME is not set, so there is no place for keys"));
    Ok(base?.join("lodge"))
}

/// How to log in to one guest.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Login {
    /// The private key; none: the default one.
    pub key: Option<PathBuf>,
    /// The user; none: the image's.
    pub user: Option<String>,
}

/// This user's directory for a guest: `login.json` and `known_hosts`.
pub fn guest_directory(guest: Uuid) -> Result<PathBuf, Failure> {
    Ok(user_directory("XDG_STATE_HOME", ".local/state")?.join("guests").join(guest.to_string()))
}

/// Remembers how to log in.
pub fn remember(guest: Uuid, login: &Login) {
    let write = || {
        let directory = guest_directory(guest).ok()?;
        private_directory(&directory).ok()?;
        fs::write(directory.join("login.json"), serde_json::to_vec(login).ok()?).ok()
    };
    write();
}

/// How to log in, as far as it is remembered.
pub fn recall(guest: Uuid) -> Login {
    let read =
        || serde_json::from_slice(&fs::read(guest_directory(guest).ok()?.join("login.json")).ok()?).ok();
    let mut login: Login = read().unwrap_or_default();
    login.key = login.key.or_else(|| default_key_file().ok()).filter(|key| key.is_file());
    login
}

/// Forgets a guest's host key: it has been given another.
pub fn forget_host_key(guest: Uuid) {
    if let Ok(directory) = guest_directory(guest) {
        // Nobody may have logged in yet.
        drop(fs::remove_file(directory.join("known_hosts")));
    }
}

/// Forgets a guest that is gone, its host key too.
pub fn forget(guest: Uuid) {
    if let Ok(directory) = guest_directory(guest) {
        // It may never have been there.
        drop(fs::remove_dir_all(directory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_goes_nowhere() {
        let check = |text| check_public_key(text, Path::new("id")).ok();
        assert_eq!(check("-----BEGIN OPENSSH PRIVATE KEY-----\nxx yy"), None);
        assert_eq!(check("# mine\nssh-ed25519 AAAA me\n").as_deref(), Some("ssh-ed25519 AAAA me"));
    }

    #[test]
    fn either_half_of_a_pair_may_be_named() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("id");
        fs::write(&key, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        fs::write(directory.path().join("id.pub"), "ssh-ed25519 AAAA me\n").unwrap();
        for named in [key.clone(), directory.path().join("id.pub")] {
            let keys = Keys::read(&[named]).unwrap();
            assert_eq!(
                (keys.public, keys.private),
                (vec!["ssh-ed25519 AAAA me".to_owned()], Some(key.clone()))
            );
        }
    }
}
