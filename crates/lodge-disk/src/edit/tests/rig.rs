//! A file system on a file of its own, edited through a redo.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use lodge_model::{
    Bytes,
    guest_disk::{Content, DeviceEdit, Edit, FileEdit, FilePath, Owner},
};
use lodge_sys::fuse;

use crate::{
    blocks::Blocks,
    edit::{
        Outcome,
        carry_out::{Ground, carry_out},
        error::EditError,
        ext::Ext,
        jail,
        redo::{Redo, write_back},
        tool::{Act, Said, Tools},
    },
    fs::{self, FileSystem},
    root::Mount,
    view::{View, serve},
};

/// Whether tools can be run on views here.
pub fn can_run() -> bool {
    let can = rustix::process::geteuid().is_root()
        && Path::new(fuse::DEVICE).exists()
        && ["debugfs", "e2fsck", "mke2fs"].iter().all(|tool| lodge_sys::tool::find(tool).is_some());
    if !can {
        eprintln!("skipped: needs root, {} and e2fsprogs", fuse::DEVICE);
    }
    can
}

/// Runs tools in this process's own service.
pub struct Here {
    runtime: tokio::runtime::Runtime,
    pub ran: Vec<Act>,
}

impl Here {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { runtime: runtime.unwrap(), ran: Vec::new() }
    }
}

impl Tools for Here {
    fn run(&mut self, act: Act, view: View) -> Result<Said, EditError> {
        self.ran.push(act.clone());
        let fuse::Unplaced { connection, mount } = fuse::mount().unwrap();
        std::thread::scope(|scope| {
            let server = scope.spawn(|| serve(connection, &view));
            let said = self.runtime.block_on(jail::run(&act, mount, Duration::from_mins(1)));
            server.join().unwrap().unwrap();
            said
        })
    }
}

/// A file as a disk.
#[derive(Debug)]
pub struct OnFile(pub File);

impl Blocks for OnFile {
    fn bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// A file system in a directory that goes with it.
pub struct Rig {
    dir: tempfile::TempDir,
    pub image: PathBuf,
}

impl Rig {
    /// An ext file system made with `options` from what `fill` puts into a directory.
    pub fn ext(options: &[&str], mebibytes: u64, fill: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (image, from) = (dir.path().join("disk"), dir.path().join("from"));
        std::fs::create_dir(&from).unwrap();
        fill(&from);
        File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        run(Command::new("mke2fs").args(["-q", "-F"]).args(options).arg("-d").arg(&from).arg(&image));
        Self { dir, image }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Edits it and writes it back.
    pub fn edit(&self, edits: &[Edit]) -> Result<Vec<Outcome>, EditError> {
        let file = File::options().read(true).write(true).open(&self.image).unwrap();
        let disk = Arc::new(OnFile(file));
        let redo = Arc::new(Redo::new(disk.clone()));
        let outcomes = carry_out(&Single { blocks: redo.clone() }, edits, &mut Here::new())?;
        write_back(&*disk, &redo.runs()).unwrap();
        Ok(outcomes)
    }

    /// Gives it another UUID and writes it back. The answer is which tools were run.
    pub fn set_uuid(&self, uuid: uuid::Uuid, may_seed: bool) -> Result<Vec<Act>, EditError> {
        let file = File::options().read(true).write(true).open(&self.image).unwrap();
        let disk = Arc::new(OnFile(file));
        let redo = Arc::new(Redo::new(disk.clone()));
        let mut here = Here::new();
        Ext { device: "vda", blocks: redo.clone() }.set_uuid(uuid, may_seed, &mut here)?;
        write_back(&*disk, &redo.runs()).unwrap();
        Ok(here.ran)
    }

    /// What debugfs says.
    pub fn debugfs(&self, request: &str) -> String {
        let output = Command::new("debugfs").args(["-R", request]).arg(&self.image).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Has debugfs change it.
    pub fn change(&self, request: &str) {
        run(Command::new("debugfs").args(["-w", "-R", request]).arg(&self.image));
    }

    /// That e2fsck finds nothing.
    pub fn assert_clean(&self) {
        let output = Command::new("e2fsck").arg("-fn").arg(&self.image).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    pub fn fs(&self) -> Box<dyn FileSystem> {
        fs::open(&ext4(), Arc::new(OnFile(File::open(&self.image).unwrap())), None).unwrap()
    }
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

pub fn path(text: &str) -> FilePath {
    FilePath::new(text).unwrap()
}

pub fn write(at: &str, bytes: &[u8], owner: Option<(u32, u32, u16)>) -> Edit {
    let owner = owner.map(|(uid, gid, mode)| Owner { uid, gid, mode });
    Edit::File(FileEdit::Write { path: path(at), bytes: bytes.to_vec(), owner })
}

pub fn append(at: &str, from: u64, bytes: &[u8]) -> Edit {
    Edit::File(FileEdit::Append { path: path(at), at: from, bytes: bytes.to_vec() })
}

pub fn remove(at: &str) -> Edit {
    Edit::File(FileEdit::Remove(path(at)))
}

pub fn link(at: &str, to: &str) -> Edit {
    Edit::File(FileEdit::Link { path: path(at), to: to.as_bytes().to_vec() })
}

pub fn directory(at: &str, owner: Option<(u32, u32, u16)>) -> Edit {
    let owner = owner.map(|(uid, gid, mode)| Owner { uid, gid, mode });
    Edit::File(FileEdit::Directory { path: path(at), owner })
}

pub fn own(at: &str, (uid, gid, mode): (u32, u32, u16)) -> Edit {
    Edit::File(FileEdit::Own { path: path(at), owner: Owner { uid, gid, mode } })
}

struct Single {
    blocks: Arc<dyn Blocks>,
}

fn ext4() -> Content {
    Content { kind: "ext4".into(), uuid: None, label: None, group: None, used: None::<Bytes> }
}

impl Ground for Single {
    fn make_ready(&self, tools: &mut dyn Tools) -> Result<(), EditError> {
        Ext { device: "vda", blocks: self.blocks.clone() }.replay(tools)
    }

    fn mounts(&self) -> Result<Vec<Mount>, EditError> {
        Ok(vec![Mount { at: path("/"), device: "vda".into(), fs: Ok(self.open("vda")?) }])
    }

    fn blocks(&self, _: &str) -> Result<Arc<dyn Blocks>, EditError> {
        Ok(self.blocks.clone())
    }

    fn open(&self, device: &str) -> Result<Box<dyn FileSystem>, EditError> {
        fs::open(&ext4(), self.blocks.clone(), None)
            .map_err(|error| EditError::Damaged { place: device.into(), why: error.to_string() })
    }

    fn edit_device(&self, edit: &DeviceEdit, _: &mut dyn Tools) -> Result<Outcome, EditError> {
        let why = "a bare file system is no device".to_owned();
        Err(EditError::Unsupported { place: format!("{edit:?}"), why })
    }
}
