//! Volumes of pools: their documents, sizes and bytes.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use lodge_api::{
    Buffers, ErrorKind, VolumeOptions, VolumeQuery, VolumeRemoval, VolumeResize, VolumeSpan, VolumeView,
    VolumeWipe, route,
};
use lodge_engine::storage::{Download, Piece, PoolError, Span};
use tokio::sync::mpsc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domains::xml;
use crate::limits::{BODY_DEADLINE, PIECES_AHEAD, VOLUME_CHUNK_BYTES};
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Names, Query, Xml, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(list_volumes, create_volume))
        .routes(routes!(volume_by_path))
        .routes(routes!(volume, delete_volume))
        .routes(routes!(volume_xml))
        .routes(routes!(resize_volume))
        .routes(routes!(wipe_volume))
        .routes(routes!(download_volume, upload_volume))
}

/// List a pool's volumes.
#[utoipa::path(get, path = route::VOLUMES, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID")),
    responses((status = 200, description = "Its volumes, by name, as last seen", body = [VolumeView]), Refusal))]
async fn list_volumes(front: Front, Name(pool): Name) -> Answer<Vec<VolumeView>> {
    Ok(Json(front.engine.volume_views(&front.caller, &pool)?))
}

/// Make a volume of its document, or with `from` as a copy of another.
#[utoipa::path(post, path = route::VOLUMES, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"), VolumeOptions),
    request_body(content = String, content_type = "application/xml", description = "libvirt's `<volume>` document"),
    responses((status = 200, description = "The volume", body = VolumeView), Refusal))]
async fn create_volume(
    front: Front,
    Name(pool): Name,
    Query(options): Query<VolumeOptions>,
    Xml(document): Xml,
) -> Answer<VolumeView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.make_volume(&caller, &pool, &document, &options).await }).await.map(Json)
}

/// Look at the volume of a path.
#[utoipa::path(get, path = route::VOLUME_BY_PATH, tag = "storage", params(VolumeQuery),
    responses((status = 200, description = "The volume", body = VolumeView), Refusal))]
async fn volume_by_path(front: Front, Query(query): Query<VolumeQuery>) -> Answer<VolumeView> {
    Ok(Json(front.engine.volume_view_by_path(&front.caller, &query.path).await?))
}

/// Look at one volume.
#[utoipa::path(get, path = route::VOLUME, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"),
           ("vol" = String, Path, description = "The volume's name")),
    responses((status = 200, description = "The volume", body = VolumeView), Refusal))]
async fn volume(front: Front, Names(pool, volume): Names) -> Answer<VolumeView> {
    Ok(Json(front.engine.volume_view(&front.caller, &pool, &volume).await?))
}

/// Delete a volume. Refused while anybody needs it: a guest or its definition, a snapshot, another volume.
#[utoipa::path(delete, path = route::VOLUME, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"),
           ("vol" = String, Path, description = "The volume's name"), VolumeRemoval),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn delete_volume(
    front: Front,
    Names(pool, volume): Names,
    Query(removal): Query<VolumeRemoval>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move {
        let pool = engine.pool(&caller, &pool)?.handle();
        engine.delete_free_volume(&caller, &pool, &volume, removal.wipe).await
    };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Read a volume's document.
#[utoipa::path(get, path = route::VOLUME_XML, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"),
           ("vol" = String, Path, description = "The volume's name")),
    responses(
        (status = 200, description = "libvirt's `<volume>` document", body = String, content_type = "application/xml"),
        Refusal
    ))]
async fn volume_xml(front: Front, Names(pool, volume): Names) -> Result<Response, Refusal> {
    let pool = front.engine.pool(&front.caller, &pool)?.handle();
    Ok(xml(front.engine.look_at_volume(&front.caller, &pool, &volume).await?.xml()))
}

/// Give a volume another size.
#[utoipa::path(post, path = route::VOLUME_RESIZE, tag = "storage", request_body = VolumeResize,
    params(("pool" = String, Path, description = "The pool's name or UUID"),
           ("vol" = String, Path, description = "The volume's name")),
    responses((status = 200, description = "The volume as it is now", body = VolumeView), Refusal))]
async fn resize_volume(
    front: Front,
    Names(pool, volume): Names,
    Document(resize): Document<VolumeResize>,
) -> Answer<VolumeView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.resize_volume_to(&caller, &pool, &volume, &resize).await }).await.map(Json)
}

