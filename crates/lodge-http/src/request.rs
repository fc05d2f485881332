//! Taking requests apart: who asks, which names, which options, which document. What cannot be understood is
//! refused here, with the place and the reason.

use std::future::Future;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use lodge_api::ErrorKind;
use lodge_engine::{Caller, Engine};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::limits::{BODY_DEADLINE, BODY_MAX_BYTES, DRAIN_MAX_BYTES, NAME_MAX_BYTES};
use crate::refusal::Refusal;

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) engine: Engine,
    /// Cancelled when the daemon stops: whatever waits gives up.
    pub(crate) closing: CancellationToken,
}

/// An answer with a JSON document.
pub(crate) type Answer<T> = Result<Json<T>, Refusal>;

/// The engine, and who asks it.
pub(crate) struct Front {
    pub(crate) engine: Engine,
    pub(crate) caller: Caller,
    pub(crate) closing: CancellationToken,
}

impl FromRequestParts<House> for Front {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, house: &House) -> Result<Self, Refusal> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Refusal::new(ErrorKind::Denied, "cannot tell who asks"))?;
        Ok(Self { engine: house.engine.clone(), caller, closing: house.closing.clone() })
    }
}

impl Front {
    /// Waits for something that may take long, but not beyond the daemon's life.
    pub(crate) async fn wait<T>(
        &self,
        what: impl Future<Output = lodge_engine::Result<T>>,
    ) -> Result<T, Refusal> {
        tokio::select! {
            outcome = what => Ok(outcome?),
            () = self.closing.cancelled() => Err(stopping()),
        }
    }
}

/// Why a wait was given up.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(ErrorKind::Unavailable, "the daemon is stopping; guests run on")
        .with_hint("ask again when it is back")
}

/// Carries a change to its end: a client that goes away must not leave it half-made.
pub(crate) async fn to_the_end<T: Send + 'static>(
    act: impl Future<Output = lodge_engine::Result<T>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(act).await {
        Ok(outcome) => Ok(outcome?),
        Err(broken) => {
            tracing::error!(error = %broken, "handler broke");
            Err(broke())
        }
    }
}

/// What is told when Lodge itself is at fault.
pub(crate) fn broke() -> Refusal {
    Refusal::new(ErrorKind::Internal, "a fault of Lodge itself stopped this request")
        .with_hint("see the daemon's log, and report it")
}

/// The one name in the path.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| invalid("the name in the path is not UTF-8"))?;
        if name.len() > NAME_MAX_BYTES {
            return Err(invalid(format!("the name in the path is longer than {NAME_MAX_BYTES} bytes")));
        }
        Ok(Self(name))
    }
}

/// The two names in the path.
pub(crate) struct Names(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((first, second)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| invalid("a name in the path is not UTF-8"))?;
        if first.len().max(second.len()) > NAME_MAX_BYTES {
            return Err(invalid(format!("a name in the path is longer than {NAME_MAX_BYTES} bytes")));
        }
        Ok(Self(first, second))
    }
}

/// The one number in the path.
pub(crate) struct Number(pub(crate) u64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Name(name) = Name::from_request_parts(parts, state).await?;
        name.parse().map(Self).map_err(|_| invalid(format!("`{name}` is not a job's number")))
    }
}

/// The options after `?`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query)
            .map(Self)
            .map_err(|error| invalid(format!("cannot read the query: {error}")))
    }
}

/// A JSON body. None at all is an empty object: everything in it that may be left out is.
pub(crate) struct Document<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Document<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = whole_body(request).await?;
        let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes };
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| invalid(format!("cannot read the body as JSON: {error}")))
    }
}

/// A body that is one of libvirt's documents; only its encoding is looked at here.
pub(crate) struct Xml(pub(crate) String);

impl<S: Send + Sync> FromRequest<S> for Xml {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = whole_body(request).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(invalid("the body is empty; libvirt's XML is expected"));
        }
        String::from_utf8(bytes.into()).map(Self).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            invalid(format!("the body is not UTF-8: byte {} cannot be read", good + 1))
                .with_hint("save the document as UTF-8")
        })
    }
}

pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorKind::InvalidInput, message)
}

/// The body, within the limits. Of one that is too large the rest is read and dropped, for a sender that is
/// cut off in the middle does not read the answer.
async fn whole_body(request: Request) -> Result<Bytes, Refusal> {
    let told = told_length(request.headers());
    if told.is_some_and(|length| length > BODY_MAX_BYTES) && request.headers().contains_key(EXPECT) {
        return Err(too_large());
    }
    let in_time = tokio::time::timeout(BODY_DEADLINE, collect(request.into_body())).await;
    in_time.unwrap_or_else(|_| {
        let message = format!("the body did not come to its end in {} s", BODY_DEADLINE.as_secs());
        Err(invalid(message).with_status(StatusCode::REQUEST_TIMEOUT))
    })
}

fn told_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(mut body: Body) -> Result<Bytes, Refusal> {
    let mut kept = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| invalid(format!("cannot read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= BODY_MAX_BYTES {
            kept.extend_from_slice(&data);
        } else if seen > DRAIN_MAX_BYTES {
            break;
        }
    }
    if seen > BODY_MAX_BYTES { Err(too_large()) } else { Ok(kept.freeze()) }
}

fn too_large() -> Refusal {
    invalid(format!("the body is larger than {} MiB", BODY_MAX_BYTES >> 20))
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}
