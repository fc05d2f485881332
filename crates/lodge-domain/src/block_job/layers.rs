//! The layers of a running guest's disk, as its live document tells them: numbers of nodes, files, formats. Pure.

use std::path::PathBuf;

use lodge_model::domain::disk::{BackingStore, Disk, DiskSource, ImageFormat, SourceKind};
use lodge_model::xml::Kept;
use serde::{Deserialize, Serialize};

use super::BlockJobKind;
use crate::control::Refusal;

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// The number in its nodes' names.
    pub index: u32,
    /// Its file or block device; a volume's two names where the document has no more.
    pub path: String,
    pub format: String,
    pub is_block: bool,
    /// Its `<encryption>` as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
}

impl Layer {
    /// The node of what is in the file.
    pub fn node(&self) -> String {
        format!("libvirt-{}-format", self.index)
    }

    /// The node of the file.
    pub fn storage(&self) -> String {
        format!("libvirt-{}-storage", self.index)
    }

    fn kind(&self) -> SourceKind {
        if self.is_block { SourceKind::Block } else { SourceKind::File }
    }

    fn source(&self, index: Option<u32>) -> DiskSource {
        let path = Some(self.path.clone());
        let (file, dev) = if self.is_block { (None, path) } else { (path, None) };
        let mut source = DiskSource { file, dev, index, ..DiskSource::default() };
        source.set_encryption(self.encryption_tree().as_ref());
        source
    }

    /// How it is encrypted.
    pub fn encryption_tree(&self) -> Option<Kept> {
        self.encryption.as_deref().and_then(Kept::parse)
    }
}

/// The layers of a disk, the guest's own first.
pub(crate) fn layers(disk: &Disk) -> Result<Vec<Layer>, Refusal> {
    let target = &disk.target.dev;
    let unknown = || Refusal::unsupported(format!("the layers of disk '{target}' are not known"));
    if let Some(image) = disk.served_layers().images.first() {
        let address = image.source.address();
        let text =
            format!("disk '{target}' is not of this host alone ({address}): its layers cannot be changed");
        return Err(Refusal::unsupported(text));
    }
    let source = disk.source.as_deref().ok_or_else(unknown)?;
    let volume = || Some(format!("{}/{}", source.pool.as_deref()?, source.volume.as_deref()?));
    let mut layers = vec![Layer {
        index: source.index.ok_or_else(unknown)?,
        path: disk.path().map(str::to_owned).or_else(volume).ok_or_else(unknown)?,
        format: disk.format().to_owned(),
        is_block: disk.kind == SourceKind::Block,
        encryption: disk.encryption_tree().map(|tree| tree.to_text()),
    }];
    let mut below = disk.backing_store.as_deref();
    while let Some(store) = below {
        let Some(source) = store.source.as_deref() else { break };
        let path = source.file.as_ref().or(source.dev.as_ref()).ok_or_else(unknown)?;
        layers.push(Layer {
            index: store.index.or(source.index).ok_or_else(unknown)?,
            path: path.clone(),
            format: store.format.as_ref().map_or("raw", |format| &format.kind).to_owned(),
            is_block: source.file.is_none(),
            encryption: source.encryption_tree().map(|tree| tree.to_text()),
        });
        below = store.backing_store.as_deref();
    }
    Ok(layers)
}

/// Their files.
pub(crate) fn paths(layers: &[Layer]) -> Vec<PathBuf> {
    layers.iter().map(|layer| PathBuf::from(&layer.path)).collect()
}

