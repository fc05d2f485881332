//! Reading and changing lines of configuration files without touching the other lines.
//!
//! All functions take any text and never fail: a line that is not understood stays as it is.

/// A way to write `key value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    /// `key=value`, blanks around `=` allowed.
    Equals,
    /// `key: value`.
    Colon,
    /// `key value`.
    Blank,
}

/// The value of a line that sets `key`, as it is written, without blanks around it.
pub(crate) fn line_value<'a>(line: &'a str, key: &str, separator: Separator) -> Option<&'a str> {
    let line = line.trim();
    let head = line.get(..key.len())?;
    let is_key = if separator == Separator::Equals { head == key } else { head.eq_ignore_ascii_case(key) };
    let rest = is_key.then(|| &line[key.len()..])?;
    match separator {
        Separator::Equals => rest.trim_start().strip_prefix('=').map(str::trim),
        Separator::Colon => rest.trim_start().strip_prefix(':').map(str::trim),
        Separator::Blank => rest.starts_with([' ', '\t', '=']).then(|| {
            let rest = rest.trim_start();
            rest.strip_prefix('=').unwrap_or(rest).trim()
        }),
    }
}

/// Without one pair of quotes.
pub(crate) fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// What a shell file sets `key` to: the last line that does.
pub(crate) fn shell_value(text: &str, key: &str) -> Option<String> {
    text.lines().filter_map(|line| line_value(line, key, Separator::Equals)).next_back().map(|value| {
        // A comment may stand after the value.
        let quoted = value.chars().next().filter(|first| matches!(first, '"' | '\''));
        match quoted.and_then(|quote| value[1..].split_once(quote)) {
            Some((inner, _)) => inner.to_owned(),
            None => cut_comment(value).to_owned(),
        }
    })
}

fn cut_comment(value: &str) -> &str {
    match value.find(" #").or_else(|| value.find("\t#")) {
        Some(at) => value[..at].trim_end(),
        None => value,
    }
}

/// What to do with a line.
pub(crate) enum Line {
    /// As it is.
    Keep,
    /// Gone.
    Drop,
    /// Another text in its place, without a line break.
    Set(String),
}

/// The text with each line judged. Line breaks stay as they are.
pub(crate) fn map_lines(text: &str, mut judge: impl FnMut(&str) -> Line) -> String {
    let mut out = String::with_capacity(text.len());
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches(['\n', '\r']);
        match judge(line) {
            Line::Keep => out.push_str(whole),
            Line::Drop => {}
            Line::Set(new) => {
                out.push_str(&new);
                out.push_str(&whole[line.len()..]);
            }
        }
    }
    out
}

/// The line with another value, its indent, key, spacing and quotes kept. None where it does not set `key`.
pub(crate) fn with_value(line: &str, key: &str, separator: Separator, new: &str) -> Option<String> {
    let old = line_value(line, key, separator)?;
    // `old` is a part of `line`; where it is empty it stands at the end.
    let start = old.as_ptr() as usize - line.as_ptr() as usize;
    let quoted = match old.chars().next() {
        Some(quote @ ('"' | '\'')) if old.len() > 1 && old.ends_with(quote) => format!("{quote}{new}{quote}"),
        _ => new.to_owned(),
    };
    Some(format!("{}{quoted}{}", &line[..start], &line[start + old.len()..]))
}

/// Replaces `old` by `new` wherever it stands alone: no byte for which `is_inner` holds beside it. Letters' case is
/// not looked at.
pub(crate) fn replace_word(text: &str, old: &str, new: &str, is_inner: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for at in word_positions(text, old, is_inner) {
        out.push_str(&text[from..at]);
        out.push_str(new);
        from = at + old.len();
    }
    out.push_str(&text[from..]);
    out
}

fn word_positions(text: &str, word: &str, is_inner: impl Fn(char) -> bool) -> Vec<usize> {
    let mut found = Vec::new();
    let Some(first) = word.bytes().next() else { return found };
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + word.len() <= bytes.len() {
        let here = &bytes[at..at + word.len()];
        let fits = here[0].eq_ignore_ascii_case(&first)
            && here.eq_ignore_ascii_case(word.as_bytes())
            && text.is_char_boundary(at)
            && text.is_char_boundary(at + word.len())
            && !text[..at].chars().next_back().is_some_and(&is_inner)
            && !text[at + word.len()..].chars().next().is_some_and(&is_inner);
        if fits {
            found.push(at);
            at += word.len();
        } else {
            at += 1;
        }
    }
    found
}

/// Part of a UUID, a MAC or another number in hexadecimal digits.
pub(crate) fn is_id_char(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Part of one label of a host name.
pub(crate) fn is_label_char(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '-' || letter == '_'
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The first UUID in a text, with its place.
pub(crate) fn find_uuid(text: &str) -> Option<&str> {
    text.char_indices().filter_map(|(at, _)| text.get(at..at + 36)).find(|part| {
        part.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_set_as_they_are_written() {
        use Separator::{Blank, Colon, Equals};
        assert_eq!(line_value("  UUID = \"x\" ", "UUID", Equals), Some("\"x\""));
        assert_eq!(line_value("UUIDS=x", "UUID", Equals), None);
        assert_eq!(line_value("#UUID=x", "UUID", Equals), None);
        assert_eq!(line_value("id: 7", "id", Colon), Some("7"));
        assert_eq!(line_value("HostKey /a/b", "hostkey", Blank), Some("/a/b"));
        assert_eq!(with_value("  UUID = \"x\" ", "UUID", Equals, "y").as_deref(), Some("  UUID = \"y\" "));
        assert_eq!(with_value("UUID=", "UUID", Equals, "y").as_deref(), Some("UUID=y"));
        assert_eq!(shell_value("A=1\nA='2' # no\nB=3 # c\n", "B").as_deref(), Some("3"));
        assert_eq!(shell_value("A=\"x y\"\n", "A").as_deref(), Some("x y"));
    }

    #[test]
    fn words_are_replaced_only_where_they_stand_alone() {
        let hosts = "127.0.1.1 web.example.com web web-2 webs\n";
        let new = replace_word(hosts, "web", "db", is_label_char);
        assert_eq!(new, "127.0.1.1 db.example.com db web-2 webs\n");
        assert_eq!(replace_word("UUID=AB-1 xab-1", "ab-1", "CD", is_id_char), "UUID=CD xab-1");
        assert_eq!(replace_word("éé", "é", "e", |_| false), "ee");
        assert_eq!(replace_word("x", "", "y", |_| false), "x");
    }

    #[test]
    fn lines_keep_their_ends() {
        let text = map_lines("a\r\nb\nc", |line| match line {
            "a" => Line::Set("A".into()),
            "b" => Line::Drop,
            _ => Line::Keep,
        });
        assert_eq!(text, "A\r\nc");
    }

    #[test]
    fn bytes_are_told_in_digits() {
        assert_eq!(hex(&[0x0f, 0xa0]), "0fa0");
    }

    #[test]
    fn a_uuid_is_found_in_a_name() {
        let name = "nqn.2014-08.org.nvmexpress:uuid:5f2b1d3c-0a1b-4c2d-8e3f-001122334455";
        assert_eq!(find_uuid(name), Some("5f2b1d3c-0a1b-4c2d-8e3f-001122334455"));
        assert_eq!(find_uuid("5f2b1d3c-0a1b"), None);
    }
}
