//! virt-sysprep's customizations: what somebody wants to be in a machine beside its identity, step by step.
//!
//! Each is an edit of files that are seen. What would need a program of the guest's to run, or cannot be promised, is
//! refused by name when it is said (`step`). They come after all else, in the order in which they were said, and each sees
//! what those before made; a step that would take away what the identity is to be is refused.

mod first_boot;
mod step;
mod users;

use lodge_model::guest_disk::{FileNode, FilePath, Owner, Pattern, Wanted};

use self::step::{Act, Secret, UploadKind};
pub use self::step::{BadStep, Step, Upload};
use super::{
    Change, Kind, PlanError,
    draft::{Draft, NoText, There},
    seen::{self, Seen},
};

/// How much of a file is read that a step changes or moves.
const FILE_MAX_BYTES: u64 = 16 << 20;
const PASSWD: &str = "/etc/passwd";
const SHADOW: &str = "/etc/shadow";
const LOCALTIME: &str = "/etc/localtime";
const TIMEZONE: &str = "/etc/timezone";
const ZONES: &str = "/usr/share/zoneinfo";

/// What the steps must see.
pub fn wanted(steps: &[Step]) -> Vec<Wanted> {
    let mut all: Vec<(String, u64)> = Vec::new();
    let exact = |path: &FilePath, most| (path.as_str().unwrap_or_default().to_owned(), most);
    for step in steps {
        match &step.act {
            Act::AppendLine { path, .. } | Act::Move { from: path, .. } | Act::Copy { from: path, .. } => {
                all.push(exact(path, FILE_MAX_BYTES));
            }
            Act::Chmod { path, .. }
            | Act::Chown { path, .. }
            | Act::Directory(path)
            | Act::Link { path, .. }
            | Act::Touch(path)
            | Act::Truncate(path)
            | Act::Upload { to: path, .. }
            | Act::Write { path, .. } => all.push(exact(path, 0)),
            Act::Delete(pattern) => all.push((pattern.to_string(), 0)),
            Act::TruncateBelow(path) => all.push((format!("{}/**", path.as_str().unwrap_or_default()), 0)),
            Act::FirstBoot { .. } => {
                all.extend(first_boot::WANTED.iter().map(|path| ((*path).to_owned(), 0)));
            }
            Act::Password { .. } => all.push((SHADOW.to_owned(), FILE_MAX_BYTES)),
            Act::SshKey { .. } => all.extend(users::wanted_of_keys()),
            Act::Users { .. } => all.extend(users::wanted()),
            Act::Timezone(zone) => {
                all.extend([(LOCALTIME, 0), (TIMEZONE, 4096)].map(|(path, most)| (path.to_owned(), most)));
                all.push((format!("{ZONES}/{zone}"), 0));
            }
        }
        // Where things go to.
        if let Act::Move { to, .. } | Act::Copy { to, .. } = &step.act {
            all.push(exact(to, 0));
        }
    }
    let pattern =
        |(text, most_bytes): (String, u64)| Some(Wanted { pattern: Pattern::new(&text).ok()?, most_bytes });
    all.into_iter().filter_map(pattern).collect()
}

/// Plans the steps.
pub(super) fn plan(seen: &Seen<'_>, steps: &[Step], draft: &mut Draft<'_>) -> Result<(), PlanError> {
    for step in steps {
        let mut work = Work { seen, draft, option: &step.option };
        let failed = |why| PlanError::Step { option: step.option.clone(), why };
        work.carry_out(&step.act).map_err(failed)?;
    }
    Ok(())
}

/// One step at work.
struct Work<'w, 'd> {
    seen: &'w Seen<'w>,
    draft: &'w mut Draft<'d>,
    option: &'w str,
}

