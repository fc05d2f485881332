//! What two runs can never have in common is made equal: ids that were drawn, clocks, terminals.
//!
//! Ids that a document or script names are kept, so that a daemon that answers with another one is caught.

use std::{collections::HashSet, sync::LazyLock};

use regex::{Captures, Regex};

const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const MAC: &str = "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}";

/// The ids that scripts and documents name.
#[derive(Debug, Default)]
pub struct Known {
    ids: HashSet<String>,
}

impl Known {
    /// Adds what this text names.
    pub fn learn(&mut self, text: &str) {
        self.ids.extend(drawn().find_iter(text).map(|found| found.as_str().to_owned()));
    }
}

fn drawn() -> &'static Regex {
    static DRAWN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(&format!("{UUID}|{MAC}")).expect("a valid pattern"));
    &DRAWN
}

/// Patterns and what stands for them, applied in order.
fn rules() -> &'static [(Regex, &'static str)] {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|UTC|[+-]\d\d:?\d\d))?", "TIME"),
            (r"/dev/pts/\d+", "/dev/pts/N"),
            // Columns are as wide as what stands in them.
            (r"(\S) {2,}", "$1  "),
            (r"(?m)[ \t]+$", ""),
            (r"-{5,}", "-----"),
        ]
        .map(|(pattern, stands)| (Regex::new(pattern).expect("a valid pattern"), stands))
        .into()
    });
    &RULES
}

/// A mask of a script: `^` and `$` are a line's.
pub fn pattern(mask: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(mask).multi_line(true).build()
}

/// The text as it is compared.
pub fn normal(text: &str, known: &Known, masks: &[String], sorted: bool) -> String {
    let drawn = drawn().replace_all(text, |found: &Captures| {
        let id = &found[0];
        match (known.ids.contains(id), id.contains(':')) {
            (true, _) => id.to_owned(),
            (false, true) => "MAC".to_owned(),
            (false, false) => "UUID".to_owned(),
        }
    });
    let mut text = drawn.into_owned();
    for mask in masks.iter().filter_map(|mask| pattern(mask).ok()) {
        text = mask.replace_all(&text, "…").into_owned();
    }
    for (rule, stands) in rules() {
        text = rule.replace_all(&text, *stands).into_owned();
    }
    if sorted {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        text = lines.join("\n");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_ids_are_hidden_and_named_ones_kept() {
        let mut known = Known::default();
        known.learn("<uuid>a3918264-c26e-41c0-9f4b-1699057bb39a</uuid><mac address='52:54:00:00:00:01'/>");
        let text = "a3918264-c26e-41c0-9f4b-1699057bb39a b3918264-c26e-41c0-9f4b-1699057bb39a\n\
                    52:54:00:00:00:01 52:54:00:aa:bb:cc 2026-11-20 10:11:12.345+0000 /dev/pts/12  \n";
        let shown = "a3918264-c26e-41c0-9f4b-1699057bb39a UUID\n52:54:00:00:00:01 MAC TIME /dev/pts/N";
        assert_eq!(normal(text, &known, &[], false), shown);
    }

    #[test]
    fn masks_hide_and_columns_do_not_count() {
        let masks = ["[0-9]+ KiB".to_owned()];
        let theirs = normal(" Id   Name    used 12 KiB\n-------------\n", &Known::default(), &masks, false);
        let ours = normal(" Id  Name   used 4096 KiB\n---------\n", &Known::default(), &masks, false);
        assert_eq!(theirs, ours);
    }
}
