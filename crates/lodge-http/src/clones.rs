//! Clones and templates: other machines made of one.

use axum::Json;
use http::StatusCode;
use lodge_api::{CloneSpec, Job, TemplateSpec, TemplateView, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::jobs::begun;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(clone_guest))
        .routes(routes!(list_templates, create_template))
        .routes(routes!(template, remove_template))
}

/// Make other machines of a domain that is shut off, or of a template.
#[utoipa::path(post, path = route::CLONES, tag = "clones", request_body = CloneSpec,
    responses((status = 202, description = "The job that does it; its result is the `CloneReport`", body = Job), Refusal))]
async fn clone_guest(
    front: Front,
    Document(spec): Document<CloneSpec>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.clone_guest(&caller, spec).await }).await.map(begun)
}

/// List templates.
#[utoipa::path(get, path = route::TEMPLATES, tag = "clones",
    responses((status = 200, description = "All versions, by name, the newest first", body = [TemplateView]), Refusal))]
async fn list_templates(front: Front) -> Answer<Vec<TemplateView>> {
    Ok(Json(front.engine.templates(&front.caller).await?))
}

/// Make a template of a domain that is shut off.
#[utoipa::path(post, path = route::TEMPLATES, tag = "clones", request_body = TemplateSpec,
    responses((status = 202, description = "The job that does it; its result is the `TemplateView`", body = Job), Refusal))]
async fn create_template(
    front: Front,
    Document(spec): Document<TemplateSpec>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.create_template(&caller, spec).await }).await.map(begun)
}

/// Look at one version of a template.
#[utoipa::path(get, path = route::TEMPLATE, tag = "clones",
    params(("template" = String, Path, description = "`NAME`, `NAME:VERSION`, `NAME:latest`")),
    responses((status = 200, description = "The version", body = TemplateView), Refusal))]
async fn template(front: Front, Name(template): Name) -> Answer<TemplateView> {
    Ok(Json(front.engine.template(&front.caller, &template).await?))
}

/// Remove a version of a template that nothing stands on.
#[utoipa::path(delete, path = route::TEMPLATE, tag = "clones",
    params(("template" = String, Path, description = "`NAME`, `NAME:VERSION`, `NAME:latest`")),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn remove_template(front: Front, Name(template): Name) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.remove_template(&caller, &template).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}
