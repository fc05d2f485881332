//! The host's containers, which are machines too: LXC's, systemd-nspawn's, Incus' and LXD's, as far as their roots are
//! directories of the host, and Docker's, Podman's and CRI-O's, whose roots are layers ([`layered`]).
//!
//! Their roots are read as they lie there, also of containers that run, and nothing of them is started or mounted. Whoever
//! is in a container writes them, so they are read as hostile as a disk ([`lodge_disk::root`]).
//! What an image gives to all containers made of it is alike on purpose, a machine id too: of a container that is made of
//! layers only what lies in its own one is compared. But for SSH host keys: no container may have another's, wherever it
//! has it from, and who has the image has them.
//! Deliberately absent: containers whose root lies in an image or a volume that is not mounted, or in layers of another
//! kind: those are told where there are any.

mod layered;

use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use futures_util::StreamExt as _;
use lodge_disk::root::Root;
use lodge_identity::{HostFacts, Identity, Kind};
use lodge_model::guest_disk::{Files, Layout, Wanted};

use super::audit::AT_ONCE;
use crate::{Engine, job::JobHandle};

/// Containers of one look.
const CONTAINERS_MAX: usize = 2000;
/// Names of one directory.
const NAMES_MAX: usize = 10_000;
const CONFIG_BYTES: u64 = 256 << 10;
/// One may lie on a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where Incus and LXD have their pools; the last is LXD's as a snap.
const POOLS: [(&str, &str); 3] = [
    ("incus", "var/lib/incus/storage-pools"),
    ("lxd", "var/lib/lxd/storage-pools"),
    ("lxd", "var/snap/lxd/common/lxd/storage-pools"),
];

/// A look under way: at whom, and what was seen.
type Look = Pin<Box<dyn Future<Output = (String, io::Result<Seen>)> + Send>>;

/// A container, and where its root is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Container {
    /// `lxc`, `nspawn`, `incus`, `lxd`, `docker`, `podman`.
    kind: &'static str,
    name: String,
    root: Lies,
}

/// Where a root lies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lies {
    /// In a directory.
    Whole(PathBuf),
    /// In layers, the container's own first.
    Layers(Vec<PathBuf>),
}

/// What is in a container.
#[derive(Debug, Default)]
struct Seen {
    files: Files,
    /// What of it lies in its own layer, if it has layers.
    own: Option<Files>,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    containers: Vec<Container>,
    gaps: Vec<String>,
}

impl Engine {
    /// What makes each container of this host a machine. What cannot be read is told, and the others are read.
    pub(super) async fn containers(
        &self,
        job: &JobHandle,
        gaps: &mut Vec<String>,
    ) -> Vec<(String, Identity)> {
        let host = self.store.root().dir().to_owned();
        let Ok(found) = tokio::task::spawn_blocking(move || find(&host)).await else {
            gaps.push("containers: nobody could look for them".to_owned());
            return Vec::new();
        };
        gaps.extend(found.gaps);
        let wanted = self.inside.catalogue().wanted_to_look();
        let mut looks: Vec<Look> = Vec::with_capacity(found.containers.len());
        for container in found.containers {
            let (name, wanted) = (container.shown(), wanted.clone());
            looks.push(Box::pin(async move { (name, read(container.root, wanted).await) }));
        }
        let mut looks = futures_util::stream::iter(looks).buffered(AT_ONCE);
        let mut machines = Vec::new();
        while let Some((name, read)) = looks.next().await {
            match read {
                Ok(seen) => {
                    let told = seen.files.gaps.iter();
                    gaps.extend(told.map(|gap| format!("{name}: {}: {}", gap.place, gap.why)));
                    let catalogue = self.inside.catalogue();
                    let mut identity = catalogue.read(&Layout::default(), &seen.files, &HostFacts::default());
                    if let Some(own) = &seen.own {
                        leave_own(&mut identity, own);
                    }
                    machines.push((name, identity));
                }
                Err(error) => gaps.push(format!("{name}: {error}")),
            }
            if job.cancel.is_cancelled() {
                break;
            }
        }
        machines
    }
}

impl Container {
    fn shown(&self) -> String {
        format!("container {} ({})", self.name.escape_debug(), self.kind)
    }
}

/// Takes away what is the image's, and so alike in all that is made of it.
fn leave_own(identity: &mut Identity, own: &Files) {
    let own: HashSet<String> = own.nodes.keys().map(ToString::to_string).collect();
    identity.items.retain(|item| {
        // A value that is a part of a file has its key behind the path.
        let path = item.place.split_once(": ").map_or(item.place.as_str(), |(path, _)| path);
        item.kind == Kind::SSH_HOST_KEY || own.contains(path) || own.contains(&item.place)
    });
}

