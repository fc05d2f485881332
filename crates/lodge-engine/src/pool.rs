//! Use cases of storage pools. What is done is done in `lodge_storage`; here is who may.

use lodge_model::PoolId;
use lodge_storage::{BuildOptions, PoolHandle, PoolHappening, PoolView};
use tokio::sync::broadcast;

use crate::{Caller, Engine, error::Result};

impl Engine {
    /// Every pool, by name.
    pub fn pools(&self, _caller: &Caller) -> Vec<PoolView> {
        self.pools.list()
    }

    /// One pool, by name or UUID.
    pub fn pool(&self, _caller: &Caller, pool: &str) -> Result<PoolView> {
        Ok(self.pools.find(pool)?)
    }

    /// The pool with exactly this name.
    pub fn pool_by_name(&self, _caller: &Caller, name: &str) -> Result<PoolView> {
        Ok(self.pools.by_name(name)?)
    }

    /// The pool with this UUID; `name` is what the caller believes it is called.
    pub fn pool_by_uuid(&self, _caller: &Caller, id: PoolId, name: Option<&str>) -> Result<PoolView> {
        Ok(self.pools.by_id(id, name)?)
    }

    /// The active pool of this directory.
    pub fn pool_by_target(&self, _caller: &Caller, path: &str) -> Result<PoolView> {
        Ok(self.pools.by_target(path)?)
    }

    /// libvirt's document of a pool.
    pub fn pool_xml(&self, _caller: &Caller, pool: &PoolHandle, inactive: bool) -> Result<String> {
        Ok(self.pools.xml(pool, inactive)?)
    }

    /// Defines a pool. `strict`: unknown elements are faults.
    #[crate::boxed]
    pub async fn define_pool(&self, caller: &Caller, xml: &str, strict: bool) -> Result<PoolView> {
        caller.may_change()?;
        Ok(self.pools.define(xml, strict).await?)
    }

    /// Starts a pool from its document, without a definition.
    #[crate::boxed]
    pub async fn create_pool(
        &self,
        caller: &Caller,
        xml: &str,
        build: Option<BuildOptions>,
        strict: bool,
    ) -> Result<PoolView> {
        caller.may_change()?;
        Ok(self.pools.create(xml, build, strict).await?)
    }

    /// Makes a pool's directory.
    #[crate::boxed]
    pub async fn build_pool(&self, caller: &Caller, pool: &PoolHandle, options: BuildOptions) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.build(pool, options).await?)
    }

    /// Starts a pool.
    #[crate::boxed]
    pub async fn start_pool(
        &self,
        caller: &Caller,
        pool: &PoolHandle,
        build: Option<BuildOptions>,
    ) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.start(pool, build).await?)
    }

    /// Stops a pool; its files stay.
    #[crate::boxed]
    pub async fn destroy_pool(&self, caller: &Caller, pool: &PoolHandle) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.destroy(pool).await?)
    }

    /// Removes a pool's empty directory.
    #[crate::boxed]
    pub async fn delete_pool(&self, caller: &Caller, pool: &PoolHandle) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.delete(pool).await?)
    }

    /// Forgets a pool's definition.
    #[crate::boxed]
    pub async fn undefine_pool(&self, caller: &Caller, pool: &PoolHandle) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.undefine(pool).await?)
    }

    /// Looks at a pool's files anew.
    #[crate::boxed]
    pub async fn refresh_pool(&self, caller: &Caller, pool: &PoolHandle) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.refresh(pool).await?)
    }

    /// Whether a pool starts with the daemon.
    #[crate::boxed]
    pub async fn set_pool_autostart(&self, caller: &Caller, pool: &PoolHandle, enabled: bool) -> Result<()> {
        caller.may_change()?;
        Ok(self.pools.set_autostart(pool, enabled).await?)
    }

    /// What happens to pools from now on.
    pub fn pool_events(&self) -> broadcast::Receiver<PoolHappening> {
        self.pools.subscribe()
    }

    /// Publishes what happens to pools.
    pub(crate) fn tell_of_pools(&self) {
        let (feed, mut events) = (self.feed.clone(), self.pools.subscribe());
        self.spawn(async move {
            use broadcast::error::RecvError;
            loop {
                match events.recv().await {
                    Ok((id, name, event)) => {
                        let data = serde_json::json!({ "uuid": id.to_string() });
                        feed.publish(format!("pool.{}", event.as_str()), name, data);
                    }
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "pool events missed"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
}
