//! Instances: an image, a seed and a domain in one act.

use axum::Json;
use http::StatusCode;
use lodge_api::{InstanceRemoval, InstanceSpec, Job, UndefineReport, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::jobs::begun;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Query, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new().routes(routes!(run_instance)).routes(routes!(remove_instance))
}

/// Make and start an instance of an image.
#[utoipa::path(post, path = route::INSTANCES, tag = "instances", request_body = InstanceSpec,
    responses((status = 202, description = "The job that does it; its result is the `DomainView`", body = Job), Refusal))]
async fn run_instance(
    front: Front,
    Document(spec): Document<InstanceSpec>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.run_instance(&caller, spec).await }).await.map(begun)
}

/// Remove an instance with all its files.
#[utoipa::path(delete, path = route::INSTANCE, tag = "instances",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), InstanceRemoval),
    responses((status = 200, description = "Every file of it, and whether it went", body = UndefineReport), Refusal))]
async fn remove_instance(
    front: Front,
    Name(dom): Name,
    Query(removal): Query<InstanceRemoval>,
) -> Answer<UndefineReport> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.remove_instance(&caller, &dom, removal).await }).await.map(Json)
}
