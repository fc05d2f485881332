//! Files that only a passphrase opens, for `qemu-img`: which of a chain are, their passphrases, and the words for both.
//!
//! That a qcow2 has LUKS inside, its header says; that a raw file is a LUKS container, only the document does. Which
//! passphrase it is, only the document says of either. Each goes through a pipe and is in no argument, file or message.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use lodge_model::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    Storage,
    chain::OpenLink,
    error::StorageError,
    format::Format,
    limits,
    pool::error::PoolError,
    ports::SecretValue,
    temp::TempFile,
    vol::{encryption, kind::VolumeFormat, tool::Run},
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
        self.fill_sealed(&new, &temp).await?;
        self.keep_sealed(new.path, temp).await
    }

    /// Makes it in an empty file beside its place.
    async fn fill_sealed(&self, new: &Sealed<'_>, temp: &TempFile) -> Result<(), StorageError> {
        let word = if new.format == Format::Raw { "luks" } else { new.format.as_str() };
        let run = Run::new("qemu-img").args(["create", "-q", "-f", word]);
        let run = encryption::with_secret(run, new.seal.secret.clone());
        let mut run = run.map_err(|source| StorageError::Volume { source: Box::new(source) })?;
        run = run.args(["-o".to_owned(), new.seal.options.join(",")]);
        if let Some((backing, format)) = new.backing {
            run = run.args(["-u", "-F", format.as_str(), "-b"]).args([backing]);
        }
        let run = run.args([temp.path()]).args([new.size.0.to_string()]);
        self.run_tool(run.writes(temp.path()).said_as(temp.path(), new.path), new.path, MAKE).await
    }

    async fn keep_sealed(&self, path: &Path, temp: TempFile) -> Result<(), StorageError> {
        let owned = path.to_owned();
        let keep = move || {
            temp.keep_as(&owned).map_err(|source| match source.kind() {
                std::io::ErrorKind::AlreadyExists => StorageError::Exists { path: owned },
                _ => StorageError::Create { path: owned, source },
            })
        };
        self.blocking(path, limits::CHANGE, keep).await
    }

    /// Makes a qcow2 that stands alone and has all that a guest sees of `chain`.
    pub(crate) async fn seal_all_of(
        &self,
        chain: &[OpenLink],
        mut secrets: Vec<Option<SecretValue>>,
        (to, seal): (&Path, &Seal),
        stop: &CancellationToken,
    ) -> Result<(), PoolError> {
        let Some(top) = chain.first() else { return Ok(()) };
        let dir = to.parent().unwrap_or(Path::new("/")).to_owned();
        let place = to.to_owned();
        let make = move || {
            if place.symlink_metadata().is_ok() {
                return Err(StorageError::Exists { path: place });
            }
            TempFile::create(&dir).map_err(|source| StorageError::Create { path: place, source })
        };
        let temp = self.blocking(to, limits::CHANGE, make).await.map_err(PoolError::Disk)?;
        let size = Bytes(top.virtual_bytes.next_multiple_of(limits::SECTOR_BYTES));
        let new = Sealed { path: to, format: Format::Qcow2, size, backing: None, seal };
        self.fill_sealed(&new, &temp).await.map_err(PoolError::Disk)?;
        secrets.resize(chain.len(), None);
        let run = chain.iter().fold(pouring(), |run, link| run.reads(&link.disk.path));
        let (run, words) = named(run, chain, secrets)?;
        let into = Basin {
            path: temp.path(),
            said: to,
            words: encryption::image_at(temp.path(), VolumeFormat::Qcow2, Some(encryption::OBJECT)),
            secret: Some(seal.secret.clone()),
            stands_on: None,
        };
        pour((run, &words), into, Some(stop)).await?;
        self.keep_sealed(to, temp).await.map_err(PoolError::Disk)
    }
}

/// Adds what opens a chain to a run, whose verb it has; the words that name the chain come last.
pub(crate) fn on_chain(
    run: Run,
    chain: &[OpenLink],
    secret_of: &SecretOf<'_>,
) -> Result<(Run, Vec<OsString>), StorageError> {
    let secrets = secrets(chain, secret_of)?;
    if secrets.iter().all(Option::is_none) {
        let Some(top) = chain.first() else { return Ok((run, Vec::new())) };
        let words = ["-f", top.format.as_str(), "--"].map(OsString::from);
        return Ok((run, words.into_iter().chain([top.disk.path.clone().into()]).collect()));
    }
    let (run, words) =
        named(run, chain, secrets).map_err(|source| StorageError::Volume { source: Box::new(source) })?;
    Ok((run, ["--image-opts".to_owned(), "--".to_owned(), words.join(",")].map(OsString::from).to_vec()))
}

/// The passphrases of a chain's files, each asked for.
pub(crate) fn secrets(
    chain: &[OpenLink],
    secret_of: &SecretOf<'_>,
) -> Result<Vec<Option<SecretValue>>, StorageError> {
    chain.iter().map(|link| secret(link, secret_of)).collect()
}

/// How `--image-opts` names a chain, a text for each file of it; the run gets their passphrases.
pub(crate) fn named(
    mut run: Run,
    chain: &[OpenLink],
    secrets: Vec<Option<SecretValue>>,
) -> Result<(Run, Vec<String>), PoolError> {
    let mut words = Vec::new();
    for (depth, (link, secret)) in chain.iter().zip(secrets).enumerate() {
        let object = format!("passphrase{depth}");
        words.push(said(link, depth, secret.is_some().then_some(object.as_str())).join(","));
        if let Some(secret) = secret {
            run = run.secret(secret, |path| format!("secret,id={object},file={path}"))?;
        }
    }
    Ok((run, words))
}

/// An image that is there and empty, and that a chain is poured into.
pub(crate) struct Basin<'a> {
    pub path: &'a Path,
    /// What it will be called.
    pub said: &'a Path,
    /// How `--target-image-opts` names it by itself, its passphrase being [`encryption::OBJECT`].
    pub words: String,
    pub secret: Option<SecretValue>,
    /// It stands on what the chain's own file stands on, by this name and format: only what is above that goes into it.
    pub stands_on: Option<(PathBuf, &'static str)>,
}

/// `qemu-img` that copies what a guest sees.
pub(crate) fn pouring() -> Run {
    Run::new("qemu-img").args(["convert", "-q", "-n"])
}

/// Copies what is read of a chain, which [`named`] has put into the run.
pub(crate) async fn pour(
    (mut run, chain): (Run, &[String]),
    into: Basin<'_>,
    stop: Option<&CancellationToken>,
) -> Result<(), PoolError> {
    if let Some(secret) = into.secret {
        run = encryption::with_secret(run, secret)?;
    }
    let mut target = vec![into.words];
    if let Some((below, format)) = into.stands_on {
        run = run.args(["-F", format, "-B"]).args([below]);
        target.extend_from_slice(chain.get(1..).unwrap_or_default());
    }
    let words = ["--image-opts", "--target-image-opts", "--"].map(str::to_owned);
    let run = run.args(words).args([chain.join(","), target.join(",")]);
    let run = run.writes(into.path).said_as(into.path, into.said).run();
    let Some(stop) = stop else { return run.await };
    tokio::select! {
        done = run => done,
        () = stop.cancelled() => Err(PoolError::Disk(StorageError::Cancelled { path: into.said.to_owned() })),
    }
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
