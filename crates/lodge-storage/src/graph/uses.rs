//! The files that a domain's document names. Pure.
//!
//! Unlike [`crate::DiskUse`] nothing is refused here: a disk of a format nobody can start still needs its bytes.

use std::path::PathBuf;

use lodge_model::domain::{
    Domain,
    disk::{BackingStore, Disk, DiskDevice, SourceKind},
};

use crate::{
    disk_use::PlaceOf,
    ports::{FileUse, Part},
};

/// The files of a document. `place` says where a pool's volume lies; one it does not know is left out.
pub fn files_of(document: &Domain, place: &PlaceOf<'_>) -> Vec<FileUse> {
    let mut files = Vec::new();
    for disk in &document.devices.disks {
        files.extend(disk_file(disk, place));
        let below =
            std::iter::successors(disk.backing_store.as_deref(), |store| store.backing_store.as_deref());
        files.extend(below.filter_map(|store| backing_file(store, &disk.target.dev)));
    }
    let os = &document.os;
    let named = [
        (os.loader.as_deref().and_then(|loader| loader.path.as_deref()), Part::Loader, false),
        (os.nvram.as_deref().and_then(|nvram| nvram.file()), Part::Nvram, true),
        (os.kernel.as_deref(), Part::Kernel, false),
        (os.initrd.as_deref(), Part::Initrd, false),
        (os.dtb.as_deref(), Part::Dtb, false),
    ];
    let named = named.into_iter().filter(|(path, ..)| path.is_some_and(|path| path.starts_with('/')));
    files.extend(named.filter_map(|(path, part, writes)| Some(FileUse::plain(path?, part, writes))));
    files
}

fn disk_file(disk: &Disk, place: &PlaceOf<'_>) -> Option<FileUse> {
    let path = match disk.kind {
        SourceKind::File | SourceKind::Block => disk.path().map(PathBuf::from),
        SourceKind::Volume => {
            let source = disk.source.as_deref()?;
            place(source.pool.as_deref()?, source.volume.as_deref()?).ok()
        }
        SourceKind::Dir
        | SourceKind::Network
        | SourceKind::Nvme
        | SourceKind::VhostUser
        | SourceKind::VhostVdpa => None,
    }?;
    Some(FileUse {
        path,
        part: Part::Disk(disk.target.dev.clone()),
        format: Some(disk.format().to_owned()),
        writes: !disk.readonly && disk.device != DiskDevice::Cdrom,
        shareable: disk.shareable,
    })
}

fn backing_file(store: &BackingStore, target: &str) -> Option<FileUse> {
    let source = store.source.as_deref()?;
    let path = source.file.as_deref().or(source.dev.as_deref())?;
    Some(FileUse::plain(path, Part::Backing(target.to_owned()), false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::error::PoolError;

    #[test]
    fn every_file_of_a_document_is_named_once() {
        let text = "<domain type='qemu'><name>a</name><memory>1</memory>\
            <os><type>hvm</type><loader type='pflash'>/ovmf</loader><nvram>/nv</nvram><kernel>/k</kernel>\
              <initrd>/i</initrd></os>\
            <devices>\
              <disk type='file' device='disk'><driver type='qcow2'/><source file='/a.qcow2'/>\
                <backingStore type='file'><format type='raw'/><source file='/b'/></backingStore>\
                <target dev='vda'/></disk>\
              <disk type='file' device='cdrom'><source file='/c.iso'/><target dev='sda'/></disk>\
              <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdb'/><shareable/></disk>\
              <disk type='volume' device='disk'><source pool='gone' volume='v'/><target dev='vdc'/></disk>\
            </devices></domain>";
        let place = |pool: &str, volume: &str| match pool {
            "p" => Ok(PathBuf::from("/p").join(volume)),
            _ => Err(PoolError::State("gone".to_owned())),
        };
        let files = files_of(&Domain::parse(text).unwrap(), &place);
        let shown: Vec<_> = files
            .iter()
            .map(|file| format!("{} {} {} {}", file.path.display(), file.part, file.writes, file.shareable))
            .collect();
        assert_eq!(
            shown,
            [
                "/a.qcow2 disk vda true false",
                "/b backing file of disk vda false false",
                "/c.iso disk sda false false",
                "/p/v disk vdb true true",
                "/ovmf firmware false false",
                "/nv NVRAM true false",
                "/k kernel false false",
                "/i initrd false false",
            ]
        );
    }
}
