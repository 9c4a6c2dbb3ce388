//! Archives made to use more resources than they should: each is refused, or costs what it claims.

use std::io::{self, Read, Write as _};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use flux_artifact::{ExtractError, ExtractOptions, extract};
use flux_budget::{Budget, Claim};
use flux_tree::{Tree, TreePath};

const MIB: u64 = 1 << 20;

/// A header with its checksum, after `change` was applied.
fn header(name: &str, kind: u8, size: u64, change: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\x000000000\0");
    put(124, &format!("{size:011o}\x0000000000000\0"));
    put(148, "        ");
    put(257, "ustar  \0");
    header[156] = kind;
    change(&mut header);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.to_vec()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let header = header(name, b'0', content.len() as u64, |_| {});
    [header, padded(content.to_vec())].concat()
}

/// An entry with a long name in an entry before it, as GNU tar writes it.
fn long(name: &str, kind: u8) -> Vec<u8> {
    let announced = header("././@LongLink", b'L', name.len() as u64 + 1, |_| {});
    let text = padded(format!("{name}\0").into_bytes());
    [announced, text, header("cut", kind, 0, |_| {})].concat()
}

/// A file of `size` bytes without any data in the archive.
fn sparse(name: &str, size: u64) -> Vec<u8> {
    header(name, b'S', 0, |header| {
        // One empty block at the end, which also sets the size.
        header[386..398].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[398..410].copy_from_slice(b"00000000000\0");
        header[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
    })
}

fn gzip(tar: &mut dyn Read) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    io::copy(tar, &mut gzip).unwrap();
    gzip.write_all(&[0; 1024]).unwrap();
    gzip.finish().unwrap()
}

fn unpack(archive: &[u8], options: &ExtractOptions, claim: Claim) -> Result<Tree, ExtractError> {
    extract(archive, options, claim)
}

/// The result of unpacking these entries with a budget of 4 MiB, and at most 16 MiB and a thousand entries.
fn outcome(entries: &[Vec<u8>]) -> String {
    let options = ExtractOptions {
        max_bytes: 16 * MIB,
        max_entries: 1000,
        ..ExtractOptions::default()
    };
    let budget = Budget::new(4 * MIB);
    let archive = gzip(&mut &entries.concat()[..]);
    let found = unpack(&archive, &options, budget.claim());
    let text = match &found {
        Ok(tree) => {
            assert!(budget.used() >= tree.memory(), "{}", budget.used());
            format!("{} entries", tree.len())
        }
        Err(ExtractError::Tar(source)) => format!("tar error: {source}"),
        Err(error) => error.to_string(),
    };
    drop(found);
    assert_eq!(budget.used(), 0, "all is given back");
    text
}

