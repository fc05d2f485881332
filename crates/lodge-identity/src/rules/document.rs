//! Rules as they are written, read with a word for each fault.

use lodge_model::guest_disk::Pattern;
use serde::Deserialize;

use super::{Act, Rule, RuleKind};
use crate::{Family, text::Separator};

/// Why a text holds no rules.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// It is not TOML, or not of a rule's form.
    #[error("{name}:{line}: {why}")]
    Parse {
        /// The file.
        name: String,
        /// In which line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A rule contradicts itself.
    #[error("{name}:{line}: rule `{rule}`: {why}")]
    Rule {
        /// The file.
        name: String,
        /// Where it begins, from 1.
        line: usize,
        /// The rule's name.
        rule: String,
        /// What is wrong.
        why: String,
    },
}

/// A whole rule file may be as long.
const TEXT_MAX_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    rule: Vec<toml::Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    what: String,
    paths: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    kind: WrittenKind,
    key: Option<String>,
    separator: Option<String>,
    reset: Act,
    generalise: Option<Act>,
    operation: Option<String>,
    #[serde(default)]
    on: Vec<Family>,
    share: Option<String>,
    unique: Option<bool>,
    #[serde(default)]
    private: bool,
    directories: Option<bool>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum WrittenKind {
    Id,
    Line,
    Secret,
    Trace,
}

pub(crate) fn parse(name: &str, text: &str) -> Result<Vec<Rule>, RuleError> {
    if text.len() > TEXT_MAX_BYTES {
        let why = format!("the file is longer than {TEXT_MAX_BYTES} bytes");
        return Err(RuleError::Parse { name: name.to_owned(), line: 1, why });
    }
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let document: Document = toml::from_str(text).map_err(|error| RuleError::Parse {
        name: name.to_owned(),
        line: line_at(error.span().map_or(0, |span| span.start)),
        why: error.message().to_owned(),
    })?;
    let judged = document.rule.into_iter().map(|written| {
        let (line, rule) = (line_at(written.span().start), written.get_ref().name.clone());
        judge(written.into_inner(), name).map_err(|why| RuleError::Rule {
            name: name.to_owned(),
            line,
            rule,
            why,
        })
    });
    judged.collect()
}

fn judge(written: Written, origin: &str) -> Result<Rule, String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !is_name(&written.name) {
        return Err("a name is lower-case letters, digits and `-`".to_owned());
    }
    if written.paths.is_empty() {
        return Err("`paths` is empty".to_owned());
    }
    let patterns = |texts: &[String]| -> Result<Vec<Pattern>, String> {
        texts.iter().map(|text| Pattern::new(text).map_err(|fault| fault.to_string())).collect()
    };
    let kind = kind_of(&written)?;
    let reset = act_of(written.reset, &kind)?;
    let generalise = written.generalise.map_or(Ok(Act::Remove), |act| act_of(act, &kind))?;
    Ok(Rule {
        operation: written.operation.unwrap_or_else(|| written.name.clone()),
        paths: patterns(&written.paths)?,
        except: patterns(&written.except)?,
        is_unique: written.unique.unwrap_or(kind != RuleKind::Trace),
        is_private: written.private,
        takes_directories: written.directories.unwrap_or(true),
        on: written.on,
        share: written.share,
        origin: origin.to_owned(),
        name: written.name,
        what: written.what,
        kind,
        reset,
        generalise,
    })
}

fn kind_of(written: &Written) -> Result<RuleKind, String> {
    if written.kind != WrittenKind::Line && (written.key.is_some() || written.separator.is_some()) {
        return Err("`key` and `separator` are for the kind `line`".to_owned());
    }
    Ok(match written.kind {
        WrittenKind::Id => RuleKind::Id,
        WrittenKind::Secret => RuleKind::Secret,
        WrittenKind::Trace => RuleKind::Trace,
        WrittenKind::Line => {
            let key = written.key.clone().filter(|key| !key.is_empty());
            let separator = match written.separator.as_deref() {
                None | Some("=") => Separator::Equals,
                Some(":") => Separator::Colon,
                Some(" ") => Separator::Blank,
                Some(other) => return Err(format!("`separator` is `=`, `:` or a blank, not `{other}`")),
            };
            RuleKind::Line { key: key.ok_or("the kind `line` needs a `key`")?, separator }
        }
    })
}

/// An act that the kind allows.
fn act_of(act: Act, kind: &RuleKind) -> Result<Act, String> {
    let is_good = match kind {
        RuleKind::Trace => matches!(act, Act::Keep | Act::Remove | Act::Truncate),
        RuleKind::Line { .. } => act != Act::NewBytes,
        RuleKind::Secret => !matches!(act, Act::NewSuffix | Act::HostName),
        RuleKind::Id => true,
    };
    if is_good { Ok(act) } else { Err("its `kind` cannot be reset in that way".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "[[rule]]\nname = 'a'\nwhat = 'x'\npaths = ['/etc/a']\nkind = 'id'\nreset = 'new-uuid'\n";

    #[test]
    fn a_rule_is_read_and_its_defaults_filled() {
        let rule = parse("t", GOOD).unwrap().remove(0);
        assert_eq!((rule.operation.as_str(), rule.is_unique, rule.generalise), ("a", true, Act::Remove));
        let text = GOOD.replace("'new-uuid'", "{ write = 'x' }");
        assert_eq!(parse("t", &text).unwrap().remove(0).reset, Act::Write("x".into()));
    }

    #[test]
    fn a_fault_names_its_place() {
        let table = [
            (
                format!("{GOOD}\n{}", GOOD.replace("'/etc/a'", "'etc/a'")),
                "t:8: rule `a`: `etc/a` is no pattern",
            ),
            (GOOD.replace("'/etc/a'", ""), "`paths` is empty"),
            (GOOD.replace("'a'", "'A b'"), "a name is lower-case"),
            (GOOD.replace("'id'", "'line'"), "needs a `key`"),
            (GOOD.replace("'id'", "'trace'"), "cannot be reset in that way"),
            (format!("{GOOD}key = 'x'\n"), "for the kind `line`"),
        ];
        for (text, want) in table {
            let fault = parse("t", &text).unwrap_err().to_string();
            assert!(fault.contains(want), "{fault}");
        }
        let fault = parse("t", &format!("{GOOD}colour = 1\n")).unwrap_err().to_string();
        assert!(fault.starts_with("t:7: unknown field `colour`"), "{fault}");
        let fault = parse("t", "\n\n[[rule]\n").unwrap_err().to_string();
        assert!(fault.starts_with("t:3: "), "{fault}");
    }
}
