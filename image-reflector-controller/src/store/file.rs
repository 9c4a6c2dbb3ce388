//! The file of a repository's tags: plain or compressed, whichever the last write chose.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::time::SystemTime;

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use flux_budget::Claim;

use super::format::{make_folder, write_synced};
use super::{ReadFault, StoreError};

const PLAIN: &str = "tags.txt";
const COMPRESSED: &str = "tags.txt.gz";
/// The longest line, without its break (IR-DB-027).
const MAX_LINE: usize = 1023;
/// The most bytes of a repository's tags: a million of the longest.
const MAX_BYTES: u64 = 129_000_000;
/// The bytes that are read at once.
const PIECE: usize = 64 << 10;

/// The tags of the repository in this folder; `None` if there is no file. Of two files the newer counts, and the other one is
/// removed then (IR-DB-025), under the guard that `replacing` gives; one that vanishes is as if it never was there
/// (IR-DB-026).
pub(super) fn read<G>(
    folder: &Path,
    claim: &Claim,
    replacing: impl FnOnce() -> G,
) -> Result<Option<String>, StoreError> {
    let (plain, compressed) = (folder.join(PLAIN), folder.join(COMPRESSED));
    let (of_plain, of_compressed) = (modified(&plain)?, modified(&compressed)?);
    if of_plain.is_none() && of_compressed.is_none() {
        return Ok(None);
    }
    let [primary, fallback] = if of_plain > of_compressed {
        [plain, compressed]
    } else {
        [compressed, plain]
    };
    if let Some(lines) = read_file(&primary, claim)? {
        if of_plain.is_some() && of_compressed.is_some() {
            let _replacing = replacing();
            if modified(&fallback)? <= modified(&primary)? {
                // What cannot be removed is older still at the next read.
                let _ = fs::remove_file(&fallback);
            }
        }
        return Ok(Some(lines));
    }
    read_file(&fallback, claim)
}

fn modified(path: &Path) -> Result<Option<SystemTime>, StoreError> {
    let found = fs::metadata(path).and_then(|found| found.modified());
    match found {
        Ok(time) => Ok(Some(time)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(source) => Err(StoreError::Look {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn read_file(path: &Path, claim: &Claim) -> Result<Option<String>, StoreError> {
    let fault = |source| {
        StoreError::Read(ReadFault::File {
            path: path.display().to_string(),
            source,
        })
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    let mut reader: Box<dyn Read> = if path.ends_with(COMPRESSED) {
        Box::new(GzDecoder::new(io::BufReader::new(file)))
    } else {
        Box::new(file)
    };
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = reader.read(&mut piece).map_err(fault)?;
        if read == 0 {
            break;
        }
        if (bytes.len() + read) as u64 > MAX_BYTES {
            return Err(StoreError::Read(ReadFault::TooLarge(MAX_BYTES)));
        }
        claim.take(2 * read as u64)?; // a list that grows is copied
        bytes.extend_from_slice(&piece[..read]);
    }
    if bytes
        .split(|byte| *byte == b'\n')
        .any(|line| line.len() > MAX_LINE)
    {
        return Err(StoreError::Read(ReadFault::Line));
    }
    let lines = String::from_utf8(bytes);
    Ok(Some(lines.map_err(|_| StoreError::Read(ReadFault::Text))?))
}

/// Writes the tags of the repository in this folder, and removes everything else from it: the other file, and what killed
/// processes left (IR-DB-024).
pub(super) fn write(folder: &Path, lines: &[u8], compressed: bool) -> Result<(), StoreError> {
    let (name, content) = if compressed {
        (COMPRESSED, compress(lines).map_err(StoreError::Compress)?)
    } else {
        (PLAIN, lines.to_vec())
    };
    make_folder(folder).map_err(StoreError::Folder)?;
    write_synced(folder, name, &content).map_err(StoreError::Write)?;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() != name {
            let _ = super::format::remove_all(&entry.path());
        }
    }
    Ok(())
}

/// The bytes as gzip of the best compression, equal for equal bytes: without name and time (IR-DB-023).
fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().write(Vec::new(), Compression::best());
    writer.write_all(bytes)?;
    writer.finish()
}
