//! What is known of one volume, and libvirt's document of it.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use lodge_model::{
    Bytes,
    domain::disk::ImageFormat,
    storage::{
        Amount, ClusterSize, Encryption, Extent, Permissions, StorageTarget, Timestamps, Volume as Document,
        VolumeDevice, VolumeFeatures, VolumeSource,
    },
    xml::WriteOptions,
};

use super::kind::VolumeFormat;

/// What a volume is on the host. The numbers are libvirt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeKind {
    /// A file.
    File = 0,
    /// A block device.
    Block = 1,
    /// A directory.
    Dir = 2,
}

impl VolumeKind {
    /// libvirt's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Block => "block",
            Self::Dir => "dir",
        }
    }
}

/// Whose a file is, and who may what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Permission bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Owner {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() }
    }

    pub(crate) fn permissions(self) -> Permissions {
        Permissions {
            mode: Some(format!("{:04o}", self.mode)),
            owner: Some(self.uid.into()),
            group: Some(self.gid.into()),
            ..Permissions::default()
        }
    }
}

/// A moment: seconds and nanoseconds since 1970.
pub type Moment = (i64, i64);

/// When a file was read, written, changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Last read.
    pub read: Moment,
    /// Last written.
    pub written: Moment,
    /// Last changed.
    pub changed: Moment,
}

impl Times {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            read: (metadata.atime(), metadata.atime_nsec()),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn document(self) -> Timestamps {
        let text = |(seconds, nanoseconds): Moment| match nanoseconds {
            0 => seconds.to_string(),
            nanoseconds => format!("{seconds}.{nanoseconds:09}"),
        };
        Timestamps {
            atime: Some(text(self.read)),
            mtime: Some(text(self.written)),
            ctime: Some(text(self.changed)),
            // As libvirt, which does not ask for it.
            btime: Some("0".to_owned()),
            ..Timestamps::default()
        }
    }
}

/// A qcow2's optional features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Reference counts are written late.
    pub lazy_refcounts: bool,
    /// Clusters have 32 parts.
    pub extended_l2: bool,
}

/// The file a volume stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingFacts {
    /// Where it lies; what is no local file: the name in the header.
    pub path: PathBuf,
    /// Its format, as the header says or as it looks.
    pub format: VolumeFormat,
    /// Whose it is; none: it cannot be looked at.
    pub owner: Option<Owner>,
    /// Its times; none as above.
    pub times: Option<Times>,
}

/// Where a volume lies on a device, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtentOf {
    /// The device.
    pub device: String,
    /// The part of it.
    pub extent: Extent,
}

/// What there is to know of a volume that is a device: a logical volume, a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFacts {
    /// libvirt's key, where that is not the path.
    pub key: Option<String>,
    /// The word for its content; none: this type of pool has none.
    pub format: Option<String>,
    /// Where it lies.
    pub extents: Vec<ExtentOf>,
    /// Its number, of a partition.
    pub part: Option<u32>,
}

/// Tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub changed: Moment,
    pub written: Moment,
    pub length: u64,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            length: metadata.size(),
        }
    }
}

/// A volume of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolVolume {
    /// Its name: the file's.
    pub name: String,
    /// Its file, which is its key as well.
    pub path: PathBuf,
    /// What it is on the host.
    pub kind: VolumeKind,
    /// What its bytes look like.
    pub format: VolumeFormat,
    /// The disk's size as a guest sees it, in bytes.
    pub capacity: u64,
    /// What it takes on the host, in bytes.
    pub allocation: u64,
    /// The file's length.
    pub physical: u64,
    /// Whose it is.
    pub owner: Owner,
    /// Its times.
    pub times: Times,
    /// qcow2: `1.1` for version 3.
    pub compat: Option<String>,
    /// qcow2: bytes of a cluster.
    pub cluster_bytes: Option<u64>,
    /// qcow2: features; known of version 3 only.
    pub features: Option<Features>,
    /// The file it stands on.
    pub backing: Option<BackingFacts>,
    /// It is a device of a pool of devices.
    pub block: Option<BlockFacts>,
    /// Its bytes are encrypted.
    pub encryption: Option<Encryption>,
    pub(crate) stamp: Stamp,
    /// Its header was read. A new volume shows what was asked for until the next refresh, as libvirt has it.
    pub(crate) is_probed: bool,
}

impl PoolVolume {
    /// libvirt's key of it.
    pub fn key(&self) -> String {
        let own = self.block.as_ref().and_then(|block| block.key.clone());
        own.unwrap_or_else(|| self.path.to_string_lossy().into_owned())
    }

    /// What it shows for its format: of a device its pool's word, or nothing.
    fn format_word(&self) -> Option<&str> {
        match &self.block {
            Some(block) => block.format.as_deref(),
            None => Some(self.format.as_str()),
        }
    }

