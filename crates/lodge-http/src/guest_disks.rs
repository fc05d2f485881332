//! What lies on guests' disks: devices, files, their bytes.

use axum::{
    Json,
    body::{Body, Bytes},
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use futures_util::stream::try_unfold;
use lodge_api::{GuestDevices, GuestDiskQuery, GuestFile, route};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::refusal::Refusal;
use crate::request::{Answer, Front, House, Query};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(guest_devices))
        .routes(routes!(guest_tree))
        .routes(routes!(guest_content))
}

/// See the devices on a guest's disks: partitions, volumes, arrays, and what lies in each.
#[utoipa::path(get, path = route::GUEST_DEVICES, tag = "storage", params(GuestDiskQuery),
    responses((status = 200, description = "Its disks, and what could not be read", body = GuestDevices), Refusal))]
async fn guest_devices(front: Front, Query(query): Query<GuestDiskQuery>) -> Answer<GuestDevices> {
    Ok(Json(front.engine.guest_devices(&front.caller, &query).await?))
}

/// List files on a guest's disks.
#[utoipa::path(get, path = route::GUEST_TREE, tag = "storage", params(GuestDiskQuery),
    responses((status = 200, description = "By name; what is in a directory follows it", body = [GuestFile]), Refusal))]
async fn guest_tree(front: Front, Query(query): Query<GuestDiskQuery>) -> Answer<Vec<GuestFile>> {
    Ok(Json(front.engine.guest_tree(&front.caller, &query).await?))
}

/// Read a file on a guest's disks.
#[utoipa::path(get, path = route::GUEST_CONTENT, tag = "storage", params(GuestDiskQuery),
    responses(
        (status = 200, description = "Its bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        Refusal
    ))]
async fn guest_content(front: Front, Query(query): Query<GuestDiskQuery>) -> Result<Response, Refusal> {
    let content = front.engine.guest_content(&front.caller, &query).await?;
    let bytes = try_unfold(content, |mut content| async move {
        Ok::<_, lodge_engine::EngineError>(content.next().await?.map(|bytes| (Bytes::from(bytes), content)))
    });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(bytes)).into_response())
}
