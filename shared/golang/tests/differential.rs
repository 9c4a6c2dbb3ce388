//! Compares this crate with Go itself.

use flux_golang::{json, path, regexp, strconv, time, unicode, url};
use oracle::{Answer, Oracle, base64, cases, seed};
use serde_json::{Value, json};

/// Pseudo-random numbers (xorshift), the same on every run.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    /// A text of up to `most` of these pieces.
    fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most + 1))
            .map(|_| self.pick(pieces))
            .collect()
    }
}

/// All characters, in texts of 4,096.
fn all_characters() -> Vec<String> {
    let all: Vec<char> = ('\0'..=char::MAX).collect();
    all.chunks(4096).map(|some| some.iter().collect()).collect()
}

/// Asks all questions; `ours` returns this crate's answer to each, errors as text.
fn compare<Q>(
    go: &mut Oracle,
    questions: &[Q],
    request: impl Fn(&Q) -> Value,
    ours: impl Fn(&Q) -> Result<Value, String>,
) {
    let requests: Vec<Value> = questions.iter().map(request).collect();
    let answers = go.ask_all(&requests);
    let mut wrong = Vec::new();
    for ((question, request), answer) in questions.iter().zip(&requests).zip(answers) {
        let theirs = match answer {
            Answer::Output(output) => Ok(output),
            Answer::Error(error) => Err(error),
            Answer::Panic(panic) => panic!("{request}: {panic}"),
        };
        let ours = ours(question);
        if ours != theirs {
            wrong.push(format!("{request}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    let first: Vec<_> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        first.join("\n")
    );
}

/// Every character, and random bytes, most of them not UTF-8.
fn characters_and_random_bytes(random: &mut Random) -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = all_characters()
        .into_iter()
        .map(String::into_bytes)
        .collect();
    for _ in 0..cases(200) {
        let length = random.below(20);
        texts.push((0..length).map(|_| random.next() as u8).collect());
    }
    texts
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn text_is_quoted_as_by_strconv() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let texts = characters_and_random_bytes(&mut Random::new());
    let quoted = |text: &Vec<u8>| Ok(json!([strconv::quote(text), strconv::can_backquote(text)]));
    let request = |text: &Vec<u8>| json!({"mode": "quote", "text": base64(text)});
    compare(&mut go, &texts, request, quoted);
}

#[test]
fn character_classes_match_go() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let classes = |text: &String| {
        let of = |is: fn(char) -> bool| text.chars().filter(|c| is(*c)).collect::<String>();
        let map = |to: fn(char) -> char| text.chars().map(to).collect::<String>();
        Ok(json!([
            of(unicode::is_print),
            of(unicode::is_letter),
            of(unicode::is_digit),
            of(unicode::is_space),
            map(unicode::to_upper),
            map(unicode::to_lower),
        ]))
    };
    let request = |text: &String| json!({"mode": "unicode", "text": base64(text)});
    compare(&mut go, &all_characters(), request, classes);
}

#[test]
fn strings_and_floats_are_written_as_by_encoding_json() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let mut random = Random::new();
    let texts = characters_and_random_bytes(&mut random);
    let written = |text: &Vec<u8>| {
        let mut out = String::new();
        json::push_bytes(&mut out, text, true);
        Ok(Value::String(out))
    };
    let request = |text: &Vec<u8>| json!({"mode": "json", "text": base64(text)});
    compare(&mut go, &texts, request, written);

    let mut floats = vec![
        0.0,
        -0.0,
        1.0,
        1e-6,
        9e-7,
        1e20,
        1e21,
        1e-5,
        123_456.0,
        1e6,
        f64::MAX,
    ];
    while floats.len() < cases(1000) {
        let float = match random.below(2) {
            0 => f64::from_bits(random.next()),
            _ => random.below(1_000_000) as f64 / [1.0, 1e3, 1e9, 1e12][random.below(4)],
        };
        if float.is_finite() {
            floats.push(float);
        }
    }
    let written = |float: &f64| {
        Ok(json!([
            json::format_float(*float),
            strconv::format_float(*float, b'g', None),
            strconv::format_float32(*float as f32, b'g', None),
        ]))
    };
    let request = |float: &f64| json!({"mode": "float", "bits": float.to_bits()});
    compare(&mut go, &floats, request, written);
}

#[test]
fn integers_are_read_as_by_strconv() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let mut random = Random::new();
    let pieces = [
        "0", "1", "7", "9", "_", "x", "X", "o", "b", "a", "f", "-", "+", "99999999",
    ];
    let texts: Vec<String> = (0..cases(2000)).map(|_| random.text(&pieces, 6)).collect();
    for base in [0, 8, 10, 16] {
        let read = |text: &String| {
            let read = strconv::parse_int(text.as_bytes(), base);
            let read = read.map(|n| Value::String(n.to_string()));
            read.map_err(|why| format!("strconv.ParseInt: parsing {}: {why}", strconv::quote(text)))
        };
        let request = |text: &String| json!({"mode": "number", "text": base64(text), "base": base});
        compare(&mut go, &texts, request, read);
    }
}

