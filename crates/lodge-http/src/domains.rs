//! Domains: their documents and their lives.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use lodge_api::{
    AddressesQuery, Autostart, BlockView, DefineOptions, DestroyOptions, DomainFilter, DomainView,
    ExplanationView, InterfaceAddresses, LogQuery, ManagedSaveOptions, NicView, PowerOptions, RestoreOptions,
    SaveOptions, StartOptions, UndefineOptions, UndefineReport, XmlOptions, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Query, Xml, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(list_domains, define_domain))
        .routes(routes!(restore_domain))
        .routes(routes!(domain, undefine_domain))
        .routes(routes!(domain_xml))
        .routes(routes!(explain_domain))
        .routes(routes!(explain_document))
        .routes(routes!(start_domain))
        .routes(routes!(destroy_domain))
        .routes(routes!(shutdown_domain))
        .routes(routes!(reboot_domain))
        .routes(routes!(suspend_domain))
        .routes(routes!(resume_domain))
        .routes(routes!(reset_domain))
        .routes(routes!(save_domain))
        .routes(routes!(managed_save, remove_managed_save))
        .routes(routes!(autostart_domain))
        .routes(routes!(domain_interfaces))
        .routes(routes!(domain_blocks))
        .routes(routes!(domain_nics))
        .routes(routes!(domain_log))
}

/// An answer that is one of libvirt's documents.
pub(crate) fn xml(document: String) -> Response {
    ([(CONTENT_TYPE, "application/xml; charset=utf-8")], document).into_response()
}

/// List domains.
#[utoipa::path(get, path = route::DOMAINS, tag = "domains", params(DomainFilter),
    responses((status = 200, description = "The domains, by name", body = [DomainView]), Refusal))]
async fn list_domains(front: Front, Query(filter): Query<DomainFilter>) -> Answer<Vec<DomainView>> {
    Ok(Json(front.engine.domains(&front.caller, filter).await?))
}

/// Take in a domain's document.
///
/// Defines the domain, or changes its definition; with `start` creates a transient one.
#[utoipa::path(post, path = route::DOMAINS, tag = "domains", params(DefineOptions),
    request_body(content = String, content_type = "application/xml", description = "libvirt's `<domain>` document"),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn define_domain(
    front: Front,
    Query(options): Query<DefineOptions>,
    Xml(document): Xml,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.define_domain(&caller, document, options).await };
    to_the_end(act).await.map(Json)
}

/// Restore a saved domain.
#[utoipa::path(post, path = route::RESTORE, tag = "domains", request_body = RestoreOptions,
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn restore_domain(front: Front, Document(options): Document<RestoreOptions>) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.restore_domain(&caller, options).await }).await.map(Json)
}

/// Look at one domain.
#[utoipa::path(get, path = route::DOMAIN, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain", body = DomainView), Refusal))]
async fn domain(front: Front, Name(dom): Name) -> Answer<DomainView> {
    Ok(Json(front.engine.domain(&front.caller, &dom).await?))
}

/// Drop a domain's definition.
///
/// What of it must go with it, or may stay, the options say; `dry_run` lists every file and does nothing.
#[utoipa::path(delete, path = route::DOMAIN, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), UndefineOptions),
    responses((status = 200, description = "Every file of it, and whether it went", body = UndefineReport), Refusal))]
async fn undefine_domain(
    front: Front,
    Name(dom): Name,
    Query(options): Query<UndefineOptions>,
) -> Answer<UndefineReport> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.undefine_domain(&caller, &dom, options).await }).await.map(Json)
}

/// Read a domain's document.
#[utoipa::path(get, path = route::DOMAIN_XML, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), XmlOptions),
    responses(
        (status = 200, description = "libvirt's `<domain>` document", body = String, content_type = "application/xml"),
        Refusal
    ))]
async fn domain_xml(
    front: Front,
    Name(dom): Name,
    Query(options): Query<XmlOptions>,
) -> Result<Response, Refusal> {
    Ok(xml(front.engine.domain_xml(&front.caller, &dom, options).await?))
}

/// Explain QEMU's arguments.
///
/// Which element of the domain's document became which argument: of the QEMU that runs, else of the next start.
#[utoipa::path(get, path = route::DOMAIN_EXPLAIN, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The arguments with their elements", body = ExplanationView), Refusal))]
async fn explain_domain(front: Front, Name(dom): Name) -> Answer<ExplanationView> {
    Ok(Json(front.engine.explain_domain(&front.caller, &dom).await?))
}

/// Explain what a document would be to QEMU.
///
/// The document is judged and completed as at a definition; nothing is kept.
#[utoipa::path(post, path = route::EXPLAIN, tag = "domains",
    request_body(content = String, content_type = "application/xml", description = "libvirt's `<domain>` document"),
    responses((status = 200, description = "The arguments with their elements", body = ExplanationView), Refusal))]
async fn explain_document(front: Front, Xml(document): Xml) -> Answer<ExplanationView> {
    Ok(Json(front.engine.explain_document(&front.caller, document).await?))
}

/// Start a domain.
///
/// Answers when its processors run (or with `paused` could). Saved memory, if any, is taken up.
#[utoipa::path(post, path = route::DOMAIN_START, tag = "domains", request_body = StartOptions,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn start_domain(
    front: Front,
    Name(dom): Name,
    Document(options): Document<StartOptions>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.start_domain(&caller, &dom, options).await }).await.map(Json)
}

