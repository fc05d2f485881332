//! What a new file has of the one whose place it takes: extended attributes (SELinux' label, ACLs), the flags that
//! chattr(1) sets, when it was made. What had no forerunner has its directory's label, as a policy mostly has it.
//!
//! Not kept is what is only true of the old bytes: capabilities, IMA's and EVM's sums, the time of the last write.

use std::collections::BTreeMap;

use lodge_model::guest_disk::{FilePath, Owner};

use crate::fs::{
    FsError,
    ext::{
        attributes::{self, Attribute},
        inode::{FLAG_EXTENTS, Inode},
        plain::Plain,
    },
};

const LABEL: &[u8] = b"security.selinux";
const ACL: &[u8] = b"system.posix_acl_access";
const OF_THE_BYTES: [&[u8]; 3] = [b"security.capability", b"security.ima", b"security.evm"];
/// sync, immutable, append only, no dump, no access times.
const FLAGS: u32 = 0xF8;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_INLINE_DATA: u32 = 0x8000;

/// The attributes in a block of their own of what is at `path`, if its last name goes with this one. `taken`: names that
/// are gone by then, by inode.
pub(super) fn released(
    plain: &Plain,
    path: &FilePath,
    taken: &mut BTreeMap<u32, u16>,
) -> Result<Vec<Attribute>, FsError> {
    let inode = match plain.find(path) {
        // It comes and goes with this script.
        Err(FsError::NotFound | FsError::NotADirectory) => return Ok(Vec::new()),
        found => found?,
    };
    if inode.attributes_block()? == 0 {
        return Ok(Vec::new());
    }
    let gone = taken.entry(inode.number).or_default();
    *gone = gone.saturating_add(1);
    if !inode.is_directory()? && *gone < inode.links()? {
        return Ok(Vec::new());
    }
    attributes::of(&plain.volume, &inode)
}

/// What is kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub attributes: Vec<Attribute>,
    /// All of the new inode's, where there is any to be kept.
    pub flags: Option<u32>,
    /// In seconds since 1970.
    pub made: Option<u32>,
}

impl Kept {
    /// Of what is at `path`; `owner`: a plain file will be there.
    pub fn of(plain: &Plain, path: &FilePath, owner: Option<Owner>) -> Result<Self, FsError> {
        let inode = match plain.find(path) {
            Ok(inode) => inode,
            Err(FsError::NotFound | FsError::NotADirectory) => return Self::of_directory(plain, path),
            Err(error) => return Err(error),
        };
        let mut attributes = attributes::of(&plain.volume, &inode)?;
        let Some(owner) = owner.filter(|_| inode.is_file().is_ok_and(|is_file| is_file)) else {
            attributes.retain(|(name, _)| name == LABEL);
            return Ok(Self { attributes, ..Self::default() });
        };
        // An ACL says what the mode says, and more; whoever gives another mode means that.
        let has_acl = inode.mode()? & 0o7777 == owner.mode & 0o7777;
        attributes.retain(|(name, _)| {
            !OF_THE_BYTES.contains(&name.as_slice()) && (has_acl || name.as_slice() != ACL)
        });
        let flags = inode.flags()? & FLAGS;
        // Whether the new one lies in its inode is debugfs' affair, and stands among the flags.
        if flags != 0 && plain.volume.incompat & INCOMPAT_INLINE_DATA != 0 {
            let what = "a file with flags of chattr(1), where files may lie in their inodes (inline_data)";
            return Err(FsError::Unsupported(what.to_owned()));
        }
        let extents = if plain.volume.incompat & INCOMPAT_EXTENTS == 0 { 0 } else { FLAG_EXTENTS };
        let flags = (flags != 0).then_some(flags | extents);
        Ok(Self { attributes, flags, made: inode.made()?.filter(|made| *made <= i32::MAX.cast_unsigned()) })
    }

    /// The label of the nearest directory that is there already.
    fn of_directory(plain: &Plain, path: &FilePath) -> Result<Self, FsError> {
        let parts: Vec<&[u8]> = path.parts().collect();
        for depth in (0..parts.len()).rev() {
            let above =
                parts[..depth].iter().flat_map(|part| [b"/".as_slice(), part].concat()).collect::<Vec<u8>>();
            let above = if above.is_empty() { b"/".to_vec() } else { above };
            let above = FilePath::new(above).map_err(|_| FsError::NotFound)?;
            let inode = match plain.find(&above) {
                Err(FsError::NotFound | FsError::NotADirectory) => continue,
                found => found?,
            };
            let mut attributes = attributes::of(&plain.volume, &inode)?;
            attributes.retain(|(name, _)| name == LABEL);
            return Ok(Self { attributes, ..Self::default() });
        }
        Ok(Self::default())
    }

    /// Whether a file has all of this; else what it lacks.
    pub fn check(&self, plain: &Plain, path: &FilePath) -> Result<Result<(), String>, FsError> {
        let inode: Inode = plain.find(path)?;
        let there = attributes::of(&plain.volume, &inode)?;
        if let Some((name, _)) = self.attributes.iter().find(|attribute| !there.contains(attribute)) {
            let name = name.escape_ascii();
            return Ok(Err(format!("its extended attribute {name} is not as it was")));
        }
        let flags = inode.flags()?;
        let made = inode.made()?;
        Ok(if self.flags.is_some_and(|wanted| flags != wanted) {
            Err("its flags are not as they were".to_owned())
        } else if self.made.is_some() && made.is_some() && made != self.made {
            Err("it is not as old as it was".to_owned())
        } else {
            Ok(())
        })
    }
}
