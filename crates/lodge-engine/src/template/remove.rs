//! Removing a version of a template: forgotten first, then its files go. A daemon that finds that begun ends it.

use std::path::PathBuf;

use async_trait::async_trait;
use lodge_model::Kind;
use lodge_store::{
    db::templates::TemplateRow,
    saga::{self, Context, Direction, Failure, OpenSaga, Step},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Template, TemplateDisk};
use crate::{
    Caller, Engine,
    clone::steps::{Parts, failed},
    error::{EngineError, Result},
};

/// The saga's kind.
pub(crate) const REMOVE: &str = "template-remove";

/// What goes.
struct Removing {
    parts: Parts,
    saved: Saved,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Saved {
    row: TemplateRow,
    files: Vec<PathBuf>,
}

impl Context for Removing {
    fn saved(&self) -> Value {
        serde_json::to_value(&self.saved).unwrap_or_default()
    }
}

impl Engine {
    /// Removes a version that nothing stands on.
    #[crate::boxed]
    pub async fn remove_template(&self, caller: &Caller, wanted: &str) -> Result<()> {
        caller.may_change()?;
        let template = self.known_template(wanted).await?;
        self.refuse_used(&template).await?;
        let row = self.store.db().guest_template(&template.name, Some(template.version)).await?;
        let row = row.ok_or_else(|| super::no_template(wanted))?;
        let files = template.disks.iter().map(|disk| disk.path.clone()).collect();
        let mut removing = Removing { parts: self.clone_parts(), saved: Saved { row, files } };
        let mut log = saga::begin(self.store.db(), REMOVE, &template.said(), None, &removing).await?;
        let stop = CancellationToken::new();
        saga::drive(&steps(), &mut removing, &mut log, &stop)
            .await
            .map_err(|error| EngineError::new(error.kind(), error.to_string()))?;
        self.feed.publish("template.removed", template.said(), Value::Null);
        Ok(())
    }

    async fn refuse_used(&self, template: &Template) -> Result<()> {
        for TemplateDisk { path, .. } in &template.disks {
            let users = self.storage.clones_of(path).await?;
            if let Some(user) = users.first() {
                let stand = match users.len() - 1 {
                    0 => "stands".to_owned(),
                    more => format!("and {more} more stand"),
                };
                let text =
                    format!("template `{}` is in use: `{}` {stand} on it", template.said(), user.display());
                return Err(EngineError::new(Kind::Conflict, text).with_hint(
                    "remove those guests first (lodge rm), or let their disks stand alone (lodge chain flatten)",
                ));
            }
        }
        Ok(())
    }

    /// Ends a removal that an earlier daemon began.
    pub(crate) async fn end_cut_removal(&self, open: OpenSaga) {
        let OpenSaga { subject, position, saved, mut log, .. } = open;
        let saved: Saved = match serde_json::from_value(saved) {
            Ok(saved) => saved,
            Err(error) => return tracing::error!(subject, %error, "a cut off removal cannot be read"),
        };
        let mut removing = Removing { parts: self.clone_parts(), saved };
        let stop = CancellationToken::new();
        let ended = saga::resume(&steps(), &mut removing, &mut log, position, Direction::On, &stop).await;
        match ended {
            Ok(()) => tracing::info!(template = subject, "removal that was cut off ended"),
            Err(error) => tracing::error!(template = subject, %error, "removal that was cut off not ended"),
        }
    }
}

fn steps() -> Vec<Box<dyn Step<Removing>>> {
    vec![Box::new(Forget), Box::new(DeleteFiles)]
}

struct Forget;

#[async_trait]
impl Step<Removing> for Forget {
    fn name(&self) -> &'static str {
        "forget-template"
    }

    async fn run(&self, removing: &mut Removing) -> std::result::Result<(), Failure> {
        let TemplateRow { name, version, .. } = &removing.saved.row;
        removing.parts.store.db().remove_guest_template(name, *version).await.map(drop).map_err(failed)
    }

    /// Known again, unless files of it are gone already: what is left of it would be no template.
    async fn undo(&self, removing: &mut Removing) -> std::result::Result<(), Failure> {
        if !removing.saved.files.iter().all(|path| path.exists()) {
            return Err(Failure::new(Kind::Internal, "some of its files are gone already"));
        }
        removing.parts.store.db().put_guest_template(removing.saved.row.clone()).await.map_err(failed)
    }
}

struct DeleteFiles;

#[async_trait]
impl Step<Removing> for DeleteFiles {
    fn name(&self) -> &'static str {
        "delete-files"
    }

    async fn run(&self, removing: &mut Removing) -> std::result::Result<(), Failure> {
        for path in &removing.saved.files {
            removing.parts.storage.discard_copy(path).await.map_err(failed)?;
            removing.parts.pools.noticed(path).await;
        }
        if let Some(path) = removing.saved.row.nvram.clone() {
            let gone = tokio::task::spawn_blocking(move || lodge_sys::fs::remove_durable(&path)).await;
            gone.map_err(|_| Failure::new(Kind::Internal, "removing the UEFI variables broke"))?.map_err(
                |error| Failure::new(Kind::Internal, format!("cannot remove the UEFI variables: {error}")),
            )?;
        }
        Ok(())
    }

    async fn undo(&self, _: &mut Removing) -> std::result::Result<(), Failure> {
        Ok(())
    }
}
