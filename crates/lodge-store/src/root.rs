//! Where everything is: each path of the daemon's tree has one method here and is written nowhere else.
//!
//! Three kinds of root: the host's (`/`), a directory of one's own (`--root DIR`, for tests and trials, as
//! many as one likes on a machine), and a user's session (the XDG directories, as libvirt's session).
//! Making a [`Root`] reads nothing but the arguments, except [`Root::new`], which also looks at the user id
//! and the environment. The methods are pure.

mod error;
mod xdg;

use std::io;
use std::path::{Path, PathBuf};

use lodge_sys::fs::Lock;
use uuid::Uuid;

pub use error::RootError;
pub use xdg::Xdg;

/// The daemon's tree of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    scope: Scope,
    /// The canonical directory that the tag is made of.
    identity: PathBuf,
    etc_libvirt: PathBuf,
    lib_libvirt: PathBuf,
    lib_lodge: PathBuf,
    cache_lodge: PathBuf,
    run_libvirt: PathBuf,
    run_lodge: PathBuf,
    log_lodge: PathBuf,
}

/// Whose tree it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The host's, under `/`.
    System,
    /// A directory of its own.
    Directory,
    /// An ordinary user's session.
    User,
}

impl Root {
    /// The root that was asked for: `--root DIR`, else the host's for root, else the user's session.
    pub fn new(dir: Option<PathBuf>) -> Result<Self, RootError> {
        match dir {
            Some(dir) => Self::at(&dir),
            None if rustix::process::geteuid().is_root() => Ok(Self::system()),
            None => Ok(Self::user(&Xdg::from_env()?)),
        }
    }

    /// The host's.
    pub fn system() -> Self {
        Self::below(Scope::System, Path::new("/"))
    }

    /// One under `dir`, which need not exist yet. `/` is the host's.
    pub fn at(dir: &Path) -> Result<Self, RootError> {
        let failed = |source| RootError::Resolve { path: dir.to_owned(), source };
        let dir = canonical(&std::path::absolute(dir).map_err(failed)?).map_err(failed)?;
        let scope = if dir == Path::new("/") { Scope::System } else { Scope::Directory };
        Ok(Self::below(scope, &dir))
    }

    /// A user's session: libvirt's session directories and ours beside them.
    pub fn user(xdg: &Xdg) -> Self {
        Self {
            scope: Scope::User,
            identity: xdg.config.join("libvirt"),
            etc_libvirt: xdg.config.join("libvirt"),
            lib_libvirt: xdg.data.join("libvirt"),
            lib_lodge: xdg.data.join("lodge"),
            cache_lodge: xdg.cache.join("lodge"),
            run_libvirt: xdg.runtime.join("libvirt"),
            run_lodge: xdg.runtime.join("lodge"),
            log_lodge: xdg.state.join("lodge/log"),
        }
    }

    fn below(scope: Scope, dir: &Path) -> Self {
        Self {
            scope,
            identity: dir.to_owned(),
            etc_libvirt: dir.join("etc/libvirt"),
            lib_libvirt: dir.join("var/lib/libvirt"),
            lib_lodge: dir.join("var/lib/lodge"),
            cache_lodge: dir.join("var/cache/lodge"),
            run_libvirt: dir.join("run/libvirt"),
            run_lodge: dir.join("run/lodge"),
            log_lodge: dir.join("var/log/lodge"),
        }
    }

    /// Whose tree it is.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Is it the host's own?
    pub fn is_system(&self) -> bool {
        self.scope == Scope::System
    }

    /// The canonical directory that tells this root from others (a user's session: its `…/libvirt`).
    pub fn dir(&self) -> &Path {
        &self.identity
    }

    /// A short name of this root for nft tables, cgroups and marks on bridges: `system`, else eight
    /// hexadecimal digits that depend on the canonical directory alone.
    pub fn tag(&self) -> String {
        if self.is_system() {
            return "system".to_owned();
        }
        // FNV-1a, written out so that the tag never changes with a library.
        let hash = self
            .identity
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
    }

    /// `etc/libvirt`: the files that libvirt's daemons are configured by.
    pub fn libvirt_configuration(&self) -> PathBuf {
        self.etc_libvirt.clone()
    }

    /// `etc/pki`: certificates, where libvirt has them. A user's session has the host's.
    pub fn pki(&self) -> PathBuf {
        match self.scope {
            Scope::User => PathBuf::from("/etc/pki"),
            Scope::System | Scope::Directory => self.identity.join("etc/pki"),
        }
    }

    /// `etc/lodge`: what is configured of Lodge alone.
    pub fn configuration(&self) -> PathBuf {
        self.etc_libvirt.parent().unwrap_or(&self.identity).join("lodge")
    }

