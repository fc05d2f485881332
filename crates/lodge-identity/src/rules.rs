//! Declarative rules: items that are no more than a file to read and to reset.
//!
//! ```toml
//! [[rule]]
//! name = "iscsi-initiator"                      # the item's kind, and what commands call it
//! what = "the name of the iSCSI initiator"      # for people
//! paths = ["/etc/iscsi/initiatorname.iscsi"]    # absolute; `*` within a part, `**` for any depth
//! kind = "line"                                 # id | line | secret | trace
//! key = "InitiatorName"                         # of a line; `separator` is "=" (default), ":" or " "
//! reset = "new-suffix"                          # for a clone and a reset
//! generalise = "remove"                         # for a template; "remove" where it is left out
//! ```
//!
//! - `id`: the file's content is the value. `line`: one line's value is. `secret`: the content is, and only its
//!   fingerprint is shown. `trace`: there is no value; the file or directory tells of the machine's past.
//! - `reset` and `generalise`: `keep`, `remove` (the file; of a line the line), `truncate`, `new-uuid` (the UUID in
//!   the value, or else all of it), `new-hex32`, `new-bytes` (as many), `new-suffix` (hexadecimal digits after the
//!   last `:`), `host-name`, `{ write = "TEXT" }`.
//! - `except` names files that stay; `directories = false` passes directories over; `on` the families a rule is for; `share` makes rules draw the same new value;
//!   `unique = false` says that several machines may have one value; `private = true` puts it under the policy for
//!   private keys; `operation` is virt-sysprep's name for it (else the rule's own name).
//!
//! There are no regular expressions, and a rule can do nothing but what stands here: a host's owner may take one from
//! a stranger.

mod act;
mod document;

use std::{fmt, sync::OnceLock};

use lodge_model::guest_disk::{FileNode, FilePath, Pattern};
use serde::Deserialize;

pub use document::RuleError;

use super::{
    Family, Identity, Item, Kind, State, Wish,
    draft::Draft,
    seen::{self, Seen, Sight},
    text::{self, Separator},
};

/// The rules that come with the program.
pub(crate) const BUILTIN: &str = include_str!("rules.toml");
/// Where they come from.
const ORIGIN: &str = "the built-in rules";

/// Most of a file that a rule sees where it says nothing.
const MOST_BYTES: u64 = 64 * 1024;

/// One rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) operation: String,
    pub(crate) paths: Vec<Pattern>,
    pub(crate) except: Vec<Pattern>,
    pub(crate) kind: RuleKind,
    pub(crate) reset: Act,
    pub(crate) generalise: Act,
    pub(crate) on: Vec<Family>,
    pub(crate) share: Option<String>,
    pub(crate) is_unique: bool,
    pub(crate) is_private: bool,
    pub(crate) takes_directories: bool,
    pub(crate) what: String,
    /// The file that it stands in.
    pub(crate) origin: String,
}

/// A rule that is in force, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInForce {
    /// Its name: the items' kind.
    pub name: String,
    /// What it is about.
    pub what: String,
    /// The file that it stands in; none: it came with the program.
    pub origin: Option<String>,
    /// Which files.
    pub paths: Vec<String>,
    /// What becomes of them in a clone.
    pub reset: String,
    /// What becomes of them in a template.
    pub generalise: String,
    /// virt-sysprep's name of it.
    pub operation: String,
    /// It is under the policy for private keys.
    pub is_private: bool,
}

/// How a rule reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RuleKind {
    Id,
    Line { key: String, separator: Separator },
    Secret,
    Trace,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Act {
    Keep,
    Remove,
    Truncate,
    NewUuid,
    NewHex32,
    NewBytes,
    NewSuffix,
    HostName,
    Write(String),
}

/// The rules that come with the program; a test holds them to be readable.
pub(crate) fn builtin() -> Vec<Rule> {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| document::parse(ORIGIN, BUILTIN).unwrap_or_default()).clone()
}

/// The rules of one more file.
pub(crate) fn parse(name: &str, text: &str) -> Result<Vec<Rule>, RuleError> {
    document::parse(name, text)
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
            Self::Truncate => "truncate",
            Self::NewUuid => "new-uuid",
            Self::NewHex32 => "new-hex32",
            Self::NewBytes => "new-bytes",
            Self::NewSuffix => "new-suffix",
            Self::HostName => "host-name",
            Self::Write(text) => return write!(f, "write {text:?}"),
        })
    }
}

impl Rule {
    /// It, for people.
    pub(crate) fn in_force(&self) -> RuleInForce {
        RuleInForce {
            name: self.name.clone(),
            what: self.what.clone(),
            origin: (self.origin != ORIGIN).then(|| self.origin.clone()),
            paths: self.paths.iter().map(ToString::to_string).collect(),
            reset: self.reset.to_string(),
            generalise: self.generalise.to_string(),
            operation: self.operation.clone(),
            is_private: self.is_private,
        }
    }

