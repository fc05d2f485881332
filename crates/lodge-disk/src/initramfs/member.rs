//! The members of archives, one after the other: which have the words, and what is there of them in the end.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufRead},
};

use aho_corasick::AhoCorasick;
use lodge_model::guest_disk::{FileNode, FilePath, Owner};

use super::Fault;

/// What is kept, and of one file.
pub(super) const KEPT_MAX: usize = 4096;
const KEPT_BYTES_MAX: usize = 16 << 20;
const FILE_BYTES_MAX: usize = 256 << 10;
/// Of files with several names, which are known when the last of them has come.
const LINKED_BYTES_MAX: usize = 64 << 20;
/// Of all archives together.
const MEMBERS_MAX: usize = 500_000;
const UNPACKED_BYTES_MAX: u64 = 2 << 30;
/// As the kernel's `PATH_MAX`, with the NUL.
const NAME_BYTES_MAX: usize = 4096;
const WORDS_MAX: usize = 4096;
const WORD_BYTES_MAX: usize = 256;
const HEADER_BYTES: usize = 110;
const PIECE_BYTES: usize = 64 << 10;
const TRAILER: &[u8] = b"TRAILER!!!";

/// Kinds of members, as of inodes.
const KIND: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DIRECTORY: u32 = 0o040_000;

/// What was found so far.
pub(super) struct Members {
    words: AhoCorasick,
    longest: usize,
    kept: BTreeMap<FilePath, FileNode>,
    kept_bytes: usize,
    count: usize,
    bytes: u64,
}

/// A file with several names: archives have its bytes with one of them, mostly the last.
#[derive(Default)]
struct Linked {
    names: Vec<FilePath>,
    /// What it is, and whether that has a word; none: it has not come yet.
    content: Option<(FileNode, bool)>,
}

/// Bytes of archives, and where in them we are.
pub(super) struct Unpacked<R> {
    from: R,
    at: u64,
    linked: HashMap<(u32, u32, u32), Linked>,
    linked_bytes: usize,
}

/// A header, field by field.
struct Header {
    inode: (u32, u32, u32),
    mode: u32,
    owner: Owner,
    links: u32,
    size: u32,
    name_size: usize,
}

impl Members {
    /// None: there are more words, or longer ones, than are looked for.
    pub fn new(words: &[String]) -> Option<Self> {
        let longest = words.iter().map(String::len).max().unwrap_or_default();
        if words.len() > WORDS_MAX || longest > WORD_BYTES_MAX || words.iter().any(String::is_empty) {
            return None;
        }
        let words = AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok()?;
        Some(Self { words, longest, kept: BTreeMap::new(), kept_bytes: 0, count: 0, bytes: 0 })
    }

    pub fn done(self) -> BTreeMap<FilePath, FileNode> {
        self.kept
    }

    fn has_word(&self, bytes: &[u8]) -> bool {
        self.words.is_match(bytes)
    }

    /// This is at the path from now on.
    fn put(&mut self, path: &FilePath, node: &FileNode, has_word: bool) -> Result<(), Fault> {
        if let Some(before) = self.kept.remove(path) {
            self.kept_bytes = self.kept_bytes.saturating_sub(weight(&before));
        }
        if !has_word && !self.has_word(path.as_bytes()) {
            return Ok(());
        }
        self.kept_bytes += weight(node);
        if self.kept.len() >= KEPT_MAX || self.kept_bytes > KEPT_BYTES_MAX {
            return Err(Fault::TooMuch("files that name what is looked for"));
        }
        self.kept.insert(path.clone(), node.clone());
        Ok(())
    }
}

fn weight(node: &FileNode) -> usize {
    match node {
        FileNode::File { bytes, .. } | FileNode::Link(bytes) => bytes.len(),
        FileNode::Directory(_) | FileNode::Other => 0,
    }
}

impl<R: BufRead> Unpacked<R> {
    /// At this place of the file, or of what is packed in it.
    pub fn new(from: R, at: u64) -> Self {
        Self { from, at, linked: HashMap::new(), linked_bytes: 0 }
    }

    /// How many bytes were read.
    pub fn position(&self) -> u64 {
        self.at
    }

    fn damaged(&self, why: &'static str) -> Fault {
        Fault::Damaged { at: self.at, why }
    }

