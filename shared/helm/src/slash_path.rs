//! Go's `path` functions.

/// `path.Clean`: without `.`, `..` and doubled slashes where they can be resolved; the empty path is `.`.
pub(crate) fn clean(path: &str) -> String {
    if !path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return path.to_owned();
    }
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `path.Join` of two parts.
pub(crate) fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", "") => String::new(),
        ("", one) | (one, "") => clean(one),
        _ => clean(&format!("{folder}/{name}")),
    }
}

/// `path.Base`.
pub(crate) fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        _ if path.is_empty() => ".",
        None | Some("") => "/",
        Some(name) => name,
    }
}

/// `path.Ext`: from the last dot of the last part on.
pub(crate) fn ext(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rfind('.').map_or("", |dot| &name[dot..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_has_them() {
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
        assert_eq!(join("a", "../b"), "b");
    }
}
