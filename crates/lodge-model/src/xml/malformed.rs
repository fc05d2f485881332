//! A text that is no XML, as a fault: in libxml2's words for what people get wrong, which those who read libvirt's
//! errors know, with the line and a mark below it; roxmltree's own words for the rest.

use roxmltree::Error;

use super::NODES_MAX;
use crate::{Fault, Faults};

/// Most that is shown of a line on either side of the mark.
const SHOWN_BYTES: usize = 200;

/// roxmltree's error about `text` as a fault.
pub(super) fn malformed(text: &str, error: &Error) -> Faults {
    let found = at(text, error.pos());
    let (message, mark) = match error {
        Error::DtdDetected => ("a DTD is not allowed".to_owned(), None),
        Error::NodesLimitReached => (format!("more than {NODES_MAX} nodes"), None),
        Error::NoRootNode if text.trim().is_empty() => {
            let message = "Document is empty\n(null)\n^".to_owned();
            return Faults(vec![Fault { line: 1, column: 1, path: String::new(), message }]);
        }
        Error::UnclosedRootNode => match open_elements(text).pop() {
            Some((name, line)) => {
                (format!("Premature end of data in tag {name} line {line}"), Some(text.trim_end().len()))
            }
            None => (plain(error), None),
        },
        Error::UnexpectedCloseTag(opened, closed, _) => {
            let line = open_elements(&text[..found]).pop().map_or(0, |(_, line)| line);
            let end = text[found..].find('>').map_or(text.len(), |end| found + end + 1);
            (format!("Opening and ending tag mismatch: {opened} line {line} and {closed}"), Some(end))
        }
        Error::DuplicatedAttribute(name, _) => {
            (format!("Attribute {name} redefined"), Some(after_value(text, found)))
        }
        Error::MalformedEntityReference(_) => {
            let after = text[found..].find('&').map_or(found, |sign| found + sign + 1);
            ("xmlParseEntityRef: no name".to_owned(), Some(after))
        }
        Error::InvalidChar2("a quote", ..) => ("AttValue: \" or ' expected".to_owned(), Some(found)),
        Error::UnknownToken(_) if text[..found].trim().is_empty() => {
            ("Start tag expected, '<' not found".to_owned(), Some(found))
        }
        Error::UnknownToken(_) if open_elements(&text[..found]).is_empty() => {
            ("Extra content at the end of the document".to_owned(), Some(found))
        }
        other => (plain(other), None),
    };
    let place = mark.unwrap_or(found);
    let start = text[..place].rfind('\n').map_or(0, |end| end + 1);
    let line = u32::try_from(text[..start].matches('\n').count() + 1).unwrap_or(u32::MAX);
    let column = u32::try_from(text[start..place].chars().count() + 1).unwrap_or(u32::MAX);
    let message = if mark.is_some() { format!("{message}\n{}", marked(text, start, place)) } else { message };
    Faults(vec![Fault { line, column, path: String::new(), message }])
}

/// roxmltree's words; its message ends with the place, which a fault has in fields.
fn plain(error: &Error) -> String {
    let message = error.to_string();
    message.trim_end_matches(&format!(" at {}", error.pos())).to_owned()
}

