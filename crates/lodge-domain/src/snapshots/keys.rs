//! Which files of a guest only a passphrase opens, as its documents say. Pure; the passphrases themselves are storage's
//! matter.

use std::path::PathBuf;

use lodge_model::domain::Domain;
use lodge_model::domain::disk::Disk;
use lodge_model::snapshot::tree::SnapshotTree;

use crate::ports::LockedFile;

/// Those of these documents, each file once.
pub(super) fn of<'a>(documents: impl IntoIterator<Item = &'a Domain>) -> Vec<LockedFile> {
    let mut found: Vec<LockedFile> = Vec::new();
    for disk in documents.into_iter().flat_map(|document| &document.devices.disks) {
        for (path, encryption) in files(disk).into_iter().zip(disk.encryption_trees()) {
            let (Some(path), Some(encryption)) = (path, encryption) else { continue };
            if !found.iter().any(|known| known.path == path) {
                found.push(LockedFile { path, encryption: encryption.to_text() });
            }
        }
    }
    found
}

/// Those of the definition and of everything that snapshots remember.
pub(super) fn of_all(definition: Option<&Domain>, tree: &SnapshotTree) -> Vec<LockedFile> {
    let kept =
        tree.all().flat_map(|snapshot| [snapshot.domain.as_deref(), snapshot.inactive_domain.as_deref()]);
    of(definition.into_iter().chain(kept.flatten()))
}

/// The files that the document names, the disk's own first.
fn files(disk: &Disk) -> Vec<Option<PathBuf>> {
    let below = std::iter::successors(disk.backing_store.as_deref(), |at| at.backing_store.as_deref());
    let below = below.filter_map(|at| at.source.as_deref());
    let below = below.map(|source| source.file.as_deref().or(source.dev.as_deref()).map(PathBuf::from));
    std::iter::once(disk.path().map(PathBuf::from)).chain(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_and_a_disks_own_are_found_with_their_secrets() {
        let text = "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os><devices>\
            <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/2'/>\
            <backingStore type='file'><format type='qcow2'/><source file='/p/1'>\
            <encryption format='luks'><secret type='passphrase' usage='u'/></encryption></source><backingStore/>\
            </backingStore><target dev='vda' bus='virtio'/></disk>\
            <disk type='file' device='disk'><source file='/p/3'/><target dev='vdb' bus='virtio'/>\
            <encryption format='luks'><secret type='passphrase' usage='w'/></encryption></disk></devices></domain>";
        let domain = Domain::parse(text).unwrap();
        let found = of([&domain, &domain]);
        let paths: Vec<_> = found.iter().map(|file| file.path.display().to_string()).collect();
        assert_eq!(paths, ["/p/1", "/p/3"]);
        assert!(found[1].encryption.contains("usage='w'"), "{}", found[1].encryption);
    }
}
