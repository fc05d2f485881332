//! What the guest's logs say of a failure: the one line that says most.

use super::{LINE_MAX_CHARS, clean};

/// The line of cloud-init's log that says what failed, from its tail. `module` is a [`Failure`]'s.
pub fn log_line(log: &[u8], module: &str) -> Option<String> {
    let log = String::from_utf8_lossy(log);
    // Both spellings: 22.4 names modules with `-`, 23.1 and later with `_`.
    let (dashed, lined) = (module.replace('_', "-"), module.replace('-', "_"));
    let names = |line: &str| line.contains(&dashed) || line.contains(&lined);
    let is_bad = |line: &str| ["WARNING]:", "ERROR]:", "CRITICAL]:"].iter().any(|level| line.contains(level));
    // The package module fails with its last error; these lines tell which one it was.
    let telling = ["Failed to install packages", "Package update failed", "Package upgrade failed"];
    let lines: Vec<&str> = log.lines().collect();
    let find = |wanted: &dyn Fn(&str) -> bool| lines.iter().position(|line| is_bad(line) && wanted(line));
    let said =
        is_packages(module).then(|| find(&|line| telling.iter().any(|words| line.contains(words)))).flatten();
    let said = said.or_else(|| find(&|line| names(line) && line.contains("Running module")));
    let said = said.or_else(|| find(&|line| names(line))).or_else(|| find(&|_| true))?;
    let line = clean(lines[said], LINE_MAX_CHARS);
    Some(match exception(lines[said], &lines[said + 1..]) {
        Some(exception) => format!("{line} | {exception}"),
        None => line,
    })
}

/// The exception of the trace back that follows a line, which says more than the line; for a command that failed
/// also which and how.
fn exception(line: &str, following: &[&str]) -> Option<String> {
    let said = |line: &str| line.split_once("]: ").map(|(_, message)| message.to_owned());
    // The same again at level debug stands between them (`util.logexc`).
    let again = following.first().is_some_and(|next| said(next) == said(line));
    let trace = usize::from(again);
    following.get(trace).filter(|line| line.starts_with("Traceback"))?;
    let body = following[trace + 1..].iter().take(200);
    let end =
        body.skip_while(|line| line.starts_with(' ') || line.is_empty()).take_while(|line| !is_stamped(line));
    let mut words = String::new();
    for line in end
        .take(8)
        .filter(|line| !matches!(line.trim(), "Exit code: -" | "Reason: -" | "Stdout: -" | "Stderr: -"))
    {
        words.push_str(if words.is_empty() { "" } else { "; " });
        words.push_str(line.trim());
    }
    (!words.is_empty()).then(|| clean(&words, LINE_MAX_CHARS))
}

/// Does this module run the package manager, whose own words say most?
pub fn is_packages(module: &str) -> bool {
    matches!(module.replace('-', "_").as_str(), "package_update_upgrade_install" | "apt_configure")
}

/// The package manager's own words of why it failed, from the end of `/var/log/cloud-init-output.log`: apt's lines
/// that begin with `E: `, dnf's with `Error: `. The first is the cause; what follows it, its consequences.
pub fn package_manager_line(output: &[u8]) -> Option<String> {
    let output = String::from_utf8_lossy(output);
    let is_error = |line: &&str| line.starts_with("E: ") || line.starts_with("Error: ");
    output.lines().find(is_error).map(|line| clean(line, LINE_MAX_CHARS))
}

/// The line of ds-identify's log that tells why no data source was found.
pub fn ds_identify_line(log: &[u8]) -> Option<String> {
    let log = String::from_utf8_lossy(log);
    let telling = ["No ds found", "no datasource", "Disabled", "disabled"];
    let found = telling.iter().find_map(|words| log.lines().rev().find(|line| line.contains(words)));
    found.map(|line| clean(line, LINE_MAX_CHARS))
}

/// A line of the log proper begins with its date.
fn is_stamped(line: &str) -> bool {
    line.as_bytes().first().is_some_and(u8::is_ascii_digit)
}
