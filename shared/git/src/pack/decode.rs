//! Reads objects of a pack from disk.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::{Decompress, FlushDecompress, Status};
use flux_budget::{Claim, Recent};
use gix::hash::ObjectId;

use super::receive::{corrupt, storage};
use super::{Entry, Pack, delta};
use crate::error::Fault;
use crate::memory::Portion;

/// The size of a disk read, in bytes.
const BUFFER: usize = 32 * 1024;
/// The maximum number of objects cached as bases.
const CACHED_OBJECTS: usize = 64;
/// The maximum bytes of cached objects; a single one is cached whatever its size.
const CACHED_BYTES: u64 = 16 << 20;
/// The memory overhead of an object in bytes.
const OVERHEAD: usize = 256;

/// An object's content in memory.
#[derive(Debug)]
pub struct Content {
    bytes: Vec<u8>,
    _portion: Portion,
}

impl Content {
    /// An empty content with a capacity of `size` bytes.
    fn with_capacity(claim: &Arc<Claim>, size: u32) -> Result<Self, Fault> {
        let portion = Portion::take(claim, "contents of one object", size as usize + OVERHEAD)?;
        Ok(Self {
            bytes: Vec::with_capacity(size as usize + 1), // see `inflate`
            _portion: portion,
        })
    }

    /// Empty content.
    pub(crate) fn empty(claim: &Arc<Claim>) -> Result<Arc<Self>, Fault> {
        Self::with_capacity(claim, 0).map(Arc::new)
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reconstructs objects, and caches the last ones as bases of others.
pub(crate) struct Decoder {
    claim: Arc<Claim>,
    window: Window,
    inflater: Decompress,
    cache: Recent<u32, Arc<Content>>,
    stop: Option<Arc<AtomicBool>>,
}

impl Decoder {
    /// If `stop` is given, work ends soon after it is set.
    pub(crate) fn new(claim: &Arc<Claim>, stop: Option<Arc<AtomicBool>>) -> Self {
        Self {
            stop,
            claim: Arc::clone(claim),
            window: Window::default(),
            inflater: Decompress::new(true),
            cache: Recent::new(CACHED_BYTES).at_most(CACHED_OBJECTS),
        }
    }

    /// The content of an object of `pack`; `None` if it does not exist.
    pub(crate) fn find(
        &mut self,
        pack: &Pack,
        id: &ObjectId,
    ) -> Result<Option<Arc<Content>>, Fault> {
        pack.position(id)
            .map(|number| self.object(&pack.file, &pack.entries, number))
            .transpose()
    }

    /// The content of an entry's object.
    pub(super) fn object(
        &mut self,
        file: &File,
        entries: &[Entry],
        number: u32,
    ) -> Result<Arc<Content>, Fault> {
        let entry = |number: u32| entries.get(number as usize).copied();
        let missing = || corrupt("the base of a delta is missing");
        let mut chain = Vec::new();
        let mut at = number;
        let mut content = loop {
            if let Some(known) = self.cached(at) {
                break known;
            }
            let found = entry(at).ok_or_else(missing)?;
            if found.is_whole() {
                let whole = self.retry_without_caches(|this| this.inflate(file, &found))?;
                let whole = Arc::new(whole);
                if !chain.is_empty() {
                    self.keep(at, &whole);
                }
                break whole;
            }
            chain.push(at);
            at = found.base;
        };
        while let Some(next) = chain.pop() {
            let found = entry(next).ok_or_else(missing)?;
            let applied = self.retry_without_caches(|this| {
                let delta = this.inflate(file, &found)?;
                let mut applied = Content::with_capacity(&this.claim, found.size)?;
                let size = found.size as usize;
                delta::apply(&content, &delta, size, &mut applied.bytes)
                    .ok_or_else(|| corrupt("a delta does not fit its base"))?;
                Ok(applied)
            })?;
            content = Arc::new(applied);
            self.keep(next, &content);
        }
        Ok(content)
    }

    /// Runs work that needs memory; if that does not fit, clears the caches and retries once.
    fn retry_without_caches(
        &mut self,
        work: impl Fn(&mut Self) -> Result<Content, Fault>,
    ) -> Result<Content, Fault> {
        match work(self) {
            Err(Fault::Memory { .. }) if !self.cache.is_empty() => {
                self.cache.clear();
                work(self)
            }
            done => done,
        }
    }

    fn inflate(&mut self, file: &File, entry: &Entry) -> Result<Content, Fault> {
        let mut content = Content::with_capacity(&self.claim, entry.stored)?;
        let size = entry.stored as usize;
        // With one spare byte the inflater reaches the end of its input.
        content.bytes.resize(size + 1, 0);
        self.inflater.reset(true);
        let mut at = entry.offset;
        let mut filled = 0;
        loop {
            self.check()?;
            let input = self.window.at(file, at)?;
            let target = &mut content.bytes[filled..];
            let (read, written, ended) = step(&mut self.inflater, input, target)?;
            at += read as u64;
            filled += written;
            if ended && filled == size {
                content.bytes.truncate(size);
                return Ok(content);
            }
            if ended || filled > size || (read == 0 && written == 0) {
                return Err(corrupt("an object has another size than it says"));
            }
        }
    }

    fn check(&self) -> Result<(), Fault> {
        match &self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(Fault::Cancelled),
            _ => Ok(()),
        }
    }

    fn cached(&mut self, number: u32) -> Option<Arc<Content>> {
        self.cache.get(&number).map(Arc::clone)
    }

    fn keep(&mut self, number: u32, content: &Arc<Content>) {
        let bytes = CACHED_BYTES.min(content.len() as u64);
        self.cache.insert(number, Arc::clone(content), bytes);
    }
}

/// Inflates once; returns the bytes read and written, and whether the stream has ended.
fn step(
    inflater: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
) -> Result<(usize, usize, bool), Fault> {
    let (read, written) = (inflater.total_in(), inflater.total_out());
    let status = inflater
        .decompress(input, output, FlushDecompress::None)
        .map_err(|error| corrupt(&error.to_string()))?;
    let read = (inflater.total_in() - read) as usize;
    let written = (inflater.total_out() - written) as usize;
    Ok((read, written, matches!(status, Status::StreamEnd)))
}

/// A part of the pack in memory: objects that are read one after the other are often adjacent.
#[derive(Default)]
struct Window {
    buffer: Vec<u8>,
    begin: u64,
    filled: usize,
}

impl Window {
    /// The file's content from `offset` on; empty only at its end.
    fn at(&mut self, file: &File, offset: u64) -> Result<&[u8], Fault> {
        let inside = offset
            .checked_sub(self.begin)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| *skip < self.filled);
        let skip = if let Some(skip) = inside {
            skip
        } else {
            self.buffer.resize(BUFFER, 0);
            self.begin = offset;
            self.filled = 0;
            self.filled = file
                .read_at(&mut self.buffer, offset)
                .map_err(|error| storage(&error))?;
            0
        };
        Ok(&self.buffer[skip..self.filled])
    }
}

