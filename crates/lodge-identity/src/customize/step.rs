//! What a step is, and how it is said: by virt-sysprep's option and its value. What cannot be done says so here, by name.

use std::collections::BTreeSet;

use lodge_model::guest_disk::{FilePath, Owner, Pattern};
use serde::{Deserialize, Serialize};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// virt-sysprep's option, without its dashes.
    pub(super) option: String,
    pub(super) act: Act,
}

/// What it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Act {
    AppendLine { path: FilePath, line: String },
    Chmod { path: FilePath, mode: u16 },
    Chown { path: FilePath, uid: u32, gid: u32 },
    Copy { from: FilePath, to: FilePath },
    Delete(Pattern),
    Directory(FilePath),
    FirstBoot { name: String, script: Vec<u8> },
    Link { path: FilePath, to: String },
    Move { from: FilePath, to: FilePath },
    Password { user: String, secret: Secret },
    SshKey { user: String, key: String },
    Timezone(String),
    Touch(FilePath),
    Truncate(FilePath),
    TruncateBelow(FilePath),
    Upload { files: Vec<Upload>, to: FilePath, has_directory: bool },
    Users { keep: BTreeSet<String>, remove: BTreeSet<String> },
    Write { path: FilePath, bytes: Vec<u8> },
}

/// A file of whoever asks, on its way into the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its name, or its path below the directory that it goes into.
    pub(super) path: String,
    pub(super) kind: UploadKind,
    pub(super) owner: Owner,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum UploadKind {
    File(Vec<u8>),
    Link(String),
    Directory,
}

/// What becomes of a user's password: the field of shadow(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secret {
    /// As crypt(5) has it. None: no password fits.
    crypted: Option<String>,
    locks: bool,
}

impl Secret {
    /// The new field.
    pub fn field(&self) -> String {
        let lock = if self.locks { "!!" } else { "" };
        format!("{lock}{}", self.crypted.as_deref().unwrap_or("*"))
    }
}

/// A step that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStep {
    /// Nobody knows it.
    #[error("--{0} is no option of virt-sysprep's that changes files")]
    Unknown(String),
    /// It is virt-sysprep's, and not here.
    #[error("--{option} is not supported: {why}")]
    Unsupported {
        /// Which.
        option: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// Its value is none.
    #[error("--{option}: {why}")]
    Value {
        /// Which.
        option: String,
        /// What is wrong.
        why: String,
    },
}

const RUNS: &str = "a program of the guest's would have to run, and nothing of a guest runs here; --firstboot-command has it \
                    run in the guest itself";
const PACKAGES: &str = "the guest's package manager would have to run; --firstboot-install does it in the guest itself, and \
                        `lodge image build` in an image";
const KEYS: &str = "what is encrypted inside a guest's disk is not opened here";
const WINDOWS: &str = "Windows guests are not changed here";
const REGISTERS: &str =
    "subscription-manager would have to run in the guest; --firstboot-command has it run there";

/// What is not done, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "edit",
        "a Perl expression would run over what a guest wrote; --write and --upload put a whole file, --append-line a line",
    ),
    ("inject-blnsvr", WINDOWS),
    ("inject-qemu-ga", WINDOWS),
    ("inject-virtio-win", WINDOWS),
    ("install", PACKAGES),
    ("key", KEYS),
    ("keys-from-stdin", KEYS),
    ("mount-options", "nothing is mounted here"),
    ("network", "nothing of the guest's runs here, so nothing would use it"),
    ("run", RUNS),
    ("run-command", RUNS),
    (
        "script",
        "a program of the host's would see the guest's files mounted, and nothing of a guest's is mounted here",
    ),
    ("scriptdir", "a guest's file system is mounted nowhere here"),
    (
        "scrub",
        "layers below, snapshots and the host's own disk may keep the old bytes, so nobody could promise that they are gone; \
         --delete removes the file",
    ),
    ("sm-attach", REGISTERS),
    ("sm-credentials", REGISTERS),
    ("sm-register", REGISTERS),
    ("sm-remove", REGISTERS),
    ("sm-unregister", REGISTERS),
    ("tar-in", "unpack it, and put what is in it there with --copy-in"),
    ("uninstall", PACKAGES),
    ("update", PACKAGES),
];