/// The place of the layer that `wanted` (its file, or `vda[2]`) means, below the `above`th.
pub(crate) fn find(
    layers: &[Layer],
    target: &str,
    wanted: Option<&str>,
    above: Option<usize>,
) -> Result<usize, Refusal> {
    let first = above.map_or(0, |above| above + 1);
    let Some(wanted) = wanted else {
        // Without a name: the lowest.
        let lowest = layers.len() - 1;
        return if lowest >= first {
            Ok(lowest)
        } else {
            Err(Refusal::arg(format!("could not find base image in chain for '{target}'")))
        };
    };
    if let Some((of, index)) = wanted.strip_suffix(']').and_then(|rest| rest.split_once('['))
        && let Ok(index) = index.parse::<u32>()
    {
        if of != target {
            let text = format!("requested target '{of}' does not match target '{target}'");
            return Err(Refusal::arg(text));
        }
        let found = layers.iter().position(|layer| layer.index == index).filter(|at| *at >= first);
        return found.ok_or_else(|| {
            Refusal::arg(format!("could not find backing store index '{index}' in chain for '{target}'"))
        });
    }
    let found = layers.iter().skip(first).position(|layer| layer.path == wanted);
    found.map(|at| at + first).ok_or_else(|| {
        Refusal::arg(match above {
            Some(above) => {
                let above = &layers[above].path;
                format!("could not find image '{wanted}' beneath '{above}' in chain for '{target}'")
            }
            None => format!("could not find image '{wanted}' in chain for '{target}'"),
        })
    })
}

/// What `layers` is in a document: nothing below says that there is nothing. `live`: with the nodes' numbers.
fn stack(layers: &[Layer], live: bool) -> BackingStore {
    layers.iter().rev().fold(BackingStore::default(), |deeper, layer| BackingStore {
        kind: Some(layer.kind()),
        index: live.then_some(layer.index),
        format: Some(ImageFormat { kind: layer.format.clone(), ..ImageFormat::default() }),
        source: Some(Box::new(layer.source(None))),
        backing_store: Some(Box::new(deeper)),
        ..BackingStore::default()
    })
}

/// The disk stands on `layers` now.
pub(crate) fn restack(disk: &mut Disk, layers: &[Layer], live: bool) {
    let Some(top) = layers.first() else { return };
    let same = disk.source.as_deref().is_some_and(|source| source.index == Some(top.index)) && live;
    if !same {
        let old = disk.source.take().unwrap_or_default();
        disk.kind = top.kind();
        // Each file says itself how it is encrypted: the next may be otherwise.
        disk.set_encryption(None);
        disk.source = Some(Box::new(DiskSource {
            startup_policy: old.startup_policy,
            seclabels: old.seclabels,
            ..top.source(live.then_some(top.index))
        }));
        disk.driver.get_or_insert_default().format = Some(top.format.clone());
    }
    if live || disk.backing_store.is_some() {
        disk.backing_store = Some(Box::new(stack(&layers[1..], live)));
    }
}

/// Shows in the document that the disk is being copied or committed to `layers`, as libvirt does: what is below the
/// first is not told, and that there is nothing only of a copy.
pub(crate) fn show_mirror(disk: &mut Disk, kind: BlockJobKind, layers: &[Layer], ready: bool) {
    let Some(target) = layers.first() else { return };
    let word = target.kind();
    let mut mirror = Kept::new("mirror").with("type", word.as_str());
    if kind == BlockJobKind::Copy && !target.is_block {
        mirror = mirror.with("file", &target.path).with("format", &target.format);
    }
    mirror = mirror.with("job", kind.as_str());
    if ready {
        mirror = mirror.with("ready", "yes");
    }
    let attribute = if target.is_block { "dev" } else { "file" };
    mirror.set_child(Kept::new("format").with("type", &target.format));
    let mut source = Kept::new("source").with(attribute, &target.path).with("index", target.index);
    source.children.extend(target.encryption_tree());
    mirror.set_child(source);
    if kind == BlockJobKind::Copy && layers.len() == 1 {
        mirror.set_child(Kept::new("backingStore"));
    }
    disk.mirror.set_tree(&mirror);
}

/// The layers of a copy that a document shows.
pub(crate) fn copy_of(disk: &Disk) -> Vec<Layer> {
    let layer = |tree: &Kept, index: Option<&str>| {
        let source = tree.child("source")?;
        let path = source.attribute("file").or_else(|| source.attribute("dev"))?;
        Some(Layer {
            index: index.or_else(|| source.attribute("index"))?.parse().ok()?,
            path: path.to_owned(),
            format: tree
                .child("format")
                .and_then(|format| format.attribute("type"))
                .unwrap_or("raw")
                .to_owned(),
            is_block: source.attribute("file").is_none(),
            encryption: source.child("encryption").map(Kept::to_text),
        })
    };
    let Some(mut tree) = disk.mirror.tree("mirror") else { return Vec::new() };
    let mut layers: Vec<Layer> = layer(&tree, None).into_iter().collect();
    while let Some(below) = tree.child("backingStore").cloned() {
        layers.extend(layer(&below, below.attribute("index")));
        tree = below;
    }
    layers
}

