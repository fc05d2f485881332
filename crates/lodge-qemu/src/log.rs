//! A QEMU's own output: the file, and the last of it for people.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of the end of a log is looked at.
const TAIL: u64 = 8 << 10;

/// The last words in a guest's `qemu.log`; empty if there are none.
pub fn last_words_in(path: &Path) -> String {
    let tail = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    tail().map(|text| last_words(&text)).unwrap_or_default()
}

/// The last lines worth reading, on one line, escaped, without QEMU's name for itself.
pub(crate) fn last_words(text: &str) -> String {
    let worth = |line: &&str| !line.trim().is_empty() && !line.contains("warning:");
    let mut lines: Vec<&str> = text.lines().filter(worth).rev().take(3).collect();
    lines.reverse();
    let strip = |line: &str| {
        let line = line.trim();
        let rest =
            line.split_once(": ").filter(|(name, _)| name.contains("qemu-")).map_or(line, |(_, rest)| rest);
        rest.chars().take(400).flat_map(char::escape_debug).collect::<String>()
    };
    lines.into_iter().map(strip).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_without_warnings_and_control_characters() {
        let text = "one\ntwo\n/usr/bin/qemu-system-x86_64: warning: host doesn't\nthree\n\n\
                    qemu-system-x86_64: -device foo: no\x1b[2J such device\n";
        assert_eq!(last_words(text), "two; three; -device foo: no\\u{1b}[2J such device");
        assert_eq!(last_words(""), "");
    }
}
