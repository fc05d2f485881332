//! `image build list info clone import rm`; what is done to files is in `image_file`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use lodge_client::api::{ClonedVolume, ImageBuild, ImageClone, ImageImport, ImageView, Job};
use lodge_model::Bytes;

use crate::failure::{Failure, What, invalid};
use crate::output::{field, local_time, or_dash, size};
use crate::session::Session;

use super::{image_file, job, progress};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build an image from its distribution's packages (debian-12, debian-13)
    Build(Build),
    /// List images
    #[command(alias = "ls")]
    List,
    /// The facts of an image, or of any image file
    Info(image_file::Info),
    /// Where an image file's bytes are: data, zeros, holes, and in which file of its chain
    Map(image_file::Map),
    /// Whether an image file's tables are sound
    Check(image_file::Check),
    /// Make an image file of another, of any format; the new one stands alone
    Convert(image_file::Convert),
    /// Give back the room of what reads as zero
    Compact(image_file::Compact),
    /// Give an image file another size
    Resize(image_file::Resize),
    /// Make a disk that stands on an image: a linked clone in the default pool
    Clone(CloneImage),
    /// Take a disk's file in as an image; the file is copied
    Import(Import),
    /// Remove images that no domain's disk stands on
    Rm(Rm),
}

#[derive(Debug, Args)]
pub struct Rm {
    /// The images' names
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Build {
    /// The recipe: debian-12 or debian-13
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Build it anew although it is there
    #[arg(long)]
    force: bool,
    /// Print the job's number and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub struct CloneImage {
    /// The image's name
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The new disk's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The new disk's size: 20GiB [default: the image's]
    #[arg(long, value_name = "SIZE")]
    size: Option<Bytes>,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The image's name
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The file on the daemon's host
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// The file's format; it is never guessed
    #[arg(long, value_enum)]
    format: DiskFormat,
}

/// A disk's format.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DiskFormat {
    /// QEMU's own
    Qcow2,
    /// The bare bytes
    Raw,
}

impl Verb {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            Self::Build(verb) => verb.run(session).await,
            Self::List => list(session).await,
            Self::Info(verb) => match verb.image() {
                Some(image) => {
                    let view = session.client().await?.image(image).await.what(|| no_image(image))?;
                    session.show(&view, info);
                    Ok(())
                }
                None => verb.run(session).await,
            },
            Self::Map(verb) => verb.run(session).await,
            Self::Check(verb) => verb.run(session).await,
            Self::Convert(verb) => verb.run(session).await,
            Self::Compact(verb) => verb.run(session).await,
            Self::Resize(verb) => verb.run(session).await,
            Self::Clone(verb) => verb.run(session).await,
            Self::Import(verb) => verb.run(session).await,
            Self::Rm(Rm { images }) => {
                let client = session.client().await?;
                for image in images {
                    client.remove_image(&image).await.what(|| format!("Failed to remove image '{image}'"))?;
                    session.say(&format!("Image '{image}' removed\n"));
                }
                Ok(())
            }
        }
    }
}

fn no_image(image: &str) -> String {
    format!("failed to get image '{image}'")
}

impl Build {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let build = ImageBuild { name: self.image.clone(), force: self.force };
        let job =
            client.build_image(&build).await.what(|| format!("Failed to build image '{}'", self.image))?;
        finish(job, self.no_wait, session).await
    }
}

impl Import {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let path =
            std::path::absolute(&self.path).ok().and_then(|path| path.into_os_string().into_string().ok());
        let import = ImageImport {
            name: self.image.clone(),
            path: path.ok_or_else(|| invalid(format!("`{}` is no path", self.path.display())))?,
            format: match self.format {
                DiskFormat::Qcow2 => "qcow2".to_owned(),
                DiskFormat::Raw => "raw".to_owned(),
            },
        };
        let job = session.client().await?.import_image(&import).await;
        finish(job.what(|| format!("Failed to import image '{}'", self.image))?, false, session).await
    }
}

async fn finish(job: Job, no_wait: bool, session: &mut Session) -> Result<(), Failure> {
    if no_wait {
        session.show(&job, |job| format!("{}\n", job.id));
        return Ok(());
    }
    let client = session.client().await?;
    let job = progress::follow(&client, job.id, session).await?;
    session.done(&job, |job| format!("Image '{}' is there ({})\n", job.subject, job::took(job)));
    Ok(())
}

impl CloneImage {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let clone = ImageClone { name: self.name, size_bytes: self.size.map(|size| size.0) };
        let made = session.client().await?.clone_image(&self.image, &clone).await;
        let volume: ClonedVolume = made.what(|| format!("Failed to clone image '{}'", self.image))?;
        session.show(&volume, |volume| format!("{}\n", volume.path));
        Ok(())
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut images = session.client().await?.images().await.what(|| "Failed to list images".to_owned())?;
    images.sort_by(|one, other| one.name.cmp(&other.name));
    session.show(&images, |images| {
        let row = |image: &ImageView| {
            vec![
                image.name.clone(),
                image.format.clone(),
                size(image.virtual_bytes),
                size(image.size_bytes),
                local_time(image.created_ms),
                image.used_by.len().to_string(),
            ]
        };
        let rows: Vec<_> = images.iter().map(row).collect();
        session.table(&["Name", "Format", "Disk", "On host", "Made", "Used by"], &rows)
    });
    Ok(())
}

fn info(image: &ImageView) -> String {
    let mut text = String::new();
    field(&mut text, "Name", &image.name);
    field(&mut text, "Path", &image.path);
    field(&mut text, "Format", &image.format);
    field(&mut text, "Disk", size(image.virtual_bytes));
    field(&mut text, "On host", size(image.size_bytes));
    field(&mut text, "SHA-256", or_dash(image.sha256.as_ref()));
    field(&mut text, "Source", or_dash(image.source.as_ref()));
    field(&mut text, "Packages", or_dash(image.packages));
    field(&mut text, "Made", local_time(image.created_ms));
    field(&mut text, "Used by", or_dash((!image.used_by.is_empty()).then(|| image.used_by.join(", "))));
    text
}
