//! `vol-upload vol-download`: a file's bytes into a volume and back.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use lodge_client::Client;
use lodge_client::api::{ErrorKind, VolumeSpan, VolumeView};
use lodge_sys::fs::{Begun, begin_writeback};
use rustix::fs::SeekFrom as Place;
use tokio::sync::mpsc;

use super::document::size;
use super::volume::find;
use crate::failure::{Failure, What, invalid};
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Upload {
    /// vol name, key or path
    #[arg(value_name = "vol")]
    vol: String,
    /// file
    #[arg(value_name = "file")]
    file: PathBuf,
    /// pool name or uuid
    #[arg(long, value_name = "string")]
    pool: Option<String>,
    /// volume offset to upload to
    #[arg(long, value_name = "number")]
    offset: Option<String>,
    /// amount of data to upload
    #[arg(long, value_name = "number")]
    length: Option<String>,
    /// preserve sparseness of volume
    #[arg(long)]
    sparse: bool,
}

#[derive(Debug, Args)]
pub struct Download {
    /// vol name, key or path
    #[arg(value_name = "vol")]
    vol: String,
    /// file
    #[arg(value_name = "file")]
    file: PathBuf,
    /// pool name or uuid
    #[arg(long, value_name = "string")]
    pool: Option<String>,
    /// volume offset to download from
    #[arg(long, value_name = "number")]
    offset: Option<String>,
    /// amount of data to download
    #[arg(long, value_name = "number")]
    length: Option<String>,
    /// preserve sparseness of volume
    #[arg(long)]
    sparse: bool,
}

/// Pieces that have come while those before them are written.
const PIECES_AHEAD: usize = 16;
/// What is left out where all of it is zeros.
const GRAIN_BYTES: usize = 64 << 10;

/// Writes what comes, to its end. The disk begins at once: who wants all of it there does not wait for all of it.
fn write(mut file: &File, mut come: mpsc::Receiver<impl AsRef<[u8]>>, sparse: bool) -> std::io::Result<()> {
    let (mut at, mut begun) = (0, Begun::default());
    while let Some(bytes) = come.blocking_recv() {
        let bytes = bytes.as_ref();
        if sparse {
            for (number, grain) in bytes.chunks(GRAIN_BYTES).enumerate() {
                if grain.iter().any(|byte| *byte != 0) {
                    file.write_all_at(grain, at + (number * GRAIN_BYTES) as u64)?;
                }
            }
        } else {
            // It may be a pipe.
            file.write_all(bytes)?;
        }
        at += bytes.len() as u64;
        if let Some((start, length)) = begun.next(at) {
            begin_writeback(file, start, length)?;
        }
    }
    // It may end with a hole.
    if sparse { file.set_len(at) } else { Ok(()) }
}

fn number(text: Option<&String>, option: &str) -> Result<u64, Failure> {
    text.map_or(Ok(0), |text| size(text, option))
}

fn no_file(act: &str, path: &Path, error: std::io::Error) -> Failure {
    invalid(format!("cannot {act} {}", path.display())).because(error)
}

impl Upload {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let span = VolumeSpan {
            offset: number(self.offset.as_ref(), "offset")?,
            length: number(self.length.as_ref(), "length")?,
            hole: 0,
        };
        let client = session.client().await?;
        let view = find(&client, &self.vol, self.pool.as_deref()).await?;
        let file = File::open(&self.file).map_err(|error| no_file("read", &self.file, error))?;
        if self.sparse {
            return self.extents(&client, &view, &span, &file).await;
        }
        let sent = client.upload_volume(&view.pool, &view.name, &span, file).await;
        sent.what(|| format!("cannot upload to volume {}", view.name))
    }

    /// Data as data and holes as holes.
    async fn extents(
        &self,
        client: &Client,
        view: &VolumeView,
        span: &VolumeSpan,
        file: &File,
    ) -> Result<(), Failure> {
        let failed = |error: rustix::io::Errno| no_file("read", &self.file, error.into());
        let length = rustix::fs::seek(file, Place::End(0)).map_err(failed)?;
        let mut at = 0;
        while at < length {
            let data = match rustix::fs::seek(file, Place::Data(at)) {
                Err(rustix::io::Errno::NXIO) => length,
                data => data.map_err(failed)?,
            };
            let what = || format!("cannot upload to volume {}", view.name);
            let place = |at: u64| span.offset.saturating_add(at);
            if data > at {
                let hole = VolumeSpan { offset: place(at), length: 0, hole: data - at };
                client.upload_volume(&view.pool, &view.name, &hole, std::io::empty()).await.what(what)?;
                at = data;
                continue;
            }
            let end = rustix::fs::seek(file, Place::Hole(at)).map_err(failed)?.min(length);
            let mut part = file.try_clone().map_err(|error| no_file("read", &self.file, error))?;
            part.seek(SeekFrom::Start(at)).map_err(|error| no_file("read", &self.file, error))?;
            let piece = VolumeSpan { offset: place(at), length: 0, hole: 0 };
            client.upload_volume(&view.pool, &view.name, &piece, part.take(end - at)).await.what(what)?;
            at = end;
        }
        Ok(())
    }
}

impl Download {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let span = VolumeSpan {
            offset: number(self.offset.as_ref(), "offset")?,
            length: number(self.length.as_ref(), "length")?,
            hole: 0,
        };
        let client = session.client().await?;
        let view = find(&client, &self.vol, self.pool.as_deref()).await?;
        let failed = |error| no_file("write", &self.file, error);
        let existed = self.file.exists();
        let file = File::create(&self.file).map_err(failed)?;
        let outcome = async {
            let what = || format!("cannot download from volume {}", view.name);
            let mut download = client.download_volume(&view.pool, &view.name, &span).await.what(what)?;
            let (pieces, come) = mpsc::channel(PIECES_AHEAD);
            let sparse = self.sparse;
            let writing = tokio::task::spawn_blocking(move || write(&file, come, sparse));
            let received = async {
                while let Some(bytes) = download.next().await.what(what)? {
                    if pieces.send(bytes).await.is_err() {
                        // It could not be written; the writer says why.
                        break;
                    }
                }
                drop(pieces);
                Ok(())
            }
            .await;
            let written = writing.await.map_err(std::io::Error::other).and_then(|written| written);
            received.and(written.map_err(failed))
        }
        .await;
        if outcome.is_err() && !existed {
            // What is half there is not what was asked for.
            let _ = std::fs::remove_file(&self.file);
        }
        outcome.map_err(|failure: Failure| match failure.kind() {
            ErrorKind::Internal => failure.hint("see the daemon's log"),
            _ => failure,
        })
    }
}
