//! Files that only a passphrase opens, for `qemu-img`: which of a chain are, their passphrases, and the words for both.
//!
//! That a qcow2 has LUKS inside, its header says; that a raw file is a LUKS container, only the document does. Which
//! passphrase it is, only the document says of either. Each goes through a pipe and is in no argument, file or message.

use std::{ffi::OsString, path::Path, time::Duration};

use lodge_model::Bytes;

use crate::{
    Storage,
    chain::OpenLink,
    error::StorageError,
    format::Format,
    limits,
    pool::error::PoolError,
    ports::SecretValue,
    temp::TempFile,
    vol::{encryption, tool::Run},
};

/// The longest the making of a file may take: a key is made slow on purpose.
const MAKE: Duration = Duration::from_mins(10);

/// The passphrase of a file; none: nothing says that it is encrypted. Asked for each file of a chain.
pub type SecretOf<'a> = dyn Fn(&Path) -> Option<Result<SecretValue, PoolError>> + Send + Sync + 'a;

/// Nothing says that any file is encrypted.
pub const fn unlocked(_: &Path) -> Option<Result<SecretValue, PoolError>> {
    None
}

/// How a new file is encrypted, and by which passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// `-o`'s words.
    pub(crate) options: Vec<String>,
    pub(crate) secret: SecretValue,
}

/// A new encrypted file.
pub(crate) struct Sealed<'a> {
    pub path: &'a Path,
    pub format: Format,
    /// What the guest sees of it.
    pub size: Bytes,
    /// What it stands on, which is not looked at.
    pub backing: Option<(&'a Path, Format)>,
    pub seal: &'a Seal,
}

impl Storage {
    /// Makes it in an empty file beside its place, and gives it its name.
    pub(crate) async fn make_sealed(&self, new: Sealed<'_>, temp: TempFile) -> Result<(), StorageError> {
        let word = if new.format == Format::Raw { "luks" } else { new.format.as_str() };
        let run = Run::new("qemu-img").args(["create", "-q", "-f", word]);
        let run = encryption::with_secret(run, new.seal.secret.clone());
        let mut run = run.map_err(|source| StorageError::Volume { source: Box::new(source) })?;
        run = run.args(["-o".to_owned(), new.seal.options.join(",")]);
        if let Some((backing, format)) = new.backing {
            run = run.args(["-u", "-F", format.as_str(), "-b"]).args([backing]);
        }
        let run = run.args([temp.path()]).args([new.size.0.to_string()]);
        self.run_tool(run.writes(temp.path()).said_as(temp.path(), new.path), new.path, MAKE).await?;
        let path = new.path.to_owned();
        let keep = move || {
            temp.keep_as(&path).map_err(|source| match source.kind() {
                std::io::ErrorKind::AlreadyExists => StorageError::Exists { path },
                _ => StorageError::Create { path, source },
            })
        };
        self.blocking(new.path, limits::CHANGE, keep).await
    }
}

/// Adds what opens a chain to a run, whose verb it has; the words that name the chain come last.
pub(crate) fn on_chain(
    mut run: Run,
    chain: &[OpenLink],
    secret_of: &SecretOf<'_>,
) -> Result<(Run, Vec<OsString>), StorageError> {
    let secrets = chain.iter().map(|link| secret(link, secret_of));
    let secrets: Vec<Option<SecretValue>> = secrets.collect::<Result<_, StorageError>>()?;
    if secrets.iter().all(Option::is_none) {
        let Some(top) = chain.first() else { return Ok((run, Vec::new())) };
        let words = ["-f", top.format.as_str(), "--"].map(OsString::from);
        return Ok((run, words.into_iter().chain([top.disk.path.clone().into()]).collect()));
    }
    let mut words = Vec::new();
    for (depth, (link, secret)) in chain.iter().zip(secrets).enumerate() {
        let object = format!("passphrase{depth}");
        words.extend(said(link, depth, secret.is_some().then_some(object.as_str())));
        if let Some(secret) = secret {
            let fed = run.secret(secret, |path| format!("secret,id={object},file={path}"));
            run = fed.map_err(|source| StorageError::Volume { source: Box::new(source) })?;
        }
    }
    Ok((run, ["--image-opts".to_owned(), "--".to_owned(), words.join(",")].map(OsString::from).to_vec()))
}

/// `--image-opts`' words for one file of a chain.
fn said(link: &OpenLink, depth: usize, object: Option<&str>) -> Vec<String> {
    let below = "backing.".repeat(depth);
    // A comma in a value is written twice; see qemu(1).
    let path = link.disk.path.display().to_string().replace(',', ",,");
    let (driver, key) = match (link.format, object) {
        (Format::Raw, Some(_)) => ("luks", "key-secret"),
        (format, _) => (format.as_str(), "encrypt.key-secret"),
    };
    let mut words = vec![format!("{below}driver={driver}"), format!("{below}file.filename={path}")];
    words.extend(object.map(|object| format!("{below}{key}={object}")));
    words
}

fn secret(link: &OpenLink, secret_of: &SecretOf<'_>) -> Result<Option<SecretValue>, StorageError> {
    let path = &link.disk.path;
    match (secret_of(path), link.format, link.is_locked) {
        (None, _, false) => Ok(None),
        (None, _, true) => Err(StorageError::NoKey { path: path.clone() }),
        (Some(_), Format::Qcow2, false) => {
            let what = "is not encrypted though its disk says so";
            Err(StorageError::UnsupportedImage { path: path.clone(), what })
        }
        (Some(secret), ..) => {
            secret.map(Some).map_err(|source| StorageError::Volume { source: Box::new(source) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Access, DiskFile};

    #[test]
    fn each_file_of_a_chain_is_named_with_its_own_key() {
        let dir = tempfile::tempdir().unwrap();
        let link = |name: &str, format, is_locked| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            let disk = DiskFile::open(&path, Access::Read).unwrap();
            OpenLink { disk, format, virtual_bytes: 0, is_locked }
        };
        let chain = [
            link("top", Format::Qcow2, false),
            link("mid", Format::Qcow2, true),
            link("a,b", Format::Raw, false),
        ];
        let has = |path: &Path| path.file_name().is_some_and(|name| name != "top");
        let key = |path: &Path| has(path).then(|| Ok(SecretValue(b"x".to_vec())));
        let (_run, words) = on_chain(Run::new("qemu-img").args(["snapshot"]), &chain, &key).unwrap();
        let at = dir.path().display();
        let text = format!(
            "driver=qcow2,file.filename={at}/top,backing.driver=qcow2,backing.file.filename={at}/mid,\
             backing.encrypt.key-secret=passphrase1,backing.backing.driver=luks,\
             backing.backing.file.filename={at}/a,,b,backing.backing.key-secret=passphrase2"
        );
        assert_eq!(words, ["--image-opts", "--", text.as_str()].map(OsString::from));
        let (_run, words) = on_chain(Run::new("qemu-img"), &chain[..1], &unlocked).unwrap();
        assert_eq!(words[..3], ["-f", "qcow2", "--"].map(OsString::from));
        let error = on_chain(Run::new("qemu-img"), &chain, &unlocked).unwrap_err().to_string();
        assert!(error.contains("mid` is encrypted, and nothing says with which secret"), "{error}");
        let all = |_: &Path| Some(Ok(SecretValue(Vec::new())));
        let error = on_chain(Run::new("qemu-img"), &chain, &all).unwrap_err().to_string();
        assert!(error.contains("top` is not encrypted though its disk says so"), "{error}");
    }
}
