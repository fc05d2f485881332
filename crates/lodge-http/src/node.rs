//! What the host can give its guests; its processors and memory.

use axum::Json;
use axum::response::Response;
use lodge_api::{
    ArchQuery, CpuBaseline, CpuCompare, CpuStanding, GuestCpuModel, GuestSort, MaxVcpusQuery, NodeView, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domains::xml;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Query};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(node))
        .routes(routes!(sysinfo))
        .routes(routes!(max_vcpus))
        .routes(routes!(capabilities))
        .routes(routes!(domain_capabilities))
        .routes(routes!(cpu_models))
        .routes(routes!(guest_cpu_models))
        .routes(routes!(cpu_baseline))
        .routes(routes!(cpu_compare))
}

/// Look at the host's processors and memory.
#[utoipa::path(get, path = route::NODE, tag = "host",
    responses((status = 200, description = "How they stand at this moment", body = NodeView), Refusal))]
async fn node(front: Front) -> Answer<NodeView> {
    Ok(Json(front.engine.node_view(&front.caller).await?))
}

/// Read what the host's firmware says of it.
#[utoipa::path(get, path = route::SYSINFO, tag = "host",
    responses((status = 200, description = "libvirt's `<sysinfo>`", body = String, content_type = "application/xml"), Refusal))]
async fn sysinfo(front: Front) -> Result<Response, Refusal> {
    Ok(xml(front.engine.sysinfo(&front.caller)?))
}

/// Ask how many processors a guest can have.
#[utoipa::path(get, path = route::MAX_VCPUS, tag = "host", params(MaxVcpusQuery),
    responses((status = 200, description = "The number", body = u32), Refusal))]
async fn max_vcpus(front: Front, Query(query): Query<MaxVcpusQuery>) -> Answer<u32> {
    Ok(Json(front.engine.max_vcpus(&front.caller, query.kind.as_deref())?))
}

/// Read what the host is, and which guests it can have.
#[utoipa::path(get, path = route::CAPABILITIES, tag = "host",
    responses((status = 200, description = "libvirt's `<capabilities>`", body = String, content_type = "application/xml"), Refusal))]
async fn capabilities(front: Front) -> Result<Response, Refusal> {
    Ok(xml(front.engine.capabilities(&front.caller).await?))
}

/// Read what a guest of a sort can be made of.
#[utoipa::path(get, path = route::DOMAIN_CAPABILITIES, tag = "host", params(GuestSort),
    responses((status = 200, description = "libvirt's `<domainCapabilities>`", body = String, content_type = "application/xml"), Refusal))]
async fn domain_capabilities(front: Front, Query(sort): Query<GuestSort>) -> Result<Response, Refusal> {
    Ok(xml(front.engine.domain_capabilities(&front.caller, &sort).await?))
}

/// List the processor models of an architecture.
#[utoipa::path(get, path = route::CPU_MODELS, tag = "host", params(ArchQuery),
    responses((status = 200, description = "Their names; none: all are taken", body = [String]), Refusal))]
async fn cpu_models(front: Front, Query(query): Query<ArchQuery>) -> Answer<Vec<String>> {
    Ok(Json(front.engine.cpu_models(&front.caller, &query.arch)?))
}

/// List the processor models that QEMU has.
#[utoipa::path(get, path = route::GUEST_CPU_MODELS, tag = "host", params(GuestSort),
    responses((status = 200, description = "The models, by name", body = [GuestCpuModel]), Refusal))]
async fn guest_cpu_models(front: Front, Query(sort): Query<GuestSort>) -> Answer<Vec<GuestCpuModel>> {
    Ok(Json(front.engine.guest_cpu_models(&front.caller, &sort).await?))
}

/// Find the richest processor that all of the described ones can give a guest.
#[utoipa::path(post, path = route::CPU_BASELINE, tag = "host", request_body = CpuBaseline,
    responses((status = 200, description = "libvirt's `<cpu>`", body = String, content_type = "application/xml"), Refusal))]
async fn cpu_baseline(front: Front, Document(question): Document<CpuBaseline>) -> Result<Response, Refusal> {
    Ok(xml(front.engine.cpu_baseline(&front.caller, &question).await?))
}

/// Find how a described processor stands to the host's.
#[utoipa::path(post, path = route::CPU_COMPARE, tag = "host", request_body = CpuCompare,
    responses((status = 200, description = "How it stands", body = CpuStanding), Refusal))]
async fn cpu_compare(front: Front, Document(question): Document<CpuCompare>) -> Answer<CpuStanding> {
    Ok(Json(front.engine.cpu_compare(&front.caller, &question).await?))
}
