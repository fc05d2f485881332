//! The way to images that servers have. QEMU connects by itself, as a user who may open nothing of the host's; so
//! what it needs on the way is made ready for it: secrets as files in memory, a unix socket connected, certificates
//! and SSH's keys as copies that belong to the guest's user, in the guest's own directory, which goes with the run.
//!
//! A server that does not answer holds nobody up but this guest: QEMU waits for it, and a start waits for QEMU as
//! long as for any other ([`LaunchError::Silent`]).

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::disk::{DiskSource, Transport};
use lodge_model::xml::{ForeignItem, Position};
use lodge_qemu::qmp::Monitor;
use lodge_qemu::{Claims, Credentials, Descriptors, LaunchError, Link, LinkBytes, Served};
use lodge_store::saga::Failure;
use serde_json::{Value, json};

use super::certificates::{Certificates, Purpose, opened};
use super::file_failure;
use crate::ports::{ClaimedDisk, ServedLink};

/// The names that SSH looks for keys under.
const KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Whom the way is made ready for.
pub(super) struct Way<'a> {
    pub certificates: &'a Certificates<'a>,
    pub dir: &'a Path,
    /// None: QEMU runs as the daemon.
    pub user: Option<&'a Credentials>,
}

impl Way<'_> {
    /// Makes ready what the disks and the UEFI variables need, and puts their links into the claims.
    pub fn pass(
        &self,
        (disks, variables): (&mut [ClaimedDisk], Option<ServedLink>),
        claims: &mut Claims,
        descriptors: &mut Descriptors,
    ) -> Result<(), Failure> {
        let sources = disks.iter().flat_map(|disk| &disk.served).chain(&variables).map(|link| &link.source);
        claims.ssh_home = self.ssh_home(&sources.collect::<Vec<_>>(), descriptors)?;
        for disk in disks {
            for link in std::mem::take(&mut disk.served) {
                let link = self.ready(link, descriptors)?;
                claims.disks.entry(disk.target.clone()).or_default().push(link);
            }
        }
        claims.nvram = variables.map(|link| self.ready(link, descriptors)).transpose()?;
        Ok(())
    }

    fn ready(&self, mut link: ServedLink, descriptors: &mut Descriptors) -> Result<Link, Failure> {
        // The host's word for disks that say nothing of it.
        if self.certificates.settings.disks.tls == Some(true)
            && link.source.protocol.as_deref() == Some("nbd")
            && link.source.foreign.attribute("tls").is_none()
        {
            let (name, value) = ("tls".into(), "yes".into());
            link.source.foreign.push(ForeignItem::Attribute { name, value, at: Position::default() });
        }
        let source = link.source.clone();
        let mut link = plain(link, descriptors);
        if let LinkBytes::Served(served) = &mut link.bytes {
            if let Some(socket) = connected(&source)? {
                served.socket = Some(descriptors.pass(socket));
            }
            if source.foreign.attribute("tls") == Some("yes") {
                let papers = self.certificates.of(Purpose::Disks, descriptors)?;
                served.passphrase = papers.as_ref().and_then(|papers| papers.passphrase);
                served.certificates = papers.map(|papers| papers.dir);
            }
        }
        Ok(link)
    }

    /// A home directory with the keys and known hosts that the sources name; none: they name none.
    fn ssh_home(
        &self,
        sources: &[&DiskSource],
        descriptors: &mut Descriptors,
    ) -> Result<Option<String>, Failure> {
        let (mut keys, mut hosts) = (Vec::new(), Vec::new());
        for source in sources.iter().filter(|source| source.protocol.as_deref() == Some("ssh")) {
            let file = |element: &str, attribute: &str| {
                source.foreign.tree(element)?.attribute(attribute).map(PathBuf::from)
            };
            keys.extend(file("identity", "keyfile"));
            hosts.extend(file("knownHosts", "path"));
        }
        for files in [&mut keys, &mut hosts] {
            files.sort();
            files.dedup();
        }
        if keys.is_empty() && hosts.is_empty() {
            return Ok(None);
        }
        let Some(user) = self.user else {
            let text = "keys and known hosts of disks by 'ssh' are given to guests that have a user of their own only";
            let failure = Failure::new(Kind::Unsupported, text);
            return Err(
                failure.with_hint("here QEMU has those of the daemon's user, below ~/.ssh".to_owned())
            );
        };
        if keys.len() > KEYS.len() {
            let text = format!("the disks of a guest can have at most {} different SSH keys", KEYS.len());
            return Err(Failure::new(Kind::Unsupported, text));
        }
        let home = own_directory(&self.dir.join("home"), user)?;
        let ssh = own_directory(&home.join(".ssh"), user)?;
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| file_failure("read", path, &error));
        for (key, name) in keys.iter().zip(KEYS) {
            write_own(&ssh.join(name), &read(key)?, user)?;
        }
        let mut known = Vec::new();
        for path in &hosts {
            known.extend(read(path)?);
            known.push(b'\n');
        }
        write_own(&ssh.join("known_hosts"), &known, user)?;
        opened(&home, descriptors).map(Some)
    }
}

/// An image of a server's as it is given to a guest that runs: without what only a start can make ready.
pub(crate) fn plain(link: ServedLink, descriptors: &mut Descriptors) -> Link {
    let served = Served {
        source: link.source,
        login: link.login.map(|fd| descriptors.pass(fd)),
        cookies: link.cookies.map(|fd| descriptors.pass(fd)),
        ..Served::default()
    };
    Link::new(LinkBytes::Served(Box::new(served)), link.format, link.read_only)
}