impl Step {
    /// The step that an option and its value say; `files`: those of the caller's that the value names.
    pub fn parse(option: &str, value: &str, files: Vec<Upload>) -> Result<Self, BadStep> {
        if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == option) {
            return Err(BadStep::Unsupported { option: option.to_owned(), why });
        }
        let saying = Saying { option, value };
        let act = match option {
            "append-line" => {
                let (path, line) = saying.pair("FILE:LINE")?;
                if line.contains(['\n', '\r']) {
                    return saying.bad("one line at a time; the option may be given several times");
                }
                Act::AppendLine { path: saying.path(path)?, line: line.to_owned() }
            }
            "chmod" => {
                let (mode, path) = saying.pair("PERMISSIONS:FILE")?;
                Act::Chmod { path: saying.path(path)?, mode: saying.mode(mode)? }
            }
            "chown" => {
                let (uid, rest) = saying.pair("UID:GID:PATH")?;
                let Some((gid, path)) = rest.split_once(':') else { return saying.bad("it is UID:GID:PATH") };
                let id = |text: &str| text.parse().map_err(|_| saying.fault("user and group are numbers"));
                Act::Chown { path: saying.path(path)?, uid: id(uid)?, gid: id(gid)? }
            }
            "copy" | "move" => {
                let (from, to) = saying.pair("SOURCE:DEST")?;
                let (from, to) = (saying.path(from)?, saying.path(to)?);
                if option == "copy" { Act::Copy { from, to } } else { Act::Move { from, to } }
            }
            "copy-in" | "upload" => {
                let (_, to) = saying.pair("LOCAL:DEST")?;
                let has_directory = option == "copy-in";
                if files.is_empty() || (!has_directory && files.len() > 1) {
                    return saying.bad("its file did not come with it");
                }
                return saying.done(Act::Upload { files, to: saying.path(to)?, has_directory });
            }
            "delete" => Act::Delete(saying.pattern()?),
            "firstboot" => match &files[..] {
                [Upload { path, kind: UploadKind::File(bytes), .. }] => {
                    let (name, script) = (path.clone(), bytes.clone());
                    return saying.done(Act::FirstBoot { name, script });
                }
                _ => return saying.bad("its script did not come with it"),
            },
            "firstboot-command" => {
                let script = format!("#!/bin/sh\n{value}\n").into_bytes();
                Act::FirstBoot { name: value.to_owned(), script }
            }
            "firstboot-install" => {
                let script = super::first_boot::install(&saying.packages()?).into_bytes();
                Act::FirstBoot { name: format!("install {value}"), script }
            }
            "link" => {
                let (to, path) = saying.pair("TARGET:LINK")?;
                if path.contains(':') {
                    return saying.bad("one link at a time; the option may be given several times");
                }
                Act::Link { path: saying.path(path)?, to: to.to_owned() }
            }
            "mkdir" => Act::Directory(saying.path(value)?),
            "password" => {
                let (user, secret) = saying.pair("USER:SELECTOR")?;
                Act::Password { user: user.to_owned(), secret: saying.secret(secret)? }
            }
            "root-password" => Act::Password { user: "root".to_owned(), secret: saying.secret(value)? },
            // What `--selinux-relabel` falls back to: the guest does it, at its next boot.
            "selinux-relabel" | "selinux-relabel-at-boot" => Act::Touch(saying.path("/.autorelabel")?),
            "ssh-inject" => {
                let (user, selector) = value.split_once(':').unwrap_or((value, ""));
                let Some(key) = selector.strip_prefix("string:") else {
                    return saying.bad("the key did not come with it (USER:string:KEY)");
                };
                let key = key.trim();
                if user.is_empty() || key.is_empty() || key.contains(['\n', '\r']) {
                    return saying.bad("it is one user and one public key");
                }
                Act::SshKey { user: user.to_owned(), key: key.to_owned() }
            }
            "timezone" => {
                let is_zone = !value.is_empty() && !value.starts_with('/') && !value.contains("..");
                let is_text =
                    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
                if !is_zone || !is_text {
                    return saying.bad("it is no time zone; it is like Europe/London");
                }
                Act::Timezone(value.to_owned())
            }
            "touch" => Act::Touch(saying.path(value)?),
            "truncate" => Act::Truncate(saying.path(value)?),
            "truncate-recursive" => Act::TruncateBelow(saying.path(value)?),
            "write" => {
                let (path, text) = saying.pair("FILE:CONTENT")?;
                Act::Write { path: saying.path(path)?, bytes: text.as_bytes().to_vec() }
            }
            other => return Err(BadStep::Unknown(other.escape_debug().to_string())),
        };
        if !files.is_empty() {
            return saying.bad("no file goes with it");
        }
        saying.done(act)
    }

    /// The step of the operation `user-account`: none named to be removed: all but those to be kept.
    pub fn users(keep: BTreeSet<String>, remove: BTreeSet<String>) -> Self {
        Self { option: "user-account".to_owned(), act: Act::Users { keep, remove } }
    }

    /// The step of the operation `flag-reconfiguration`: systems of old ask their questions again where they see it.
    pub fn reconfiguration() -> Self {
        let act = FilePath::new("/.unconfigured").map(Act::Touch).expect("it is a path");
        Self { option: "flag-reconfiguration".to_owned(), act }
    }
}

