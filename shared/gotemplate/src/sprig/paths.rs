//! Slash-separated paths: Go's `path`, and `filepath` as on Linux, which is the same.

use crate::functions::Functions;
use crate::value::Str;

pub(super) fn register(f: &mut Functions) {
    f.add("base", |p: Str| Str::new(base(&p)));
    f.add("dir", |p: Str| Str::from(dir(&p)));
    f.add("clean", |p: Str| Str::from(clean(&p)));
    f.add("ext", |p: Str| Str::new(ext(&p)));
    f.add("isAbs", |p: Str| p.first() == Some(&b'/'));
    f.alias("osBase", "base");
    f.alias("osDir", "dir");
    f.alias("osClean", "clean");
    f.alias("osExt", "ext");
    f.alias("osIsAbs", "isAbs");
}

fn base(path: &[u8]) -> &[u8] {
    if path.is_empty() {
        return b".";
    }
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let path = path.get(..end).unwrap_or_default();
    if path.is_empty() {
        return b"/";
    }
    let start = memchr::memrchr(b'/', path).map_or(0, |i| i + 1);
    path.get(start..).unwrap_or_default()
}

fn dir(path: &[u8]) -> Vec<u8> {
    let end = memchr::memrchr(b'/', path).map_or(0, |i| i + 1);
    clean(path.get(..end).unwrap_or_default())
}

fn ext(path: &[u8]) -> &[u8] {
    let name = memchr::memrchr(b'/', path).map_or(0, |i| i + 1);
    let name = path.get(name..).unwrap_or_default();
    memchr::memrchr(b'.', name)
        .and_then(|dot| name.get(dot..))
        .unwrap_or_default()
}

fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    if rooted {
        [b"/", joined.as_slice()].concat()
    } else if joined.is_empty() {
        b".".to_vec()
    } else {
        joined
    }
}
