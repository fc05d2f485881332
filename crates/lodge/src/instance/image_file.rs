//! `image info map check convert compact resize`: files of any format, by path, volume or image.

use clap::Args;
use lodge_client::api::{
    ErrorKind, ImageCheck, ImageCheckReport, ImageCompact, ImageCompacted, ImageConvert, ImageConverted,
    ImageExtent, ImageFileQuery, ImageFileView, ImageMap, ImageResize, ImageResized, ImageSubject, Job,
};
use lodge_model::Bytes;
use serde::de::DeserializeOwned;

use super::progress;
use crate::failure::{Failure, What, invalid};
use crate::output::{field, or_dash, size};
use crate::session::Session;

/// Formats for completion; the daemon judges the word.
const FORMATS: [&str; 8] = ["raw", "qcow2", "vmdk", "vdi", "vpc", "vhd", "vhdx", "qed"];

/// Which file.
#[derive(Debug, Args)]
pub struct Subject {
    /// An image's name, a path (with a slash in it), or with --pool a volume's name
    #[arg(value_name = "IMAGE|PATH|VOLUME")]
    file: String,
    /// The pool the volume is in
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// The file's format, where it is not known: a guest can make its disk look like anything
    #[arg(short = 'f', long, value_name = "FORMAT", value_parser = FORMATS)]
    format: Option<String>,
    /// Take the file for what it looks like; only for what no guest can have written
    #[arg(long, conflicts_with = "format")]
    probe: bool,
}

impl Subject {
    /// Whether a registered image is meant, and nothing said about its file.
    fn is_plain_image(&self) -> bool {
        self.pool.is_none() && self.format.is_none() && !self.probe && !self.file.contains('/')
    }

    fn of(&self) -> Result<ImageSubject, Failure> {
        let subject =
            ImageSubject { format: self.format.clone(), probe: self.probe, ..ImageSubject::default() };
        Ok(match &self.pool {
            Some(pool) => {
                ImageSubject { pool: Some(pool.clone()), volume: Some(self.file.clone()), ..subject }
            }
            None if self.file.contains('/') => ImageSubject { path: Some(absolute(&self.file)?), ..subject },
            None => ImageSubject { image: Some(self.file.clone()), ..subject },
        })
    }
}

/// The path from `/` on: the daemon stands elsewhere.
fn absolute(path: &str) -> Result<String, Failure> {
    let path_text = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    path_text.ok_or_else(|| invalid(format!("`{path}` is no path")))
}

#[derive(Debug, Args)]
pub struct Info {
    #[command(flatten)]
    subject: Subject,
    /// All files it stands on as well
    #[arg(long, alias = "backing-chain")]
    chain: bool,
}

#[derive(Debug, Args)]
pub struct Map {
    #[command(flatten)]
    subject: Subject,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    subject: Subject,
    /// Put it right: what is counted and not used, or all that can be
    #[arg(short = 'r', long, value_name = "WHAT", value_parser = ["leaks", "all"])]
    repair: Option<String>,
}

#[derive(Debug, Args)]
pub struct Convert {
    #[command(flatten)]
    subject: Subject,
    /// The new file: a path, or a name with --to-pool
    #[arg(value_name = "TARGET")]
    target: String,
    /// The new file's format
    #[arg(short = 'O', long, value_name = "FORMAT", value_parser = FORMATS, default_value = "qcow2")]
    to: String,
    /// The pool the new file shall lie in
    #[arg(long, value_name = "POOL")]
    to_pool: Option<String>,
    /// qcow2: compress its clusters
    #[arg(long, value_name = "HOW", num_args = 0..=1, default_missing_value = "zstd",
        require_equals = true, value_parser = ["zlib", "zstd"])]
    compress: Option<String>,
    /// qcow2: bytes of a cluster [default: 64KiB]
    #[arg(long, value_name = "SIZE")]
    cluster_size: Option<Bytes>,
    /// Print the job's number and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub struct Compact {
    #[command(flatten)]
    subject: Subject,
    /// Print the job's number and do not wait for it
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub struct Resize {
    #[command(flatten)]
    subject: Subject,
    /// The disk's new size: 20GiB
    #[arg(value_name = "SIZE")]
    size: Bytes,
    /// It may become smaller: what lies behind its new end is lost
    #[arg(long, conflicts_with = "grow_fs")]
    shrink: bool,
    /// Its last partition and the ext file system in it grow along, now; a guest with cloud-init does it by itself
    #[arg(long)]
    grow_fs: bool,
}

/// What a job came to; `None`: it was only begun, and its number is printed.
async fn finish<T: DeserializeOwned>(
    job: Job,
    no_wait: bool,
    session: &mut Session,
) -> Result<Option<T>, Failure> {
    if no_wait {
        session.show(&job, |job| format!("{}\n", job.id));
        return Ok(None);
    }
    let client = session.client().await?;
    let job = progress::follow(&client, job.id, session).await?;
    let result = serde_json::from_value(job.result.unwrap_or_default());
    result.map(Some).map_err(|error| {
        Failure::new(ErrorKind::Internal, format!("the job's result is not what it should be: {error}"))
    })
}

impl Info {
    /// The name of a registered image, if no more than that was asked.
    pub fn image(&self) -> Option<&str> {
        (self.subject.is_plain_image() && !self.chain).then_some(self.subject.file.as_str())
    }

    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let query = ImageFileQuery { subject: self.subject.of()?, chain: self.chain };
        let seen = session.client().await?.image_file(&query).await;
        let seen = seen.what(|| format!("failed to look at '{}'", self.subject.file))?;
        session.warn(&seen.warnings);
        if self.chain {
            session.show(&seen.files, |files| files.iter().map(info).collect::<Vec<_>>().join("\n"));
        } else if let Some(file) = seen.files.first() {
            session.show(file, info);
        }
        Ok(())
    }
}

