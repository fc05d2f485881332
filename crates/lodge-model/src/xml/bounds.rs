//! What a text may have before the XML reader sees it: its tree costs the square of some things, and memory for others.
//!
//! roxmltree compares each attribute of an element with those before it, and gives each element that declares a
//! namespace a list of all that are in force there. So their numbers are bounded here, in one pass over the bytes.
//! Deliberately absent: whether the text is well-formed, which is for the XML reader to say.

use super::{DEPTH_MAX, DOCUMENT_MAX_BYTES, NODES_MAX, malformed};
use crate::{Fault, Faults};
use roxmltree::{Document, ParsingOptions};

/// Most attributes of one element: libvirt's have a dozen.
const ATTRIBUTES_MAX: usize = 256;
/// Most namespaces that a document declares.
const NAMESPACES_MAX: usize = 1024;

/// Reads a text as XML, within bounds.
pub(crate) fn document(text: &str) -> Result<Document<'_>, Faults> {
    check(text)?;
    let settings = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..Default::default() };
    Document::parse_with_options(text, settings).map_err(|error| malformed::malformed(text, &error))
}

/// Refuses a text whose tree would cost too much.
pub(crate) fn check(text: &str) -> Result<(), Faults> {
    if text.len() > DOCUMENT_MAX_BYTES {
        let message =
            format!("the document is {} bytes long; at most {DOCUMENT_MAX_BYTES} are read", text.len());
        return Err(Faults::one("", message));
    }
    if text.matches("xmlns").count() > NAMESPACES_MAX {
        return Err(Faults::one("", format!("more than {NAMESPACES_MAX} namespaces are declared")));
    }
    if let Some((offset, message)) = beyond(text) {
        return Err(Faults(vec![at(text, offset, message)]));
    }
    Ok(())
}

fn at(text: &str, offset: usize, message: String) -> Fault {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Fault { line: number(line), column: number(column), path: String::new(), message }
}

/// Where the first element is that is too deep or has too many attributes.
fn beyond(text: &str) -> Option<(usize, String)> {
    let (mut rest, mut depth) = (text, 0_usize);
    while let Some(start) = rest.find('<') {
        let offset = text.len() - rest.len() + start;
        let tag = rest.get(start..)?;
        let other = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">")];
        if let Some((_, end)) = other.iter().find(|(begin, _)| tag.starts_with(begin)) {
            rest = tag.get(tag.find(end)? + end.len()..)?;
            continue;
        }
        let (attributes, length) = measured(tag)?;
        if attributes > ATTRIBUTES_MAX {
            return Some((offset, format!("an element has more than {ATTRIBUTES_MAX} attributes")));
        }
        let whole = tag.get(..length)?;
        if whole.starts_with("</") {
            depth = depth.saturating_sub(1);
        } else if !whole.ends_with("/>") {
            depth += 1;
        }
        if depth > DEPTH_MAX {
            return Some((offset, format!("elements are nested more than {DEPTH_MAX} deep")));
        }
        rest = tag.get(length..)?;
    }
    None
}

/// How many attributes a tag has, and how long it is; `None` if it does not end.
fn measured(tag: &str) -> Option<(usize, usize)> {
    let (mut attributes, mut quote) = (0, None);
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'=') => attributes += 1,
            (None, b'>') => return Some((attributes, at + 1)),
            (Some(_) | None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tree_would_cost_too_much_for_is_refused_with_its_place() {
        let many = (0..300).map(|at| format!("a{at}='>'")).collect::<Vec<_>>().join(" ");
        let deep = "<d>".repeat(200) + &"</d>".repeat(200);
        let spaces = "<e xmlns:x='y'/>".repeat(2000);
        for (text, place, word) in [
            (format!("<d>\n <!-- <a b='c'> --><e {many}/></d>"), (2, 20), "attributes"),
            (deep, (1, 385), "nested"),
            (format!("<d>{spaces}</d>"), (0, 0), "namespaces"),
        ] {
            let faults = document(&text).unwrap_err();
            assert_eq!((faults.0[0].line, faults.0[0].column), place, "{faults}");
            assert!(faults.to_string().contains(word), "{faults}");
        }
        assert!(document(&format!("<d a='{}'>{}</d>", "=".repeat(500), "<e/>".repeat(500))).is_ok());
        assert!(document("<d><![CDATA[<<<]]><?p <?></d>").is_ok());
        for cut in ["<d", "<d><!-- ", "<d a='>", "<", "<d><![CDATA["] {
            assert!(document(cut).is_err(), "{cut}");
        }
    }
}
