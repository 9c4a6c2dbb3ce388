//! Random patterns over random paths, compared with Go's matcher.

use flux_ignore::{Filter, Patterns};
use oracle::{Answer, Oracle, base64};
use serde_json::json;

/// A deterministic random number generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn joined(&mut self, parts: &[&[u8]], most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).flat_map(|_| self.pick(parts).to_vec()).collect()
    }

    fn path(&mut self) -> Vec<u8> {
        const NAMES: [&[u8]; 16] = [
            b"a",
            b"b",
            b"ab",
            b"abc",
            b"a.b",
            b".git",
            b"a*",
            b"[a]",
            b"\\",
            b" ",
            "é".as_bytes(),
            b"\xff",
            b"-",
            b"!a",
            b"#",
            b"a b",
        ];
        let depth = 1 + self.below(4);
        let mut path = (0..depth)
            .map(|_| self.pick(&NAMES))
            .collect::<Vec<_>>()
            .join(&b'/');
        if self.below(3) == 0 {
            path.push(b'/');
        }
        path
    }

    fn text(&mut self) -> Vec<u8> {
        const PARTS: [&[u8]; 29] = [
            b"a",
            b"b",
            b"c",
            b"ab",
            b"/",
            b"/",
            b"/",
            b"*",
            b"*",
            b"**",
            b"**/",
            b"/**",
            b"?",
            b"[",
            b"]",
            b"[a-c]",
            b"[^a]",
            b"\\",
            b"!",
            b"#",
            b" ",
            b"-",
            b".",
            b".git",
            "é".as_bytes(),
            b"\xff",
            b"\r",
            b"\t",
            b"^",
        ];
        let lines = 1 + self.below(4);
        (0..lines)
            .map(|_| self.joined(&PARTS, 7))
            .collect::<Vec<_>>()
            .join(&b'\n')
    }
}

// RT-ART-019
#[test]
fn random_patterns_match_as_in_go() {
    let Some(mut go) = Oracle::start("sourceignore") else {
        return;
    };
    let mut random = Random(oracle::seed());
    let cases: Vec<_> = (0..oracle::cases(3000))
        .map(|_| {
            let scopes: [&[u8]; 5] = [b"", b"", b"a", b"a/b", b"ab"];
            let count = random.below(3);
            let files: Vec<_> = (0..count)
                .map(|_| (random.pick(&scopes), random.text()))
                .collect();
            let paths: Vec<_> = (0..40).map(|_| random.path()).collect();
            (files, paths)
        })
        .collect();
    let questions: Vec<_> = cases
        .iter()
        .map(|(files, paths)| {
            let file = |(scope, text): &(&[u8], Vec<u8>)| json!({"scope": base64(scope), "text": base64(text)});
            json!({
                "mode": "excluded",
                "files": files.iter().map(file).collect::<Vec<_>>(),
                "paths": paths.iter().map(base64).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut excluded = 0;
    for ((files, paths), answer) in cases.iter().zip(go.ask_all(&questions)) {
        let mut patterns = Patterns::new();
        for (scope, text) in files {
            patterns.read(scope, text).unwrap();
        }
        let filter = Filter::for_source(patterns);
        let is_excluded = |path: &Vec<u8>| match path.strip_suffix(b"/") {
            Some(folder) => filter.excludes(folder, true).unwrap(),
            None => filter.excludes(path, false).unwrap(),
        };
        let ours: Vec<_> = (0..paths.len())
            .filter(|at| is_excluded(&paths[*at]))
            .collect();
        excluded += ours.len();
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown: Vec<_> = files
            .iter()
            .map(|(scope, text)| (show(scope), show(text)))
            .collect();
        let named: Vec<_> = ours.iter().map(|at| show(&paths[*at])).collect();
        assert_eq!(
            Answer::Output(json!(ours)),
            answer,
            "{shown:?} excludes {named:?} of {:?}",
            paths.iter().map(|path| show(path)).collect::<Vec<_>>()
        );
    }
    assert!(excluded > 1000, "the cases say too little: {excluded}");
}
