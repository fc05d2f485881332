//! What makes one machine this machine and no other, and the proof that an image has none of it.
//!
//! One table. [`strip`] applies it, [`verify`] checks it; a build fails if anything is found, so
//! no package's new habit slips through unseen.
//!
//! Deliberately absent: identity that is the same in every Debian (user ids, the kernel's id).

use crate::{error::BuildError, tree::Tree};

/// What must hold of a path.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Not there.
    Absent(&'static str),
    /// In this directory nothing whose name starts and ends so.
    NoNames(&'static str, &'static str, &'static str),
    /// A directory with nothing in it.
    EmptyDir(&'static str),
    /// No plain file with a byte in it, at any depth, except these names.
    NoBytes(&'static str, &'static [&'static str]),
}

use Rule::{Absent, EmptyDir, NoBytes, NoNames};

/// machine-id(5), systemd-random-seed(8), sshd(8), cloud-init's and the DHCP clients' directories.
const RULES: &[Rule] = &[
    // `/etc/machine-id` is a rule of its own: it must be there, and empty.
    Absent("var/lib/dbus/machine-id"),
    NoNames("etc/ssh", "ssh_host_", ""),
    NoNames("etc/ssl/private", "", ".key"),
    // Seeds and secrets of systemd.
    Absent("var/lib/systemd/random-seed"),
    Absent("var/lib/urandom/random-seed"),
    Absent("var/lib/systemd/credential.secret"),
    Absent("boot/efi/loader/random-seed"),
    Absent("var/lib/private/systemd/resolve"),
    // cloud-init's instance.
    Absent("var/lib/cloud/instance"),
    EmptyDir("var/lib/cloud/instances"),
    EmptyDir("var/lib/cloud/data"),
    EmptyDir("var/lib/cloud/sem"),
    EmptyDir("var/lib/cloud/seed"),
    EmptyDir("run/cloud-init"),
    // Leases, client ids and rendered networks.
    EmptyDir("var/lib/dhcp"),
    EmptyDir("var/lib/dhcpcd"),
    EmptyDir("var/lib/systemd/network"),
    EmptyDir("var/lib/NetworkManager"),
    EmptyDir("run/systemd/netif"),
    EmptyDir("etc/netplan"),
    NoNames("etc/udev/rules.d", "70-persistent-", ".rules"),
    // Storage initiators.
    Absent("etc/iscsi/initiatorname.iscsi"),
    Absent("etc/nvme/hostid"),
    Absent("etc/nvme/hostnqn"),
    // People and logs.
    Absent("etc/mailname"),
    Absent("etc/popularity-contest.conf"),
    Absent("root/.ssh"),
    Absent("root/.bash_history"),
    EmptyDir("home"),
    EmptyDir("tmp"),
    EmptyDir("var/tmp"),
    NoBytes("var/log", &["README"]),
    // What the host's apt and debconf left. Not identity, but nothing of the host's may stay.
    EmptyDir("var/lib/apt/lists"),
    EmptyDir("var/cache/apt/archives"),
    NoNames("etc/apt/apt.conf.d", "", "mmdebstrap"),
    NoNames("var/cache/debconf", "", "-old"),
];

/// Removes everything the table names.
pub(crate) fn strip(tree: &Tree) -> Result<(), BuildError> {
    tree.write("etc/machine-id", b"", 0o444)?;
    for rule in RULES {
        for path in broken(tree, *rule)? {
            tree.remove(&path)?;
        }
    }
    Ok(())
}

/// Fails with every path that still breaks the table.
pub(crate) fn verify(tree: &Tree) -> Result<(), BuildError> {
    let mut found = Vec::new();
    match tree.read("etc/machine-id") {
        Ok(id) if id.is_empty() || id == b"uninitialized\n" => {}
        _ => found.push("/etc/machine-id is not empty".to_owned()),
    }
    for rule in RULES {
        found.extend(broken(tree, *rule)?.into_iter().map(|path| format!("/{path} is left")));
    }
    if found.is_empty() { Ok(()) } else { Err(BuildError::Identity { found }) }
}

/// The paths that break a rule.
fn broken(tree: &Tree, rule: Rule) -> Result<Vec<String>, BuildError> {
    match rule {
        // A link (Debian's `/var/lib/dbus/machine-id` points to `/etc/machine-id`) holds no id.
        Absent(path) => Ok(if holds_something(tree, path)? { vec![path.to_owned()] } else { Vec::new() }),
        NoNames(dir, start, end) => {
            let names = tree.names(dir)?;
            let is_bad = |name: &&String| name.starts_with(start) && name.ends_with(end);
            Ok(names.iter().filter(is_bad).map(|name| format!("{dir}/{name}")).collect())
        }
        EmptyDir(dir) => {
            let names = tree.names(dir)?;
            Ok(names.iter().map(|name| format!("{dir}/{name}")).collect())
        }
        NoBytes(dir, except) => files_with_bytes(tree, dir, except),
    }
}

fn holds_something(tree: &Tree, path: &str) -> Result<bool, BuildError> {
    let Some(stat) = tree.stat(path)? else { return Ok(false) };
    let is_link = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink();
    Ok(!(is_link && path.ends_with("machine-id")))
}

fn files_with_bytes(tree: &Tree, dir: &str, except: &[&str]) -> Result<Vec<String>, BuildError> {
    let mut found = Vec::new();
    for name in tree.names(dir)? {
        let path = format!("{dir}/{name}");
        let Some(stat) = tree.stat(&path)? else { continue };
        match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::Directory => found.extend(files_with_bytes(tree, &path, except)?),
            rustix::fs::FileType::RegularFile if stat.st_size > 0 && !except.contains(&name.as_str()) => {
                found.push(path);
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A tree with something for every rule.
    fn lived_in() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        tree.write("etc/machine-id", b"0123456789abcdef0123456789abcdef\n", 0o444).unwrap();
        for rule in RULES {
            match rule {
                Absent(path) => tree.write(path, b"x", 0o644).unwrap(),
                NoNames(dir, start, end) => {
                    tree.write(&format!("{dir}/{start}x{end}"), b"x", 0o644).unwrap();
                }
                EmptyDir(dir) | NoBytes(dir, _) => tree.write(&format!("{dir}/sub/x"), b"x", 0o644).unwrap(),
            }
        }
        tree.write("var/log/README", b"why", 0o644).unwrap();
        (dir, tree)
    }

    #[test]
    fn every_trace_is_found_and_then_gone() {
        let (_dir, tree) = lived_in();
        let Err(BuildError::Identity { found }) = verify(&tree) else { panic!("found nothing") };
        assert_eq!(found.len(), RULES.len() + 1, "{found:#?}");
        strip(&tree).unwrap();
        verify(&tree).unwrap();
        assert_eq!(tree.read("var/log/README").unwrap(), b"why");
    }

    #[test]
    fn the_link_of_dbus_may_stay() {
        let (dir, tree) = lived_in();
        strip(&tree).unwrap();
        let link = dir.path().join("var/lib/dbus/machine-id");
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/etc/machine-id", &link).unwrap();
        verify(&tree).unwrap();
        strip(&tree).unwrap();
        assert!(link.is_symlink());
    }

    #[test]
    fn a_tree_without_a_machine_id_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        // Absent would make systemd take the first boot for a factory reset.
        assert!(matches!(verify(&tree), Err(BuildError::Identity { .. })));
    }
}
