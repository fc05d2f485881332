//! What a test may leave on a host: links, firewall tables, mounts, control groups, and processes of ours.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};

/// The host as it was at one moment.
pub struct Trace {
    facts: Vec<String>,
}

impl Trace {
    /// Looks at links, nft tables, mounts, and the processes whose command line names `root`.
    pub fn look(root: &Path) -> Self {
        let mut facts = Vec::new();
        let text = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        let links = text("ip", &["-o", "-br", "link"]);
        facts.extend(
            links.lines().filter_map(|line| Some(format!("link {}", line.split_whitespace().next()?))),
        );
        facts.extend(text("nft", &["list", "tables"]).lines().map(|line| format!("nft {line}")));
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        facts.extend(mounts.lines().filter_map(|line| Some(format!("mount {}", line.split(' ').nth(1)?))));
        facts.extend(cgroups(root).into_iter().map(|path| format!("cgroup {path}")));
        facts.extend(processes_of(root).into_iter().map(|(_, command)| format!("process {command}")));
        Self { facts }
    }

    /// Fails, naming it, if the host has more now.
    pub fn is_unchanged(&self, root: &Path) -> Result<()> {
        let now = Self::look(root);
        let more: Vec<&String> = now.facts.iter().filter(|fact| !self.facts.contains(fact)).collect();
        ensure!(more.is_empty(), "left behind: {more:#?}");
        Ok(())
    }
}

/// Control groups of the daemon of this root.
fn cgroups(root: &Path) -> Vec<String> {
    let Ok(root) = lodge_store::Root::at(root) else { return Vec::new() };
    let tag = root.tag();
    let mut found = Vec::new();
    let mut open = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let ours = path.components().any(|part| part.as_os_str() == tag.as_str());
            // Below the daemon's own corner everything counts; above it, only the way to it.
            if path.is_dir() && !path.is_symlink() && (ours || path.components().count() <= 7) {
                if ours {
                    found.push(path.display().to_string());
                }
                open.push(path);
            }
        }
    }
    found
}

/// Pids and command lines of the processes of a daemon's root: its guests, netds and itself. They name the root on
/// their command line, or their output goes to a file under it.
pub fn processes_of(root: &Path) -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let text = root.to_string_lossy().into_owned();
    let commands = entries.filter_map(Result::ok).filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let bytes = fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&bytes).replace('\0', " ");
        let writes_there = |fd: &str| {
            fs::read_link(entry.path().join("fd").join(fd)).is_ok_and(|file| file.starts_with(root))
        };
        let ours = command.contains(&text) || writes_there("1") || writes_there("2");
        (ours && !command.is_empty()).then_some((pid, command))
    });
    commands.collect()
}
