//! Copies of encrypted volumes, and encrypted copies: with the same bytes where nothing is to be another, else through
//! `qemu-img`, which decrypts and encrypts.
//!
//! Deliberately absent: such volumes on backing files, and on devices.

use std::path::Path;

use super::{
    super::{
        create::{MakeOptions, image_options, keep, size},
        encryption::{source_of, target_at, with_secret, with_sources_secret},
        facts::PoolVolume,
        tool::Run,
        wanted::Wanted,
    },
    copy_same,
};
use crate::pool::{Pools, error::PoolError, table::PoolHandle};

impl Pools {
    /// A copy of, or to, an encrypted volume. What is to have the same passphrase, format and size has the same bytes.
    pub(super) async fn copy_encrypted(
        &self,
        pool: &PoolHandle,
        wanted: &mut Wanted,
        source: &PoolVolume,
        path: &Path,
        options: MakeOptions,
    ) -> Result<(), PoolError> {
        if source.backing.is_some() || wanted.backing.is_some() {
            let text = "an encrypted volume that stands on another file is not copied, nor a copy made so";
            return Err(PoolError::Config(text.to_owned()));
        }
        if let (Some(has), Some(wants)) = (&source.encryption, &mut wanted.encryption)
            && wants.secrets.is_empty()
        {
            wants.secrets.clone_from(&has.secrets);
        }
        let is_same = match (&source.encryption, &wanted.encryption) {
            (Some(has), Some(wants)) => {
                // Once it is read anew, what it was made with is not known.
                let is_cipher = wants.cipher.is_none() && wants.ivgen.is_none()
                    || wants.cipher == has.cipher && wants.ivgen == has.ivgen;
                is_cipher
                    && wanted.format == source.format
                    && wanted.capacity == Some(source.capacity)
                    && !options.prealloc_metadata
                    && (wanted.compat.is_none() || wanted.compat == source.compat)
                    && (wanted.cluster_bytes.is_none() || wanted.cluster_bytes == source.cluster_bytes)
                    && (wanted.features.is_none() || wanted.features == source.features)
                    && (wants.secrets.is_empty() || self.secret_for(wanted)? == self.secret_of(source)?)
            }
            _ => false,
        };
        if !is_same {
            if options.reflink {
                let text = "a copy with another passphrase, format or size shares no blocks";
                return Err(PoolError::Argument(text.to_owned()));
            }
            return self.encrypt_anew(pool, wanted, source, path, options).await;
        }
        let (temp, _) = self.temp_for(pool, path, wanted.clone()).await?;
        let (source, path, bytes) = (source.path.clone(), path.to_owned(), source.physical);
        let copying = move || copy_same(&source, temp, &path, options.reflink);
        self.on_thread(pool, bytes, (), copying).await.map(|((), ())| ())
    }

    /// A copy whose bytes are others than its source's: the one, the other or both are encrypted. Made empty first, as
    /// `qemu-img` cannot make what it has to name with a secret.
    async fn encrypt_anew(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        source: &PoolVolume,
        path: &Path,
        options: MakeOptions,
    ) -> Result<(), PoolError> {
        let secret = self.secret_for(wanted)?;
        let sources_secret = self.secret_of(source)?;
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
        image_options(run, &wanted, options)
            .args([temp.path().as_os_str().to_owned(), capacity.to_string().into()])
            .writes(temp.path())
            .said_as(temp.path(), path)
            .run()
            .await?;
        let mut run = Run::new("qemu-img").args(["convert", "-q", "-n"]);
        if let Some(secret) = secret {
            run = with_secret(run, secret)?;
        }
        if let Some(secret) = sources_secret {
            run = with_sources_secret(run, secret)?;
        }
        let (from, to) = (source_of(source), target_at(temp.path(), &wanted));
        run.args(["--image-opts".to_owned(), "--target-image-opts".to_owned(), from, to])
            .reads(&source.path)
            .writes(temp.path())
            .said_as(temp.path(), path)
            .run()
            .await?;
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