/// Shows how far the copy is: `yes`, `abort`, `pivot`.
pub(crate) fn mark_mirror(disk: &mut Disk, word: &str) {
    if let Some(mut mirror) = disk.mirror.tree("mirror") {
        mirror.set_attribute("ready", Some(word.to_owned()));
        disk.mirror.set_tree(&mirror);
    }
}

/// The copy is over.
pub(crate) fn hide_mirror(disk: &mut Disk) {
    disk.mirror.set_tree(&Kept::new("mirror"));
}

#[cfg(test)]
mod tests {
    use lodge_model::domain::Domain;

    use super::*;

    fn disk() -> Disk {
        let text = "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os><devices>\
            <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/2' index='1'/>\
            <backingStore type='file' index='2'><format type='qcow2'/><source file='/p/1'/>\
            <backingStore type='block' index='3'><format type='raw'/><source dev='/dev/b'/><backingStore/>\
            </backingStore></backingStore><target dev='vda' bus='virtio'/></disk></devices></domain>";
        Domain::parse(text).unwrap().devices.disks.remove(0)
    }

    #[test]
    fn layers_are_found_by_file_and_by_number_in_libvirts_words() {
        let layers = layers(&disk()).unwrap();
        let numbers: Vec<_> = layers.iter().map(|layer| (layer.index, layer.format.as_str())).collect();
        assert_eq!(numbers, [(1, "qcow2"), (2, "qcow2"), (3, "raw")]);
        let find = |wanted, above| find(&layers, "vda", wanted, above).map_err(|refusal| refusal.text);
        assert_eq!(find(None, Some(0)), Ok(2));
        assert_eq!(find(Some("/p/1"), Some(0)), Ok(1));
        assert_eq!(find(Some("vda[3]"), Some(1)), Ok(2));
        let wrong = |wanted, above| find(wanted, above).unwrap_err();
        assert_eq!(
            wrong(Some("/p/1"), Some(1)),
            "could not find image '/p/1' beneath '/p/1' in chain for 'vda'"
        );
        assert_eq!(wrong(Some("/x"), None), "could not find image '/x' in chain for 'vda'");
        assert_eq!(wrong(None, Some(2)), "could not find base image in chain for 'vda'");
        assert_eq!(wrong(Some("vdb[1]"), None), "requested target 'vdb' does not match target 'vda'");
        assert_eq!(wrong(Some("vda[9]"), None), "could not find backing store index '9' in chain for 'vda'");
    }

    #[test]
    fn a_disk_is_put_on_other_layers_in_both_documents() {
        let mut live = disk();
        let all = layers(&live).unwrap();
        restack(&mut live, &all[1..], true);
        assert_eq!(layers(&live).unwrap(), all[1..]);
        assert_eq!(live.path(), Some("/p/1"));
        let mut kept = disk();
        kept.backing_store = None;
        restack(&mut kept, &all[2..], false);
        assert_eq!((kept.path(), kept.format(), kept.kind), (Some("/dev/b"), "raw", SourceKind::Block));
        assert_eq!((kept.backing_store, kept.source.unwrap().index), (None, None));
    }

    #[test]
    fn a_copy_under_way_is_shown_and_goes() {
        let mut disk = disk();
        let all = layers(&disk).unwrap();
        show_mirror(&mut disk, BlockJobKind::ActiveCommit, &all[1..], false);
        mark_mirror(&mut disk, "yes");
        let mirror = disk.mirror.tree("mirror").unwrap();
        assert_eq!(mirror.attribute("job"), Some("active-commit"));
        assert_eq!((mirror.attribute("ready"), mirror.attribute("file")), (Some("yes"), None));
        assert_eq!(mirror.child("source").unwrap().attribute("file"), Some("/p/1"));
        assert_eq!(copy_of(&disk), all[1..2]);
        hide_mirror(&mut disk);
        assert!(disk.mirror.is_empty());
    }
}
