//! What happens inside a guest: its seed, and how far it is.

use axum::Json;
use http::StatusCode;
use lodge_api::{Readiness, SeedSpec, SeedView, WaitQuery, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Query, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(set_seed, seed, remove_seed))
        .routes(routes!(readiness))
        .routes(routes!(wait_for_guest))
}

/// Give a domain a seed.
///
/// cloud-init finds it at the domain's next start and sets the guest up anew.
#[utoipa::path(put, path = route::DOMAIN_SEED, tag = "guests", request_body = SeedSpec,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The seed as it is kept", body = SeedView), Refusal))]
async fn set_seed(front: Front, Name(dom): Name, Document(spec): Document<SeedSpec>) -> Answer<SeedView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.set_seed(&caller, &dom, spec).await }).await.map(Json)
}

/// Look at a domain's seed.
#[utoipa::path(get, path = route::DOMAIN_SEED, tag = "guests",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The seed as it is kept", body = SeedView), Refusal))]
async fn seed(front: Front, Name(dom): Name) -> Answer<SeedView> {
    Ok(Json(front.engine.seed(&front.caller, &dom).await?))
}

/// Take a domain's seed away.
#[utoipa::path(delete, path = route::DOMAIN_SEED, tag = "guests",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn remove_seed(front: Front, Name(dom): Name) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.remove_seed(&caller, &dom).await }).await.map(|()| StatusCode::NO_CONTENT)
}

/// Say how far the guest is.
#[utoipa::path(get, path = route::DOMAIN_READINESS, tag = "guests",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "What was seen of the guest so far", body = Readiness), Refusal))]
async fn readiness(front: Front, Name(dom): Name) -> Answer<Readiness> {
    Ok(Json(front.engine.readiness(&front.caller, &dom).await?))
}

/// Wait until the guest is so far.
///
/// Answers when it is; an error says why it will not be, as soon as that is known.
#[utoipa::path(get, path = route::DOMAIN_WAIT, tag = "guests",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), WaitQuery),
    responses((status = 200, description = "It is so", body = Readiness), Refusal))]
async fn wait_for_guest(front: Front, Name(dom): Name, Query(query): Query<WaitQuery>) -> Answer<Readiness> {
    front.wait(front.engine.wait(&front.caller, &dom, query)).await.map(Json)
}