    /// `run/libvirt`: libvirt's sockets.
    pub fn libvirt_run(&self) -> PathBuf {
        self.run_libvirt.clone()
    }

    /// `etc/libvirt/qemu`: domains' definitions.
    pub fn domains(&self) -> PathBuf {
        self.etc_libvirt.join("qemu")
    }

    /// `etc/libvirt/qemu/networks`: networks' definitions.
    pub fn networks(&self) -> PathBuf {
        self.etc_libvirt.join("qemu/networks")
    }

    /// `etc/libvirt/storage`: pools' definitions.
    pub fn pools(&self) -> PathBuf {
        self.etc_libvirt.join("storage")
    }

    /// `etc/libvirt/secrets`.
    pub fn secrets(&self) -> PathBuf {
        self.etc_libvirt.join("secrets")
    }

    /// `var/lib/libvirt/images`: the default pool.
    pub fn default_pool(&self) -> PathBuf {
        self.lib_libvirt.join("images")
    }

    /// `var/lib/libvirt/qemu/nvram`.
    pub fn nvram(&self) -> PathBuf {
        self.lib_libvirt.join("qemu/nvram")
    }

    /// The UEFI variables of a guest whose document names no file for them.
    pub fn nvram_of(&self, name: &str) -> PathBuf {
        self.nvram().join(format!("{name}_VARS.fd"))
    }

    /// `var/lib/libvirt/swtpm/UUID`: the state of a guest's emulated TPM, `tpm2` or `tpm1.2` below it. A user's
    /// session has it beside the definitions, as libvirt's.
    pub fn swtpm_state(&self, id: Uuid) -> PathBuf {
        let all = match self.scope {
            Scope::User => self.etc_libvirt.join("qemu/swtpm"),
            Scope::System | Scope::Directory => self.lib_libvirt.join("swtpm"),
        };
        all.join(id.to_string())
    }

    /// `var/log/swtpm/libvirt/qemu`: what emulated TPMs log, `NAME-swtpm.log`.
    pub fn swtpm_logs(&self) -> PathBuf {
        match self.scope {
            Scope::User => self.log_lodge.join("swtpm"),
            Scope::System | Scope::Directory => self.identity.join("var/log/swtpm/libvirt/qemu"),
        }
    }

    /// `var/lib/swtpm-localca`: whose certificates new TPMs get. None: swtpm's own configuration says.
    pub fn swtpm_authority(&self) -> Option<PathBuf> {
        (self.scope == Scope::Directory).then(|| self.identity.join("var/lib/swtpm-localca"))
    }

    /// `var/lib/libvirt/qemu/ram`: memory of guests that have it in files; those have no names.
    pub fn memory(&self) -> PathBuf {
        self.lib_libvirt.join("qemu/ram")
    }

    /// `var/lib/libvirt/qemu/save`: managed saves, `NAME.save`.
    pub fn managed_saves(&self) -> PathBuf {
        self.lib_libvirt.join("qemu/save")
    }

    /// `var/lib/libvirt/qemu/snapshot`: what is known of snapshots, `DOMAIN/NAME.xml`.
    pub fn snapshots(&self) -> PathBuf {
        self.lib_libvirt.join("qemu/snapshot")
    }

    /// `var/lib/lodge`: what is ours alone.
    pub fn state(&self) -> PathBuf {
        self.lib_lodge.clone()
    }

    /// `var/lib/lodge/lodge.db`.
    pub fn db(&self) -> PathBuf {
        self.lib_lodge.join("lodge.db")
    }

    /// `var/lib/lodge/lodge.lock`: held by the daemon that uses this root.
    pub fn lock_file(&self) -> PathBuf {
        self.lib_lodge.join("lodge.lock")
    }

    /// `var/lib/lodge/images`: images that `lodge run` clones.
    pub fn images(&self) -> PathBuf {
        self.lib_lodge.join("images")
    }

    /// `var/lib/lodge/seeds`: `UUID.iso`, and what they are made of.
    pub fn seeds(&self) -> PathBuf {
        self.lib_lodge.join("seeds")
    }

    /// `var/lib/lodge/leases`: netd's journals.
    pub fn leases(&self) -> PathBuf {
        self.lib_lodge.join("leases")
    }

    /// `var/cache/lodge`: what can be made again.
    pub fn cache(&self) -> PathBuf {
        self.cache_lodge.clone()
    }

    /// `var/log/lodge`.
    pub fn logs(&self) -> PathBuf {
        self.log_lodge.clone()
    }

    /// `run/lodge`.
    pub fn run(&self) -> PathBuf {
        self.run_lodge.clone()
    }

    /// `run/lodge/lodge.sock`: the REST API.
    pub fn rest_socket(&self) -> PathBuf {
        self.run_lodge.join("lodge.sock")
    }

