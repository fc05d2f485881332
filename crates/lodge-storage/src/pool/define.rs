//! Definitions: taking in, forgetting, marking for autostart.

use lodge_model::storage::Pool;

use super::{
    PoolEvent, Pools, document,
    error::PoolError,
    id_of,
    table::{PoolHandle, PoolView, Slot},
};

impl Pools {
    /// Takes in a definition; replaces the one of the same name and UUID. `strict`: unknown elements are faults.
    pub async fn define(&self, xml: &str, strict: bool) -> Result<PoolView, PoolError> {
        let pool = document::read(xml, strict)?;
        let _defining = self.inner().defining.lock().await;
        self.make_way_for(&pool).await?;
        self.tables().admit(&pool, false)?;
        let handle = PoolHandle { id: id_of(&pool), name: pool.name.clone() };
        self.keep(pool.clone()).await?;
        let mut tables = self.tables();
        match tables.get_mut(handle.id) {
            Some(slot) if slot.is_active => {
                slot.new_def = Some(pool);
                slot.is_persistent = true;
            }
            Some(slot) => {
                slot.def = pool;
                slot.is_persistent = true;
            }
            None => tables.insert(Slot { is_persistent: true, ..Slot::new(pool) }),
        }
        drop(tables);
        self.tell_storage();
        self.tell(&handle, PoolEvent::Defined);
        self.by_id(handle.id, None)
    }

    /// Forgets the definition of a pool that does not run.
    pub async fn undefine(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let _defining = self.inner().defining.lock().await;
        self.with(pool.id, Some(&pool.name), |slot| {
            slot.inactive("is still active")?;
            slot.idle()
        })??;
        let (definitions, name) = (self.inner().definitions.clone(), self.by_id(pool.id, None)?.name);
        let removed = tokio::task::spawn_blocking(move || {
            definitions.set_autostart(&name, false)?;
            definitions.remove(&name)
        });
        removed
            .await
            .map_err(|_| PoolError::Panicked { name: pool.name.clone() })?
            .map_err(PoolError::Definition)?;
        let slot = self.tables().remove(pool.id);
        self.tell_storage();
        if let Some(slot) = slot {
            self.tell(&slot.handle(), PoolEvent::Undefined);
        }
        Ok(())
    }

    /// Marks a pool to be started with the daemon, or not.
    pub async fn set_autostart(&self, pool: &PoolHandle, enabled: bool) -> Result<(), PoolError> {
        let _defining = self.inner().defining.lock().await;
        let view = self.by_id(pool.id, Some(&pool.name))?;
        if !view.is_persistent {
            return Err(PoolError::Internal("pool has no config file".to_owned()));
        }
        let (definitions, name) = (self.inner().definitions.clone(), view.name);
        tokio::task::spawn_blocking(move || definitions.set_autostart(&name, enabled))
            .await
            .map_err(|_| PoolError::Panicked { name: pool.name.clone() })?
            .map_err(PoolError::Definition)?;
        self.change(pool, |slot| slot.autostart = enabled)
    }

    /// Writes a definition's file.
    async fn keep(&self, pool: Pool) -> Result<(), PoolError> {
        let definitions = self.inner().definitions.clone();
        let name = pool.name.clone();
        tokio::task::spawn_blocking(move || definitions.put(&pool.name, &document::write(&pool)))
            .await
            .map_err(|_| PoolError::Panicked { name })?
            .map(drop)
            .map_err(PoolError::Definition)
    }
}
