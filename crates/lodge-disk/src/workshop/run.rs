//! Running the machine, shut in: it sees its three files, `/usr` and nothing else, has no network and no privilege, and
//! may make few system calls (`lodge_sys::spawn::Jail`).

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use lodge_sys::{
    spawn::{Command, Jail, last_words},
    tool,
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;

use super::{Workshop, WorkshopError, arguments, program};

/// QEMU's own, the machine's, and its translated code.
const MEMORY_BYTES: u64 = 4 << 30;
const DESCRIPTORS: u64 = 64;
/// The console's end that is kept.
const CONSOLE_BYTES: usize = 16 << 10;
/// Without KVM a kernel is there in some seconds, on a busy host in many.
const LIMIT: Duration = Duration::from_mins(3);

/// Where the machine's files lie while it runs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The device, raw. It is changed: whoever gives it can do without it, should this fail.
    pub device: &'a Path,
    /// A directory of the caller's own, in which two files are for the time of the run.
    pub scratch: &'a Path,
}

impl Workshop {
    /// Carries the edits out: all of them, or the answer says which failed. What the machine says is not proof: the
    /// caller reads the device back.
    pub async fn run(&self, place: Place<'_>) -> Result<(), WorkshopError> {
        let kernel = Scratch::write(place.scratch.join("kernel"), &self.kernel)?;
        let initramfs = Scratch::write(place.scratch.join("initramfs"), &self.initramfs)?;
        let console = run(&kernel.0, &initramfs.0, place.device).await?;
        self.outcome(&console)
    }
}

/// A file that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn write(path: PathBuf, bytes: &[u8]) -> Result<Self, WorkshopError> {
        let written = std::fs::write(&path, bytes);
        let scratch = Self(path);
        written.map_err(|error| machine(&error))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Its directory is the caller's, and goes.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn run(kernel: &Path, initramfs: &Path, device: &Path) -> Result<Vec<u8>, WorkshopError> {
    let qemu = tool::find(program()).ok_or(WorkshopError::NoQemu { program: program() })?;
    let names = [kernel, initramfs, device].map(|path| path.to_str().filter(|path| !path.contains(',')));
    let [Some(kernel_name), Some(initramfs_name), Some(device_name)] = names else {
        return Err(machine(&io::Error::new(io::ErrorKind::InvalidInput, "a path that QEMU cannot be told")));
    };
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| machine(&error.into()))?;
    let console = Receiver::from_owned_fd(read).map_err(|error| machine(&error))?;
    let mut jail = Jail::new(MEMORY_BYTES, DESCRIPTORS);
    jail.reads(kernel).reads(initramfs).writes(device);
    let mut command = Command::new(qemu);
    command.args(arguments(kernel_name, initramfs_name, device_name)).env("LC_ALL", "C");
    command.output(write).jail(jail);
    let process = command.spawn_tied().await.map_err(|error| machine(&io::Error::other(error)))?;
    let work = async {
        let console = last_words(console, CONSOLE_BYTES).await?;
        process.ended().await?;
        Ok::<_, io::Error>(console)
    };
    match tokio::time::timeout(LIMIT, work).await {
        Ok(console) => console.map_err(|error| machine(&error)),
        Err(_) => Err(machine(&io::Error::new(
            io::ErrorKind::TimedOut,
            format!("not done in {} s", LIMIT.as_secs()),
        ))),
    }
}

fn machine(error: &io::Error) -> WorkshopError {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let why = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    WorkshopError::Machine { why }
}
