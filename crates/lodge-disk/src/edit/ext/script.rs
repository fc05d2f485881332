//! Acts on an ext file system as lines of a script for debugfs.
//!
//! debugfs takes words in double quotes, a doubled quote standing for one, and knows no other escape. A line ends at a
//! line feed or a carriage return, so names with those cannot be told at all: whoever writes them is refused, by name
//! (what is removed has another name by then, see [`tellable`](super::tellable)).
//! A word like `<12>` would be an inode's number, so paths are always absolute. Only `write` takes a bare name. What is in the
//! root is looked for in the working directory (nothing stands before its slash), which is the root's then.

use std::sync::Arc;

use lodge_model::guest_disk::{FilePath, Owner};

use super::{kept::Kept, tellable::is_untellable};
use crate::fs::ext::attributes::Attribute;

/// Where the program finds the view's files.
const INPUTS: &str = "/view";
/// debugfs reads lines into a buffer of `BUFSIZ`, and goes on with the rest as with the next line.
const LINE_MAX_BYTES: usize = 8000;

/// A path, or where a link points, that cannot be told to debugfs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Untellable(pub FilePath);

/// Lines, and the files that they name.
#[derive(Debug, Default)]
pub(crate) struct Script {
    lines: Vec<u8>,
    inputs: Vec<Arc<[u8]>>,
    loses_blocks: bool,
}

impl Script {
    /// The script, and its inputs.
    pub fn done(self) -> (Vec<u8>, Vec<Arc<[u8]>>) {
        (self.lines, self.inputs)
    }

    /// A new directory.
    pub fn make_directory(&mut self, path: &FilePath, owner: Owner) -> Result<(), Untellable> {
        self.placed_line(path, &[b"mkdir ", &quote(path.as_bytes())])?;
        self.own(path, true, owner)
    }

    /// A new plain file where nothing is.
    pub fn write(&mut self, path: &FilePath, bytes: &[u8], owner: Owner) -> Result<(), Untellable> {
        let directory = &path.as_bytes()[..path.as_bytes().len() - path.name().len()];
        let input = format!("{INPUTS}/{} ", self.inputs.len());
        self.line(path, &[b"cd ", &quote(directory)])?;
        self.line(path, &[b"write ", input.as_bytes(), &quote(path.name())])?;
        self.inputs.push(bytes.into());
        self.own(path, false, owner)
    }

    /// A new symbolic link where nothing is.
    pub fn link(&mut self, path: &FilePath, to: &[u8]) -> Result<(), Untellable> {
        self.placed_line(path, &[b"symlink ", &quote(path.as_bytes()), b" ", &quote(to)])
    }

    /// Takes away what is no directory.
    pub fn remove(&mut self, path: &FilePath) -> Result<(), Untellable> {
        self.placed_line(path, &[b"rm ", &quote(path.as_bytes())])
    }

    /// Takes away an empty directory.
    pub fn remove_directory(&mut self, path: &FilePath) -> Result<(), Untellable> {
        self.placed_line(path, &[b"rmdir ", &quote(path.as_bytes())])
    }

    /// A line about a place, in the root's directory where that is it.
    fn placed_line(&mut self, path: &FilePath, parts: &[&[u8]]) -> Result<(), Untellable> {
        let before = self.lines.len();
        if path.parts().count() == 1 {
            self.line(path, &[b"cd \"/\""])?;
        }
        let added = self.line(path, parts);
        if added.is_err() {
            self.lines.truncate(before);
        }
        added
    }

    /// What is at `path` has this of what was there before.
    pub fn keep(&mut self, path: &FilePath, kept: &Kept) -> Result<(), Untellable> {
        let path_word = quote(path.as_bytes());
        for (name, value) in &kept.attributes {
            let input = format!("ea_set -r -f {INPUTS}/{} ", self.inputs.len());
            self.line(path, &[input.as_bytes(), &path_word, b" ", &quote(name)])?;
            self.inputs.push(value.as_slice().into());
        }
        let flags = kept.flags.map(|flags| ("flags", format!("0x{flags:x}")));
        let made = kept.made.map(|made| ("crtime", format!("@{made}")));
        for (field, value) in flags.into_iter().chain(made) {
            self.line(path, &[b"sif ", &path_word, b" ", field.as_bytes(), b" ", value.as_bytes()])?;
        }
        Ok(())
    }