fn info(file: &ImageFileView) -> String {
    let mut text = String::new();
    field(&mut text, "Path", &file.path);
    let by = if file.format_by == "looks" { " (as it looks)" } else { "" };
    field(&mut text, "Format", format!("{}{by}", file.format));
    field(&mut text, "Disk", size(file.virtual_bytes));
    field(&mut text, "On host", size(file.size_bytes));
    field(&mut text, "File", size(file.length_bytes));
    if let Some(bytes) = file.cluster_bytes {
        field(&mut text, "Cluster", size(bytes));
    }
    if let Some(compat) = &file.compat {
        field(&mut text, "Compat", compat);
        field(&mut text, "Compression", or_dash(file.compression.as_ref()));
        field(&mut text, "Snapshots", file.snapshots);
    }
    if let Some(backing) = &file.backing {
        let format = file.backing_format.as_deref().unwrap_or("format not said");
        field(&mut text, "Stands on", format!("{backing} ({format})"));
    }
    if !file.marks.is_empty() {
        field(&mut text, "Marks", file.marks.join(", "));
    }
    text
}

impl Map {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let map = session.client().await?.map_image_file(&self.subject.of()?).await;
        let map = map.what(|| format!("failed to map '{}'", self.subject.file))?;
        session.warn(&map.warnings);
        // The JSON is qemu-img's, so that what reads that reads this.
        session.show(&map.extents, |_| table(&map, session));
        Ok(())
    }
}

fn table(map: &ImageMap, session: &Session) -> String {
    let kind = |extent: &ImageExtent| match (extent.data, extent.compressed, extent.present) {
        (true, true, _) => "compressed",
        (true, false, _) => "data",
        (false, _, true) => "zero",
        (false, _, false) => "hole",
    };
    let row = |extent: &ImageExtent| {
        let file = usize::try_from(extent.depth).ok().and_then(|depth| map.files.get(depth));
        vec![
            extent.start.to_string(),
            extent.length.to_string(),
            kind(extent).to_owned(),
            or_dash(extent.offset),
            or_dash(file),
        ]
    };
    let rows: Vec<_> = map.extents.iter().map(row).collect();
    session.table(&["Start", "Length", "Kind", "At", "File"], &rows)
}

impl Check {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let check = ImageCheck { subject: self.subject.of()?, repair: self.repair };
        let job = session.client().await?.check_image_file(&check).await;
        let job = job.what(|| format!("failed to check '{}'", self.subject.file))?;
        let Some(report) = finish::<ImageCheckReport>(job, false, session).await? else { return Ok(()) };
        session.show(&report, checked);
        if report.sound {
            return Ok(());
        }
        let failure = Failure::new(ErrorKind::Corrupt, format!("'{}' is not sound", report.path));
        Err(failure.hint(match report.corruptions + report.check_errors {
            0 => "only room is lost: `lodge image check --repair leaks` gives it back",
            _ => "copy the file, then try `lodge image check --repair all`",
        }))
    }
}

fn checked(report: &ImageCheckReport) -> String {
    let mut text = String::new();
    field(&mut text, "Path", &report.path);
    field(&mut text, "Sound", if report.sound { "yes" } else { "no" });
    for (name, count) in [
        ("Corruptions", report.corruptions),
        ("Leaks", report.leaks),
        ("Check errors", report.check_errors),
        ("Corruptions fixed", report.corruptions_fixed),
        ("Leaks fixed", report.leaks_fixed),
    ] {
        if count > 0 {
            field(&mut text, name, count);
        }
    }
    let clusters = format!("{} of {} have data", report.allocated_clusters, report.total_clusters);
    field(&mut text, "Clusters", clusters);
    field(&mut text, "Compressed", report.compressed_clusters);
    field(&mut text, "Fragmented", report.fragmented_clusters);
    text
}

impl Convert {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let convert = ImageConvert {
            subject: self.subject.of()?,
            target: if self.to_pool.is_some() { self.target } else { absolute(&self.target)? },
            pool: self.to_pool,
            format: self.to,
            compress: self.compress,
            cluster_bytes: self.cluster_size.map(|size| size.0),
        };
        let job = session.client().await?.convert_image_file(&convert).await;
        let job = job.what(|| format!("failed to convert '{}'", self.subject.file))?;
        if let Some(made) = finish::<ImageConverted>(job, self.no_wait, session).await? {
            session.done(&made, |made| {
                format!("'{}' is there: {}, {} on the host\n", made.path, made.format, size(made.size_bytes))
            });
        }
        Ok(())
    }
}

impl Compact {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let compact = ImageCompact { subject: self.subject.of()? };
        let job = session.client().await?.compact_image_file(&compact).await;
        let job = job.what(|| format!("failed to compact '{}'", self.subject.file))?;
        if let Some(done) = finish::<ImageCompacted>(job, self.no_wait, session).await? {
            session.done(&done, |done| {
                format!(
                    "'{}': {} before, {} now\n",
                    done.path,
                    size(done.before_bytes),
                    size(done.after_bytes)
                )
            });
        }
        Ok(())
    }
}

impl Resize {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let resize = ImageResize {
            subject: self.subject.of()?,
            size_bytes: self.size.0,
            shrink: self.shrink,
            grow_fs: self.grow_fs,
        };
        let job = session.client().await?.resize_image_file(&resize).await;
        let job = job.what(|| format!("failed to resize '{}'", self.subject.file))?;
        if let Some(done) = finish::<ImageResized>(job, false, session).await? {
            session.done(&done, |done| {
                format!(
                    "'{}': {} before, {} now\n",
                    done.path,
                    size(done.before_bytes),
                    size(done.after_bytes)
                )
            });
        }
        Ok(())
    }
}