/// An object's content as a stream.
pub struct Stream(Source);

enum Source {
    Whole {
        pack: Arc<Pack>,
        window: Window,
        inflater: Box<Decompress>,
        at: u64,
        left: u64,
    },
    Memory {
        content: Arc<Content>,
        at: usize,
    },
}

impl Stream {
    /// Opens an object; `None` if it does not exist.
    pub(crate) fn open(
        pack: &Arc<Pack>,
        decoder: &mut Decoder,
        id: &ObjectId,
    ) -> Result<Option<Self>, Fault> {
        let Some(number) = pack.position(id) else {
            return Ok(None);
        };
        let Some(entry) = pack.entries.get(number as usize) else {
            return Ok(None);
        };
        if !entry.is_whole() || entry.stored as usize <= BUFFER {
            let content = decoder.object(&pack.file, &pack.entries, number)?;
            return Ok(Some(Self::of(content)));
        }
        Ok(Some(Self(Source::Whole {
            pack: Arc::clone(pack),
            window: Window::default(),
            inflater: Box::new(Decompress::new(true)),
            at: entry.offset,
            left: u64::from(entry.size),
        })))
    }

    pub(crate) fn of(content: Arc<Content>) -> Self {
        Self(Source::Memory { content, at: 0 })
    }

    /// The number of bytes left to read.
    pub fn remaining(&self) -> u64 {
        match &self.0 {
            Source::Whole { left, .. } => *left,
            Source::Memory { content, at } => (content.len() - at) as u64,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Memory { content, at } => {
                let rest = &content[*at..];
                let read = rest.len().min(buffer.len());
                buffer[..read].copy_from_slice(&rest[..read]);
                *at += read;
                Ok(read)
            }
            Source::Whole {
                pack,
                window,
                inflater,
                at,
                left,
            } => loop {
                if *left == 0 || buffer.is_empty() {
                    return Ok(0);
                }
                let input = window.at(&pack.file, *at).map_err(io::Error::other)?;
                let (read, written, ended) =
                    step(inflater, input, buffer).map_err(io::Error::other)?;
                *at += read as u64;
                let rest = left.checked_sub(written as u64);
                if rest.is_none_or(|rest| ended && rest > 0) || (read == 0 && written == 0) {
                    let error = corrupt("an object has another size than it says");
                    return Err(io::Error::other(error));
                }
                *left = rest.unwrap_or_default();
                if written > 0 {
                    return Ok(written);
                }
            },
        }
    }
}
