//! Snapshots of domains.

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use lodge_api::{
    DomainView, SnapshotCreate, SnapshotDelete, SnapshotRevert, SnapshotView, SnapshotXmlOptions, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domains::xml;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Names, Query, Xml, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(list_snapshots, create_snapshot))
        .routes(routes!(snapshot, delete_snapshot))
        .routes(routes!(snapshot_xml))
        .routes(routes!(revert_to_snapshot))
}

/// List a domain's snapshots.
#[utoipa::path(get, path = route::SNAPSHOTS, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "Its snapshots, parents before their children", body = [SnapshotView]), Refusal))]
async fn list_snapshots(front: Front, Name(dom): Name) -> Answer<Vec<SnapshotView>> {
    Ok(Json(front.engine.snapshots(&front.caller, &dom).await?))
}

/// Take a snapshot of a domain.
///
/// Of its disks, and of its memory where it runs; the document and the options say what and where to.
#[utoipa::path(post, path = route::SNAPSHOTS, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), SnapshotCreate),
    request_body(content = String, content_type = "application/xml",
        description = "libvirt's `<domainsnapshot>` document; an empty element takes all defaults"),
    responses((status = 200, description = "The snapshot", body = SnapshotView), Refusal))]
async fn create_snapshot(
    front: Front,
    Name(dom): Name,
    Query(options): Query<SnapshotCreate>,
    Xml(document): Xml,
) -> Answer<SnapshotView> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.create_snapshot(&caller, &dom, document, options).await };
    to_the_end(act).await.map(Json)
}

/// Look at one snapshot.
#[utoipa::path(get, path = route::SNAPSHOT, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
        ("snapshot" = String, Path, description = "The snapshot's name")),
    responses((status = 200, description = "The snapshot", body = SnapshotView), Refusal))]
async fn snapshot(front: Front, Names(dom, snapshot): Names) -> Answer<SnapshotView> {
    Ok(Json(front.engine.snapshot(&front.caller, &dom, &snapshot).await?))
}

/// Remove a snapshot.
///
/// Bytes that anything else needs stay; where that would be needed, nothing is done and the answer names who needs them.
#[utoipa::path(delete, path = route::SNAPSHOT, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
        ("snapshot" = String, Path, description = "The snapshot's name"), SnapshotDelete),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn delete_snapshot(
    front: Front,
    Names(dom, snapshot): Names,
    Query(options): Query<SnapshotDelete>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.delete_snapshot(&caller, &dom, &snapshot, options).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Read a snapshot's document.
#[utoipa::path(get, path = route::SNAPSHOT_XML, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
        ("snapshot" = String, Path, description = "The snapshot's name"), SnapshotXmlOptions),
    responses(
        (status = 200, description = "libvirt's `<domainsnapshot>` document", body = String, content_type = "application/xml"),
        Refusal
    ))]
async fn snapshot_xml(
    front: Front,
    Names(dom, snapshot): Names,
    Query(options): Query<SnapshotXmlOptions>,
) -> Result<Response, Refusal> {
    Ok(xml(front.engine.snapshot_xml(&front.caller, &dom, &snapshot, options).await?))
}

/// Bring a domain back to a snapshot.
///
/// What the guest wrote since its last snapshot is lost.
#[utoipa::path(post, path = route::SNAPSHOT_REVERT, tag = "domains", request_body = SnapshotRevert,
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
        ("snapshot" = String, Path, description = "The snapshot's name")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn revert_to_snapshot(
    front: Front,
    Names(dom, snapshot): Names,
    Document(options): Document<SnapshotRevert>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.revert_to_snapshot(&caller, &dom, &snapshot, options).await };
    to_the_end(act).await.map(Json)
}
