//! The layout of an index in JSON, by its brackets.

use std::io::{self, BufRead};
use std::ops::Range;

use flux_budget::{Claim, Exhausted};

use super::{Form, Layout, MAX_HEADER, Place, claim_chart};
use crate::index::IndexError;

/// Why a text was not scanned to its end.
#[derive(Debug)]
pub(super) enum Ended {
    Read(io::Error),
    Memory(Exhausted),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Exhausted> for Ended {
    fn from(error: Exhausted) -> Self {
        Self::Memory(error)
    }
}

impl From<Ended> for IndexError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Read(error) => Self::Read(error),
            Ended::Memory(error) => Self::Memory(error),
        }
    }
}

/// The bytes of a text, one by one, with their position.
struct Bytes<'r, R> {
    input: &'r mut R,
    at: u64,
}

impl<R: BufRead> Bytes<'_, R> {
    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let next = self.peek()?;
        if next.is_some() {
            self.input.consume(1);
            self.at += 1;
        }
        Ok(next)
    }

    /// The next byte that is no blank.
    fn token(&mut self) -> io::Result<Option<u8>> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek()? {
            self.next()?;
        }
        self.peek()
    }

    /// Skips the token if it is this one.
    fn skip(&mut self, wanted: u8) -> io::Result<bool> {
        let found = self.token()? == Some(wanted);
        if found {
            self.next()?;
        }
        Ok(found)
    }

    /// A key with its quotes, up to [`MAX_HEADER`] bytes.
    fn key(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        if self.token()? != Some(b'"') {
            return Ok(None);
        }
        let mut escaped = false;
        while let Some(byte) = self.next()? {
            text.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' if text.len() > 1 => return Ok(Some(text)),
                _ if text.len() > MAX_HEADER => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Passes a value in the pieces in which it is read, and returns where it was.
    fn value(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<Range<u64>> {
        self.token()?;
        let begin = self.at;
        let (mut depth, mut quoted, mut escaped) = (0_u64, false, false);
        loop {
            let piece = self.input.fill_buf()?;
            let end = piece.iter().position(|byte| {
                if quoted {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => quoted = false,
                        _ => {}
                    }
                    return false;
                }
                match byte {
                    b'"' => quoted = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' | b',' if depth == 0 => return true,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                false
            });
            let length = end.unwrap_or(piece.len());
            each(piece.get(..length).unwrap_or_default());
            let is_last = end.is_some() || piece.is_empty();
            self.input.consume(length);
            self.at += length as u64;
            if is_last {
                return Ok(begin..self.at);
            }
        }
    }

    /// Passes the comma after a member, if there is one: whether the object goes on or ends as it should.
    fn comma(&mut self) -> io::Result<bool> {
        let comma = self.skip(b',')?;
        let closes = self.token()? == Some(b'}');
        Ok(comma != closes)
    }
}

/// Scans the text. An object with a key twice has no layout.
pub(super) fn find(input: &mut impl BufRead, claim: &Claim) -> Result<Option<Layout>, Ended> {
    let mut bytes = Bytes { input, at: 0 };
    let mut header = vec![b'{'];
    let mut charts = None;
    if !bytes.skip(b'{')? {
        return Ok(None);
    }
    while bytes.token()? != Some(b'}') {
        let Some(key) = bytes.key()? else {
            return Ok(None);
        };
        if !bytes.skip(b':')? {
            return Ok(None);
        }
        if key.eq_ignore_ascii_case(b"\"entries\"") {
            let found = entries(&mut bytes, claim)?;
            if charts.is_some() || found.is_none() || key != b"\"entries\"" {
                return Ok(None);
            }
            charts = found;
        } else {
            if header.len() > 1 {
                header.push(b',');
            }
            header.extend(key);
            header.push(b':');
            let mut fits = true;
            bytes.value(|piece| {
                fits = fits && header.len() + piece.len() <= MAX_HEADER;
                if fits {
                    header.extend(piece);
                }
            })?;
            if !fits {
                return Ok(None);
            }
        }
        if !bytes.comma()? {
            return Ok(None);
        }
    }
    bytes.next()?;
    header.push(b'}');
    let ends = bytes.token()?.is_none();
    let form = Form::Json;
    Ok(ends.then_some(Layout {
        form,
        header,
        charts,
    }))
}

/// The charts in the value of `entries`, if it is an object.
fn entries(
    bytes: &mut Bytes<'_, impl BufRead>,
    claim: &Claim,
) -> Result<Option<Vec<Place>>, Ended> {
    let mut charts = Vec::new();
    if !bytes.skip(b'{')? {
        return Ok(None);
    }
    while bytes.token()? != Some(b'}') {
        let Some(key) = bytes.key()? else {
            return Ok(None);
        };
        let name = flux_yaml::json::from_str(&key).ok();
        let Some(name) = name.and_then(|name| name.as_str().map(str::to_owned)) else {
            return Ok(None);
        };
        if !bytes.skip(b':')? {
            return Ok(None);
        }
        claim_chart(claim, &name)?;
        charts.push((name, bytes.value(|_| {})?));
        if !bytes.comma()? {
            return Ok(None);
        }
    }
    bytes.next()?;
    Ok(Some(charts))
}
