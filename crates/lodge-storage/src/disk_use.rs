//! What a domain's document says of its disks' bytes, and nothing else of it.

use std::path::PathBuf;

use lodge_model::domain::{
    Domain,
    disk::{BackingStore, Disk, DiskDevice, DiskSource, SourceKind, StartupPolicy},
};

use crate::{
    claims::Use,
    error::StorageError,
    file::Access,
    format::{Format, UnknownFormat},
    pool::error::PoolError,
};

/// How a domain uses one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUse {
    /// The disk's target, as `vda`.
    pub target: String,
    /// Its file or block device; none: an empty drive, or what is no local file.
    pub path: Option<PathBuf>,
    /// The file's format.
    pub format: Format,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// Other guests may write to it at the same time.
    pub shareable: bool,
    /// Without the file the guest starts with an empty drive (`startupPolicy='optional'`).
    pub optional: bool,
    /// Files that `<backingStore>` names: the document vouches for them.
    pub backing: Vec<PathBuf>,
    /// After so many files the chain goes on with a server's image, as the document says.
    pub served_after: Option<usize>,
    /// Which of its files are encrypted, as the document says by `<encryption>`, the top one first.
    pub locked: Vec<bool>,
}

impl DiskUse {
    /// The disks of a document. `place` says where a pool's volume lies, by both names.
    pub fn of(document: &Domain, place: &PlaceOf<'_>) -> Result<Vec<Self>, StorageError> {
        document.devices.disks.iter().map(|disk| Self::of_disk(disk, place)).collect()
    }

    fn of_disk(disk: &Disk, place: &PlaceOf<'_>) -> Result<Self, StorageError> {
        let path = local_path(disk, place)?;
        let format = match (&path, disk.format().parse()) {
            (_, Ok(format)) => format,
            // No file of ours: the word is QEMU's matter.
            (None, Err(_)) => Format::Raw,
            (Some(path), Err(UnknownFormat(format))) => {
                return Err(StorageError::UnsupportedFormat { path: path.clone(), format });
            }
        };
        let source = disk.source.as_deref();
        let served = disk.served_layers();
        Ok(Self {
            target: disk.target.dev.clone(),
            path,
            format,
            read_only: disk.readonly || disk.device == DiskDevice::Cdrom,
            shareable: disk.shareable,
            optional: source.is_some_and(|s| s.startup_policy == Some(StartupPolicy::Optional)),
            backing: backing_files(disk.backing_store.as_deref()),
            served_after: (!served.images.is_empty() && served.local > 0).then_some(served.local),
            locked: disk.encryption_trees().iter().map(Option::is_some).collect(),
        })
    }

    pub(crate) fn access(&self) -> Access {
        if self.read_only { Access::Read } else { Access::Write }
    }

    /// How the domain uses the top file.
    pub(crate) fn usage(&self) -> Use {
        match (self.read_only, self.shareable) {
            (true, _) => Use::Read,
            (false, true) => Use::WriteShared,
            (false, false) => Use::Write,
        }
    }
}

/// Where a pool's volume lies.
pub type PlaceOf<'a> = dyn Fn(&str, &str) -> Result<PathBuf, PoolError> + 'a;

fn local_path(disk: &Disk, place: &PlaceOf<'_>) -> Result<Option<PathBuf>, StorageError> {
    match disk.kind {
        SourceKind::File | SourceKind::Block => Ok(disk.path().map(PathBuf::from)),
        SourceKind::Volume => disk.source.as_deref().map_or(Ok(None), |source| volume_path(source, place)),
        SourceKind::Dir
        | SourceKind::Network
        | SourceKind::Nvme
        | SourceKind::VhostUser
        | SourceKind::VhostVdpa => Ok(None),
    }
}

fn volume_path(source: &DiskSource, place: &PlaceOf<'_>) -> Result<Option<PathBuf>, StorageError> {
    let (Some(pool), Some(volume)) = (source.pool.as_deref(), source.volume.as_deref()) else {
        return Ok(None);
    };
    match place(pool, volume) {
        Ok(path) => Ok(Some(path)),
        Err(_) if source.startup_policy == Some(StartupPolicy::Optional) => Ok(None),
        Err(error) => Err(StorageError::Volume { source: Box::new(error) }),
    }
}

fn backing_files(store: Option<&BackingStore>) -> Vec<PathBuf> {
    let stores = std::iter::successors(store, |store| store.backing_store.as_deref());
    let files = stores.filter_map(|store| {
        let source = store.source.as_deref()?;
        source.file.as_deref().or(source.dev.as_deref()).map(PathBuf::from)
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn disks(xml: &str) -> Result<Vec<DiskUse>, StorageError> {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices>{xml}</devices></domain>"
        );
        let document = Domain::parse(&text).unwrap();
        let place = |pool: &str, volume: &str| match pool {
            "default" => Ok(PathBuf::from("/pool").join(volume)),
            _ => Err(PoolError::State(format!("storage pool '{pool}' is not there"))),
        };
        DiskUse::of(&document, &place)
    }

    #[test]
    fn files_volumes_and_empty_drives() {
        let disks = disks(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
               <source file='/a.qcow2'/>\
               <backingStore type='file'><format type='raw'/><source file='/b.raw'/></backingStore>\
               <target dev='vda' bus='virtio'/></disk>\
             <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>\
             <disk type='volume' device='disk'><source pool='default' volume='v'/>\
               <target dev='vdb' bus='virtio'/><shareable/></disk>",
        )
        .unwrap();
        assert_eq!(disks[0].path.as_deref(), Some(Path::new("/a.qcow2")));
        assert_eq!(disks[0].format, Format::Qcow2);
        assert_eq!(disks[0].backing, [PathBuf::from("/b.raw")]);
        assert_eq!((disks[1].path.as_deref(), disks[1].read_only), (None, true));
        assert_eq!(disks[2].path.as_deref(), Some(Path::new("/pool/v")));
        assert!(disks[2].shareable);
    }

    #[test]
    fn files_end_where_a_servers_images_begin() {
        let served = "<backingStore type='network'><format type='raw'/><source protocol='nbd'>\
                      <host name='h'/></source></backingStore>";
        let disks = disks(&format!(
            "<disk type='file'><driver type='qcow2'/><source file='/a'/>{served}<target dev='vda' bus='virtio'/></disk>\
             <disk type='network'><source protocol='nbd'><host name='h'/></source>{served}\
               <target dev='vdb' bus='virtio'/></disk>"
        ))
        .unwrap();
        assert_eq!((disks[0].served_after, disks[1].served_after), (Some(1), None));
        assert_eq!(disks[1].path, None);
    }

    #[test]
    fn a_volume_of_a_pool_that_is_not_there_is_told_unless_it_is_optional() {
        let disk = |policy: &str| {
            disks(&format!(
                "<disk type='volume' device='disk'><source pool='p' volume='v'{policy}/>\
                   <target dev='vdb' bus='virtio'/></disk>"
            ))
        };
        assert_eq!(disk("").unwrap_err().to_string(), "storage pool 'p' is not there");
        assert_eq!(disk(" startupPolicy='optional'").unwrap()[0].path, None);
    }

    #[test]
    fn a_format_nobody_handles_is_told_with_its_file() {
        let error = disks(
            "<disk type='file' device='disk'><driver name='qemu' type='vmdk'/>\
               <source file='/a'/><target dev='vda' bus='virtio'/></disk>",
        );
        let text = error.unwrap_err().to_string();
        assert_eq!(text, "disk `/a` has format `vmdk`, which is not supported");
    }
}