    fn source(&self) -> Option<VolumeSource> {
        let block = self.block.as_ref().filter(|block| !block.extents.is_empty())?;
        let mut devices: Vec<VolumeDevice> = Vec::new();
        for ExtentOf { device, extent } in &block.extents {
            match devices.last_mut().filter(|last| last.path.as_deref() == Some(device)) {
                Some(last) => last.extents.push(*extent),
                None => devices.push(VolumeDevice {
                    path: Some(device.clone()),
                    extents: vec![*extent],
                    ..VolumeDevice::default()
                }),
            }
        }
        Some(VolumeSource { devices, ..VolumeSource::default() })
    }

    fn target_of(&self, backing: &BackingFacts) -> StorageTarget {
        // libvirt's word for what a logical volume stands on.
        let format = if self.block.is_some() { "lvm2" } else { backing.format.as_str() };
        target(&backing.path, Some(format), backing.owner, backing.times)
    }

    /// The format it was made with here; none: its bytes were looked at, which a guest may have written.
    pub fn declared_format(&self) -> Option<VolumeFormat> {
        (!self.is_probed).then_some(self.format)
    }

    /// libvirt's document of it.
    pub fn xml(&self) -> String {
        let amount = |bytes: u64| Some(Amount(Bytes(bytes)));
        let target = StorageTarget {
            compat: self.compat.clone(),
            cluster_size: self.cluster_bytes.map(|bytes| ClusterSize(Bytes(bytes))),
            features: self.features.map(|features| VolumeFeatures {
                lazy_refcounts: features.lazy_refcounts,
                extended_l2: features.extended_l2,
                ..VolumeFeatures::default()
            }),
            encryption: self.encryption.clone().map(Box::new),
            ..target(&self.path, self.format_word(), Some(self.owner), Some(self.times))
        };
        let document = Document {
            kind: Some(self.kind.as_str().to_owned()),
            name: self.name.clone(),
            key: Some(self.key()),
            source: self.source(),
            capacity: amount(self.capacity),
            allocation: amount(self.allocation),
            physical: amount(self.physical).filter(|_| self.physical > 0 && self.kind != VolumeKind::Dir),
            target: Some(Box::new(target)),
            backing_store: self.backing.as_ref().map(|backing| Box::new(self.target_of(backing))),
            ..Document::default()
        };
        document.to_xml(&WriteOptions::default())
    }
}

fn target(path: &Path, format: Option<&str>, owner: Option<Owner>, times: Option<Times>) -> StorageTarget {
    StorageTarget {
        path: Some(path.to_string_lossy().into_owned()),
        format: format.map(|word| ImageFormat { kind: word.to_owned(), ..ImageFormat::default() }),
        permissions: owner.map(Owner::permissions),
        timestamps: times.map(Times::document),
        ..StorageTarget::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_libvirts() {
        let owner = Owner { mode: 0o600, uid: 0, gid: 0 };
        let moment = (1_795_191_745, 5_345);
        let times = Times { read: moment, written: moment, changed: (7, 0) };
        let volume = PoolVolume {
            name: "v".to_owned(),
            path: "/p/v".into(),
            kind: VolumeKind::File,
            format: VolumeFormat::Qcow2,
            capacity: 1024,
            allocation: 200_704,
            physical: 196_616,
            owner,
            times,
            compat: Some("1.1".to_owned()),
            cluster_bytes: Some(65536),
            features: Some(Features { lazy_refcounts: true, extended_l2: false }),
            backing: Some(BackingFacts {
                path: "/p/b".into(),
                format: VolumeFormat::Raw,
                owner: None,
                times: None,
            }),
            block: None,
            encryption: None,
            stamp: Stamp::default(),
            is_probed: true,
        };
        expect_test::expect![[r"
            <volume type='file'>
              <name>v</name>
              <key>/p/v</key>
              <capacity unit='bytes'>1024</capacity>
              <allocation unit='bytes'>200704</allocation>
              <physical unit='bytes'>196616</physical>
              <target>
                <path>/p/v</path>
                <format type='qcow2'/>
                <permissions>
                  <mode>0600</mode>
                  <owner>0</owner>
                  <group>0</group>
                </permissions>
                <timestamps>
                  <atime>1795191745.000005345</atime>
                  <mtime>1795191745.000005345</mtime>
                  <ctime>7</ctime>
                  <btime>0</btime>
                </timestamps>
                <compat>1.1</compat>
                <clusterSize unit='B'>65536</clusterSize>
                <features>
                  <lazy_refcounts/>
                </features>
              </target>
              <backingStore>
                <path>/p/b</path>
                <format type='raw'/>
              </backingStore>
            </volume>
        "]]
        .assert_eq(&volume.xml());
    }
}
