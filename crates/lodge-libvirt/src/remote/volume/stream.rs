//! A volume's bytes as streams.

use async_trait::async_trait;
use lodge_engine::storage::{Download, Piece as Part, Span, Upload};
use lodge_wire::remote::{StorageVolDownloadArgs, StorageVolUploadArgs};

use super::place;
use crate::call::Call;
use crate::fault::Fault;
use crate::remote::pool::fault::{of, of_pool};
use crate::stream::{Piece, Sink, Source};

/// `VIR_STORAGE_VOL_{UP,DOWN}LOAD_SPARSE_STREAM`
const SPARSE: u32 = 1;

struct FromVolume(Download);

#[async_trait]
impl Source for FromVolume {
    async fn next(&mut self, buffer: Vec<u8>, kept: usize, max: usize) -> Result<Option<Piece>, Fault> {
        let part = self.0.next(buffer, kept, max).await.map_err(|error| of_pool(&error))?;
        Ok(part.map(|part| match part {
            Part::Data(bytes) => Piece::Data(bytes),
            Part::Hole(length) => Piece::Hole(length),
        }))
    }
}

struct ToVolume {
    upload: Upload,
    sparse: bool,
}

#[async_trait]
impl Sink for ToVolume {
    async fn data(&mut self, buffer: Vec<u8>, kept: usize) -> Result<Vec<u8>, Fault> {
        self.upload.write(buffer, kept).await.map_err(|error| of_pool(&error))
    }

    fn takes_holes(&self) -> bool {
        self.sparse
    }

    async fn hole(&mut self, length: u64) -> Result<(), Fault> {
        self.upload.hole(length).await.map_err(|error| of_pool(&error))
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.upload.finish().await.map_err(|error| of_pool(&error))
    }
}

pub(crate) async fn download(call: &Call, args: StorageVolDownloadArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, SPARSE)?;
    let (pool, name) = place(call, &args.vol)?;
    let span = Span { offset: args.offset, length: args.length };
    let sparse = args.flags & SPARSE != 0;
    let opened = call.engine().download_volume(&call.caller(), &pool, &name, span, sparse).await;
    call.send_stream(FromVolume(opened.map_err(of)?));
    Ok(())
}

pub(crate) async fn upload(call: &Call, args: StorageVolUploadArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, SPARSE)?;
    let (pool, name) = place(call, &args.vol)?;
    let span = Span { offset: args.offset, length: args.length };
    let upload = call.engine().upload_volume(&call.caller(), &pool, &name, span).await.map_err(of)?;
    call.receive_stream(ToVolume { upload, sparse: args.flags & SPARSE != 0 });
    Ok(())
}
