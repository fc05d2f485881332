//! Secrets: what disks, logins and TPMs are locked with, kept as libvirt keeps them.
//!
//! ```text
//!  etc/libvirt/secrets/UUID.xml      the document, 0600, without libvirt's header, as libvirt has it
//!  etc/libvirt/secrets/UUID.base64   the value, 0600; neither file where the secret is ephemeral
//! ```
//!
//! A lock holds them and no owner task: an act is one small file, and nothing is waited for while it is held.
//! Values are never logged; nothing that holds one has a `Debug` that shows it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lodge_model::Kind;
use lodge_model::secret::{BadSecret, Secret, SecretUsage};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::error::Result;
use crate::{Caller, Engine};

/// Events a slow reader may be behind.
const EVENTS_KEPT: usize = 1024;
/// Longest value libvirt's protocol takes.
const VALUE_MAX_BYTES: usize = 65_536;

/// What happened to a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretEvent {
    /// Its document is new or another.
    Defined,
    /// It is gone.
    Undefined,
    /// Its value is another.
    ValueChanged,
}

/// An event: which secret, and what.
pub type SecretHappening = (Arc<Secret>, SecretEvent);

/// Why an act on a secret was not done. The words are libvirt's.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is none such.
    #[error("{0}")]
    NotFound(String),
    /// The document is no good.
    #[error(transparent)]
    Document(#[from] BadSecret),
    /// Another secret is in the way.
    #[error("{0}")]
    Clash(String),
    /// What is private stays so.
    #[error("{0}")]
    Denied(&'static str),
    /// Its value is told to nobody.
    #[error("secret is private")]
    Private,
    /// A value came in another form than base64.
    #[error("the value is not base64")]
    NotBase64,
    /// There is nothing in the value.
    #[error("a secret's value cannot be empty; what was given may be no base64")]
    Empty,
    /// The value is too long.
    #[error("a secret's value has at most {VALUE_MAX_BYTES} bytes")]
    TooLong,
    /// A file could not be written or removed.
    #[error("cannot {act} `{}`", path.display())]
    File {
        /// The act.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
}

impl SecretError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) => Kind::NotFound,
            Self::Document(_) | Self::NotBase64 | Self::Empty | Self::TooLong => Kind::InvalidInput,
            Self::Clash(_) => Kind::Exists,
            Self::Denied(_) | Self::Private => Kind::Denied,
            Self::File { .. } => Kind::Internal,
        }
    }

    /// There is no next step to tell.
    pub fn hint(&self) -> Option<&'static str> {
        None
    }
}

/// A secret with its value.
struct Kept {
    document: Arc<Secret>,
    value: Option<Vec<u8>>,
}

