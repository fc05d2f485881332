//! Networks: their documents, their bridges, their leases.

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use lodge_api::{
    Autostart, ChangeScope, Lease, NetworkOptions, NetworkUpdate, NetworkView, XmlOptions, route,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domains::xml;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Query, Xml, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(list_networks, define_network))
        .routes(routes!(network, undefine_network))
        .routes(routes!(network_xml))
        .routes(routes!(start_network))
        .routes(routes!(destroy_network))
        .routes(routes!(autostart_network))
        .routes(routes!(update_network))
        .routes(routes!(network_leases))
}

/// List networks.
#[utoipa::path(get, path = route::NETWORKS, tag = "networks",
    responses((status = 200, description = "The networks, by name", body = [NetworkView]), Refusal))]
async fn list_networks(front: Front) -> Answer<Vec<NetworkView>> {
    Ok(Json(front.engine.networks(&front.caller).await?))
}

/// Take in a network's document.
///
/// Defines the network, or changes its definition; with `start` creates a transient one.
#[utoipa::path(post, path = route::NETWORKS, tag = "networks", params(NetworkOptions),
    request_body(content = String, content_type = "application/xml", description = "libvirt's `<network>` document"),
    responses((status = 200, description = "The network as it stands now", body = NetworkView), Refusal))]
async fn define_network(
    front: Front,
    Query(options): Query<NetworkOptions>,
    Xml(document): Xml,
) -> Answer<NetworkView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.define_network(&caller, document, options).await }).await.map(Json)
}

/// Look at one network.
#[utoipa::path(get, path = route::NETWORK, tag = "networks",
    params(("net" = String, Path, description = "The network's name or UUID")),
    responses((status = 200, description = "The network", body = NetworkView), Refusal))]
async fn network(front: Front, Name(net): Name) -> Answer<NetworkView> {
    Ok(Json(front.engine.network(&front.caller, &net).await?))
}

/// Drop a network's definition.
#[utoipa::path(delete, path = route::NETWORK, tag = "networks",
    params(("net" = String, Path, description = "The network's name or UUID")),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn undefine_network(front: Front, Name(net): Name) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.undefine_network(&caller, &net).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Read a network's document.
#[utoipa::path(get, path = route::NETWORK_XML, tag = "networks",
    params(("net" = String, Path, description = "The network's name or UUID"), XmlOptions),
    responses(
        (status = 200, description = "libvirt's `<network>` document", body = String, content_type = "application/xml"),
        Refusal
    ))]
async fn network_xml(
    front: Front,
    Name(net): Name,
    Query(options): Query<XmlOptions>,
) -> Result<Response, Refusal> {
    Ok(xml(front.engine.network_xml(&front.caller, &net, options).await?))
}

/// Bring a network up.
#[utoipa::path(post, path = route::NETWORK_START, tag = "networks",
    params(("net" = String, Path, description = "The network's name or UUID")),
    responses((status = 200, description = "The network as it stands now", body = NetworkView), Refusal))]
async fn start_network(front: Front, Name(net): Name) -> Answer<NetworkView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.start_network(&caller, &net).await }).await.map(Json)
}

/// Take a network down.
#[utoipa::path(post, path = route::NETWORK_DESTROY, tag = "networks",
    params(("net" = String, Path, description = "The network's name or UUID")),
    responses((status = 200, description = "The network as it stands now", body = NetworkView), Refusal))]
async fn destroy_network(front: Front, Name(net): Name) -> Answer<NetworkView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.destroy_network(&caller, &net).await }).await.map(Json)
}

/// Say whether a network starts with the daemon.
#[utoipa::path(put, path = route::NETWORK_AUTOSTART, tag = "networks", request_body = Autostart,
    params(("net" = String, Path, description = "The network's name or UUID")),
    responses((status = 200, description = "The network as it stands now", body = NetworkView), Refusal))]
async fn autostart_network(
    front: Front,
    Name(net): Name,
    Document(wish): Document<Autostart>,
) -> Answer<NetworkView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.set_network_autostart(&caller, &net, wish.enabled).await }).await.map(Json)
}

/// Change one entry of a network's document.
///
/// Of the running network, which goes on, of its definition, or of both.
#[utoipa::path(post, path = route::NETWORK_UPDATE, tag = "networks", request_body = NetworkUpdate,
    params(("net" = String, Path, description = "The network's name or UUID"), ChangeScope),
    responses((status = 200, description = "The network as it stands now", body = NetworkView), Refusal))]
async fn update_network(
    front: Front,
    Name(net): Name,
    Query(scope): Query<ChangeScope>,
    Document(update): Document<NetworkUpdate>,
) -> Answer<NetworkView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.update_network(&caller, &net, scope, update).await }).await.map(Json)
}

/// List a network's DHCP leases.
#[utoipa::path(get, path = route::NETWORK_LEASES, tag = "networks",
    params(("net" = String, Path, description = "The network's name or UUID")),
    responses((status = 200, description = "Its leases, by address", body = [Lease]), Refusal))]
async fn network_leases(front: Front, Name(net): Name) -> Answer<Vec<Lease>> {
    Ok(Json(front.engine.network_leases(&front.caller, &net).await?))
}