// SC-ART-090, SC-ART-093, KC-SRC-011
#[test]
fn unpacked_archives_are_bounded() {
    let levels = |count: usize| long(&"a/".repeat(count), b'5');
    let too_long = |begin: &str| {
        format!(
            "tar file entry {begin}... has a name that is too long (at most 4096 bytes, 255 between slashes)"
        )
    };
    let too_large = "tar is bigger than max archive size of 16777216 bytes";
    let memory = "not enough memory: ";
    for (name, entries, want) in [
        (
            "20,000 levels",
            vec![levels(20_000)],
            too_long(&"a/".repeat(32)),
        ),
        (
            "200,000 parts that lead nowhere",
            vec![long(&format!("{}x", "./".repeat(200_000)), b'0')],
            too_long(&"./".repeat(32)),
        ),
        (
            "levels within the length of a name",
            vec![levels(900)],
            "900 entries".into(),
        ),
        (
            "more folders than entries may be made",
            vec![levels(1001)],
            "tar has more than 1000 entries".into(),
        ),
        (
            "a name as long as may be",
            vec![long(&"n".repeat(255), b'0')],
            "1 entries".into(),
        ),
        (
            "a longer one",
            vec![long(&"n".repeat(256), b'0')],
            too_long(&"n".repeat(64)),
        ),
        (
            "folders that share nothing",
            (0..9)
                .map(|n| long(&format!("{n}{}", "a".repeat(200)).replace('a', "/a"), b'5'))
                .collect(),
            "tar has more than 1000 entries".into(),
        ),
        (
            "many entries",
            (0..1001).map(|n| file(&n.to_string(), b"")).collect(),
            "tar has more than 1000 entries".into(),
        ),
        (
            "many entries of one name",
            (0..1001).map(|_| file("a", b"")).collect(),
            "tar has more than 1000 entries".into(),
        ),
        (
            "a size that is a lie",
            vec![header("a", b'0', 8 * MIB, |_| {}), vec![0; 512]],
            "tar error: unexpected end of file".into(),
        ),
        (
            "a size beyond the bounds",
            vec![header("a", b'0', 1 << 32, |_| {})],
            too_large.into(),
        ),
        ("zeros", vec![file("a", &vec![0; 6 << 20])], memory.into()),
        (
            "more than may be unpacked",
            vec![file("a", &vec![0; 17 << 20])],
            too_large.into(),
        ),
        (
            "what is replaced is given back",
            (0..9).map(|_| file("a", &vec![0; 1 << 20])).collect(),
            "1 entries".into(),
        ),
        (
            "but counts",
            (0..17).map(|_| sparse("a", MIB)).collect(),
            too_large.into(),
        ),
        (
            "a sparse file",
            vec![sparse("a", 2 * MIB)],
            "1 entries".into(),
        ),
        (
            "a large sparse file",
            vec![sparse("a", 8 * MIB)],
            memory.into(),
        ),
        (
            "a huge sparse file",
            vec![sparse("a", 1 << 32)],
            too_large.into(),
        ),
        (
            "records without end",
            vec![
                header("pax", b'x', 2 * MIB, |_| {}),
                vec![b'1'; 2 << 20],
                file("a", b""),
            ],
            "tar error: a header is larger than 1048576 bytes".into(),
        ),
        (
            "a long name without end",
            vec![
                header("././@LongLink", b'L', 2 * MIB, |_| {}),
                vec![b'1'; 2 << 20],
                file("a", b""),
            ],
            "tar error: a header is larger than 1048576 bytes".into(),
        ),
        (
            "content of what is passed over",
            vec![
                header("l", b'2', 2 * MIB, |_| {}),
                vec![0; 2 << 20],
                file("a", b""),
            ],
            "1 entries".into(),
        ),
    ] {
        let found = outcome(&entries);
        if want == memory {
            assert!(found.starts_with(memory), "{name}: {found}");
        } else {
            assert_eq!(found, want, "{name}");
        }
    }
}

// SC-ART-093
#[test]
fn concurrent_unpacks_share_one_budget() {
    let archive = gzip(&mut io::repeat(0).take(0).chain(&*file("a", &vec![0; 3 << 20])));
    assert!(archive.len() < 10_000);
    let budget = Budget::new(8 * MIB);
    let results: Vec<_> = thread::scope(|scope| {
        let unpacking = (0..8).map(|_| {
            let claim = budget.claim();
            scope.spawn(|| unpack(&archive, &ExtractOptions::default(), claim))
        });
        let unpacking: Vec<_> = unpacking.collect();
        unpacking
            .into_iter()
            .map(|one| one.join().unwrap())
            .collect()
    });
    let held: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().ok())
        .collect();
    assert!(held.len() <= 2, "{}", held.len());
    for result in &results {
        if let Err(error) = result {
            let ExtractError::Memory(exhausted) = error else {
                panic!("{error}")
            };
            assert!(!exhausted.is_too_large(), "{error}");
        }
    }
}

#[test]
fn only_selected_entries_are_kept() {
    let entries = [
        file("a/x", b"1"),
        file("b/y", &vec![0; 3 << 20]),
        file("b/z", b"2"),
        file("bc", b"3"),
    ];
    let archive = gzip(&mut &entries.concat()[..]);
    let wanted = |below: &str| {
        let options = ExtractOptions {
            below: TreePath::new(below).unwrap(),
            ..ExtractOptions::default()
        };
        let tree = unpack(&archive, &options, Budget::new(MIB).claim())?;
        let paths = tree.iter().map(|(path, _)| path.to_string());
        Ok::<_, ExtractError>(paths.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(wanted("a").unwrap(), "a a/x");
    assert_eq!(wanted("b/z").unwrap(), "b b/z");
    assert_eq!(wanted("c").unwrap(), "");
    assert!(matches!(wanted("b"), Err(ExtractError::Memory(_))));
}
