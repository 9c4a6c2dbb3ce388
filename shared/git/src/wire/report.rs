//! The response to a push: the server's report on each reference, and what its hooks wrote.

use std::io::{self, Read};

use super::Command;
use super::packet::{Packet, Packets, line, truncated};
use crate::error::Fault;

/// The maximum bytes of a report.
const MAX_REPORT: u64 = 1 << 20;
/// The maximum bytes of messages besides the report.
const MAX_MESSAGES: u64 = 8 << 20;
/// The bytes of messages that are kept for an error.
const MAX_KEPT: usize = 4096;
/// The maximum bytes of a message that an error shows.
const MAX_SHOWN: usize = 1024;

/// What the server says about a push.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Why the pack was rejected; `None` if it was accepted.
    pub(crate) unpack: Option<String>,
    /// The references on which the server reported, with the reason of a rejection.
    pub(crate) statuses: Vec<(String, Result<(), String>)>,
}

impl Report {
    /// Reads a report. Statuses of references that are not in `wanted` are skipped, so that memory is bounded by what
    /// was pushed.
    pub(crate) fn read<'a>(
        input: &mut impl Read,
        wanted: impl Fn(&str) -> bool + 'a,
    ) -> Result<Self, Fault> {
        let mut packets = Packets::new(Counted {
            input,
            left: MAX_REPORT,
        });
        let mut report = Self::default();
        let mut is_first = true;
        loop {
            let data = match packets.next()? {
                Some(Packet::Data(data)) => String::from_utf8_lossy(line(data)).into_owned(),
                Some(Packet::Flush) if !is_first => return Ok(report),
                Some(_) => return Err(malformed("it has no result")),
                None => return Err(truncated()),
            };
            if is_first {
                is_first = false;
                let Some(result) = data.strip_prefix("unpack ") else {
                    return Err(malformed("it does not begin with the result of unpacking"));
                };
                if result != "ok" {
                    report.unpack = Some(shown(result.as_bytes()));
                }
                continue;
            }
            let (word, rest) = data.split_once(' ').unwrap_or((&data, ""));
            let status = match word {
                "ok" => (rest, Ok(())),
                "ng" => {
                    let (name, reason) = rest.split_once(' ').unwrap_or((rest, "failed"));
                    (name, Err(shown(reason.as_bytes())))
                }
                // The second version describes what a hook changed.
                "option" => continue,
                _ => return Err(malformed("it has an unknown line")),
            };
            let known = report.statuses.iter().any(|(name, _)| name == status.0);
            if wanted(status.0) && !known {
                report.statuses.push((status.0.to_owned(), status.1));
            }
        }
    }

    /// The report of a server that does not make any: all is well.
    pub(crate) fn accepted(commands: &[Command]) -> Self {
        let statuses = commands.iter();
        Self {
            unpack: None,
            statuses: statuses
                .map(|command| (command.name.clone(), Ok(())))
                .collect(),
        }
    }

    /// The status of a reference: `None` if the server did not report on it.
    pub(crate) fn status(&self, name: &str) -> Option<Result<(), &str>> {
        let found = self.statuses.iter().find(|(known, _)| known == name);
        found.map(|(_, status)| status.as_ref().copied().map_err(String::as_str))
    }
}

/// The report's bytes, extracted from the side band; messages for the user are kept.
pub(crate) struct SideBand<R> {
    packets: Packets<R>,
    /// The unread part of the packet's data.
    unread: std::ops::Range<usize>,
    over: bool,
    left: u64,
    kept: Vec<u8>,
}

impl<R: Read> SideBand<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            packets: Packets::new(input),
            unread: 0..0,
            over: false,
            left: MAX_MESSAGES,
            kept: Vec::new(),
        }
    }

    /// What hooks and the server itself wrote for the user, cleaned; often empty.
    pub(crate) fn said(&self) -> String {
        shown(&self.kept)
    }

    /// Reads what comes after the report, up to the end of the response: hooks that run after the update may be stopped
    /// if their output is not read.
    pub(crate) fn drain(&mut self) {
        let mut rest = [0; 4096];
        let mut bytes = 0_u64;
        while let Ok(read @ 1..) = self.read(&mut rest) {
            bytes += read as u64;
            if bytes > MAX_REPORT {
                break;
            }
        }
    }

    fn advance(&mut self) -> Result<(), Fault> {
        while self.unread.is_empty() && !self.over {
            match self.packets.next()? {
                Some(Packet::Data([1, data @ ..])) => self.unread = 1..data.len() + 1,
                Some(Packet::Data([2, data @ ..])) => {
                    self.left =
                        self.left
                            .checked_sub(data.len() as u64 + 1)
                            .ok_or(Fault::TooLarge {
                                limit: MAX_MESSAGES,
                                unit: "bytes of messages of a push",
                            })?;
                    let room = (MAX_KEPT - self.kept.len()).min(data.len());
                    self.kept.extend_from_slice(&data[..room]);
                }
                Some(Packet::Data([3, data @ ..])) => return Err(Fault::Remote(shown(data))),
                Some(Packet::Data(_)) => {
                    return Err(Fault::Protocol("unknown side band".to_owned()));
                }
                Some(_) | None => self.over = true,
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for SideBand<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance().map_err(io::Error::other)?;
        let data = self.packets.data();
        let unread = data.get(self.unread.clone()).unwrap_or_default();
        let read = unread.len().min(buffer.len());
        buffer[..read].copy_from_slice(&unread[..read]);
        self.unread.start += read;
        Ok(read)
    }
}

/// A reader that fails after a number of bytes.
struct Counted<'a, R> {
    input: &'a mut R,
    left: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(Fault::TooLarge {
                limit: MAX_REPORT,
                unit: "bytes in the report of a push",
            })
        })?;
        Ok(read)
    }
}

/// A server's text on one line, without control characters and colours, of a length that fits a condition.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut clean = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            // A colour or cursor movement: `ESC [`, parameters, and a letter.
            '\u{1b}' => {
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
                    characters.next();
                }
            }
            c if c.is_whitespace() => clean.push(' '),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    let mut line = String::new();
    for word in clean.split(' ').filter(|word| !word.is_empty()) {
        if line.len() + word.len() >= MAX_SHOWN {
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

fn malformed(why: &str) -> Fault {
    Fault::Protocol(format!(
        "the server's report on the push is malformed: {why}"
    ))
}
