//! What a rule makes of one file that it found.

use lodge_model::guest_disk::FilePath;

use super::{Act, Rule, RuleKind};
use crate::{
    Identity, Item, Kind, PrivateKeys, Purpose, State, Wish,
    draft::Draft,
    seen,
    text::{self, Line},
};

pub(super) fn plan(
    rule: &Rule,
    path: &FilePath,
    item: &Item,
    before: &Identity,
    wish: &Wish,
    draft: &mut Draft<'_>,
) {
    let mut act = if wish.purpose == Purpose::Generalise { &rule.generalise } else { &rule.reset };
    if rule.is_private {
        let is_there = item.state == State::Present;
        match wish.private_keys {
            PrivateKeys::Keep => {
                if !is_there {
                    return;
                }
                draft.flag(&item.kind, item.place.clone(), format!("{}: it goes to the copy", rule.what));
                act = &Act::Keep;
            }
            PrivateKeys::Remove => act = &Act::Remove,
            PrivateKeys::Refuse => {
                if is_there {
                    draft.refused.push(item.place.clone());
                }
                return;
            }
        }
    }
    let is_line = matches!(rule.kind, RuleKind::Line { .. });
    match item.state {
        State::Present => {}
        // A place to fill stays one, whatever would be put there for a template.
        State::Empty if wish.purpose != Purpose::Generalise && makes_value(act) => {}
        State::Unreadable if !is_line && matches!(act, Act::Remove | Act::Truncate) => {}
        // What it points to may be taken away by another rule.
        State::Empty if !is_line && *act == Act::Remove && draft.is_link(path) => {}
        State::Unreadable | State::Unknown => {
            let why = item.note.clone().unwrap_or_else(|| "it cannot be read".to_owned());
            draft.flag(&item.kind, item.place.clone(), why);
            return;
        }
        State::Empty | State::Missing => return,
    }
    if *act == Act::Keep {
        if item.is_unique {
            draft.keep(item, format!("{}: it is not this program's to change", rule.what));
        }
        return;
    }
    // A program's own name for the machine may be another than the host's, on purpose.
    let has_own_name = is_line && *act == Act::HostName && !is_host_name(item, before);
    if has_own_name && item.state == State::Present {
        draft.keep(item, format!("{}: it is not the machine's host name", rule.what));
        return;
    }
    // Another rule took it away already.
    if draft.is_gone(path) {
        return;
    }
    if rule.kind == RuleKind::Trace {
        // A truncated file is no trace any more, and a removed one is none.
        if *act == Act::Truncate {
            draft.write(path.clone(), Vec::new(), None);
        } else {
            draft.remove(path.clone());
        }
        draft.change(&item.kind, item.place.clone(), None, None, &rule.what);
        return;
    }
    let new = new_value(rule, path, act, item, wish);
    let done = match &rule.kind {
        RuleKind::Line { key, separator } => set_line(path, key, *separator, act, new.as_deref(), draft),
        RuleKind::Id | RuleKind::Secret | RuleKind::Trace => {
            Ok(set_file(rule, path, act, new.as_deref(), wish, draft))
        }
    };
    match done {
        Ok(new) => {
            let old = item.value.as_deref();
            draft.change(&item.kind, item.place.clone(), old, new.as_deref(), &rule.what);
        }
        Err(why) => draft.flag(&item.kind, item.place.clone(), format!("it was not changed: {why}")),
    }
}

fn is_host_name(item: &Item, before: &Identity) -> bool {
    let value = item.value.as_deref().unwrap_or_default();
    let names = before.items.iter().filter(|item| item.kind == Kind::HOST_NAME);
    names.filter_map(|item| item.value.as_deref()).any(|name| {
        let short = name.split('.').next().unwrap_or(name);
        value.eq_ignore_ascii_case(name) || value.eq_ignore_ascii_case(short)
    })
}

fn makes_value(act: &Act) -> bool {
    !matches!(act, Act::Keep | Act::Remove | Act::Truncate)
}

/// The new value as it will be read. None: there will be none.
fn new_value(rule: &Rule, path: &FilePath, act: &Act, item: &Item, wish: &Wish) -> Option<String> {
    let old = item.value.as_deref().unwrap_or_default();
    // One value per rule would do for one file; a rule of many files needs one for each.
    let purpose = match &rule.share {
        Some(share) => format!("share {share}"),
        None => format!("rule {} {path}", rule.name),
    };
    match act {
        Act::Keep | Act::Remove | Act::Truncate | Act::NewBytes => None,
        Act::NewUuid => {
            let new = wish.fresh.uuid(&purpose).to_string();
            Some(match text::find_uuid(old) {
                Some(uuid) => old.replacen(uuid, &new, 1),
                None => new,
            })
        }
        Act::NewHex32 => Some(wish.fresh.hex(&purpose, 32)),
        Act::NewSuffix => {
            let (head, tail) = old.rsplit_once(':').unwrap_or(("", old));
            let digits = tail.len().clamp(12, 64);
            let new = wish.fresh.hex(&purpose, digits);
            Some(if head.is_empty() { new } else { format!("{head}:{new}") })
        }
        Act::HostName => wish.host_name.clone(),
        Act::Write(text) => Some(text.clone()),
    }
}

/// Another content, and how it will be shown.
fn set_file(
    rule: &Rule,
    path: &FilePath,
    act: &Act,
    new: Option<&str>,
    wish: &Wish,
    draft: &mut Draft<'_>,
) -> Option<String> {
    let bytes = match (act, new) {
        (Act::Truncate, _) => Vec::new(),
        (Act::NewBytes, _) => {
            let mut bytes = vec![0; draft.size(path)];
            wish.fresh.fill(&format!("rule {} {path}", rule.name), &mut bytes);
            bytes
        }
        (Act::Write(text), _) => text.clone().into_bytes(),
        (_, Some(new)) => format!("{new}\n").into_bytes(),
        (_, None) => {
            draft.remove(path.clone());
            return None;
        }
    };
    let shown = match rule.kind {
        _ if bytes.trim_ascii().is_empty() => None,
        RuleKind::Secret => Some(seen::fingerprint(&bytes)),
        _ => Some(super::shown(String::from_utf8_lossy(&bytes).trim())),
    };
    draft.write(path.clone(), bytes, None);
    shown
}

/// Another value of a line, and how it will be shown.
fn set_line(
    path: &FilePath,
    key: &str,
    separator: text::Separator,
    act: &Act,
    new: Option<&str>,
    draft: &mut Draft<'_>,
) -> Result<Option<String>, String> {
    let whole = draft.text(path).map_err(|fault| fault.to_string())?;
    let changed = match act {
        Act::Write(text) => text.clone(),
        _ => text::map_lines(&whole, |line| {
            if text::line_value(line, key, separator).is_none() {
                return Line::Keep;
            }
            let set = |new| text::with_value(line, key, separator, new).map_or(Line::Keep, Line::Set);
            match (act, new) {
                (Act::Truncate, _) => set(""),
                (_, Some(new)) => set(new),
                (_, None) => Line::Drop,
            }
        }),
    };
    let value = changed.lines().find_map(|line| text::line_value(line, key, separator)).map(text::unquote);
    let value = value.filter(|value| !value.is_empty()).map(super::shown);
    // A file with nothing but the line is no use without it.
    if act == &Act::Remove
        && changed.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'))
    {
        draft.remove(path.clone());
    } else {
        draft.set_text(path, changed);
    }
    Ok(value)
}
