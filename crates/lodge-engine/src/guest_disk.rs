//! Use cases of what lies on guests' disks: devices, listings, contents.
//!
//! Everything is read by a confined process of its own per request (`lodge_disk::worker`), which is given the
//! images' descriptors and nothing else. The disks of a guest that runs change under the reader, so they are read
//! only for those who say that they know. A guest's bytes are not for callers who may only look.

use std::{path::PathBuf, sync::Arc};

use lodge_api::{GuestDevice, GuestDevices, GuestDiskQuery, GuestFile, GuestGap};
use lodge_disk::{
    fs::NodeKind,
    root::lsblk_kind,
    source::{DiskImage, Layer, LayerFormat},
    worker::{Listed, Worker, WorkerProgram},
};
use lodge_model::{
    Kind,
    domain::disk::{Disk, DiskDevice, SourceKind},
    guest_disk::{Device, FilePath, Gap, PartitionTable},
};
use lodge_storage::Format;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

/// Readers at a time: each may take a processor and some memory.
const READERS_MAX: usize = 8;

/// How readers are started, and how many there may be.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    program: WorkerProgram,
    seats: Arc<Semaphore>,
}

impl Readers {
    pub fn new(program: WorkerProgram) -> Self {
        Self { program, seats: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// How one is started.
    pub fn program(&self) -> &WorkerProgram {
        &self.program
    }

    /// Starts one, once there is a seat for it.
    pub async fn start(&self, images: Vec<DiskImage>) -> Result<Seated> {
        let seat = Arc::clone(&self.seats).acquire_owned().await;
        let seat = seat.map_err(|_| EngineError::new(Kind::Unavailable, "the daemon ends"))?;
        Ok(Seated { worker: Worker::start(&self.program, images).await?, _seat: seat })
    }
}

/// A reader on its seat.
pub(crate) struct Seated {
    pub worker: Worker,
    _seat: OwnedSemaphorePermit,
}

/// A reader at work, and what it could not be given.
struct Reader {
    seated: Seated,
    gaps: Vec<Gap>,
}

/// A file's bytes as they are read.
pub struct FileContent {
    reader: Reader,
    device: Option<String>,
    path: FilePath,
    offset: u64,
}

impl FileContent {
    /// The next of them; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let bytes = self.reader.seated.worker.read(self.device.as_deref(), &self.path, self.offset).await?;
        self.offset += bytes.len() as u64;
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Engine {
    /// The devices on a guest's disks.
    #[crate::boxed]
    pub async fn guest_devices(&self, caller: &Caller, query: &GuestDiskQuery) -> Result<GuestDevices> {
        let mut reader = self.start_reader(caller, query).await?;
        let disks = reader.seated.worker.layout().await?;
        let gaps = reader.gaps.into_iter().chain(disks.gaps);
        Ok(GuestDevices {
            disks: disks.layout.disks.into_iter().map(device_view).collect(),
            gaps: gaps.map(|gap| GuestGap { place: gap.place, why: gap.why }).collect(),
        })
    }

    /// What is in a directory of a guest's; of what is no directory, that alone.
    #[crate::boxed]
    pub async fn guest_tree(&self, caller: &Caller, query: &GuestDiskQuery) -> Result<Vec<GuestFile>> {
        let path = guest_path(query)?;
        let mut reader = self.start_reader(caller, query).await?;
        let device = query.device.as_deref();
        let found = reader.seated.worker.find(device, &path, true).await?;
        let listed = if found.node.kind == NodeKind::Directory {
            let depth = usize::try_from(query.depth.unwrap_or(1)).unwrap_or(usize::MAX);
            reader.seated.worker.list(device, &path, depth.max(1)).await?
        } else {
            vec![reader.seated.worker.find(device, &path, false).await?]
        };
        Ok(listed.into_iter().map(file_view).collect())
    }

    /// Opens a plain file of a guest's.
    #[crate::boxed]
    pub async fn guest_content(&self, caller: &Caller, query: &GuestDiskQuery) -> Result<FileContent> {
        let path = guest_path(query)?;
        let mut reader = self.start_reader(caller, query).await?;
        let device = query.device.clone();
        let found = reader.seated.worker.find(device.as_deref(), &path, true).await?;
        match found.node.kind {
            NodeKind::File => Ok(FileContent { reader, device, path: found.path, offset: 0 }),
            NodeKind::Directory => {
                Err(EngineError::new(Kind::InvalidInput, format!("{path}: it is a directory"))
                    .with_hint("list it with `lodge disk ls`"))
            }
            NodeKind::Link | NodeKind::Other => {
                Err(EngineError::new(Kind::InvalidInput, format!("{path}: it is no plain file")))
            }
        }
    }

    /// Starts a reader of what `query` names.
    async fn start_reader(&self, caller: &Caller, query: &GuestDiskQuery) -> Result<Reader> {
        caller.may_change()?;
        let (images, gaps) = if query.of.starts_with('/') {
            (vec![self.image_of(query).await?], Vec::new())
        } else {
            self.images_of_guest(query).await?
        };
        Ok(Reader { seated: self.inside.readers().start(images).await?, gaps })
    }

    async fn image_of(&self, query: &GuestDiskQuery) -> Result<DiskImage> {
        let path = std::path::Path::new(&query.of);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let word = match (&query.format, ending) {
            (Some(word), _) => word.as_str(),
            (None, "qcow2") => "qcow2",
            (None, "raw" | "img") => "raw",
            (None, _) if query.of.starts_with("/dev/") => "raw",
            (None, _) => {
                let text = format!("the format of '{}' is not known, and none is guessed", query.of);
                return Err(
                    EngineError::new(Kind::InvalidInput, text).with_hint("say it: --format qcow2 or raw")
                );
            }
        };
        let format: Format = word.parse().map_err(|error: lodge_storage::UnknownFormat| {
            EngineError::new(Kind::InvalidInput, error.to_string())
        })?;
        self.open_image("vda", path, format).await
    }

    async fn open_image(&self, name: &str, path: &std::path::Path, format: Format) -> Result<DiskImage> {
        let layers = self.storage.open_layers(path, format).await?;
        let layer = |(format, file)| Layer {
            file,
            format: match format {
                Format::Raw => LayerFormat::Raw,
                Format::Qcow2 => LayerFormat::Qcow2,
            },
        };
        let layers = layers.into_iter().map(layer).collect();
        Ok(DiskImage { name: name.to_owned(), layers, writable: false })
    }

    /// The disks of a guest; what cannot be opened as a file is a gap.
    async fn images_of_guest(&self, query: &GuestDiskQuery) -> Result<(Vec<DiskImage>, Vec<Gap>)> {
        let handle = self.find_domain(&query.of)?;
        let name = handle.name();
        if handle.snapshot().is_active() && !query.live {
            let text =
                format!("domain '{name}' is running, so what lies on its disks changes while it is read");
            return Err(EngineError::new(Kind::InvalidState, text).with_hint(
                "ask the guest itself, shut it down first, or read what may be torn and old with --live",
            ));
        }
        let document = handle.document()?;
        let (mut images, mut gaps) = (Vec::new(), Vec::new());
        let disks = document.devices.disks.iter();
        for disk in disks.filter(|disk| matches!(disk.device, DiskDevice::Disk | DiskDevice::Lun)) {
            let target = disk.target.dev.clone();
            let opened = match (self.disk_path(disk), disk.format().parse::<Format>()) {
                (Some(path), Ok(format)) => {
                    self.open_image(&target, &path, format).await.map_err(|error| error.to_string())
                }
                (Some(_), Err(_)) => {
                    Err(format!("its format is {}, of which only qemu-img knows", disk.format()))
                }
                (None, _) => Err("it is no file or device of this host".to_owned()),
            };
            match opened {
                Ok(image) => images.push(image),
                Err(why) => gaps.push(Gap { place: target, why }),
            }
        }
        if images.is_empty() {
            let why = gaps
                .first()
                .map_or_else(|| "it has none".to_owned(), |gap| format!("{}: {}", gap.place, gap.why));
            return Err(EngineError::new(
                Kind::NotFound,
                format!("domain '{name}' has no disk that can be read: {why}"),
            ));
        }
        Ok((images, gaps))
    }

    fn disk_path(&self, disk: &Disk) -> Option<PathBuf> {
        match disk.kind {
            SourceKind::Volume => {
                let source = disk.source.as_deref()?;
                let pool = self.pools.by_name(source.pool.as_deref()?).ok()?;
                Some(pool.path?.join(source.volume.as_deref()?))
            }
            SourceKind::File | SourceKind::Block => disk.path().map(PathBuf::from),
            _ => None,
        }
    }
}

fn guest_path(query: &GuestDiskQuery) -> Result<FilePath> {
    let text = query.path.as_deref().unwrap_or("/");
    // As a person types it: doubled and trailing slashes mean nothing.
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    FilePath::new(format!("/{}", parts.join("/")))
        .map_err(|error| EngineError::new(Kind::InvalidInput, error.to_string()))
}

fn device_view(device: Device) -> GuestDevice {
    let (table, table_uuid) = match device.table {
        Some(PartitionTable::Gpt(guid)) => (Some("gpt".to_owned()), Some(guid.to_string())),
        Some(PartitionTable::Dos(signature)) => (Some("dos".to_owned()), Some(format!("{signature:08x}"))),
        None => (None, None),
    };
    let partition = device.partition;
    let content = device.content;
    GuestDevice {
        name: device.name,
        kind: lsblk_kind(device.kind).to_owned(),
        bytes: device.bytes.0,
        start: device.start.map(|start| start.0),
        table,
        table_uuid,
        part_type: partition.as_ref().map(|part| part.kind.clone()),
        part_label: partition.as_ref().map(|part| part.label.clone()).filter(|label| !label.is_empty()),
        part_uuid: partition.map(|part| part.uuid),
        fstype: content.as_ref().map(|content| content.kind.clone()),
        label: content.as_ref().and_then(|content| content.label.clone()),
        used_bytes: content.as_ref().and_then(|content| content.used).map(|used| used.0),
        uuid: content.and_then(|content| content.uuid),
        mount_point: device.mount_point,
        children: device.children.into_iter().map(device_view).collect(),
    }
}

fn file_view(listed: Listed) -> GuestFile {
    let kind = match listed.node.kind {
        NodeKind::File => "file",
        NodeKind::Directory => "directory",
        NodeKind::Link => "link",
        NodeKind::Other => "other",
    };
    GuestFile {
        path: shown(listed.path.as_bytes()),
        kind: kind.to_owned(),
        bytes: listed.node.size,
        uid: listed.node.owner.uid,
        gid: listed.node.owner.gid,
        mode: listed.node.owner.mode,
        modified: listed.node.modified,
        link: listed.link.map(|to| shown(&to)),
    }
}

/// Text as it is; bytes that are none, and what a terminal obeys, escaped.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}
