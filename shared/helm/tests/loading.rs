//! Tests of which charts are accepted and which are refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use flux_errors::chain;
use flux_helm::{Chart, File, LoadError};
use flux_tree::{Entry, Tree, TreePath};
use oracle::{Answer, Oracle};
use serde_json::json;

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";

/// An archive with the paths as given, even invalid ones.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, content) in entries {
        let mut header = tar::Header::new_ustar();
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&tar).unwrap();
    packed.finish().unwrap()
}

fn load(entries: &[(&str, &[u8])]) -> Result<Chart, LoadError> {
    Chart::from_archive(&archive(entries))
}

#[test]
fn archive_files_are_sorted_into_chart_parts() {
    let inner = archive(&[(
        "sub/Chart.yaml",
        b"apiVersion: v1\nname: packed\nversion: 2.0.0\n",
    )]);
    let chart = load(&[
        ("any/Chart.yaml", CHART.as_bytes()),
        ("any/values.yaml", b"\xef\xbb\xbfa: 1\n"),
        ("any/templates/x.yaml", b"x"),
        ("any/crds/x.yaml", b"kind: CustomResourceDefinition"),
        ("any/.helmignore", b"README.md\n"),
        ("any/README.md", b"r"),
        ("any/charts/packed-2.0.0.tgz", &inner),
        ("any/charts/packed-2.0.0.tgz.prov", b"p"),
        (
            "any/charts/plain/Chart.yaml",
            b"name: plain\nversion: 1.0.0\n",
        ),
        ("any/charts/_hidden/Chart.yaml", b"broken"),
        ("any/charts/README.md", b"loose"),
    ]);
    // HE-LOAD-018: loose files form an otherwise empty subchart with their name.
    assert_eq!(
        chain(&chart.unwrap_err()),
        "error unpacking subchart README.md in web: Chart.yaml file is missing"
    );
    let chart = load(&[
        ("any\\Chart.yaml", CHART.as_bytes()),
        ("any/values.yaml", b"\xef\xbb\xbfa: 1\n"),
        ("any/templates/x.yaml", b"x"),
        ("any/crds/x.yaml", b"kind: CustomResourceDefinition"),
        ("any/.helmignore", b"README.md\n"),
        ("any/README.md", b"r"),
        ("any/charts/packed-2.0.0.tgz", &inner),
        ("any/charts/packed-2.0.0.tgz.prov", b"p"),
        (
            "any/charts/plain/Chart.yaml",
            b"name: plain\nversion: 1.0.0\n",
        ),
        ("any/charts/_hidden/Chart.yaml", b"broken"),
    ])
    .unwrap();
    // HE-LOAD-006, HE-LOAD-007, HE-LOAD-016
    let files: Vec<_> = chart.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(
        files,
        [
            "crds/x.yaml",
            ".helmignore",
            "README.md",
            "charts/packed-2.0.0.tgz.prov"
        ]
    );
    // HE-LOAD-017
    let subcharts: Vec<_> = chart.dependencies.iter().map(Chart::name).collect();
    assert_eq!(subcharts, ["packed", "plain"]);
    assert_eq!(chart.dependencies[1].metadata.api_version, "v1");
    // HE-LOAD-005: without its byte order mark
    assert!(chart.values.unwrap().contains_key("a"));
    assert_eq!(chart.templates.len(), 1);
}

#[test]
fn subchart_order_is_deterministic() {
    // HE-LOAD-021
    let names = ["zeta", "alpha", "mid"];
    let paths = names.map(|name| format!("any/charts/{name}/Chart.yaml"));
    let texts = names.map(|name| format!("name: {name}\nversion: 1.0.0\n"));
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let mut entries = vec![("any/Chart.yaml", CHART.as_bytes())];
        for i in order {
            entries.push((paths[i].as_str(), texts[i].as_bytes()));
        }
        let chart = load(&entries).unwrap();
        let subcharts: Vec<_> = chart.dependencies.iter().map(Chart::name).collect();
        assert_eq!(subcharts, ["alpha", "mid", "zeta"], "{order:?}");
    }
}

