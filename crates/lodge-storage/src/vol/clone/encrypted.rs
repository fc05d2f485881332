//! Copies of encrypted volumes, and encrypted copies: with the same bytes where nothing is to be another, else through
//! `qemu-img`, which decrypts and encrypts. A copy of what stands on another file stands on the same file, or on none.

use std::path::{Path, PathBuf};

use super::{
    super::{
        create::{MakeOptions, backing_at, image_options, keep, size},
        encryption::{image_at, is_locked, target_at, with_secret},
        facts::PoolVolume,
        tool::Run,
        wanted::Wanted,
    },
    copy_same,
};
use crate::{
    chain::OpenLink,
    format::Format,
    pool::{Pools, error::PoolError, table::PoolHandle},
    qcow2::Header,
    unlock::{Basin, named, pour, pouring},
};

/// What a copy stands on: by the name it is asked for, and the format in the words of its source's header.
#[derive(Debug, Clone)]
struct Ground {
    name: String,
    path: PathBuf,
    format: &'static str,
}

impl Pools {
    /// Whether a plain volume stands on one that only a passphrase opens.
    pub(crate) async fn stands_on_encrypted(
        &self,
        pool: &PoolHandle,
        source: &PoolVolume,
    ) -> Result<bool, PoolError> {
        if source.backing.is_none() {
            return Ok(false);
        }
        let chain = self.chain_of_volume(pool, source).await?;
        Ok(chain.iter().skip(1).any(is_locked))
    }

    /// A copy of, or to, an encrypted volume, or of one that stands on such. What is to have the same passphrase, format,
    /// size and ground has the same bytes.
    pub(super) async fn copy_encrypted(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        source: &PoolVolume,
        path: &Path,
        options: MakeOptions,
    ) -> Result<(), PoolError> {
        let chain = self.chain_of_volume(pool, source).await?;
        let header = header_of(&chain)?;
        let ground = ground(wanted, path, header.as_ref())?;
        if !self.is_same(wanted, source, (header.as_ref(), ground.as_ref()), options)? {
            if options.reflink {
                let text = "a copy with another passphrase, format, size or backing file shares no blocks";
                return Err(PoolError::Argument(text.to_owned()));
            }
            let read = self.read_from(source, &chain)?;
            return self.encrypt_anew(pool, wanted, (read, ground), path, options).await;
        }
        let (temp, _) = self.temp_for(pool, path, wanted.clone()).await?;
        let (source, path, bytes) = (source.path.clone(), path.to_owned(), source.physical);
        let copying = move || copy_same(&source, temp, &path, options.reflink);
        self.on_thread(pool, bytes, (), copying).await.map(|((), ())| ())
    }

    /// Copies what is read of a volume into a device that was made for it, and that may be a container.
    pub(crate) async fn pour_into_device(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        source: &PoolVolume,
        to: &Path,
    ) -> Result<(), PoolError> {
        let chain = self.chain_of_volume(pool, source).await?;
        let (read, chain) = self.read_from(source, &chain)?;
        let real = std::fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
        let (secret, words) = (self.secret_for(wanted)?, target_at(&real, wanted));
        let into = Basin { path: &real, said: to, words, secret, stands_on: None };
        pour((read, &chain), into, None).await
    }

    /// `qemu-img` that reads a volume, and how it names it: a text for each file of its chain.
    fn read_from(&self, source: &PoolVolume, chain: &[OpenLink]) -> Result<(Run, Vec<String>), PoolError> {
        if chain.is_empty() {
            // Of a format that stands on nothing.
            let alone = image_at(&source.path, source.format, None);
            return Ok((pouring().reads(&source.path), vec![alone]));
        }
        let run = chain.iter().fold(pouring(), |run, link| run.reads(&link.disk.path));
        named(run, chain, self.secrets_of_chain(source, chain, is_locked)?)
    }

