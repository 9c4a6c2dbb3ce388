//! The first pass over a pack: writes it to disk, finds its entries and hashes those that are not deltas.

use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};
use flux_budget::Claim;
use gix::objs::Kind;
use sha1::{Digest as _, Sha1};

use super::resolve::{self, References};
use super::{Entry, Pack, WHOLE, delta};
use crate::error::Fault;
use crate::memory::ClaimedVec;
use crate::session::Session;
use crate::wire::read_some;

/// The size of a read, in bytes.
const BUFFER: usize = 64 * 1024;
/// The bytes of a delta that are read for the sizes at its start.
const DELTA_HEAD: usize = 20;

pub(super) fn corrupt(text: &str) -> Fault {
    Fault::Corrupt(format!("the pack is damaged: {text}"))
}

pub(super) fn storage(error: &std::io::Error) -> Fault {
    Fault::Storage(error.to_string())
}

/// Reads a pack to its end, writes it to `file`, and finds and verifies its objects, each of at most `limit` bytes.
pub(crate) fn receive(
    input: &mut dyn Read,
    file: File,
    limit: usize,
    session: &Session,
    claim: &Arc<Claim>,
) -> Result<Pack, Fault> {
    let mut pass = Pass {
        feed: Feed::new(input, &file),
        session,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        inflater: Decompress::new(true),
        piece: vec![0; BUFFER],
        entries: ClaimedVec::new(claim, "objects"),
        references: ClaimedVec::new(claim, "objects"),
        starts: ClaimedVec::new(claim, "objects"),
    };
    pass.run()?;
    let Pass {
        entries,
        references,
        ..
    } = pass;
    resolve::resolve(file, entries, references, session, claim)
}

struct Pass<'a> {
    feed: Feed<'a>,
    session: &'a Session,
    limit: u32,
    inflater: Decompress,
    /// The last inflated piece.
    piece: Vec<u8>,
    entries: ClaimedVec<Entry>,
    /// The deltas that refer to their bases by hash.
    references: References,
    /// Offsets of the entries, headers included.
    starts: ClaimedVec<u64>,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        let mut header = [0; 12];
        self.feed.read_exact(&mut header)?;
        let (magic, count) = header.split_at(8);
        if magic != b"PACK\0\0\0\x02" && magic != b"PACK\0\0\0\x03" {
            return Err(corrupt("it does not begin as one"));
        }
        let count = count.try_into().map_or(0, u32::from_be_bytes);
        for _ in 0..count {
            self.session.check()?;
            self.entry()?;
        }
        let expected = self.feed.hash.clone().finalize();
        let mut trailer = [0; 20];
        self.feed.read_exact(&mut trailer)?;
        if trailer != expected[..] {
            return Err(corrupt("its checksum does not match"));
        }
        self.feed.flush()
    }

    fn entry(&mut self) -> Result<(), Fault> {
        let start = self.feed.offset;
        let (kind, stored) = self.header()?;
        let number = u32::try_from(self.entries.len()).map_err(|_| corrupt("too many objects"))?;
        let mut entry = Entry {
            id: [0; 20],
            offset: 0,
            stored,
            size: stored,
            base: WHOLE,
            depth: 0,
            kind: Kind::Blob,
        };
        match kind {
            1..=4 => {
                entry.kind = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag][kind as usize - 1];
                entry.offset = self.feed.offset;
                entry.id = self.whole(entry.kind, stored)?;
            }
            6 | 7 => {
                if kind == 6 {
                    entry.base = self.nearby_base(start)?;
                } else {
                    let mut id = [0; 20];
                    self.feed.read_exact(&mut id)?;
                    self.references.push((id, number), 0)?;
                    entry.base = WHOLE - 1; // known when the object of this hash is
                }
                entry.offset = self.feed.offset;
                entry.size = self.delta_size(stored)?;
            }
            _ => return Err(corrupt("it has an object of unknown kind")),
        }
        self.starts.push(start, 0)?;
        self.entries.push(entry, 0)
    }

    /// The kind of an entry and the size of its data.
    fn header(&mut self) -> Result<(u8, u32), Fault> {
        let mut byte = self.feed.byte()?;
        let kind = byte >> 4 & 7;
        let mut size = u64::from(byte & 15);
        let mut shift = 4;
        while byte & 0x80 != 0 {
            if shift > 57 {
                return Err(corrupt("a size has too many digits"));
            }
            byte = self.feed.byte()?;
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        Ok((kind, self.within_limit(size)?))
    }

    fn within_limit(&self, size: u64) -> Result<u32, Fault> {
        u32::try_from(size)
            .ok()
            .filter(|size| *size <= self.limit)
            .ok_or(Fault::TooLarge {
                limit: u64::from(self.limit),
                unit: "bytes in one object",
            })
    }

    /// The base of a delta that refers to it by its distance in the pack.
    fn nearby_base(&mut self, start: u64) -> Result<u32, Fault> {
        let mut byte = self.feed.byte()?;
        let mut distance = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.feed.byte()?;
            distance = distance
                .checked_add(1)
                .and_then(|distance| distance.checked_mul(128))
                .ok_or_else(|| corrupt("a distance has too many digits"))?
                | u64::from(byte & 0x7f);
        }
        let base = start
            .checked_sub(distance)
            .and_then(|at| self.starts.binary_search(&at).ok())
            .and_then(|number| u32::try_from(number).ok());
        base.ok_or_else(|| corrupt("the base of a delta is missing"))
    }

    /// Hashes an object that is stored whole (with Git's detection of SHA-1 collisions).
    fn whole(&mut self, kind: Kind, size: u32) -> Result<[u8; 20], Fault> {
        let mut hash = resolve::Hash::new(kind, size);
        self.inflate(size, |piece| hash.update(piece))?;
        hash.finish()
    }

    /// The size of a delta's result.
    fn delta_size(&mut self, stored: u32) -> Result<u32, Fault> {
        let mut head = Vec::with_capacity(DELTA_HEAD);
        self.inflate(stored, |piece| {
            let room = DELTA_HEAD - head.len();
            head.extend_from_slice(&piece[..piece.len().min(room)]);
        })?;
        let (_, size) = delta::sizes(&head).ok_or_else(|| corrupt("a delta has no sizes"))?;
        self.within_limit(size)
    }

    fn inflate(&mut self, size: u32, mut sink: impl FnMut(&[u8])) -> Result<(), Fault> {
        self.inflater.reset(true);
        let mut left = size as usize;
        loop {
            let input = self.feed.available()?;
            let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
            let status = self
                .inflater
                .decompress(input, &mut self.piece, FlushDecompress::None);
            let status = status.map_err(|error| corrupt(&error.to_string()))?;
            let read = (self.inflater.total_in() - read) as usize;
            let written = (self.inflater.total_out() - written) as usize;
            left = left
                .checked_sub(written)
                .ok_or_else(|| corrupt("an object is longer than it says"))?;
            sink(&self.piece[..written]);
            self.feed.consume(read);
            match status {
                Status::StreamEnd if left == 0 => return Ok(()),
                Status::StreamEnd => return Err(corrupt("an object is shorter than it says")),
                Status::Ok | Status::BufError if read == 0 && written == 0 => {
                    return Err(corrupt("its compressed data is invalid"));
                }
                Status::Ok | Status::BufError => self.session.check()?,
            }
        }
    }
}

