//! A chain as acts on it need it: each file by what it is, and by the name QEMU will look for.

use std::path::{Path, PathBuf};

use super::{Gate, backing_path, error::ChainError, open_chain};
use crate::{
    file::{Access, FileId},
    format::Format,
    qcow2::Header,
    vol::tool::Run,
};

/// One file of a chain.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// As the file above names it; QEMU, shut in, finds it there and nowhere else.
    pub named: PathBuf,
    /// Where it really lies.
    pub path: PathBuf,
    pub id: FileId,
    pub format: Format,
    pub virtual_bytes: u64,
    /// Of a qcow2.
    pub header: Option<Header>,
    /// It begins as a LUKS container does.
    pub is_container: bool,
}

/// Looks at a chain, the top file first.
pub(crate) fn layers(top: &Path, format: Format, gate: &Gate) -> Result<Vec<Layer>, ChainError> {
    let links = open_chain(top, format, Access::Read, gate)?;
    let mut named = top.to_owned();
    let mut layers = Vec::new();
    for link in links {
        let header = match link.format {
            // Whether it may be encrypted was judged when it was opened.
            Format::Qcow2 => Some(link.disk.any_qcow2_header()?),
            Format::Raw => None,
        };
        let below = header.as_ref().and_then(|header| header.backing.as_ref());
        let below = below.map(|backing| backing_path(&named, &backing.name)).transpose()?;
        layers.push(Layer {
            named: named.clone(),
            path: link.disk.path.clone(),
            id: link.disk.id,
            format: link.format,
            virtual_bytes: link.virtual_bytes,
            header,
            is_container: link.is_container(),
        });
        named = below.unwrap_or_default();
    }
    Ok(layers)
}

impl Layer {
    /// Snapshots inside show what lies below where they have nothing of their own: whatever changes below changes them.
    pub fn refuse_snapshots(&self) -> Result<(), ChainError> {
        match &self.header {
            Some(header) if header.has_snapshots => {
                Err(ChainError::SnapshotsInside { path: self.path.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// Lets a tool read all of a chain.
pub(crate) fn reads(run: Run, layers: &[Layer]) -> Run {
    layers.iter().fold(run, |run, layer| run.reads(&layer.named))
}
