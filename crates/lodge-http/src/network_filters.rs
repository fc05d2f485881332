//! Network filters: their documents, and which cards have them.

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use lodge_api::{NetworkFilterBinding, NetworkFilterOptions, NetworkFilterView, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domains::xml;
use crate::refusal::Refusal;
use crate::request::{Answer, Front, House, Name, Query, Xml, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(list_network_filters, define_network_filter))
        .routes(routes!(network_filter, undefine_network_filter))
        .routes(routes!(network_filter_xml))
        .routes(routes!(list_network_filter_bindings, create_network_filter_binding))
        .routes(routes!(network_filter_binding_xml, delete_network_filter_binding))
}

/// List network filters.
#[utoipa::path(get, path = route::NETWORK_FILTERS, tag = "network filters",
    responses((status = 200, description = "The filters, by name", body = [NetworkFilterView]), Refusal))]
async fn list_network_filters(front: Front) -> Answer<Vec<NetworkFilterView>> {
    Ok(Json(front.engine.network_filter_views(&front.caller)))
}

/// Take in a network filter's document. Cards that use the filter follow at once.
#[utoipa::path(post, path = route::NETWORK_FILTERS, tag = "network filters", params(NetworkFilterOptions),
    request_body(content = String, content_type = "application/xml", description = "libvirt's `<filter>` document"),
    responses((status = 200, description = "The filter", body = NetworkFilterView), Refusal))]
async fn define_network_filter(
    front: Front,
    Query(options): Query<NetworkFilterOptions>,
    Xml(document): Xml,
) -> Answer<NetworkFilterView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.take_network_filter(&caller, document, options).await }).await.map(Json)
}

/// Look at one network filter.
#[utoipa::path(get, path = route::NETWORK_FILTER, tag = "network filters",
    params(("filter" = String, Path, description = "The filter's name or UUID")),
    responses((status = 200, description = "The filter", body = NetworkFilterView), Refusal))]
async fn network_filter(front: Front, Name(filter): Name) -> Answer<NetworkFilterView> {
    Ok(Json(front.engine.network_filter(&front.caller, &filter)?))
}

/// Forget a network filter that no card uses.
#[utoipa::path(delete, path = route::NETWORK_FILTER, tag = "network filters",
    params(("filter" = String, Path, description = "The filter's name or UUID")),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn undefine_network_filter(front: Front, Name(filter): Name) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.forget_network_filter(&caller, filter).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Read a network filter's document.
#[utoipa::path(get, path = route::NETWORK_FILTER_XML, tag = "network filters",
    params(("filter" = String, Path, description = "The filter's name or UUID")),
    responses(
        (status = 200, description = "libvirt's `<filter>` document", body = String, content_type = "application/xml"),
        Refusal
    ))]
async fn network_filter_xml(front: Front, Name(filter): Name) -> Result<Response, Refusal> {
    Ok(xml(front.engine.network_filter_xml(&front.caller, &filter)?))
}

/// List the cards that have a filter.
#[utoipa::path(get, path = route::NETWORK_FILTER_BINDINGS, tag = "network filters",
    responses((status = 200, description = "The bindings, by card", body = [NetworkFilterBinding]), Refusal))]
async fn list_network_filter_bindings(front: Front) -> Answer<Vec<NetworkFilterBinding>> {
    Ok(Json(front.engine.network_filter_bindings(&front.caller)))
}

/// Give a card of the host's a filter.
#[utoipa::path(post, path = route::NETWORK_FILTER_BINDINGS, tag = "network filters", params(NetworkFilterOptions),
    request_body(content = String, content_type = "application/xml",
        description = "libvirt's `<filterbinding>` document"),
    responses((status = 200, description = "The binding", body = NetworkFilterBinding), Refusal))]
async fn create_network_filter_binding(
    front: Front,
    Query(options): Query<NetworkFilterOptions>,
    Xml(document): Xml,
) -> Answer<NetworkFilterBinding> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.create_network_filter_binding(&caller, document, options).await };
    to_the_end(act).await.map(Json)
}

/// Read a card's binding.
#[utoipa::path(get, path = route::NETWORK_FILTER_BINDING, tag = "network filters",
    params(("port" = String, Path, description = "The card's name on the host")),
    responses(
        (status = 200, description = "libvirt's `<filterbinding>` document", body = String,
            content_type = "application/xml"),
        Refusal
    ))]
async fn network_filter_binding_xml(front: Front, Name(port): Name) -> Result<Response, Refusal> {
    Ok(xml(front.engine.network_filter_binding_xml(&front.caller, &port)?))
}

/// Take a card's filter away.
#[utoipa::path(delete, path = route::NETWORK_FILTER_BINDING, tag = "network filters",
    params(("port" = String, Path, description = "The card's name on the host")),
    responses((status = 204, description = "It has none any more"), Refusal))]
async fn delete_network_filter_binding(front: Front, Name(port): Name) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.unbind_network_filter(&caller, port).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}
