//! A directory of the host's that virtiofsd serves, ours or one that somebody else started.
//!
//! It runs as the daemon: its guest's users are to have their own files, and it shuts itself in. Deliberately absent:
//! its options (`lodge_qemu::helper::virtiofsd`), and the guest's memory that it needs, which the document's check asks
//! for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_model::domain::filesystem::Filesystem;
use lodge_qemu::helper::virtiofsd::{Dialect, arguments, greet, installed};
use lodge_store::saga::Failure;
use lodge_sys::tool::Tool;

use super::{ANSWER_PATIENCE, Served, Site, served, start};
use crate::define::blocking;
use crate::start::file_failure;
use crate::start::steps::Launch;

/// Starts the server of the `at`-th file system, or connects to the one that the document names.
pub(super) async fn serve(
    launch: &Launch,
    site: &Site,
    (at, filesystem): (usize, &Filesystem),
) -> Result<Served, Failure> {
    let element = format!("/domain/devices/filesystem[{}]", at + 1);
    let alias = filesystem.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    if let Some(path) = filesystem.socket() {
        return super::join(path.as_ref(), alias, &format!("{element}/source")).await;
    }
    let binary = filesystem.binary.as_deref().and_then(|binary| binary.path.as_deref()).map(PathBuf::from);
    let directory = filesystem.directory().unwrap_or_default().to_owned();
    let program = {
        let (element, directory) = (element.clone(), directory.clone());
        blocking(move || look(binary, &directory, &element)).await?
    };
    let dialect = dialect_of(&program, &element).await?;
    let root = launch.shared.config.store.root();
    let log = root.logs().join(format!("{}-{alias}-virtiofsd.log", launch.plan.name));
    let name = format!("{alias}-virtiofsd");
    let socket = site.directory.join(format!("{name}.sock"));
    let mut spec = site.spec(name, program, log.clone());
    spec.credentials = None;
    spec.takes_users = site.credentials.is_none();
    let listening =
        lodge_qemu::listen(&socket).map_err(|error| file_failure("listen on", &socket, &error))?;
    let listening = spec.descriptors.pass(listening);
    spec.arguments = arguments(filesystem, &directory, dialect, listening)
        .map_err(|reason| Failure::new(Kind::Unsupported, format!("{element}/{reason}")))?;
    let helper = start(spec, &element).await?;
    served(&helper, (&launch.plan.name, alias, &element), (&socket, &log), greet).await
}

/// The program, and whether all is there.
fn look(binary: Option<PathBuf>, directory: &str, element: &str) -> Result<PathBuf, Failure> {
    let missing = |text: String| Failure::new(Kind::NotFound, format!("{element}: {text}"));
    let Some(program) = binary.or_else(installed) else {
        return Err(missing("Unable to find a satisfying virtiofsd".to_owned())
            .with_hint("install it (Debian 13: virtiofsd; Debian 12: qemu-system-common 7.2)".to_owned()));
    };
    let is_executable =
        program.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if !is_executable {
        return Err(missing(format!("virtiofsd binary '{}' is not executable", program.display())));
    }
    if !Path::new(directory).exists() {
        return Err(missing(format!("the virtiofs export directory '{directory}' does not exist")));
    }
    Ok(program)
}

/// How the program is spoken to. It says so itself, and is asked each time: it may be another one since.
async fn dialect_of(program: &Path, element: &str) -> Result<Dialect, Failure> {
    let said = Tool::at(program, ANSWER_PATIENCE).arg("--print-capabilities").run().await;
    let said = said.map_err(|error| Failure::new(Kind::Unavailable, format!("{element}: {error}")))?;
    Ok(Dialect::of(&said))
}
