//! `virsh blockcopy`: another file becomes and stays a copy of a disk; in the end the disk changes over to it, or not.

use std::path::{Path, PathBuf};

use lodge_model::domain::devices::Devices;
use lodge_model::domain::disk::{Disk, DiskSource, SourceKind};
use lodge_model::xml::Kept;
use lodge_qemu::qmp::Mirror;
use lodge_qemu::{Claims, CommandLine, Descriptors, FdNumber, device_arguments, plug};
use serde_json::Value;

use super::layers::{layers, show_mirror};
use super::{BlockJobKind, Layer, idle_disk, position, start};
use crate::control::device::{accelerator, alone, next_node};
use crate::control::{Change, Refusal, Running, Scope, Sort};
use crate::ports::{ChainLink, CopyTarget, Passphrase};
use crate::start::pass;

/// Where a disk is copied to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destination {
    /// The file or block device.
    pub path: String,
    /// Its format; the disk's own without.
    pub format: Option<String>,
    /// It is a block device.
    pub is_block: bool,
    /// Its `<encryption>` as a text. Without, it is plain, whatever the disk is.
    pub encryption: Option<String>,
}

impl Destination {
    /// Reads libvirt's `<disk>` with driver and source.
    pub fn parse(xml: &str) -> Result<Self, Refusal> {
        let malformed =
            || Refusal::new(Sort::Xml, "the destination is no <disk> with a <source>").of_domain();
        let disk = Kept::parse(xml).filter(|disk| disk.name == "disk").ok_or_else(malformed)?;
        let kind = disk.attribute("type").unwrap_or("file");
        let attribute = match kind {
            "file" => "file",
            "block" => "dev",
            other => {
                let text = format!("copying to a disk of type '{other}' is not supported yet");
                return Err(Refusal::new(Sort::ConfigUnsupported, text));
            }
        };
        let path =
            disk.child("source").and_then(|source| source.attribute(attribute)).ok_or_else(malformed)?;
        if disk.child("backingStore").is_some_and(|store| !store.is_empty()) {
            let text = "a <backingStore> of the destination is not supported yet; its header is followed";
            return Err(Refusal::new(Sort::ConfigUnsupported, text));
        }
        let encryption = disk.child("encryption").or_else(|| disk.child("source")?.child("encryption"));
        let encryption = encryption.map(|tree| {
            let mut tree = tree.clone();
            if tree.attribute("format") == Some("luks") && tree.attribute("engine").is_none() {
                tree.set_attribute("engine", Some("qemu".to_owned()));
            }
            tree.to_text()
        });
        let format = disk.child("driver").and_then(|driver| driver.attribute("type")).map(str::to_owned);
        Ok(Self { path: path.to_owned(), format, is_block: kind == "block", encryption })
    }
}

/// How a disk is copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// Only the guest's own file; the copy stands on the same files below.
    pub shallow: bool,
    /// The destination is there, and what it stands on fits.
    pub reuse: bool,
    /// The guest may have a definition: the copy is known not to go on in another run.
    pub transient_job: bool,
    /// The guest's writes go to both at once.
    pub synchronous: bool,
    /// Bytes per second; 0: no limit.
    pub speed: u64,
    /// Bytes that one bit of the map of changes stands for; 0: QEMU's choice.
    pub granularity: u32,
    /// Bytes under way; 0: QEMU's choice.
    pub buffer_bytes: u64,
}

/// Begins a copy; the job goes on beside all else.
pub fn copy(disk: String, destination: Destination, options: CopyOptions) -> Change {
    Change::new("blockcopy", Scope::LIVE).live(move |mut guest| async move {
        let outcome = begin(&mut guest, &disk, &destination, &options).await;
        (guest, outcome)
    })
}

