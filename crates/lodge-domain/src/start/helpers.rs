//! The step that starts what serves a guest beside its QEMU, and its taking back.
//!
//! It makes the guest's directory and cgroup, clears what an earlier start left there, and leaves a connected socket
//! per helper for QEMU. Deliberately absent: what each helper is told (`lodge_qemu::helper`), and their regular end,
//! which comes with the guest's (`stop.rs`).

mod cards;
mod tpm;
mod virtiofs;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lodge_model::domain::Domain;
use lodge_model::domain::filesystem::Filesystem;
use lodge_model::{DomainId, Kind};
use lodge_qemu::helper::{Helper, HelperError, HelperSpec};
use lodge_qemu::{Accelerator, Credentials, Descriptors, connect, guest_credentials};
use lodge_store::saga::{Failure, Step};
use lodge_sys::cgroup::Cgroup;
use lodge_sys::process::Ending;
use tokio::net::UnixStream;

pub(super) use self::tpm::choose as choose_tpm;
use super::file_failure;
use super::gather::{guest_cgroup, make_dir};
use super::spawn::clear_leftovers;
use super::steps::Launch;
use crate::define::blocking;
use crate::domains::Shared;

/// How long one may take until it answers.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// A helper's end of a connection, for QEMU.
#[derive(Debug)]
pub(crate) struct Served {
    /// The device that it serves.
    pub alias: String,
    pub socket: OwnedFd,
}

/// Starts swtpm for an emulated TPM, virtiofsd for directories and passt for networks, or connects to those of others.
pub(super) struct StartHelpers;

#[async_trait]
impl Step<Launch> for StartHelpers {
    fn name(&self) -> &'static str {
        "start-helpers"
    }

    async fn run(&self, launch: &mut Launch) -> Result<(), Failure> {
        if launch.running.is_some() || launch.find_running().await {
            return Ok(());
        }
        launch.helpers = None;
        clear_leftovers(launch).await?;
        lodge_qemu::assign_aliases(&mut launch.document);
        launch.helpers = Some(serve(launch).await?);
        Ok(())
    }

    async fn undo(&self, launch: &mut Launch) -> Result<(), Failure> {
        launch.helpers = None;
        clear_leftovers(launch).await?;
        let Some(state) = launch.plan.made_tpm.clone() else { return Ok(()) };
        let removed = {
            let state = state.clone();
            blocking(move || state.remove()).await
        };
        removed.map_err(|error| file_failure("remove", state.path(), &error))
    }
}

async fn serve(launch: &Launch) -> Result<Vec<Served>, Failure> {
    let devices = &launch.document.devices;
    let mut directories: Vec<(usize, &Filesystem)> = devices.filesystems.iter().enumerate().collect();
    directories.retain(|(_, directory)| directory.is_virtiofs());
    let mut served = Vec::new();
    for (at, disk) in devices.disks.iter().enumerate() {
        let Some(socket) = disk.vhost_user_socket() else { continue };
        let alias = disk.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
        served.push(join(socket.as_ref(), alias, &format!("/domain/devices/disk[{}]/source", at + 1)).await?);
    }
    let cards = cards::served_cards(&launch.document);
    if devices.tpms.is_empty() && directories.is_empty() && cards.is_empty() {
        return Ok(served);
    }
    let site = Site::make(&launch.shared, launch.id, &launch.document).await?;
    served.extend(tpm::serve(launch, &site).await?);
    for directory in directories {
        served.push(virtiofs::serve(launch, &site, directory).await?);
    }
    for card in cards {
        served.push(cards::serve(&launch.shared, &launch.plan.name, &site, card).await?);
    }
    Ok(served)
}

/// What serves the first card of `document`, one that is plugged into a running guest. None: nothing has to.
pub(crate) async fn serve_card(
    shared: &Arc<Shared>,
    id: DomainId,
    document: &Domain,
) -> Result<Option<Served>, Failure> {
    let Some(card) = cards::served_cards(document).first().copied() else { return Ok(None) };
    let site = Site::make(shared, id, document).await?;
    cards::serve(shared, &document.name, &site, card).await.map(Some)
}