/// What is wanted of a root.
fn look(root: &Lies, wanted: &[Wanted]) -> io::Result<Seen> {
    match root {
        Lies::Whole(path) => Ok(Seen { files: Root::of_directory(path)?.files(wanted), own: None }),
        Lies::Layers(paths) => {
            let files = Root::of_layers(paths)?.files(wanted);
            let own = paths.first().map(|own| Root::of_directory(own)).transpose()?;
            Ok(Seen { files, own: own.map(|own| own.files(wanted)) })
        }
    }
}

/// Reads beside everything else: a root on a server that does not answer keeps a thread, and nothing more.
async fn read(root: Lies, wanted: Vec<Wanted>) -> io::Result<Seen> {
    let read = tokio::task::spawn_blocking(move || look(&root, &wanted));
    if let Ok(read) = tokio::time::timeout(PATIENCE, read).await {
        return read.map_err(io::Error::other)?;
    }
    let why = format!("its root could not be read in {} s", PATIENCE.as_secs());
    Err(io::Error::new(io::ErrorKind::TimedOut, why))
}

/// All containers of a host whose root is here.
fn find(host: &Path) -> Found {
    let mut found = Found::default();
    found.lxc(host);
    found.nspawn(host);
    for (kind, pools) in POOLS {
        found.pools(kind, &host.join(pools));
    }
    found.docker(host);
    found.podman(host);
    if found.containers.len() > CONTAINERS_MAX {
        found.gaps.push(format!("containers: there are more than {CONTAINERS_MAX}"));
        found.containers.truncate(CONTAINERS_MAX);
    }
    found
}

