//! Programs of a document's for a tap: `<script>` runs once the tap is there, `<downscript>` once its guest has ended.
//!
//! Note, then act: what is to run at the end is on disk (`run/lodge/cards/UUID.json`) before the guest has the tap, so it
//! runs whatever ends the daemon. As libvirt runs them: with the tap's name, and of root's rights only that over networks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::DomainId;
use lodge_sys::tool::Tool;
use serde::{Deserialize, Serialize};

use crate::NetworkError;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Programs for one tap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scripts {
    /// What makes it ready.
    pub up: Option<PathBuf>,
    /// What clears away after it.
    pub down: Option<PathBuf>,
}

/// What is to run when a guest has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    ifname: String,
    down: PathBuf,
}

/// Where it is noted.
#[derive(Debug, Clone)]
pub(crate) struct Notes(PathBuf);

impl Notes {
    pub fn at(run: &Path) -> Self {
        Self(run.join("cards"))
    }

    /// Runs what makes a new tap ready, having noted what comes after.
    pub async fn begin(&self, domain: DomainId, ifname: &str, scripts: &Scripts) -> Result<(), NetworkError> {
        if let Some(down) = &scripts.down {
            let mut all = self.read(domain)?;
            all.retain(|known| known.ifname != ifname);
            all.push(Pending { ifname: ifname.to_owned(), down: down.clone() });
            self.write(domain, &all)?;
        }
        match &scripts.up {
            Some(up) => run(up, ifname).await,
            None => Ok(()),
        }
    }

    /// Runs what is left to run for a guest, or for one card of its. All is tried; what failed is told, and not tried again.
    pub async fn end(&self, domain: DomainId, card: Option<&str>) -> Result<(), NetworkError> {
        let (due, later): (Vec<Pending>, Vec<Pending>) = self
            .read(domain)?
            .into_iter()
            .partition(|pending| card.is_none_or(|ifname| pending.ifname == ifname));
        let mut first = Ok(());
        for Pending { ifname, down } in &due {
            let ended = run(down, ifname).await;
            first = first.and(ended);
        }
        if !due.is_empty() {
            self.write(domain, &later)?;
        }
        first
    }

    /// The guest that a card with something left to run is of.
    pub fn owner_of(&self, card: &str) -> Option<DomainId> {
        let entries = std::fs::read_dir(&self.0).ok()?;
        entries.flatten().find_map(|entry| {
            let domain: DomainId = entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok()?;
            self.read(domain).ok()?.iter().any(|pending| pending.ifname == card).then_some(domain)
        })
    }

    fn read(&self, domain: DomainId) -> Result<Vec<Pending>, NetworkError> {
        let path = self.path_of(domain);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed("read", &path)(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn write(&self, domain: DomainId, all: &[Pending]) -> Result<(), NetworkError> {
        let path = self.path_of(domain);
        let written = if all.is_empty() {
            lodge_sys::fs::remove_durable(&path).map(drop)
        } else {
            lodge_sys::fs::create_dirs_durable(&self.0, 0o700)
                .and_then(|()| lodge_sys::fs::write_durable(&path, &serde_json::to_vec_pretty(all)?, 0o600))
        };
        written.map_err(failed("write", &path))
    }

    fn path_of(&self, domain: DomainId) -> PathBuf {
        self.0.join(format!("{domain}.json"))
    }
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NetworkError {
    let path = path.to_owned();
    move |source| NetworkError::File { act, path, source }
}

/// Runs a program with the tap's name.
async fn run(program: &Path, ifname: &str) -> Result<(), NetworkError> {
    let refused = |detail: String| NetworkError::Script {
        program: program.to_owned(),
        subject: ifname.to_owned(),
        detail,
    };
    if !program.is_absolute() {
        return Err(refused("its path must begin with /".to_owned()));
    }
    // Root's rights but for networks are not the script's.
    let tool = Tool::new("setpriv", PATIENCE)
        .args(["--bounding-set", "-all,+net_admin", "--inh-caps", "-all,+net_admin", "--"])
        .arg(program)
        .arg(ifname);
    tool.run().await.map(drop).map_err(|error| refused(error.to_string()))
}