    /// What it must see.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (Pattern, u64)> {
        let most = if self.kind == RuleKind::Trace { 0 } else { MOST_BYTES };
        self.paths.iter().map(move |pattern| (pattern.clone(), most))
    }

    /// What it finds: paths and what is there.
    fn nodes<'a>(&self, seen: &Seen<'a>) -> Vec<(&'a FilePath, &'a FileNode)> {
        let is_here =
            self.on.is_empty() || seen.system.family.is_some_and(|family| self.on.contains(&family));
        if !is_here {
            return Vec::new();
        }
        let all = self.paths.iter().flat_map(|pattern| seen::matching(seen.files, pattern));
        let mut nodes: Vec<_> =
            all.filter(|(path, _)| !self.except.iter().any(|except| except.matches(path))).collect();
        nodes.sort_by_key(|(path, _)| *path);
        nodes.dedup_by_key(|(path, _)| *path);
        nodes
    }

    fn place(&self, path: &FilePath) -> String {
        match &self.kind {
            RuleKind::Line { key, .. } => format!("{path}: {key}"),
            RuleKind::Id | RuleKind::Secret | RuleKind::Trace => path.to_string(),
        }
    }
}

pub(crate) fn read(rules: &[Rule], seen: &Seen<'_>, found: &mut Vec<Item>) {
    for rule in rules {
        for (path, node) in rule.nodes(seen) {
            found.extend(item(rule, seen, path, node));
        }
        for pattern in &rule.paths {
            if let Some(why) = seen.blind_for(pattern).filter(|_| rule.is_unique || rule.is_private) {
                let kind = Kind::of_rule(&rule.name);
                found.push(Item::absent(kind, pattern.to_string(), State::Unknown).noting(why));
            }
        }
    }
}

fn item(rule: &Rule, seen: &Seen<'_>, path: &FilePath, node: &FileNode) -> Option<Item> {
    let kind = Kind::of_rule(&rule.name);
    let place = rule.place(path);
    if rule.kind == RuleKind::Trace {
        // A directory above what was asked for fits `**` too and is no trace.
        let is_trace = match node {
            FileNode::File { size, .. } => *size > 0 || rule.generalise == Act::Remove,
            FileNode::Link(_) | FileNode::Other => true,
            FileNode::Directory(_) => rule.takes_directories && !is_walked(rule),
        };
        return is_trace.then(|| Item::absent(kind, place, State::Present));
    }
    let end = seen.settle(path);
    let item = match seen.sight_at(&end) {
        Sight::Thing | Sight::Missing => return None,
        Sight::Unknown(why) => Item::absent(kind, place, State::Unknown).noting(why),
        Sight::Link(_) => Item::absent(kind, place, State::Unreadable).noting("a link that leads nowhere"),
        Sight::File { bytes, .. } if bytes.trim_ascii().is_empty() && rule.kind != RuleKind::Secret => {
            Item::absent(kind, place, State::Empty)
        }
        Sight::File { bytes: [], .. } => Item::absent(kind, place, State::Empty),
        Sight::File { bytes, .. } => match &rule.kind {
            RuleKind::Secret => Item::present(kind, place, seen::fingerprint(bytes)),
            RuleKind::Line { key, separator } => {
                let whole = String::from_utf8_lossy(bytes);
                let value = whole.lines().find_map(|line| text::line_value(line, key, *separator))?;
                match text::unquote(value) {
                    "" => Item::absent(kind, place, State::Empty),
                    value if rule.is_private => {
                        Item::present(kind, place, seen::fingerprint(value.as_bytes()))
                    }
                    value => Item::present(kind, place, shown(value)),
                }
            }
            RuleKind::Id | RuleKind::Trace => {
                Item::present(kind, place, shown(String::from_utf8_lossy(bytes).trim()))
            }
        },
    };
    Some(if rule.is_unique && item.value.is_some() { item } else { item.shared() })
}

/// A rule that goes through whole trees is about files.
fn is_walked(rule: &Rule) -> bool {
    rule.paths.iter().any(|pattern| pattern.parts().any(|part| part == "**"))
}

/// An id is short; a file that is none is shown by its fingerprint.
fn shown(value: &str) -> String {
    if value.len() <= 256 && !value.contains(char::is_control) {
        value.to_owned()
    } else {
        seen::fingerprint(value.as_bytes())
    }
}

pub(crate) fn plan(rules: &[Rule], seen: &Seen<'_>, before: &Identity, wish: &Wish, draft: &mut Draft<'_>) {
    for rule in rules.iter().filter(|rule| wish.does(&rule.operation)) {
        for (path, node) in rule.nodes(seen) {
            if let Some(item) = item(rule, seen, path, node) {
                act::plan(rule, path, &item, before, wish, draft);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_that_come_with_the_program_are_rules() {
        let rules = document::parse("rules.toml", BUILTIN).unwrap();
        assert!(rules.len() > 60, "{}", rules.len());
        for rule in &rules {
            assert!(!rule.paths.is_empty() && !rule.what.is_empty(), "{}", rule.name);
            assert!(
                super::super::operations::of(&rule.operation).is_some(),
                "`{}` is done by the unlisted operation `{}`",
                rule.name,
                rule.operation
            );
        }
    }
}
