//! The response to a fetch: the sections before the pack, and the pack.

use std::io::{self, Read};

use super::packet::{Packet, Packets, from_io, line, server_message, truncated};
use crate::error::Fault;

/// The bytes of a pack, extracted from the response to a fetch.
pub(crate) struct PackStream<R> {
    packets: Packets<R>,
    side_band: bool,
    /// The unread part of the packet's data.
    unread: std::ops::Range<usize>,
    over: bool,
}

impl<R: Read> PackStream<R> {
    /// Reads a response in protocol version 2 up to its pack.
    pub(crate) fn v2(mut packets: Packets<R>) -> Result<Self, Fault> {
        loop {
            match packets.next()? {
                Some(Packet::Data(data)) if line(data) == b"packfile" => break,
                // Lines of other sections: common commits and shallow boundaries.
                Some(Packet::Data(_) | Packet::Delimiter) => {}
                Some(Packet::Flush | Packet::ResponseEnd) => return Err(nothing_sent()),
                None => return Err(truncated()),
            }
        }
        Ok(Self::new(packets, true))
    }

    /// Reads a response in protocol version 0 or 1 up to its pack.
    pub(crate) fn v0(mut packets: Packets<R>, side_band: bool) -> Result<Self, Fault> {
        loop {
            match packets.next()? {
                Some(Packet::Data(data)) => {
                    let data = line(data);
                    if data == b"NAK" || data.starts_with(b"ACK ") {
                        break;
                    }
                    if !data.starts_with(b"shallow ") && !data.starts_with(b"unshallow ") {
                        return Err(Fault::Protocol(format!(
                            "the server's answer is not in Git's protocol: unexpected {:?}",
                            server_message(&data[..data.len().min(64)])
                        )));
                    }
                }
                Some(Packet::Flush) => {}
                Some(Packet::Delimiter | Packet::ResponseEnd) => return Err(nothing_sent()),
                None => return Err(truncated()),
            }
        }
        Ok(Self::new(packets, side_band))
    }

    fn new(packets: Packets<R>, side_band: bool) -> Self {
        Self {
            packets,
            side_band,
            unread: 0..0,
            over: false,
        }
    }

    /// Advances to the next packet of the pack; at the end nothing is unread.
    fn advance(&mut self) -> Result<(), Fault> {
        while self.unread.is_empty() && !self.over {
            match self.packets.next()? {
                Some(Packet::Data([1, data @ ..])) => self.unread = 1..data.len() + 1,
                Some(Packet::Data([2, ..])) => {}
                Some(Packet::Data([3, data @ ..])) => {
                    let text = server_message(data);
                    return Err(if crate::protocol::says_not_found(&text) {
                        Fault::RepositoryNotFound(String::new())
                    } else {
                        Fault::Remote(text)
                    });
                }
                Some(Packet::Data(_)) => {
                    return Err(Fault::Protocol("unknown side band".to_owned()));
                }
                Some(_) | None => self.over = true,
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for PackStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.side_band {
            return self.packets.input().read(buffer);
        }
        self.advance().map_err(io::Error::other)?;
        let data = self.packets.data();
        let unread = data.get(self.unread.clone()).unwrap_or_default();
        let read = unread.len().min(buffer.len());
        buffer[..read].copy_from_slice(&unread[..read]);
        self.unread.start += read;
        Ok(read)
    }
}

fn nothing_sent() -> Fault {
    Fault::Protocol("the server sent no objects".to_owned())
}

/// Reads from `input`. An error that carries a [`Fault`] becomes that fault.
pub(crate) fn read_some(input: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, Fault> {
    loop {
        match input.read(buffer) {
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(from_io(error)),
        }
    }
}
