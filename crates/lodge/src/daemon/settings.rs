//! `etc/lodge/lodge.toml` under the root (a user's: `lodge/lodge.toml` in the configuration directory): what the daemon is told beside its options. An option wins.
//!
//! Only what is needed now: `accelerator_fallback = "allow"` or `"refuse"`; `tcp_sasl_without_encryption = true`; below
//! `[identity]` `duplicates = "warn"`, `"refuse"` or `"ignore"`; below `[network]` `guest_names = true`; below
//! `[storage]` `resume_when_room = false`. An unknown word is an error: a setting that is silently ignored is worse than
//! none. Who may come in is said in libvirt's own `libvirtd.conf`.

use std::path::{Path, PathBuf};

use lodge_engine::DuplicatePolicy;
use lodge_store::Root;
use serde::Deserialize;

use super::Fallback;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    accelerator_fallback: Option<Choice>,
    /// Let SASL log in over plain TCP, where all that follows can be read on the way. libvirtd never does.
    tcp_sasl_without_encryption: bool,
    identity: Identity,
    network: Network,
    storage: Storage,
}

/// What is said of networks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Network {
    /// Answer for names that guests give themselves in DHCP, as dnsmasq does.
    guest_names: bool,
}

/// What is said of storage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Storage {
    /// Guests that stand because a file system is full go on by themselves when it has room again.
    resume_when_room: bool,
}

impl Default for Storage {
    fn default() -> Self {
        Self { resume_when_room: true }
    }
}

/// What is said of identities.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Identity {
    /// What becomes of a start that would make two machines of one identity.
    duplicates: Duplicates,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Duplicates {
    #[default]
    Warn,
    Refuse,
    Ignore,
}

/// What the daemon is told beside libvirt's files.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// What to do where KVM is asked for and not usable.
    pub fallback: Fallback,
    /// SASL over plain TCP.
    pub tcp_sasl_without_encryption: bool,
    /// A start that would make two machines of one identity.
    pub duplicates: DuplicatePolicy,
    /// Names that guests give themselves.
    pub guest_names: bool,
    /// Guests on a full file system wait for somebody.
    pub stay_when_full: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Allow,
    Refuse,
}

/// Why the settings could not be taken.
#[derive(Debug)]
pub enum SettingsError {
    /// The file is there and cannot be read.
    Read { path: PathBuf, source: std::io::Error },
    /// The file is not understood.
    Parse { path: PathBuf, source: toml::de::Error },
}

impl SettingsError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "let the daemon's user read the file, or remove it",
            Self::Parse { .. } => {
                "the file knows five lines: accelerator_fallback = \"allow\" or \"refuse\", \
                 tcp_sasl_without_encryption = true or false, below [identity] duplicates = \"warn\", \"refuse\" \
                 or \"ignore\", below [network] guest_names = true or false, and below [storage] resume_when_room = true or \
                 false"
            }
        }
    }
}

impl std::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read `{}`", path.display()),
            Self::Parse { path, .. } => write!(f, "do not understand `{}`", path.display()),
        }
    }
}

impl std::error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Parse { source, .. } => Some(source),
        }
    }
}

/// The option's word, else the file's, else `allow`; the rest as the file has it.
pub fn told(option: Option<Fallback>, root: &Root) -> Result<Told, SettingsError> {
    let settings = read(&file(root))?;
    let of_file = settings.accelerator_fallback.map(|choice| match choice {
        Choice::Allow => Fallback::Allow,
        Choice::Refuse => Fallback::Refuse,
    });
    Ok(Told {
        fallback: option.or(of_file).unwrap_or(Fallback::Allow),
        tcp_sasl_without_encryption: settings.tcp_sasl_without_encryption,
        duplicates: match settings.identity.duplicates {
            Duplicates::Warn => DuplicatePolicy::Warn,
            Duplicates::Refuse => DuplicatePolicy::Refuse,
            Duplicates::Ignore => DuplicatePolicy::Ignore,
        },
        guest_names: settings.network.guest_names,
        stay_when_full: !settings.storage.resume_when_room,
    })
}

fn file(root: &Root) -> PathBuf {
    root.configuration().join("lodge.toml")
}

fn read(path: &Path) -> Result<Settings, SettingsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            toml::from_str(&text).map_err(|source| SettingsError::Parse { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(source) => Err(SettingsError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_wins_over_the_file() {
        let root = tempfile::tempdir().unwrap();
        let places = Root::at(root.path()).unwrap();
        let of = |option| told(option, &places).map(|told| told.fallback);
        assert_eq!(of(None).unwrap(), Fallback::Allow);
        std::fs::create_dir_all(root.path().join("etc/lodge")).unwrap();
        let file = root.path().join("etc/lodge/lodge.toml");
        std::fs::write(&file, "accelerator_fallback = \"refuse\"\n").unwrap();
        assert_eq!(of(None).unwrap(), Fallback::Refuse);
        assert_eq!(of(Some(Fallback::Allow)).unwrap(), Fallback::Allow);
        std::fs::write(&file, "[identity]\nduplicates = \"refuse\"\n").unwrap();
        assert_eq!(told(None, &places).unwrap().duplicates, DuplicatePolicy::Refuse);
        assert!(!told(None, &places).unwrap().guest_names);
        std::fs::write(&file, "[network]\nguest_names = true\n").unwrap();
        assert!(told(None, &places).unwrap().guest_names);
        assert!(!told(None, &places).unwrap().stay_when_full);
        std::fs::write(&file, "[storage]\nresume_when_room = false\n").unwrap();
        assert!(told(None, &places).unwrap().stay_when_full);
        std::fs::write(&file, "acelerator_fallback = \"refuse\"\n").unwrap();
        assert!(of(None).unwrap_err().source_text().contains("unknown field"));
    }

    impl SettingsError {
        fn source_text(&self) -> String {
            std::error::Error::source(self).unwrap().to_string()
        }
    }
}
