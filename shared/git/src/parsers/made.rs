//! Packs made from arbitrary bytes that get past the checks of their hashes and checksums.

use std::io::Write as _;

use gix::hash::ObjectId;
use sha1::{Digest as _, Sha1};

/// The modes of a tree's entries, odd ones included.
const MODES: [&str; 8] = [
    "100644", "100755", "40000", "120000", "160000", "100664", "0", "7777777",
];

/// A pack of an object and a delta of it.
pub(super) fn delta(delta: &[u8]) -> Vec<u8> {
    let base = b"01234567";
    let mut entries = vec![0x38];
    entries.extend(compressed(base));
    entries.push(0x60 | 0x80 | (delta.len() & 15) as u8);
    entries.push((delta.len() >> 4 & 0x7f) as u8 | 0x80);
    entries.push((delta.len() >> 11) as u8 & 0x7f);
    entries.push(entries.len() as u8 - 3);
    entries.extend(compressed(delta));
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
    pack.extend(entries);
    pack.extend([0; 20]);
    pack
}

/// A pack of a commit and what it refers to, and the commit's hash.
///
/// The input is a list of objects: `b`, a length and that many bytes for a file, `t`, a count and that many entries for
/// a folder; what follows is the commit's text after its tree, which is the last folder. An entry is a digit (its index
/// into `MODES`), the index of its object, a length and its name. Lengths, counts and indexes are single bytes.
pub(super) fn repository(input: &[u8]) -> (Vec<u8>, ObjectId) {
    let mut input = Input(input);
    let mut objects: Vec<(&str, Vec<u8>, ObjectId)> = Vec::new();
    let mut root = ObjectId::empty_tree(gix::hash::Kind::Sha1);
    let rest = loop {
        let rest = input.0;
        let (kind, content) = match input.byte() {
            b'b' => {
                let length = input.byte();
                ("blob", input.bytes(length).to_vec())
            }
            b't' => {
                let mut content = Vec::new();
                for _ in 0..input.byte() {
                    let mode = MODES[usize::from(input.byte()) % MODES.len()];
                    let index = usize::from(input.byte());
                    let length = input.byte();
                    let name = input.bytes(length);
                    let id = objects.get(index).map_or(root, |(_, _, id)| *id);
                    content.extend_from_slice(mode.as_bytes());
                    content.push(b' ');
                    content.extend_from_slice(name);
                    content.push(0);
                    content.extend_from_slice(id.as_slice());
                }
                ("tree", content)
            }
            _ => break rest,
        };
        let id = hash(kind, &content);
        if kind == "tree" {
            root = id;
        }
        objects.push((kind, content, id));
    };
    let mut commit = format!("tree {root}\n").into_bytes();
    commit.extend_from_slice(rest);
    let id = hash("commit", &commit);
    objects.push(("commit", commit, id));
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend((objects.len() as u32).to_be_bytes());
    for (kind, content, _) in &objects {
        let kind = match *kind {
            "commit" => 1,
            "tree" => 2,
            _ => 3,
        };
        let mut size = content.len() >> 4;
        let more = |size: usize| if size > 0 { 0x80 } else { 0 };
        pack.push(kind << 4 | (content.len() & 15) as u8 | more(size));
        while size > 0 {
            pack.push((size & 0x7f) as u8 | more(size >> 7));
            size >>= 7;
        }
        pack.extend(compressed(content));
    }
    let checksum = Sha1::digest(&pack);
    pack.extend(checksum);
    (pack, id)
}

fn hash(kind: &str, content: &[u8]) -> ObjectId {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", content.len()));
    hash.update(content);
    ObjectId::from_bytes_or_panic(&hash.finalize())
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(data);
    encoder.finish().unwrap_or_default()
}

/// Bytes that end in zeros.
struct Input<'i>(&'i [u8]);

impl<'i> Input<'i> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, length: u8) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(self.0.len().min(length.into()));
        self.0 = rest;
        taken
    }
}
