//! The confined process that edits disks: it alone reads what guests wrote, and it can do nothing else.
//!
//! ```text
//!   daemon: opens images ──▶ worker: reads its Setup ──▶ sandbox closes ──▶ Order ──▶ work ──▶ Done
//!                             (root, one thread)          (own user, empty root, few calls)
//! ```
//! It ends when the daemon's end of the socket is closed. What it changes lies in memory until everything was read back;
//! then it writes the redo log if there is one, and then the images.

use std::{
    fs::File,
    io,
    os::{
        fd::{OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use lodge_model::guest_disk::Edit;
use lodge_sys::sandbox::{self, Profile, Sandbox};
use serde::{Deserialize, Serialize};

use super::{
    Outcome,
    carry_out::carry_out,
    error::EditError,
    guest::Guest,
    log,
    redo::{Redo, Run, write_back},
    tool::{Act, Said, Tools},
    wire::{Ask, Order, hear, say, take_over},
};
use crate::{
    blocks::Blocks,
    source::{DiskImage, Layer, LayerFormat},
    view::{View, serve},
};

/// Images of a long chain on each disk, the log, the socket, a view.
pub(crate) const DESCRIPTORS_MAX: u64 = 4096;
/// The changes of all disks, twice, and room to work.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// A disk with its name.
type Named = (String, Arc<dyn Blocks>);

/// What the process is told first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub disks: Vec<DiskSetup>,
    /// Where the redo log goes, or is.
    pub log: Option<RawFd>,
    /// An empty directory.
    pub root: PathBuf,
    /// The user it becomes.
    pub id: u32,
}

/// A disk of descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DiskSetup {
    pub name: String,
    pub writable: bool,
    pub layers: Vec<(RawFd, LayerFormat)>,
}

/// Runs the process; `args` are those after its name. To be called before any other thread exists.
pub fn run<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> ExitCode {
    let number = args.into_iter().next().and_then(|number| number.as_ref().parse().ok());
    let Some(Ok(socket)) = number.map(sandbox::inherited) else {
        // Nobody but the daemon starts it.
        return ExitCode::FAILURE;
    };
    let socket = UnixStream::from(socket);
    let done = start(&socket);
    match say(&socket, &Ask::Done(done)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn start(socket: &UnixStream) -> Result<Vec<Outcome>, EditError> {
    let setup: Setup = hear(socket).map_err(|error| failed("read what disks there are", &error))?;
    let taken = |number| sandbox::inherited(number).map_err(|error| failed("take over a descriptor", &error));
    let log = setup.log.map(taken).transpose()?.map(File::from);
    let mut images = Vec::new();
    for DiskSetup { name, writable, layers } in setup.disks {
        let layers =
            layers.into_iter().map(|(number, format)| Ok(Layer { file: taken(number)?.into(), format }));
        images.push(DiskImage { name, writable, layers: layers.collect::<Result<_, _>>()? });
    }
    let confine = Sandbox {
        root: setup.root,
        id: setup.id,
        descriptors_max: DESCRIPTORS_MAX,
        file_bytes_max: u64::MAX,
        memory_bytes_max: MEMORY_BYTES_MAX,
        profile: Profile::Disk,
    };
    sandbox::enter(&confine)
        .map_err(|error| EditError::Worker { why: format!("is not confined: {}", chain(&error)) })?;
    let disks = open(images)?;
    match hear(socket).map_err(|error| failed("read what is to be done", &error))? {
        Order::Edit(edits) => edit(&disks, &edits, log.as_ref(), socket),
        Order::Recover => {
            let log = log.ok_or_else(|| EditError::Worker { why: "was given no log".to_owned() })?;
            recover(&disks, &log)
        }
    }
}

fn open(images: Vec<DiskImage>) -> Result<Vec<Named>, EditError> {
    let mut disks: Vec<Named> = Vec::new();
    for image in images {
        let disk = image.open();
        let disk = disk.map_err(|error| EditError::Disk {
            act: "open the guest's disks".to_owned(),
            why: chain(&error),
        })?;
        disks.push((disk.name().to_owned(), Arc::new(disk)));
    }
    Ok(disks)
}

fn edit(
    disks: &[Named],
    edits: &[Edit],
    log: Option<&File>,
    socket: &UnixStream,
) -> Result<Vec<Outcome>, EditError> {
    let redos: Vec<_> =
        disks.iter().map(|(name, disk)| (name.clone(), Arc::new(Redo::new(disk.clone())))).collect();
    let guest = Guest::new(
        redos.iter().map(|(name, redo)| (name.clone(), redo.clone() as Arc<dyn Blocks>)).collect(),
    );
    let outcomes = carry_out(&guest, edits, &mut Remote { socket })?;
    let changes: Vec<(u64, Vec<Run>)> = redos.iter().map(|(_, redo)| (redo.bytes(), redo.runs())).collect();
    if let Some(log) = log {
        log::write(log, &changes).map_err(|error| failed("write the redo log", &error))?;
    }
    for ((name, disk), (_, runs)) in disks.iter().zip(&changes) {
        if !runs.is_empty() {
            write_back(&**disk, runs).map_err(|error| failed(&format!("write disk {name}"), &error))?;
        }
    }
    Ok(outcomes)
}

fn recover(disks: &[Named], log: &File) -> Result<Vec<Outcome>, EditError> {
    let blocks: Vec<_> = disks.iter().map(|(_, disk)| disk.clone()).collect();
    let Some(changes) = log::read(log, &blocks).map_err(|error| failed("read the redo log", &error))? else {
        return Ok(Vec::new());
    };
    let mut outcomes = Vec::new();
    for ((name, disk), runs) in disks.iter().zip(&changes) {
        write_back(&**disk, runs).map_err(|error| failed(&format!("write disk {name}"), &error))?;
        outcomes.push(if runs.is_empty() { Outcome::Already } else { Outcome::Changed });
    }
    Ok(outcomes)
}

/// Tools that the daemon runs on views that are served here.
struct Remote<'a> {
    socket: &'a UnixStream,
}

impl Tools for Remote<'_> {
    fn run(&mut self, act: Act, view: View) -> Result<Said, EditError> {
        let lost = |error: io::Error| failed("speak with the daemon", &error);
        say(self.socket, &Ask::Tool(act)).map_err(lost)?;
        if let Some(connection) = take_over(self.socket).map_err(lost)? {
            let served = serve_it(&connection, &view);
            // First of all, for the tool's sake: it does not wait for an answer any longer.
            drop(connection);
            served?;
        }
        hear(self.socket).map_err(lost)?
    }
}

fn serve_it(connection: &OwnedFd, view: &View) -> Result<(), EditError> {
    serve(connection, view).map_err(|error| failed("show a part of a disk as files", &error))
}

fn failed(act: &str, error: &io::Error) -> EditError {
    EditError::Disk { act: act.to_owned(), why: error.to_string() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
