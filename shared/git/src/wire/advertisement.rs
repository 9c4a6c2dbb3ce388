//! The server's first message: its capabilities, and in protocol versions 0 and 1 its references.

use std::io::Read;
use std::sync::Arc;

use flux_budget::Claim;
use gix::hash::ObjectId;

use super::packet::{Packet, Packets, line, truncated};
use crate::error::Fault;
use crate::memory::ClaimedVec;

/// The maximum number of references of a server.
const MAX_REFERENCES: u64 = 2_000_000;
/// The maximum length of a reference's name in bytes.
const MAX_NAME: usize = 4096;
/// The maximum bytes of a server's capabilities.
const MAX_CAPABILITIES: usize = 64 * 1024;
/// The suffix by which a reference denotes the object that a tag points to.
const PEELED: &str = "^{}";
/// What servers list if there are no references.
const NO_REFERENCE: &str = "capabilities^{}";

/// One reference of the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// The object it points to: a tag object for an annotated tag.
    pub(crate) target: ObjectId,
    /// The object that an annotated tag finally points to.
    pub(crate) peeled: Option<ObjectId>,
}

impl Listed {
    /// The commit that it finally points to.
    pub(crate) fn commit(&self) -> ObjectId {
        self.peeled.unwrap_or(self.target)
    }
}

/// References, with their memory claimed.
pub(crate) type References = ClaimedVec<Listed>;

/// A server's first message.
#[derive(Debug)]
pub(crate) struct Advertisement {
    capabilities: Vec<String>,
    /// The references; `None` with protocol version 2, which lists them on request.
    pub(crate) references: Option<References>,
}

impl Advertisement {
    /// Reads the advertisement of any protocol version, with or without the line that smart HTTP prepends.
    pub(crate) fn read(
        packets: &mut Packets<impl Read>,
        claim: &Arc<Claim>,
    ) -> Result<Self, Fault> {
        let mut this = Self {
            capabilities: Vec::new(),
            references: None,
        };
        let mut references = Collected::new(claim);
        let mut is_first = true;
        loop {
            let Some(packet) = packets.next()? else {
                return Err(truncated());
            };
            let data = match packet {
                Packet::Data(data) => line(data),
                Packet::Flush if is_first && references.announced => {
                    references.announced = false; // the end of smart HTTP's own line
                    continue;
                }
                Packet::Flush => break,
                Packet::Delimiter | Packet::ResponseEnd => return Err(malformed()),
            };
            if is_first {
                if data.starts_with(b"# service=") {
                    references.announced = true;
                    continue;
                }
                if data == b"version 2" {
                    this.read_capabilities(packets)?;
                    return this.checked();
                }
                if data.starts_with(b"version ") {
                    if data != b"version 1" {
                        return Err(Fault::Protocol(format!(
                            "the server speaks an unknown protocol: {}",
                            String::from_utf8_lossy(data)
                        )));
                    }
                    continue;
                }
                is_first = false;
                let at = data.iter().position(|byte| *byte == 0);
                if let Some(at) = at {
                    let words = data[at + 1..].split(|byte| *byte == b' ');
                    this.capabilities = words.filter(|word| !word.is_empty()).map(text).collect();
                }
                references.advertised(&data[..at.unwrap_or(data.len())])?;
            } else {
                references.advertised(data)?;
            }
        }
        this.references = Some(references.listed);
        this.checked()
    }

    fn read_capabilities(&mut self, packets: &mut Packets<impl Read>) -> Result<(), Fault> {
        let mut bytes = 0;
        loop {
            match packets.next()? {
                Some(Packet::Data(data)) => {
                    bytes += data.len() + size_of::<String>();
                    if bytes > MAX_CAPABILITIES {
                        return Err(Fault::TooLarge {
                            limit: MAX_CAPABILITIES as u64,
                            unit: "bytes of capabilities",
                        });
                    }
                    self.capabilities.push(text(line(data)));
                }
                Some(Packet::Flush) => return Ok(()),
                Some(Packet::Delimiter | Packet::ResponseEnd) => return Err(malformed()),
                None => return Err(truncated()),
            }
        }
    }

    /// SC-GIT-058
    fn checked(self) -> Result<Self, Fault> {
        match self.value("object-format") {
            Some(format) if format != "sha1" => Err(Fault::ObjectFormat(format.to_owned())),
            _ => Ok(self),
        }
    }

    /// Whether the server supports protocol version 2.
    pub(crate) fn is_v2(&self) -> bool {
        self.references.is_none()
    }

