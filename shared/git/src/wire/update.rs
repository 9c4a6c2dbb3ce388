//! The request of a push: the updates of references, and push options.

use gix::hash::ObjectId;

use super::Advertisement;
use super::request::{AGENT, FLUSH};
use crate::error::Fault;

/// The maximum length of a packet's data in bytes.
const MAX_DATA: usize = 65_516;
/// The maximum bytes of all push options.
const MAX_OPTIONS: usize = 256 * 1024;

/// The update of one reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// The full name.
    pub(crate) name: String,
    /// The value on the server, all zero if the reference does not exist. The server refuses the update if it has
    /// changed.
    pub(crate) old: ObjectId,
    /// The new value.
    pub(crate) new: ObjectId,
}

/// A request to update references; a pack follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update<'a> {
    /// The updates, at least one.
    pub(crate) commands: &'a [Command],
    /// Push options (`key=value`); not sent to a server that does not support them (IA-GIT-079).
    pub(crate) options: &'a [String],
}

impl Update<'_> {
    /// Whether the server reports the result of each command.
    pub(crate) fn has_report(server: &Advertisement) -> bool {
        server.has("report-status") || server.has("report-status-v2")
    }

    /// Whether the report is sent in the side band.
    pub(crate) fn has_side_band(server: &Advertisement) -> bool {
        server.has("side-band-64k")
    }

    /// Encodes the request with the capabilities that both sides have.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] if a name or option does not fit into a packet.
    pub(crate) fn encode(&self, server: &Advertisement) -> Result<Vec<u8>, Fault> {
        let sends_options = !self.options.is_empty() && server.has("push-options");
        let mut capabilities = String::new();
        let report = if server.has("report-status-v2") {
            "report-status-v2"
        } else {
            "report-status"
        };
        for (name, wanted) in [
            (report, true),
            ("side-band-64k", true),
            ("quiet", true),
            ("push-options", sends_options),
            // Either all references change or none (one alone is never updated in part).
            ("atomic", self.commands.len() > 1),
        ] {
            if wanted && server.has(name) {
                capabilities.push(' ');
                capabilities.push_str(name);
            }
        }
        if server.has("object-format") {
            capabilities.push_str(" object-format=sha1");
        }
        if server.has("agent") {
            capabilities.push(' ');
            capabilities.push_str(AGENT);
        }
        let mut request = Vec::new();
        for command in self.commands {
            let Command { name, old, new } = command;
            let mut line = format!("{old} {new} {name}");
            if !capabilities.is_empty() {
                line.push('\0');
                line.push_str(&capabilities);
                capabilities.clear();
            }
            packet(
                &mut request,
                line.as_bytes(),
                "bytes in the name of a reference",
            )?;
        }
        request.extend_from_slice(FLUSH);
        if sends_options {
            let total: usize = self.options.iter().map(String::len).sum();
            if total > MAX_OPTIONS {
                return Err(Fault::TooLarge {
                    limit: MAX_OPTIONS as u64,
                    unit: "bytes of push options",
                });
            }
            for option in self.options {
                packet(&mut request, option.as_bytes(), "bytes in one push option")?;
            }
            request.extend_from_slice(FLUSH);
        }
        Ok(request)
    }
}

fn packet(request: &mut Vec<u8>, data: &[u8], unit: &'static str) -> Result<(), Fault> {
    if data.len() > MAX_DATA {
        return Err(Fault::TooLarge {
            limit: MAX_DATA as u64,
            unit,
        });
    }
    request.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    request.extend_from_slice(data);
    Ok(())
}
