//! The document of a volume to be made: read, judged in libvirt's words.

use lodge_model::{
    Faults,
    storage::{Encryption, StorageTarget, Volume as Document},
    xml::ForeignItem,
};

use super::{encryption, facts::Features, kind::VolumeFormat};
use crate::pool::{
    backend::Backend,
    capabilities::PARTITIONS,
    error::{PoolError, of_whole},
};

/// Mode of a volume where the document says none; libvirt's.
const FILE_MODE: u32 = 0o600;

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub name: String,
    pub format: VolumeFormat,
    /// The word for a partition's content.
    pub format_word: Option<String>,
    /// Bytes; none: the backing file's.
    pub capacity: Option<u64>,
    /// Bytes to be taken at once; none: all of them.
    pub allocation: Option<u64>,
    pub mode: u32,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub compat: Option<String>,
    pub cluster_bytes: Option<u64>,
    pub features: Option<Features>,
    pub nocow: bool,
    pub encryption: Option<Encryption>,
    /// As the document says, from the pool's directory on if it is not absolute.
    pub backing: Option<(String, VolumeFormat)>,
}

impl Wanted {
    /// Reads a document of a file. `needs_capacity`: of a copy it may be left out.
    #[cfg(test)]
    pub fn read(text: &str, strict: bool, needs_capacity: bool) -> Result<Self, PoolError> {
        Self::read_for(Backend::Dir, text, strict, needs_capacity)
    }

    /// Reads a document of a volume of this type of pool.
    pub fn read_for(
        backend: Backend,
        text: &str,
        strict: bool,
        needs_capacity: bool,
    ) -> Result<Self, PoolError> {
        if strict {
            Document::parse_strict(text).map_err(|faults| schema(&faults))?;
        }
        let document = Document::parse(text).map_err(|faults| said(&faults))?;
        if document.name.is_empty() {
            return Err(PoolError::Document("missing volume name element".to_owned()));
        }
        if needs_capacity && document.capacity.is_none() && document.backing_store.is_none() {
            return Err(PoolError::Document("missing capacity element".to_owned()));
        }
        if let Some(kind) = document.kind.as_deref()
            && !["file", "block", "dir", "network", "netdir", "ploop"].contains(&kind)
        {
            return Err(PoolError::Config(format!("unknown volume type '{kind}'")));
        }
        let target = document.target.as_deref().cloned().unwrap_or_default();
        let features = features(&target)?;
        let compat = compat(&target)?.or_else(|| features.map(|_| "1.1".to_owned()));
        let (format, format_word) = format_for(backend, &target)?;
        let encryption = target.encryption.as_deref().cloned();
        if let Some(encryption) = &encryption {
            if !backend.holds_files() && encryption.format.as_deref().is_some_and(|word| word != "luks") {
                let text = "storage pool only supports LUKS encrypted volumes";
                return Err(PoolError::Config(text.to_owned()));
            }
            encryption::judge(encryption, format)?;
            if !backend.holds_files() && document.backing_store.is_some() {
                let text = "an encrypted volume of a pool of devices cannot stand on another";
                return Err(PoolError::Config(text.to_owned()));
            }
        }
        let backing = document.backing_store.as_deref().and_then(|store| {
            let path = store.path.clone().filter(|path| !path.is_empty())?;
            Some(format_for(backend, store).map(|(format, _)| (path, format)))
        });
        let (mode, uid, gid) = permissions(&target)?;
        let capacity = document.capacity.map(|amount| amount.0.0);
        Ok(Self {
            name: document.name,
            format,
            format_word,
            capacity,
            allocation: document.allocation.map(|amount| amount.0.0),
            mode: mode.unwrap_or(FILE_MODE),
            uid,
            gid,
            compat,
            cluster_bytes: target.cluster_size.map(|size| size.0.0).filter(|bytes| *bytes > 0),
            features,
            nocow: target.nocow,
            encryption,
            backing: backing.transpose()?,
        })
    }
}

/// The format of a volume, and the word for a partition's content.
fn format_for(backend: Backend, target: &StorageTarget) -> Result<(VolumeFormat, Option<String>), PoolError> {
    let word = target.format.as_ref().map(|format| format.kind.as_str());
    match (backend, word) {
        (Backend::Dir | Backend::Fs | Backend::Netfs, _) => Ok((format_of(target)?, None)),
        (Backend::Logical, _) => Ok((VolumeFormat::Raw, None)),
        (Backend::Disk, Some(word)) if !PARTITIONS.contains(&word) => {
            Err(PoolError::Config(format!("unknown volume format type {word}")))
        }
        (Backend::Disk, word) => Ok((VolumeFormat::Raw, word.map(str::to_owned))),
    }
}

fn format_of(target: &StorageTarget) -> Result<VolumeFormat, PoolError> {
    let word = target.format.as_ref().map_or("raw", |format| format.kind.as_str());
    word.parse().map_err(PoolError::Config)
}