    /// Whether the copy is its source's bytes.
    fn is_same(
        &self,
        wanted: &Wanted,
        source: &PoolVolume,
        (header, ground): (Option<&Header>, Option<&Ground>),
        options: MakeOptions,
    ) -> Result<bool, PoolError> {
        let backing = header.and_then(|header| header.backing.as_ref());
        // A device is as long as its pool makes it.
        let is_as_asked = source.block.is_none()
            && wanted.format == source.format
            && wanted.capacity == Some(source.capacity)
            && !options.prealloc_metadata
            && (wanted.compat.is_none() || wanted.compat == source.compat)
            && (wanted.cluster_bytes.is_none() || wanted.cluster_bytes == source.cluster_bytes)
            && (wanted.features.is_none() || wanted.features == source.features)
            && backing.is_some() == ground.is_some()
            // A relative name would mean another file from the copy's place.
            && backing.is_none_or(|backing| backing.name.starts_with('/'));
        let is_key = match (&source.encryption, &wanted.encryption) {
            (Some(has), Some(wants)) => {
                // Once it is read anew, what it was made with is not known.
                let is_cipher = wants.cipher.is_none() && wants.ivgen.is_none()
                    || wants.cipher == has.cipher && wants.ivgen == has.ivgen;
                is_cipher
                    && (wants.secrets.is_empty() || self.secret_for(wanted)? == self.secret_of(source)?)
            }
            (None, None) => header.is_none_or(|header| !header.has_snapshots),
            _ => false,
        };
        Ok(is_as_asked && is_key)
    }

    /// A copy whose bytes are others than its source's: the one, the other or both are encrypted. Made empty first, as
    /// `qemu-img` cannot make what it has to name with a secret.
    async fn encrypt_anew(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        ((read, chain), ground): ((Run, Vec<String>), Option<Ground>),
        path: &Path,
        options: MakeOptions,
    ) -> Result<(), PoolError> {
        let secret = self.secret_for(wanted)?;
        let (temp, wanted) = self.temp_for(pool, path, wanted.clone()).await?;
        let word = match (wanted.format.is_plain(), &secret) {
            (true, Some(_)) => "luks",
            (true, None) => "raw",
            (false, _) => wanted.format.as_str(),
        };
        let capacity = wanted.capacity.unwrap_or_default().next_multiple_of(512);
        let run = Run::new("qemu-img").args(["create", "-q", "-f", word]);
        let run = match secret.clone() {
            Some(secret) => with_secret(run, secret)?,
            None => run,
        };
        let without_ground = Wanted { backing: None, ..wanted.clone() };
        let mut run = image_options(run, &without_ground, options);
        if let Some(Ground { name, format, .. }) = &ground {
            run = run.args(["-u", "-F", format, "-b", name]);
        }
        run.args([temp.path().as_os_str().to_owned(), capacity.to_string().into()])
            .writes(temp.path())
            .said_as(temp.path(), path)
            .run()
            .await?;
        let into = Basin {
            path: temp.path(),
            said: path,
            words: target_at(temp.path(), &wanted),
            secret,
            stands_on: ground.map(|ground| (ground.path, ground.format)),
        };
        pour((read, &chain), into, None).await?;
        let path = path.to_owned();
        let keeping = move || {
            if wanted.format.is_plain() && wanted.encryption.is_none() {
                size(temp.file(), &path, wanted.capacity.unwrap_or_default(), 0)?;
            }
            keep(temp, &path)
        };
        self.on_thread(pool, capacity, (), keeping).await.map(|((), ())| ())
    }
}

fn header_of(chain: &[OpenLink]) -> Result<Option<Header>, PoolError> {
    let own = chain.first().filter(|link| link.format == Format::Qcow2);
    own.map(|link| link.disk.any_qcow2_header()).transpose().map_err(PoolError::Disk)
}

/// What the copy stands on. That it is what its source stands on was seen before.
fn ground(wanted: &Wanted, path: &Path, header: Option<&Header>) -> Result<Option<Ground>, PoolError> {
    let Some((name, _)) = &wanted.backing else { return Ok(None) };
    let backing = header.and_then(|header| header.backing.as_ref());
    let Some(backing) = backing else {
        let text = "its source stands on nothing: an encrypted copy of it, or a copy of an encrypted one, does not either";
        return Err(PoolError::Config(text.to_owned()));
    };
    let format = match backing.known_format() {
        _ if backing.is_luks() => "luks",
        Some(Ok(format)) => format.as_str(),
        // The chain would not have opened.
        _ => return Err(PoolError::Internal("a backing file of no format".to_owned())),
    };
    Ok(Some(Ground { name: name.clone(), path: backing_at(path, name), format }))
}
