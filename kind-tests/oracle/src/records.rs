//! Recorded answers of the real libraries, by request: `records/<command>.gz`.
//!
//! The first line is the fingerprint of the command's sources, the second the libraries with their versions. Each
//! further line is the key of a request, a space, and the answer.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::process::{cache, fingerprint, module, module_of};

/// The maximum size of one file, unpacked: more than all records together.
const MAX_BYTES: u64 = 256 << 20;

/// FNV-1a: a hash that is stable across versions of Rust, unlike that of the standard library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

/// The key of a request.
pub(crate) fn key(question: &str) -> u64 {
    let mut hash = Fnv::default();
    hash.write(question.as_bytes());
    hash.finish()
}

/// The records of a command.
#[derive(Debug, Default)]
pub(crate) struct Records {
    text: String,
    /// The start and end of each answer in `text`, by the key of the request.
    answers: HashMap<u64, (usize, usize)>,
}

impl Records {
    /// Reads the records of the checkout. Empty if the command's sources have changed since they were written.
    pub(crate) fn read(command: &str) -> Records {
        let Ok(packed) = fs::File::open(file(command)) else {
            return Records::default();
        };
        let mut text = String::new();
        if let Err(error) = GzDecoder::new(packed)
            .take(MAX_BYTES)
            .read_to_string(&mut text)
        {
            panic!("the records of {command} cannot be read: {error}");
        }
        let mut answers = HashMap::new();
        let mut start = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let end = start + line.len();
            if number == 0 && line.trim_end() != format!("{:016x}", fingerprint(command).finish()) {
                return Records::default();
            }
            if number > 1
                && let Some((key, _)) = line.split_once(' ')
                && let Ok(parsed) = u64::from_str_radix(key, 16)
            {
                answers.insert(parsed, (start + key.len() + 1, end - 1));
            }
            start = end;
        }
        Records { text, answers }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The answer to this request.
    pub(crate) fn get(&self, question: &str) -> Option<&str> {
        let (start, end) = self.answers.get(&key(question))?;
        self.text.get(*start..*end)
    }
}

/// Answers to be written by `.ci/records`.
#[derive(Debug, Default)]
pub(crate) struct Written(String);

impl Written {
    pub(crate) fn push(&mut self, key: u64, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{key:016x} {line}");
    }

    /// Appends the answers to the command's file in the cache, to which other tests append as well.
    ///
    /// # Panics
    /// If they cannot be written: the records would silently be incomplete.
    pub(crate) fn flush(&mut self, command: &str) {
        if self.0.is_empty() {
            return;
        }
        let folder = cache("oracle-answers");
        fs::create_dir_all(&folder)
            .and_then(|()| {
                let path = folder.join(command);
                let mut options = OpenOptions::new();
                let mut file = options.create(true).append(true).open(path)?;
                file.lock()?;
                file.write_all(self.0.as_bytes())
            })
            .unwrap_or_else(|error| panic!("cannot keep the answers of {command}: {error}"));
        self.0.clear();
    }
}

/// Rewrites the records from the answers that tests have put into the cache with `FLUX_ORACLE=write`. Returns for each
/// command the number of its records and the size of its file in bytes.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write_records() -> io::Result<Vec<(String, usize, u64)>> {
    let mut written = Vec::new();
    let mut commands: Vec<_> = fs::read_dir(cache("oracle-answers"))?.collect::<Result<_, _>>()?;
    commands.sort_by_key(fs::DirEntry::file_name);
    for entry in commands {
        let command = entry.file_name().to_string_lossy().into_owned();
        let libraries = fs::read_to_string(module_of(&command).join("go.mod"))?;
        let libraries: Vec<&str> = libraries
            .lines()
            .filter_map(|line| line.strip_prefix('\t').or(line.strip_prefix("require ")))
            .filter(|line| !line.contains("// indirect"))
            .collect();
        let text = fs::read_to_string(entry.path())?;
        let answers: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect();
        let mut page = format!(
            "{:016x}\n{}\n",
            fingerprint(&command).finish(),
            libraries.join(", ")
        );
        for (key, line) in &answers {
            let _ = writeln!(page, "{key} {line}");
        }
        let path = file(&command);
        fs::create_dir_all(path.with_file_name(""))?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(page.as_bytes())?;
        fs::write(&path, packed.finish()?)?;
        written.push((command, answers.len(), path.metadata()?.len()));
    }
    Ok(written)
}

fn file(command: &str) -> PathBuf {
    module().join("records").join(format!("{command}.gz"))
}
