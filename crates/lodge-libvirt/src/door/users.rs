//! Who may log in with name and password: `etc/lodge/sasl-users` under the root, kept by `lodge sasl-user`.
//!
//! libvirt keeps these in Cyrus SASL's `sasldb`, in clear text. Here a line per user and mechanism has what SCRAM's
//! server side needs and no more (RFC 5802, section 3): who reads the file can check a password, not log in with it.
//!
//! ```text
//! joe SCRAM-SHA-256 65536 SALT STORED-KEY SERVER-KEY        # the last three in hexadecimal digits
//! ```

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

/// How often a password is hashed: some ten milliseconds for who tries one.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(65_536).expect("it is not 0");
const SALT_BYTES: usize = 16;
/// Longest name and password.
const TEXT_MAX_BYTES: usize = 255;
/// Longest file.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A mechanism that can be logged in with; the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 5802.
    Sha1,
    /// RFC 7677.
    Sha256,
    /// As RFC 7677, with the longer hash.
    Sha512,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// SASL's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// By SASL's name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == name)
    }

    /// Length of its keys.
    pub fn key_bytes(self) -> usize {
        self.digest().output_len()
    }

    /// The hash.
    pub fn hash(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.digest(), bytes).as_ref().to_vec()
    }

    /// The hash with a key.
    pub fn sign(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac(), key), bytes).as_ref().to_vec()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// What the server needs to check one user's password. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// How often the password was hashed.
    pub iterations: u32,
    /// What was hashed with it.
    pub salt: Vec<u8>,
    /// The hash of the client's key.
    pub stored_key: Vec<u8>,
    /// What the server proves itself by.
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    fn of(mechanism: Mechanism, password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let mut salted = vec![0; mechanism.key_bytes()];
        pbkdf2::derive(mechanism.pbkdf2(), iterations, &salt, password.as_bytes(), &mut salted);
        Self {
            iterations: iterations.get(),
            salt,
            stored_key: mechanism.hash(&mechanism.sign(&salted, b"Client Key")),
            server_key: mechanism.sign(&salted, b"Server Key"),
        }
    }

    /// One that no password fits.
    pub fn decoy(salt: Vec<u8>, key: Vec<u8>) -> Self {
        Self { iterations: ITERATIONS.get(), salt, stored_key: key.clone(), server_key: key }
    }

    fn line(&self, name: &str, mechanism: Mechanism) -> String {
        format!(
            "{name} {} {} {} {} {}",
            mechanism.as_str(),
            self.iterations,
            hex(&self.salt),
            hex(&self.stored_key),
            hex(&self.server_key)
        )
    }
}

/// The file. It is read at every use: a user taken out is out at once.
#[derive(Debug, Clone)]
pub struct Users {
    path: PathBuf,
}

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It is there and cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not as it should be.
    #[error("{}:{line}: not a user's line", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A name or password that cannot be.
    #[error("{0}")]
    Unfit(&'static str),
    /// There is no such user.
    #[error("there is no user `{0}`")]
    NoUser(String),
}

impl UsersError {
    /// The sort.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Write { .. } => Kind::Denied,
            Self::Line { .. } => Kind::Corrupt,
            Self::Unfit(_) => Kind::InvalidInput,
            Self::NoUser(_) => Kind::NotFound,
        }
    }

    /// What to do next, where something can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } | Self::Write { .. } => Some("the file is the daemon's user's (root's) alone"),
            Self::Line { .. } => Some("remove the line and add the user again: lodge sasl-user add NAME"),
            Self::NoUser(_) => Some("lodge sasl-user list shows who there is"),
            Self::Unfit(_) => None,
        }
    }
}

impl Users {
    /// The file at `path`; it need not be there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Those there are, sorted.
    pub fn names(&self) -> Result<Vec<String>, UsersError> {
        let lines = self.lines()?;
        let names: BTreeSet<_> =
            lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        Ok(names.into_iter().collect())
    }

    /// What `name` is checked by with `mechanism`; none if there is no such user.
    pub fn verifier(&self, name: &str, mechanism: Mechanism) -> Result<Option<Verifier>, UsersError> {
        for (at, line) in self.lines()?.iter().enumerate() {
            let parts: Vec<&str> = line.split(' ').collect();
            if parts.first() != Some(&name) || parts.get(1) != Some(&mechanism.as_str()) {
                continue;
            }
            return match read_verifier(&parts[2..], mechanism) {
                Some(verifier) => Ok(Some(verifier)),
                None => Err(UsersError::Line { path: self.path.clone(), line: at + 1 }),
            };
        }
        Ok(None)
    }

