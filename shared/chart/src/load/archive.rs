//! Reads the files of a chart archive.

use std::borrow::Cow;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flux_golang::path;
use jiff::Timestamp;
use tar::{Archive, Entries, Entry, EntryType};

use super::{LoadError, MAX_CHART_BYTES, MAX_ENTRIES, gunzip};
use crate::{File, Time};

/// Maximum bytes of the tar stream besides the files' content: headers, padding, names.
pub(super) const MAX_FRAMING_BYTES: u64 = 128 * 1024 * 1024;
/// The bits of a mode with the type of the file, and their value for a folder.
const MODE_KIND: u32 = !0o7777;
const MODE_DIRECTORY: u32 = 0o040_000;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads a `.tgz`. The names of the files are paths relative to the archive's only folder (HE-LOAD-001).
pub(super) fn files(bytes: &[u8]) -> Result<Vec<File>, LoadError> {
    if !bytes.starts_with(b"\x1f\x8b") {
        return Err(LoadError::Gzip(if bytes.is_empty() {
            "EOF"
        } else {
            "gzip: invalid header"
        }));
    }
    // On any error the streaming reader runs and reports it.
    if let Some(Ok(files)) = gunzip::plain(bytes).map(|stream| slices(&stream.into())) {
        return Ok(files);
    }
    let unzipped = MultiGzDecoder::new(bytes).take(MAX_CHART_BYTES + MAX_FRAMING_BYTES);
    let mut archive = Archive::new(unzipped);
    read(archive.entries(), |entry, size| {
        let mut data = Vec::with_capacity(size as usize);
        entry.take(size).read_to_end(&mut data)?;
        Ok(data.into())
    })
}

/// The files as slices of the decompressed stream, without copying them.
fn slices(stream: &Bytes) -> Result<Vec<File>, LoadError> {
    let mut archive = Archive::new(Within(Cursor::new(stream.as_ref())));
    read(archive.entries_with_seek(), |entry, size| {
        let start = entry.raw_file_position();
        let end = start.saturating_add(size);
        // The content of a sparse file is not contiguous.
        let whole = entry.header().entry_type() != EntryType::GNUSparse;
        if whole && end <= stream.len() as u64 {
            Ok(stream.slice(start as usize..end as usize))
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    })
}

/// Bytes in which a seek beyond the end fails, as a read there would.
struct Within<'b>(Cursor<&'b [u8]>);

impl Read for Within<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Within<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = self.0.seek(to)?;
        if at > self.0.get_ref().len() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(at)
    }
}

/// Processes the entries; `content` returns the content of an entry of this size.
fn read<'a, R: Read + 'a>(
    entries: io::Result<Entries<'a, R>>,
    mut content: impl FnMut(&mut Entry<'_, R>, u64) -> io::Result<Bytes>,
) -> Result<Vec<File>, LoadError> {
    let mut files = Vec::new();
    let mut left = MAX_CHART_BYTES;
    for (count, entry) in entries.map_err(LoadError::Tar)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(LoadError::TooManyEntries);
        }
        let mut entry = entry.map_err(LoadError::Tar)?;
        if let Some(file) = file(&mut entry, &mut left, &mut content)? {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(LoadError::Empty);
    }
    Ok(files)
}