async fn begin(
    guest: &mut Running,
    wanted: &str,
    destination: &Destination,
    options: &CopyOptions,
) -> Result<(), Refusal> {
    let path = &destination.path;
    if !path.starts_with('/') {
        return Err(Refusal::arg("absolute path must be used as block copy target"));
    }
    if !options.granularity.is_power_of_two() && options.granularity > 0 {
        return Err(Refusal::arg("granularity must be power of 2"));
    }
    let disk = idle_disk(guest, wanted)?.clone();
    if !options.transient_job && guest.entry.documents.load().inactive.is_some() {
        return Err(Refusal::invalid("domain is not transient"));
    }
    let source = layers(&disk)?;
    let shallow = options.shallow && source.len() > 1;
    if options.reuse && destination.format.is_none() {
        // What a guest may have written is not asked what it is.
        let text = "reused mirror destination format must be specified";
        return Err(Refusal::new(Sort::ConfigUnsupported, text));
    }
    let format = destination.format.clone().unwrap_or_else(|| source[0].format.clone());
    if shallow && !options.reuse && format == "raw" {
        let text = format!("shallow copy of disk '{}' into a raw file is not possible", disk.target.dev);
        return Err(Refusal::new(Sort::ConfigUnsupported, text));
    }
    let reuse = reuses(destination, options.reuse, &disk.target.dev)?;
    let nodes = guest.monitor.block_nodes().await?;
    let size = nodes.iter().find(|node| node.node_name == source[0].node());
    let size = size.and_then(|node| node.image.as_ref()).map(|image| image.virtual_size);
    let size =
        size.ok_or_else(|| Refusal::internal(format!("QEMU tells no size of '{}'", source[0].node())))?;
    let below = source.get(1).filter(|_| shallow);
    let target = CopyTarget {
        path: PathBuf::from(path),
        format: format.clone(),
        size,
        backing: below.filter(|_| !reuse).map(|layer| (PathBuf::from(&layer.path), layer.format.clone())),
        layers: super::layers::paths(&source[1..]),
        reuse,
        encryption: destination.encryption.clone(),
        locked_below: below_of(&source, shallow),
    };
    let device = start::device_node(guest, &disk).await?;
    let name = guest.entry.name();
    let files = guest.shared.ports.volumes.take_copy(guest.id, &name, &target).await?;
    // The guest's own layers below are open already; QEMU shares their nodes.
    let shared = if reuse { &[][..] } else { source.get(1..).filter(|_| shallow).unwrap_or_default() };
    let mut job = start::planned(&disk, BlockJobKind::Copy, "copy", &source[0].node());
    let held: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let added = add_nodes(guest, &disk, files, destination, shared).await;
    job.copy = match added {
        Ok(copy) => copy,
        Err(refusal) => {
            let _ = guest.shared.ports.volumes.give_back(guest.id, &held).await;
            return Err(refusal);
        }
    };
    start::note(guest, &job)?;
    let answer = guest
        .monitor
        .blockdev_mirror(&Mirror {
            job: &job.id,
            device: &device,
            target: &job.copy[0].node(),
            replaces: &source[0].node(),
            shallow,
            synchronous: options.synchronous,
            speed: options.speed,
            granularity: options.granularity,
            buffer_bytes: options.buffer_bytes,
        })
        .await;
    start::begun(guest, &job, answer).await?;
    let at = position(guest, &job.target)?;
    show_mirror(&mut guest.document.devices.disks[at], BlockJobKind::Copy, &job.copy, false);
    Ok(())
}

/// Which of the files that the copy stands on are encrypted.
fn below_of(source: &[Layer], shallow: bool) -> Vec<bool> {
    let below = source.iter().skip(1).filter(|_| shallow);
    below.map(|layer| layer.encryption.is_some()).collect()
}

/// Whether the destination is taken as it is; refuses one that would be lost, or is not there.
fn reuses(destination: &Destination, wanted: bool, target: &str) -> Result<bool, Refusal> {
    use std::os::unix::fs::FileTypeExt;
    let path = Path::new(&destination.path);
    let there = match std::fs::metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if wanted || destination.is_block {
                let errno = error.raw_os_error().unwrap_or(0);
                let text = format!(
                    "missing destination file for disk {target}: {}: No such file or directory",
                    destination.path
                );
                return Err(Refusal::new(Sort::System(errno), text));
            }
            return Ok(false);
        }
        Err(error) => {
            let text = format!("unable to verify existence of block copy target: {error}");
            return Err(Refusal::new(Sort::System(error.raw_os_error().unwrap_or(0)), text));
        }
    };
    if there.file_type().is_block_device() {
        return Ok(true);
    }
    if there.len() > 0 && !wanted {
        let text = format!(
            "external destination file for disk {target} already exists and is not a block device: {}",
            destination.path
        );
        return Err(Refusal::new(Sort::ConfigUnsupported, text));
    }
    if destination.is_block {
        let path = &destination.path;
        let text =
            format!("blockdev flag requested for disk {target}, but file '{path}' is not a block device");
        return Err(Refusal::arg(text));
    }
    Ok(wanted)
}

