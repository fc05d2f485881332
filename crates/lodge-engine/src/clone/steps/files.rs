//! The steps that make files: disks, UEFI variables, and what lies inside.

use std::path::Path;

use async_trait::async_trait;
use lodge_model::{Kind, xml::Kept};
use lodge_storage::{Conversion, Format, ImageFormat, NewOverlay, Seal};
use lodge_store::saga::{Failure, Step};

use super::{Making, failed, file_failure};
use crate::clone::place::{How, PlannedDisk};
use crate::identity::inside::{GuestDisk, InsideReport};

/// Largest file of UEFI variables; OVMF's is half a MiB, those of other machines 64 MiB.
const VARIABLES_MAX_BYTES: u64 = 64 << 20;

/// Makes each disk of its own.
pub(super) struct MakeDisks;

#[async_trait]
impl Step<Making> for MakeDisks {
    fn name(&self) -> &'static str {
        "make-disks"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        for disk in making.plan.disks.clone() {
            if disk.how != How::Taken && !making.is_to_make(&disk.to)? {
                continue;
            }
            if let Err(failure) = make(making, &disk).await {
                // Between the look and the act.
                if failure.kind == Kind::Exists {
                    making.plan.foreign.push(disk.to);
                }
                return Err(failure);
            }
            if making.plan.allocates && matches!(disk.how, How::Layer | How::Alone) {
                allocate(&disk.to).await?;
            }
            making.parts.pools.noticed(&disk.to).await;
            making.made.insert(disk.to);
        }
        Ok(())
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        let mut first = None;
        let is_own = |disk: &&PlannedDisk| disk.how != How::Taken && making.is_own(&disk.to);
        for disk in making.plan.disks.iter().filter(is_own) {
            if let Err(error) = making.parts.storage.discard_copy(&disk.to).await {
                first.get_or_insert(failed(error));
            }
            making.parts.pools.noticed(&disk.to).await;
        }
        first.map_or(Ok(()), Err)
    }
}

async fn make(making: &Making, disk: &PlannedDisk) -> Result<(), Failure> {
    let (storage, from) = (&making.parts.storage, (disk.from.as_path(), disk.from_format));
    match disk.how {
        How::Taken if disk.is_encrypted => {
            let is_locked = disk.encryption.is_some();
            storage.guest_length(&disk.to, disk.format, is_locked).await.map(drop).map_err(failed)
        }
        How::Taken => storage.volume(&disk.to, disk.format).await.map(drop).map_err(failed),
        How::Linked if disk.is_encrypted => {
            let new = NewOverlay {
                path: disk.to.clone(),
                backing: disk.from.clone(),
                format: disk.from_format,
                is_on_locked: disk.encryption.is_some(),
                size: disk.size,
                seal: disk.encryption.as_deref().map(|text| seal(making, text)).transpose()?,
            };
            storage.link_clone_of_encrypted(&new).await.map(drop).map_err(failed)
        }
        How::Linked => storage.link_clone(from, &disk.to, disk.size).await.map(drop).map_err(failed),
        How::Layer => {
            storage.copy_layer(from, &disk.to, &making.stop, |_| ()).await.map(drop).map_err(failed)
        }
        How::Alone if disk.is_encrypted => {
            let secret = |text: &Option<String>| {
                let text = text.as_deref()?;
                Some(making.parts.pools.secret_of_disk(&Kept::parse(text).unwrap_or_default()))
            };
            let secrets = disk.to_read.iter().map(|text| secret(text).transpose());
            let secrets = secrets.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            let seal = seal(making, disk.encryption.as_deref().unwrap_or_default())?;
            storage
                .copy_sealed(from, secrets, (&disk.to, &seal), &making.stop)
                .await
                .map(drop)
                .map_err(failed)
        }
        How::Alone => {
            let conversion = Conversion {
                from: disk.from.clone(),
                from_format: image_format(disk.from_format),
                to: disk.to.clone(),
                to_format: image_format(disk.format),
                compression: None,
                cluster_size: None,
            };
            storage.convert_image(conversion, &making.stop, |_| ()).await.map(drop).map_err(failed)
        }
    }
}