impl Found {
    /// What is in a directory, by name. One that is missing has nothing in it.
    fn names(&mut self, directory: &Path) -> Vec<(String, PathBuf)> {
        let read = || -> io::Result<Vec<(String, PathBuf)>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(directory)?.take(NAMES_MAX) {
                let entry = entry?;
                names.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
            }
            names.sort();
            Ok(names)
        };
        match read() {
            Ok(names) => names,
            Err(error) if is_missing(&error) => Vec::new(),
            Err(error) => {
                self.gaps.push(format!("containers: {}: {error}", directory.display()));
                Vec::new()
            }
        }
    }

    fn gap(&mut self, kind: &str, name: &str, why: &str) {
        self.gaps.push(format!("container {} ({kind}): {why}", name.escape_debug()));
    }

    fn take(&mut self, kind: &'static str, name: String, root: Lies) {
        self.containers.push(Container { kind, name, root });
    }

    /// A container whose root is said to be there.
    fn add(&mut self, kind: &'static str, name: String, root: PathBuf) {
        match fs::metadata(&root) {
            Ok(there) if there.is_dir() => self.take(kind, name, Lies::Whole(root)),
            Ok(_) => self.gap(kind, &name, &format!("{} is no directory", root.display())),
            Err(error) => self.gap(kind, &name, &format!("its root {}: {error}", root.display())),
        }
    }

    /// lxc.system.conf(5), lxc.container.conf(5). Containers of users, in their homes, are not looked for.
    fn lxc(&mut self, host: &Path) {
        let system = text(&host.join("etc/lxc/lxc.conf")).unwrap_or_default();
        let place = values(&system, "lxc.lxcpath").pop();
        let place = below(host, place.as_deref().unwrap_or("/var/lib/lxc"));
        for (name, home) in self.names(&place) {
            let config = match text(&home.join("config")) {
                Ok(config) => config,
                // Something that is no container.
                Err(error) if is_missing(&error) => continue,
                Err(error) => {
                    self.gap("lxc", &name, &format!("its config: {error}"));
                    continue;
                }
            };
            let mut said = values(&config, "lxc.rootfs.path");
            // Before LXC 2.1.
            said.extend(values(&config, "lxc.rootfs"));
            match said.first().map(String::as_str) {
                None => self.add("lxc", name, home.join("rootfs")),
                Some(path) if path.starts_with('/') => self.add("lxc", name, below(host, path)),
                Some(path) => match path.split_once(':') {
                    // Directories too, of which a subvolume or a file system was made.
                    Some(("dir" | "btrfs", path)) => self.add("lxc", name, below(host, path)),
                    Some((form, _)) => {
                        let why = format!("its root is of the form `{}`", form.escape_debug());
                        self.gap("lxc", &name, &format!("{why}, which is not looked into"));
                    }
                    None => self.gap("lxc", &name, "its config names no root that is known"),
                },
            }
        }
    }

    /// systemd-nspawn(1), machinectl(1): what lies in `/var/lib/machines`.
    fn nspawn(&mut self, host: &Path) {
        for (name, path) in self.names(&host.join("var/lib/machines")) {
            // What begins with a dot is under way, or machinectl's own.
            if name.starts_with('.') || name == "lost+found" {
                continue;
            }
            match name.strip_suffix(".raw") {
                Some(image) => {
                    self.gap("nspawn", image, "its root is in an image file, which is not looked into");
                }
                None => self.add("nspawn", name, path),
            }
        }
    }

    /// `storage-pools/POOL/containers/NAME/rootfs`. A pool's volumes of ZFS or LVM are mounted only while they are used.
    fn pools(&mut self, kind: &'static str, pools: &Path) {
        for (_, pool) in self.names(pools) {
            for (name, home) in self.names(&pool.join("containers")) {
                let root = home.join("rootfs");
                match fs::metadata(&root) {
                    Err(error) if is_missing(&error) => {
                        self.gap(kind, &name, "its root is not mounted, and was not looked into");
                    }
                    _ => self.add(kind, name, root),
                }
            }
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A path of the host's, below what is its root here.
fn below(host: &Path, path: &str) -> PathBuf {
    host.join(path.trim_start_matches('/'))
}

fn text(path: &Path) -> io::Result<String> {
    text_of(path, CONFIG_BYTES)
}

/// The beginning of a file.
fn text_of(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What `key = value` lines say of a key, in their order.
fn values(text: &str, key: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let of_key = lines.filter(|(name, _)| name.trim() == key);
    of_key.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(host: &Path, file: &str, text: &str) {
        let path = host.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn containers_are_found_where_their_programs_have_them() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path();
        let id = |root: &str| write(host, &format!("{root}/etc/machine-id"), "x\n");
        write(host, "var/lib/lxc/plain/config", "# lxc\nlxc.uts.name = plain\n");
        id("var/lib/lxc/plain/rootfs");
        write(host, "var/lib/lxc/moved/config", "lxc.rootfs.path = dir:/srv/moved\n");
        id("srv/moved");
        write(host, "var/lib/lxc/old/config", "lxc.rootfs = /srv/old\n");
        write(host, "var/lib/lxc/laid/config", "lxc.rootfs.path = overlay:/srv/a:/srv/b\n");
        write(host, "var/lib/lxc/gone/config", "lxc.rootfs.path = /srv/gone\n");
        write(host, "var/lib/lxc/nobody", "");
        id("srv/old");
        id("var/lib/machines/trixie");
        id("var/lib/machines/.#half");
        write(host, "var/lib/machines/fedora.raw", "");
        symlink("/", host.join("var/lib/machines/loop")).unwrap();
        id("var/lib/incus/storage-pools/default/containers/web/rootfs");
        fs::create_dir_all(host.join("var/lib/incus/storage-pools/zfs/containers/db")).unwrap();
        id("var/snap/lxd/common/lxd/storage-pools/default/containers/proj_app/rootfs");

        // Docker's and Podman's: a layer of each own over one of an image.
        let docker = |id: &str, name: &str, driver: &str| {
            let record = format!(r#"{{"ID":"{id}","Name":"/{name}","Driver":"{driver}","State":{{}}}}"#);
            write(host, &format!("var/lib/docker/containers/{id}/config.v2.json"), &record);
        };
        docker("aa", "shop", "overlay2");
        docker("bb", "new", "overlayfs");
        docker("cc", "half", "overlay2");
        docker("dd", "bad", "overlay2");
        let mounts = "var/lib/docker/image/overlay2/layerdb/mounts";
        write(host, &format!("{mounts}/aa/mount-id"), "a1");
        write(host, &format!("{mounts}/dd/mount-id"), "../../../../etc");
        write(host, "var/lib/docker/overlay2/a1/lower", "l/SHORT:l/OTHER");
        let records = r#"[{"id":"ee","names":["mail"],"layer":"e1","flags":{}},{"id":"ff","layer":"f1"}]"#;
        write(host, "var/lib/containers/storage/overlay-containers/containers.json", records);
        write(host, "var/lib/containers/storage/overlay/e1/lower", "l/X:/srv/store/overlay/l/Y");
        write(host, "var/lib/containers/storage/vfs-containers/containers.json", records);
        write(host, "var/lib/containers/storage/overlay-containers/volatile-containers.json", "[{]");

        let found = find(host);
        let of = |name: &str| found.containers.iter().find(|one| one.name == name).map(|one| &one.root);
        let lies = |home: &str, parts: &[&str]| {
            Lies::Layers(parts.iter().map(|part| below(host, &format!("{home}{part}"))).collect())
        };
        let parts = ["a1/diff", "l/SHORT", "l/OTHER"];
        assert_eq!(of("shop"), Some(&lies("/var/lib/docker/overlay2/", &parts)));
        let parts = [
            "/var/lib/containers/storage/overlay/e1/diff",
            "/var/lib/containers/storage/overlay/l/X",
            "/srv/store/overlay/l/Y",
        ];
        assert_eq!(of("mail"), Some(&lies("", &parts)));
        assert_eq!(of("ff"), Some(&lies("/var/lib/containers/storage/overlay/", &["f1/diff"])));
        let mut names: Vec<String> = found.containers.iter().map(Container::shown).collect();
        names.retain(|name| !name.contains("loop"));
        assert_eq!(
            names,
            [
                "container moved (lxc)",
                "container old (lxc)",
                "container plain (lxc)",
                "container trixie (nspawn)",
                "container web (incus)",
                "container proj_app (lxd)",
                "container shop (docker)",
                "container mail (podman)",
                "container ff (podman)",
            ]
        );
        let gaps = found.gaps.join("\n");
        for said in [
            "container laid (lxc): its root is of the form `overlay`",
            "container gone (lxc): its root",
            "container fedora (nspawn): its root is in an image file",
            "container db (incus): its root is not mounted",
            "container new (docker): its layers are `overlayfs`'s",
            "container half (docker): its layers: No such file",
            "container bad (docker): its layers: `../../../../etc` is no name",
            "containers of podman: there are some whose layers are `vfs`'s",
            "volatile-containers.json",
        ] {
            assert!(gaps.contains(said), "{said}\n{gaps}");
        }
        assert_eq!(found.gaps.len(), 9, "{gaps}");

        write(host, "etc/lxc/lxc.conf", "lxc.lxcpath = /srv/lxc\n");
        write(host, "srv/lxc/other/config", "");
        id("srv/lxc/other/rootfs");
        let found = find(host);
        assert!(found.containers.iter().any(|one| one.shown() == "container other (lxc)"));
        assert!(!found.containers.iter().any(|one| one.name == "plain"));
        assert!(find(&host.join("nowhere")).containers.is_empty());
        write(host, "etc/docker/daemon.json", r#"{"data-root": "/srv/docker"}"#);
        write(host, "etc/containers/storage.conf", "[storage]\n graphroot = \"/srv/pods\"\n");
        assert!(!find(host).containers.iter().any(|one| ["docker", "podman"].contains(&one.kind)));
    }

    #[test]
    fn what_an_image_gives_is_not_its_containers_but_for_keys() {
        let dir = tempfile::tempdir().unwrap();
        let [own, image] = ["own", "image"].map(|name| dir.path().join(name));
        let key = "-----BEGIN PRIVATE KEY-----\nMAo=\n-----END PRIVATE KEY-----\n";
        write(&image, "etc/os-release", "ID=debian\n");
        write(&image, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        write(&image, "etc/hostname", "image\n");
        write(&image, "etc/ssh/ssh_host_rsa_key", key);
        write(&image, "etc/default/isc-dhcp-client", "");
        write(&own, "etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.2000-01.org:own\n");
        let catalogue = lodge_identity::Catalogue::builtin();
        let kinds = || {
            let root = Lies::Layers(vec![own.clone(), image.clone()]);
            let seen = look(&root, &catalogue.wanted_to_look()).unwrap();
            let mut identity = catalogue.read(&Layout::default(), &seen.files, &HostFacts::default());
            leave_own(&mut identity, &seen.own.unwrap());
            let with_value = identity.items.into_iter().filter(|item| item.value.is_some());
            with_value.map(|item| (item.kind.to_string(), item.place)).collect::<Vec<_>>()
        };
        let shown = |all: &[(String, String)]| all.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>();
        assert_eq!(shown(&kinds()), ["ssh-host-key", "iscsi-initiator"]);
        // What it wrote itself is its own.
        write(&own, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        assert_eq!(shown(&kinds()), ["machine-id", "ssh-host-key", "iscsi-initiator"]);
    }
}
