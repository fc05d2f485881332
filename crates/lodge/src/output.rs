//! Printing: virsh's tables, JSON, and writes that survive a reader who has gone.

use std::io::{self, Write};

use serde::Serialize;

/// Prints to standard output. A reader who left (`lodge list | head`) ends the program, quietly as a pipe does.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Prints to standard error; there is nobody to tell when that fails.
pub fn complain(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// A document of the API, as a person can read it too.
pub fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("the API's documents are JSON");
    text.push('\n');
    text
}

/// A table in virsh's form: a space before each cell, three between columns, dashes below the heading, the last
/// column unpadded. Without `heading` (`--quiet`) the columns are as narrow as the rows allow, again as virsh's.
pub fn table(heading: &[&str], rows: &[Vec<String>], quiet: bool) -> String {
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let shown = || rows.iter().chain((!quiet).then_some(&heading));
    let width = |column: usize| {
        shown().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    if !quiet {
        line(&mut text, &heading, &widths);
        text.push_str(&"-".repeat(widths.iter().map(|width| width + 3).sum()));
        text.push('\n');
    }
    for row in rows {
        line(&mut text, row, &widths);
    }
    text
}

fn line(text: &mut String, cells: &[String], widths: &[usize]) {
    for (at, cell) in cells.iter().enumerate() {
        text.push(' ');
        text.extend(cell.chars().map(|letter| if letter.is_control() { '?' } else { letter }));
        if at + 1 < cells.len() {
            let pad = widths.get(at).copied().unwrap_or_default().saturating_sub(cell.chars().count());
            text.push_str(&" ".repeat(pad + 2));
        }
    }
    text.push('\n');
}

/// `Name:           web1`: virsh's lines of `dominfo` and its like.
pub fn field(text: &mut String, name: &str, value: impl std::fmt::Display) {
    use std::fmt::Write;
    writeln!(text, "{:15} {value}", format!("{name}:")).expect("a String takes all");
}

/// One a line.
pub fn lines(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string() + "\n").collect()
}

/// What stands in a cell that has nothing.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `1.5 GiB`: for a person.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// A Unix time as local time, in virsh's form.
pub fn local_time(time_ms: u64) -> String {
    let time = i64::try_from(time_ms).ok().and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    let zone = jiff::tz::TimeZone::system();
    time.map_or_else(|| "-".to_owned(), |time| time.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// `1.5 s`, `2 min 5 s`.
pub fn duration(time_ms: u64) -> String {
    let seconds = time_ms / 1000;
    match (seconds / 60, seconds % 60) {
        (0, _) => format!("{seconds}.{} s", time_ms % 1000 / 100),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
    }

    /// Compared with virsh's own output for the same domains (test:///default).
    #[test]
    fn tables_are_virshs() {
        let rows = rows(&[&["1", "test", "running"], &["-", "a much longer name", "shut off"]]);
        expect![[r"
             Id   Name                 State
            -------------------------------------
             1    test                 running
             -    a much longer name   shut off
        "]]
        .assert_eq(&table(&["Id", "Name", "State"], &rows, false));
        // Not with expect!, which would take the blank that begins every line for indentation.
        let quiet = table(&["Id", "Name", "State"], &rows, true);
        assert_eq!(quiet, " 1   test                 running\n -   a much longer name   shut off\n");
        assert_eq!(table(&["Id", "Name", "State"], &[], false), " Id   Name   State\n--------------------\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(table(&["A"], &rows(&[&["\u{1b}[2Jx"]]), true), " ?[2Jx\n");
    }

    #[test]
    fn sizes_and_durations_are_for_people() {
        assert_eq!([0, 1023, 1536, 3 << 30].map(size), ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
        assert_eq!([0, 1550, 125_000].map(duration), ["0.0 s", "1.5 s", "2 min 5 s"]);
    }
}
