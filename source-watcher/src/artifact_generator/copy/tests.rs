//! What copies do, by upstream's cases.

use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use flux_artifact::pack_tree;
use flux_budget::Claim;

use super::*;

/// The files of a source; those whose name ends in `!` are executable.
fn spooled(files: &[(&str, &[u8])]) -> Arc<Spooled> {
    let mut tree = Tree::new();
    for (name, content) in files {
        let path = TreePath::new(name.trim_end_matches('!')).unwrap();
        let executable = name.ends_with('!');
        tree.insert_file(path, content.to_vec(), executable)
            .unwrap();
    }
    let archive = pack_tree(&tree, |_, _| false, Vec::new()).unwrap();
    let file = tempfile::tempfile().unwrap();
    let options = ExtractOptions::default();
    Arc::new(extract_summed(&archive[..], &options, Claim::unlimited(), file).unwrap())
}

fn texts(files: &[(&str, &str)]) -> Arc<Spooled> {
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, text)| (*name, text.as_bytes()))
        .collect();
    spooled(&files)
}

fn operation(from: &str, to: &str) -> CopyOperation {
    CopyOperation {
        from: from.to_owned(),
        to: to.to_owned(),
        ..CopyOperation::default()
    }
}

fn with(strategy: CopyStrategy, from: &str, to: &str) -> CopyOperation {
    CopyOperation {
        strategy: Some(strategy),
        ..operation(from, to)
    }
}

fn excluding(from: &str, to: &str, exclude: &[&str]) -> CopyOperation {
    CopyOperation {
        exclude: exclude.iter().map(ToString::to_string).collect(),
        ..operation(from, to)
    }
}

fn apply(sources: &SourceFiles, operations: &[CopyOperation]) -> Result<Staging, CopyError> {
    let work = tempfile::tempdir().unwrap();
    let (budget, steps) = (Budget::unlimited(), Steps::default());
    let copier = Copier {
        sources,
        work: work.path(),
        budget: &budget,
        steps: &steps,
        check: &|| Ok(()),
    };
    let mut staging = Staging::new(Claim::unlimited());
    copy(operations, &copier, &mut staging)?;
    Ok(staging)
}

/// The paths that result, folders with a slash; and the content of each file behind a colon where it is not empty.
fn staged(files: &Arc<Spooled>, operations: &[CopyOperation]) -> Vec<String> {
    let sources = SourceFiles::from([("src".to_owned(), files.clone())]);
    let staging = apply(&sources, operations).unwrap();
    shown(&staging)
}

fn shown(staging: &Staging) -> Vec<String> {
    let filter = flux_ignore::Filter::bare(flux_ignore::Patterns::new());
    let content = staging.content(&filter).unwrap();
    let entries = content.iter().map(|(path, entry)| {
        let path = String::from_utf8(path).unwrap();
        match entry {
            flux_artifact::ContentEntry::File {
                executable,
                content,
            } => {
                let text = String::from_utf8(content.read_all().unwrap()).unwrap();
                let executable = if *executable { "!" } else { "" };
                let colon = if text.is_empty() { "" } else { ":" };
                format!(
                    "{path}{executable}{colon}{}",
                    text.trim_end().replace('\n', "|")
                )
            }
            _ => format!("{path}/"),
        }
    });
    entries.collect()
}