/// Stop a domain at once.
///
/// Answers when its QEMU is gone. What the guest had not written is lost.
#[utoipa::path(post, path = route::DOMAIN_DESTROY, tag = "domains", request_body = DestroyOptions,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn destroy_domain(
    front: Front,
    Name(dom): Name,
    Document(options): Document<DestroyOptions>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.destroy_domain(&caller, &dom, options).await }).await.map(Json)
}

/// Ask the guest to shut down.
///
/// Answers when the guest was asked; `wait?for=stopped` waits for it.
#[utoipa::path(post, path = route::DOMAIN_SHUTDOWN, tag = "domains", request_body = PowerOptions,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn shutdown_domain(
    front: Front,
    Name(dom): Name,
    Document(options): Document<PowerOptions>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.shutdown_domain(&caller, &dom, options).await }).await.map(Json)
}

/// Ask the guest to reboot.
///
/// Answers when the guest was asked.
#[utoipa::path(post, path = route::DOMAIN_REBOOT, tag = "domains", request_body = PowerOptions,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn reboot_domain(
    front: Front,
    Name(dom): Name,
    Document(options): Document<PowerOptions>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.reboot_domain(&caller, &dom, options).await }).await.map(Json)
}

/// Hold a domain's processors.
#[utoipa::path(post, path = route::DOMAIN_SUSPEND, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn suspend_domain(front: Front, Name(dom): Name) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.suspend_domain(&caller, &dom).await }).await.map(Json)
}

/// Let a held domain's processors run.
#[utoipa::path(post, path = route::DOMAIN_RESUME, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn resume_domain(front: Front, Name(dom): Name) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.resume_domain(&caller, &dom).await }).await.map(Json)
}

/// Press a domain's reset button.
#[utoipa::path(post, path = route::DOMAIN_RESET, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn reset_domain(front: Front, Name(dom): Name) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.reset_domain(&caller, &dom).await }).await.map(Json)
}

/// Save a domain's memory to a file and stop it.
#[utoipa::path(post, path = route::DOMAIN_SAVE, tag = "domains", request_body = SaveOptions,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn save_domain(
    front: Front,
    Name(dom): Name,
    Document(options): Document<SaveOptions>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.save_domain(&caller, &dom, options).await }).await.map(Json)
}

/// Save a domain's memory where its next start finds it, and stop it.
#[utoipa::path(post, path = route::DOMAIN_MANAGED_SAVE, tag = "domains", request_body = ManagedSaveOptions,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn managed_save(
    front: Front,
    Name(dom): Name,
    Document(options): Document<ManagedSaveOptions>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.managed_save(&caller, &dom, options).await }).await.map(Json)
}

/// Drop the memory kept for a domain's next start.
#[utoipa::path(delete, path = route::DOMAIN_MANAGED_SAVE, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn remove_managed_save(front: Front, Name(dom): Name) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.remove_managed_save(&caller, &dom).await }).await.map(Json)
}

/// Say whether a domain starts with the daemon.
#[utoipa::path(put, path = route::DOMAIN_AUTOSTART, tag = "domains", request_body = Autostart,
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "The domain as it stands now", body = DomainView), Refusal))]
async fn autostart_domain(
    front: Front,
    Name(dom): Name,
    Document(wish): Document<Autostart>,
) -> Answer<DomainView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.set_domain_autostart(&caller, &dom, wish.enabled).await }).await.map(Json)
}

/// Look up a domain's live addresses.
#[utoipa::path(get, path = route::DOMAIN_INTERFACES, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), AddressesQuery),
    responses((status = 200, description = "Its interfaces with their addresses", body = [InterfaceAddresses]), Refusal))]
async fn domain_interfaces(
    front: Front,
    Name(dom): Name,
    Query(query): Query<AddressesQuery>,
) -> Answer<Vec<InterfaceAddresses>> {
    Ok(Json(front.engine.domain_interfaces(&front.caller, &dom, query.source).await?))
}

/// List a domain's disks.
#[utoipa::path(get, path = route::DOMAIN_BLOCKS, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "Its disks, in the document's order", body = [BlockView]), Refusal))]
async fn domain_blocks(front: Front, Name(dom): Name) -> Answer<Vec<BlockView>> {
    Ok(Json(front.engine.domain_blocks(&front.caller, &dom).await?))
}

/// List a domain's network cards.
#[utoipa::path(get, path = route::DOMAIN_NICS, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number")),
    responses((status = 200, description = "Its cards, in the document's order", body = [NicView]), Refusal))]
async fn domain_nics(front: Front, Name(dom): Name) -> Answer<Vec<NicView>> {
    Ok(Json(front.engine.domain_nics(&front.caller, &dom).await?))
}

/// Read the end of one of a domain's logs.
#[utoipa::path(get, path = route::DOMAIN_LOG, tag = "domains",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), LogQuery),
    responses(
        (status = 200, description = "Its last lines", body = String, content_type = "text/plain"),
        Refusal
    ))]
async fn domain_log(front: Front, Name(dom): Name, Query(query): Query<LogQuery>) -> Result<String, Refusal> {
    Ok(front.engine.domain_log(&front.caller, &dom, query).await?)
}
