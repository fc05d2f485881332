//! The router and the OpenAPI document, made of the same handlers.

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Uri};
use lodge_api::{AddressSource, ErrorBody, ErrorKind, LogKind, WaitFor, route};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::refusal::Refusal;
use crate::request::House;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lodge",
        description = "Virtual machines on one Linux host. Over the daemon's unix socket, `run/lodge/lodge.sock`: \
            whoever may open it may ask. Errors are an `ErrorBody` everywhere; libvirt's documents travel as XML.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    // What only queries name is not found by itself.
    components(schemas(ErrorBody, AddressSource, LogKind, WaitFor)),
    tags(
        (name = "host", description = "The daemon and its host"),
        (name = "domains", description = "Domains: their documents and their lives"),
        (name = "guests", description = "What happens inside a guest"),
        (name = "networks", description = "Networks: their documents, bridges and leases"),
        (name = "network filters", description = "Network filters: what guests' cards may send and receive"),
        (name = "storage", description = "Storage pools and their volumes"),
        (name = "secrets", description = "Secrets: what disks and logins are locked with"),
        (name = "images", description = "The disks instances are cloned from"),
        (name = "image files", description = "Looked at, mapped, checked, converted, compacted, resized"),
        (name = "clones", description = "Other machines made of one: clones and templates"),
        (name = "identities", description = "What makes a machine this machine, and what becomes of it"),
        (name = "instances", description = "An image, a seed and a domain in one act"),
        (name = "jobs", description = "Acts that last"),
        (name = "events", description = "Every change, numbered")
    )
)]
struct Document;

/// Every route with its handler and its description.
fn described() -> OpenApiRouter<House> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(crate::host::routes())
        .merge(crate::node::routes())
        .merge(crate::adoption::routes())
        .merge(crate::domains::routes())
        .merge(crate::blocks::routes())
        .merge(crate::amend::routes())
        .merge(crate::snapshots::routes())
        .merge(crate::guests::routes())
        .merge(crate::console::routes())
        .merge(crate::networks::routes())
        .merge(crate::network_filters::routes())
        .merge(crate::pools::routes())
        .merge(crate::volumes::routes())
        .merge(crate::secrets::routes())
        .merge(crate::disks::routes())
        .merge(crate::guest_disks::routes())
        .merge(crate::images::routes())
        .merge(crate::image_files::routes())
        .merge(crate::clones::routes())
        .merge(crate::identities::routes())
        .merge(crate::instances::routes())
        .merge(crate::jobs::routes())
        .merge(crate::events::routes())
        .routes(routes!(openapi))
}

/// The router of the whole API.
pub(crate) fn router(house: House) -> Router {
    let (router, _) = described().split_for_parts();
    router.fallback(no_route).method_not_allowed_fallback(no_method).with_state(house)
}

/// The API's OpenAPI document, as it lies in `docs/openapi.json`.
pub fn openapi_json() -> String {
    let mut text = described().into_openapi().to_pretty_json().expect("the document has string keys only");
    text.push('\n');
    text
}

/// The API's OpenAPI document.
#[utoipa::path(get, path = route::OPENAPI, tag = "host",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value), Refusal))]
async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}

async fn no_route(method: Method, uri: Uri) -> Refusal {
    Refusal::new(ErrorKind::NotFound, format!("the API has no `{method} {}`", uri.path()))
        .with_hint(format!("`GET {}` lists what it has", route::OPENAPI))
}

async fn no_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(ErrorKind::InvalidInput, format!("`{}` does not take {method}", uri.path()))
        .with_hint(format!("`GET {}` lists what it takes", route::OPENAPI))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(&openapi_json()).unwrap()
    }

    /// Each operation, with method and path for a name.
    fn operations(document: &Value) -> Vec<(String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &Value)| -> Vec<_> {
            let item = item.as_object().unwrap();
            item.iter().map(|(method, operation)| (format!("{method} {path}"), operation.clone())).collect()
        };
        paths.iter().flat_map(of).collect()
    }

    #[test]
    fn the_document_in_git_is_that_of_the_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        expect_test::expect_file![path].assert_eq(&openapi_json());
    }

    #[test]
    fn every_operation_is_described_and_may_refuse() {
        let document = document();
        let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        let mut ids = BTreeSet::new();
        let mut faults = Vec::new();
        for (name, operation) in operations(&document) {
            let mut check = |good: bool, fault: &str| {
                if !good {
                    faults.push(format!("{name}: {fault}"));
                }
            };
            let told = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
            check(told(&operation["summary"]), "no summary");
            check(ids.insert(operation["operationId"].to_string()), "operationId is missing or taken");
            check(
                operation["tags"].as_array().is_some_and(|of| of.iter().all(|tag| tags.contains(&tag))),
                "no tag",
            );
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for parameter in &parameters {
                check(
                    told(&parameter["description"]),
                    &format!("parameter {} is not described", parameter["name"]),
                );
            }
            for template in name.match_indices('{') {
                let end = name[template.0..].find('}').unwrap() + template.0;
                let word = &name[template.0 + 1..end];
                let known =
                    parameters.iter().any(|parameter| parameter["in"] == "path" && parameter["name"] == word);
                check(known, &format!("path parameter {word} is missing"));
            }
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses {
                check(told(&response["description"]), &format!("response {status} is not described"));
            }
            for status in ["400", "403", "404", "409", "500", "501", "503", "507"] {
                let schema = &responses[status]["content"]["application/json"]["schema"]["$ref"];
                check(
                    schema == "#/components/schemas/ErrorBody",
                    &format!("response {status} has no ErrorBody"),
                );
            }
        }
        assert_eq!(faults, Vec::<String>::new());
        assert!(ids.len() > 50, "{}", ids.len());
    }

    #[test]
    fn every_schema_that_is_named_is_there_and_described() {
        let document = document();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let text = document.to_string();
        for (at, prefix) in text.match_indices("#/components/schemas/") {
            let name = text[at + prefix.len()..].split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name} is named and not there");
        }
        for (name, schema) in schemas {
            assert!(schema["description"].is_string(), "{name} is not described");
            for (field, of) in schema["properties"].as_object().into_iter().flatten() {
                let told = of["description"].is_string() || of["oneOf"].to_string().contains("description");
                assert!(told, "{name}.{field} is not described");
            }
        }
    }

    #[test]
    fn every_path_of_the_api_has_a_handler_and_the_other_way_round() {
        let document = document();
        let served: BTreeSet<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
        let source = include_str!("../../lodge-api/src/route.rs");
        let named = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1));
        assert_eq!(served, named.map(str::to_owned).collect());
    }
}
