//! Start-up.
use crate::domains::Shared;
use crate::error::DomainError;
use crate::owner::{Begin, Owner};
use std::sync::Arc;
#[derive(Default)]
pub(crate) struct Found {
    pub definitions: usize,
    pub running: usize,
    pub sagas: usize,
    pub invalid: usize,
}
pub(crate) async fn recover(_shared: &Arc<Shared>) -> Result<Found, DomainError> {
    Ok(Found::default())
}
pub(crate) fn settle(_owner: &mut Owner) -> Begin {
    Begin::Now(Ok(crate::owner::Reply::Done))
}
