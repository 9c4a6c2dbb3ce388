//! Requests to a server.

use std::io::Write as _;
use std::num::NonZeroU32;

use gix::hash::ObjectId;

use super::Advertisement;

/// The packet that ends a message; on its own it means that no command follows.
pub(crate) const FLUSH: &[u8] = b"0000";
const DELIMITER: &[u8] = b"0001";
pub(super) const AGENT: &str = concat!("agent=git/flux-", env!("CARGO_PKG_VERSION"));

/// The command of protocol version 2 that lists the references whose names begin with one of `prefixes`.
pub(crate) fn list(server: &Advertisement, prefixes: &[&str]) -> Vec<u8> {
    let mut request = command("ls-refs", server);
    packet(&mut request, "peel\n");
    for prefix in prefixes {
        packet(&mut request, &format!("ref-prefix {prefix}\n"));
    }
    request.extend_from_slice(FLUSH);
    request
}

/// A request for objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch<'a> {
    /// The objects.
    pub(crate) wants: &'a [ObjectId],
    /// The number of commits of history; all if unset, or if the server does not support shallow fetches.
    pub(crate) depth: Option<NonZeroU32>,
}

impl Fetch<'_> {
    /// Encodes the request in the server's protocol version.
    pub(crate) fn encode(&self, server: &Advertisement) -> Vec<u8> {
        if server.is_v2() {
            self.encode_v2(server)
        } else {
            self.encode_v0(server)
        }
    }

    /// Whether the pack is sent in the side band.
    pub(crate) fn has_side_band(server: &Advertisement) -> bool {
        server.is_v2() || server.has("side-band-64k") || server.has("side-band")
    }

    fn encode_v2(&self, server: &Advertisement) -> Vec<u8> {
        let mut request = command("fetch", server);
        // No `thin-pack`: that is for clients that already have objects (SC-GIT-057).
        packet(&mut request, "ofs-delta\n");
        packet(&mut request, "no-progress\n");
        let features = server.value("fetch").unwrap_or_default();
        if let Some(depth) = self.depth
            && features.split(' ').any(|feature| feature == "shallow")
        {
            packet(&mut request, &format!("deepen {depth}\n"));
        }
        for want in self.wants {
            packet(&mut request, &format!("want {want}\n"));
        }
        packet(&mut request, "done\n");
        request.extend_from_slice(FLUSH);
        request
    }

    fn encode_v0(&self, server: &Advertisement) -> Vec<u8> {
        let mut capabilities = String::new();
        // Some hosts reject clients without support for multiple acknowledgements, though there is nothing to
        // acknowledge (RT-GIT-013). No `thin-pack`, as above.
        for alternatives in [
            &["multi_ack_detailed", "multi_ack"][..],
            &["side-band-64k", "side-band"],
            &["ofs-delta"],
            &["no-progress"],
        ] {
            if let Some(name) = alternatives.iter().find(|name| server.has(name)) {
                capabilities.push(' ');
                capabilities.push_str(name);
            }
        }
        if server.has("agent") {
            capabilities.push(' ');
            capabilities.push_str(AGENT);
        }
        let mut request = Vec::new();
        for want in self.wants {
            packet(&mut request, &format!("want {want}{capabilities}\n"));
            capabilities.clear();
        }
        if let Some(depth) = self.depth
            && server.has("shallow")
        {
            packet(&mut request, &format!("deepen {depth}\n"));
        }
        request.extend_from_slice(FLUSH);
        packet(&mut request, "done\n");
        request
    }
}

/// The start of a command of protocol version 2.
fn command(name: &str, server: &Advertisement) -> Vec<u8> {
    let mut request = Vec::new();
    packet(&mut request, &format!("command={name}\n"));
    if server.has("agent") {
        packet(&mut request, &format!("{AGENT}\n"));
    }
    if server.has("object-format") {
        packet(&mut request, "object-format=sha1\n");
    }
    request.extend_from_slice(DELIMITER);
    request
}

fn packet(request: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail.
    let _ = write!(request, "{:04x}{text}", text.len() + 4);
}