#[test]
fn odd_archives_are_refused() {
    let yaml = CHART.as_bytes();
    for (entries, want) in [
        // HE-LOAD-005
        (vec![], "no files in chart archive"),
        // HE-LOAD-003
        (
            vec![("c//etc/passwd", yaml)],
            "chart illegally contains absolute paths",
        ),
        (
            vec![("Chart.yaml", yaml)],
            "chart illegally contains content outside the base directory: \"Chart.yaml\"",
        ),
        (
            vec![("c/../../x", yaml)],
            "chart illegally references parent directory",
        ),
        (
            vec![("c/..x", yaml)],
            "chart illegally references parent directory",
        ),
        (
            vec![("c/c:/x", yaml)],
            "chart contains illegally named files",
        ),
        (
            vec![("Chart.yaml/x", yaml)],
            "chart yaml not in base directory",
        ),
        // HE-LOAD-019
        (
            vec![("c/values.yaml", b"a: 1".as_slice())],
            "Chart.yaml file is missing",
        ),
    ] {
        assert_eq!(chain(&load(&entries).unwrap_err()), want);
    }
    // HE-LOAD-001
    assert_eq!(
        chain(&Chart::from_archive(b"PK").unwrap_err()),
        "gzip: invalid header"
    );
    // HE-LOAD-002, HC-CHART-025
    let large = vec![b'#'; 5 * 1024 * 1024 + 1];
    load(&[("c/Chart.yaml", yaml), ("c/big", &large)]).unwrap();
    let part = vec![b'#'; 5 * 1024 * 1024];
    let many: Vec<_> = (0..21)
        .map(|i| (format!("c/{i}"), part.as_slice()))
        .collect();
    let many: Vec<_> = many
        .iter()
        .map(|(path, content)| (path.as_str(), *content))
        .collect();
    assert_eq!(
        chain(&load(&many).unwrap_err()),
        "decompressed chart is larger than the maximum size 104857600"
    );
}

// HE-LOAD-004
#[test]
fn links_in_archives_are_empty_files() {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut add = |path: &str, kind: tar::EntryType, link: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_path(path).unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        header.set_cksum();
        tar.append(&header, data).unwrap();
    };
    add(
        "c/Chart.yaml",
        tar::EntryType::Regular,
        "",
        CHART.as_bytes(),
    );
    add(
        "c/templates/link.yaml",
        tar::EntryType::Symlink,
        "/etc/passwd",
        b"",
    );
    add("c/hard", tar::EntryType::Link, "c/Chart.yaml", b"");
    let archive = tar.into_inner().unwrap().finish().unwrap();
    let chart = Chart::from_archive(&archive).unwrap();
    assert_eq!(chart.templates[0].name, "templates/link.yaml");
    assert!(chart.templates[0].data.is_empty());
    let hard = chart.files.iter().find(|file| file.name == "hard");
    assert!(hard.is_some_and(|file| file.data.is_empty()));
}

