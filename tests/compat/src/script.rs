//! Scripts of client commands.
//!
//! A plain format, one step per line, run by `sh -c` in the house's work directory where the documents lie:
//!
//! ```text
//! # a comment
//! needs virt-install            skip the whole script where this program is missing
//! mask REGEX                    from here on, what matches is shown as `…` on both sides; `mask` alone ends all masks
//! virsh list --all              a command: code, stdout and stderr are compared
//! sorted: virsh domstats        its lines are compared in sorted order
//! code: virsh capabilities      only the exit code is compared
//! quiet: truncate -s 1M a.img   not compared, and must succeed on both sides
//! until running: virsh domstate g1     repeated until standard output holds the word; not compared
//! start ev: virsh event --all   begins in the background under a name
//! end ev                        waits for it; compared
//! restart --listen              the daemon is stopped and started again, with these options; guests run on
//! include basics virsh9         the steps of another script, with this program for virsh
//! ```
//!
//! Commands find the side in `$HOUSE_SIDE` (libvirtd, lodge), our program in `$LODGE`, and a directory whose files are
//! kept in `$KEEP`.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// A script, parsed.
#[derive(Debug, Default)]
pub struct Script {
    /// The file's name without `.compat`.
    pub name: String,
    /// Programs that must be on the path.
    pub needs: Vec<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// One line that does something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The line in the file, from 1.
    pub line: usize,
    /// The command as written.
    pub command: String,
    /// How it is run and compared.
    pub how: How,
    /// Patterns hidden in its output.
    pub masks: Vec<String>,
}

/// How a step is run and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// Run, compare everything.
    Compared,
    /// Run, compare with the lines sorted.
    Sorted,
    /// Run, compare the exit code.
    Code,
    /// Run, must succeed, is not compared.
    Quiet,
    /// Repeated until its output holds this.
    Until(String),
    /// Begun in the background under this name.
    Start(String),
    /// Waited for; `command` is that of the start.
    End(String),
    /// The daemon stopped and started again; `command` is its options.
    Restart,
}

impl Script {
    /// Reads a script file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let included = |other: &str| {
            let path = path.with_file_name(format!("{other}.compat"));
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Self::parse(&name, &text, &included).with_context(|| format!("in {}", path.display()))
    }

    fn parse(name: &str, text: &str, included: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        let mut script = Self { name: name.to_owned(), ..Self::default() };
        let mut masks: Vec<String> = Vec::new();
        let virsh = regex::Regex::new(r"\bvirsh\b").context("a word")?;
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.trim();
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "" | "#" => {}
                "needs" => script.needs.push(rest.trim().to_owned()),
                "mask" if rest.is_empty() => masks.clear(),
                "mask" => {
                    crate::normal::pattern(rest).with_context(|| format!("line {line_number}"))?;
                    masks.push(rest.to_owned());
                }
                _ if word.starts_with('#') => {}
                "include" => {
                    let (other, program) = rest.split_once(' ').context("`include SCRIPT PROGRAM`")?;
                    let other = Self::parse(other, &included(other)?, included)?;
                    script.needs.push(program.to_owned());
                    script.steps.extend(other.steps.into_iter().map(|step| Step {
                        command: virsh.replace_all(&step.command, program).into_owned(),
                        ..step
                    }));
                }
                _ => {
                    let (how, command) = script.step(line).with_context(|| format!("line {line_number}"))?;
                    script.steps.push(Step { line: line_number, command, how, masks: masks.clone() });
                }
            }
        }
        Ok(script)
    }

    fn step(&self, line: &str) -> Result<(How, String)> {
        let own = |text: &str| text.trim().to_owned();
        if line == "restart" || line.starts_with("restart ") {
            return Ok((How::Restart, own(line.trim_start_matches("restart"))));
        }
        if let Some(name) = line.strip_prefix("end ") {
            let begun = self.steps.iter().find(|step| step.how == How::Start(own(name)));
            let Some(begun) = begun else { bail!("`end {name}` without its `start {name}: …`") };
            return Ok((How::End(own(name)), begun.command.clone()));
        }
        for (word, how) in [("sorted", How::Sorted), ("code", How::Code), ("quiet", How::Quiet)] {
            if let Some(command) = line.strip_prefix(word).and_then(|rest| rest.strip_prefix(": ")) {
                return Ok((how, own(command)));
            }
        }
        if let Some((what, command)) = line.strip_prefix("until ").and_then(|rest| rest.split_once(": ")) {
            return Ok((How::Until(own(what)), own(command)));
        }
        if let Some((name, command)) = line.strip_prefix("start ").and_then(|rest| rest.split_once(": ")) {
            return Ok((How::Start(own(name)), own(command)));
        }
        Ok((How::Compared, own(line)))
    }
}

impl Step {
    /// Whether what it gave is compared.
    pub fn is_compared(&self) -> bool {
        matches!(self.how, How::Compared | How::Sorted | How::Code | How::End(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(other: &str) -> Result<String> {
        bail!("there is no {other}")
    }

    #[test]
    fn an_included_script_runs_with_another_program() {
        let basics = |_: &str| Ok("needs dig\nvirsh list && virsh-like\n".to_owned());
        let script = Script::parse("it", "include basics virsh9\n", &basics).expect("a good script");
        assert_eq!(script.steps[0].command, "virsh9 list && virsh9-like");
        assert_eq!(script.needs, ["virsh9"]);
    }

    #[test]
    fn every_kind_of_line_is_read() {
        let text = "needs virsh\n# a comment\n\nmask [0-9]+\nvirsh desc g1 'a: b'\nmask\nsorted: virsh list\n\
                    until shut off: virsh domstate g1\nstart ev: virsh event --all\nend ev\nrestart --listen\n";
        let script = Script::parse("it", text, &none).expect("a good script");
        assert_eq!(script.needs, ["virsh"]);
        let kinds: Vec<(usize, &How)> = script.steps.iter().map(|step| (step.line, &step.how)).collect();
        let ev = "ev".to_owned();
        assert_eq!(
            kinds,
            [
                (5, &How::Compared),
                (7, &How::Sorted),
                (8, &How::Until("shut off".into())),
                (9, &How::Start(ev.clone())),
                (10, &How::End(ev)),
                (11, &How::Restart),
            ]
        );
        assert_eq!(script.steps[0].masks, ["[0-9]+"]);
        assert!(script.steps[1].masks.is_empty());
        assert_eq!(script.steps[4].command, "virsh event --all");
        assert_eq!(script.steps[5].command, "--listen");
    }

    #[test]
    fn an_end_needs_its_start() {
        assert!(Script::parse("it", "end ev\n", &none).is_err());
    }
}
