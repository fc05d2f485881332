//! Certificates for TLS, where libvirt has them (`/etc/pki`, or where `qemu.conf` says): found, looked at, and copied for
//! the guest's own user, who may not read the host's. The copies lie in the guest's own directory, and go with the run.
//!
//! A key that has a passphrase is opened with the secret that `qemu.conf` names for it.
//! Deliberately absent: what they say. QEMU looks at that, and a client of the guest's.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::graphics::GraphicsKind;
use lodge_qemu::{Claims, Credentials, Descriptors, FdNumber};
use lodge_store::saga::Failure;
use uuid::Uuid;

use super::file_failure;
use super::served::{own_directory, write_own};
use super::steps::refused;
use crate::domains::Shared;
use crate::ports::PortError;
use crate::settings::{Service, Settings};

/// The authority's, which all need.
const AUTHORITY: [&str; 2] = ["ca-cert.pem", "ca-crl.pem"];
const OF_CLIENT: [&str; 2] = ["client-cert.pem", "client-key.pem"];
const OF_SERVER: [&str; 2] = ["server-cert.pem", "server-key.pem"];

/// What they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Disks that a server has: QEMU is the client.
    Disks,
    /// Streams of characters: QEMU is either, or both.
    Streams {
        /// Some listen.
        serve: bool,
    },
    /// SPICE: QEMU is the server.
    Spice,
    /// VNC: QEMU is the server.
    Vnc,
}

impl Purpose {
    /// What the host says of it, and its own directory below `etc/pki`.
    fn service(self, settings: &Settings) -> (&Service, &'static str) {
        match self {
            Self::Disks => (&settings.disks, "libvirt-nbd"),
            Self::Streams { .. } => (&settings.streams, "libvirt-chardev"),
            Self::Spice => (&settings.spice, "libvirt-spice"),
            Self::Vnc => (&settings.vnc, "libvirt-vnc"),
        }
    }

    /// The directory of the copies.
    fn room(self) -> &'static str {
        match self {
            Self::Disks => "tls",
            Self::Streams { .. } => "tls-streams",
            Self::Spice => "tls-spice",
            Self::Vnc => "tls-vnc",
        }
    }

    fn serves(self) -> bool {
        matches!(self, Self::Spice | Self::Vnc | Self::Streams { serve: true })
    }

    fn connects(self) -> bool {
        matches!(self, Self::Disks | Self::Streams { .. })
    }
}

/// What the keys of a guest's certificates are opened with, as the secrets were given; none: no secret is named for it.
#[derive(Default)]
pub(super) struct Passphrases {
    vnc: Option<Result<OwnedFd, PortError>>,
    streams: Option<Result<OwnedFd, PortError>>,
    disks: Option<Result<OwnedFd, PortError>>,
}

impl Passphrases {
    /// Asks for those that the guest may need.
    pub async fn of(shared: &Shared, document: &Domain) -> Self {
        let settings = &shared.config.settings;
        let named = |service: &Service, is_used: bool| settings.secret_of(service).filter(|_| is_used);
        let screens = &document.devices.graphics;
        let has_screen =
            screens.iter().any(|screen| matches!(screen.kind, GraphicsKind::Vnc | GraphicsKind::Spice));
        let has_served = document.devices.disks.iter().any(|disk| {
            disk.source.as_deref().is_some_and(|source| source.protocol.as_deref() == Some("nbd"))
        });
        let has_streams =
            settings.streams.tls == Some(true) || lodge_qemu::secured_streams(document).is_some();
        Self {
            vnc: asked(shared, named(&settings.vnc, has_screen && settings.vnc.tls == Some(true))).await,
            streams: asked(shared, named(&settings.streams, has_streams)).await,
            disks: asked(shared, named(&settings.disks, has_served)).await,
        }
    }

    fn pass(&self, purpose: Purpose, descriptors: &mut Descriptors) -> Result<Option<FdNumber>, Failure> {
        let given = match purpose {
            Purpose::Vnc => &self.vnc,
            Purpose::Streams { .. } => &self.streams,
            Purpose::Disks => &self.disks,
            Purpose::Spice => &None,
        };
        match given {
            None => Ok(None),
            Some(Err(error)) => Err(refused(error)),
            Some(Ok(fd)) => {
                let copy = fd.try_clone().map_err(|error| {
                    Failure::new(Kind::Exhausted, format!("a passphrase cannot be given to QEMU: {error}"))
                })?;
                Ok(Some(descriptors.pass(copy)))
            }
        }
    }
}

async fn asked(shared: &Shared, secret: Option<Uuid>) -> Option<Result<OwnedFd, PortError>> {
    Some(shared.ports.secrets.tls_passphrase(secret?).await)
}

/// Certificates as QEMU can open them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Papers {
    /// Their directory.
    pub dir: String,
    /// What their key is opened with.
    pub passphrase: Option<FdNumber>,
}