impl Work<'_, '_> {
    fn carry_out(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::AppendLine { path, line } => self.append(path, line, None),
            Act::Chmod { path, mode } => {
                let (path, owner) = self.owned(path)?;
                self.give(path, Owner { mode: *mode, ..owner });
                Ok(())
            }
            Act::Chown { path, uid, gid } => {
                let (path, owner) = self.owned(path)?;
                self.give(path, Owner { uid: *uid, gid: *gid, ..owner });
                Ok(())
            }
            Act::Copy { from, to } => self.copy(from, to).map(drop),
            Act::Move { from, to } => {
                let to = self.copy(from, to)?;
                if to != *from {
                    self.remove(from)?;
                }
                Ok(())
            }
            Act::Delete(pattern) => self.delete(pattern),
            Act::Directory(path) => {
                if !matches!(self.draft.there(path), There::Nothing | There::Directory(_)) {
                    return Err(format!("{path} is there and no directory"));
                }
                self.draft.directory(path.clone(), None);
                self.told(path, "a directory");
                Ok(())
            }
            Act::Link { path, to } => {
                if matches!(self.draft.there(path), There::Directory(_)) {
                    return Err(format!("{path} is a directory"));
                }
                self.overrule(path)?;
                self.draft.link(path.clone(), to);
                self.told(path, &format!("a link to {to}"));
                Ok(())
            }
            Act::Touch(path) => match self.draft.there(&self.settled(path)) {
                There::Nothing => self.write(path, Vec::new(), None),
                There::File(_) | There::Directory(_) => Ok(()),
                There::Link(_) | There::Other => {
                    Err(format!("{path} leads to nothing that has a time of its own"))
                }
            },
            Act::Truncate(path) => self.truncate(path),
            Act::TruncateBelow(path) => self.truncate_below(path),
            Act::Upload { files, to, has_directory } => self.upload(files, to, *has_directory),
            Act::Write { path, bytes } => self.write(&self.settled(path), bytes.clone(), None),
            Act::Timezone(zone) => self.timezone(zone),
            Act::FirstBoot { name, script } => first_boot::plan(self, name, script),
            Act::Password { user, secret } => self.password(user, secret),
            Act::SshKey { user, key } => users::plan_key(self, user, key),
            Act::Users { keep, remove } => users::plan(self, keep, remove),
        }
    }

    fn settled(&self, path: &FilePath) -> FilePath {
        seen::settle(self.seen.files, path)
    }

    fn told(&mut self, path: &FilePath, what: &str) {
        self.draft.customized.push(Change {
            kind: Kind::of_rule(self.option),
            place: path.to_string(),
            old: None,
            new: Some(what.to_owned()),
            reason: String::new(),
        });
    }

    fn overrule(&mut self, path: &FilePath) -> Result<(), String> {
        self.draft.overrule(path).map_err(|kind| {
            format!(
                "{path} gets what makes the machine itself ({kind}): leave that operation out, or this step"
            )
        })
    }

    /// Bytes at exactly this path, with what was there gone. Its owner stays, unless another is given.
    fn write(&mut self, path: &FilePath, bytes: Vec<u8>, owner: Option<Owner>) -> Result<(), String> {
        self.overrule(path)?;
        let length = bytes.len();
        if !self.draft.put(path.clone(), bytes, owner) {
            return Err(format!("{path} is there and no file"));
        }
        self.told(path, &format!("{length} bytes"));
        Ok(())
    }

    /// A line more. `owner`: of a new file.
    fn append(&mut self, path: &FilePath, line: &str, owner: Option<Owner>) -> Result<(), String> {
        let path = self.settled(path);
        let mut bytes = match self.draft.bytes(&path) {
            Ok(bytes) => bytes,
            Err(NoText::Missing) => Vec::new(),
            Err(why) => return Err(format!("{path}: {why}")),
        };
        let owner = owner.filter(|_| self.draft.there(&path) == There::Nothing);
        // As the file ends its lines.
        let first_end = bytes.iter().position(|byte| *byte == b'\n');
        let end: &[u8] =
            if first_end.is_some_and(|at| at > 0 && bytes[at - 1] == b'\r') { b"\r\n" } else { b"\n" };
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            bytes.extend_from_slice(end);
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(end);
        if !self.draft.put(path.clone(), bytes, owner) {
            return Err(format!("{path} is there and no file"));
        }
        self.told(&path, "a line more");
        Ok(())
    }

    /// Where a path leads, and whose that is.
    fn owned(&self, path: &FilePath) -> Result<(FilePath, Owner), String> {
        let path = self.settled(path);
        match self.draft.there(&path) {
            There::File(owner) | There::Directory(owner) => Ok((path, owner)),
            There::Nothing => Err(format!("{path} is not there")),
            There::Link(_) | There::Other => Err(format!("{path} is neither a file nor a directory")),
        }
    }

    fn give(&mut self, path: FilePath, owner: Owner) {
        self.told(&path, &format!("{}:{} {:04o}", owner.uid, owner.gid, owner.mode));
        self.draft.give(path, owner);
    }

    fn remove(&mut self, path: &FilePath) -> Result<(), String> {
        self.overrule(path)?;
        self.draft.remove(path.clone());
        self.told(path, "gone");
        Ok(())
    }

    fn delete(&mut self, pattern: &Pattern) -> Result<(), String> {
        let text = pattern.to_string();
        let is_exact = !text.contains('*');
        let mut found: Vec<FilePath> = self.draft.matching_any(&[&text]).into_iter().collect();
        // As a shell: a star does not stand for a dot at a name's beginning.
        found.retain(|path| {
            path.parts()
                .zip(pattern.parts())
                .all(|(name, part)| !(part.starts_with('*') && name.starts_with(b".")))
        });
        if found.is_empty() && is_exact {
            // `rm -rf` finds nothing wrong with that.
            return Ok(());
        }
        found.iter().try_for_each(|path| self.remove(path))
    }

    /// Copies a file or a link; says where to.
    fn copy(&mut self, from: &FilePath, to: &FilePath) -> Result<FilePath, String> {
        let to = match self.draft.there(&self.settled(to)) {
            There::Directory(_) => below(&self.settled(to), from.name())?,
            _ => to.clone(),
        };
        match self.draft.there(from) {
            There::File(owner) => {
                let bytes = self.draft.bytes(from).map_err(|why| format!("{from}: {why}"))?;
                self.write(&to, bytes, Some(owner))?;
            }
            There::Link(target) => {
                let target =
                    String::from_utf8(target).map_err(|_| format!("{from} points to what is no text"))?;
                self.overrule(&to)?;
                self.draft.link(to.clone(), &target);
                self.told(&to, &format!("a link to {target}"));
            }
            There::Nothing => return Err(format!("{from} is not there")),
            There::Directory(_) => {
                return Err(format!("{from} is a directory: only files and links are taken here"));
            }
            There::Other => return Err(format!("{from} is neither a file nor a link")),
        }
        Ok(to)
    }

    fn truncate(&mut self, path: &FilePath) -> Result<(), String> {
        let path = self.settled(path);
        match self.draft.there(&path) {
            There::File(_) => self.write(&path, Vec::new(), None),
            There::Nothing => Err(format!("{path} is not there")),
            _ => Err(format!("{path} is no file")),
        }
    }

    fn truncate_below(&mut self, path: &FilePath) -> Result<(), String> {
        let below: Vec<(FilePath, bool)> = self
            .seen
            .files
            .nodes
            .iter()
            .filter(|(there, _)| there.is_within(path))
            .map(|(there, node)| (there.clone(), matches!(node, FileNode::File { size, .. } if *size > 0)))
            .collect();
        if below.is_empty() {
            return Err(format!("{path} is not there"));
        }
        for (there, is_file) in below {
            if is_file && matches!(self.draft.there(&there), There::File(_)) {
                self.truncate(&there)?;
            }
        }
        Ok(())
    }

    /// `has_directory`: `to` is the directory that they go into, and must be there.
    fn upload(&mut self, files: &[Upload], to: &FilePath, has_directory: bool) -> Result<(), String> {
        let to = self.settled(to);
        let into = matches!(self.draft.there(&to), There::Directory(_));
        if has_directory && !into {
            return Err(format!("{to} is no directory of the guest's"));
        }
        for file in files {
            let path = if into { below(&to, file.path.as_bytes())? } else { to.clone() };
            match &file.kind {
                UploadKind::File(bytes) => self.write(&path, bytes.clone(), Some(file.owner))?,
                UploadKind::Link(target) => {
                    self.overrule(&path)?;
                    self.draft.link(path.clone(), target);
                    self.told(&path, &format!("a link to {target}"));
                }
                UploadKind::Directory => {
                    self.draft.directory(path.clone(), Some(file.owner));
                    self.told(&path, "a directory");
                }
            }
        }
        Ok(())
    }

    fn timezone(&mut self, zone: &str) -> Result<(), String> {
        let path = |text: &str| FilePath::new(text).map_err(|error| error.to_string());
        let file = path(&format!("{ZONES}/{zone}"))?;
        if !matches!(self.draft.there(&self.settled(&file)), There::File(_)) {
            return Err(format!("the guest knows no time zone `{zone}` ({file} is not there)"));
        }
        let localtime = path(LOCALTIME)?;
        self.overrule(&localtime)?;
        self.draft.link(localtime.clone(), &format!("{ZONES}/{zone}"));
        self.told(&localtime, &format!("a link to {ZONES}/{zone}"));
        let named = path(TIMEZONE)?;
        if self.draft.has(&named) {
            self.write(&named, format!("{zone}\n").into_bytes(), None)?;
        }
        Ok(())
    }

    fn password(&mut self, user: &str, secret: &Secret) -> Result<(), String> {
        let path = FilePath::new(SHADOW).map_err(|error| error.to_string())?;
        let text = self.draft.text(&path).map_err(|why| format!("{SHADOW}: {why}"))?;
        let mut is_known = false;
        let changed = super::text::map_lines(&text, |line| {
            let mut fields = line.splitn(3, ':');
            match (fields.next(), fields.next(), fields.next()) {
                (Some(name), Some(_), Some(rest)) if name == user => {
                    is_known = true;
                    super::text::Line::Set(format!("{name}:{}:{rest}", secret.field()))
                }
                _ => super::text::Line::Keep,
            }
        });
        if !is_known {
            return Err(format!("the guest has no user `{user}`"));
        }
        if !self.draft.put(path.clone(), changed.into_bytes(), None) {
            return Err(format!("{SHADOW} is no file"));
        }
        self.told(&path, &format!("the password of {user}"));
        Ok(())
    }
}

/// A path below another.
fn below(directory: &FilePath, name: &[u8]) -> Result<FilePath, String> {
    let slash: &[u8] = if directory.as_bytes() == b"/" { b"" } else { b"/" };
    FilePath::new([directory.as_bytes(), slash, name].concat()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
