//! Who needs which file, acts on chains, what is wrong, and how pools fill.

use axum::Json;
use lodge_api::{
    ChainClone, ChainCommit, ChainCommitted, ChainFlatten, ChainLinkView, ChainRebase, ChainTemplate,
    DoctorQuery, FileQuery, FindingView, GuestFileView, NeedView, Relocated, Relocation, RepairOptions,
    UsageView, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Query, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(needs))
        .routes(routes!(pool_usage))
        .routes(routes!(chain))
        .routes(routes!(commit_chain))
        .routes(routes!(flatten_chain))
        .routes(routes!(rebase_chain))
        .routes(routes!(make_template))
        .routes(routes!(clone_linked))
        .routes(routes!(doctor))
        .routes(routes!(repair))
        .routes(routes!(domain_files))
        .routes(routes!(relocate))
}

/// Ask who needs a file.
#[utoipa::path(get, path = route::NEEDS, tag = "storage", params(FileQuery),
    responses((status = 200, description = "Who needs its bytes, and why; empty: nobody", body = [NeedView]), Refusal))]
async fn needs(front: Front, Query(query): Query<FileQuery>) -> Answer<Vec<NeedView>> {
    Ok(Json(front.engine.needs(&front.caller, &query.path).await?))
}

/// See how full a pool is, how it grows and when it will be full.
#[utoipa::path(get, path = route::POOL_USAGE, tag = "storage",
    params(("pool" = String, Path, description = "The pool's name or UUID")),
    responses((status = 200, description = "Its room and its disks", body = UsageView), Refusal))]
async fn pool_usage(front: Front, Name(pool): Name) -> Answer<UsageView> {
    Ok(Json(front.engine.usage(&front.caller, &pool).await?))
}

/// List the files a disk is made of.
#[utoipa::path(get, path = route::CHAIN, tag = "storage", params(FileQuery),
    responses((status = 200, description = "The top file first", body = [ChainLinkView]), Refusal))]
async fn chain(front: Front, Query(query): Query<FileQuery>) -> Answer<Vec<ChainLinkView>> {
    Ok(Json(front.engine.chain(&front.caller, &query).await?))
}

/// Merge the upper files of a chain into a lower one. Refused if anybody would see other bytes.
#[utoipa::path(post, path = route::CHAIN_COMMIT, tag = "storage", request_body = ChainCommit,
    responses((status = 200, description = "What was done", body = ChainCommitted), Refusal))]
async fn commit_chain(front: Front, Document(wish): Document<ChainCommit>) -> Answer<ChainCommitted> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.commit_chain(&caller, wish).await }).await.map(Json)
}

/// Take what lies below a disk into it.
#[utoipa::path(post, path = route::CHAIN_FLATTEN, tag = "storage", request_body = ChainFlatten,
    responses((status = 200, description = "Its files now", body = [ChainLinkView]), Refusal))]
async fn flatten_chain(front: Front, Document(wish): Document<ChainFlatten>) -> Answer<Vec<ChainLinkView>> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.flatten_chain(&caller, wish).await }).await.map(Json)
}

/// Stand a disk on another file; what the guest sees stays the same.
#[utoipa::path(post, path = route::CHAIN_REBASE, tag = "storage", request_body = ChainRebase,
    responses((status = 200, description = "Its files now", body = [ChainLinkView]), Refusal))]
async fn rebase_chain(front: Front, Document(wish): Document<ChainRebase>) -> Answer<Vec<ChainLinkView>> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.rebase_chain(&caller, wish).await }).await.map(Json)
}

/// Make a disk a template, or an ordinary disk again.
#[utoipa::path(post, path = route::CHAIN_TEMPLATE, tag = "storage", request_body = ChainTemplate,
    responses((status = 200, description = "Its files", body = [ChainLinkView]), Refusal))]
async fn make_template(front: Front, Document(wish): Document<ChainTemplate>) -> Answer<Vec<ChainLinkView>> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.make_template(&caller, wish).await }).await.map(Json)
}

/// Make a disk that begins as another and keeps only what differs.
#[utoipa::path(post, path = route::CHAIN_CLONE, tag = "storage", request_body = ChainClone,
    responses((status = 200, description = "The new disk's files", body = [ChainLinkView]), Refusal))]
async fn clone_linked(front: Front, Document(wish): Document<ChainClone>) -> Answer<Vec<ChainLinkView>> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.link_clone(&caller, wish).await }).await.map(Json)
}

/// Look for what is wrong with the files of pools, images and guests.
#[utoipa::path(get, path = route::DOCTOR, tag = "storage", params(DoctorQuery),
    responses((status = 200, description = "What is wrong, why, and what would mend it", body = [FindingView]), Refusal))]
async fn doctor(front: Front, Query(query): Query<DoctorQuery>) -> Answer<Vec<FindingView>> {
    Ok(Json(front.engine.doctor(&front.caller, &query).await?))
}

/// Repair one finding; without `apply` only say what would be done.
#[utoipa::path(post, path = route::DOCTOR_FINDING, tag = "storage",
    params(("finding" = String, Path, description = "The finding's id"), RepairOptions),
    responses((status = 200, description = "The finding, repaired or not", body = FindingView), Refusal))]
async fn repair(
    front: Front,
    Name(finding): Name,
    Query(options): Query<RepairOptions>,
) -> Answer<FindingView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.repair(&caller, &finding, options).await }).await.map(Json)
}

/// List every file that makes up a domain.
#[utoipa::path(get, path = route::DOMAIN_FILES, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "Its files", body = [GuestFileView]), Refusal))]
async fn domain_files(front: Front, Name(dom): Name) -> Answer<Vec<GuestFileView>> {
    Ok(Json(front.engine.domain_files(&front.caller, &dom).await?))
}

/// Take over the places that a domain's disks were moved to.
#[utoipa::path(post, path = route::DOMAIN_RELOCATE, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), Relocation),
    responses((status = 200, description = "The disks and their places", body = [Relocated]), Refusal))]
async fn relocate(
    front: Front,
    Name(dom): Name,
    Query(options): Query<Relocation>,
) -> Answer<Vec<Relocated>> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.relocate_domain(&caller, &dom, options).await }).await.map(Json)
}