/// Where they are, and for whom.
pub(super) struct Certificates<'a> {
    /// `etc/pki`.
    pub pki: PathBuf,
    /// `qemu.conf`.
    pub settings: &'a Settings,
    /// The guest's directory.
    pub dir: &'a Path,
    /// None: QEMU runs as the daemon.
    pub user: Option<&'a Credentials>,
    /// What keys are opened with.
    pub passphrases: &'a Passphrases,
}

impl Certificates<'_> {
    /// Where they may be: libvirt's order. What has a directory by name has no other.
    pub fn places(&self, purpose: Purpose) -> Vec<PathBuf> {
        let (service, name) = purpose.service(self.settings);
        if let Some(own) = &service.certificates {
            return vec![own.clone()];
        }
        let usual = self.settings.certificates.clone().unwrap_or_else(|| self.pki.join("qemu"));
        vec![self.pki.join(name), usual]
    }

    /// They, as QEMU can open them; none: this host has none.
    pub fn of(&self, purpose: Purpose, descriptors: &mut Descriptors) -> Result<Option<Papers>, Failure> {
        let mut places = self.places(purpose).into_iter();
        let Some(dir) = places.find(|dir| dir.join(AUTHORITY[0]).exists()) else { return Ok(None) };
        if purpose.serves() {
            for name in OF_SERVER {
                let path = dir.join(name);
                if !path.exists() {
                    let text = format!("`{}` is missing: who listens by TLS needs it", path.display());
                    return Err(Failure::new(Kind::NotFound, text));
                }
            }
        }
        let passphrase = self.passphrases.pass(purpose, descriptors)?;
        let server: &[&str] = if purpose.serves() { &OF_SERVER } else { &[] };
        let client: &[&str] = if purpose.connects() { &OF_CLIENT } else { &[] };
        let own = self.user.map(|user| own_directory(&self.dir.join(purpose.room()), user)).transpose()?;
        for name in AUTHORITY.iter().chain(server).chain(client) {
            let path = dir.join(name);
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(file_failure("read the certificate", &path, &error)),
            };
            if passphrase.is_none() {
                refuse_locked(&path, &bytes)?;
            }
            if let (Some(own), Some(user)) = (&own, self.user) {
                write_own(&own.join(name), &bytes, user)?;
            }
        }
        let dir = match own {
            Some(own) => opened(&own, descriptors)?,
            None => dir.display().to_string(),
        };
        Ok(Some(Papers { dir, passphrase }))
    }

    /// A place for a socket of the guest's own screen: where others find it, and as QEMU can make it.
    pub fn socket(&self, name: &str, descriptors: &mut Descriptors) -> Result<(String, String), Failure> {
        let own = match self.user {
            Some(user) => own_directory(&self.dir.join("screen"), user)?,
            None => self.dir.to_owned(),
        };
        let known = own.join(name).display().to_string();
        Ok((known, format!("{}/{name}", opened(&own, descriptors)?)))
    }

    /// A file of the host's that opens something for QEMU, as it can be opened: the right to an X display.
    pub fn copy(&self, path: &str, descriptors: &mut Descriptors) -> Result<String, Failure> {
        let Some(user) = self.user else { return Ok(path.to_owned()) };
        let path = Path::new(path);
        let bytes = std::fs::read(path).map_err(|error| file_failure("read", path, &error))?;
        let own = own_directory(&self.dir.join("x11"), user)?;
        write_own(&own.join("authority"), &bytes, user)?;
        Ok(opened(&own, descriptors)? + "/authority")
    }

    /// Those that the guest's streams need.
    pub fn pass_streams(
        &self,
        document: &Domain,
        claims: &mut Claims,
        descriptors: &mut Descriptors,
    ) -> Result<(), Failure> {
        if let Some(serve) = lodge_qemu::secured_streams(document) {
            let papers = self.of(Purpose::Streams { serve }, descriptors)?;
            claims.stream_passphrase = papers.as_ref().and_then(|papers| papers.passphrase);
            claims.stream_certificates = papers.map(|papers| papers.dir);
            claims.stream_verify = self.settings.verifies(&self.settings.streams, true);
        }
        Ok(())
    }
}

/// A key that needs a passphrase is of no use to a guest that starts by itself.
fn refuse_locked(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let is_locked = path.to_string_lossy().ends_with("-key.pem")
        && bytes.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED");
    if !is_locked {
        return Ok(());
    }
    let text = format!("the key `{}` has a passphrase, which is not known here", path.display());
    let failure = Failure::new(Kind::Unsupported, text);
    Err(failure.with_hint(
        "name its secret in qemu.conf (…_tls_x509_secret_uuid), or store it without one".to_owned(),
    ))
}

