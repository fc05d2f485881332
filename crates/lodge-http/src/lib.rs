//! The REST front: decode, call the engine, encode.
//!
//! ```text
//!  socket ──▶ server ──▶ router ──▶ one handler per route ──▶ Engine
//!             limits,     openapi   request.rs decodes,
//!             caller                refusal.rs encodes what went wrong
//! ```
//!
//! One file per resource, and in it one handler per route of `lodge_api::route`. The same macro that puts a
//! handler on its route writes it into the OpenAPI document, which lies in `docs/openapi.json`.
//!
//! A change once begun is carried to its end though its client goes ([`request::to_the_end`]); a look is not.
//! Deliberately absent: any decision about domains. TCP and TLS, too: whoever may open the socket may ask.

mod adoption;
mod amend;
mod blocks;
mod clones;
mod console;
mod disks;
mod domains;
mod events;
mod guest_disks;
mod guests;
mod host;
mod identities;
mod image_files;
mod images;
mod instances;
mod jobs;
mod limits;
mod network_filters;
mod networks;
mod node;
mod openapi;
mod pools;
mod refusal;
mod request;
mod secrets;
mod server;
mod snapshots;
mod volumes;

pub use openapi::openapi_json;
pub use refusal::status_of;
pub use server::{BindError, Connections, Listener, serve};
