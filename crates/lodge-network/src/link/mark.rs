//! Marking an interface that is there already.

use rtnetlink::LinkUnspec;

use super::{Links, failed};
use crate::NetworkError;

impl Links {
    /// Says whose an interface is.
    pub async fn mark(&self, index: u32, name: &str, alias: &str) -> Result<(), NetworkError> {
        let message = LinkUnspec::new_with_index(index).alias(alias).build();
        self.handle.link().change(message).execute().await.map_err(failed("mark", name))
    }
}
