//! Random versions and ranges, read by the Go library and by ours.

use flux_semver::{Constraints, Version, VersionError};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};

type Read = fn(&str) -> Result<Version, VersionError>;

/// A small generator: tests must be repeatable.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn version(&mut self) -> String {
        const NUMBERS: [&str; 9] = [
            "0",
            "1",
            "2",
            "3",
            "10",
            "01",
            "1x",
            "99999999999999999999",
            "",
        ];
        let mut text = self.pick(&["", "", "v", "V", " "]).to_owned();
        for i in 0..=self.below(3) {
            if i > 0 {
                text.push('.');
            }
            let likely = if self.below(8) == 0 { NUMBERS.len() } else { 5 };
            text.push_str(NUMBERS[self.below(likely)]);
        }
        self.suffixes(&mut text);
        text
    }

    fn suffixes(&mut self, text: &mut String) {
        if self.below(3) == 0 {
            text.push('-');
            text.push_str(self.pick(&[
                "0",
                "1",
                "rc.1",
                "rc.10",
                "beta",
                "alpha.beta",
                "-",
                "01",
                "a..b",
                "é",
                "2.x",
            ]));
        }
        if self.below(6) == 0 {
            text.push_str(self.pick(&["+1", "+a.b", "+", "+a+b", "+01"]));
        }
    }

    fn range(&mut self) -> String {
        let mut text = String::new();
        for i in 0..=self.below(2) {
            if i > 0 {
                text.push_str(self.pick(&["||", " || ", ", ", ",", " ", "  ", " - "]));
            }
            text.push_str(self.pick(&[
                "", "", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^", "~ ", "><",
            ]));
            text.push_str(self.pick(&["", "", "", "v", " "]));
            for j in 0..=self.below(2) {
                if j > 0 {
                    text.push('.');
                }
                text.push_str(self.pick(&["0", "0", "1", "1", "2", "3", "x", "X", "*", "1x", ""]));
            }
            self.suffixes(&mut text);
        }
        text
    }
}

#[test]
fn random_versions_are_parsed_as_in_go() {
    let Some(mut go) = Oracle::start("semver") else {
        return;
    };
    let mut random = Random(oracle::seed());
    let texts: Vec<_> = (0..oracle::cases(2000)).map(|_| random.version()).collect();
    for (mode, read) in [
        ("parse", Version::parse as Read),
        ("strict", Version::parse_strict),
    ] {
        let questions: Vec<_> = texts
            .iter()
            .map(|text| json!({"mode": mode, "text": text}))
            .collect();
        for (text, answer) in texts.iter().zip(go.ask_all(&questions)) {
            let ours = match read(text) {
                Ok(v) => Answer::Output(json!([
                    v.to_string(),
                    v.original(),
                    v.prerelease(),
                    v.metadata()
                ])),
                Err(e) => Answer::Error(e.to_string()),
            };
            assert_eq!(ours, answer, "{mode} {text:?}");
        }
    }
}

#[test]
fn ranges_match_as_in_go() {
    let Some(mut go) = Oracle::start("semver") else {
        return;
    };
    let mut random = Random(oracle::seed() + 1);
    let versions: Vec<_> = (0..2000).map(|_| random.version()).collect();
    let versions: Vec<_> = versions
        .iter()
        .filter(|text| Version::parse(text).is_ok())
        .collect();
    let questions: Vec<_> = (0..oracle::cases(2000))
        .map(|_| {
            let some: Vec<_> = (0..8)
                .map(|_| versions[random.below(versions.len())])
                .collect();
            json!({"mode": "check", "constraint": random.range(), "versions": some})
        })
        .collect();
    for (question, answer) in questions.iter().zip(go.ask_all(&questions)) {
        assert_eq!(check(question), answer, "{question}");
    }
}

fn check(question: &Value) -> Answer {
    let range = match Constraints::parse(question["constraint"].as_str().unwrap()) {
        Ok(range) => range,
        Err(e) => return Answer::Error(e.to_string()),
    };
    let versions = question["versions"].as_array().unwrap().iter();
    let answers = versions.map(|text| {
        let version = Version::parse(text.as_str().unwrap()).unwrap();
        let reasons = range.validate(&version).err().unwrap_or_default();
        let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        json!([range.check(&version), reasons])
    });
    Answer::Output(answers.collect())
}
