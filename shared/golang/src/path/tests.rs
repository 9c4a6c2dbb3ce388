//! Tests of paths and patterns.

use super::{Pattern, base, clean, dir, ext, join};

#[test]
fn paths_are_taken_apart() {
    for (path, want) in [
        ("", "."),
        ("a//b/./c/..", "a/b"),
        ("../a", "../a"),
        ("a/../../b", "../b"),
        ("/../a/", "/a"),
        ("/", "/"),
        ("./", "."),
    ] {
        assert_eq!(clean(path), want, "{path:?}");
    }
    for (path, want) in [
        ("", "."),
        ("/", "/"),
        ("a/b/", "b"),
        ("a", "a"),
        ("//", "/"),
    ] {
        assert_eq!(base(path), want, "{path:?}");
    }
    assert_eq!(
        (ext("a.b/c"), ext("c.tar.gz"), ext(".x")),
        ("", ".gz", ".x")
    );
    for (folder, name, want) in [
        ("", "", ""),
        ("", "a.yaml", "a.yaml"),
        ("a", "../b", "b"),
        ("..", "base", "../base"),
        ("../base", "../other/x.yaml", "../other/x.yaml"),
        ("a", "..", "."),
        ("/a", "../../b", "/b"),
    ] {
        assert_eq!(join(folder, name), want, "{folder} {name}");
    }
}

#[test]
fn byte_and_text_paths_behave_alike() {
    for path in ["", "/", "a//b/../c", "../x.y", "a/b.c/", "/..", "ü/é.è"] {
        let bytes = path.as_bytes();
        assert_eq!(clean(path).as_bytes(), clean(bytes), "{path}");
        assert_eq!(dir(path).as_bytes(), dir(bytes), "{path}");
        assert_eq!(base(path).as_bytes(), base(bytes), "{path}");
        assert_eq!(ext(path).as_bytes(), ext(bytes), "{path}");
    }
}

#[test]
fn patterns_match_as_in_go() {
    for (pattern, name, want) in [
        ("abc", "abc", Some(true)),
        ("*", "abc", Some(true)),
        ("*c", "abc", Some(true)),
        ("a*", "a", Some(true)),
        ("a*", "ab/c", Some(false)),
        ("a*/b", "abc/b", Some(true)),
        ("a*/b", "a/c/b", Some(false)),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Some(false)),
        ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
        ("ab[c]", "abc", Some(true)),
        ("ab[b-d]", "abc", Some(true)),
        ("ab[^e-g]", "abc", Some(true)),
        ("a\\*b", "a*b", Some(true)),
        ("a\\*b", "ab", Some(false)),
        ("[a-ζ]*", "α", Some(true)),
        ("a?b", "a/b", Some(false)),
        ("[\\]a]", "]", Some(true)),
        ("[-]", "-", None),
        ("[x-]", "x", None),
        ("[", "a", None),
        ("[^", "a", None),
        ("[^bc", "a", None),
        ("a[", "a", None),
        ("a[", "ab", None),
        ("*x", "xxx", Some(true)),
        ("\\", "a", None),
        ("templates/.?*", "templates/.x", Some(true)),
        ("templates/.?*", "templates/.", Some(false)),
    ] {
        let matched = Pattern::compile(pattern.as_bytes()).map(|p| p.matches(name.as_bytes()));
        assert_eq!(matched.ok(), want, "{pattern} {name}");
    }
}