#[test]
fn chart_yaml_is_validated() {
    for (text, want) in [
        // HE-LOAD-010
        (
            "version: 1.0.0",
            "validation: chart.metadata.name is required",
        ),
        ("name: a", "validation: chart.metadata.version is required"),
        // HE-LOAD-011
        (
            "name: a/b\nversion: 1.0.0",
            "validation: chart.metadata.name \"a/b\" is invalid",
        ),
        (
            "name: ..\nversion: 1.0.0",
            "validation: chart.metadata.name \"..\" is not allowed",
        ),
        (
            "name: a\nversion: x",
            "validation: chart.metadata.version \"x\" is invalid",
        ),
        (
            "name: a\nversion: 1.0.0\ntype: app",
            "validation: chart.metadata.type must be application or library",
        ),
        // HE-LOAD-013
        (
            "name: a\nversion: 1.0.0\ndependencies: [null]",
            "validation: dependencies must not contain empty or null nodes",
        ),
        (
            "name: a\nversion: 1.0.0\ndependencies: [{name: x}, {name: y, alias: x}]",
            "validation: more than one dependency with name or alias \"x\"",
        ),
        (
            "name: a\nversion: 1.0.0\ndependencies: [{name: x, alias: 'a b'}]",
            "validation: dependency \"x\" has disallowed characters in the alias",
        ),
        (
            "name: [a]",
            "cannot load Chart.yaml: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go struct field Metadata.name of type string",
        ),
    ] {
        let error = Chart::from_files(vec![File::new("Chart.yaml", text)]).unwrap_err();
        assert_eq!(chain(&error), want, "{text}");
    }
    // HE-LOAD-009 HE-LOAD-012
    let text = "NAME: a\nversion: 1.0.0\nappVersion: 1.10\ndescription: \"a\\tb\\u0007c\"\nx: 1\n";
    let chart = Chart::from_files(vec![File::new("Chart.yaml", text)]).unwrap();
    assert_eq!(chart.metadata.app_version, "1.1");
    assert_eq!(chart.metadata.description, "a bc");
    // HE-LOAD-014
    let files = [
        ("Chart.yaml", "name: a\nversion: 1.0.0\n"),
        ("requirements.yaml", "dependencies: [{name: x}]\n"),
    ];
    let chart =
        Chart::from_files(files.map(|(name, text)| File::new(name, text)).to_vec()).unwrap();
    assert_eq!(chart.metadata.dependencies.unwrap()[0].name, "x");
    assert_eq!(chart.files[0].name, "requirements.yaml");
}

#[test]
fn the_chart_api_version_is_validated_separately() {
    // HE-LOAD-010
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    for version in [
        "v1", "v2", "v3", "v4", "V2", "v2beta1", "\"\"", "null", "2", "true", "\" v2\"", "v2 # two",
    ] {
        let text = format!("apiVersion: {version}\nname: web\nversion: 1.0.0\n");
        let packed = archive(&[("any/Chart.yaml", text.as_bytes())]);
        let chart = Chart::from_archive(&packed).unwrap();
        let ours = chart.metadata.check_api_version();
        let ours = ours.map_err(|error| error.to_string());
        let question = json!({"mode": "supported", "archive": oracle::base64(&packed)});
        let theirs = match go.ask(&question) {
            Answer::Output(_) => Ok(()),
            Answer::Error(text) | Answer::Panic(text) => Err(text),
        };
        assert_eq!(ours, theirs, "{version}");
    }
}

#[test]
fn chart_folders_skip_ignored_files_and_follow_symlinks() {
    // HE-LOAD-008
    let mut tree = Tree::new();
    for (path, text) in [
        ("charts/web/Chart.yaml", CHART),
        ("charts/web/.helmignore", "*.bak\n/docs\n"),
        ("charts/web/a.bak", ""),
        ("charts/web/docs/x.md", ""),
        ("charts/web/sub/docs/x.md", ""),
        ("charts/web/templates/.hidden", ""),
        ("shared/t.yaml", "kind: Pod"),
    ] {
        tree.insert_file(TreePath::new(path).unwrap(), text, false)
            .unwrap();
    }
    let link = TreePath::new("charts/web/templates/t.yaml").unwrap();
    tree.insert(link, Entry::Symlink("../../../shared/t.yaml".to_owned()))
        .unwrap();
    let folder = TreePath::new("charts/web").unwrap();
    let chart = Chart::from_tree(&tree, &folder).unwrap();
    let files: Vec<_> = chart.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(files, [".helmignore", "sub/docs/x.md"]);
    assert_eq!(chart.templates[0].data, "kind: Pod");

    let out = TreePath::new("charts/web/out").unwrap();
    tree.insert(out, Entry::Symlink("../../../../etc/passwd".to_owned()))
        .unwrap();
    assert!(matches!(
        Chart::from_tree(&tree, &folder),
        Err(LoadError::Symlink(..))
    ));
}