/// A connection to the unix socket of a server, unless QEMU is to connect again when it breaks.
fn connected(source: &DiskSource) -> Result<Option<UnixStream>, Failure> {
    let [host] = &source.hosts[..] else { return Ok(None) };
    let by_nbd = source.protocol.as_deref() == Some("nbd");
    let path = host.socket.as_deref().filter(|_| by_nbd && host.transport == Some(Transport::Unix));
    let Some(path) = path.filter(|_| source.foreign.tree("reconnect").is_none()) else { return Ok(None) };
    let connected = lodge_qemu::connect_now(path.as_ref());
    let failed = |error| file_failure("connect to the disk's server at", path.as_ref(), &error);
    connected.map(Some).map_err(failed)
}

pub(super) fn own_directory(path: &Path, user: &Credentials) -> Result<PathBuf, Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    let made = made.and_then(|()| lchown(path, Some(user.uid), Some(user.gid)));
    made.map_err(|error| file_failure("make", path, &error)).map(|()| path.to_owned())
}

pub(super) fn write_own(path: &Path, bytes: &[u8], user: &Credentials) -> Result<(), Failure> {
    // The directory is the guest's: nothing that it may have put there leads elsewhere.
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o400).custom_flags(flags);
    let opened = options.open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(bytes)?;
        std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid))
    });
    written.map_err(|error| file_failure("write", path, &error))
}

/// What to do about a QEMU that did not come up, if a server may be why.
pub(super) fn hint(document: &Domain, error: &LaunchError) -> Option<String> {
    let LaunchError::Silent { .. } = error else { return None };
    let mut layers = document.devices.disks.iter().map(|disk| (disk, disk.served_layers()));
    let (disk, image) = layers.find_map(|(disk, layers)| Some((disk, layers.images.into_iter().next()?)))?;
    let (target, address) = (&disk.target.dev, image.source.address());
    Some(format!(
        "QEMU waits for the servers of its disks first: see that that of '{target}', {address}, answers"
    ))
}

/// Refuses an image whose own header says that it stands on another, which the document does not name: the guest
/// would read zeroes where that one's bytes should be. What a server's image names is never opened.
pub(super) async fn judge(monitor: &Monitor, document: &Domain) -> Result<(), Failure> {
    let deepest = document.devices.disks.iter().filter_map(|disk| {
        let image = disk.served_layers().images.pop()?;
        let below =
            std::iter::successors(disk.backing_store.as_deref(), |store| store.backing_store.as_deref());
        let index = below.filter(|store| store.source.is_some()).filter_map(|store| store.index).last();
        let index = index.or(disk.source.as_deref().and_then(|source| source.index))?;
        (image.format != "raw").then(|| (disk.target.dev.clone(), format!("libvirt-{index}-format")))
    });
    let deepest: Vec<(String, String)> = deepest.collect();
    if deepest.is_empty() {
        return Ok(());
    }
    let nodes: Vec<Value> = monitor
        .execute("query-named-block-nodes", json!({ "flat": true }))
        .await
        .map_err(|error| Failure::of(error.kind(), &error))?;
    for (target, name) in deepest {
        let node = nodes.iter().find(|node| node.get("node-name").and_then(Value::as_str) == Some(&name));
        let backing = node.and_then(|node| node.pointer("/image/backing-filename")?.as_str());
        if let Some(backing) = backing {
            let text = format!(
                "the image of disk '{target}' stands on `{backing}`, which the document does not name"
            );
            let hint = "name it in the disk's <backingStore>".to_owned();
            return Err(Failure::new(Kind::Unsupported, text).with_hint(hint));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_belong_to_the_guests_user_alone() {
        use std::os::unix::fs::MetadataExt;
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root to give a file away");
        }
        let dir = tempfile::tempdir().unwrap();
        let user = Credentials { uid: 4242, gid: 4242, groups: Vec::new() };
        let own = own_directory(&dir.path().join("tls"), &user).unwrap();
        // A start that is done again finds what it had made.
        for text in ["a", "b"] {
            write_own(&own.join("ca-cert.pem"), text.as_bytes(), &user).unwrap();
        }
        let of = |path: &Path| {
            let of = path.metadata().unwrap();
            (of.uid(), of.mode() & 0o777)
        };
        assert_eq!((of(&own), of(&own.join("ca-cert.pem"))), ((4242, 0o700), (4242, 0o400)));
        assert_eq!(std::fs::read(own.join("ca-cert.pem")).unwrap(), b"b");
    }

    #[test]
    fn a_servers_socket_is_connected_or_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nbd");
        let source = |path: &Path, more: &str| {
            let text = format!(
                "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os><devices>\
                 <disk type='network'><source protocol='nbd'><host transport='unix' socket='{}'/>{more}</source>\
                 <target dev='vda'/></disk></devices></domain>",
                path.display()
            );
            *Domain::parse(&text).unwrap().devices.disks.remove(0).source.unwrap()
        };
        let failure = connected(&source(&path, "")).unwrap_err();
        assert!(failure.message.contains("cannot connect to the disk's server at `"), "{}", failure.message);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(connected(&source(&path, "")).unwrap().is_some());
        listener.accept().unwrap();
        assert!(connected(&source(&path, "<reconnect delay='10'/>")).unwrap().is_none());
    }
}
