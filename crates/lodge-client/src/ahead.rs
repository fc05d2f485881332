//! A file's bytes as a request's body, read by a thread of their own while those before them are on their way.
//!
//! The thread waits for whoever sends, and ends when nobody does any more.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use http_body_util::StreamBody;
use hyper::body::Frame;
use lodge_api::Buffers;
use tokio::sync::mpsc;

/// What is read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that are read before those before them are sent.
const PIECES_AHEAD: usize = 4;

/// All of `from` as a body. Its error ends the body with an error.
pub(crate) fn body(
    from: impl Read + Send + 'static,
) -> StreamBody<impl Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static> {
    let (pieces, sent) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || read(from, &pieces));
    StreamBody::new(Box::pin(unfold(sent, |mut sent| async move { Some((sent.recv().await?, sent)) })))
}

fn read(mut from: impl Read, pieces: &mpsc::Sender<io::Result<Frame<Bytes>>>) {
    let buffers = Buffers::new();
    loop {
        let piece = next(&mut from, &buffers).transpose();
        let is_last = !matches!(piece, Some(Ok(_)));
        let is_gone = piece.is_some_and(|piece| pieces.blocking_send(piece).is_err());
        if is_last || is_gone {
            return;
        }
    }
}

/// The next piece: as much as fits, or all that is left.
fn next(from: &mut impl Read, buffers: &Buffers) -> io::Result<Option<Frame<Bytes>>> {
    let mut bytes = buffers.spare();
    bytes.resize(PIECE_BYTES, 0);
    let mut filled = 0;
    while filled < PIECE_BYTES {
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok((filled > 0).then(|| Frame::data(Bytes::from_owner(buffers.lend(bytes)))))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Gives a few bytes at a time, and an error in the end if it has one.
    struct Drops(Vec<u8>, Option<io::ErrorKind>);

    impl Read for Drops {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(into.len()).min(70_001);
            if count == 0
                && let Some(kind) = self.1
            {
                return Err(kind.into());
            }
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    #[tokio::test]
    async fn all_of_it_comes_in_order() {
        let all: Vec<u8> = (0..5_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[2]).collect();
        let mut body = body(Drops(all.clone(), None));
        let mut got = Vec::new();
        while let Some(frame) = body.frame().await {
            let bytes = frame.unwrap().into_data().unwrap();
            assert!(bytes.len() == PIECE_BYTES || got.len() + bytes.len() == all.len());
            got.extend_from_slice(&bytes);
        }
        assert!(got == all);
        assert!(super::body(io::empty()).frame().await.is_none());
    }

    #[tokio::test]
    async fn an_error_ends_it_and_a_sender_that_goes_ends_the_reading() {
        let mut broken = body(Drops(vec![1; 10], Some(io::ErrorKind::BrokenPipe)));
        let error = broken.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(broken.frame().await.is_none());
        // The runtime waits for its threads when it ends: this test would hang.
        let mut endless = body(io::repeat(1));
        assert!(endless.frame().await.unwrap().is_ok());
    }
}
