//! Response bodies made of pieces of a file.

use std::{collections::VecDeque, io::SeekFrom};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::stream;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};

use super::range::Range;

/// How much of a file is in memory at once.
const PORTION: u64 = 64 * 1024;

/// A piece of a body.
pub(super) enum Part {
    Text(String),
    File(Range),
}

impl Part {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(range) => range.length,
        }
    }
}

/// The pieces one after the other. A file that has become shorter breaks the response off.
pub(super) fn stream(file: File, parts: Vec<Part>) -> Body {
    let state = Sending {
        file,
        parts: parts.into(),
        left: 0,
    };
    Body::from_stream(stream::try_unfold(state, Sending::next))
}

struct Sending {
    file: File,
    parts: VecDeque<Part>,
    /// What is still to be read of the piece begun.
    left: u64,
}

impl Sending {
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        while self.left == 0 {
            match self.parts.pop_front() {
                None => return Ok(None),
                Some(Part::Text(text)) => return Ok(Some((text.into(), self))),
                Some(Part::File(range)) => {
                    self.file.seek(SeekFrom::Start(range.start)).await?;
                    self.left = range.length;
                }
            }
        }
        let mut portion = BytesMut::with_capacity(self.left.min(PORTION) as usize);
        let read = (&mut self.file)
            .take(self.left)
            .read_buf(&mut portion)
            .await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(Some((portion.freeze(), self)))
    }
}
