//! Reads the host. Nothing here judges, and nothing here fails: what cannot be read stays empty.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lodge_sys::process::Ending;
use lodge_sys::spawn::Command;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::facts::{Facts, System};

mod cgroups;
mod cpu;
mod firewall;
mod modules;
mod others;
mod qemu;
mod resources;

/// All facts but KVM's proof, which runs beside. `state` is where guests' disks are to lie.
pub(crate) fn facts(state: &Path) -> Facts {
    let cpu = cpu::cpu();
    Facts {
        system: system(),
        hypervisor: cpu::hypervisor(cpu.hypervisor),
        modules: modules::modules(),
        qemu: qemu::qemu(),
        cgroups: cgroups::cgroups(),
        firewall: firewall::firewall(),
        others: others::others(),
        memory: resources::memory(),
        disk: resources::disk(state),
        passthrough: resources::passthrough(),
        cpu,
    }
}

fn system() -> System {
    let uname = rustix::system::uname();
    let release = text("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    System {
        kernel: uname.release().to_string_lossy().into_owned(),
        distribution: name.unwrap_or_default().trim_matches('"').to_owned(),
        architecture: uname.machine().to_string_lossy().into_owned(),
        root: rustix::process::geteuid().is_root(),
    }
}

/// A file's text, or nothing.
fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The names in a directory, sorted; none where there is no directory.
fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Where a program is: in `PATH`, and in the directories that an ordinary user's `PATH` lacks.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/usr/libexec"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Runs a program that only tells something; `Err` is what it said instead.
fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let answer = ask(program, arguments)?;
    if answer.success {
        Ok(answer.told)
    } else {
        Err(answer.complained.lines().next().unwrap_or("it failed").to_owned())
    }
}

/// What a program said, and whether it was content.
struct Answer {
    success: bool,
    told: String,
    complained: String,
}

/// Runs a program that only tells something; `Err`: it could not be run, or gave no answer.
fn ask(program: &Path, arguments: &[&str]) -> Result<Answer, String> {
    const DEADLINE: Duration = Duration::from_secs(5);
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    let listen = || -> Result<(OwnedFd, OwnedFd), String> {
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())
    };
    let ((stdout, out), (stderr, errors)) = (listen()?, listen()?);
    command.output(out).errors(errors);
    let process = command.spawn().map_err(|error| error.to_string())?;
    let readers = (std::thread::spawn(|| drain(stdout)), std::thread::spawn(|| drain(stderr)));
    let began = Instant::now();
    let ending = loop {
        match process.poll_ended() {
            Ok(Some(ending)) => break Ok(ending),
            Ok(None) if began.elapsed() < DEADLINE => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => break Err(format!("no answer in {DEADLINE:?}")),
            Err(error) => break Err(error.to_string()),
        }
    };
    if ending.is_err() {
        // Fails only for a child that is gone already.
        drop(process.kill());
        while matches!(process.poll_ended(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let told = readers.0.join().unwrap_or_default();
    let complained = readers.1.join().unwrap_or_default();
    let success = matches!(ending?, Ending::Status(status) if status.success());
    Ok(Answer { success, told, complained })
}

/// All that a program writes, up to a limit.
fn drain(pipe: OwnedFd) -> String {
    const LIMIT_BYTES: u64 = 8 << 20;
    let mut bytes = Vec::new();
    // What was read before an error is still what it said.
    drop(fs::File::from(pipe).take(LIMIT_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_tells_its_first_line() {
        let shell = Path::new("/bin/sh");
        assert_eq!(output(shell, &["-c", "echo yes"]), Ok("yes\n".to_owned()));
        assert_eq!(output(shell, &["-c", "echo no >&2; exit 3"]), Err("no".to_owned()));
        assert!(output(Path::new("/nonexistent"), &[]).is_err());
    }

    #[test]
    fn this_host_can_be_looked_at() {
        let facts = facts(Path::new("/var/lib/libvirt/images/not/there"));
        assert!(facts.cpu.count >= 1);
        assert!(facts.memory.total_bytes > 0);
        assert!(facts.disk.total_bytes > 0, "{:?}", facts.disk);
        assert!(!facts.system.kernel.is_empty());
    }
}
