//! The comment that libvirt puts before each definition it writes.
//!
//! The words are libvirt's, so that its tools and its users know the file for what it is; the command named
//! in it is ours, with libvirt's beside it. On reading, any comment before the root element that holds the
//! mark is taken away, ours or libvirt's.

use super::Collection;

const MARK: &str = "THIS IS AN AUTO-GENERATED FILE";

/// The file's text: header, then the document.
pub fn add(collection: Collection, name: &str, xml: &str) -> String {
    let verb = match collection {
        Collection::Domains => "edit",
        Collection::Networks => "net-edit",
        Collection::Pools => "pool-edit",
        Collection::Secrets => "secret-define",
    };
    let (document, _) = strip(xml);
    // A comment must not contain `--` (XML 1.0, 2.5), nor end in `-`.
    let name = if name.contains("--") || name.ends_with('-') { "NAME".to_owned() } else { shell_word(name) };
    let end = if document.ends_with('\n') { "" } else { "\n" };
    format!(
        "<!--\n\
         WARNING: {MARK}. CHANGES TO IT ARE LIKELY TO BE\n\
         OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n  \
         lodge {verb} {name}    (or: virsh {verb} {name})\n\
         or other application using the libvirt API.\n\
         -->\n\n{document}{end}"
    )
}

/// The document without the header, and how many lines the header took.
pub fn strip(text: &str) -> (&str, u32) {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = body.trim_start();
    let Some((comment, rest)) = start.strip_prefix("<!--").and_then(|rest| rest.split_once("-->")) else {
        return (text, 0);
    };
    if !comment.contains(MARK) {
        return (text, 0);
    }
    let document = rest.trim_start_matches([' ', '\t', '\r', '\n']);
    let taken = &text[..text.len() - document.len()];
    let lines = taken.bytes().filter(|byte| *byte == b'\n').count();
    (document, u32::try_from(lines).unwrap_or(u32::MAX))
}

fn shell_word(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.,+:@%".contains(c);
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_taken_away() {
        for name in ["web1", "a b", "it's", "a--b", "a-"] {
            let file = add(Collection::Domains, name, "<domain/>\n");
            let comment = &file[4..file.find("-->").unwrap()];
            assert!(!comment.contains("--") && !comment.ends_with('-'), "{file}");
            assert_eq!(strip(&file), ("<domain/>\n", 7));
            assert_eq!(add(Collection::Domains, name, &file), file, "a header is not added twice");
        }
    }

    #[test]
    fn libvirts_own_header_is_known() {
        let file = "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n\
                    OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n  \
                    virsh net-edit default\nor other application using the libvirt API.\n-->\n\n<network/>\n";
        assert_eq!(strip(file), ("<network/>\n", 7));
    }

    #[test]
    fn other_comments_and_broken_ones_stay() {
        for text in ["<!-- mine --><domain/>", "<!-- THIS IS AN AUTO-GENERATED FILE", "", "<domain/>"] {
            assert_eq!(strip(text), (text, 0));
        }
    }
}
