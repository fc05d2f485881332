//! What a client is told when an act did not happen: the HTTP status by kind, and the error document.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use lodge_api::{ErrorBody, ErrorKind};
use lodge_engine::EngineError;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: ErrorBody,
}

impl Refusal {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { status: status_of(kind), body: ErrorBody::new(kind, message) }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { body: self.body.with_hint(hint), ..self }
    }

    /// For what HTTP itself has a better word for than the kind.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn body(&self) -> &ErrorBody {
        &self.body
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let body = error.body();
        match body.kind {
            ErrorKind::Internal | ErrorKind::Corrupt => tracing::error!(error = %body, "act failed"),
            _ => tracing::debug!(error = %body, "act refused"),
        }
        Self { status: status_of(body.kind), body }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// The one place where kinds become HTTP statuses. No wildcard: a new kind must choose.
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Exists | ErrorKind::InvalidState | ErrorKind::Busy | ErrorKind::Conflict => {
            StatusCode::CONFLICT
        }
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// The same table, for the OpenAPI document.
impl utoipa::IntoResponses for Refusal {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let mut kinds = BTreeMap::<StatusCode, Vec<String>>::new();
        for kind in ErrorKind::ALL {
            let word = serde_json::to_value(kind).ok();
            let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned();
            kinds.entry(status_of(kind)).or_default().push(word);
        }
        let response = |(status, words): (StatusCode, Vec<String>)| {
            let schema = Ref::from_schema_name("ErrorBody");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response = ResponseBuilder::new()
                .description(format!(
                    "{}: kind {}",
                    status.canonical_reason().unwrap_or("Error"),
                    words.join(", ")
                ))
                .content("application/json", content)
                .build();
            (status.as_u16().to_string(), response.into())
        };
        kinds.into_iter().map(response).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        let mut table = String::new();
        for kind in ErrorKind::ALL {
            let word = serde_json::to_value(kind).unwrap();
            writeln!(table, "{:14}{}", word.as_str().unwrap(), status_of(kind)).unwrap();
        }
        expect_test::expect![["
            not_found     404 Not Found
            exists        409 Conflict
            invalid_input 400 Bad Request
            invalid_state 409 Conflict
            busy          409 Conflict
            conflict      409 Conflict
            denied        403 Forbidden
            unsupported   501 Not Implemented
            exhausted     507 Insufficient Storage
            unavailable   503 Service Unavailable
            corrupt       500 Internal Server Error
            internal      500 Internal Server Error
        "]]
        .assert_eq(&table);
    }
}