/// Gives QEMU the nodes of the copy; its layers. `shared`: layers of the guest's that it stands on.
async fn add_nodes(
    guest: &Running,
    disk: &Disk,
    files: Vec<ChainLink>,
    destination: &Destination,
    shared: &[Layer],
) -> Result<Vec<Layer>, Refusal> {
    let first = next_node(&guest.monitor).await?;
    let own = if shared.is_empty() { files.len() } else { 1 };
    let layer = |(at, file): (usize, &ChainLink)| Layer {
        index: u32::try_from(first + at).unwrap_or(u32::MAX),
        path: file.path.display().to_string(),
        format: file.format.clone(),
        is_block: destination.is_block && at == 0,
        encryption: destination.encryption.clone().filter(|_| at == 0),
    };
    let mut copy: Vec<Layer> = files.iter().take(own).enumerate().map(layer).collect();
    let Some(top) = copy.first() else {
        return Err(Refusal::internal("the copy was not opened"));
    };
    let mut descriptors = Descriptors::default();
    let mut claims = Claims::new(accelerator(guest), FdNumber::fixed(-1));
    let links = files.into_iter().take(own).map(|file| pass(file, &mut descriptors)).collect();
    claims.disks.insert(disk.target.dev.clone(), links);
    let with = alone(guest, Devices { disks: vec![as_copy(disk, top)], ..Devices::default() });
    for Passphrase { target, depth, file } in guest.shared.ports.volumes.passphrases(&with).await? {
        claims.passphrases.insert((target, depth), descriptors.pass(file));
    }
    let capabilities = guest.shared.config.capabilities_of(&guest.document);
    let line = device_arguments(&with, capabilities, &claims, first);
    let mut line = line.map_err(|refusals| Refusal::new(Sort::ConfigUnsupported, refusals.to_string()))?;
    // Objects are the passphrases: limits stand above the copy, and stay where they are.
    line.arguments.retain(|argument| matches!(argument.option.as_str(), "-add-fd" | "-object" | "-blockdev"));
    if let Some(below) = shared.first() {
        set_backing(&mut line, &top.node(), &below.node());
    }
    plug(&guest.monitor, &line, &descriptors).await?;
    copy.extend(shared.iter().cloned());
    Ok(copy)
}

/// The disk as it would be on the copy: without what stands between the device and its layers.
fn as_copy(disk: &Disk, top: &Layer) -> Disk {
    let mut copy = disk.clone();
    copy.kind = if top.is_block { SourceKind::Block } else { SourceKind::File };
    let path = Some(top.path.clone());
    let (file, dev) = if top.is_block { (None, path) } else { (path, None) };
    copy.source = Some(Box::new(DiskSource { file, dev, ..DiskSource::default() }));
    copy.set_encryption(top.encryption_tree().as_ref());
    copy.backing_store = None;
    copy.iotune = None;
    let driver = copy.driver.get_or_insert_default();
    driver.format = Some(top.format.clone());
    driver.copy_on_read = None;
    copy
}

fn set_backing(line: &mut CommandLine, node: &str, backing: &str) {
    for argument in line.arguments.iter_mut().filter(|argument| argument.option == "-blockdev") {
        let parsed = argument.value.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let Some(mut value) = parsed.filter(|value| value["node-name"] == node) else { continue };
        value["backing"] = backing.into();
        argument.value = Some(value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_as_virsh_writes_it() {
        let text = "<disk type='file'>\n  <source file='/p/a&amp;b'/>\n  <driver type='qcow2'/>\n</disk>\n";
        let wanted = Destination {
            path: "/p/a&b".to_owned(),
            format: Some("qcow2".to_owned()),
            ..Destination::default()
        };
        assert_eq!(Destination::parse(text), Ok(wanted));
        let block = Destination::parse("<disk type='block'><source dev='/dev/b'/></disk>").unwrap();
        assert!(block.is_block && block.format.is_none());
        for (text, words) in [
            ("<disk type='network'><source protocol='nbd'/></disk>", "type 'network'"),
            ("<disk type='file'/>", "no <disk>"),
            ("<disk", "no <disk>"),
            ("<disk><source file='/a'/><backingStore type='file'/></disk>", "<backingStore>"),
        ] {
            let refusal = Destination::parse(text).unwrap_err();
            assert!(refusal.text.contains(words), "{text}: {}", refusal.text);
        }
    }

    #[test]
    fn a_destination_that_would_be_lost_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let destination =
            |is_block| Destination { path: path.display().to_string(), is_block, ..Destination::default() };
        assert_eq!(reuses(&destination(false), false, "vda"), Ok(false));
        assert!(
            reuses(&destination(false), true, "vda").unwrap_err().text.starts_with("missing destination")
        );
        std::fs::write(&path, "").unwrap();
        assert_eq!(reuses(&destination(false), false, "vda"), Ok(false));
        std::fs::write(&path, "bytes").unwrap();
        assert!(reuses(&destination(false), false, "vda").unwrap_err().text.contains("already exists"));
        assert_eq!(reuses(&destination(false), true, "vda"), Ok(true));
        assert!(reuses(&destination(true), true, "vda").unwrap_err().text.contains("is not a block device"));
    }
}