    /// Whether the server has a capability, with or without a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        let of = |capability: &String| capability.split('=').next() == Some(name);
        self.capabilities.iter().any(of)
    }

    /// The value of a capability.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let of = |capability: &'_ String| {
            capability
                .strip_prefix(name)?
                .strip_prefix('=')
                .map(str::len)
        };
        let (capability, length) = self
            .capabilities
            .iter()
            .find_map(|capability| Some((capability, of(capability)?)))?;
        Some(&capability[capability.len() - length..])
    }
}

/// Reads the response to a listing in protocol version 2: the references whose names begin with one of `prefixes`.
pub(crate) fn read_references(
    packets: &mut Packets<impl Read>,
    prefixes: &[&str],
    claim: &Arc<Claim>,
) -> Result<References, Fault> {
    let mut references = Collected::new(claim);
    loop {
        match packets.next()? {
            Some(Packet::Data(data)) => references.listed(line(data), prefixes)?,
            Some(Packet::Flush) => return Ok(references.listed),
            Some(Packet::Delimiter | Packet::ResponseEnd) => return Err(malformed()),
            None => return Err(truncated()),
        }
    }
}

/// References as they are read, within the limits.
struct Collected {
    listed: References,
    seen: u64,
    /// Whether smart HTTP's own line was read, whose flush packet does not end the references.
    announced: bool,
}

impl Collected {
    fn new(claim: &Arc<Claim>) -> Self {
        Self {
            listed: ClaimedVec::new(claim, "references"),
            seen: 0,
            announced: false,
        }
    }

    /// A line of protocol version 0: `<hash> <name>`, an annotated tag followed by `<hash> <name>^{}`.
    fn advertised(&mut self, data: &[u8]) -> Result<(), Fault> {
        if data.starts_with(b"shallow ") {
            return Ok(());
        }
        let (target, name) = split_line(data)?;
        let name = self.name(name)?;
        if name == NO_REFERENCE || target.is_null() {
            return Ok(());
        }
        if let Some(tag) = name.strip_suffix(PEELED) {
            if let Some(last) = self.listed.as_mut_slice().last_mut()
                && last.name == tag
            {
                last.peeled = Some(target);
            }
            return Ok(());
        }
        self.push(name, target, None)
    }

    /// A line of protocol version 2: `<hash> <name>` with attributes, or `unborn <name>`.
    fn listed(&mut self, data: &[u8], prefixes: &[&str]) -> Result<(), Fault> {
        if data.starts_with(b"unborn ") {
            return Ok(());
        }
        let (target, rest) = split_line(data)?;
        let mut words = rest.split(|byte| *byte == b' ');
        let name = self.name(words.next().unwrap_or_default())?;
        let is_wanted = prefixes.is_empty() || prefixes.iter().any(|p| name.starts_with(p));
        if !is_wanted || target.is_null() {
            return Ok(());
        }
        let peeled = words.find_map(|word| word.strip_prefix(b"peeled:"));
        let peeled = peeled.map(hash).transpose()?;
        self.push(name, target, peeled)
    }

    fn name(&mut self, name: &[u8]) -> Result<String, Fault> {
        self.seen += 1;
        if self.seen > MAX_REFERENCES {
            return Err(Fault::TooLarge {
                limit: MAX_REFERENCES,
                unit: "references",
            });
        }
        if name.len() > MAX_NAME {
            return Err(Fault::TooLarge {
                limit: MAX_NAME as u64,
                unit: "bytes in the name of a reference",
            });
        }
        if name.is_empty() {
            return Err(malformed());
        }
        Ok(text(name))
    }

    fn push(
        &mut self,
        name: String,
        target: ObjectId,
        peeled: Option<ObjectId>,
    ) -> Result<(), Fault> {
        let heap = name.capacity() + 16; // what the allocator adds
        let listed = Listed {
            name,
            target,
            peeled,
        };
        self.listed.push(listed, heap)
    }
}

fn split_line(data: &[u8]) -> Result<(ObjectId, &[u8]), Fault> {
    let at = data.iter().position(|byte| *byte == b' ');
    let (target, name) = data.split_at(at.ok_or_else(malformed)?);
    Ok((hash(target)?, &name[1..]))
}

fn hash(hex: &[u8]) -> Result<ObjectId, Fault> {
    if hex.len() == 64 && hex.iter().all(u8::is_ascii_hexdigit) {
        // Old servers list references before their capabilities can be checked.
        return Err(Fault::ObjectFormat("sha256".to_owned()));
    }
    ObjectId::from_hex(hex).map_err(|_| malformed())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn malformed() -> Fault {
    Fault::Protocol("the server's list of references is malformed".to_owned())
}
