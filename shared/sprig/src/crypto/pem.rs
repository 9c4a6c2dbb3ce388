//! PEM blocks.

use flux_golang::encoding;

/// Encodes a block with its label, as Go's `pem.Encode` does.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let text = encoding::base64(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Decodes the first block; returns its label and content.
pub(super) fn decode(text: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    // Headers, if any, end with an empty line.
    let body = match body.rsplit_once("\n\n") {
        Some((headers, body)) if headers.contains(':') => body,
        _ => body,
    };
    let body: Vec<u8> = body.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    Some((label.to_owned(), encoding::decode_base64(&body).ok()?))
}