#[test]
fn durations_are_read_and_written_as_by_time() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let mut random = Random::new();
    let pieces = [
        "1",
        "30",
        "0",
        "5.",
        ".5",
        "h",
        "m",
        "s",
        "ms",
        "us",
        "\u{b5}s",
        "\u{3bc}s",
        "ns",
        "-",
        "+",
        " ",
        "d",
        "é",
        "\"",
        "9223372036854775807",
        "9223372036854775808",
    ];
    let mut texts: Vec<String> = (0..cases(3000)).map(|_| random.text(&pieces, 7)).collect();
    texts.extend(
        [
            "0.3333333333333333333h",
            "0.9223372036854775807h",
            "0.9223372036854775808h",
        ]
        .map(str::to_owned),
    );
    let read = |text: &String| match time::parse_duration(text.as_bytes()) {
        Ok(n) => Ok(json!([n.to_string(), time::format_duration(n)])),
        Err(error) => Err(error.to_string()),
    };
    let request = |text: &String| json!({"mode": "duration", "text": base64(text)});
    compare(&mut go, &texts, request, read);
}

#[test]
fn paths_are_taken_apart_as_by_path() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let mut random = Random::new();
    let pieces = ["/", "/", ".", "..", "a", "b.c", "é", "//"];
    let texts: Vec<String> = (0..cases(3000)).map(|_| random.text(&pieces, 8)).collect();
    let apart = |p: &String| {
        let p = p.as_str();
        Ok(json!([
            path::clean(p),
            path::base(p),
            path::dir(p),
            path::ext(p),
            path::join("a/b", p)
        ]))
    };
    let request = |p: &String| json!({"mode": "path", "text": base64(p)});
    compare(&mut go, &texts, request, apart);
}

#[test]
fn patterns_match_as_by_path() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let mut random = Random::new();
    let pieces = [
        "*", "?", "a", "b", "/", "[", "]", "^", "-", "\\", "é", "[a-b]", "[^a]", "\u{fffd}", "a*",
    ];
    let names = [
        "", "a", "ab", "aab", "a/b", "b", "é", "aé", "[", "*", "\\", "/", "a/", "-", "]",
        "\u{fffd}",
    ];
    let names: Vec<Vec<u8>> = names
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .chain([vec![0xc3], vec![b'a', 0xff]])
        .collect();
    let patterns: Vec<String> = (0..cases(5000)).map(|_| random.text(&pieces, 6)).collect();
    let matched = |pattern: &String| match path::Pattern::compile(pattern.as_bytes()) {
        Ok(pattern) => Ok(json!(
            names
                .iter()
                .map(|name| pattern.matches(name))
                .collect::<Vec<_>>()
        )),
        Err(error) => Err(error.to_string()),
    };
    let request = |pattern: &String| {
        let names: Vec<_> = names.iter().map(base64).collect();
        json!({"mode": "match", "pattern": base64(pattern), "names": names})
    };
    compare(&mut go, &patterns, request, matched);
}

#[test]
fn expressions_are_read_and_match_as_by_regexp() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let mut random = Random::new();
    let pieces = [
        "a",
        "b",
        "é",
        ".",
        "*",
        "+",
        "?",
        "??",
        "|",
        "(",
        ")",
        "(?:",
        "(?i)",
        "(?i",
        "(?P<n>",
        "(?<m>",
        "[",
        "]",
        "[^",
        "-",
        "[a-c]",
        "[[:alpha:]]",
        "[[:foo:]]",
        "\\d",
        "\\W",
        "\\b",
        "\\pL",
        "\\p{Greek}",
        "\\x41",
        "\\x{",
        "}",
        "{",
        "{2}",
        "{2,1}",
        "{1001}",
        "{,3}",
        "^",
        "$",
        "\\",
        "\\Q",
        "\\E",
        "\\A",
        "\\z",
        "\\y",
        "&&",
        "~~",
        "\\07",
        "\\1",
        " ",
        "#",
    ];
    let texts = [
        "", "a", "ab", "aab", "é", "A", "1", " ", "a-b", "α", "[", "]", "{", "}", "a{2}", "\\",
        "&", "~", "\u{7}",
    ];
    let mut patterns: Vec<String> = (0..cases(5000)).map(|_| random.text(&pieces, 6)).collect();
    patterns.extend(
        [
            "(?=a)",
            "(?<=a)",
            "(?z)",
            "x{2}{3}",
            "a**",
            "[z-a]",
            "((a{100}){100})",
            "[]a]",
            "[a-]",
            r"[\w-.]",
        ]
        .map(str::to_owned),
    );
    let matched = |pattern: &String| match regexp::Regex::compile(pattern.as_bytes()) {
        Ok(regex) => Ok(json!(texts.map(|text| regex.is_match(text)))),
        Err(error) => Err(error.to_string()),
    };
    let request = |pattern: &String| json!({"mode": "regexp", "pattern": base64(pattern), "texts": texts.map(base64)});
    compare(&mut go, &patterns, request, matched);
}

#[test]
fn urls_are_read_and_written_as_by_net_url() {
    let Some(mut go) = Oracle::live("golang") else {
        return;
    };
    let mut random = Random::new();
    let pieces = [
        "https", ":", "//", "/", "a.b", "user", "@", "%41", "%", "%zz", "?", "q=1", "#", "[::1]",
        "[", ":80", " ", "é", "..", "*", "\t", "mailto:x",
    ];
    let texts: Vec<String> = (0..cases(3000)).map(|_| random.text(&pieces, 7)).collect();
    let read = |source: &String| {
        let url = url::Url::parse(source.as_bytes())?;
        Ok(json!([
            text(&url.text()),
            text(url.hostname()),
            text(&url.scheme),
            text(&url.path)
        ]))
    };
    let request = |source: &String| json!({"mode": "url", "text": base64(source)});
    compare(&mut go, &texts, request, read);
}
