//! What differs, and the list of what may.
//!
//! The list is `differences.toml`. It may only shrink: a difference that it does not name fails the run, and so does one
//! that it names and that is gone.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    inside::Outcome,
    normal::{Known, normal},
    script::How,
};

/// A difference that is known, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The script's name.
    pub script: String,
    /// The command as the script has it.
    pub command: String,
    /// Which of several equal commands of that script, from 1.
    #[serde(default = "first")]
    pub nth: usize,
    /// Of `code`, `stdout`, `stderr`.
    pub of: Vec<String>,
    /// Why the answers differ.
    pub reason: String,
}

fn first() -> usize {
    1
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<Listed>,
}

/// A difference that was found.
#[derive(Debug)]
pub struct Found {
    /// Where, in the form of the list, the reason still empty.
    pub at: Listed,
    /// The line of the script.
    pub line: usize,
    /// What each side gave, part by part: name, libvirtd's, ours.
    pub parts: Vec<(String, String, String)>,
}

impl Found {
    /// A first reason, for a person to replace: where the two part.
    pub fn in_short(&self) -> String {
        let first = |mark: &str, lines: &str| {
            let line = lines.lines().find_map(|line| line.trim_start().strip_prefix(mark).map(str::trim));
            line.filter(|line| !line.is_empty()).unwrap_or("nothing").chars().take(120).collect::<String>()
        };
        let part = self.parts.iter().find(|(name, ..)| name != "code").or(self.parts.first());
        let Some((_, theirs, ours)) = part else { return "to be looked at".to_owned() };
        let lines = diff(theirs, ours);
        format!("to be looked at: libvirtd `{}`, lodge `{}`", first("- ", &lines), first("+ ", &lines))
    }
}

/// Reads the list.
pub fn read(path: &Path) -> Result<Vec<Listed>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    for listed in &file.difference {
        ensure!(!listed.reason.trim().is_empty(), "`{}` is listed without a reason", listed.command);
    }
    Ok(file.difference)
}

/// Writes the list, in a form people edit.
pub fn write(path: &Path, list: &[Listed]) -> Result<()> {
    // A string of JSON is one of TOML as well.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = String::from(
        "# Where lodge answers otherwise than libvirtd 11.3, command by command, and why.\n\
         # This list may only shrink: `cargo xtask compat` fails on what is not in it, and on what is in it and gone.\n",
    );
    for Listed { script, command, nth, of, reason } in list {
        let of: Vec<String> = of.iter().map(|part| quoted(part)).collect();
        let (script, command, reason) = (quoted(script), quoted(command), quoted(reason));
        let nth = if *nth > 1 { format!("nth = {nth}\n") } else { String::new() };
        text.extend([
            format!("\n[[difference]]\nscript = {script}\ncommand = {command}\n{nth}"),
            format!("of = [{}]\nreason = {reason}\n", of.join(", ")),
        ]);
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What differs between the outcomes of one script.
pub fn compare(script: &str, theirs: &[Outcome], ours: &[Outcome], known: &Known) -> Result<Vec<Found>> {
    ensure!(theirs.len() == ours.len(), "{script}: {} steps beside {}", theirs.len(), ours.len());
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for (theirs, ours) in theirs.iter().zip(ours) {
        let step = &theirs.step;
        let count = seen.entry(&step.command).or_default();
        *count += 1;
        let parts: Vec<_> = parts(theirs, ours, known).into_iter().filter(|(_, a, b)| a != b).collect();
        if !parts.is_empty() {
            let of = parts.iter().map(|(name, ..)| name.clone()).collect();
            let (script, command) = (script.to_owned(), step.command.clone());
            let at = Listed { script, command, nth: *count, of, reason: String::new() };
            found.push(Found { at, line: step.line, parts });
        }
    }
    Ok(found)
}

fn parts(theirs: &Outcome, ours: &Outcome, known: &Known) -> Vec<(String, String, String)> {
    let step = &theirs.step;
    let code = |outcome: &Outcome| match outcome.code {
        _ if outcome.daemon_died => "the daemon died".to_owned(),
        Some(code) => code.to_string(),
        None => "killed: it took too long".to_owned(),
    };
    let mut parts = vec![("code".to_owned(), code(theirs), code(ours))];
    if matches!(step.how, How::Compared | How::Sorted | How::End(_)) {
        let sorted = step.how == How::Sorted;
        let shown = |text: &str| normal(text, known, &step.masks, sorted);
        parts.push(("stdout".to_owned(), shown(&theirs.stdout), shown(&ours.stdout)));
        parts.push(("stderr".to_owned(), shown(&theirs.stderr), shown(&ours.stderr)));
    }
    parts
}

/// Lines that only one side has, marked `-` for libvirtd and `+` for lodge, with one equal line around them.
pub fn diff(theirs: &str, ours: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (theirs.lines().collect(), ours.lines().collect());
    // Longest common subsequence from each pair of tails.
    let mut length = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            length[i][j] =
                if a[i] == b[j] { length[i + 1][j + 1] + 1 } else { length[i + 1][j].max(length[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && length[i + 1][j] >= length[i][j + 1]) {
            lines.push(('-', a[i]));
            i += 1;
        } else {
            lines.push(('+', b[j]));
            j += 1;
        }
    }
    let near = |at: usize| {
        lines[at.saturating_sub(1)..(at + 2).min(lines.len())].iter().any(|(mark, _)| *mark != ' ')
    };
    let shown = lines.iter().enumerate().filter(|(at, _)| near(*at));
    let shown: Vec<String> = shown.map(|(_, (mark, line))| format!("    {mark} {line}\n")).collect();
    shown.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_differs_with_a_line_around() {
        let shown = diff("a\nb\nc\nd\ne", "a\nb\nC\nd\ne");
        assert_eq!(shown, "      b\n    - c\n    + C\n      d\n");
    }

    #[test]
    fn the_list_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("differences.toml");
        let list = [Listed {
            script: "basics".into(),
            command: r#"virsh desc g1 "it's""#.into(),
            nth: 2,
            of: vec!["stdout".into()],
            reason: "because".into(),
        }];
        write(&path, &list).expect("written");
        assert_eq!(read(&path).expect("read"), list);
    }
}
