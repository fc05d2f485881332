//! Events as a stream of server-sent events (WHATWG HTML § 9.2).
//!
//! The engine keeps a bounded ring; a reader that falls behind it is told so and dropped, and may ask again
//! with the last number it saw. Nothing is queued here: the socket's back-pressure is the queue's end.

use std::convert::Infallible;
use std::future::Future;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use lodge_api::{ErrorBody, ErrorKind, Event, EventsQuery, route};
use lodge_engine::Events;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::limits::HEARTBEAT;
use crate::refusal::Refusal;
use crate::request::{Front, House, Query, invalid, stopping};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Follow events.
///
/// A stream of server-sent events: `id` is the event's number, `data` an `Event`. A comment comes at least
/// every 15 s. Before the stream ends for a reason, it says `event: error` with an `ErrorBody`: the reader
/// was too slow, or the daemon stops.
#[utoipa::path(get, path = route::EVENTS, tag = "events",
    params(
        EventsQuery,
        ("last-event-id" = Option<u64>, Header, description = "As `since`; what a browser sends when it comes again")
    ),
    responses((status = 200, description = "The stream", body = Event, content_type = "text/event-stream"), Refusal))]
async fn events(
    front: Front,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let since = query.since.map_or_else(|| last_event(&headers), |since| Ok(Some(since)))?;
    let events = front.engine.events(&front.caller, since).await?;
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((head, stream_of(events, front.closing)).into_response())
}

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| invalid("the header `last-event-id` is not a number"))
}

/// What a stream is made of: the engine's events, or a test's.
pub(crate) trait Source: Send + 'static {
    /// The next one; `None` at the end. A reader that fell too far behind is told how many it missed.
    fn next(&mut self) -> impl Future<Output = Option<Result<Event, u64>>> + Send;
}

impl Source for Events {
    async fn next(&mut self) -> Option<Result<Event, u64>> {
        self.next().await.map(|next| next.map_err(|missed| missed.0))
    }
}

/// Where a stream is; with the number of the last event told.
enum Stage<S> {
    Greeting(S),
    Following(S, u64),
    Over,
}

/// The stream as a body.
pub(crate) fn stream_of(events: impl Source, closing: CancellationToken) -> Body {
    let step = move |stage| {
        let closing = closing.clone();
        async move {
            let (text, next) = match stage {
                // Something at once, so that the reader knows that it is heard.
                Stage::Greeting(events) => (": lodge\n\n".to_owned(), Stage::Following(events, 0)),
                Stage::Following(events, seen) => follow(events, seen, &closing).await,
                Stage::Over => return None,
            };
            Some((Ok::<_, Infallible>(Bytes::from(text)), next))
        }
    };
    Body::from_stream(stream::unfold(Stage::Greeting(events), step))
}

async fn follow<S: Source>(mut events: S, seen: u64, closing: &CancellationToken) -> (String, Stage<S>) {
    let next = tokio::select! {
        next = tokio::time::timeout(HEARTBEAT, events.next()) => next,
        () = closing.cancelled() => return (error(stopping().body()), Stage::Over),
    };
    match next {
        Err(_) => (": still here\n\n".to_owned(), Stage::Following(events, seen)),
        Ok(None) => (error(stopping().body()), Stage::Over),
        Ok(Some(Ok(event))) => (message(&event), Stage::Following(events, event.seq)),
        Ok(Some(Err(count))) => {
            let body = ErrorBody::new(
                ErrorKind::Exhausted,
                format!("the reader was too slow: {count} events went by unread"),
            );
            let hint = match seen {
                0 => "ask again, and read faster".to_owned(),
                _ => format!("ask again with since={seen}"),
            };
            (error(&body.with_hint(hint)), Stage::Over)
        }
    }
}

fn message(event: &Event) -> String {
    // JSON has no bare line ends, so one `data` line takes it all.
    let data = serde_json::to_string(event).expect("an event has string keys only");
    format!("id: {}\ndata: {data}\n\n", event.seq)
}

fn error(body: &ErrorBody) -> String {
    let data = serde_json::to_string(body).expect("an error document has string keys only");
    format!("event: error\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_data_whatever_the_subject_holds() {
        let event = Event {
            seq: 7,
            time_ms: 1,
            kind: "domain.started".to_owned(),
            subject: "a\nb".to_owned(),
            data: serde_json::Value::Null,
        };
        expect_test::expect![[r#"
            id: 7
            data: {"seq":7,"time_ms":1,"kind":"domain.started","subject":"a\nb"}

        "#]]
        .assert_eq(&message(&event));
    }
}
