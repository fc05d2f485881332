//! Use cases of pools' volumes.

use std::sync::Arc;

use lodge_model::Bytes;
use lodge_storage::{
    Definitions, Download, Harm, MakeOptions, PoolHandle, PoolView, PoolVolume, ResizeOptions, Span, Upload,
    WipeAlgorithm,
};

use crate::{Caller, Engine, error::Result};

impl Engine {
    /// The volumes of an active pool, by name, as last seen.
    pub fn volumes(&self, _caller: &Caller, pool: &PoolHandle) -> Result<Vec<Arc<PoolVolume>>> {
        Ok(self.pools.volumes(pool)?)
    }

    /// How many volumes an active pool has.
    pub fn volume_count(&self, _caller: &Caller, pool: &PoolHandle) -> Result<usize> {
        Ok(self.pools.volume_count(pool)?)
    }

    /// A volume by its name, as last seen.
    pub fn volume(&self, _caller: &Caller, pool: &PoolHandle, name: &str) -> Result<Arc<PoolVolume>> {
        Ok(self.pools.volume(pool, name)?)
    }

    /// A volume by its path or key, with its pool. `by`: which of the two, for the error.
    pub fn volume_by_path(
        &self,
        _caller: &Caller,
        path: &str,
        by: &'static str,
    ) -> Result<(PoolView, Arc<PoolVolume>)> {
        Ok(self.pools.volume_by_path(path, by)?)
    }

    /// A volume as it is now.
    #[crate::boxed]
    pub async fn look_at_volume(
        &self,
        _caller: &Caller,
        pool: &PoolHandle,
        name: &str,
    ) -> Result<Arc<PoolVolume>> {
        Ok(self.pools.look_at(pool, name).await?)
    }

    /// Makes a volume from its document.
    #[crate::boxed]
    pub async fn create_volume(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        xml: &str,
        options: MakeOptions,
    ) -> Result<Arc<PoolVolume>> {
        caller.may_change()?;
        let volume = self.finish(self.pools.clone(), pool.clone(), xml.to_owned(), None, options).await?;
        self.feed.publish("volume.created", &volume.name, serde_json::json!({ "pool": pool.name }));
        Ok(volume)
    }

    /// Makes a volume as a copy of another.
    #[crate::boxed]
    pub async fn clone_volume(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        xml: &str,
        from: (&PoolHandle, &str),
        options: MakeOptions,
    ) -> Result<Arc<PoolVolume>> {
        caller.may_change()?;
        let source = Some((from.0.clone(), from.1.to_owned()));
        let volume = self.finish(self.pools.clone(), pool.clone(), xml.to_owned(), source, options).await?;
        let data = serde_json::json!({ "pool": pool.name, "from": from.1 });
        self.feed.publish("volume.created", &volume.name, data);
        Ok(volume)
    }

    /// Goes on to its end although the caller may go: what it makes is whole and known then.
    async fn finish(
        &self,
        pools: lodge_storage::Pools,
        pool: PoolHandle,
        xml: String,
        from: Option<(PoolHandle, String)>,
        options: MakeOptions,
    ) -> Result<Arc<PoolVolume>> {
        let name = pool.name.clone();
        let work = tokio::spawn(async move {
            match from {
                None => pools.create_volume(&pool, &xml, options).await,
                Some((source, volume)) => pools.clone_volume(&pool, &xml, (&source, &volume), options).await,
            }
        });
        Ok(work.await.map_err(|_| lodge_storage::PoolError::Panicked { name })??)
    }

    /// Gives a volume another size.
    #[crate::boxed]
    pub async fn resize_volume(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        name: &str,
        size: Bytes,
        options: ResizeOptions,
    ) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.resize_volume(pool, name, size, options).await?)
    }

    /// Makes a volume's bytes unreadable.
    #[crate::boxed]
    pub async fn wipe_volume(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        name: &str,
        algorithm: WipeAlgorithm,
    ) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.wipe_volume(pool, name, algorithm).await?)
    }

    /// As [`Engine::delete_volume`], and a definition of a guest that is off counts as well.
    #[crate::boxed]
    pub async fn delete_free_volume(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        name: &str,
        wipe: bool,
    ) -> Result<()> {
        caller.may_change()?;
        self.refuse_defined(pool, name).await?;
        self.delete_volume(caller, pool, name, wipe).await
    }

    /// Refuses to destroy a volume that any guest's definition names.
    pub(crate) async fn refuse_defined(&self, pool: &PoolHandle, name: &str) -> Result<()> {
        let path = self.pools.volume(pool, name)?.path.clone();
        Ok(self.storage.refuse_harm(&path, Harm::Destroy, Definitions::Count).await?)
    }

    /// Deletes a volume, as libvirt's clients do: before the definition that names it. `wipe`: its bytes are zeroed
    /// before.
    #[crate::boxed]
    pub async fn delete_volume(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        name: &str,
        wipe: bool,
    ) -> Result<()> {
        caller.may_change()?;
        self.pools.delete_volume(pool, name, wipe).await?;
        self.feed.publish("volume.deleted", name, serde_json::json!({ "pool": pool.name }));
        Ok(())
    }

    /// Opens a volume for reading. `sparse`: holes are told as holes.
    #[crate::boxed]
    pub async fn download_volume(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        name: &str,
        span: Span,
        sparse: bool,
    ) -> Result<Download> {
        // libvirt has it so: a guest's bytes are not for those who may only look.
        caller.may_change()?;
        Ok(self.pools.download(pool, name, span, sparse).await?)
    }

    /// Opens a volume for writing.
    #[crate::boxed]
    pub async fn upload_volume(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        name: &str,
        span: Span,
    ) -> Result<Upload> {
        caller.may_change()?;
        Ok(self.pools.upload(pool, name, span).await?)
    }
}
