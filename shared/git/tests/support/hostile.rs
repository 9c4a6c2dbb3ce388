//! A server with responses defined by the test, and packs that Git would not write.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest as _, Sha1};

/// Writes the response to a request with this target and body.
type Answer = dyn Fn(&str, &[u8], &mut dyn Write) -> std::io::Result<()> + Send + Sync;

/// An HTTP server that closes the connection after each response.
pub(crate) struct Server {
    address: SocketAddr,
}

impl Server {
    /// Serves what `answer` writes, with this content type.
    pub(crate) fn start(
        content_type: &'static str,
        answer: impl Fn(&str, &[u8], &mut dyn Write) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Arc<Answer> = Arc::new(answer);
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                // A client that has read enough closes the connection.
                std::thread::spawn(move || drop(serve(&stream, content_type, &*answer)));
            }
        });
        Self { address }
    }

    /// A server of protocol version 2 that has the branch `main` and responds to every fetch with `pack`.
    pub(crate) fn of_pack(tip: [u8; 20], pack: Vec<u8>) -> Self {
        Self::start(DISCOVERY, move |target, body, out| {
            if target.contains("info/refs") {
                return out.write_all(V2.as_bytes());
            }
            if says(body, "command=ls-refs") {
                let line = format!("{} refs/heads/main\n", hex(&tip));
                return out.write_all(format!("{}0000", packet(line.as_bytes())).as_bytes());
            }
            out.write_all(packet(b"packfile\n").as_bytes())?;
            for piece in pack.chunks(60_000) {
                write!(out, "{:04x}\x01", piece.len() + 5)?;
                out.write_all(piece)?;
            }
            out.write_all(b"0000")
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/app.git", self.address)
    }
}

pub(crate) const DISCOVERY: &str = "application/x-git-upload-pack-advertisement";
pub(crate) const V2: &str = "000eversion 2\n000cls-refs\n0012fetch=shallow\n0000";

fn serve(stream: &TcpStream, content_type: &str, answer: &Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    while line != "\r\n" && !line.is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut out = std::io::BufWriter::with_capacity(256 * 1024, stream);
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n"
    )?;
    answer(&target, &body, &mut out)?;
    out.flush()
}

pub(crate) fn says(body: &[u8], text: &str) -> bool {
    body.windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// A text as a packet.
pub(crate) fn packet(text: &[u8]) -> String {
    format!("{:04x}{}", text.len() + 4, String::from_utf8_lossy(text))
}

pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut hex, byte| {
        // Writing to memory cannot fail.
        let _ = std::fmt::Write::write_fmt(&mut hex, format_args!("{byte:02x}"));
        hex
    })
}

/// A pack under construction.
#[derive(Default)]
pub(crate) struct Pack {
    entries: Vec<Vec<u8>>,
}

impl Pack {
    /// Adds an object that is stored whole (1 commit, 2 tree, 3 blob, 4 tag).
    pub(crate) fn whole(&mut self, kind: u8, data: &[u8]) -> [u8; 20] {
        let mut entry = head(kind, data.len() as u64);
        entry.extend(compressed(data));
        self.entries.push(entry);
        let name = ["", "commit", "tree", "blob", "tag"][usize::from(kind)];
        let mut hash = Sha1::new();
        hash.update(format!("{name} {}\0", data.len()));
        hash.update(data);
        hash.finalize().into()
    }

    /// Adds a delta whose base is the object of this hash.
    pub(crate) fn delta(&mut self, base: [u8; 20], delta: &[u8]) {
        let mut entry = head(7, delta.len() as u64);
        entry.extend(base);
        entry.extend(compressed(delta));
        self.entries.push(entry);
    }

    /// Adds a delta whose base is the entry before it, by its distance.
    pub(crate) fn nearby_delta(&mut self, delta: &[u8]) {
        let mut distance = self.entries.last().map_or(0, Vec::len);
        let mut digits = vec![(distance & 0x7f) as u8];
        while distance > 0x7f {
            distance = (distance >> 7) - 1;
            digits.push((distance & 0x7f) as u8 | 0x80);
        }
        let mut entry = head(6, delta.len() as u64);
        entry.extend(digits.iter().rev());
        entry.extend(compressed(delta));
        self.entries.push(entry);
    }

    /// Adds an entry unchanged.
    pub(crate) fn raw(&mut self, entry: Vec<u8>) {
        self.entries.push(entry);
    }

    /// Adds a commit of this tree.
    pub(crate) fn commit(&mut self, tree: [u8; 20]) -> [u8; 20] {
        let who = "a <a@x> 1700000000 +0000";
        let text = format!("tree {}\nauthor {who}\ncommitter {who}\n\nx\n", hex(&tree));
        self.whole(1, text.as_bytes())
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend((self.entries.len() as u32).to_be_bytes());
        pack.extend(self.entries.concat());
        let sum = Sha1::digest(&pack);
        pack.extend(sum);
        pack
    }
}

/// A tree object of `(mode, name, id)` entries.
pub(crate) fn tree(entries: &[(&str, &[u8], [u8; 20])]) -> Vec<u8> {
    let mut tree = Vec::new();
    for (mode, name, id) in entries {
        tree.extend(mode.as_bytes());
        tree.push(b' ');
        tree.extend(*name);
        tree.push(0);
        tree.extend(id);
    }
    tree
}

pub(crate) fn head(kind: u8, size: u64) -> Vec<u8> {
    let mut byte = kind << 4 | (size & 15) as u8;
    let mut rest = size >> 4;
    let mut head = Vec::new();
    while rest > 0 {
        head.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    head.push(byte);
    head
}

pub(crate) fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A delta that copies the first `piece` bytes of its base `times` times, and adds `tail`.
pub(crate) fn repeated(base: u64, piece: u32, times: u64, tail: &[u8]) -> Vec<u8> {
    let mut delta = number(base);
    delta.extend(number(u64::from(piece) * times + tail.len() as u64));
    let [low, middle, high, _] = piece.to_le_bytes();
    for _ in 0..times {
        delta.extend([0xf0, low, middle, high]);
    }
    if !tail.is_empty() {
        delta.push(tail.len() as u8);
        delta.extend(tail);
    }
    delta
}

pub(crate) fn compressed(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}
