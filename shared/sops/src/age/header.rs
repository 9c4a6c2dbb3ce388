//! The header of age files: stanzas for recipients, and a code over them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::armor::ArmorError;

const INTRO: &[u8] = b"age-encryption.org/v1\n";
const LINE: usize = 48;

/// Why a header could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error(transparent)]
    Armor(ArmorError),
    #[error("parsing age header: {0}")]
    Malformed(&'static str),
}

/// A header.
pub(crate) struct Header<'d> {
    pub(crate) stanzas: Vec<Stanza<'d>>,
    /// The bytes that the code is over.
    pub(crate) signed: &'d [u8],
    pub(crate) mac: [u8; 32],
}

/// The key of the file, encrypted for one recipient.
pub(crate) struct Stanza<'d> {
    pub(crate) kind: &'d str,
    pub(crate) arguments: Vec<&'d str>,
    pub(crate) body: Vec<u8>,
}

/// The header of a file, and its payload.
pub(crate) fn parse(data: &[u8]) -> Result<(Header<'_>, &[u8]), HeaderError> {
    const MALFORMED: fn(&'static str) -> HeaderError = HeaderError::Malformed;
    let mut rest = data
        .strip_prefix(INTRO)
        .ok_or(MALFORMED("unexpected intro"))?;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = rest.split_at(end);
        rest = &after[1..];
        std::str::from_utf8(line).ok()
    };
    let mut stanzas = Vec::new();
    let mac = loop {
        let first = line().ok_or(MALFORMED("unexpected EOF"))?;
        if let Some(mac) = first.strip_prefix("---") {
            break mac
                .strip_prefix(' ')
                .ok_or(MALFORMED("malformed closing line"))?;
        }
        let stanza = first.strip_prefix("-> ");
        let mut words = stanza
            .ok_or(MALFORMED("malformed stanza opening line"))?
            .split(' ');
        let words: Vec<&str> = words.by_ref().collect();
        let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic());
        let (true, [kind, arguments @ ..]) = (words.iter().all(is_word), words.as_slice()) else {
            return Err(MALFORMED("malformed stanza"));
        };
        let mut body = Vec::new();
        loop {
            let part = line().ok_or(MALFORMED("unexpected EOF"))?;
            let part = STANDARD_NO_PAD
                .decode(part)
                .ok()
                .filter(|part| part.len() <= LINE);
            let part = part.ok_or(MALFORMED("malformed body line"))?;
            body.extend_from_slice(&part);
            if part.len() < LINE {
                break;
            }
        }
        stanzas.push(Stanza {
            kind,
            arguments: arguments.to_vec(),
            body,
        });
    };
    let mac_length = mac.len();
    let mac = STANDARD_NO_PAD.decode(mac).ok();
    let mac = mac.and_then(|mac| mac.try_into().ok());
    let header_end = data.len() - rest.len();
    let header = Header {
        stanzas,
        // Up to and with the `---`.
        signed: &data[..header_end - 1 - mac_length - 1],
        mac: mac.ok_or(MALFORMED("malformed closing line"))?,
    };
    Ok((header, rest))
}

/// The bytes of an argument.
pub(crate) fn argument<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}