/// All secrets of one root.
pub struct Secrets {
    directory: PathBuf,
    kept: Mutex<BTreeMap<Uuid, Kept>>,
    events: broadcast::Sender<SecretHappening>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Reads those that are kept. A file that is no good is told in the log and left alone.
    pub(crate) fn open(directory: PathBuf) -> Self {
        let mut kept = BTreeMap::new();
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "xml") {
                continue;
            }
            match std::fs::read_to_string(&path)
                .map_err(|error| error.to_string())
                .and_then(|text| Secret::parse(&text).map_err(|error| error.to_string()))
            {
                Ok(document) => {
                    let value = std::fs::read(path.with_extension("base64")).ok();
                    let value = value.and_then(|text| base64::decode(&text));
                    kept.insert(document.uuid, Kept { document: Arc::new(document), value });
                }
                Err(error) => tracing::error!(file = %path.display(), error, "a secret cannot be read"),
            }
        }
        Self { directory, kept: Mutex::new(kept), events: broadcast::channel(EVENTS_KEPT).0 }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, uuid: Uuid, extension: &str) -> PathBuf {
        self.directory.join(format!("{uuid}.{extension}"))
    }

    /// All of them, by UUID.
    pub fn list(&self) -> Vec<Arc<Secret>> {
        self.lock().values().map(|kept| Arc::clone(&kept.document)).collect()
    }

    /// One by its UUID.
    pub fn by_uuid(&self, uuid: Uuid) -> std::result::Result<Arc<Secret>, SecretError> {
        let kept = self.lock();
        let found = kept.get(&uuid).map(|kept| Arc::clone(&kept.document));
        found.ok_or_else(|| SecretError::NotFound(format!("no secret with matching uuid '{uuid}'")))
    }

    /// One by what it is for.
    pub fn by_usage(&self, usage: &SecretUsage) -> std::result::Result<Arc<Secret>, SecretError> {
        let kept = self.lock();
        let found = kept.values().find(|kept| kept.document.usage.as_ref() == Some(usage));
        let missing = || SecretError::NotFound(format!("no secret with matching usage '{}'", usage.id));
        found.map(|kept| Arc::clone(&kept.document)).ok_or_else(missing)
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<SecretHappening> {
        self.events.subscribe()
    }

    /// Takes in a document: a new secret, or another document of one that is there. Its value stays.
    pub(crate) fn define(&self, xml: &str) -> std::result::Result<Arc<Secret>, SecretError> {
        let document = Arc::new(Secret::parse(xml)?);
        let mut kept = self.lock();
        if let Some(old) = kept.get(&document.uuid) {
            if old.document.usage != document.usage {
                let (uuid, id) = (document.uuid, old.document.usage_id());
                let text = format!("a secret with UUID {uuid} is already defined for use with {id}");
                return Err(SecretError::Clash(text));
            }
            if old.document.private && !document.private {
                return Err(SecretError::Denied("cannot change private flag on existing secret"));
            }
        } else if let Some(usage) = &document.usage
            && let Some(other) = kept.values().find(|other| other.document.usage.as_ref() == Some(usage))
        {
            let (uuid, id) = (other.document.uuid, &usage.id);
            let text = format!("a secret with UUID {uuid} already defined for use with {id}");
            return Err(SecretError::Clash(text));
        }
        let value = kept.get(&document.uuid).and_then(|old| old.value.clone());
        self.store(&document, value.as_deref())?;
        kept.insert(document.uuid, Kept { document: Arc::clone(&document), value });
        drop(kept);
        self.tell(&document, SecretEvent::Defined);
        Ok(document)
    }

    /// Both files as they are to be; none where the secret is ephemeral.
    fn store(&self, document: &Secret, value: Option<&[u8]>) -> std::result::Result<(), SecretError> {
        if document.ephemeral {
            return self.remove(document.uuid);
        }
        write(&self.file(document.uuid, "xml"), document.to_xml().as_bytes())?;
        value.map_or(Ok(()), |value| {
            write(&self.file(document.uuid, "base64"), base64::encode(value).as_bytes())
        })
    }

    fn remove(&self, uuid: Uuid) -> std::result::Result<(), SecretError> {
        for extension in ["base64", "xml"] {
            let path = self.file(uuid, extension);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(SecretError::File { act: "remove", path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives a secret its value.
    pub(crate) fn set_value(&self, uuid: Uuid, value: Vec<u8>) -> std::result::Result<(), SecretError> {
        if value.len() > VALUE_MAX_BYTES {
            return Err(SecretError::TooLong);
        }
        if value.is_empty() {
            return Err(SecretError::Empty);
        }
        let document = self.by_uuid(uuid)?;
        let mut kept = self.lock();
        let Some(entry) = kept.get_mut(&uuid) else { return Ok(()) };
        self.store(&document, Some(&value))?;
        entry.value = Some(value);
        drop(kept);
        self.tell(&document, SecretEvent::ValueChanged);
        Ok(())
    }

    /// A secret's value, for a client: that of a private one is told to nobody.
    pub(crate) fn value(&self, uuid: Uuid) -> std::result::Result<Vec<u8>, SecretError> {
        if self.by_uuid(uuid)?.private {
            return Err(SecretError::Private);
        }
        self.value_for_guest(uuid)
    }

    /// A secret's value for the daemon's own use: disks, logins.
    pub fn value_for_guest(&self, uuid: Uuid) -> std::result::Result<Vec<u8>, SecretError> {
        let kept = self.lock();
        let value = kept.get(&uuid).and_then(|kept| kept.value.clone());
        value.ok_or_else(|| SecretError::NotFound(format!("secret '{uuid}' does not have a value")))
    }

    /// Forgets a secret and its value.
    pub(crate) fn undefine(&self, uuid: Uuid) -> std::result::Result<(), SecretError> {
        let document = self.by_uuid(uuid)?;
        let mut kept = self.lock();
        self.remove(uuid)?;
        kept.remove(&uuid);
        drop(kept);
        self.tell(&document, SecretEvent::Undefined);
        Ok(())
    }

    fn tell(&self, document: &Arc<Secret>, event: SecretEvent) {
        tracing::info!(secret = %document.uuid, usage = document.usage_id(), ?event, "secret changed");
        // Nobody listening is well.
        let _ = self.events.send((Arc::clone(document), event));
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::result::Result<(), SecretError> {
    lodge_sys::fs::write_durable(path, bytes, 0o600).map_err(|source| SecretError::File {
        act: "write",
        path: path.to_owned(),
        source,
    })
}

impl Engine {
    /// The secrets, to look at; their values are not to be seen this way.
    pub fn secrets(&self, _caller: &Caller) -> Arc<Secrets> {
        Arc::clone(&self.secrets)
    }

    /// Takes in a secret's document.
    #[crate::boxed]
    pub async fn define_secret(&self, caller: &Caller, xml: String) -> Result<Arc<Secret>> {
        caller.may_change()?;
        Ok(self.secrets.define(&xml)?)
    }

    /// Gives a secret its value.
    #[crate::boxed]
    pub async fn set_secret_value(&self, caller: &Caller, uuid: Uuid, value: Vec<u8>) -> Result<()> {
        caller.may_change()?;
        Ok(self.secrets.set_value(uuid, value)?)
    }

    /// A secret's value. Only those who may change things are told.
    #[crate::boxed]
    pub async fn secret_value(&self, caller: &Caller, uuid: Uuid) -> Result<Vec<u8>> {
        caller.may_change()?;
        Ok(self.secrets.value(uuid)?)
    }

    /// Forgets a secret.
    #[crate::boxed]
    pub async fn undefine_secret(&self, caller: &Caller, uuid: Uuid) -> Result<()> {
        caller.may_change()?;
        Ok(self.secrets.undefine(uuid)?)
    }

    /// What happens to secrets from now on.
    pub fn secret_events(&self) -> broadcast::Receiver<SecretHappening> {
        self.secrets.subscribe()
    }
}

/// The alphabet of RFC 4648, 4, with padding: how libvirt writes values.
pub(crate) mod base64 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub fn encode(bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let at = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
            let word = at(0) << 16 | at(1) << 8 | at(2);
            for place in 0..4 {
                let letter = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
                text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
            }
        }
        text
    }

    pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
        let letters: Vec<u8> =
            text.iter().copied().filter(|letter| !letter.is_ascii_whitespace() && *letter != b'=').collect();
        let mut bytes = Vec::with_capacity(letters.len() / 4 * 3);
        for chunk in letters.chunks(4) {
            let mut word = 0_u32;
            for letter in chunk {
                let value = ALPHABET.iter().position(|known| known == letter)?;
                word = word << 6 | u32::try_from(value).ok()?;
            }
            word <<= 6 * (4 - chunk.len());
            let count = (chunk.len() * 6) / 8;
            bytes.extend(word.to_be_bytes().get(1..=count)?);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_base64() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("hello", "aGVsbG8=")]
        {
            assert_eq!(base64::encode(bytes.as_bytes()), text);
            assert_eq!(base64::decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(base64::decode(b"a-b="), None);
    }

    #[test]
    fn secrets_survive_in_libvirts_files_and_ephemeral_ones_do_not() {
        let root = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(root.path().to_owned());
        let mut events = secrets.subscribe();
        let named = |name: &str| format!("<secret><usage type='ceph'><name>{name}</name></usage></secret>");
        let kept = secrets.define(&named("a")).unwrap();
        secrets.set_value(kept.uuid, b"hello".to_vec()).unwrap();
        let passing = secrets.define("<secret ephemeral='yes' private='yes'/>").unwrap();
        secrets.set_value(passing.uuid, b"gone".to_vec()).unwrap();
        assert!(matches!(secrets.value(passing.uuid), Err(SecretError::Private)));
        assert_eq!(secrets.value_for_guest(passing.uuid).unwrap(), b"gone");
        let clash = secrets.define(&named("a")).unwrap_err().to_string();
        assert!(clash.ends_with("already defined for use with a"), "{clash}");

        let again = Secrets::open(root.path().to_owned());
        assert_eq!(again.list().len(), 1);
        assert_eq!(again.value(kept.uuid).unwrap(), b"hello");
        again.undefine(kept.uuid).unwrap();
        assert!(again.value(kept.uuid).is_err());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        let told: Vec<SecretEvent> =
            std::iter::from_fn(|| events.try_recv().ok()).map(|(_, event)| event).collect();
        use SecretEvent::{Defined, ValueChanged};
        assert_eq!(told, [Defined, ValueChanged, Defined, ValueChanged]);
    }
}