/// The directory by a name that leads there without a right on the way.
pub(super) fn opened(path: &Path, descriptors: &mut Descriptors) -> Result<String, Failure> {
    let dir = File::open(path).map_err(|error| file_failure("open", path, &error))?;
    Ok(format!("/proc/self/fd/{}", descriptors.pass(dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct House {
        dir: tempfile::TempDir,
    }

    impl House {
        fn with(files: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for file in files {
                let path = dir.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, "x").unwrap();
            }
            Self { dir }
        }

        fn of(&self, purpose: Purpose) -> Result<Option<String>, Failure> {
            self.of_with(purpose, &Settings::default())
        }

        fn of_with(&self, purpose: Purpose, settings: &Settings) -> Result<Option<String>, Failure> {
            let pki = self.dir.path().to_owned();
            let passphrases = Passphrases::default();
            let dir = self.dir.path();
            let certificates = Certificates { pki, settings, dir, user: None, passphrases: &passphrases };
            let papers = certificates.of(purpose, &mut Descriptors::default())?;
            Ok(papers.map(|papers| papers.dir))
        }
    }

    #[test]
    fn the_first_place_that_has_an_authority_is_taken() {
        let house = House::with(&["qemu/ca-cert.pem", "libvirt-nbd/ca-cert.pem", "libvirt-chardev/other"]);
        let name = |found: Option<String>| found.unwrap().rsplit('/').next().unwrap().to_owned();
        assert_eq!(name(house.of(Purpose::Disks).unwrap()), "libvirt-nbd");
        assert_eq!(name(house.of(Purpose::Streams { serve: false }).unwrap()), "qemu");
        let missing = house.of(Purpose::Spice).unwrap_err();
        assert!(missing.message.contains("qemu/server-cert.pem` is missing"), "{}", missing.message);
    }

    #[test]
    fn a_directory_that_the_host_names_is_the_only_one() {
        let house = House::with(&[
            "qemu/ca-cert.pem",
            "own/ca-cert.pem",
            "own/server-cert.pem",
            "own/server-key.pem",
        ]);
        let mut settings = Settings::default();
        let vnc = Purpose::Vnc;
        settings.vnc.certificates = Some(house.dir.path().join("own"));
        assert!(house.of_with(vnc, &settings).unwrap().unwrap().ends_with("/own"));
        settings.vnc.certificates = Some(house.dir.path().join("none"));
        assert_eq!(house.of_with(vnc, &settings).unwrap(), None);
        settings.certificates = Some(house.dir.path().join("own"));
        assert!(house.of_with(Purpose::Spice, &settings).unwrap().unwrap().ends_with("/own"));
    }

    #[test]
    fn who_listens_needs_a_certificate_of_its_own() {
        let mut files = vec!["qemu/ca-cert.pem", "qemu/server-cert.pem"];
        let missing = House::with(&files).of(Purpose::Streams { serve: true }).unwrap_err();
        assert!(missing.message.contains("server-key.pem"), "{}", missing.message);
        files.push("qemu/server-key.pem");
        House::with(&files).of(Purpose::Streams { serve: true }).unwrap().unwrap();
    }

    #[test]
    fn a_key_with_a_passphrase_is_refused() {
        let house = House::with(&["qemu/ca-cert.pem"]);
        let key = house.dir.path().join("qemu/client-key.pem");
        std::fs::write(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----").unwrap();
        let refused = house.of(Purpose::Disks).unwrap_err();
        assert!(refused.message.contains("has a passphrase"), "{}", refused.message);
    }

    #[test]
    fn a_key_with_a_passphrase_that_is_known_is_taken() {
        let house = House::with(&["qemu/ca-cert.pem"]);
        let key = house.dir.path().join("qemu/client-key.pem");
        std::fs::write(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----").unwrap();
        let of = |disks| {
            let passphrases = Passphrases { disks: Some(disks), ..Passphrases::default() };
            let settings = Settings::default();
            let (pki, dir) = (house.dir.path().to_owned(), house.dir.path());
            let certificates =
                Certificates { pki, settings: &settings, dir, user: None, passphrases: &passphrases };
            certificates.of(Purpose::Disks, &mut Descriptors::default())
        };
        let file = OwnedFd::from(tempfile::tempfile().unwrap());
        assert!(of(Ok(file)).unwrap().unwrap().passphrase.is_some());
        let missing = of(Err(PortError::new(Kind::NotFound, "no such secret"))).unwrap_err();
        assert_eq!(missing.message, "no such secret");
    }

    #[test]
    fn a_guest_with_a_user_of_its_own_gets_copies_of_what_it_needs() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root to give a file away");
        }
        let house = House::with(&[
            "libvirt-spice/ca-cert.pem",
            "libvirt-spice/server-cert.pem",
            "libvirt-spice/server-key.pem",
            "libvirt-spice/client-key.pem",
        ]);
        let user = Credentials { uid: 4242, gid: 4242, groups: Vec::new() };
        let (mut descriptors, settings) = (Descriptors::default(), Settings::default());
        let certificates = Certificates {
            pki: house.dir.path().to_owned(),
            settings: &settings,
            dir: house.dir.path(),
            user: Some(&user),
            passphrases: &Passphrases::default(),
        };
        let place = certificates.of(Purpose::Spice, &mut descriptors).unwrap().unwrap().dir;
        let mut names: Vec<String> = std::fs::read_dir(place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["ca-cert.pem", "server-cert.pem", "server-key.pem"]);
    }
}