impl Upload {
    /// A plain file.
    pub fn file(path: &str, bytes: Vec<u8>, owner: Owner) -> Result<Self, BadStep> {
        Ok(Self { path: relative(path)?, kind: UploadKind::File(bytes), owner })
    }

    /// A symbolic link.
    pub fn link(path: &str, to: &str, owner: Owner) -> Result<Self, BadStep> {
        if to.is_empty() || to.contains('\0') {
            let why = format!("`{}` points nowhere", path.escape_debug());
            return Err(BadStep::Value { option: "copy-in".to_owned(), why });
        }
        Ok(Self { path: relative(path)?, kind: UploadKind::Link(to.to_owned()), owner })
    }

    /// A directory; what is in it comes by itself.
    pub fn directory(path: &str, owner: Owner) -> Result<Self, BadStep> {
        Ok(Self { path: relative(path)?, kind: UploadKind::Directory, owner })
    }
}

/// A path that stays below where it is put.
fn relative(path: &str) -> Result<String, BadStep> {
    match FilePath::new(format!("/{path}")) {
        Ok(_) if !path.is_empty() => Ok(path.to_owned()),
        _ => {
            let why = format!("`{}` is no name of a file", path.escape_debug());
            Err(BadStep::Value { option: "upload".to_owned(), why })
        }
    }
}

/// An option with its value.
#[derive(Clone, Copy)]
struct Saying<'s> {
    option: &'s str,
    value: &'s str,
}

impl<'s> Saying<'s> {
    fn fault(self, why: impl Into<String>) -> BadStep {
        BadStep::Value { option: self.option.to_owned(), why: why.into() }
    }

    fn bad<T>(self, why: &str) -> Result<T, BadStep> {
        Err(self.fault(why))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the end of many that may fail")]
    fn done(self, act: Act) -> Result<Step, BadStep> {
        Ok(Step { option: self.option.to_owned(), act })
    }

    fn pair(self, form: &str) -> Result<(&'s str, &'s str), BadStep> {
        let pair = self.value.split_once(':').filter(|(first, _)| !first.is_empty());
        pair.ok_or_else(|| self.fault(format!("`{}` is not {form}", self.value.escape_debug())))
    }

    fn path(self, text: &str) -> Result<FilePath, BadStep> {
        if text.contains('*') {
            return self.bad("a `*` in a path is taken by --delete alone");
        }
        let text = text.strip_suffix('/').filter(|text| !text.is_empty()).unwrap_or(text);
        FilePath::new(text).map_err(|error| self.fault(error.to_string()))
    }

    fn pattern(self) -> Result<Pattern, BadStep> {
        let text = self.value;
        if text.contains(['?', '[', '\\', '{']) || text.contains("**") {
            return self.bad("of a shell's patterns only `*` is taken");
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        Pattern::new(text).map_err(|error| self.fault(error.to_string()))
    }

    /// Decimal, unless a `0` stands before it: virt-sysprep's way.
    fn mode(self, text: &str) -> Result<u16, BadStep> {
        let octal =
            text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|rest| !rest.is_empty()));
        let mode = match octal {
            Some(digits) => u16::from_str_radix(digits, 8).ok(),
            None => text.parse().ok(),
        };
        let mode = mode.filter(|mode| *mode <= 0o7777);
        mode.ok_or_else(|| self.fault(format!("`{}` are no permissions (0644)", text.escape_debug())))
    }

    fn packages(self) -> Result<Vec<&'s str>, BadStep> {
        let names: Vec<&str> = self.value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let is_name = |name: &&str| {
            !name.starts_with('-')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._:@".contains(&byte))
        };
        if names.is_empty() || !names.iter().all(is_name) {
            return self.bad("they are names of packages, parted by commas");
        }
        Ok(names)
    }

    fn secret(self, selector: &str) -> Result<Secret, BadStep> {
        let (mut locks, mut rest) = (false, selector);
        loop {
            match rest.split_once(':').map_or((rest, None), |(first, more)| (first, Some(more))) {
                ("lock" | "locked", Some(more)) => (locks, rest) = (true, more),
                ("lock" | "locked", None) => {
                    return Ok(Secret { crypted: None, locks: true });
                }
                ("disable" | "disabled", None) => {
                    return Ok(Secret { crypted: None, locks });
                }
                ("crypt", Some(hash)) => {
                    let is_hash = hash.starts_with('$')
                        && hash.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
                    if !is_hash {
                        return self.bad("what follows `crypt:` is no password as crypt(5) has it");
                    }
                    return Ok(Secret { crypted: Some(hash.to_owned()), locks });
                }
                ("password" | "file" | "random", _) => {
                    return self.bad("a password comes encrypted to the daemon (crypt:HASH), so that nobody reads it there");
                }
                _ => {
                    return self.bad(
                        "it is no selector: password:WORD, file:FILE, random, disabled, locked or crypt:HASH",
                    );
                }
            }
        }
    }
}
