//! Archives: their bytes, and what is read back from them.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flux_artifact::{
    Algorithm, ArchiveError, ExtractError, ExtractOptions, TarGz, extract, pack_directory,
    pack_tree,
};
use flux_budget::Claim;
use flux_tree::{Entry, Tree, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut tar).unwrap();
    tar
}

fn tar_sum(archive: TarGz<Vec<u8>>) -> String {
    let tar = gunzip(&archive.finish().unwrap());
    Algorithm::Sha256.digest(&tar).hex().to_owned()
}

fn archive() -> TarGz<Vec<u8>> {
    TarGz::new(Vec::new()).unwrap()
}

// The sums are those of what Go's archive/tar writes for the same headers.
#[test]
fn tar_streams_match_go() {
    let (d, e, n) = (
        |count| "d".repeat(count),
        "e".repeat(100),
        |count| "n".repeat(count),
    );
    let accents = |count| "é".repeat(count);
    for (name, sum) in [
        // SC-ART-062
        (
            "a".into(),
            "30fea6bfc5d3a50dc72f9596e52c3b7d2c856373a8d8b29113bff6c4207f66bd",
        ),
        (
            n(100),
            "a8dc8ab74aa62fc2957f3dc42e2434bdb35d01e464f4b89572b421b01d58ac2b",
        ),
        // SC-ART-063
        (
            n(101),
            "264f43de30af46bbdfc41c08f05507170a503b6283eaca679266d97ea7533bdc",
        ),
        (
            format!("{}/{}", d(60), n(60)),
            "b56069f7a3c83a7cb4473c323a900601c3b9f3cecdae6c8dea4334752f0d60e4",
        ),
        (
            format!("{}/{}", d(155), n(100)),
            "897b550ff621004a34e497160ba93279bfd77b6352fe5118dfbf1e1c2f731815",
        ),
        (
            format!("{}/{}", d(156), n(99)),
            "0faabca8d08cedddb6763038a5ba08b3857683d0d70441198f13f4a78847324e",
        ),
        (
            format!("{}/{e}/{}", d(100), n(100)),
            "a53bb1c7b8a604b16907f614fdb13024979cbf123af4c0f06b3f2378ed35efb9",
        ),
        (
            format!("{}/{}", d(50), n(101)),
            "5d28a43b9d630f3e2b18e2ff07709380abbf11655c0f95aad7e493ad61f8cd2e",
        ),
        (
            "日本語.yaml".into(),
            "98c2b7f0cbf42b6169cc853b63abd5b110f1ce4db0e40f45fa745cac9ee81fa8",
        ),
        (
            format!("{}/{}", accents(60), "x".repeat(60)),
            "3b9ea8f00df4e4a3a3b07581e0fa152e715ebdb8d5a18484abfd99bd6ce73934",
        ),
        (
            format!("d/{}", accents(100)),
            "adbd242b46824c702569567386fcc956c2e5382fa4e9a3af770a96d03a5abc4b",
        ),
        (
            format!("{}/{}", d(99), n(120)),
            "d9447cecde880bab9ea2f250045dfade95dbfce3fec8ce658aeca398ced83be2",
        ),
        (
            format!("{}é/{}", d(98), n(120)),
            "13e51ec5e9e7e87acbc5f3f8745542711f4cc7080457c8c7e5c49e3aef708a3b",
        ),
    ] {
        let mut archive = archive();
        archive
            .file(name.as_bytes(), false, 8, &mut &b"content\n"[..])
            .unwrap();
        assert_eq!(tar_sum(archive), sum, "{name}");
    }
    let mut odd = archive();
    odd.file(b"bad\xff", false, 8, &mut &b"content\n"[..])
        .unwrap();
    assert_eq!(
        tar_sum(odd),
        "b1c324f2af196bf1cebf599bd6772a190408089748aa40ad717a6cac084c9384"
    );
    // SC-ART-067
    assert_eq!(
        tar_sum(archive()),
        "a6c3074b61cf17b6c20da13944bfac01ed05930dc9cef70890045d62cbfb78d5"
    );

    // SC-ART-061
    let mut several = archive();
    several.directory(b"a").unwrap();
    several
        .file(b"a/b", true, 10, &mut &b"#!/bin/sh\n"[..])
        .unwrap();
    several.file(b"a/e", false, 0, &mut io::empty()).unwrap();
    several
        .file(b"a-b", false, 512, &mut "x".repeat(512).as_bytes())
        .unwrap();
    several
        .file(b"b.txt", false, 513, &mut "y".repeat(513).as_bytes())
        .unwrap();
    assert_eq!(
        tar_sum(several),
        "796ed45f82b0573114fa4847308611f6ab16e11288e9d6f88af5b78af4dc296e"
    );
}