/// How a file of a guest's is encrypted; a text that is no `<encryption>` asks for nothing that is known.
fn seal(making: &Making, encryption: &str) -> Result<Seal, Failure> {
    let encryption = Kept::parse(encryption).unwrap_or_default();
    making.parts.pools.seal(&encryption, Format::Qcow2).map_err(failed)
}

/// Fills the holes of a file with space that is its own, so that no other file can take it.
async fn allocate(path: &Path) -> Result<(), Failure> {
    let own = path.to_owned();
    let filled = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::options().write(true).open(&own)?;
        let length = file.metadata()?.len();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length.max(1))?;
        file.sync_all()
    });
    let filled = filled.await.unwrap_or_else(|_| Err(std::io::Error::other("the work on it broke")));
    filled.map_err(|error| file_failure("get all the space of", path, &error))
}

fn image_format(format: Format) -> ImageFormat {
    match format {
        Format::Raw => ImageFormat::Raw,
        Format::Qcow2 => ImageFormat::Qcow2,
    }
}

/// Copies the UEFI variables.
pub(super) struct CopyVariables;

#[async_trait]
impl Step<Making> for CopyVariables {
    fn name(&self) -> &'static str {
        "copy-variables"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        let Some((from, to)) = making.plan.nvram.clone() else { return Ok(()) };
        if !making.is_to_make(&to)? {
            return Ok(());
        }
        let (source, own) = (from, to.clone());
        let copied = tokio::task::spawn_blocking(move || copy(&source, &own)).await;
        copied.unwrap_or_else(|_| Err(Failure::new(Kind::Internal, "copying the UEFI variables broke")))?;
        making.made.insert(to);
        Ok(())
    }

    async fn undo(&self, making: &mut Making) -> Result<(), Failure> {
        let own = making.plan.nvram.clone().filter(|(_, to)| making.is_own(to));
        let Some((_, to)) = own else { return Ok(()) };
        let gone = tokio::task::spawn_blocking(move || {
            lodge_sys::fs::remove_durable(&to)
                .map(drop)
                .map_err(|error| file_failure("remove the UEFI variables", &to, &error))
        });
        gone.await.unwrap_or_else(|_| Err(Failure::new(Kind::Internal, "removing the UEFI variables broke")))
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let size = from.metadata().map_err(|error| file_failure("read the UEFI variables", from, &error))?.len();
    if size > VARIABLES_MAX_BYTES {
        let text = format!("the UEFI variables `{}` are {size} bytes long", from.display());
        return Err(Failure::new(Kind::Corrupt, text));
    }
    let bytes = std::fs::read(from).map_err(|error| file_failure("read the UEFI variables", from, &error))?;
    lodge_sys::fs::write_durable(to, &bytes, 0o600)
        .map_err(|error| file_failure("write the UEFI variables", to, &error))
}

/// Gives what lies inside another identity, or none.
pub(super) struct ChangeInside;

#[async_trait]
impl Step<Making> for ChangeInside {
    fn name(&self) -> &'static str {
        "change-inside"
    }

    async fn run(&self, making: &mut Making) -> Result<(), Failure> {
        if making.plan.memory().is_some() {
            // What lies on the disks is in use: the guest itself is asked, once it goes on.
            let warning = crate::clone::live::LATER.to_owned();
            making.plan.done = Some(InsideReport { warnings: vec![warning], ..InsideReport::default() });
            return Ok(());
        }
        let plan = &making.plan;
        let disk = |disk: &PlannedDisk| GuestDisk {
            target: disk.target.clone(),
            path: disk.to.clone(),
            format: disk.format,
            is_encrypted: disk.is_encrypted,
        };
        let disks: Vec<GuestDisk> = plan.disks.iter().map(disk).collect();
        let report = making.parts.inside.change(&plan.name, &disks, &plan.wish).await.map_err(|error| {
            let failure = failed(error);
            let way = "to copy it with its identity as it is: --keep-identity".to_owned();
            Failure { hint: failure.hint.or(Some(way)), ..failure }
        })?;
        making.plan.done = Some(report);
        Ok(())
    }

    /// The disks go whole.
    async fn undo(&self, _: &mut Making) -> Result<(), Failure> {
        Ok(())
    }
}
