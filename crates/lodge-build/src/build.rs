//! One build, from packages to a finished image: the order of the acts, and nothing else.
//!
//! The result appears under its final name in one rename, or not at all. Whatever fails, the work
//! directory goes with the [`WorkDir`]; what a crash leaves is [`crate::sweep`]'s.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use lodge_disk::worker::WorkerProgram;
use lodge_identity::Catalogue;
use lodge_model::Bytes;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{
    apt::Mirror,
    boot,
    disk::{self, Layout},
    dress,
    error::BuildError,
    identity,
    packages::{self, Package},
    progress::{Phase, Progress},
    prove::prove,
    recipe::Recipe,
    tool::{self, Network, Run, Toolbox},
    tree::Tree,
    work::WorkDir,
};

const INSTALL_LIMIT: Duration = Duration::from_mins(45);
const CONVERT_LIMIT: Duration = Duration::from_mins(15);

/// What a build may be told beside its recipe.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The disk's size as the guest sees it. The file is sparse.
    pub size: Bytes,
    /// Where packages come from, also for the guest later on.
    pub mirror: Mirror,
    /// What an identity is.
    pub catalogue: Catalogue,
    /// Who reads the finished image, for the proof that it has none.
    pub reader: WorkerProgram,
}

impl Settings {
    /// 8 GiB, and the mirror of this host.
    pub fn of_host(catalogue: Catalogue, reader: WorkerProgram) -> Result<Self, BuildError> {
        let mirror = Mirror::of_host(Path::new("/etc/apt"))?;
        Ok(Self { size: Bytes(8 << 30), mirror, catalogue, reader })
    }
}

/// A finished image.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Built {
    /// The qcow2 file: `DIR/RECIPE-SHA256[..12].qcow2`, read-only.
    pub path: PathBuf,
    /// Of the file, in hexadecimal.
    pub sha256: String,
    /// The disk's size as the guest sees it.
    pub virtual_size: Bytes,
    /// The file's size.
    pub file_size: Bytes,
    /// What is installed in it, by name.
    pub packages: Vec<Package>,
}