    /// Whether blocks stay taken that nobody has any more.
    pub fn loses_blocks(&self) -> bool {
        self.loses_blocks
    }

    /// Takes attributes of what is at `path` away, before it goes. Others may have the same block, which debugfs' `rm` would
    /// forget; emptied, it is this one's alone, and `rm` forgets that.
    pub fn release(&mut self, path: &FilePath, attributes: &[Attribute]) -> Result<(), Untellable> {
        self.loses_blocks |= !attributes.is_empty();
        for (name, _) in attributes {
            self.line(path, &[b"ea_rm ", &quote(path.as_bytes()), b" ", &quote(name)])?;
        }
        Ok(())
    }

    /// Whose a file or a directory is.
    pub fn own(&mut self, path: &FilePath, is_directory: bool, owner: Owner) -> Result<(), Untellable> {
        let Owner { uid, gid, mode } = owner;
        // The field holds what it is, too.
        let kind: u16 = if is_directory { 0o040_000 } else { 0o100_000 };
        let mode = kind | (mode & 0o7777);
        let path_word = quote(path.as_bytes());
        for (field, value) in
            [("mode", format!("0{mode:o}")), ("uid", uid.to_string()), ("gid", gid.to_string())]
        {
            self.line(path, &[b"sif ", &path_word, b" ", field.as_bytes(), b" ", value.as_bytes()])?;
        }
        Ok(())
    }

    fn line(&mut self, path: &FilePath, parts: &[&[u8]]) -> Result<(), Untellable> {
        let line = parts.concat();
        if line.len() > LINE_MAX_BYTES || is_untellable(&line) {
            return Err(Untellable(path.clone()));
        }
        self.lines.extend_from_slice(&line);
        self.lines.push(b'\n');
        Ok(())
    }
}

fn quote(word: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(word.len() + 2);
    quoted.push(b'"');
    for byte in word {
        if *byte == b'"' {
            quoted.push(b'"');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> FilePath {
        FilePath::new(bytes).unwrap()
    }

    #[test]
    fn names_stay_single_words() {
        let mut script = Script::default();
        script.make_directory(&path(b"/a \"b\""), Owner { uid: 0, gid: 0, mode: 0o755 }).unwrap();
        script.write(&path(b"/a \"b\"/<12>"), b"x", Owner { uid: 70_000, gid: 5, mode: 0o4755 }).unwrap();
        script.link(&path(b"/l"), b"to \"").unwrap();
        script.remove(&path(b"/\xff")).unwrap();
        let (lines, inputs) = script.done();
        assert_eq!(inputs.len(), 1);
        let expected = b"cd \"/\"\nmkdir \"/a \"\"b\"\"\"\nsif \"/a \"\"b\"\"\" mode 040755\nsif \"/a \"\"b\"\"\" uid 0\n\
            sif \"/a \"\"b\"\"\" gid 0\ncd \"/a \"\"b\"\"/\"\nwrite /view/0 \"<12>\"\n\
            sif \"/a \"\"b\"\"/<12>\" mode 0104755\nsif \"/a \"\"b\"\"/<12>\" uid 70000\nsif \"/a \"\"b\"\"/<12>\" gid 5\n\
            cd \"/\"\nsymlink \"/l\" \"to \"\"\"\ncd \"/\"\nrm \"/\xff\"\n";
        assert_eq!(lines.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn what_would_be_another_line_is_refused() {
        let mut script = Script::default();
        for bad in [&b"/a\nrm /etc/passwd"[..], b"/a\r", &[b"/".as_slice(), &[b'x'; 8000]].concat()] {
            assert_eq!(script.remove(&path(bad)), Err(Untellable(path(bad))));
        }
        assert!(script.link(&path(b"/a"), b"b\nrm /etc/passwd").is_err());
        assert!(script.done().0.is_empty());
    }
}
