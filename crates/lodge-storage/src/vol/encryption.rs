//! Encrypted volumes: what a document asks for, judged, and `qemu-img`'s words for it. Pure but for the secrets.
//!
//! LUKS it is, of version 1, done by QEMU: a raw volume is a LUKS container, a qcow2 has LUKS inside. A passphrase
//! goes to `qemu-img` through a pipe and is in no argument, file or message.

use std::{fs::File, io::Write as _, os::fd::OwnedFd, path::Path};

use lodge_model::{
    storage::{Cipher, Encryption, EncryptionSecret, IvGenerator},
    xml::Kept,
};
use rustix::fs::{MemfdFlags, memfd_create};

use super::{facts::PoolVolume, kind::VolumeFormat, tool::Run, wanted::Wanted};
use crate::{
    chain::OpenLink,
    format::Format,
    pool::{Pools, error::PoolError},
    ports::{SecretName, SecretValue},
    unlock::Seal,
};

/// The name of the secret's object in `qemu-img`.
pub(crate) const OBJECT: &str = "passphrase";

/// Judges what a document asks for, in libvirt's words.
pub(crate) fn judge(encryption: &Encryption, format: VolumeFormat) -> Result<(), PoolError> {
    let document = |text: String| Err(PoolError::Document(text));
    match encryption.format.as_deref() {
        Some("luks") => {}
        Some(word @ ("default" | "qcow" | "luks2" | "luks-any")) => {
            return Err(PoolError::Config(format!("unsupported volume encryption format {word}")));
        }
        Some(word) => return document(format!("unknown volume encryption format type {word}")),
        None => return document("missing encryption format".to_owned()),
    }
    if encryption.engine.as_deref().is_some_and(|engine| engine != "qemu") {
        return Err(PoolError::Config("volumes are encrypted by the engine qemu only".to_owned()));
    }
    if !matches!(format, VolumeFormat::Raw | VolumeFormat::Qcow2) {
        return Err(PoolError::Config(format!("volume encryption unsupported with format {format}")));
    }
    for secret in &encryption.secrets {
        name_of(secret)?;
    }
    let words = encryption.cipher.iter().flat_map(|cipher| [&cipher.name, &cipher.mode, &cipher.hash]);
    let words = words.chain(encryption.ivgen.iter().flat_map(|ivgen| [&ivgen.name, &ivgen.hash])).flatten();
    // A comma would begin an option of its own.
    let is_word = |word: &&String| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match words.into_iter().find(|word| !is_word(word)) {
        Some(word) => document(format!("'{word}' is no name of a cipher, mode or hash")),
        None => Ok(()),
    }
}

/// Which secret is meant.
pub(crate) fn name_of(secret: &EncryptionSecret) -> Result<SecretName, PoolError> {
    let document = |text: &str| Err(PoolError::Document(text.to_owned()));
    match (secret.kind.as_deref(), &secret.uuid, &secret.usage) {
        (Some("passphrase"), Some(uuid), None) => Ok(SecretName::Uuid(*uuid)),
        (Some("passphrase"), None, Some(usage)) => Ok(SecretName::Usage(usage.clone())),
        (Some("passphrase"), Some(_), Some(_)) => document("either secret uuid or usage expected, not both"),
        (Some("passphrase"), None, None) => document("missing secret uuid or usage attribute"),
        (Some(word), ..) => Err(PoolError::Document(format!("unknown volume encryption secret type {word}"))),
        (None, ..) => document("unknown volume encryption secret type"),
    }
}

/// The one secret of a document.
pub(crate) fn the_secret(encryption: &Encryption) -> Result<SecretName, PoolError> {
    match &encryption.secrets[..] {
        [secret] => name_of(secret),
        [] => Err(PoolError::Document("no secret provided for luks encryption".to_owned())),
        _ => Err(PoolError::Document("too many secrets for luks encryption".to_owned())),
    }
}

