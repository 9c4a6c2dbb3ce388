//! The armor of age files: strict PEM with lines of 64 characters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const HEADER: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const FOOTER: &str = "-----END AGE ENCRYPTED FILE-----";
const COLUMNS: usize = 64;
/// The white space that is accepted around the armor.
const MAX_BLANK: usize = 1024;
/// The bytes that are read: a data key takes a few hundred, or some thousand with post-quantum recipients.
const MAX_INPUT: usize = 4 << 20;

/// Why a text is not an armored file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid armor: {0}")]
pub(crate) struct ArmorError(&'static str);

/// The bytes of an armored file.
pub(crate) fn open(text: &str) -> Result<Vec<u8>, ArmorError> {
    if text.len() > MAX_INPUT {
        return Err(ArmorError("more than 4 MiB"));
    }
    let body = text.trim_ascii_start();
    if text.len() - body.len() > MAX_BLANK {
        return Err(ArmorError("too much leading whitespace"));
    }
    let mut lines = body
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line));
    if lines.next() != Some(HEADER) {
        return Err(ArmorError("invalid first line"));
    }
    let mut data = Vec::new();
    let mut short = false;
    for line in lines.by_ref() {
        if line == FOOTER {
            let rest: Vec<&str> = lines.collect();
            let rest = rest.join("\n");
            return if !rest.trim_ascii().is_empty() {
                Err(ArmorError("trailing data after armored file"))
            } else if rest.len() >= MAX_BLANK {
                Err(ArmorError("too much trailing whitespace"))
            } else {
                Ok(data)
            };
        }
        if short {
            return Err(ArmorError("invalid closing line"));
        }
        if line.is_empty() {
            return Err(ArmorError("empty line in armored data"));
        }
        if line.len() > COLUMNS {
            return Err(ArmorError("column limit exceeded"));
        }
        let decoded = STANDARD.decode(line);
        let decoded = decoded.map_err(|_| ArmorError("illegal base64 data"))?;
        short = decoded.len() < COLUMNS / 4 * 3;
        data.extend_from_slice(&decoded);
    }
    Err(ArmorError("unexpected EOF"))
}
