//! A guest that serves as a host: a small Debian, booted straight from its own kernel, whose first process is a script that
//! says `LAB RESULT 0` when all is well.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    apt,
    command::{output, run},
};

const DISK_BYTES: u64 = 3 << 30;
/// A slow machine without KVM, twice.
const DEADLINE: Duration = Duration::from_mins(15);
/// What the guest's console says last.
const DONE: &str = "LAB RESULT ";

/// One of them.
pub struct LabGuest<'a> {
    /// Where it is kept.
    pub place: PathBuf,
    /// Of Debian.
    pub suite: &'a str,
    /// What it has beside a minimal Debian, with commas between.
    pub packages: &'a str,
    /// Its first process: a script.
    pub init: &'a str,
    /// What is put below its `/lab`, by these names.
    pub files: &'a [(&'a Path, &'a str)],
    /// QEMU's arguments beside those of every such guest.
    pub hardware: &'a [String],
    /// Added to its kernel's command line.
    pub append: &'a str,
}

impl LabGuest<'_> {
    /// Boots it and hears what it says last.
    pub fn run(&self) -> Result<()> {
        fs::create_dir_all(&self.place)?;
        let system = self.system()?;
        let disk = self.disk(&system)?;
        let said = self.boot(&system, &disk)?;
        let code = said.lines().find_map(|line| line.trim().strip_prefix(DONE));
        match code {
            Some("0") => Ok(()),
            Some(code) => bail!("the trial failed in the lab guest (exit status {code}); see above"),
            None => bail!("the lab guest ended without a result; see {}", self.console().display()),
        }
    }

    fn console(&self) -> PathBuf {
        self.place.join("console.log")
    }

    /// Its files: a directory that is made once.
    fn system(&self) -> Result<PathBuf> {
        let (system, whole) = (self.place.join("system"), self.place.join("system.is-whole"));
        if whole.is_file() && fs::read_to_string(&whole)? == self.packages {
            return Ok(system);
        }
        println!("making the lab guest in {}", system.display());
        drop(fs::remove_file(&whole));
        drop(fs::remove_dir_all(&system));
        let mirror = apt::mirror().context("apt knows no mirror of Debian")?;
        let mut bootstrap = Command::new("mmdebstrap");
        bootstrap.args(["--variant=minbase", &format!("--include={}", self.packages), self.suite]);
        output(bootstrap.arg(&system).arg(mirror))?;
        fs::write(whole, self.packages)?;
        Ok(system)
    }

    /// A disk with its files and those of this trial.
    fn disk(&self, system: &Path) -> Result<PathBuf> {
        let lab = system.join("lab");
        fs::create_dir_all(&lab)?;
        for (from, name) in self.files {
            fs::copy(from, lab.join(name)).with_context(|| format!("{} cannot be copied", from.display()))?;
        }
        let init = lab.join("init");
        fs::write(&init, self.init)?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
        let disk = self.place.join("disk.raw");
        drop(fs::remove_file(&disk));
        fs::File::create(&disk)?.set_len(DISK_BYTES)?;
        run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(system).arg(&disk))?;
        Ok(disk)
    }

    /// Boots it, shows what it says, and gives that back.
    fn boot(&self, system: &Path, disk: &Path) -> Result<String> {
        let (kernel, initrd) = (newest(system, "vmlinuz-")?, newest(system, "initrd.img-")?);
        let console = self.console();
        // What an earlier guest said is not this one's word.
        drop(fs::remove_file(&console));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"]);
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none", "-kernel"])
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd);
        let append =
            format!("root=/dev/vda rw init=/lab/init console=ttyS0 panic=-1 loglevel=1 {}", self.append);
        qemu.args(["-append", &append, "-machine", "q35"]);
        qemu.args(self.hardware);
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio,cache=unsafe", disk.display()));
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        let mut guest = qemu.stdin(Stdio::null()).spawn().context("qemu-system-x86_64 does not start")?;
        let began = Instant::now();
        let mut shown = 0;
        loop {
            let ended = guest.try_wait()?.is_some();
            let said = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
            print!("{}", said.get(shown..).unwrap_or_default());
            shown = said.len();
            if ended {
                return Ok(said);
            }
            if began.elapsed() > DEADLINE || said.contains(DONE) {
                // It switches itself off; should it not, nothing of it is needed any more.
                guest.kill()?;
                guest.wait()?;
                return Ok(said);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn newest(system: &Path, start: &str) -> Result<PathBuf> {
    let boot = system.join("boot");
    let names = fs::read_dir(&boot)?.flatten().map(|entry| entry.path());
    let is_it =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    names.filter(is_it).max().with_context(|| format!("no {start}* in {}", boot.display()))
}