fn features(target: &StorageTarget) -> Result<Option<Features>, PoolError> {
    let Some(features) = &target.features else { return Ok(None) };
    if let Some(name) = features.foreign.items().iter().find_map(element_name) {
        return Err(PoolError::Config(format!("unsupported feature {name}")));
    }
    let features = Features { lazy_refcounts: features.lazy_refcounts, extended_l2: features.extended_l2 };
    if target.compat.as_deref() == Some("0.10") {
        let named = [(features.lazy_refcounts, "lazy_refcounts"), (features.extended_l2, "extended_l2")];
        if let Some((_, name)) = named.iter().find(|(is_wanted, _)| *is_wanted) {
            return Err(PoolError::Config(format!("{name} not supported with compat level 0.10")));
        }
    }
    Ok(Some(features))
}

fn element_name(item: &ForeignItem) -> Option<&str> {
    match item {
        ForeignItem::Element { name, .. } => Some(name),
        ForeignItem::Attribute { .. } | ForeignItem::LeafAttribute { .. } => None,
    }
}

fn compat(target: &StorageTarget) -> Result<Option<String>, PoolError> {
    match target.compat.as_deref() {
        None | Some("") => Ok(None),
        Some(text @ ("0.10" | "1.1")) => Ok(Some(text.to_owned())),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            Err(PoolError::Config(format!("compat level {text} is not known (there are 0.10 and 1.1)")))
        }
        Some(_) => Err(PoolError::Document("forbidden characters in 'compat' attribute".to_owned())),
    }
}

type Permissions = (Option<u32>, Option<u32>, Option<u32>);

fn permissions(target: &StorageTarget) -> Result<Permissions, PoolError> {
    crate::pool::document::judge_owners(target)?;
    let (mode, uid, gid) = crate::pool::document::wanted(Some(target));
    let said = target.permissions.as_ref().and_then(|permissions| permissions.mode.as_deref());
    match (said, mode) {
        (Some(said), mode) if !said.is_empty() && mode.is_none_or(|mode| mode > 0o777) => {
            Err(PoolError::Document("malformed octal mode".to_owned()))
        }
        _ => Ok((mode, uid, gid)),
    }
}

fn schema(faults: &Faults) -> PoolError {
    of_whole(faults, "volume").unwrap_or_else(|| PoolError::Schema(faults.to_string()))
}

/// What libvirt says of the first fault.
fn said(faults: &Faults) -> PoolError {
    if let Some(error) = of_whole(faults, "volume") {
        return error;
    }
    let Some(fault) = faults.0.first() else { return PoolError::Document(String::new()) };
    let element = fault.path.strip_prefix("/volume/").unwrap_or_default();
    match element {
        "capacity" | "allocation" if fault.message.contains("unit") => {
            let unit = fault.message.split(['`', '\'']).nth(1).unwrap_or_default();
            PoolError::Argument(format!("unknown suffix '{unit}'"))
        }
        "capacity" | "allocation" => PoolError::Document(format!("malformed {element} element")),
        "target/permissions/owner" => PoolError::Document("malformed owner element".to_owned()),
        "target/permissions/group" => PoolError::Document("malformed group element".to_owned()),
        _ => PoolError::Document(faults.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inner: &str, target: &str) -> Result<Wanted, PoolError> {
        let text = format!("<volume><name>v</name>{inner}<target>{target}</target></volume>");
        Wanted::read(&text, false, true)
    }

    fn error(inner: &str, target: &str) -> String {
        read(inner, target).unwrap_err().to_string()
    }

    const SIZE: &str = "<capacity unit='KiB'>10</capacity>";

    #[test]
    fn what_is_left_out_is_as_libvirt_has_it() {
        let wanted = read(SIZE, "").unwrap();
        assert_eq!(
            (wanted.format, wanted.capacity, wanted.allocation),
            (VolumeFormat::Raw, Some(10240), None)
        );
        assert_eq!((wanted.mode, wanted.uid, wanted.compat), (0o600, None, None));
        let wanted = read(SIZE, "<format type='qcow2'/><features/>").unwrap();
        assert_eq!(wanted.compat.as_deref(), Some("1.1"));
        assert_eq!(wanted.features, Some(Features::default()));
    }

    #[test]
    fn faults_are_told_in_libvirts_words() {
        assert_eq!(error("", ""), "missing capacity element");
        assert_eq!(error("<capacity>q</capacity>", ""), "malformed capacity element");
        assert_eq!(error("<capacity>-5</capacity>", ""), "malformed capacity element");
        assert_eq!(error("<capacity unit='zz'>1</capacity>", ""), "unknown suffix 'zz'");
        assert_eq!(error(SIZE, "<format type='bad'/>"), "unknown volume format type bad");
        assert_eq!(error(SIZE, "<permissions><mode>9</mode></permissions>"), "malformed octal mode");
        assert_eq!(error(SIZE, "<permissions><mode>4777</mode></permissions>"), "malformed octal mode");
        assert_eq!(error(SIZE, "<permissions><owner>-5</owner></permissions>"), "malformed owner element");
        assert_eq!(error(SIZE, "<features><bogus/></features>"), "unsupported feature bogus");
        let old = "<compat>0.10</compat><features><lazy_refcounts/></features>";
        assert_eq!(error(SIZE, old), "lazy_refcounts not supported with compat level 0.10");
        assert_eq!(error(SIZE, "<compat>1;1</compat>"), "forbidden characters in 'compat' attribute");
        let name = Wanted::read("<volume><capacity>1</capacity></volume>", false, true);
        assert_eq!(name.unwrap_err().to_string(), "missing volume name element");
    }
}
