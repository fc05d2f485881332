//! Identities: what makes a machine this machine, and what becomes of it.

use axum::Json;
use http::StatusCode;
use lodge_api::{
    IdentityAct, IdentityAudit, IdentityDiff, IdentityDiffQuery, IdentityLogQuery, IdentityReset,
    IdentityRule, IdentityView, ImageSysprep, Job, SysprepOperation, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::jobs::begun;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Query, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(identity))
        .routes(routes!(reset_identity))
        .routes(routes!(sysprep_images))
        .routes(routes!(identity_diff))
        .routes(routes!(identity_log))
        .routes(routes!(audit_identities))
        .routes(routes!(sysprep_operations))
        .routes(routes!(identity_rules))
}

/// What a machine is known by.
///
/// Of a domain that is shut off its disks are read, of one that runs its agent is asked.
#[utoipa::path(get, path = route::DOMAIN_IDENTITY, tag = "identities",
    params(("dom" = String, Path, description = "The domain's name, UUID or number, or a template's name")),
    responses((status = 200, description = "All that is known of it", body = IdentityView), Refusal))]
async fn identity(front: Front, Name(dom): Name) -> Answer<IdentityView> {
    Ok(Json(front.engine.identity(&front.caller, &dom).await?))
}

/// Give a guest another identity.
#[utoipa::path(post, path = route::IDENTITY_RESET, tag = "identities", request_body = IdentityReset,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 202, description = "The job that does it; its result is the `IdentityAct`", body = Job), Refusal))]
async fn reset_identity(
    front: Front,
    Name(dom): Name,
    Document(wish): Document<IdentityReset>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.reset_identity(&caller, &dom, wish).await }).await.map(begun)
}

/// Take the identity out of a machine that lies on image files and is no domain.
#[utoipa::path(post, path = route::SYSPREP, tag = "identities", request_body = ImageSysprep,
    responses((status = 202, description = "The job that does it; its result is the `IdentityAct`", body = Job), Refusal))]
async fn sysprep_images(
    front: Front,
    Document(wish): Document<ImageSysprep>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.sysprep_images(&caller, wish).await }).await.map(begun)
}

/// Two machines beside each other.
#[utoipa::path(get, path = route::IDENTITY_DIFF, tag = "identities", params(IdentityDiffQuery),
    responses((status = 200, description = "What is alike and what differs", body = IdentityDiff), Refusal))]
async fn identity_diff(front: Front, Query(query): Query<IdentityDiffQuery>) -> Answer<IdentityDiff> {
    Ok(Json(front.engine.identity_diff(&front.caller, &query).await?))
}

/// What became of identities.
#[utoipa::path(get, path = route::IDENTITY_LOG, tag = "identities", params(IdentityLogQuery),
    responses((status = 200, description = "The book's entries, the newest first", body = [IdentityAct]), Refusal))]
async fn identity_log(front: Front, Query(query): Query<IdentityLogQuery>) -> Answer<Vec<IdentityAct>> {
    Ok(Json(front.engine.identity_log(&front.caller, query).await?))
}

/// Look for what more than one machine has.
#[utoipa::path(post, path = route::IDENTITY_AUDIT, tag = "identities", request_body = IdentityAudit,
    responses((status = 202, description = "The job that does it; its result is the `AuditReport`", body = Job), Refusal))]
async fn audit_identities(
    front: Front,
    Document(audit): Document<IdentityAudit>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.audit_identities(&caller, audit).await }).await.map(begun)
}

/// The rules of the catalogue that are in force, the owner's among them.
#[utoipa::path(get, path = route::IDENTITY_RULES, tag = "identities",
    responses((status = 200, description = "In the order in which they are followed", body = [IdentityRule]), Refusal))]
async fn identity_rules(front: Front) -> Answer<Vec<IdentityRule>> {
    Ok(Json(front.engine.identity_rules(&front.caller).await?))
}

/// What can be taken out of a guest.
#[utoipa::path(get, path = route::SYSPREP_OPERATIONS, tag = "identities",
    responses((status = 200, description = "virt-sysprep's names and ours", body = [SysprepOperation]), Refusal))]
async fn sysprep_operations(front: Front) -> Answer<Vec<SysprepOperation>> {
    Ok(Json(front.engine.sysprep_operations(&front.caller)))
}