/// Yields its bytes in reads of one size.
struct Portions<'b>(&'b [u8], usize);

impl Read for Portions<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

/// Content that compresses neither well nor badly, 300 KB of it.
fn content() -> Vec<u8> {
    let mut seed = 1_u64;
    let words = (0..50_000).map(|_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{:x} ", (seed >> 40) & 0xffff)
    });
    words.collect::<String>().into_bytes()
}

// SC-ART-064 RT-ART-007
#[test]
fn the_same_files_give_the_same_bytes() {
    let content = content();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("a/empty")).unwrap();
    fs::write(at("a/big"), &content).unwrap();
    fs::write(at("a.txt"), "a").unwrap();
    fs::write(at("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(at("run"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(at("a.txt"), fs::Permissions::from_mode(0o444)).unwrap();
    // SC-ART-060
    symlink("a.txt", at("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let from_folder = pack_directory(folder.path(), |_, _| false, Vec::new()).unwrap();

    let mut tree = Tree::new();
    tree.insert(path("a/empty"), Entry::Directory).unwrap();
    tree.insert(path("link"), Entry::Symlink("a.txt".into()))
        .unwrap();
    tree.insert_file(path("run"), "#!/bin/sh\n", true).unwrap();
    tree.insert_file(path("a.txt"), "a", false).unwrap();
    tree.insert_file(path("a/big"), content.clone(), false)
        .unwrap();
    let from_tree = pack_tree(&tree, |_, _| false, Vec::new()).unwrap();
    assert_eq!(from_folder, from_tree);

    for portion in [1, 1000, 4096, 65_537] {
        let mut stream = archive();
        stream.directory(b"a").unwrap();
        stream
            .file(
                b"a/big",
                false,
                content.len() as u64,
                &mut Portions(&content, portion),
            )
            .unwrap();
        stream.directory(b"a/empty").unwrap();
        stream.file(b"a.txt", false, 1, &mut &b"a"[..]).unwrap();
        stream
            .file(b"run", true, 10, &mut &b"#!/bin/sh\n"[..])
            .unwrap();
        assert_eq!(stream.finish().unwrap(), from_tree, "portions of {portion}");
    }
    // SC-ART-065: the header of the gzip stream has no name, time or system.
    assert_eq!(from_tree[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    // The compressor's output: a new version may change it, and every digest with it.
    assert_eq!(
        Algorithm::Sha256.digest(&from_tree).hex(),
        "41c105a4b8e7f31f0330ff53c651304282409a43569eb092d849bc76a655dae4"
    );

    let mut without_link = tree.clone();
    without_link.remove(&path("link"));
    let read = extract(
        &from_tree[..],
        &ExtractOptions::default(),
        Claim::unlimited(),
    )
    .unwrap();
    assert_eq!(read, without_link);
}

// SC-ART-066
#[test]
fn entries_below_an_excluded_folder_are_filtered_individually() {
    let mut patterns = flux_ignore::Patterns::new();
    patterns.read("", "a\n!a/keep\n").unwrap();
    let filter = flux_ignore::Filter::for_source(patterns);
    let mut tree = Tree::new();
    for name in ["a/keep", "a/drop", "b"] {
        tree.insert_file(path(name), name.to_owned(), false)
            .unwrap();
    }
    let packed = pack_tree(
        &tree,
        |path, is_dir| filter.excludes(path, is_dir).unwrap(),
        Vec::new(),
    )
    .unwrap();
    let tar = gunzip(&packed);
    let mut archive = tar::Archive::new(&tar[..]);
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, [".", "a/keep", "b"]);
}

#[test]
fn an_archive_refuses_unordered_and_oversized_entries() {
    let mut ordered = archive();
    ordered.file(b"b", false, 0, &mut io::empty()).unwrap();
    for name in ["b", "a", "a/b"] {
        let refused = ordered.file(name.as_bytes(), false, 0, &mut io::empty());
        assert!(matches!(refused, Err(ArchiveError::OutOfOrder { name: found }) if found == name));
    }
    ordered.directory(b"b/c").unwrap();
    for (size, problem) in [
        (2, "content is longer than announced"),
        (4, "content ended early"),
    ] {
        let refused = archive()
            .file(b"a", false, size, &mut &b"abc"[..])
            .unwrap_err();
        assert_eq!(refused.to_string(), "failed to write 'a' to the archive");
        let source = std::error::Error::source(&refused).unwrap();
        assert_eq!(source.to_string(), problem);
    }
    let refused = archive()
        .file(b"a", false, 1 << 33, &mut io::empty())
        .unwrap_err();
    assert_eq!(refused.to_string(), "'a' is larger than 8 GiB");
    let missing = pack_directory("/nonexistent".as_ref(), |_, _| false, Vec::new()).unwrap_err();
    assert_eq!(missing.to_string(), "invalid dir path: /nonexistent");
}

/// A `tar.gz` of entries with these exact names, even those that a writer would refuse.
fn crafted(entries: &[(&str, u8, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if *kind == b'2' {
            header.set_link_name("target").unwrap();
        }
        header.set_cksum();
        tar.append(&header, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn malicious_archives_are_refused() {
    let strict = ExtractOptions {
        skip_symlinks: false,
        ..ExtractOptions::default()
    };
    let lenient = ExtractOptions::default();
    let refused = |name: &str| Err(format!("tar contained invalid name error \"{name}\""));
    for (entries, options, want) in [
        (
            &[("./", b'5', ""), ("./a", b'0', "x"), ("b/c", b'0', "y")][..],
            &strict,
            Ok("a b b/c"),
        ),
        // SC-ART-095
        (
            &[
                ("pax_global_header", b'g', "12 comment=x"),
                ("a", b'0', "x"),
            ],
            &strict,
            Ok("a"),
        ),
        (&[("a", b'0', "x"), ("a", b'0', "y")], &strict, Ok("a")),
        (&[("l", b'2', ""), ("a", b'0', "x")], &lenient, Ok("a")),
        // SC-ART-092
        (
            &[("l", b'2', "")],
            &strict,
            Err("tar file entry l is a symlink, which is not allowed in this context".into()),
        ),
        (
            &[("f", b'6', "")],
            &strict,
            Err("tar file entry f contained unsupported file type prw-r--r--".into()),
        ),
        // SC-ART-090
        (&[("../a", b'0', "x")], &strict, refused("../a")),
        (&[("a/../../b", b'0', "x")], &strict, refused("a/../../b")),
        (&[("..", b'5', "")], &strict, refused("..")),
        (
            &[("/etc/passwd", b'0', "x")],
            &strict,
            refused("/etc/passwd"),
        ),
        (&[("a\\b", b'0', "x")], &strict, refused("a\\b")),
        (&[("", b'0', "x")], &strict, refused("")),
        (
            &[("a", b'0', "x"), ("a/b", b'0', "y")],
            &strict,
            Err("tar entries do not fit each other".into()),
        ),
    ] {
        let found = extract(&crafted(entries)[..], options, Claim::unlimited());
        let found = found.map(|tree| {
            tree.iter()
                .map(|(path, _)| path.as_str().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        });
        assert_eq!(
            found.map_err(|error| error.to_string()),
            want.map(str::to_owned),
            "{entries:?}"
        );
    }
}

#[test]
fn damaged_and_oversized_archives_are_refused() {
    let options = ExtractOptions {
        max_bytes: 10_000,
        max_entries: 3,
        ..ExtractOptions::default()
    };
    // SC-ART-091
    assert!(matches!(
        extract(&b"PK\x03\x04"[..], &options, Claim::unlimited()),
        Err(ExtractError::Gzip(_))
    ));
    assert!(matches!(
        extract(&b""[..], &options, Claim::unlimited()),
        Err(ExtractError::Gzip(_))
    ));
    let good = crafted(&[("a", b'0', "x")]);
    assert!(matches!(
        extract(&good[..good.len() - 10], &options, Claim::unlimited()),
        Err(ExtractError::Gzip(_))
    ));
    let bomb = crafted(&[("a", b'0', &"x".repeat(20_000))]);
    assert!(matches!(
        extract(&bomb[..], &options, Claim::unlimited()),
        Err(ExtractError::TooLarge(10_000))
    ));
    let many = crafted(&[
        ("a", b'0', ""),
        ("b", b'0', ""),
        ("c", b'0', ""),
        ("d", b'0', ""),
    ]);
    assert!(matches!(
        extract(&many[..], &options, Claim::unlimited()),
        Err(ExtractError::TooMany(3))
    ));

    // SC-ART-095: a file whose data is shorter than its header says
    let tar = gunzip(&crafted(&[("a", b'0', &"x".repeat(2000))]));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    io::copy(&mut &tar[..1024], &mut gzip).unwrap();
    assert!(matches!(
        extract(&gzip.finish().unwrap()[..], &options, Claim::unlimited()),
        Err(ExtractError::Tar(_))
    ));
}
