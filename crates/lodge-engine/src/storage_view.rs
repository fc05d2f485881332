//! Pools and volumes as the API shows them, and the API's wishes as acts on them.

use lodge_api::{PoolBuild, PoolOptions, PoolView, VolumeOptions, VolumeResize, VolumeView, VolumeWipe};
use lodge_model::{Bytes, storage::PoolKind};
use lodge_storage::{BuildOptions, MakeOptions, PoolError, PoolVolume, ResizeOptions, WipeAlgorithm};

use crate::{Caller, Engine, error::Result};

impl Engine {
    /// Every pool, by name.
    pub fn pool_views(&self, caller: &Caller) -> Vec<PoolView> {
        self.pools(caller).iter().map(pool_view_of).collect()
    }

    /// One pool, by name or UUID.
    pub fn pool_view(&self, caller: &Caller, pool: &str) -> Result<PoolView> {
        self.pool(caller, pool).map(|pool| pool_view_of(&pool))
    }

    /// Defines a pool or, with `start`, starts one without a definition.
    #[crate::boxed]
    pub async fn take_pool(&self, caller: &Caller, xml: &str, options: &PoolOptions) -> Result<PoolView> {
        let PoolOptions { validate, start, build, overwrite, no_overwrite } = *options;
        if !start {
            return self.define_pool(caller, xml, validate).await.map(|pool| pool_view_of(&pool));
        }
        let wanted = build || overwrite || no_overwrite;
        let build = wanted.then_some(BuildOptions { overwrite, no_overwrite });
        self.create_pool(caller, xml, build, validate).await.map(|pool| pool_view_of(&pool))
    }

    /// libvirt's document of the types of pools there are.
    pub fn pool_capabilities(&self, _caller: &Caller) -> String {
        lodge_storage::pool_capabilities()
    }

    /// What pools of a type could be made of, as libvirt's document. `spec`: the part of `<source>` that is known.
    #[crate::boxed]
    pub async fn find_pool_sources(
        &self,
        caller: &Caller,
        kind: PoolKind,
        spec: Option<&str>,
    ) -> Result<String> {
        // Programs are run and servers asked for it.
        caller.may_change()?;
        Ok(lodge_storage::find_pool_sources(kind, spec).await?)
    }

    /// The volumes of a pool, as last seen.
    pub fn volume_views(&self, caller: &Caller, pool: &str) -> Result<Vec<VolumeView>> {
        let pool = self.pool(caller, pool)?.handle();
        let volumes = self.volumes(caller, &pool)?;
        Ok(volumes.iter().map(|volume| volume_view_of(&pool.name, volume)).collect())
    }

    /// One volume as it is now.
    #[crate::boxed]
    pub async fn volume_view(&self, caller: &Caller, pool: &str, name: &str) -> Result<VolumeView> {
        let pool = self.pool(caller, pool)?.handle();
        let volume = self.look_at_volume(caller, &pool, name).await?;
        Ok(volume_view_of(&pool.name, &volume))
    }

    /// The volume of a path as it is now.
    #[crate::boxed]
    pub async fn volume_view_by_path(&self, caller: &Caller, path: &str) -> Result<VolumeView> {
        let (pool, volume) = self.volume_by_path(caller, path, "path")?;
        self.volume_view(caller, &pool.id.to_string(), &volume.name).await
    }

    /// Makes a volume of its document, or as a copy.
    #[crate::boxed]
    pub async fn make_volume(
        &self,
        caller: &Caller,
        pool: &str,
        xml: &str,
        options: &VolumeOptions,
    ) -> Result<VolumeView> {
        let pool = self.pool(caller, pool)?.handle();
        let make = MakeOptions {
            prealloc_metadata: options.prealloc_metadata,
            reflink: options.reflink,
            strict: options.validate,
        };
        let volume = match &options.from {
            Some(name) => {
                let from = match &options.from_pool {
                    Some(from) => self.pool(caller, from)?.handle(),
                    None => pool.clone(),
                };
                self.clone_volume(caller, &pool, xml, (&from, name), make).await?
            }
            None => self.create_volume(caller, &pool, xml, make).await?,
        };
        Ok(volume_view_of(&pool.name, &volume))
    }

    /// Gives a volume another size.
    #[crate::boxed]
    pub async fn resize_volume_to(
        &self,
        caller: &Caller,
        pool: &str,
        name: &str,
        wish: &VolumeResize,
    ) -> Result<VolumeView> {
        let handle = self.pool(caller, pool)?.handle();
        let VolumeResize { capacity_bytes, allocate, delta, shrink } = *wish;
        let options = ResizeOptions { allocate, delta, shrink };
        self.resize_volume(caller, &handle, name, Bytes(capacity_bytes), options).await?;
        self.volume_view(caller, pool, name).await
    }

    /// Makes a volume's bytes unreadable.
    #[crate::boxed]
    pub async fn wipe_volume_by(
        &self,
        caller: &Caller,
        pool: &str,
        name: &str,
        wish: &VolumeWipe,
    ) -> Result<VolumeView> {
        let handle = self.pool(caller, pool)?.handle();
        let word = wish.algorithm.as_deref().unwrap_or("zero");
        let number = WipeAlgorithm::named(word)
            .ok_or_else(|| PoolError::Argument(format!("wiping algorithm {word} not supported")))?;
        let algorithm = WipeAlgorithm::of(number)?;
        caller.may_change()?;
        self.refuse_defined(&handle, name).await?;
        self.wipe_volume(caller, &handle, name, algorithm).await?;
        self.volume_view(caller, pool, name).await
    }
}

/// What the API wants made of a pool.
pub fn build_options(build: &PoolBuild) -> BuildOptions {
    BuildOptions { overwrite: build.overwrite, no_overwrite: build.no_overwrite }
}

/// A pool as the API shows it.
pub fn pool_view_of(pool: &lodge_storage::PoolView) -> PoolView {
    PoolView {
        name: pool.name.clone(),
        uuid: pool.id.0,
        kind: pool.kind.as_str().to_owned(),
        path: pool.path.as_ref().map(|path| path.display().to_string()),
        active: pool.is_active,
        persistent: pool.is_persistent,
        autostart: pool.autostart,
        capacity_bytes: pool.capacity,
        allocation_bytes: pool.allocation,
        available_bytes: pool.available,
        reflink: pool.reflink,
    }
}

fn volume_view_of(pool: &str, volume: &PoolVolume) -> VolumeView {
    VolumeView {
        name: volume.name.clone(),
        pool: pool.to_owned(),
        key: volume.key(),
        path: volume.path.display().to_string(),
        kind: volume.kind.as_str().to_owned(),
        format: volume.format.as_str().to_owned(),
        capacity_bytes: volume.capacity,
        allocation_bytes: volume.allocation,
        physical_bytes: volume.physical,
        backing: volume.backing.as_ref().map(|backing| backing.path.display().to_string()),
        encryption: volume.encryption.as_ref().and_then(|encryption| encryption.format.clone()),
    }
}
