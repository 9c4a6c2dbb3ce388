//! Results for archives that no packer of ours would write. The expected ones were observed in upstream's untar with
//! the same bytes.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use flux_artifact::{ExtractOptions, extract};
use flux_budget::Claim;
use flux_tree::Entry;

/// A header and its content: name, type flag, mode, the announced size, content.
type Raw<'r> = (&'r str, u8, u32, usize, &'r str);

fn file<'r>(name: &'r str, content: &'r str) -> Raw<'r> {
    (name, b'0', 0o644, content.len(), content)
}

fn empty(name: &str, kind: u8) -> Raw<'_> {
    (name, kind, 0o644, 0, "")
}

/// The tar of these entries, written byte by byte.
fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, kind, mode, size, content) in entries {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, name);
        put(100, &format!("{mode:07o}\0"));
        put(108, "0000000\x000000000\0");
        put(124, &format!("{size:011o}\x0000000000000\0"));
        put(148, "        ");
        if matches!(kind, b'1' | b'2') {
            put(157, "target");
        }
        put(257, "ustar  \0");
        header[156] = *kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(header);
        tar.extend(content.as_bytes());
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// The files and folders of the archive with their content, or the error.
fn unpacked(archive: &[u8]) -> Result<String, String> {
    let tree = extract(archive, &ExtractOptions::default(), Claim::unlimited());
    let tree = tree.map_err(|error| error.to_string())?;
    let show = |(path, entry): (&flux_tree::TreePath, &Entry)| match entry {
        Entry::File(file) => {
            let mark = if file.executable { "*" } else { "" };
            let content = String::from_utf8_lossy(&file.content);
            format!("{path}{mark}={content}")
        }
        Entry::Directory => format!("{path}/"),
        Entry::Symlink(_) => format!("{path}@"),
    };
    Ok(tree.iter().map(show).collect::<Vec<_>>().join(" "))
}

#[test]
fn every_tar_entry_type_is_handled_as_in_go() {
    let unsupported = |mode: &str| {
        Err(format!(
            "tar file entry d contained unsupported file type {mode}"
        ))
    };
    let ok = |tree: &str| Ok(tree.to_owned());
    let target = file("target", "x");
    let cases: [(&str, &[Raw], Result<String, String>); 25] = [
        // KC-SRC-012, SC-ART-092
        ("hard link", &[target, empty("h", b'1')], ok("h= target=x")),
        (
            "hard link to what is not there",
            &[empty("h", b'1')],
            ok("h="),
        ),
        (
            "hard link over a file",
            &[file("h", "y"), empty("h", b'1')],
            ok("h="),
        ),
        (
            "hard link that announces content",
            &[("h", b'1', 0o644, 5, "")],
            Err("only wrote 0 bytes to h; expected 5".into()),
        ),
        // KC-SRC-012
        (
            "symbolic link",
            &[empty("l", b'2'), file("l/x", "y")],
            ok("l/ l/x=y"),
        ),
        // KC-SRC-012, SC-ART-092
        (
            "character device",
            &[empty("d", b'3')],
            unsupported("Dcrw-r--r--"),
        ),
        (
            "block device",
            &[empty("d", b'4')],
            unsupported("Drw-r--r--"),
        ),
        ("pipe", &[empty("d", b'6')], unsupported("prw-r--r--")),
        (
            "pipe by its mode, whose owner's id is set",
            &[("d", b'0', 0o014_755, 0, "")],
            unsupported("purwxr-xr-x"),
        ),
        (
            "socket by its mode",
            &[("d", b'0', 0o140_644, 0, "")],
            unsupported("Srw-r--r--"),
        ),
        (
            // SC-ART-094: whether a file is executable is kept of its permissions
            "file by its mode",
            &[("d", b'0', 0o100_755, 1, "x")],
            ok("d*=x"),
        ),
        (
            "folder by its mode",
            &[("d", b'0', 0o040_755, 1, "x"), file("d/a", "a")],
            ok("d/ d/a=a"),
        ),
        (
            "symbolic link by its mode",
            &[("d", b'0', 0o120_755, 1, "x"), file("e", "a")],
            ok("e=a"),
        ),
        (
            "folder with the mode of a link",
            &[("d", b'5', 0o120_755, 0, "")],
            ok("d/"),
        ),
        (
            "file that only its group may execute",
            &[("d", b'0', 0o610, 1, "x")],
            ok("d*=x"),
        ),
        ("contiguous file", &[("d", b'7', 0o644, 1, "x")], ok("d=x")),
        (
            "flag that nobody knows",
            &[("d", b'A', 0o644, 1, "x"), file("e", "y")],
            ok("d=x e=y"),
        ),
        (
            "folder of old",
            &[empty("d/", 0), file("d/e", "y")],
            ok("d/ d/e=y"),
        ),
        ("file of old", &[("d", 0, 0o644, 1, "x")], ok("d=x")),
        (
            "file whose name ends in a slash",
            &[file("d/", "x")],
            ok("d=x"),
        ),
        (
            "names with dots",
            &[file("./a/./b", "x"), file("c//d", "y"), file("..a", "z")],
            ok("..a=z a/ a/b=x c/ c/d=y"),
        ),
        (
            "the same file twice",
            &[file("a", "x"), file("a", "y")],
            ok("a=y"),
        ),
        ("no permissions", &[("a", b'0', 0, 1, "x")], ok("a=x")),
        (
            "a link's name counts too",
            &[empty("../l", b'2')],
            Err("tar contained invalid name error \"../l\"".into()),
        ),
        ("nothing", &[], ok("")),
    ];
    for (name, entries, want) in cases {
        let mut bytes = tar(entries);
        bytes.resize(bytes.len() + 1024, 0);
        assert_eq!(unpacked(&gzip(&bytes)), want, "{name}");
    }
}

#[test]
fn the_end_of_an_archive_is_found_as_in_go() {
    let a = tar(&[file("a", "x")]);
    let b = tar(&[file("b", "y")]);
    let end = [0; 1024];
    let gzip_of = |parts: &[&[u8]]| gzip(&parts.concat());
    for (name, archive, want) in [
        ("without an end", gzip_of(&[&a]), Ok("a=x")),
        ("with half an end", gzip_of(&[&a, &end[..512]]), Ok("a=x")),
        ("more behind the end", gzip_of(&[&a, &end, &b]), Ok("a=x")),
        (
            "two gzip streams",
            [gzip_of(&[&a]), gzip_of(&[&b, &end])].concat(),
            Ok("a=x b=y"),
        ),
        ("a gzip stream of nothing", gzip(b""), Ok("")),
        // SC-ART-091
        ("nothing", vec![], Err("requires gzip-compressed body")),
        ("half a header", gzip(&a[..300]), Err("tar error")),
        (
            "no header",
            gzip("garbage ".repeat(200).as_bytes()),
            Err("tar error"),
        ),
    ] {
        let want = want.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(unpacked(&archive), want, "{name}");
    }
}
