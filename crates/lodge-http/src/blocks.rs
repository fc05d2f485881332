//! Disks of running guests: sizes, errors, and block jobs.

use axum::Json;
use http::StatusCode;
use lodge_api::{
    BlockCommit, BlockCopy, BlockError, BlockJobEnd, BlockJobSpeed, BlockJobView, BlockPull, BlockResize,
    BlockSizes, BlockThreshold, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Names, Query, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(domain_block))
        .routes(routes!(domain_block_errors))
        .routes(routes!(resize_block))
        .routes(routes!(set_block_threshold))
        .routes(routes!(commit_block))
        .routes(routes!(pull_block))
        .routes(routes!(copy_block))
        .routes(routes!(block_job, set_block_job_speed, end_block_job))
}

/// Tell a disk's sizes.
#[utoipa::path(get, path = route::DOMAIN_BLOCK, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file")),
    responses((status = 200, description = "Its sizes", body = BlockSizes), Refusal))]
async fn domain_block(front: Front, Names(dom, disk): Names) -> Answer<BlockSizes> {
    Ok(Json(front.engine.domain_block(&front.caller, &dom, &disk).await?))
}

/// List the disks that stopped the guest.
#[utoipa::path(get, path = route::DOMAIN_BLOCK_ERRORS, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "Those with an error", body = [BlockError]), Refusal))]
async fn domain_block_errors(front: Front, Name(dom): Name) -> Answer<Vec<BlockError>> {
    Ok(Json(front.engine.domain_block_errors(&front.caller, &dom).await?))
}

/// Look at the block job of a disk. Null: there is none.
#[utoipa::path(get, path = route::BLOCK_JOB, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file")),
    responses((status = 200, description = "What it does and how far it is", body = Option<BlockJobView>), Refusal))]
async fn block_job(front: Front, Names(dom, disk): Names) -> Answer<Option<BlockJobView>> {
    Ok(Json(front.engine.block_job(&front.caller, &dom, &disk).await?))
}

/// Give a running guest's disk another size.
///
/// The guest sees it at once.
#[utoipa::path(post, path = route::BLOCK_RESIZE, tag = "domains", request_body = BlockResize,
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file")),
    responses((status = 204, description = "The guest sees the new size"), Refusal))]
async fn resize_block(
    front: Front,
    Names(dom, disk): Names,
    Document(asked): Document<BlockResize>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.resize_block(&caller, &dom, disk, asked.size).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Say when a disk's growth is told.
#[utoipa::path(put, path = route::BLOCK_THRESHOLD, tag = "domains", request_body = BlockThreshold,
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file")),
    responses((status = 204, description = "The event will be told"), Refusal))]
async fn set_block_threshold(
    front: Front,
    Names(dom, disk): Names,
    Document(asked): Document<BlockThreshold>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.set_block_threshold(&caller, &dom, disk, asked.threshold).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Put what files of a disk have into the one below them.
///
/// Answers when the job has begun; it goes on by itself.
#[utoipa::path(post, path = route::BLOCK_COMMIT, tag = "domains", request_body = BlockCommit,
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file")),
    responses((status = 204, description = "The job has begun"), Refusal))]
async fn commit_block(
    front: Front,
    Names(dom, disk): Names,
    Document(asked): Document<BlockCommit>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.commit_block(&caller, &dom, disk, asked).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Fill a disk's own file from those below it.
///
/// Answers when the job has begun; it goes on by itself.
#[utoipa::path(post, path = route::BLOCK_PULL, tag = "domains", request_body = BlockPull,
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file")),
    responses((status = 204, description = "The job has begun"), Refusal))]
async fn pull_block(
    front: Front,
    Names(dom, disk): Names,
    Document(asked): Document<BlockPull>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.pull_block(&caller, &dom, disk, asked).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Copy a disk to another file, which is kept the same until the job is ended.
///
/// Answers when the job has begun; it goes on by itself.
#[utoipa::path(post, path = route::BLOCK_COPY, tag = "domains", request_body = BlockCopy,
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file")),
    responses((status = 204, description = "The job has begun"), Refusal))]
async fn copy_block(
    front: Front,
    Names(dom, disk): Names,
    Document(asked): Document<BlockCopy>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.copy_block(&caller, &dom, disk, asked).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Limit a block job.
#[utoipa::path(put, path = route::BLOCK_JOB, tag = "domains", request_body = BlockJobSpeed,
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file")),
    responses((status = 204, description = "The limit holds"), Refusal))]
async fn set_block_job_speed(
    front: Front,
    Names(dom, disk): Names,
    Document(asked): Document<BlockJobSpeed>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.set_block_job_speed(&caller, &dom, disk, asked.bytes_per_second).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// End a block job, with its last step or before it.
#[utoipa::path(delete, path = route::BLOCK_JOB, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"),
           ("disk" = String, Path, description = "The disk's target or file"), BlockJobEnd),
    responses((status = 204, description = "It has ended, or with `async` was asked to"), Refusal))]
async fn end_block_job(
    front: Front,
    Names(dom, disk): Names,
    Query(end): Query<BlockJobEnd>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.end_block_job(&caller, &dom, disk, end).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}
