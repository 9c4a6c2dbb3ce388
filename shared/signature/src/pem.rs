//! PEM blocks as Go's `encoding/pem` finds them: text around them is skipped, and so are blocks that cannot be read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// What stands after `BEGIN`.
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
}

/// The first block, and the text behind it.
pub(crate) fn decode(text: &str) -> Option<(Block, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = text;
    loop {
        let at = rest.match_indices(BEGIN).find_map(|(at, _)| {
            (at == 0 || rest.as_bytes().get(at - 1) == Some(&b'\n')).then_some(at)
        })?;
        let after = &rest[at + BEGIN.len()..];
        let (line, body) = after.split_once('\n')?;
        rest = body;
        let Some(kind) = line.trim_end().strip_suffix("-----") else {
            continue;
        };
        let end = format!("-----END {kind}-----");
        let Some(at) = body.find(&end) else {
            continue;
        };
        if at > 0 && body.as_bytes().get(at - 1) != Some(&b'\n') {
            continue;
        }
        let behind = &body[at + end.len()..];
        let (tail, behind) = behind.split_once('\n').unwrap_or((behind, ""));
        if !tail.trim().is_empty() {
            continue;
        }
        // Headers end at an empty line; each has a colon, which base64 has not.
        let mut content = &body[..at];
        while let Some((line, after)) = content.split_once('\n') {
            if !line.contains(':') {
                break;
            }
            content = after;
        }
        let encoded: String = content
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .collect();
        let Ok(bytes) = STANDARD.decode(encoded) else {
            continue;
        };
        let kind = kind.to_owned();
        return Some((Block { kind, bytes }, behind));
    }
}

/// All blocks, at most `limit` of them.
pub(crate) fn decode_all(text: &str, limit: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while blocks.len() < limit
        && let Some((block, after)) = decode(rest)
    {
        blocks.push(block);
        rest = after;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_blocks_is_skipped() {
        let text = "hello\n-----BEGIN A-----\nYWJj\n-----END A-----\nbetween\n-----BEGIN B-----\nX: y\n\nZGVm\n-----END B-----";
        let blocks = decode_all(text, 9);
        let found: Vec<_> = blocks
            .iter()
            .map(|block| (&*block.kind, &*block.bytes))
            .collect();
        assert_eq!(found, [("A", &b"abc"[..]), ("B", b"def")]);
        assert_eq!(decode_all(text, 1).len(), 1);
    }

    #[test]
    fn blocks_that_cannot_be_read_are_skipped() {
        for text in [
            "",
            "-----BEGIN A-----",
            "-----BEGIN A-----\nYWJj\n-----END B-----\n",
            "-----BEGIN A-----\n?\n-----END A-----\n",
            "x-----BEGIN A-----\nYWJj\n-----END A-----\n",
            "-----BEGIN A-----\nYWJj-----END A-----\n",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
