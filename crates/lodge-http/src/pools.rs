//! Storage pools: their documents, their directories, their life.

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use lodge_api::{Autostart, ErrorKind, PoolBuild, PoolOptions, PoolSourceQuery, PoolView, XmlOptions, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domains::xml;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Query, Xml, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(list_pools, define_pool))
        .routes(routes!(pool_capabilities))
        .routes(routes!(find_pool_sources))
        .routes(routes!(pool, undefine_pool))
        .routes(routes!(pool_xml))
        .routes(routes!(build_pool, delete_pool))
        .routes(routes!(start_pool))
        .routes(routes!(destroy_pool))
        .routes(routes!(refresh_pool))
        .routes(routes!(autostart_pool))
}

/// List storage pools.
#[utoipa::path(get, path = route::POOLS, tag = "storage",
    responses((status = 200, description = "The pools, by name", body = [PoolView]), Refusal))]
async fn list_pools(front: Front) -> Answer<Vec<PoolView>> {
    Ok(Json(front.engine.pool_views(&front.caller)))
}

/// Take in a pool's document.
///
/// Defines the pool, or changes its definition; with `start` starts it without one.
#[utoipa::path(post, path = route::POOLS, tag = "storage", params(PoolOptions),
    request_body(content = String, content_type = "application/xml", description = "libvirt's `<pool>` document"),
    responses((status = 200, description = "The pool as it stands now", body = PoolView), Refusal))]
async fn define_pool(
    front: Front,
    Query(options): Query<PoolOptions>,
    Xml(document): Xml,
) -> Answer<PoolView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.take_pool(&caller, &document, &options).await }).await.map(Json)
}

/// Read which types of pools there are.
#[utoipa::path(get, path = route::POOL_CAPABILITIES, tag = "storage",
    responses(
        (status = 200, description = "libvirt's `<storagepoolCapabilities>`", body = String,
         content_type = "application/xml"),
        Refusal
    ))]
async fn pool_capabilities(front: Front) -> Result<Response, Refusal> {
    Ok(xml(front.engine.pool_capabilities(&front.caller)))
}

/// Look for what pools could be made of: a server's exports, the host's volume groups.
#[utoipa::path(post, path = route::POOL_SOURCES, tag = "storage", request_body = PoolSourceQuery,
    responses(
        (status = 200, description = "libvirt's `<sources>`", body = String, content_type = "application/xml"),
        Refusal
    ))]
async fn find_pool_sources(
    front: Front,
    Document(query): Document<PoolSourceQuery>,
) -> Result<Response, Refusal> {
    let unknown =
        |_| Refusal::new(ErrorKind::InvalidInput, format!("unknown storage pool type {}", query.kind));
    let kind = query.kind.parse().map_err(unknown)?;
    let sources = front.engine.find_pool_sources(&front.caller, kind, query.source.as_deref());
    Ok(xml(front.wait(sources).await?))
}

/// Look at one pool.
#[utoipa::path(get, path = route::POOL, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID")),
    responses((status = 200, description = "The pool", body = PoolView), Refusal))]
async fn pool(front: Front, Name(pool): Name) -> Answer<PoolView> {
    Ok(Json(front.engine.pool_view(&front.caller, &pool)?))
}

/// Drop a pool's definition. Its files stay.
#[utoipa::path(delete, path = route::POOL, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID")),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn undefine_pool(front: Front, Name(pool): Name) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move {
        let pool = engine.pool(&caller, &pool)?.handle();
        engine.undefine_pool(&caller, &pool).await
    };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Read a pool's document.
#[utoipa::path(get, path = route::POOL_XML, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"), XmlOptions),
    responses(
        (status = 200, description = "libvirt's `<pool>` document", body = String, content_type = "application/xml"),
        Refusal
    ))]
async fn pool_xml(
    front: Front,
    Name(pool): Name,
    Query(options): Query<XmlOptions>,
) -> Result<Response, Refusal> {
    let pool = front.engine.pool(&front.caller, &pool)?.handle();
    Ok(xml(front.engine.pool_xml(&front.caller, &pool, options.inactive)?))
}

/// One act on a pool: what follows `Front` is done to its end, then the pool is told.
macro_rules! act {
    ($front:ident, $pool:ident, |$engine:ident, $caller:ident, $handle:ident| $act:expr) => {{
        let Front { engine: $engine, caller: $caller, .. } = $front;
        let act = async move {
            let before = $engine.pool(&$caller, &$pool)?;
            let $handle = &before.handle();
            $act.await?;
            // A transient pool is gone when it stops: what it was is told, as stopped.
            Ok($engine
                .pool_view(&$caller, &$handle.id.to_string())
                .unwrap_or_else(|_| PoolView { active: false, ..lodge_engine::pool_view_of(&before) }))
        };
        to_the_end(act).await.map(Json)
    }};
}

/// Make what a pool is made of: its directory, file system, volume group, partition table.
#[utoipa::path(post, path = route::POOL_DIRECTORY, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"), PoolBuild),
    responses((status = 200, description = "The pool as it stands now", body = PoolView), Refusal))]
async fn build_pool(front: Front, Name(pool): Name, Query(build): Query<PoolBuild>) -> Answer<PoolView> {
    act!(front, pool, |engine, caller, handle| engine.build_pool(
        &caller,
        handle,
        lodge_engine::build_options(&build)
    ))
}

/// Remove what a pool is made of: its directory, which must be empty, or its volume group.
#[utoipa::path(delete, path = route::POOL_DIRECTORY, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID")),
    responses((status = 200, description = "The pool as it stands now", body = PoolView), Refusal))]
async fn delete_pool(front: Front, Name(pool): Name) -> Answer<PoolView> {
    act!(front, pool, |engine, caller, handle| engine.delete_pool(&caller, handle))
}

/// Start a pool.
#[utoipa::path(post, path = route::POOL_START, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"), PoolBuild),
    responses((status = 200, description = "The pool as it stands now", body = PoolView), Refusal))]
async fn start_pool(front: Front, Name(pool): Name, Query(build): Query<PoolBuild>) -> Answer<PoolView> {
    let wanted =
        (build.build || build.overwrite || build.no_overwrite).then(|| lodge_engine::build_options(&build));
    act!(front, pool, |engine, caller, handle| engine.start_pool(&caller, handle, wanted))
}

/// Stop a pool. Its files stay.
#[utoipa::path(post, path = route::POOL_DESTROY, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID")),
    responses((status = 200, description = "The pool as it stands now", body = PoolView), Refusal))]
async fn destroy_pool(front: Front, Name(pool): Name) -> Answer<PoolView> {
    act!(front, pool, |engine, caller, handle| engine.destroy_pool(&caller, handle))
}

/// Look at a pool's files anew.
#[utoipa::path(post, path = route::POOL_REFRESH, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID")),
    responses((status = 200, description = "The pool as it stands now", body = PoolView), Refusal))]
async fn refresh_pool(front: Front, Name(pool): Name) -> Answer<PoolView> {
    act!(front, pool, |engine, caller, handle| engine.refresh_pool(&caller, handle))
}

/// Say whether a pool starts with the daemon.
#[utoipa::path(put, path = route::POOL_AUTOSTART, tag = "storage", request_body = Autostart,
    params(("pool" = String, Path, description = "The pool's name or UUID")),
    responses((status = 200, description = "The pool as it stands now", body = PoolView), Refusal))]
async fn autostart_pool(
    front: Front,
    Name(pool): Name,
    Document(wish): Document<Autostart>,
) -> Answer<PoolView> {
    act!(front, pool, |engine, caller, handle| engine.set_pool_autostart(&caller, handle, wish.enabled))
}