/// Builds `recipe` into `dir`. `progress` is called from the task that polls the future.
///
/// Cancel by the token: tools are ended, files removed, then the future returns. Dropping the
/// future has the same effect but blocks while the files are removed.
pub async fn build(
    recipe: &Recipe,
    settings: &Settings,
    dir: &Path,
    cancel: &CancellationToken,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Built, BuildError> {
    let tell = |phase, part| progress(Progress::within(phase, part));
    tell(Phase::Preparing, 0.0);
    check_host()?;
    // The tools run in `/`.
    let dir =
        std::path::absolute(dir).map_err(|source| BuildError::WorkDir { path: dir.to_owned(), source })?;
    let (name, target) = (recipe.name, dir.clone());
    let work = blocking(Phase::Preparing, move || WorkDir::create(&target, name)).await?;
    let result = run(recipe, settings, &dir, &work, cancel, &tell).await;
    blocking(Phase::Finishing, move || {
        drop(work);
        Ok(())
    })
    .await?;
    result
}

async fn run(
    recipe: &Recipe,
    settings: &Settings,
    dir: &Path,
    work: &WorkDir,
    cancel: &CancellationToken,
    tell: &(dyn Fn(Phase, f32) + Send + Sync),
) -> Result<Built, BuildError> {
    let toolbox = Toolbox { work, cancel, epoch_s: epoch_s() };
    let root = work.root();
    tell(Phase::Downloading, 0.0);
    install_packages(&toolbox, recipe, settings, &root, tell).await?;

    tell(Phase::Dressing, 0.0);
    let tree = Tree::open(&root)?;
    let packages = packages::installed(&tree)?;
    let layout = Layout::new(settings.size, &packages::id_seed(recipe.name, &packages))?;
    dress::dress(&tree, recipe, &settings.mirror, &layout)?;

    tell(Phase::BootLoader, 0.0);
    let loader = boot::install(&toolbox, &root, &tree, &layout).await?;
    identity::strip(&settings.catalogue, &tree)?;
    identity::verify(&settings.catalogue, &tree)?;

    tell(Phase::Disk, 0.0);
    let raw = work.path().join("disk.raw");
    let (scratch, disk, table) = (work.path().join("esp.raw"), raw.clone(), layout.clone());
    blocking(Phase::Disk, move || disk::lay_out(&disk, &table, &loader, &scratch)).await?;
    tell(Phase::Disk, 0.1);
    disk::fill_root(&toolbox, &raw, &layout, &root).await?;

    tell(Phase::Converting, 0.0);
    let image = work.path().join("out.qcow2");
    convert(&toolbox, &raw, &image).await?;

    tell(Phase::Finishing, 0.0);
    prove(&settings.catalogue, &settings.reader, &image).await?;
    let (name, dir, size) = (recipe.name, dir.to_owned(), settings.size);
    let built = move || finish(name, &dir, &image, size, packages);
    let built = blocking(Phase::Finishing, built).await?;
    tell(Phase::Finishing, 1.0);
    tracing::info!(image = name, path = %built.path.display(), "image built");
    Ok(built)
}

fn check_host() -> Result<(), BuildError> {
    let uid = rustix::process::geteuid();
    if !uid.is_root() {
        return Err(BuildError::NotRoot { uid: uid.as_raw() });
    }
    let missing = tool::missing_tools();
    if missing.is_empty() { Ok(()) } else { Err(BuildError::ToolsMissing { missing }) }
}

async fn install_packages(
    toolbox: &Toolbox<'_>,
    recipe: &Recipe,
    settings: &Settings,
    root: &Path,
    tell: &(dyn Fn(Phase, f32) + Send + Sync),
) -> Result<(), BuildError> {
    let include = recipe.packages().collect::<Vec<_>>().join(",");
    let mut args: Vec<OsString> = ["--mode=root", "--variant=minbase"].map(Into::into).into();
    args.push(format!("--include={include}").into());
    args.push(recipe.suite.into());
    args.push(root.into());
    args.extend(settings.mirror.lines(recipe.suite).into_iter().map(Into::into));
    let run = Run {
        program: "mmdebstrap",
        args,
        network: Network::Host,
        phase: Phase::Installing,
        limit: INSTALL_LIMIT,
    };
    let on_line = |line: &str| {
        if let Some((phase, part)) = milestone(line) {
            tell(phase, part);
        }
    };
    toolbox.run(run, on_line).await.map(drop)
}

/// Where mmdebstrap is, by the lines it writes. An unknown line moves nothing.
fn milestone(line: &str) -> Option<(Phase, f32)> {
    let line = line.strip_prefix("I: ")?;
    let marks = [
        ("downloading packages", Phase::Downloading, 0.4),
        ("extracting archives", Phase::Installing, 0.0),
        ("installing essential packages", Phase::Installing, 0.15),
        ("installing remaining packages", Phase::Installing, 0.3),
        ("cleaning package lists", Phase::Installing, 0.95),
    ];
    marks.iter().find(|(start, ..)| line.starts_with(start)).map(|(_, phase, part)| (*phase, *part))
}

/// `qemu-img` and not imago: it finds the zeroes, and does it in a child that a crash of the
/// format code cannot take the daemon with. Both formats are named, none is guessed. Uncompressed:
/// clones read through this file, and under TCG every cycle of decompression is a guest's.
async fn convert(toolbox: &Toolbox<'_>, raw: &Path, image: &Path) -> Result<(), BuildError> {
    let mut args: Vec<OsString> = ["convert", "-f", "raw", "-O", "qcow2"].map(Into::into).into();
    args.extend([raw.into(), image.into()]);
    let run = Run {
        program: "qemu-img",
        args,
        network: Network::None,
        phase: Phase::Converting,
        limit: CONVERT_LIMIT,
    };
    toolbox.run(run, |_| ()).await.map(drop)
}

/// Sums the image, makes it read-only and durable, and gives it its name.
fn finish(
    name: &str,
    dir: &Path,
    image: &Path,
    virtual_size: Bytes,
    packages: Vec<Package>,
) -> Result<Built, BuildError> {
    let place = || -> io::Result<Built> {
        let mut file = File::open(image)?;
        let sha256 = sum(&mut file)?;
        file.set_permissions(fs::Permissions::from_mode(0o444))?;
        file.sync_all()?;
        let path = dir.join(format!("{name}-{}.qcow2", &sha256[..12]));
        fs::rename(image, &path)?;
        File::open(dir)?.sync_all()?;
        let file_size = Bytes(file.metadata()?.len());
        Ok(Built { path, sha256, virtual_size, file_size, packages })
    };
    place().map_err(|source| BuildError::Disk { act: "keep the image", path: image.to_owned(), source })
}

/// SHA-256 of the rest of a file, in hexadecimal.
fn sum(file: &mut File) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => break,
            length => digest.update(&block[..length]),
        }
    }
    let mut text = String::with_capacity(64);
    for byte in digest.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// `SOURCE_DATE_EPOCH` of the daemon's environment (reproducible-builds.org).
fn epoch_s() -> Option<u64> {
    std::env::var("SOURCE_DATE_EPOCH").ok()?.parse().ok()
}

async fn blocking<T: Send + 'static>(
    phase: Phase,
    act: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(act).await.map_err(|_| BuildError::Panicked { phase })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mmdebstrap_tells_how_far_it_is() {
        let line = "I: installing remaining packages inside the chroot...";
        assert_eq!(milestone(line), Some((Phase::Installing, 0.3)));
        assert_eq!(milestone("W: something"), None);
    }

    #[tokio::test]
    async fn a_cancelled_build_leaves_nothing() {
        if check_host().is_err() {
            eprintln!("skipped: building needs root and its tools");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let recipe = Recipe::named("debian-12").unwrap();
        // As soon as mmdebstrap has begun.
        let on = |progress: Progress| {
            if progress.phase == Phase::Downloading {
                cancel.cancel();
            }
        };
        // Nothing comes as far as to be read.
        let reader = WorkerProgram {
            program: "/nonexistent".into(),
            root: dir.path().join("empty"),
            id: 65_533,
            patience: Duration::from_secs(1),
        };
        let settings = Settings::of_host(Catalogue::builtin(), reader).unwrap();
        let built = build(recipe, &settings, dir.path(), &cancel, &on).await;
        assert!(matches!(built, Err(BuildError::Cancelled { .. })), "{built:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