    /// Adds a user, or gives one another password.
    pub fn set(&self, name: &str, password: &str) -> Result<(), UsersError> {
        let fits = |c: char| !c.is_control() && !c.is_whitespace();
        if name.is_empty() || name.len() > TEXT_MAX_BYTES || !name.chars().all(fits) {
            return Err(UsersError::Unfit("a user's name has 1 to 255 bytes and no spaces"));
        }
        // SASLprep (RFC 4013) leaves ASCII as it is; libvirt's clients do not prepare anything else.
        if password.is_empty() || password.len() > TEXT_MAX_BYTES || password.chars().any(char::is_control) {
            return Err(UsersError::Unfit("a password has 1 to 255 bytes and no control characters"));
        }
        let mut lines = self.without(name)?;
        for mechanism in Mechanism::ALL {
            let mut salt = vec![0; SALT_BYTES];
            SystemRandom::new()
                .fill(&mut salt)
                .map_err(|_| UsersError::Unfit("the kernel gives no random numbers"))?;
            lines.push(Verifier::of(mechanism, password, salt, ITERATIONS).line(name, mechanism));
        }
        self.write(&lines)
    }

    /// Takes a user out.
    pub fn remove(&self, name: &str) -> Result<(), UsersError> {
        let lines = self.without(name)?;
        if lines.len() == self.lines()?.len() {
            return Err(UsersError::NoUser(name.to_owned()));
        }
        self.write(&lines)
    }

    /// A user with one mechanism and a given salt, for examples of standards.
    #[cfg(test)]
    pub(super) fn set_derived(
        &self,
        name: &str,
        mechanism: Mechanism,
        password: &str,
        salt: Vec<u8>,
        iterations: u32,
    ) -> Result<(), UsersError> {
        let iterations = NonZeroU32::new(iterations).unwrap();
        self.write(&[Verifier::of(mechanism, password, salt, iterations).line(name, mechanism)])
    }

    fn without(&self, name: &str) -> Result<Vec<String>, UsersError> {
        let mut lines = self.lines()?;
        lines.retain(|line| line.split(' ').next() != Some(name));
        Ok(lines)
    }

    fn lines(&self) -> Result<Vec<String>, UsersError> {
        let failed = |source| UsersError::Read { path: self.path.clone(), source };
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
            Ok(metadata) if metadata.len() > FILE_MAX_BYTES => {
                return Err(failed(io::ErrorKind::FileTooLarge.into()));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&self.path).map_err(failed)?;
        Ok(text
            .lines()
            .map(str::to_owned)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect())
    }

    fn write(&self, lines: &[String]) -> Result<(), UsersError> {
        let failed = |source| UsersError::Write { path: self.path.clone(), source };
        let text = format!("# Kept by `lodge sasl-user`.\n{}\n", lines.join("\n"));
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        lodge_sys::fs::create_dirs_durable(directory, 0o755).map_err(failed)?;
        lodge_sys::fs::write_durable(&self.path, text.as_bytes(), 0o600).map_err(failed)
    }
}

fn read_verifier(parts: &[&str], mechanism: Mechanism) -> Option<Verifier> {
    let [iterations, salt, stored_key, server_key] = parts else { return None };
    let length = mechanism.digest().output_len();
    let key = |text: &str| bytes(text).filter(|key| key.len() == length);
    Some(Verifier {
        iterations: iterations.parse().ok().filter(|iterations| *iterations > 0)?,
        salt: bytes(salt)?,
        stored_key: key(stored_key)?,
        server_key: key(server_key)?,
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn users_come_change_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let users = Users::at(directory.path().join("lodge/sasl-users"));
        assert_eq!(users.names().unwrap(), Vec::<String>::new());
        users.set("joe", "secret").unwrap();
        users.set("ann", "other").unwrap();
        let first = users.verifier("joe", Mechanism::Sha256).unwrap().unwrap();
        users.set("joe", "new").unwrap();
        assert_ne!(users.verifier("joe", Mechanism::Sha256).unwrap().unwrap(), first);
        assert_eq!(users.names().unwrap(), ["ann", "joe"]);
        let mode = std::fs::metadata(&users.path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        users.remove("joe").unwrap();
        assert!(users.verifier("joe", Mechanism::Sha1).unwrap().is_none());
        assert_eq!(users.remove("joe").unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn passwords_do_not_stand_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let users = Users::at(directory.path().join("sasl-users"));
        users.set("joe", "my-very-own-secret").unwrap();
        assert!(!std::fs::read_to_string(&users.path).unwrap().contains("my-very-own"));
        assert_eq!(users.set("a b", "x").unwrap_err().kind(), Kind::InvalidInput);
        assert_eq!(users.set("joe", "").unwrap_err().kind(), Kind::InvalidInput);
    }
}