impl Pools {
    /// The passphrase of a guest's disk with this `<encryption>`, as a file in memory.
    pub fn passphrase_of_disk(&self, encryption: &Kept) -> Result<OwnedFd, PoolError> {
        let value = self.secret_of_disk(encryption)?;
        let failed = |source| PoolError::system("cannot keep a passphrase in memory", source);
        let file = memfd_create("passphrase", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let mut file = File::from(file);
        file.write_all(&value.0).map_err(failed)?;
        Ok(file.into())
    }

    /// The same as it is.
    pub fn secret_of_disk(&self, encryption: &Kept) -> Result<SecretValue, PoolError> {
        let encryption = of_disk(encryption)?;
        judge(&encryption, VolumeFormat::Raw)?;
        self.secrets().value(&the_secret(&encryption)?)
    }

    /// How a new file of a guest's, with this `<encryption>`, is encrypted.
    pub fn seal(&self, encryption: &Kept, format: Format) -> Result<Seal, PoolError> {
        let format = match format {
            Format::Raw => VolumeFormat::Raw,
            Format::Qcow2 => VolumeFormat::Qcow2,
        };
        let encryption = of_disk(encryption)?;
        judge(&encryption, format)?;
        let secret = self.secrets().value(&the_secret(&encryption)?)?;
        Ok(Seal { options: options(&encryption, format), secret })
    }
}

/// A guest's `<encryption>` as a volume's.
fn of_disk(encryption: &Kept) -> Result<Encryption, PoolError> {
    let secret = |tree: &Kept| {
        let uuid = tree.attribute("uuid").map(str::parse).transpose();
        let uuid = uuid.map_err(|_| PoolError::Document("malformed volume encryption uuid".to_owned()))?;
        let text = |name: &str| tree.attribute(name).map(str::to_owned);
        let (kind, usage) = (text("type"), text("usage"));
        Ok(EncryptionSecret { kind, uuid, usage, ..EncryptionSecret::default() })
    };
    let text = |tree: &Kept, name: &str| tree.attribute(name).map(str::to_owned);
    let size = |tree: &Kept| tree.attribute("size").map(str::parse).transpose();
    let cipher = encryption.child("cipher").map(|tree| {
        let size = size(tree);
        let size = size.map_err(|_| PoolError::Document("cannot parse cipher size".to_owned()))?;
        let (name, mode, hash) = (text(tree, "name"), text(tree, "mode"), text(tree, "hash"));
        Ok::<_, PoolError>(Cipher { name, size, mode, hash, ..Cipher::default() })
    });
    let ivgen = encryption.child("ivgen").map(|tree| {
        let (name, hash) = (text(tree, "name"), text(tree, "hash"));
        IvGenerator { name, hash, ..IvGenerator::default() }
    });
    Ok(Encryption {
        format: text(encryption, "format"),
        engine: text(encryption, "engine"),
        secrets: encryption.all("secret").map(secret).collect::<Result<_, PoolError>>()?,
        cipher: cipher.transpose()?,
        ivgen,
        ..Encryption::default()
    })
}

/// `-o`'s words for a new image of this format.
pub(crate) fn options(encryption: &Encryption, format: VolumeFormat) -> Vec<String> {
    let prefix = if format == VolumeFormat::Qcow2 { "encrypt." } else { "" };
    let mut words = Vec::new();
    if format == VolumeFormat::Qcow2 {
        words.push("encrypt.format=luks".to_owned());
    }
    words.push(format!("{prefix}key-secret={OBJECT}"));
    let mut add = |word: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{prefix}{word}={value}")));
    };
    if let Some(Cipher { name, size, mode, hash, .. }) = &encryption.cipher {
        let name = name.as_deref().unwrap_or("aes");
        add("cipher-alg", Some(size.map_or_else(|| name.to_owned(), |size| format!("{name}-{size}"))));
        add("cipher-mode", mode.clone());
        add("hash-alg", hash.clone());
    }
    if let Some(ivgen) = &encryption.ivgen {
        add("ivgen-alg", ivgen.name.clone());
        add("ivgen-hash-alg", ivgen.hash.clone());
    }
    words
}

/// Hands a passphrase to a run: through a pipe.
pub(crate) fn with_secret(run: Run, secret: SecretValue) -> Result<Run, PoolError> {
    run.secret(secret, |path| format!("secret,id={OBJECT},file={path}"))
}

/// How `--target-image-opts` names the copy.
pub(crate) fn target_at(path: &Path, wanted: &Wanted) -> String {
    image_at(path, wanted.format, wanted.encryption.as_ref().map(|_| OBJECT))
}

/// How `--image-opts` names an image that stands on nothing.
pub(crate) fn image_at(path: &Path, format: VolumeFormat, secret: Option<&str>) -> String {
    // A comma in a value is written twice; see qemu(1).
    let path = path.display().to_string().replace(',', ",,");
    match (secret, format) {
        (Some(object), VolumeFormat::Qcow2) => {
            format!("driver=qcow2,encrypt.key-secret={object},file.filename={path}")
        }
        (Some(object), _) => format!("driver=luks,key-secret={object},file.filename={path}"),
        (None, format) if format.is_plain() => format!("driver=raw,file.filename={path}"),
        (None, format) => format!("driver={},file.filename={path}", format.as_str()),
    }
}

impl Pools {
    /// The passphrase of a volume to be made.
    pub(crate) fn secret_for(&self, wanted: &Wanted) -> Result<Option<SecretValue>, PoolError> {
        let Some(encryption) = &wanted.encryption else { return Ok(None) };
        self.secrets().value(&the_secret(encryption)?).map(Some)
    }

    /// The passphrase of a volume that is there: the one it was made with, or the one that is for its path.
    pub(crate) fn secret_of(&self, volume: &PoolVolume) -> Result<Option<SecretValue>, PoolError> {
        let Some(encryption) = &volume.encryption else { return Ok(None) };
        let name = match encryption.secrets.first() {
            Some(secret) => name_of(secret)?,
            None => match self.secrets().of_volume(&volume.path) {
                Some(uuid) => SecretName::Uuid(uuid),
                None => return Err(PoolError::Document("no secret provided for luks encryption".to_owned())),
            },
        };
        self.secrets().value(&name).map(Some)
    }

