//! The daemon and its host.

use axum::Json;
use lodge_api::{HostReport, HostView, Version, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::{Answer, Front, House};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new().routes(routes!(version)).routes(routes!(host)).routes(routes!(check_host))
}

/// Which daemon this is.
#[utoipa::path(get, path = route::VERSION, tag = "host",
    responses((status = 200, description = "The daemon", body = Version), Refusal))]
async fn version(front: Front) -> Answer<Version> {
    Ok(Json(front.engine.version(&front.caller).await?))
}

/// The host as the daemon sees it.
#[utoipa::path(get, path = route::HOST, tag = "host",
    responses((status = 200, description = "The host", body = HostView), Refusal))]
async fn host(front: Front) -> Answer<HostView> {
    Ok(Json(front.engine.host(&front.caller).await?))
}

/// Check what a hypervisor needs of the host.
///
/// Runs timed guest code on `/dev/kvm`, so it takes up to a few seconds.
#[utoipa::path(get, path = route::HOST_CHECK, tag = "host",
    responses((status = 200, description = "What was found, and the next step for each miss", body = HostReport), Refusal))]
async fn check_host(front: Front) -> Answer<HostReport> {
    Ok(Json(front.wait(front.engine.host_check(&front.caller)).await?))
}