/// The byte at roxmltree's place.
fn at(text: &str, place: roxmltree::TextPos) -> usize {
    let row = usize::try_from(place.row.saturating_sub(1)).unwrap_or(usize::MAX);
    let column = usize::try_from(place.col.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text.split_inclusive('\n').take(row).map(str::len).sum();
    text[start..].char_indices().nth(column).map_or(text.len(), |(at, _)| start + at)
}

/// The line that begins at `start`, and below it a mark at `place`.
fn marked(text: &str, start: usize, place: usize) -> String {
    let from = text.ceil_char_boundary(start.max(place.saturating_sub(SHOWN_BYTES)));
    let end = text[place..].find(['\n', '\r']).map_or(text.len(), |end| place + end);
    let end = text.floor_char_boundary(end.min(place + SHOWN_BYTES));
    let before = text[from..place].chars().count();
    format!("{}\n{}^", &text[from..end], "-".repeat(before))
}

/// Behind the value of the attribute that begins at `from`.
fn after_value(text: &str, from: usize) -> usize {
    let Some(open) = text[from..].find(['"', '\'']).map(|quote| from + quote) else { return from };
    let close = text[open + 1..].find(char::from(text.as_bytes()[open]));
    close.map_or(open, |close| open + close + 2)
}

/// The elements that `text` opens and does not close, with the lines they begin on. A rough look, at a text known to
/// be no XML, for the sake of a message.
fn open_elements(text: &str) -> Vec<(&str, usize)> {
    let mut open = Vec::new();
    let (mut at, mut line, mut counted) = (0, 1, 0);
    while let Some(found) = text[at..].find('<').map(|found| at + found) {
        line += text[counted..found].matches('\n').count();
        counted = found;
        let rest = &text[found..];
        let skipped = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")]
            .into_iter()
            .find(|(begin, _)| rest.starts_with(begin));
        if let Some((_, end)) = skipped {
            let Some(end) = rest.find(end) else { break };
            at = found + end + 1;
            continue;
        }
        let end = rest.find('>').unwrap_or(rest.len());
        let tag = &rest[1..end];
        if let Some(closed) = tag.strip_prefix('/') {
            if open.last().is_some_and(|(name, _)| *name == closed.trim()) {
                open.pop();
            }
        } else if !tag.ends_with('/') {
            let name = tag.split(|letter: char| letter.is_whitespace()).next().unwrap_or_default();
            open.push((name, line));
        }
        at = found + 1;
    }
    open
}

#[cfg(test)]
mod tests {
    use crate::domain::Domain;

    /// The right sides are what libvirtd 11.3 answers, behind `at line N: `.
    #[test]
    fn what_people_get_wrong_is_said_in_libxml2s_words() {
        for (text, line, told) in [
            (
                "<domain type=\"qemu\">\n  <name>x</name>\n  <memory>1",
                3,
                "Premature end of data in tag memory line 3\n  <memory>1\n-----------^",
            ),
            (
                "<domain type=\"qemu\">\n  <name>x</nam>\n  <memory>1</memory>\n</domain>\n",
                2,
                "Opening and ending tag mismatch: name line 2 and nam\n  <name>x</nam>\n---------------^",
            ),
            (
                "<domain type=\"qemu\">\n  <name>x & y</name>\n</domain>\n",
                2,
                "xmlParseEntityRef: no name\n  <name>x & y</name>\n-----------^",
            ),
            (
                "<domain type=\"qemu\" type=\"kvm\">\n  <name>x</name>\n</domain>\n",
                1,
                "Attribute type redefined\n<domain type=\"qemu\" type=\"kvm\">\n------------------------------^",
            ),
            (
                "<domain type=qemu>\n  <name>x</name>\n</domain>\n",
                1,
                "AttValue: \" or ' expected\n<domain type=qemu>\n-------------^",
            ),
            (
                "<domain type=\"qemu\">\n  <name>x</name>\n</domain>\n<foo/>\n",
                4,
                "Extra content at the end of the document\n<foo/>\n^",
            ),
            ("nonsense\nmore", 1, "Start tag expected, '<' not found\nnonsense\n^"),
            ("", 1, "Document is empty\n(null)\n^"),
        ] {
            let faults = Domain::parse(text).unwrap_err();
            assert_eq!((faults.0[0].line, faults.0[0].message.as_str()), (line, told), "{text}");
        }
    }

    #[test]
    fn a_long_line_is_shown_in_part_and_any_text_is_borne() {
        let text = format!("<domain><name>{}</nam>", "ü".repeat(100_000));
        let message = Domain::parse(&text).unwrap_err().0[0].message.clone();
        assert!(message.len() < 1200 && message.contains("mismatch"), "{message}");
        for text in
            ["<", "</a>", "<a", "<!--", "<a><![CDATA[", "<a b='", "<a>&", "<a ü=ü/>", "<a>\n</b", "\u{feff}<"]
        {
            assert!(Domain::parse(text).is_err(), "{text}");
        }
    }
}
