//! `/proc/thread-self/mountinfo`, read. Pure. See proc_pid_mountinfo(5).

use std::path::PathBuf;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub target: PathBuf,
    /// A device, or what the file system calls its source.
    pub source: String,
}

/// The mounts, in the order they were made. A line of another form is left out.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = Entry> {
    text.lines().filter_map(|line| {
        // 36 35 98:0 /root /target options [optional fields] - type source super-options
        let (front, back) = line.split_once(" - ")?;
        let target = front.split(' ').nth(4)?;
        let source = back.split(' ').nth(1)?;
        Some(Entry { target: plain(target).into(), source: plain(source) })
    })
}

/// Blanks, tabs, line ends and backslashes are written as `\040` and so on.
fn plain(word: &str) -> String {
    let mut parts = word.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        if let Some(byte) = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            bytes.extend(&part.as_bytes()[3..]);
        } else {
            bytes.push(b'\\');
            bytes.extend(part.as_bytes());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_sources_are_read_with_their_blanks() {
        let text = "36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
                    40 36 0:50 / /a\\040b\\134c rw - nfs4 host:/x\\040y rw,vers=4.2\n\
                    nonsense\n41 36 0:51 / /tmp rw shared:2 - tmpfs none rw\n";
        let found: Vec<_> =
            entries(text).map(|entry| (entry.target.display().to_string(), entry.source)).collect();
        let wanted = [("/mnt", "/dev/root"), ("/a b\\c", "host:/x y"), ("/tmp", "none")];
        assert_eq!(found, wanted.map(|(target, source)| (target.to_owned(), source.to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "[ -~\n\\\\]{0,200}") {
            let _ = entries(&text).count();
        }
    }
}