    /// Goes to the next byte that is not zero. False: there is none.
    pub fn skip_zeros(&mut self) -> Result<bool, Fault> {
        loop {
            let at = self.at;
            let buffer = self.from.fill_buf().map_err(|source| Fault::Read { at, source })?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
            let is_over = zeros < buffer.len();
            self.from.consume(zeros);
            self.at += zeros as u64;
            if is_over {
                return Ok(true);
            }
            if self.at > UNPACKED_BYTES_MAX {
                return Err(Fault::TooMuch("bytes"));
            }
        }
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), Fault> {
        let at = self.at;
        self.from.read_exact(into).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Damaged { at, why: "it ends in the middle of a member" },
            _ => Fault::Read { at, source },
        })?;
        self.at += into.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), Fault> {
        let mut padding = [0; 3];
        let length = usize::try_from(self.at.next_multiple_of(4) - self.at).unwrap_or_default();
        self.fill(&mut padding[..length])
    }

    /// All members of one archive.
    pub fn archive(&mut self, members: &mut Members) -> Result<(), Fault> {
        self.linked.clear();
        self.linked_bytes = 0;
        loop {
            if !self.at.is_multiple_of(4) {
                return Err(self.damaged("a member begins at no multiple of four"));
            }
            let header = self.header()?;
            members.count += 1;
            members.bytes += u64::from(header.size) + HEADER_BYTES as u64;
            if members.count > MEMBERS_MAX || members.bytes > UNPACKED_BYTES_MAX {
                return Err(Fault::TooMuch("files"));
            }
            let mut name = vec![0; header.name_size];
            self.fill(&mut name)?;
            self.pad()?;
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            self.member(name, &header, members)?;
            if name == TRAILER {
                return Ok(());
            }
            // Without a trailer the file's end, or zeros, end it too.
            if !self.skip_zeros()? {
                return Ok(());
            }
        }
    }

    fn header(&mut self) -> Result<Header, Fault> {
        let mut bytes = [0; HEADER_BYTES];
        self.fill(&mut bytes)?;
        let (magic, rest) = bytes.split_at(6);
        if !matches!(magic, b"070701" | b"070702") {
            return Err(self.damaged("a member has no header"));
        }
        let mut fields = [0; 13];
        for (field, digits) in fields.iter_mut().zip(rest.chunks_exact(8)) {
            let is_number = digits.iter().all(u8::is_ascii_hexdigit);
            let digits = std::str::from_utf8(digits).ok().filter(|_| is_number);
            let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            *field = number.ok_or_else(|| self.damaged("a field of a header is no number"))?;
        }
        let [inode, mode, uid, gid, links, _, size, major, minor, _, _, name_size, _] = fields;
        let name_size = usize::try_from(name_size).ok().filter(|size| (1..=NAME_BYTES_MAX).contains(size));
        let name_size = name_size.ok_or_else(|| self.damaged("a name is too long"))?;
        let permissions = u16::try_from(mode & 0o7777).unwrap_or_default();
        let owner = Owner { uid, gid, mode: permissions };
        Ok(Header { inode: (inode, major, minor), mode, owner, links, size, name_size })
    }

    fn member(&mut self, name: &[u8], header: &Header, members: &mut Members) -> Result<(), Fault> {
        let path = path_of(name);
        let is_named = members.has_word(name);
        let (node, mut has_word) = match header.mode & KIND {
            FILE => self.file(header, members)?,
            LINK => {
                if header.size as usize > NAME_BYTES_MAX {
                    return Err(self.damaged("a link points too far"));
                }
                let mut to = vec![0; header.size as usize];
                self.fill(&mut to)?;
                let has_word = members.has_word(&to);
                (FileNode::Link(to), has_word)
            }
            kind => {
                self.skip(header.size)?;
                let is_directory = kind == DIRECTORY;
                (if is_directory { FileNode::Directory(header.owner) } else { FileNode::Other }, false)
            }
        };
        self.pad()?;
        let is_linked = header.mode & KIND == FILE && header.links > 1;
        let Some(path) = path else {
            // The kernel would put it somewhere, and nobody here knows where.
            let is_strange = !matches!(name, b"." | b"" | b"/") && name != TRAILER && !is_linked;
            if is_strange && (is_named || has_word) {
                return Err(self.damaged("what names what is looked for has a path that is none"));
            }
            return Ok(());
        };
        if !is_linked {
            return members.put(&path, &node, has_word);
        }
        let linked = self.linked.entry(header.inode).or_default();
        linked.names.push(path);
        let mut node = node;
        match &linked.content {
            Some((content, content_has)) if header.size == 0 => {
                (node, has_word) = (content.clone(), *content_has);
            }
            _ if header.size > 0 => {
                self.linked_bytes += weight(&node);
                linked.content = Some((node.clone(), has_word));
            }
            _ => {}
        }
        if self.linked_bytes > LINKED_BYTES_MAX {
            return Err(Fault::TooMuch("files with several names"));
        }
        // Those that came before had no bytes yet.
        let names = if header.size > 0 { &linked.names[..] } else { &linked.names[linked.names.len() - 1..] };
        names.iter().try_for_each(|name| members.put(name, &node, has_word))
    }

    /// A file's bytes: its beginning, and whether a word is anywhere in it.
    fn file(&mut self, header: &Header, members: &Members) -> Result<(FileNode, bool), Fault> {
        let size = header.size as usize;
        let mut kept = Vec::new();
        let mut has_word = false;
        // What was before ends the window, so that no word is cut in two.
        let (mut window, mut left) = (Vec::new(), size);
        while left > 0 {
            let overlap = window.len().min(members.longest.saturating_sub(1));
            window.drain(..window.len() - overlap);
            let piece = left.min(PIECE_BYTES);
            window.resize(overlap + piece, 0);
            self.fill(&mut window[overlap..])?;
            left -= piece;
            has_word = has_word || members.has_word(&window);
            let room = FILE_BYTES_MAX.saturating_sub(kept.len()).min(piece);
            kept.extend_from_slice(&window[overlap..overlap + room]);
        }
        Ok((FileNode::File { bytes: kept, size: size as u64, owner: header.owner }, has_word))
    }

    fn skip(&mut self, size: u32) -> Result<(), Fault> {
        let mut left = size as usize;
        let mut piece = vec![0; left.min(PIECE_BYTES)];
        while left > 0 {
            let length = left.min(piece.len());
            self.fill(&mut piece[..length])?;
            left -= length;
        }
        Ok(())
    }
}

/// Where a name is unpacked to. None: the root itself, or a way that is not plain.
fn path_of(name: &[u8]) -> Option<FilePath> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let path: Vec<u8> = parts.flat_map(|part| [b"/".as_slice(), part].concat()).collect();
    if path.is_empty() { None } else { FilePath::new(path).ok() }
}