    /// `var/lib/libvirt`: libvirt's state that outlives a boot.
    pub fn libvirt_lib(&self) -> PathBuf {
        self.lib_libvirt.clone()
    }

    /// `run/libvirt/NAME`: a socket of libvirt's, such as `libvirt-sock`.
    pub fn libvirt_socket(&self, name: &str) -> PathBuf {
        self.run_libvirt.join(name)
    }

    /// `run/lodge/guests`.
    pub fn guests(&self) -> PathBuf {
        self.run_lodge.join("guests")
    }

    /// `run/lodge/guests/UUID`: a running guest's sockets, process, console log.
    pub fn guest(&self, id: Uuid) -> PathBuf {
        self.run_lodge.join("guests").join(id.to_string())
    }

    /// `run/lodge/hostdevs`: what guests have of the host's devices, and whom it is given back to.
    pub fn host_devices(&self) -> PathBuf {
        self.run_lodge.join("hostdevs")
    }

    /// `run/lodge/networks`: running networks' control sockets and processes.
    pub fn running_networks(&self) -> PathBuf {
        self.run_lodge.join("networks")
    }

    /// Makes the directories that are missing. Secrets, keys and guests' directories are their owner's only.
    pub fn prepare(&self) -> Result<(), RootError> {
        let private = [
            self.etc_libvirt.join("qemu"),
            self.secrets(),
            self.seeds(),
            self.managed_saves(),
            self.snapshots(),
        ];
        let open = [
            self.networks(),
            self.pools(),
            self.default_pool(),
            self.nvram(),
            self.images(),
            self.leases(),
            self.cache(),
            self.logs(),
            self.run(),
            self.run_libvirt.clone(),
            self.guests(),
            self.running_networks(),
        ];
        let parents = [self.etc_libvirt.clone(), self.lib_libvirt.clone(), self.lib_lodge.clone()];
        let all = parents.iter().map(|dir| (dir, 0o755)).chain(private.iter().map(|dir| (dir, 0o700)));
        for (path, mode) in all.chain(open.iter().map(|dir| (dir, 0o755))) {
            lodge_sys::fs::create_dirs_durable(path, mode)
                .map_err(|source| RootError::Create { path: path.clone(), source })?;
        }
        Ok(())
    }

    /// Takes the root for this process, or says whose it is.
    pub fn lock(&self) -> Result<Lock, RootError> {
        let dir = self.state();
        lodge_sys::fs::create_dirs_durable(&dir, 0o755)
            .map_err(|source| RootError::Create { path: dir, source })?;
        lodge_sys::fs::lock_exclusive(&self.lock_file())
            .map_err(|source| RootError::Lock { root: self.identity.clone(), source })
    }
}

/// The canonical form of a path whose last parts may be missing.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(canonical(parent)?.join(name)),
            _ => Err(error),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use lodge_model::Kind;

    use super::*;

    #[test]
    fn the_system_root_is_libvirts_tree() {
        let root = Root::system();
        assert_eq!(root.domains(), Path::new("/etc/libvirt/qemu"));
        assert_eq!(root.db(), Path::new("/var/lib/lodge/lodge.db"));
        assert_eq!(root.rest_socket(), Path::new("/run/lodge/lodge.sock"));
        assert_eq!(root.swtpm_logs(), Path::new("/var/log/swtpm/libvirt/qemu"));
        assert_eq!(root.swtpm_authority(), None);
        assert_eq!(root.tag(), "system");
        assert_eq!(Root::at(Path::new("/")).unwrap(), root);
    }

    #[test]
    fn the_tag_follows_the_canonical_directory() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let real = Root::at(&dir.path().join("real")).unwrap();
        assert_eq!(Root::at(&link).unwrap().tag(), real.tag());
        assert_eq!(real.tag().len(), 8);
        assert_ne!(Root::at(&dir.path().join("other")).unwrap().tag(), real.tag());
    }

    #[test]
    fn a_second_daemon_on_the_root_is_told_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path()).unwrap();
        let _held = root.lock().unwrap();
        let error = root.lock().unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(error.hint().unwrap().contains(&std::process::id().to_string()));
    }

    #[test]
    fn a_users_session_is_under_its_directories() {
        let xdg = Xdg {
            config: "/h/.config".into(),
            data: "/h/.local/share".into(),
            cache: "/h/.cache".into(),
            state: "/h/.local/state".into(),
            runtime: "/run/user/7".into(),
        };
        let root = Root::user(&xdg);
        assert_eq!(root.domains(), Path::new("/h/.config/libvirt/qemu"));
        assert_eq!(root.default_pool(), Path::new("/h/.local/share/libvirt/images"));
        assert_eq!(root.rest_socket(), Path::new("/run/user/7/lodge/lodge.sock"));
    }
}
