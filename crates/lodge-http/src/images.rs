//! Images: the disks instances are cloned from.

use axum::Json;
use http::StatusCode;
use lodge_api::{ClonedVolume, ImageBuild, ImageClone, ImageImport, ImageView, Job, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::jobs::begun;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(list_images, import_image))
        .routes(routes!(build_image))
        .routes(routes!(image, remove_image))
        .routes(routes!(clone_image))
}

/// List images.
#[utoipa::path(get, path = route::IMAGES, tag = "images",
    responses((status = 200, description = "The images, by name", body = [ImageView]), Refusal))]
async fn list_images(front: Front) -> Answer<Vec<ImageView>> {
    Ok(Json(front.engine.images(&front.caller).await?))
}

/// Take a file in as an image.
#[utoipa::path(post, path = route::IMAGES, tag = "images", request_body = ImageImport,
    responses((status = 202, description = "The job that does it; its result is the `ImageView`", body = Job), Refusal))]
async fn import_image(
    front: Front,
    Document(import): Document<ImageImport>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.import_image(&caller, import).await }).await.map(begun)
}

/// Build an image.
#[utoipa::path(post, path = route::IMAGE_BUILD, tag = "images", request_body = ImageBuild,
    responses((status = 202, description = "The job that does it; its result is the `ImageView`", body = Job), Refusal))]
async fn build_image(
    front: Front,
    Document(build): Document<ImageBuild>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.build_image(&caller, build).await }).await.map(begun)
}

/// Look at one image.
#[utoipa::path(get, path = route::IMAGE, tag = "images",
    params(("image" = String, Path, description = "The image's name")),
    responses((status = 200, description = "The image", body = ImageView), Refusal))]
async fn image(front: Front, Name(image): Name) -> Answer<ImageView> {
    Ok(Json(front.engine.image(&front.caller, &image).await?))
}

/// Remove an image nothing stands on.
#[utoipa::path(delete, path = route::IMAGE, tag = "images",
    params(("image" = String, Path, description = "The image's name")),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn remove_image(front: Front, Name(image): Name) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.remove_image(&caller, &image).await })
        .await
        .map(|()| StatusCode::NO_CONTENT)
}

/// Make a linked clone of an image in the default pool.
#[utoipa::path(post, path = route::IMAGE_CLONE, tag = "images", request_body = ImageClone,
    params(("image" = String, Path, description = "The image's name")),
    responses((status = 200, description = "The new volume", body = ClonedVolume), Refusal))]
async fn clone_image(
    front: Front,
    Name(image): Name,
    Document(clone): Document<ImageClone>,
) -> Answer<ClonedVolume> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.clone_image(&caller, &image, clone).await }).await.map(Json)
}