fn file<R: Read>(
    entry: &mut Entry<'_, R>,
    left: &mut u64,
    content: &mut impl FnMut(&mut Entry<'_, R>, u64) -> io::Result<Bytes>,
) -> Result<Option<File>, LoadError> {
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    if is_directory(entry, &path) || is_extension(entry.header().entry_type()) {
        return Ok(None);
    }
    let name = chart_path(&path)?;
    let size = match entry.header().entry_type() {
        // Only these types have content (HE-LOAD-004).
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => entry.size(),
        kind if !is_header_only(kind) => entry.size(),
        _ => 0,
    };
    if size > *left {
        return Err(LoadError::ChartTooLarge);
    }
    let data = content(entry, size).map_err(LoadError::Tar)?;
    *left -= data.len() as u64;
    if (data.len() as u64) < size || *left == 0 {
        return Err(LoadError::ChartTooLarge);
    }
    Ok(Some(File {
        name,
        data: without_bom(data),
        mod_time: mod_time(entry).map_err(LoadError::Tar)?,
    }))
}

/// The content without a leading UTF-8 byte order mark (HE-LOAD-005).
pub(super) fn without_bom(data: Bytes) -> Bytes {
    if data.starts_with(BOM) {
        data.slice(BOM.len()..)
    } else {
        data
    }
}

pub(super) fn is_directory<R: Read>(entry: &Entry<'_, R>, path: &str) -> bool {
    let header = entry.header();
    let old_style = header.as_bytes().get(156) == Some(&0) && path.ends_with('/');
    let by_mode = header
        .mode()
        .is_ok_and(|mode| mode & MODE_KIND == MODE_DIRECTORY);
    header.entry_type() == EntryType::Directory || old_style || by_mode
}

pub(super) fn is_extension(kind: EntryType) -> bool {
    matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader)
}

fn is_header_only(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

/// The path relative to the chart's folder, whatever the name of that, if a chart may have the path (HE-LOAD-003).
pub(super) fn chart_path(path: &str) -> Result<String, LoadError> {
    // Archives created on Windows may use backslashes.
    let delimiter = if path.contains('\\') { '\\' } else { '/' };
    let (folder, below) = path.split_once(delimiter).unwrap_or((path, ""));
    let below = match delimiter {
        '/' => Cow::Borrowed(below),
        other => Cow::Owned(below.replace(other, "/")),
    };
    if below.starts_with('/') {
        return Err(LoadError::AbsolutePath);
    }
    let name = path::clean(&*below);
    if name == "." {
        return Err(LoadError::OutsideBase(path.to_owned()));
    }
    if name.starts_with("..") {
        return Err(LoadError::ParentPath);
    }
    if let [drive, b':', b'/', ..] = name.as_bytes()
        && drive.is_ascii_alphabetic()
    {
        return Err(LoadError::IllegalName);
    }
    if folder == "Chart.yaml" {
        return Err(LoadError::ChartYamlOutside);
    }
    Ok(name)
}

/// The modification time, from the pax record if there is one.
fn mod_time<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Time> {
    let seconds = entry.header().mtime()?;
    let mut instant = Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).ok();
    if let Some(records) = entry.pax_extensions()? {
        for record in records.flatten() {
            if record.key() == Ok("mtime")
                && let Some(time) = record.value().ok().and_then(pax_time)
            {
                instant = Some(time);
            }
        }
    }
    Ok(instant.map_or_else(Time::zero, Time::at))
}

/// Parses seconds with an optional fraction.
fn pax_time(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: i32 = nanoseconds.parse().ok()?;
    let sign = if seconds.starts_with('-') { -1 } else { 1 };
    Timestamp::new(seconds.parse().ok()?, nanoseconds * sign).ok()
}

#[cfg(test)]
mod tests {
    use super::slices;

    #[test]
    fn the_files_of_an_ordinary_archive_are_not_copied() {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, size) in [("web/Chart.yaml", 20), ("web/a", 700), ("web/b", 0)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(size as u64);
            header.set_mode(0o644);
            let content = vec![b'#'; size];
            archive.append_data(&mut header, name, &*content).unwrap();
        }
        let stream = archive.into_inner().unwrap().into();
        let files = slices(&stream).unwrap();
        let sizes: Vec<usize> = files.iter().map(|file| file.data.len()).collect();
        assert_eq!(sizes, [20, 700, 0]);
        let within = stream.as_ptr_range();
        for file in files.iter().filter(|file| !file.data.is_empty()) {
            assert!(within.contains(&file.data.as_ptr()), "{}", file.name);
        }
    }
}
