//! Response bodies assembled from pieces of a file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::task::spawn_blocking;

use super::range::Range;

/// How much of a file is read at once. For a client that reads nothing, at most three of these are held.
const PORTION: u64 = 8 * 1024;

/// The body of a response.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A part of a body.
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

pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn text(text: String) -> Body {
    Full::from(text)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Streams the parts in order. If the file has become shorter, the response is aborted.
pub(super) fn stream(file: Arc<File>, parts: Vec<Part>) -> Body {
    let state = Sending {
        file,
        parts: parts.into(),
        rest: Range {
            start: 0,
            length: 0,
        },
    };
    let portions = stream::try_unfold(state, Sending::next);
    StreamBody::new(portions.map_ok(Frame::data).boxed()).boxed_unsync()
}

struct Sending {
    file: Arc<File>,
    parts: VecDeque<Part>,
    /// The unread rest of the current part.
    rest: Range,
}

impl Sending {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        while self.rest.length == 0 {
            match self.parts.pop_front() {
                None => return Ok(None),
                Some(Part::Text(text)) => return Ok(Some((text.into(), self))),
                Some(Part::File(range)) => self.rest = range,
            }
        }
        let (file, start) = (self.file.clone(), self.rest.start);
        let length = self.rest.length.min(PORTION) as usize;
        let read = spawn_blocking(move || {
            let mut portion = vec![0; length];
            let count = file.read_at(&mut portion, start)?;
            portion.truncate(count);
            Ok::<_, io::Error>(portion)
        });
        let portion = read.await.map_err(io::Error::other)??;
        if portion.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest.start += portion.len() as u64;
        self.rest.length -= portion.len() as u64;
        Ok(Some((portion.into(), self)))
    }
}
