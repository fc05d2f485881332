//! Calls about storage pools and volumes. `pool` is a pool's name or UUID, `vol` a volume's name.

use std::io::Read;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use lodge_api::{
    Autostart, PoolBuild, PoolOptions, PoolSourceQuery, PoolView, VolumeOptions, VolumeQuery, VolumeRemoval,
    VolumeResize, VolumeSpan, VolumeView, VolumeWipe, XmlOptions, route,
};

use crate::calls::Answer;
use crate::wire::Call;
use crate::{Client, ClientError, ahead};

/// Pools.
impl Client {
    /// All pools.
    pub async fn pools(&self) -> Answer<Vec<PoolView>> {
        self.json(Call::get(route::POOLS)).await
    }

    /// Takes in a document: `virsh pool-define`, or `pool-create` with `options.start`.
    pub async fn define_pool(&self, xml: &str, options: &PoolOptions) -> Answer<PoolView> {
        self.json(Call::post(route::POOLS).query(options).xml(xml)).await
    }

    /// Which types of pools there are, as libvirt's document.
    pub async fn pool_capabilities(&self) -> Answer<String> {
        self.text(Call::get(route::POOL_CAPABILITIES)).await
    }

    /// What pools could be made of, as libvirt's document.
    pub async fn find_pool_sources(&self, query: &PoolSourceQuery) -> Answer<String> {
        self.text(Call::post(route::POOL_SOURCES).json(query)).await
    }

    /// One pool.
    pub async fn pool(&self, pool: &str) -> Answer<PoolView> {
        self.json(Call::get(route::of(route::POOL, pool))).await
    }

    /// A pool's document.
    pub async fn pool_xml(&self, pool: &str, options: &XmlOptions) -> Answer<String> {
        self.text(Call::get(route::of(route::POOL_XML, pool)).query(options)).await
    }

    /// Drops a pool's definition.
    pub async fn undefine_pool(&self, pool: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::POOL, pool))).await
    }

    /// Makes a pool's directory.
    pub async fn build_pool(&self, pool: &str, build: &PoolBuild) -> Answer<PoolView> {
        self.json(Call::post(route::of(route::POOL_DIRECTORY, pool)).query(build)).await
    }

    /// Removes a pool's directory.
    pub async fn delete_pool(&self, pool: &str) -> Answer<PoolView> {
        self.json(Call::delete(route::of(route::POOL_DIRECTORY, pool))).await
    }

    /// Starts a pool.
    pub async fn start_pool(&self, pool: &str, build: &PoolBuild) -> Answer<PoolView> {
        self.json(Call::post(route::of(route::POOL_START, pool)).query(build)).await
    }

    /// Stops a pool.
    pub async fn destroy_pool(&self, pool: &str) -> Answer<PoolView> {
        self.json(Call::post(route::of(route::POOL_DESTROY, pool))).await
    }

    /// Looks at a pool's files anew.
    pub async fn refresh_pool(&self, pool: &str) -> Answer<PoolView> {
        self.json(Call::post(route::of(route::POOL_REFRESH, pool))).await
    }

    /// Whether a pool starts with the daemon.
    pub async fn autostart_pool(&self, pool: &str, enabled: bool) -> Answer<PoolView> {
        self.json(Call::put(route::of(route::POOL_AUTOSTART, pool)).json(&Autostart { enabled })).await
    }
}

/// Volumes.
impl Client {
    /// A pool's volumes.
    pub async fn volumes(&self, pool: &str) -> Answer<Vec<VolumeView>> {
        self.json(Call::get(route::of(route::VOLUMES, pool))).await
    }

    /// Makes a volume of its document, or as a copy.
    pub async fn create_volume(&self, pool: &str, xml: &str, options: &VolumeOptions) -> Answer<VolumeView> {
        self.json(Call::post(route::of(route::VOLUMES, pool)).query(options).xml(xml)).await
    }

    /// One volume.
    pub async fn volume(&self, pool: &str, vol: &str) -> Answer<VolumeView> {
        self.json(Call::get(route::of_both(route::VOLUME, pool, vol))).await
    }

    /// The volume of a path or key.
    pub async fn volume_by_path(&self, path: &str) -> Answer<VolumeView> {
        let query = VolumeQuery { path: path.to_owned() };
        self.json(Call::get(route::VOLUME_BY_PATH).query(&query)).await
    }

    /// A volume's document.
    pub async fn volume_xml(&self, pool: &str, vol: &str) -> Answer<String> {
        self.text(Call::get(route::of_both(route::VOLUME_XML, pool, vol))).await
    }

    /// Deletes a volume.
    pub async fn delete_volume(&self, pool: &str, vol: &str, removal: &VolumeRemoval) -> Answer<()> {
        self.nothing(Call::delete(route::of_both(route::VOLUME, pool, vol)).query(removal)).await
    }

    /// Gives a volume another size.
    pub async fn resize_volume(&self, pool: &str, vol: &str, resize: &VolumeResize) -> Answer<VolumeView> {
        self.json(Call::post(route::of_both(route::VOLUME_RESIZE, pool, vol)).json(resize)).await
    }

    /// Makes a volume's bytes unreadable.
    pub async fn wipe_volume(&self, pool: &str, vol: &str, wipe: &VolumeWipe) -> Answer<VolumeView> {
        self.json(Call::post(route::of_both(route::VOLUME_WIPE, pool, vol)).json(wipe)).await
    }

    /// Reads a volume's bytes as they come.
    pub async fn download_volume(&self, pool: &str, vol: &str, span: &VolumeSpan) -> Answer<Download> {
        let call = Call::get(route::of_both(route::VOLUME_DATA, pool, vol)).query(span);
        let name = call.name();
        let body = self.wire.open_stream(call).await?.into_body();
        Ok(Download { name, body })
    }

    /// Writes all of `from` into a volume; it is on disk when this returns.
    pub async fn upload_volume(
        &self,
        pool: &str,
        vol: &str,
        span: &VolumeSpan,
        from: impl Read + Send + 'static,
    ) -> Answer<()> {
        let call = Call::put(route::of_both(route::VOLUME_DATA, pool, vol)).query(span);
        self.wire.send_stream(call, ahead::body(from)).await
    }
}

/// A volume's or a file's bytes on their way.
#[derive(Debug)]
pub struct Download {
    name: String,
    body: Incoming,
}

impl Download {
    /// Those that an answer's body brings.
    pub(crate) fn new(name: String, body: Incoming) -> Self {
        Self { name, body }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Answer<Option<Bytes>> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(source)) => return Err(ClientError::Lost { call: self.name.clone(), source }),
            }
        }
    }
}
