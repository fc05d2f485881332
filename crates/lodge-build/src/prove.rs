//! The finished image, read as every guest's disk is, and proven to be nobody.
//!
//! The tree was proven before; this is about the file that clones are made of: partitions, the EFI partition's content
//! and all. It is read by the same shut-in process that reads guests' disks, through the image's own format.

use std::{fs::File, path::Path};

use lodge_disk::{
    source::{DiskImage, Layer, LayerFormat},
    worker::{Disks, Worker, WorkerProgram},
};
use lodge_identity::{Catalogue, HostFacts};

use crate::{error::BuildError, identity};

/// Fails with everything by which the image would be somebody, and with what of it cannot be read.
pub(crate) async fn prove(
    catalogue: &Catalogue,
    reader: &WorkerProgram,
    image: &Path,
) -> Result<(), BuildError> {
    let file = File::open(image).map_err(|source| BuildError::Disk {
        act: "open the image",
        path: image.to_owned(),
        source,
    })?;
    let layers = vec![Layer { file, format: LayerFormat::Qcow2 }];
    let disk = DiskImage { name: "vda".to_owned(), layers, writable: false };
    let mut worker = Worker::start(reader, vec![disk]).await?;
    let Disks { layout, mut gaps } = worker.layout().await?;
    let files = worker.files(&catalogue.wanted()).await?;
    gaps.extend(files.gaps.iter().filter(|gap| !gaps.contains(gap)).cloned().collect::<Vec<_>>());
    let mut found: Vec<String> =
        gaps.iter().map(|gap| format!("{} could not be read: {}", gap.place, gap.why)).collect();
    found.extend(identity::left(catalogue, &catalogue.read(&layout, &files, &HostFacts::default())));
    if found.is_empty() { Ok(()) } else { Err(BuildError::Identity { found }) }
}
