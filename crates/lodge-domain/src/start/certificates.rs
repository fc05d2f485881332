//! Certificates for TLS, where libvirt has them (`/etc/pki`, or where `qemu.conf` says): found, looked at, and copied for
//! the guest's own user, who may not read the host's. The copies lie in the guest's own directory, and go with the run.
//!
//! Deliberately absent: what they say. QEMU looks at that, and a client of the guest's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_qemu::{Claims, Credentials, Descriptors};
use lodge_store::saga::Failure;

use super::file_failure;
use super::served::{own_directory, write_own};
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

    /// The directory, as QEMU can open it; none: this host has none.
    pub fn of(&self, purpose: Purpose, descriptors: &mut Descriptors) -> Result<Option<String>, Failure> {
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
            refuse_locked(&path, &bytes)?;
            if let (Some(own), Some(user)) = (&own, self.user) {
                write_own(&own.join(name), &bytes, user)?;
            }
        }
        let Some(own) = own else { return Ok(Some(dir.display().to_string())) };
        opened(&own, descriptors).map(Some)
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
            claims.stream_certificates = self.of(Purpose::Streams { serve }, descriptors)?;
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
    Err(failure.with_hint("store it without one, for root alone to read".to_owned()))
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
            let certificates = Certificates { pki, settings, dir: self.dir.path(), user: None };
            certificates.of(purpose, &mut Descriptors::default())
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
        };
        let place = certificates.of(Purpose::Spice, &mut descriptors).unwrap().unwrap();
        let mut names: Vec<String> = std::fs::read_dir(place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["ca-cert.pem", "server-cert.pem", "server-key.pem"]);
    }
}
