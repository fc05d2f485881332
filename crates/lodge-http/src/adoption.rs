//! Moving a host from libvirt's daemons to Lodge.

use axum::Json;
use lodge_api::{AdoptOptions, Adoption, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new().routes(routes!(adoption, adopt))
}

/// What libvirt's daemons have or left on this host. Changes nothing.
#[utoipa::path(get, path = route::ADOPTION, tag = "host",
    responses((status = 200, description = "What there is", body = Adoption), Refusal))]
async fn adoption(front: Front) -> Answer<Adoption> {
    Ok(Json(front.engine.adoption(&front.caller).await?))
}

/// Take over what libvirt's daemons left: running guests without a pause, running networks with their leases.
///
/// Refused while one of them still runs.
#[utoipa::path(post, path = route::ADOPTION, tag = "host", request_body = AdoptOptions,
    responses((status = 200, description = "What was taken over", body = Adoption), Refusal))]
async fn adopt(front: Front, Document(options): Document<AdoptOptions>) -> Answer<Adoption> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.adopt(&caller, options).await }).await.map(Json)
}
