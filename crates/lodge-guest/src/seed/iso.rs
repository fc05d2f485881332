//! The seed's file system: ISO 9660 with Rock Ridge and Joliet, so that every guest sees the names in lower case.

use std::io::{self, Cursor};
use std::sync::Arc;

use hadris_iso::joliet::JolietLevel;
use hadris_iso::read::PathSeparator;
use hadris_iso::write::options::{BaseIsoLevel, CreationFeatures, IsoFormatOptions};
use hadris_iso::write::{File, InputFiles, IsoImageWriter};

use super::SeedError;

/// The image of a file system with these files in its root.
pub(super) fn write(label: &str, files: Vec<(&'static str, Vec<u8>)>) -> Result<Vec<u8>, SeedError> {
    let file = |(name, contents): (&str, Vec<u8>)| File::File { name: Arc::new(name.to_owned()), contents };
    let files = InputFiles {
        path_separator: PathSeparator::ForwardSlash,
        files: files.into_iter().map(file).collect(),
    };
    let features = CreationFeatures {
        filenames: BaseIsoLevel::Level1 { supports_lowercase: false, supports_rrip: true },
        ..CreationFeatures::extensions()
    };
    debug_assert!(matches!(features.joliet, Some(JolietLevel::Level3)));
    let options = IsoFormatOptions {
        volume_name: label.to_owned(),
        system_id: None,
        volume_set_id: None,
        publisher_id: None,
        preparer_id: None,
        application_id: None,
        sector_size: 2048,
        features,
        path_separator: PathSeparator::ForwardSlash,
        strict_charset: true,
    };
    let image = IsoImageWriter::create(Cursor::new(Vec::new()), files, options)
        .map_err(|error| SeedError::Iso { source: io::Error::other(error) })?;
    let mut image = image.into_inner();
    // The guest's drive has whole sectors; 2 KiB of slack as mkisofs leaves is not needed.
    image.resize(image.len().next_multiple_of(2048), 0);
    Ok(image)
}