    /// The passphrases of a volume's chain. Of what it stands on, the one that the volume there was made with, or that is for
    /// its path.
    pub(crate) fn secrets_of_chain(
        &self,
        volume: &PoolVolume,
        chain: &[OpenLink],
        is_locked: fn(&OpenLink) -> bool,
    ) -> Result<Vec<Option<SecretValue>>, PoolError> {
        let secret = |(depth, link): (usize, &OpenLink)| {
            if depth == 0 {
                return self.secret_of(volume);
            }
            if !is_locked(link) {
                return Ok(None);
            }
            let path = &link.disk.path;
            let made = path.to_str().and_then(|path| self.volume_by_path(path, "path").ok());
            let made = made.map(|(_, volume)| volume).filter(|volume| {
                volume.encryption.as_ref().is_some_and(|encryption| !encryption.secrets.is_empty())
            });
            match (made, self.secrets().of_volume(path)) {
                (Some(made), _) => self.secret_of(&made),
                (None, Some(uuid)) => self.secrets().value(&SecretName::Uuid(uuid)).map(Some),
                (None, None) => Err(PoolError::NoSecret(format!(
                    "'{}' is encrypted and '{}' stands on it: define a secret for it, whose usage is that path",
                    path.display(),
                    volume.name
                ))),
            }
        };
        chain.iter().enumerate().map(secret).collect()
    }

    /// As libvirt shows an encrypted volume: with the secret that is for its path.
    pub(crate) fn with_its_secret(&self, mut volume: PoolVolume) -> PoolVolume {
        let Some(encryption) = &mut volume.encryption else { return volume };
        if encryption.secrets.is_empty()
            && let Some(uuid) = self.secrets().of_volume(&volume.path)
        {
            encryption.secrets.push(EncryptionSecret {
                kind: Some("passphrase".to_owned()),
                uuid: Some(uuid),
                ..EncryptionSecret::default()
            });
        }
        volume
    }
}

/// Whether a file below a volume is encrypted. Of a raw one its header may not say it, but its own bytes do.
pub(crate) fn is_locked(link: &OpenLink) -> bool {
    link.is_locked || link.is_container()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encryption(inner: &str, attributes: &str) -> Encryption {
        let text = format!(
            "<volume><name>v</name><target><encryption {attributes}>{inner}</encryption></target></volume>"
        );
        let volume = lodge_model::storage::Volume::parse(&text).unwrap();
        *volume.target.unwrap().encryption.unwrap()
    }

    const SECRET: &str = "<secret type='passphrase' uuid='0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f'/>";

    #[test]
    fn what_is_asked_for_is_judged_in_libvirts_words() {
        let error = |inner: &str, attributes: &str, format| {
            let encryption = encryption(inner, attributes);
            judge(&encryption, format).and_then(|()| the_secret(&encryption)).unwrap_err().to_string()
        };
        let raw = VolumeFormat::Raw;
        assert_eq!(error("", "format='luks'", raw), "no secret provided for luks encryption");
        assert_eq!(
            error(&format!("{SECRET}{SECRET}"), "format='luks'", raw),
            "too many secrets for luks encryption"
        );
        assert_eq!(error(SECRET, "format='qcow'", raw), "unsupported volume encryption format qcow");
        assert_eq!(error(SECRET, "format='rot13'", raw), "unknown volume encryption format type rot13");
        assert_eq!(
            error(SECRET, "format='luks'", VolumeFormat::Vmdk),
            "volume encryption unsupported with format vmdk"
        );
        assert_eq!(
            error("<secret type='passphrase'/>", "format='luks'", raw),
            "missing secret uuid or usage attribute"
        );
        let cipher = format!("{SECRET}<cipher name='aes,file=/etc/shadow' size='256'/>");
        assert!(error(&cipher, "format='luks'", raw).contains("is no name of a cipher"));
    }

    #[test]
    fn a_cipher_is_told_in_qemus_words() {
        let inner = format!(
            "{SECRET}<cipher name='aes' size='256' mode='xts' hash='sha512'/><ivgen name='essiv' hash='sha256'/>"
        );
        let encryption = encryption(&inner, "format='luks'");
        assert_eq!(
            options(&encryption, VolumeFormat::Raw).join(","),
            "key-secret=passphrase,cipher-alg=aes-256,cipher-mode=xts,hash-alg=sha512,ivgen-alg=essiv,\
             ivgen-hash-alg=sha256"
        );
        let of_qcow2 = options(&encryption, VolumeFormat::Qcow2);
        assert_eq!(of_qcow2[..2], ["encrypt.format=luks", "encrypt.key-secret=passphrase"]);
    }
}
