//! Slash-separated paths: Go's `path`, and `filepath`, which is the same on Linux.

use flux_golang::path::{base, clean, dir, ext};
use flux_gotemplate::{Functions, Str};

pub(super) fn register(f: &mut Functions) {
    f.add("base", |p: Str| Str::new(base(&*p)));
    f.add("dir", |p: Str| Str::from(dir(&*p)));
    f.add("clean", |p: Str| Str::from(clean(&*p)));
    f.add("ext", |p: Str| Str::new(ext(&*p)));
    f.add("isAbs", |p: Str| p.first() == Some(&b'/'));
    f.alias("osBase", "base");
    f.alias("osDir", "dir");
    f.alias("osClean", "clean");
    f.alias("osExt", "ext");
    f.alias("osIsAbs", "isAbs");
}
