//! SSH keys: judging public ones, making a pair.
//!
//! A pair is made by OpenSSH's own `ssh-keygen`, which every host with an `ssh` to use it has; the private half
//! never passes through this program.

use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_sys::spawn::{Command, SpawnError};

/// Why a text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is the wrong half.
    #[error("it is a private key")]
    Private,
    /// More than one line.
    #[error("it has more than one line")]
    Lines,
    /// Longer than any key.
    #[error("it is longer than {KEY_MAX_BYTES} bytes")]
    Long,
    /// Not `TYPE BASE64 [COMMENT]`.
    #[error("it is not of the form `ssh-ed25519 AAAA… comment`")]
    Form,
}

impl KeyFault {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Private => {
                "give the public half, the file that ends in `.pub`; keep the private one to yourself"
                    .to_owned()
            }
            Self::Lines | Self::Long | Self::Form => "give one line as in `~/.ssh/id_ed25519.pub`".to_owned(),
        })
    }
}

/// The longest public key, comment included (16384-bit RSA has 2.8 kB).
pub const KEY_MAX_BYTES: usize = 8192;

/// The types that sshd knows, sshd(8) "AUTHORIZED_KEYS FILE FORMAT".
const TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

/// The key as one line without blanks around it, if it is one. Options before the type are taken too.
pub fn check_public(key: &str) -> Result<&str, KeyFault> {
    let key = key.trim();
    if key.contains("PRIVATE KEY") {
        return Err(KeyFault::Private);
    }
    if key.contains(['\n', '\r', '\0']) {
        return Err(KeyFault::Lines);
    }
    if key.len() > KEY_MAX_BYTES {
        return Err(KeyFault::Long);
    }
    let mut words = key.split([' ', '\t']).skip_while(|word| !TYPES.contains(word));
    let blob = words.next().and_then(|_| words.find(|word| !word.is_empty())).ok_or(KeyFault::Form)?;
    let is_base64 = blob.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    // Every blob begins with the length of the type's name: three zero bytes.
    if is_base64 && blob.starts_with("AAAA") && blob.len() >= 40 { Ok(key) } else { Err(KeyFault::Form) }
}

/// A key pair on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The private half's file, 0600.
    pub private_path: PathBuf,
    /// The public half, one line.
    pub public: String,
}

/// Why no pair was made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// OpenSSH is not there.
    #[error("`ssh-keygen` is not installed")]
    NoKeygen,
    /// Something is there already; it is never overwritten.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The private half's file.
        path: PathBuf,
    },
    /// It did not start.
    #[error("cannot start `ssh-keygen`")]
    Start {
        /// The cause.
        source: SpawnError,
    },
    /// It did not make one.
    #[error("`ssh-keygen` made no key `{}`", path.display())]
    Failed {
        /// The private half's file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl GenerateError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoKeygen => Kind::Unsupported,
            Self::Exists { .. } => Kind::Exists,
            Self::Start { .. } | Self::Failed { .. } => Kind::Internal,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoKeygen => {
                Some("install the package openssh-client, or give a key of yours with --ssh-key".to_owned())
            }
            Self::Exists { .. } => Some("use that key, or choose another name".to_owned()),
            Self::Failed { path, .. } => {
                Some(format!("check the directory of `{}` and its free space", path.display()))
            }
            Self::Start { .. } => None,
        }
    }
}

/// Makes an ed25519 pair `path` and `path.pub`, without a passphrase. The directory must exist.
pub async fn generate(path: &Path, comment: &str) -> Result<KeyPair, GenerateError> {
    if path.exists() {
        return Err(GenerateError::Exists { path: path.to_owned() });
    }
    let keygen = ["/usr/bin/ssh-keygen", "/usr/local/bin/ssh-keygen", "/bin/ssh-keygen"];
    let keygen = keygen.iter().find(|program| Path::new(program).exists()).ok_or(GenerateError::NoKeygen)?;
    let mut command = Command::new(*keygen);
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path);
    let process = command.spawn().map_err(|source| GenerateError::Start { source })?;
    let failed = |source| GenerateError::Failed { path: path.to_owned(), source };
    process.ended().await.map_err(failed)?;
    read_pair(path).map_err(failed)
}

/// The pair that is there.
pub fn read_pair(path: &Path) -> std::io::Result<KeyPair> {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let public = std::fs::read_to_string(public)?.trim().to_owned();
    path.metadata()?;
    Ok(KeyPair { private_path: path.to_owned(), public })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1bP6sZ1Y4l3wQxMd9yE0l2o2v3kPZ0dO5m8c9a2B4x me@host";

    #[test]
    fn public_keys_are_told_from_what_is_none() {
        let table = [
            (GOOD, Ok(GOOD)),
            (&format!("  {GOOD}\n"), Ok(GOOD)),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", Err(KeyFault::Private)),
            (&format!("{GOOD}\n{GOOD}"), Err(KeyFault::Lines)),
            ("", Err(KeyFault::Form)),
            ("ssh-ed25519", Err(KeyFault::Form)),
            ("ssh-ed25519 AAAA\"; rm", Err(KeyFault::Form)),
            (&"x".repeat(9000), Err(KeyFault::Long)),
        ];
        for (key, expected) in table {
            assert_eq!(check_public(key), expected, "{key:.40}");
        }
        let with_options = format!("from=\"10.0.0.0/8\" {GOOD}");
        assert_eq!(check_public(&with_options), Ok(with_options.as_str()));
    }

    #[tokio::test]
    async fn a_pair_is_made_once_and_its_private_half_is_private() {
        use std::os::unix::fs::PermissionsExt;
        if !Path::new("/usr/bin/ssh-keygen").exists() {
            eprintln!("skipped: no ssh-keygen here");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let pair = generate(&path, "lodge").await.unwrap();
        assert!(check_public(&pair.public).is_ok() && pair.public.ends_with(" lodge"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(generate(&path, "lodge").await.unwrap_err().kind(), Kind::Exists);
        assert_eq!(read_pair(&path).unwrap(), pair);
    }
}
