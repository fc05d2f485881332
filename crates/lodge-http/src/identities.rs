//! Identities: what makes a machine this machine, and what becomes of it.

use axum::Json;
use lodge_api::{IdentityAct, IdentityLogQuery, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::{Answer, Front, House, Query};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new().routes(routes!(identity_log))
}

/// What became of identities.
#[utoipa::path(get, path = route::IDENTITY_LOG, tag = "identities", params(IdentityLogQuery),
    responses((status = 200, description = "The book's entries, the newest first", body = [IdentityAct]), Refusal))]
async fn identity_log(front: Front, Query(query): Query<IdentityLogQuery>) -> Answer<Vec<IdentityAct>> {
    Ok(Json(front.engine.identity_log(&front.caller, query).await?))
}