/// Connects to a helper that somebody else started: QEMU's own user may not.
async fn join(path: &Path, alias: String, element: &str) -> Result<Served, Failure> {
    let connected = async { connect(path).await?.into_std() };
    let socket = tokio::time::timeout(ANSWER_PATIENCE, connected).await;
    let socket = socket.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let socket = socket.and_then(|socket| socket.set_nonblocking(false).map(|()| socket));
    let socket = socket.map_err(|error| {
        let mut failure = file_failure("connect to", path, &error);
        failure.message = format!("{element}: {}", failure.message);
        failure
    })?;
    Ok(Served { alias, socket: socket.into() })
}

/// Where a guest's helpers run.
struct Site {
    directory: PathBuf,
    cgroup: Option<Cgroup>,
    /// The guest's own user, where it has one.
    credentials: Option<Credentials>,
}

impl Site {
    async fn make(shared: &Shared, id: DomainId, document: &Domain) -> Result<Self, Failure> {
        let config = &shared.config;
        let directory = config.store.root().guest(id.0);
        make_dir(&directory)?;
        let relative = super::partition::place(shared, id, document)?;
        let (name, cells) = (document.name.clone(), document.numatune.tree("numatune").is_some());
        let cgroup = blocking(move || guest_cgroup(&name, &relative, cells)).await;
        // Helpers need no device of the accelerator's.
        let credentials = config.own_users.then(|| guest_credentials(id, Accelerator::Tcg)).flatten();
        Ok(Self { directory, cgroup, credentials })
    }

    /// A helper at this site.
    fn spec(&self, name: String, program: PathBuf, log: PathBuf) -> HelperSpec {
        HelperSpec {
            name,
            program,
            arguments: Vec::new(),
            descriptors: Descriptors::default(),
            environment: Vec::new(),
            directory: self.directory.clone(),
            log,
            credentials: self.credentials.clone(),
            cgroup: self.cgroup.clone(),
            takes_users: false,
        }
    }
}

/// Starts one. A start is a clone and an exec, which no stuck disk should make others wait for.
async fn start(spec: HelperSpec, element: &str) -> Result<Helper, Failure> {
    blocking(move || Helper::start(spec)).await.map_err(|error| failure(element, &error))
}

/// Waits until a helper serves, which `greeting` finds at its socket: from then on it is looked after, and QEMU's.
async fn served<G>(
    helper: &Helper,
    (domain, alias, element): (&str, String, &str),
    (socket, log): (&Path, &Path),
    greeting: impl AsyncFn(&mut UnixStream) -> std::io::Result<G>,
) -> Result<Served, Failure> {
    let answered = async {
        let mut socket = connect(socket).await?;
        greeting(&mut socket).await?;
        socket.into_std()
    };
    let answered = helper.serves(answered, ANSWER_PATIENCE).await.map_err(|error| {
        failure(element, &error).with_hint(format!("all that it said is in {}", log.display()))
    })?;
    let unblocked = answered.set_nonblocking(false);
    unblocked.map_err(|error| file_failure("set up", socket, &error))?;
    watch(helper, domain, &alias);
    Ok(Served { alias, socket: answered.into() })
}

fn failure(element: &str, error: &HelperError) -> Failure {
    let mut failure = Failure::of(error.kind(), error);
    failure.message = format!("{element}: {}", failure.message);
    failure
}

/// A program that must be there.
fn program(name: &'static str, package: &str, element: &str) -> Result<PathBuf, Failure> {
    lodge_sys::tool::find(name).ok_or_else(|| {
        let message =
            format!("{element}: Unable to find '{name}' binary in $PATH: No such file or directory");
        Failure::new(Kind::NotFound, message).with_hint(format!("install it (Debian: {package})"))
    })
}

/// Looks on beside all else: one that ends is reaped, and that it ended is told. The guest goes on without it.
fn watch(helper: &Helper, domain: &str, alias: &str) {
    let (process, domain, alias) = (helper.process().clone(), domain.to_owned(), alias.to_owned());
    tokio::spawn(async move {
        match process.ended().await {
            Ok(Ending::Status(status)) if status.success() => tracing::debug!(domain, alias, "helper ended"),
            Ok(ending) => tracing::warn!(domain, alias, %ending, "the helper of a device has ended"),
            Err(error) => tracing::warn!(domain, alias, %error, "the helper of a device is not watched"),
        }
    });
}