/// Make a volume's bytes unreadable.
#[utoipa::path(post, path = route::VOLUME_WIPE, tag = "storage", request_body = VolumeWipe,
    params(("pool" = String, Path, description = "The pool's name or UUID"),
           ("vol" = String, Path, description = "The volume's name")),
    responses((status = 200, description = "The volume as it is now", body = VolumeView), Refusal))]
async fn wipe_volume(
    front: Front,
    Names(pool, volume): Names,
    Document(wipe): Document<VolumeWipe>,
) -> Answer<VolumeView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.wipe_volume_by(&caller, &pool, &volume, &wipe).await }).await.map(Json)
}

/// Read a volume's bytes.
#[utoipa::path(get, path = route::VOLUME_DATA, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"),
           ("vol" = String, Path, description = "The volume's name"), VolumeSpan),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        Refusal
    ))]
async fn download_volume(
    front: Front,
    Names(pool, volume): Names,
    Query(span): Query<VolumeSpan>,
) -> Result<Response, Refusal> {
    let pool = front.engine.pool(&front.caller, &pool)?.handle();
    let span = Span { offset: span.offset, length: span.length };
    let download = front.engine.download_volume(&front.caller, &pool, &volume, span, false).await?;
    // The next pieces are read while one is on its way.
    let (pieces, next) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(read_ahead(download, pieces));
    let bytes = unfold(next, |mut next| async { next.recv().await.map(|piece| (piece, next)) });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(bytes)).into_response())
}

/// Write into a volume. All of it is on disk when this answers.
#[utoipa::path(put, path = route::VOLUME_DATA, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID"),
           ("vol" = String, Path, description = "The volume's name"), VolumeSpan),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The bytes"),
    responses((status = 204, description = "They are there"), Refusal))]
async fn upload_volume(
    front: Front,
    Names(pool, volume): Names,
    Query(span): Query<VolumeSpan>,
    mut body: Body,
) -> Result<StatusCode, Refusal> {
    let pool = front.engine.pool(&front.caller, &pool)?.handle();
    let range = Span { offset: span.offset, length: span.length };
    let mut upload = front.engine.upload_volume(&front.caller, &pool, &volume, range).await?;
    if span.hole > 0 {
        upload.hole(span.hole).await.map_err(lodge_engine::EngineError::from)?;
    }
    let mut spare = Vec::new();
    let mut piece = next_piece(&mut body, Vec::new()).await?;
    while let Some(bytes) = piece {
        // The next piece comes while one is written. Two buffers take turns: a fresh one costs a page fault per page.
        let (written, next) =
            tokio::join!(upload.write(bytes, 0), next_piece(&mut body, std::mem::take(&mut spare)));
        spare = written.map_err(lodge_engine::EngineError::from)?;
        piece = next?;
    }
    upload.finish().await.map_err(lodge_engine::EngineError::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a client sends, in pieces that are worth a write; `None` at its end. `piece` is the buffer for it.
async fn next_piece(body: &mut Body, mut piece: Vec<u8>) -> Result<Option<Vec<u8>>, Refusal> {
    piece.clear();
    while piece.len() < VOLUME_CHUNK_BYTES {
        let frame = tokio::time::timeout(BODY_DEADLINE, body.frame()).await;
        let frame = frame.map_err(|_| Refusal::new(ErrorKind::InvalidInput, "the body does not go on"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Refusal::new(ErrorKind::InvalidInput, "the body broke off"))?;
        if let Ok(bytes) = frame.into_data() {
            if piece.is_empty() {
                piece.reserve(VOLUME_CHUNK_BYTES + bytes.len());
            }
            piece.extend_from_slice(&bytes);
        }
    }
    Ok(Some(piece).filter(|piece| !piece.is_empty()))
}

/// Reads a volume for as long as somebody takes the pieces. The last may be why there are no more. Buffers go round.
async fn read_ahead(mut download: Download, pieces: mpsc::Sender<Result<Bytes, PoolError>>) {
    let buffers = Buffers::new();
    loop {
        let piece = match download.next(buffers.spare(), 0, VOLUME_CHUNK_BYTES).await {
            Ok(None) => return,
            Ok(Some(Piece::Data(bytes))) => Ok(Bytes::from_owner(buffers.lend(bytes))),
            // Asked for without holes, there are none.
            Ok(Some(Piece::Hole(_))) => continue,
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}