/// The pack's bytes, written to disk as they arrive and hashed as they are consumed.
struct Feed<'a> {
    input: &'a mut dyn Read,
    file: &'a File,
    buffer: Vec<u8>,
    /// The unconsumed part of the buffer.
    unread: std::ops::Range<usize>,
    /// The offset of the unconsumed part in the pack.
    offset: u64,
    hash: Sha1,
}

impl<'a> Feed<'a> {
    fn new(input: &'a mut dyn Read, file: &'a File) -> Self {
        Self {
            input,
            file,
            buffer: vec![0; BUFFER],
            unread: 0..0,
            offset: 0,
            hash: Sha1::new(),
        }
    }

    /// The bytes that can be consumed, never empty.
    fn available(&mut self) -> Result<&[u8], Fault> {
        if self.unread.is_empty() {
            let mut filled = 0;
            // Combine small reads from the connection into large writes.
            while filled < self.buffer.len() / 2 {
                match read_some(self.input, &mut self.buffer[filled..])? {
                    0 => break,
                    read => filled += read,
                }
            }
            if filled == 0 {
                return Err(corrupt("it ends too early"));
            }
            self.file
                .write_all(&self.buffer[..filled])
                .map_err(|error| storage(&error))?;
            self.unread = 0..filled;
        }
        Ok(&self.buffer[self.unread.clone()])
    }

    fn consume(&mut self, count: usize) {
        let consumed = self.unread.start..self.unread.start + count;
        self.hash.update(&self.buffer[consumed]);
        self.unread.start += count;
        self.offset += count as u64;
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = self.available()?.first().copied().unwrap_or_default();
        self.consume(1);
        Ok(byte)
    }

    fn read_exact(&mut self, target: &mut [u8]) -> Result<(), Fault> {
        for place in target {
            *place = self.byte()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.file.flush().map_err(|error| storage(&error))
    }
}
