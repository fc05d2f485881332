//! Secrets: their documents and values.

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use lodge_api::{SecretValue, SecretView, route};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domains::xml;
use crate::refusal::Refusal;
use crate::request::{Answer, Document, Front, House, Name, Xml, to_the_end};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new()
        .routes(routes!(list_secrets, define_secret))
        .routes(routes!(secret, undefine_secret))
        .routes(routes!(secret_xml))
        .routes(routes!(secret_value, set_secret_value))
}

/// List secrets.
#[utoipa::path(get, path = route::SECRETS, tag = "secrets",
    responses((status = 200, description = "The secrets, by UUID, without their values", body = [SecretView]), Refusal))]
async fn list_secrets(front: Front) -> Answer<Vec<SecretView>> {
    Ok(Json(front.engine.secret_views(&front.caller)))
}

/// Take in a secret's document. A value that it has stays.
#[utoipa::path(post, path = route::SECRETS, tag = "secrets",
    request_body(content = String, content_type = "application/xml", description = "libvirt's `<secret>` document"),
    responses((status = 200, description = "The secret", body = SecretView), Refusal))]
async fn define_secret(front: Front, Xml(document): Xml) -> Answer<SecretView> {
    let Front { engine, caller, .. } = front;
    to_the_end(async move { engine.take_secret(&caller, document).await }).await.map(Json)
}

/// Look at one secret.
#[utoipa::path(get, path = route::SECRET, tag = "secrets",
    params(("secret" = String, Path, description = "The secret's UUID")),
    responses((status = 200, description = "The secret, without its value", body = SecretView), Refusal))]
async fn secret(front: Front, Name(secret): Name) -> Answer<SecretView> {
    Ok(Json(front.engine.secret_view(&front.caller, &secret)?))
}

/// Forget a secret and its value.
#[utoipa::path(delete, path = route::SECRET, tag = "secrets",
    params(("secret" = String, Path, description = "The secret's UUID")),
    responses((status = 204, description = "It is gone"), Refusal))]
async fn undefine_secret(front: Front, Name(secret): Name) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.forget_secret(&caller, &secret).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}

/// Read a secret's document.
#[utoipa::path(get, path = route::SECRET_XML, tag = "secrets",
    params(("secret" = String, Path, description = "The secret's UUID")),
    responses(
        (status = 200, description = "libvirt's `<secret>` document", body = String, content_type = "application/xml"),
        Refusal
    ))]
async fn secret_xml(front: Front, Name(secret): Name) -> Result<Response, Refusal> {
    Ok(xml(front.engine.secret_xml(&front.caller, &secret)?))
}

/// Read a secret's value. That of a private secret is told to nobody.
#[utoipa::path(get, path = route::SECRET_VALUE, tag = "secrets",
    params(("secret" = String, Path, description = "The secret's UUID")),
    responses((status = 200, description = "Its value", body = SecretValue), Refusal))]
async fn secret_value(front: Front, Name(secret): Name) -> Answer<SecretValue> {
    Ok(Json(front.engine.tell_secret(&front.caller, &secret).await?))
}

/// Give a secret its value.
#[utoipa::path(put, path = route::SECRET_VALUE, tag = "secrets", request_body = SecretValue,
    params(("secret" = String, Path, description = "The secret's UUID")),
    responses((status = 204, description = "It is kept"), Refusal))]
async fn set_secret_value(
    front: Front,
    Name(secret): Name,
    Document(value): Document<SecretValue>,
) -> Result<StatusCode, Refusal> {
    let Front { engine, caller, .. } = front;
    let act = async move { engine.give_secret(&caller, &secret, &value).await };
    to_the_end(act).await.map(|()| StatusCode::NO_CONTENT)
}
