//! Houses: a daemon of either side in namespaces of its own, where it is the host's only one.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    inside::{Line, Outcome},
    script::Step,
};

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The peer.
    Libvirtd,
    /// Ours.
    Lodge,
}

impl Side {
    /// Its name in files and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::Libvirtd => "libvirtd",
            Self::Lodge => "lodge",
        }
    }

    /// The side of this name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "libvirtd" => Ok(Self::Libvirtd),
            "lodge" => Ok(Self::Lodge),
            _ => bail!("there is no side `{name}`; there are libvirtd and lodge"),
        }
    }
}

/// What every house is built with.
#[derive(Debug)]
pub struct Builder {
    /// The program under test.
    pub lodge: PathBuf,
    /// Documents copied into the work directory.
    pub documents: PathBuf,
    /// Where QEMU's capabilities are kept between houses.
    pub cache: PathBuf,
    /// A directory of more programs: clients of other versions.
    pub programs: PathBuf,
    /// Packages that are unpacked and not installed: laid over `/usr` in the house, where they are.
    pub unpacked: PathBuf,
}

/// What a script gave.
#[derive(Debug)]
pub struct Told {
    /// Step by step.
    pub outcomes: Vec<Outcome>,
    /// What the daemon said.
    pub log: String,
}

impl Builder {
    /// Runs steps in a new house. What they put into the directory `$KEEP` is found in `keep` afterwards.
    pub fn run(&self, side: Side, steps: &[Step], keep: &Path) -> Result<Told> {
        let files = self.files()?;
        let list = files.path().join("steps.json");
        fs::write(&list, serde_json::to_string(steps)?)?;
        let mut told = Told { outcomes: Vec::new(), log: String::new() };
        let mut command = self.command(side, files.path(), "steps")?;
        let mut house = command.command.arg(&list).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(house.stdout.take().context("the house has no output")?);
        for line in lines.lines() {
            match serde_json::from_str(&line?)? {
                Line::Outcome(outcome) => told.outcomes.push(outcome),
                Line::Log(log) => told.log = log,
            }
        }
        let status = house.wait()?;
        copy_files(&files.path().join("keep"), keep)?;
        ensure!(
            status.success(),
            "{}'s house ended with {status} after {} steps",
            side.name(),
            told.outcomes.len()
        );
        Ok(told)
    }

    /// Runs one program in a new house, with our own output.
    pub fn run_program(&self, side: Side, program: &[String]) -> Result<()> {
        let files = self.files()?;
        let mut command = self.command(side, files.path(), "program")?;
        let status = command.command.args(program).status()?;
        ensure!(status.success(), "{}'s house ended with {status}", side.name());
        Ok(())
    }

    /// The same, and its standard output: what it printed counts even where it then failed.
    pub fn output(&self, side: Side, program: &[String]) -> Result<String> {
        let files = self.files()?;
        let mut command = self.command(side, files.path(), "program")?;
        let output = command.command.args(program).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            println!("{}'s house ended with {}: what it had measured is shown", side.name(), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Files the house needs, away from what it hides: its `/etc`, `/var` and `/run` are its own.
    fn files(&self) -> Result<tempfile::TempDir> {
        let files = tempfile::Builder::new().prefix("lodge-house-").tempdir_in("/tmp")?;
        copy_files(&self.documents, &files.path().join("documents"))?;
        fs::create_dir(files.path().join("keep"))?;
        fs::create_dir_all(&self.cache)?;
        std::os::unix::fs::symlink(&self.cache, files.path().join("cache"))?;
        fs::write(files.path().join("house.sh"), include_str!("house.sh"))?;
        Ok(files)
    }

    fn command(&self, side: Side, files: &Path, what: &str) -> Result<House> {
        let cgroup = Cgroup::make();
        let mut command = Command::new("bash");
        // The shell joins its cgroup before it enters the namespace that makes it the root.
        command.arg("-c").arg(
            r#"for root in /sys/fs/cgroup/*; do
                [ "$HOUSE_CGROUP" ] && [ -d "$root/$HOUSE_CGROUP" ] && echo $$ > "$root/$HOUSE_CGROUP/cgroup.procs"
            done
            exec unshare --mount --net --pid --cgroup --uts --fork --kill-child --mount-proc --propagation private bash "$@""#,
        );
        command.arg("house").arg(files.join("house.sh")).arg(side.name()).arg(files);
        command.arg(std::env::current_exe()?).args(["inside", side.name()]).arg(&self.lodge).arg(what);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::env::split_paths(&path).chain([self.programs.clone()]))?;
        command.env("PATH", path).env("KEEP", files.join("keep"));
        command.env("HOUSE_SIDE", side.name()).env("LODGE", &self.lodge);
        command.env("HOUSE_UNPACKED", &self.unpacked);
        command.env("HOUSE_CGROUP", &cgroup.name).stdin(Stdio::null());
        Ok(House { command, _cgroup: cgroup })
    }
}

/// The files of one directory, copied into another that is made; nothing where there are none.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::create_dir_all(to)?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

struct House {
    command: Command,
    _cgroup: Cgroup,
}

/// A directory of this house in each cgroup hierarchy. On a host with v2 alone there is none, and houses share.
struct Cgroup {
    name: String,
    made: Vec<PathBuf>,
}

impl Cgroup {
    fn make() -> Self {
        let name = format!("lodge-house-{}", std::process::id());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        // Each v1 hierarchy, and v2 where it is mounted beside them.
        let roots = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (at, kind) = (Path::new(words.next()?), words.next()?);
            let beside = at.parent() == Some(Path::new("/sys/fs/cgroup"));
            (beside && (kind == "cgroup" || kind == "cgroup2")).then(|| at.to_owned())
        });
        let mut made = Vec::new();
        for root in roots {
            let at = root.join(&name);
            if fs::create_dir(&at).is_err() && !at.is_dir() {
                continue;
            }
            // A new cpuset allows nothing until it is told what; children then start as this one.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(text) = fs::read_to_string(root.join(file)) {
                    drop(fs::write(at.join(file), text));
                }
            }
            made.push(at);
        }
        Self { name, made }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for at in &self.made {
            remove_tree(at);
        }
    }
}

/// Removes a cgroup and those below it, whose processes are gone.
fn remove_tree(at: &Path) {
    for entry in fs::read_dir(at).into_iter().flatten().filter_map(Result::ok) {
        if entry.path().is_dir() {
            remove_tree(&entry.path());
        }
    }
    // A process that is dying holds its cgroup a moment longer.
    for _ in 0..100 {
        if fs::remove_dir(at).is_ok() || !at.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
