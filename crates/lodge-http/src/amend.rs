//! Changing a domain that is there, and looking at its figures.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use lodge_api::{
    ChangeScope, DomainChange, DomainFigures, DomainView, Figure, FigureQuery, FiguresQuery, GuestTime,
    ScreenQuery, VcpusView, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Query, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(change_domain))
        .routes(routes!(domain_figures))
        .routes(routes!(domain_vcpus))
        .routes(routes!(domain_time))
        .routes(routes!(domain_screenshot))
        .routes(routes!(figures))
}

/// Change a domain: memory, processors, devices, limits.
///
/// The running guest, its definition, or both; a refusal leaves both as they were.
#[utoipa::path(post, path = route::DOMAIN_CHANGES, tag = "domains", request_body = DomainChange,
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), ChangeScope),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn change_domain(
    front: Front,
    Name(dom): Name,
    Query(scope): Query<ChangeScope>,
    Document(change): Document<DomainChange>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.amend_domain(&caller, &dom, scope, change).await }).await.map(Json)
}

/// Read a domain's figures about one thing.
#[utoipa::path(get, path = route::DOMAIN_FIGURES, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), FigureQuery),
    responses((status = 200, description = "Its figures, in libvirt's order", body = [Figure]), Refusal))]
async fn domain_figures(
    front: Front,
    Name(dom): Name,
    Query(query): Query<FigureQuery>,
) -> Answer<Vec<Figure>> {
    Ok(Json(front.engine.domain_figures(&front.caller, &dom, query).await?))
}

/// List a domain's processors.
#[utoipa::path(get, path = route::DOMAIN_VCPUS, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "Those it runs on, or those its definition gives it", body = VcpusView), Refusal))]
async fn domain_vcpus(front: Front, Name(dom): Name) -> Answer<VcpusView> {
    Ok(Json(front.engine.domain_vcpus(&front.caller, &dom).await?))
}

/// Read what a guest's clock shows, by its agent.
#[utoipa::path(get, path = route::DOMAIN_TIME, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The moment", body = GuestTime), Refusal))]
async fn domain_time(front: Front, Name(dom): Name) -> Answer<GuestTime> {
    Ok(Json(front.engine.domain_time(&front.caller, &dom).await?))
}

/// Take a picture of one of a guest's screens.
#[utoipa::path(get, path = route::DOMAIN_SCREENSHOT, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), ScreenQuery),
    responses(
        (status = 200, description = "The picture; of a QEMU before 7.1 a portable pixmap", body = Vec<u8>, content_type = "image/png"),
        Refusal
    ))]
async fn domain_screenshot(
    front: Front,
    Name(dom): Name,
    Query(query): Query<ScreenQuery>,
) -> Result<Response, Refusal> {
    let picture = front.engine.domain_screenshot(&front.caller, &dom, query.screen).await?;
    Ok(([(CONTENT_TYPE, picture.mime)], picture.bytes).into_response())
}

/// Read the figures of many domains at once.
#[utoipa::path(get, path = route::FIGURES, tag = "domains", params(FiguresQuery),
    responses((status = 200, description = "The domains' figures, by name", body = [DomainFigures]), Refusal))]
async fn figures(front: Front, Query(query): Query<FiguresQuery>) -> Answer<Vec<DomainFigures>> {
    Ok(Json(front.engine.figures(&front.caller, query).await?))
}
