//! Image files: looked at, mapped, checked, converted, compacted, resized.

use axum::Json;
use http::StatusCode;
use lodge_api::{
    ImageChain, ImageCheck, ImageCompact, ImageConvert, ImageFileQuery, ImageMap, ImageResize, ImageSubject,
    Job, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::jobs::begun;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(image_file))
        .routes(routes!(map_image_file))
        .routes(routes!(check_image_file))
        .routes(routes!(convert_image_file))
        .routes(routes!(compact_image_file))
        .routes(routes!(resize_image_file))
}

type Begun = Result<(StatusCode, Json<Job>), Refusal>;

/// Look at an image file.
#[utoipa::path(post, path = route::IMAGE_FILE, tag = "image files", request_body = ImageFileQuery,
    responses((status = 200, description = "The file, and with `chain` all it stands on", body = ImageChain), Refusal))]
async fn image_file(front: Front, Document(query): Document<ImageFileQuery>) -> Answer<ImageChain> {
    Ok(Json(front.engine.image_file(&front.caller, query).await?))
}

/// Map an image file.
#[utoipa::path(post, path = route::IMAGE_FILE_MAP, tag = "image files", request_body = ImageSubject,
    responses((status = 200, description = "Where the disk's bytes are", body = ImageMap), Refusal))]
async fn map_image_file(front: Front, Document(subject): Document<ImageSubject>) -> Answer<ImageMap> {
    Ok(Json(front.engine.map_image_file(&front.caller, subject).await?))
}

/// Check an image file.
#[utoipa::path(post, path = route::IMAGE_FILE_CHECK, tag = "image files", request_body = ImageCheck,
    responses((status = 202, description = "The job; its result is an `ImageCheckReport`", body = Job), Refusal))]
async fn check_image_file(front: Front, Document(check): Document<ImageCheck>) -> Begun {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.check_image_file(&caller, check).await }).await.map(begun)
}

/// Make an image file of another.
#[utoipa::path(post, path = route::IMAGE_FILE_CONVERT, tag = "image files", request_body = ImageConvert,
    responses((status = 202, description = "The job; its result is an `ImageConverted`", body = Job), Refusal))]
async fn convert_image_file(front: Front, Document(convert): Document<ImageConvert>) -> Begun {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.convert_image_file(&caller, convert).await }).await.map(begun)
}

/// Give back the room of what reads as zero.
#[utoipa::path(post, path = route::IMAGE_FILE_COMPACT, tag = "image files", request_body = ImageCompact,
    responses((status = 202, description = "The job; its result is an `ImageCompacted`", body = Job), Refusal))]
async fn compact_image_file(front: Front, Document(compact): Document<ImageCompact>) -> Begun {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.compact_image_file(&caller, compact).await }).await.map(begun)
}

/// Give an image file another size.
#[utoipa::path(post, path = route::IMAGE_FILE_RESIZE, tag = "image files", request_body = ImageResize,
    responses((status = 202, description = "The job; its result is an `ImageResized`", body = Job), Refusal))]
async fn resize_image_file(front: Front, Document(resize): Document<ImageResize>) -> Begun {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.resize_image_file(&caller, resize).await }).await.map(begun)
}
