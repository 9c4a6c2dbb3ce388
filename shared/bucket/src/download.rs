//! The content of an object, written to a file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use flate2::write::MultiGzDecoder;
use flux_http::ReadError;
use futures::StreamExt as _;
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use tokio::io::AsyncWriteExt as _;

use crate::error::Error;

/// The most bytes that wait in memory to be written to one file.
const BUFFER: usize = 64 << 10;
/// The mode of files (SC-BKT-067).
const MODE: u32 = 0o600;

/// An object whose content is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The ETag of this content, in the form that lists have.
    pub etag: String,
    /// The bytes of the file.
    pub size: u64,
}

/// The bytes that several downloads may write together.
#[derive(Debug)]
pub struct Room {
    limit: u64,
    left: AtomicU64,
}

impl Room {
    /// Room for `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            left: AtomicU64::new(limit),
        }
    }

    /// Takes room for some bytes.
    ///
    /// # Errors
    /// There is less.
    pub fn take(&self, bytes: u64) -> Result<(), Error> {
        let rest = |left: u64| left.checked_sub(bytes);
        let taken = self.left.fetch_update(Relaxed, Relaxed, rest);
        taken.map(|_| ()).map_err(|_| Error::TooLarge(self.limit))
    }
}

/// Whether a content that is stored compressed is unpacked, as Go's client does unless it is told not to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compressed {
    Kept,
    Unpacked,
}

/// Writes the body of a response to a file, as far as there is room, and returns its size.
pub(crate) async fn save(
    response: Response,
    file: &Path,
    room: &Room,
    compressed: Compressed,
) -> Result<u64, Error> {
    let encoding = response.headers().get(CONTENT_ENCODING);
    let is_gzip = encoding.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(MODE);
    let mut output = options.open(file).await.map_err(Error::Write)?;
    output.set_max_buf_size(BUFFER);
    let (mut size, mut pieces) = (0, response.bytes_stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(ReadError::from)?;
        size += piece.len() as u64;
        room.take(piece.len() as u64)?;
        output.write_all(&piece).await.map_err(Error::Write)?;
    }
    output.flush().await.map_err(Error::Write)?;
    drop(output);
    if is_gzip && compressed == Compressed::Unpacked {
        let (file, limit) = (file.to_owned(), room.limit);
        let unpacking = tokio::task::spawn_blocking(move || unpack(&file, limit));
        let unpacked = unpacking.await.map_err(|_| Error::Task)??;
        room.take(unpacked.saturating_sub(size))?;
        return Ok(unpacked);
    }
    Ok(size)
}

/// Replaces a compressed file by its content.
fn unpack(file: &Path, limit: u64) -> Result<u64, Error> {
    let mut packed = File::open(file).map_err(Error::Write)?;
    std::fs::remove_file(file).map_err(Error::Write)?;
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, MODE);
    let output = options.write(true).create_new(true).open(file);
    let output = Limited {
        file: output.map_err(Error::Write)?,
        left: limit,
        full: false,
    };
    let mut decoder = MultiGzDecoder::new(output);
    let copied = io::copy(&mut packed, &mut decoder).and_then(|_| decoder.try_finish());
    let output = decoder.get_ref();
    match copied {
        Ok(()) => Ok(limit - output.left),
        Err(_) if output.full => Err(Error::TooLarge(limit)),
        Err(error) => Err(Error::Response(format!("the content is not gzip: {error}"))),
    }
}

/// A file with a limit.
struct Limited {
    file: File,
    left: u64,
    full: bool,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.file.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn downloads_share_their_room() {
        let room = Room::new(10);
        room.take(6).unwrap();
        assert!(matches!(room.take(5), Err(Error::TooLarge(10))));
        room.take(4).unwrap();
    }

    #[test]
    fn compressed_content_is_unpacked_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("0");
        let pack = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&[b'x'; 1000]).unwrap();
            fs::write(&file, encoder.finish().unwrap()).unwrap();
        };
        pack();
        assert_eq!(unpack(&file, 1000).unwrap(), 1000);
        assert_eq!(fs::read(&file).unwrap(), [b'x'; 1000]);
        pack();
        assert!(matches!(unpack(&file, 999), Err(Error::TooLarge(999))));
        fs::write(&file, "plain").unwrap();
        assert!(matches!(unpack(&file, 999), Err(Error::Response(_))));
    }
}