fn refused(files: &Arc<Spooled>, operation: &CopyOperation) -> String {
    let sources = SourceFiles::from([("src".to_owned(), files.clone())]);
    let error = apply(&sources, std::slice::from_ref(operation))
        .err()
        .unwrap();
    let text = flux_runtime::outcome::chain(&error);
    let prefix = format!(
        "failed to apply copy operations: failed to apply copy operation from '{}' to '{}': ",
        operation.from, operation.to
    );
    // SW-GEN-131
    text.strip_prefix(&prefix)
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

fn monorepo() -> Arc<Spooled> {
    texts(&[
        ("README.md", ""),
        ("apps/a/a.yaml", "a"),
        ("apps/a/deep/d.yaml", "d"),
        ("apps/a/NOTES.md", ""),
        ("apps/b/b.yaml", "b"),
        ("bin/run!", "sh"),
        ("config/app.yaml", "c"),
        ("config/env/prod.yaml", "p"),
    ])
}

#[test]
fn paths_are_copied_as_cp_does() {
    let source = monorepo();
    for (note, operations, expected) in [
        (
            "SW-GEN-141", // SW-GEN-141
            vec![operation("@src/config/app.yaml", "@artifact/dir/")],
            &["dir/", "dir/app.yaml:c"][..],
        ),
        (
            "SW-GEN-142", // SW-GEN-142
            vec![
                operation("@src/config/app.yaml", "@artifact/x"),
                operation("@src/config/app.yaml", "@artifact/y/z"),
                operation("@src/README.md", "@artifact/y"),
            ],
            &["x:c", "y/", "y/README.md", "y/z:c"],
        ),
        (
            "SW-GEN-143", // SW-GEN-143
            vec![operation("@src/config/app.yaml", "@artifact/")],
            &["app.yaml:c"],
        ),
        (
            "SW-GEN-144", // SW-GEN-144
            vec![
                operation("@src/config", "@artifact/d"),
                operation("@src/bin/", "@artifact/d/"),
            ],
            &[
                "d/",
                "d/bin/",
                "d/bin/run!:sh",
                "d/config/",
                "d/config/app.yaml:c",
                "d/config/env/",
                "d/config/env/prod.yaml:p",
            ],
        ),
        (
            "SW-GEN-145", // SW-GEN-145
            vec![excluding(
                "@src/",
                "@artifact/d/",
                &["apps/**", "*.md", "bin"],
            )],
            &[
                "d/",
                "d/config/",
                "d/config/app.yaml:c",
                "d/config/env/",
                "d/config/env/prod.yaml:p",
            ],
        ),
        (
            "SW-GEN-130, SW-GEN-139", // SW-GEN-130, SW-GEN-139, SW-GEN-180
            vec![
                operation("@src/config/app.yaml", "@artifact/x"),
                operation("@src/bin/run", "@artifact/x"),
            ],
            &["x!:sh"],
        ),
        (
            "SW-GEN-140: a path is cleaned", // SW-GEN-140
            vec![operation(
                "@src/apps/../config/./app.yaml",
                "@artifact/./a//b/",
            )],
            &["a/", "a/b/", "a/b/app.yaml:c"],
        ),
        (
            "SW-GEN-147", // SW-GEN-147
            vec![excluding("@src/README.md", "@artifact/", &["*.md"])],
            &[],
        ),
        (
            "SW-GEN-134: braces alone are literal", // SW-GEN-134
            vec![CopyOperation {
                optional: true,
                ..operation("@src/{apps}", "@artifact/")
            }],
            &[],
        ),
    ] {
        assert_eq!(staged(&source, &operations), expected, "{note}");
    }
}

#[test]
fn patterns_are_copied_as_upstream_does() {
    let source = monorepo();
    for (note, operations, expected) in [
        (
            "SW-GEN-158, SW-GEN-151", // SW-GEN-158, SW-GEN-151
            vec![operation("@src/config/**", "@artifact/dest/")],
            &[
                "dest/",
                "dest/app.yaml:c",
                "dest/env/",
                "dest/env/prod.yaml:p",
            ][..],
        ),
        (
            "SW-GEN-159, SW-GEN-160", // SW-GEN-159, SW-GEN-160
            vec![operation("@src/config/*.yaml", "@artifact/apps")],
            &["apps/", "apps/config/", "apps/config/app.yaml:c"],
        ),
        (
            "SW-GEN-152", // SW-GEN-152
            vec![operation("@src/apps/**/*.yaml", "@artifact/")],
            &[
                "apps/",
                "apps/a/",
                "apps/a/a.yaml:a",
                "apps/b/",
                "apps/b/b.yaml:b",
            ],
        ),
        (
            "SW-GEN-171, SW-GEN-172", // SW-GEN-171, SW-GEN-172
            vec![excluding("@src/apps/*", "@artifact/", &["*.md", "**/deep"])],
            &[
                "apps/",
                "apps/a/",
                "apps/a/a.yaml:a",
                "apps/b/",
                "apps/b/b.yaml:b",
            ],
        ),
        (
            "SW-GEN-170: relative to the literal folders too", // SW-GEN-170
            vec![excluding("@src/apps/**", "@artifact/", &["a/**"])],
            &["b/", "b/b.yaml:b"],
        ),
        (
            "SW-GEN-173: not at folders in between", // SW-GEN-173
            vec![excluding("@src/apps/**", "@artifact/", &["deep/**"])],
            &[
                "a/",
                "a/NOTES.md",
                "a/a.yaml:a",
                "a/deep/",
                "a/deep/d.yaml:d",
                "b/",
                "b/b.yaml:b",
            ],
        ),
        (
            "SW-GEN-214", // SW-GEN-214
            vec![CopyOperation {
                optional: true,
                ..operation("@src/none/*", "@artifact/")
            }],
            &[],
        ),
        (
            "SW-GEN-214: of which everything is left out",
            vec![CopyOperation {
                optional: true,
                ..excluding("@src/*.md", "@artifact/", &["*.md"])
            }],
            &[],
        ),
    ] {
        assert_eq!(staged(&source, &operations), expected, "{note}");
    }
    // a folder that a pattern excludes for its own path
    let all = excluding("@src/config/", "@artifact/", &["config/env"]);
    assert_eq!(staged(&source, &[all]), ["config/", "config/app.yaml:c"]);
}

#[test]
fn errors_of_operations_match_upstream() {
    let source = monorepo();
    let extract = |from| with(CopyStrategy::Extract, from, "@artifact/");
    let braces = "{a,b}".repeat(21);
    for (operation, expected) in [
        // SW-GEN-132
        (operation("@other/x", "@artifact/"), "source alias 'other' not found".to_owned()),
        // SW-GEN-133
        (excluding("@src/README.md", "@artifact/", &["ok", "["]), "invalid exclude pattern '['".to_owned()),
        // SW-GEN-140
        (operation("@src/apps/gone/", "@artifact/"), "source 'apps/gone' does not exist".to_owned()),
        // SW-GEN-154
        (operation("@src/[", "@artifact/"), "invalid glob pattern '[': syntax error in pattern".to_owned()),
        // SW-GEN-155
        (operation("@src/none/*", "@artifact/"), "no files match pattern 'none/*' in source 'src'".to_owned()),
        // SW-GEN-156
        (
            excluding("@src/*.md", "@artifact/", &["*.md"]),
            "all files matching pattern '*.md' in source 'src' were excluded".to_owned(),
        ),
        // SW-GEN-188
        (
            extract("@src/README.md"),
            "extract strategy requires tarball file (.tar.gz or .tgz), got 'README.md'".to_owned(),
        ),
        // SW-GEN-189
        (
            extract("@src/apps"),
            "extract strategy is not supported for directories, got 'apps'".to_owned(),
        ),
        // SW-GEN-205
        (
            extract(&format!("@src/*{braces}")),
            format!(
                "invalid copy source '@src/*{braces}': pattern has 21 alternatives in '{{}}' groups, at most 20 are allowed"
            ),
        ),
        // braces have no meaning here, and are refused nevertheless
        (
            operation(&format!("@src/{braces}"), "@artifact/"),
            format!(
                "invalid copy source '@src/{braces}': pattern has 21 alternatives in '{{}}' groups, at most 20 are allowed"
            ),
        ),
        (
            excluding("@src/README.md", "@artifact/", &[&braces]),
            format!(
                "invalid exclude pattern '{braces}': pattern has 21 alternatives in '{{}}' groups, at most 20 are allowed"
            ),
        ),
        // SW-GEN-135
        (
            operation("@src/../x", "@artifact/"),
            "failed to stat source '../x': statat ../x: path escapes from parent".to_owned(),
        ),
        (
            operation("@src//etc/passwd", "@artifact/"),
            "failed to stat source '/etc/passwd': statat /etc/passwd: path escapes from parent".to_owned(),
        ),
        (
            operation("@src/README.md", "@artifact/../x"),
            "invalid copy destination '@artifact/../x': destination path must stay within the artifact root".to_owned(),
        ),
        (
            operation("@src/README.md", "@artifact//x"),
            "invalid copy destination '@artifact//x': destination path must stay within the artifact root".to_owned(),
        ),
        (
            operation("@src/*.md", "@artifact/a/../x"),
            "invalid copy destination '@artifact/a/../x': destination path must not contain '..'".to_owned(),
        ),
        // no entry of a folder is called `..`
        (operation("@src/../*", "@artifact/"), "no files match pattern '../*' in source 'src'".to_owned()),
    ] {
        assert_eq!(refused(&source, &operation), expected);
    }
}

// SW-GEN-157
#[test]
fn the_root_is_no_match() {
    let all = with(CopyStrategy::Extract, "@src/**", "@artifact/");
    let empty = texts(&[]);
    assert_eq!(
        refused(&empty, &all),
        "all files matching pattern '**' in source 'src' were excluded"
    );
}

#[test]
fn files_that_a_pattern_matches_are_merged() {
    let source = texts(&[
        ("base/values.yaml!", "a: 1\nb: {c: 1}\n"),
        ("base/sub/x.yaml", "a: 1"),
        ("over/values.yaml", "b: {d: 2}\n"),
        ("over/sub/x.yaml", "b: 2"),
        ("over/new.yaml", "not: [yaml"),
        ("bad.yaml", "- a"),
    ]);
    let merge = |from, to| with(CopyStrategy::Merge, from, to);
    let base = operation("@src/base/**", "@artifact/");
    // SW-GEN-181, SW-GEN-184: the mode stays; SW-GEN-182: what is new is not read
    assert_eq!(
        staged(
            &source,
            &[
                base.clone(),
                merge("@src/over/*.yaml", "@artifact/x"),
                merge("@src/over/values.yaml", "@artifact/")
            ]
        ),
        [
            "sub/",
            "sub/x.yaml:a: 1",
            "values.yaml!:a: 1|b:|  c: 1|  d: 2",
            "x/",
            "x/over/",
            "x/over/new.yaml:not: [yaml",
            "x/over/values.yaml:b: {d: 2}",
        ]
    );
    // SW-GEN-186, FR-N-112: files within folders that are copied replace what is there
    assert_eq!(
        staged(
            &source,
            &[base.clone(), merge("@src/over/**", "@artifact/")]
        ),
        [
            "new.yaml:not: [yaml",
            "sub/",
            "sub/x.yaml:b: 2",
            "values.yaml!:a: 1|b:|  c: 1|  d: 2"
        ]
    );
    let sources = SourceFiles::from([("src".to_owned(), source.clone())]);
    let bad = merge("@src/bad.yaml", "@artifact/values.yaml");
    let error = apply(&sources, &[base.clone(), bad]).err().unwrap();
    let error = flux_runtime::outcome::chain(&error);
    // SW-GEN-185
    assert!(
        error.contains("values.yaml': cannot unmarshal YAML document: "),
        "{error}"
    );
    let folder = merge("@src/over/new.yaml", "@artifact/sub/x.yaml/y");
    let error = apply(&sources, &[base, folder]).err().unwrap();
    assert!(flux_runtime::outcome::chain(&error).ends_with("openat sub/x.yaml/y: not a directory"));
}

/// An archive with entries of any name and type.
fn tarball(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if *kind == tar::EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

#[test]
fn archives_are_unpacked() {
    const FILE: tar::EntryType = tar::EntryType::Regular;
    let one = tarball(&[("chart/Chart.yaml", FILE, b"one"), ("chart/x", FILE, b"x")]);
    let two = tarball(&[("chart/Chart.yaml", FILE, b"two")]);
    let source = spooled(&[
        ("one.TGZ", &one),
        ("deep/er/two.tar.gz", &two),
        ("deep/readme.md", b"text"),
    ]);
    let extract = |from, to| with(CopyStrategy::Extract, from, to);
    // SW-GEN-187
    assert_eq!(
        staged(
            &source,
            &[
                extract("@src/one.TGZ", "@artifact/to"),
                extract("@src/deep/er/two.tar.gz", "@artifact/to/")
            ]
        ),
        [
            "to/",
            "to/chart/",
            "to/chart/Chart.yaml:two",
            "to/chart/x:x"
        ]
    );
    // SW-GEN-153, SW-GEN-190
    assert_eq!(
        staged(&source, &[extract("@src/**", "@artifact/")]),
        ["chart/", "chart/Chart.yaml:two", "chart/x:x"]
    );
    assert_eq!(
        staged(&source, &[extract("@src/deep/*", "@artifact/")]),
        [""; 0]
    );
    // SW-GEN-174: excludes are for the archives
    let some = CopyOperation {
        exclude: vec!["*.TGZ".to_owned(), "chart/x".to_owned()],
        ..extract("@src/**/*.{TGZ,tar.gz}", "@artifact/")
    };
    assert_eq!(staged(&source, &[some]), ["chart/", "chart/Chart.yaml:two"]);
}

#[test]
fn hostile_archives_are_refused() {
    use tar::EntryType as T;
    let refuse = |entries: &[(&str, T, &[u8])]| {
        let source = spooled(&[("a.tgz", &tarball(entries))]);
        refused(
            &source,
            &with(CopyStrategy::Extract, "@src/a.tgz", "@artifact/to"),
        )
    };
    // SW-GEN-191, SW-GEN-192, SW-GEN-136
    for (entries, expected) in [
        (
            vec![("../x", T::Regular, &b""[..])],
            "tar contained invalid name error \"../x\"",
        ),
        (
            vec![("/etc/x", T::Regular, b"")],
            "tar contained invalid name error \"/etc/x\"",
        ),
        (
            vec![("a\\b", T::Regular, b"")],
            "tar contained invalid name error \"a\\b\"",
        ),
        (
            vec![("link", T::Symlink, b"")],
            "tar file entry link is a symlink, which is not allowed in this context",
        ),
        (
            vec![("pipe", T::Fifo, b"")],
            "tar file entry pipe contained unsupported file type prw-r--r--",
        ),
    ] {
        assert_eq!(
            refuse(&entries),
            format!("failed to extract tarball \"a.tgz\" to \"to\": {expected}")
        );
    }
    let large = vec![0; (MAX_UNPACKED + 1) as usize];
    assert_eq!(
        refuse(&[("large", T::Regular, &large)]),
        "failed to extract tarball \"a.tgz\" to \"to\": tar is bigger than max archive size of 104857600 bytes"
    );
    let source = spooled(&[("a.tgz", b"text")]);
    let error = refused(
        &source,
        &with(CopyStrategy::Extract, "@src/*.tgz", "@artifact/to"),
    );
    assert!(
        error.starts_with("failed to extract tarball 'a.tgz' to 'to': failed to extract tarball \"a.tgz\" to \"to\": requires gzip-compressed body"),
        "{error}"
    );
    let outside = with(CopyStrategy::Extract, "@src/a.tgz", "@artifact/../x");
    assert_eq!(
        refused(&source, &outside),
        "invalid copy destination '@artifact/../x': destination path must stay within the artifact root"
    );
}

// SW-GEN-092
#[test]
fn work_ends_when_its_time_is_up() {
    let sources = SourceFiles::from([("src".to_owned(), monorepo())]);
    let until = Instant::now();
    let check = || {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "context deadline exceeded");
        if Instant::now() < until {
            Ok(())
        } else {
            Err(late())
        }
    };
    let work = tempfile::tempdir().unwrap();
    let (budget, steps) = (Budget::unlimited(), Steps::new(50));
    let copier = Copier {
        sources: &sources,
        work: work.path(),
        budget: &budget,
        steps: &steps,
        check: &check,
    };
    let apply = |operation: CopyOperation| {
        let mut staging = Staging::new(Claim::unlimited());
        let error = copy(&[operation], &copier, &mut staging).unwrap_err();
        flux_runtime::outcome::chain(&error)
    };
    let late = apply(operation("@src/*.md", "@artifact/"));
    assert!(late.ends_with(": context deadline exceeded"), "{late}");
    let slow = apply(excluding("@src/", "@artifact/", &["**/a*b*c*"]));
    assert!(
        slow.contains("matching the patterns takes too long"),
        "{slow}"
    );
}

#[test]
fn missing_memory_is_told_apart() {
    let sources = SourceFiles::from([("src".to_owned(), monorepo())]);
    let budget = Budget::new(600);
    let work = tempfile::tempdir().unwrap();
    let steps = Steps::default();
    let copier = Copier {
        sources: &sources,
        work: work.path(),
        budget: &budget,
        steps: &steps,
        check: &|| Ok(()),
    };
    let mut staging = Staging::new(budget.claim());
    let error = copy(
        &[operation("@src/apps/*", "@artifact/")],
        &copier,
        &mut staging,
    )
    .unwrap_err();
    assert!(error.exhausted().is_some());
}
