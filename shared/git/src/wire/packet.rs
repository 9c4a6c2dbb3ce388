//! Packet lines: pieces of up to 65,516 bytes, each prefixed by its length.

use std::io::{self, Read};

use crate::error::Fault;

/// The maximum length of a packet, its length field included.
const MAX_PACKET: usize = 65_520;
/// The maximum bytes of a server's message that an error shows.
const MAX_WORDS: usize = 1024;

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// A piece of data.
    Data(&'a [u8]),
    /// `0000`, the end of a message.
    Flush,
    /// `0001`, the end of a section.
    Delimiter,
    /// `0002`, the end of a response.
    ResponseEnd,
}

/// Reads packets, never beyond the end of one.
pub(crate) struct Packets<R> {
    input: R,
    buffer: Vec<u8>,
}

impl<R: Read> Packets<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::new(),
        }
    }

    /// The next packet; `None` at the end of the input. An `ERR` line becomes an error with its text.
    pub(crate) fn next(&mut self) -> Result<Option<Packet<'_>>, Fault> {
        let mut length = [0; 4];
        let read = fill(&mut self.input, &mut length)?;
        if read == 0 {
            return Ok(None);
        }
        let length = Some(&length[..])
            .filter(|_| read == length.len())
            .and_then(hex_length)
            .ok_or_else(malformed)?;
        match length {
            0 => return Ok(Some(Packet::Flush)),
            1 => return Ok(Some(Packet::Delimiter)),
            2 => return Ok(Some(Packet::ResponseEnd)),
            4..=MAX_PACKET => {}
            _ => return Err(malformed()),
        }
        self.buffer.resize(length - 4, 0);
        if fill(&mut self.input, &mut self.buffer)? < self.buffer.len() {
            return Err(truncated());
        }
        if self.buffer.starts_with(b"ERR ") {
            return Err(error_line(&self.buffer));
        }
        Ok(Some(Packet::Data(&self.buffer)))
    }

    /// The input after the last packet.
    pub(crate) fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// The data of the last packet.
    pub(crate) fn data(&self) -> &[u8] {
        &self.buffer
    }
}

/// A packet's data without its trailing newline.
pub(crate) fn line(data: &[u8]) -> &[u8] {
    data.strip_suffix(b"\n").unwrap_or(data)
}

/// The error for a truncated response.
pub(crate) fn truncated() -> Fault {
    Fault::Protocol("the server's answer ends too early: unexpected EOF".to_owned())
}

/// The server's message for an error, truncated to a length that fits a condition.
pub(crate) fn server_message(text: &[u8]) -> String {
    let cut = &text[..text.len().min(MAX_WORDS)];
    String::from_utf8_lossy(cut).trim().to_owned()
}

/// Converts a read error, which may carry the fault that caused it.
pub(crate) fn from_io(error: io::Error) -> Fault {
    error
        .downcast::<Fault>()
        .unwrap_or_else(|error| Fault::Connection(error.to_string()))
}

/// Upstream's text: usually an HTML page where a repository was expected.
fn malformed() -> Fault {
    Fault::Protocol("invalid pkt-len found".to_owned())
}

fn error_line(data: &[u8]) -> Fault {
    let text = server_message(data);
    if crate::protocol::says_not_found(&text) {
        Fault::RepositoryNotFound(String::new())
    } else {
        Fault::ErrorLine(text.strip_prefix("ERR").unwrap_or(&text).trim().to_owned())
    }
}

fn hex_length(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0, |sum, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(sum << 4 | value as usize)
    })
}

/// Reads until `buffer` is full or the input ends; returns the number of bytes read.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Fault> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(from_io(error)),
        }
    }
    Ok(filled)
}
