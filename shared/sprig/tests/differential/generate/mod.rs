//! Random templates with all constructs and functions, and data with unusual values.

mod functions;
mod literals;

use flux_golang::time::{MONTHS, WEEKDAYS};
use functions::Kind::{
    self, Any, Bool, Colon, Dict, Duration, Empty, Int, Json, Layout, List, Number, Range, Regex,
    Single, Stamp, Template, Text, Time, Url, Version, Zone,
};
use functions::{FUNCTIONS, NOT_COMPARED};
use literals::{
    DURATIONS, FIELDS, JSONS, LAYOUTS, METHODS, NUMBERS, RANGES, REGEXES, REPLACEMENTS, STAMPS,
    TEXTS, URLS, VERBS, VERSIONS, ZONES,
};

use crate::oracle::Answer;

/// The functions of the table that no random template calls.
pub(crate) fn never_called<'a>(table: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let called = |name: &str| FUNCTIONS.iter().any(|f| f.0 == name);
    table
        .filter(|name| !called(name) && !NOT_COMPARED.contains(name))
        .collect()
}

pub(crate) struct Generator {
    state: u64,
    variables: Vec<String>,
    in_range: bool,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mut generator = Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            variables: Vec::new(),
            in_range: false,
        };
        for _ in 0..4 {
            generator.next();
        }
        generator
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A template, its data as JSON, and the missing key option.
    pub(crate) fn case(&mut self) -> (String, String, &'static str) {
        let mut template = String::from("{{ define \"helper\" }}<{{ . }}>{{ end }}");
        for _ in 0..=self.below(3) {
            template.push_str(&self.statement(0));
        }
        if self.chance(6) {
            template = self.misprint(&template);
        }
        let missing = ["default", "zero", "zero", "error"][self.below(4)];
        (template, self.values(), missing)
    }

    /// The template with one character removed, inserted or replaced.
    fn misprint(&mut self, template: &str) -> String {
        let mut chars: Vec<char> = template.chars().collect();
        let noise: Vec<char> = "{}()|.$\"'`\n\t -*/,:=#@é0x_i%\\;&".chars().collect();
        for _ in 0..=self.below(2) {
            let at = self.below(chars.len());
            let c = noise[self.below(noise.len())];
            match self.below(3) {
                0 if chars.len() > 1 => drop(chars.remove(at)),
                1 => chars.insert(at, c),
                _ => chars[at] = c,
            }
        }
        chars.into_iter().collect()
    }

    fn values(&mut self) -> String {
        let s = self.pick(&[
            "hello world",
            "a b  c",
            "Zażółć",
            "",
            "x<y>&z",
            "\\u0000\\u001f\\u007f",
            "\\ud83d\\ude00\\u2028",
            "👩‍💻 ﷽",
            "{{ . }}",
            "1.0",
            "%s",
            "\\r\\n\\t",
        ]);
        let n = self.pick(&[
            "3",
            "8080",
            "0.5",
            "-2",
            "1e6",
            "12345678901234567890",
            "9007199254740993",
            "1e21",
            "-0",
            "1e-7",
            "0.1",
            "123456.789",
            "4294967296",
        ]);
        let l = [
            "[1,2,3]",
            "[\"b\",\"a\",\"b\",null]",
            "[[],{},null,0,\"\"]",
            "[1,\"1\",true,1.5]",
            "[]",
            "[{\"a\":1},{\"a\":{\"a\":null}},[]]",
            "[\"é\",\"\",\"B\",\"a\",10,9]",
        ][self.below(7)];
        let m = [
            "{\"a\":1,\"b\":\"x\",\"k\":{\"deep\":[1]}}",
            "{\"a\":false,\"k\":\"\",\"deep\":null}",
            "{\"_0\":\"z\",\"a\":[],\"b\":{}}",
            "{\"\":1,\"ä\":{\"a\":{\"a\":[]}},\"k\":{\"deep\":{\"k\":0}},\"a\":\"s\"}",
            "{\"10\":1,\"9\":2,\"a\":{\"a\":0,\"b\":\"\",\"c\":null}}",
        ][self.below(5)];
        format!(
            "{{\"s\":\"{s}\",\"u\":\"ünïcödé\",\"e\":\"\",\"multi\":\"l1\\nl2\\n\",\"n\":{n},\"neg\":-7,\"big\":1e300,\"frac\":2.675,\
             \"zero\":0,\"t\":true,\"f\":false,\"l\":{l},\"el\":[],\"sl\":[\"x\",\"y\",\"z\"],\"nested\":[[1,[2]],{{\"a\":1}}],\"m\":{m},\
             \"em\":{{}},\"mm\":{{\"a\":{{\"b\":{{\"c\":1}}}},\"k\":2}},\"nul\":null,\"path\":\"/a/b.c\"}}"
        )
    }

    fn statement(&mut self, depth: usize) -> String {
        let choice = if depth > 2 { 0 } else { self.below(20) };
        match choice {
            0..=5 => {
                let trim = self.chance(10);
                let e = self.expression(Any, 0);
                if trim {
                    format!(" {{{{- {e} -}}}} ")
                } else {
                    format!("{{{{ {e} }}}}")
                }
            }
            6 => {
                let (c, a) = (self.expression(Any, 1), self.statement(depth + 1));
                let b = self.statement(depth + 1);
                format!("{{{{ if {c} }}}}{a}{{{{ else }}}}{b}{{{{ end }}}}")
            }
            7 => self.range(depth),
            8 => {
                let (e, a) = (self.expression(Dict, 1), self.statement(depth + 1));
                format!("{{{{ with {e} }}}}{a}{{{{ end }}}}")
            }
            9 => {
                let e = self.expression(Any, 1);
                let name = format!("$v{}", self.variables.len());
                self.variables.push(name.clone());
                format!("{{{{ {name} := {e} }}}}")
            }
            10 if !self.variables.is_empty() => {
                let name = self.variable();
                let e = self.expression(Any, 1);
                format!("{{{{ {name} = {e} }}}}{{{{ {name} }}}}")
            }
            11 => {
                let e = self.expression(Any, 1);
                format!("{{{{ template \"helper\" {e} }}}}")
            }
            12 => self.printf(),
            14 => {
                let (e, f) = (self.expression(Any, 1), self.expression(Any, 1));
                let (a, b) = (self.statement(depth + 1), self.statement(depth + 1));
                format!("{{{{ if {e} }}}}{a}{{{{ else if {f} }}}}{b}{{{{ end }}}}")
            }
            15 => {
                let (e, f) = (self.expression(Any, 1), self.expression(Dict, 1));
                let (a, b) = (self.statement(depth + 1), self.statement(depth + 1));
                format!(
                    "{{{{ with $w := {e} }}}}{{{{ $w }}}}{{{{ else with {f} }}}}{a}{{{{ else }}}}{b}{{{{ end }}}}"
                )
            }
            16 => {
                let e = self.expression(Any, 1);
                let name = self.below(1000);
                format!(
                    "{{{{ block \"b{name}\" {e} }}}}[{{{{ . | kindOf }}}}{{{{ $ }}}}]{{{{ end }}}}"
                )
            }
            17 => format!("{{{{ {} }}}}", self.pick(METHODS)),
            18 => {
                let e = self.operand(Int, 3);
                let a = self.statement(depth + 1);
                format!("{{{{ range $n := {e} }}}}{{{{ $n }}}}{a}{{{{ else }}}}-{{{{ end }}}}")
            }
            _ => ["text\n", "  ", "{{/* c */}}", "ü"][self.below(4)].to_owned(),
        }
    }

    fn variable(&mut self) -> String {
        let i = self.below(self.variables.len());
        self.variables[i].clone()
    }

    fn range(&mut self, depth: usize) -> String {
        let known = self.variables.len();
        let kind = if self.chance(70) { List } else { Any };
        let e = self.expression(kind, 1);
        let head = match self.below(3) {
            0 => String::new(),
            1 => {
                self.variables.push("$e".to_owned());
                "$e := ".to_owned()
            }
            _ => {
                self.variables.push("$i".to_owned());
                self.variables.push("$e".to_owned());
                "$i, $e := ".to_owned()
            }
        };
        let outer = std::mem::replace(&mut self.in_range, true);
        let mut body = self.statement(depth + 1);
        if self.chance(15) {
            let word = if self.chance(50) { "break" } else { "continue" };
            body = format!("{{{{ if . }}}}{{{{ {word} }}}}{{{{ end }}}}{body}");
        }
        self.in_range = outer;
        self.variables.truncate(known);
        format!("{{{{ range {head}{e} }}}}{body}{{{{ else }}}}none{{{{ end }}}}")
    }

    fn printf(&mut self) -> String {
        let mut format = String::new();
        let mut args = String::new();
        for _ in 0..=self.below(2) {
            format.push_str(self.pick(VERBS));
            format.push(' ');
        }
        for _ in 0..=self.below(2) {
            args.push(' ');
            args.push_str(&self.operand(Any, 2));
        }
        format!("{{{{ printf \"{format}\"{args} }}}}")
    }

    fn expression(&mut self, kind: Kind, depth: usize) -> String {
        if depth > 2 || self.chance(30) {
            return self.operand(kind, depth + 1);
        }
        let call = self.call(kind, depth);
        let (name, params, _) = FUNCTIONS[self.below(FUNCTIONS.len())];
        let bound = matches!(params.last(), None | Some(Single | Empty | Colon));
        if self.chance(25) && !bound {
            let mut text = format!("{call} | {name}");
            for param in &params[..params.len() - 1] {
                text.push(' ');
                text.push_str(&self.operand(*param, depth + 1));
            }
            return text;
        }
        call
    }

    fn call(&mut self, kind: Kind, depth: usize) -> String {
        let mut function = FUNCTIONS[self.below(FUNCTIONS.len())];
        for _ in 0..60 {
            if kind == Any || function.2 == kind {
                break;
            }
            function = FUNCTIONS[self.below(FUNCTIONS.len())];
        }
        let (name, params, _) = function;
        let mut text = name.to_owned();
        for param in params {
            text.push(' ');
            text.push_str(&self.operand(*param, depth + 1));
        }
        let bound = params.iter().any(|p| matches!(p, Single | Empty | Colon));
        if self.chance(3) && !bound {
            text.push_str(" 1");
        }
        text
    }

    /// An operand; one in ten is of another kind than `kind`.
    fn operand(&mut self, kind: Kind, depth: usize) -> String {
        // Operands of these kinds must keep their kind, or the results cannot be compared.
        let kind = if !matches!(kind, Single | Empty | Colon) && self.chance(10) {
            [Any, Text, Int, Number, Bool, List, Dict][self.below(7)]
        } else {
            kind
        };
        let literal = matches!(
            kind,
            Regex | Version | Range | Layout | Zone | Stamp | Template | Single | Empty | Colon
        );
        if depth < 4 && self.chance(25) && !literal {
            let inner = self.expression(kind, depth + 1);
            let field = if self.chance(5) { ".a" } else { "" };
            return format!("({inner}){field}");
        }
        if self.chance(10) && !self.variables.is_empty() {
            return self.variable();
        }
        match kind {
            Any => match self.below(8) {
                0 => "nil".to_owned(),
                1 => ".".to_owned(),
                2 => self.pick(TEXTS).to_owned(),
                3 => self.pick(NUMBERS).to_owned(),
                4 => "true".to_owned(),
                5 => "$".to_owned(),
                _ => self.field(Any),
            },
            Text => {
                if self.chance(70) {
                    self.pick(TEXTS).to_owned()
                } else {
                    self.field(Text)
                }
            }
            Int => self
                .pick(&["0", "1", "2", "3", "5", "-1", "-3", "10", "40"])
                .to_owned(),
            Number => {
                if self.chance(60) {
                    self.pick(NUMBERS).to_owned()
                } else {
                    self.field(Number)
                }
            }
            Bool => self.pick(&["true", "false", "$.t", "$.f"]).to_owned(),
            List => match self.below(4) {
                0 => "(list 3 1 2)".to_owned(),
                1 => "(list \"b\" \"a\" nil \"b\")".to_owned(),
                _ => self.field(List),
            },
            Dict => match self.below(4) {
                0 => "(dict \"a\" 1 \"b\" (dict \"c\" \"x\"))".to_owned(),
                1 => "(dict)".to_owned(),
                _ => self.field(Dict),
            },
            Regex => self.pick(REGEXES).to_owned(),
            Version => self.pick(VERSIONS).to_owned(),
            Range => self.pick(RANGES).to_owned(),
            Layout => self.pick(LAYOUTS).to_owned(),
            Duration => self.pick(DURATIONS).to_owned(),
            Json => self.pick(JSONS).to_owned(),
            Url => self.pick(URLS).to_owned(),
            Zone => self.pick(ZONES).to_owned(),
            Stamp => self.pick(STAMPS).to_owned(),
            Template => self.pick(REPLACEMENTS).to_owned(),
            Single => self
                .pick(&[
                    "(dict \"a\" 1)",
                    "(dict)",
                    "$.em",
                    "$.nul",
                    "$.sl",
                    "(dict \"\\xff\" nil)",
                ])
                .to_owned(),
            Empty => "\"\"".to_owned(),
            Colon => self.pick(&["\"a:b\"", "\":\"", "5"]).to_owned(),
            Time => self
                .pick(&[
                    "(toDate \"2006-01-02\" \"2024-02-29\")",
                    "(toDate \"2006-01-02T15:04:05Z07:00\" \"1999-12-31T23:59:58+02:00\")",
                    "1700000000",
                    "(int64 86399)",
                    "-1",
                    "(toDate \"x\" \"y\")",
                ])
                .to_owned(),
        }
    }

    fn field(&mut self, kind: Kind) -> String {
        let mut field = FIELDS[self.below(FIELDS.len())];
        for _ in 0..30 {
            if kind == Any || field.1 == kind {
                break;
            }
            field = FIELDS[self.below(FIELDS.len())];
        }
        let root = if self.chance(80) { "$" } else { "" };
        let more = match self.below(20) {
            0 => ".a",
            1 => ".k.deep",
            _ => "",
        };
        format!("{root}.{}{more}", field.0)
    }
}

/// Known and documented differences: addresses, limits that only one side has, and bytes that are not UTF-8 in names of
/// templates and under regular expressions. Also the fraction of the second at which each side read the clock, which date
/// functions do for values that are not times.
pub(crate) fn excused(template: &str, go: &Answer, ours: &Answer) -> bool {
    if let (Answer::Output(go), Answer::Output(ours)) | (Answer::Error(go), Answer::Error(ours)) =
        (go, ours)
        && template.contains("date")
        && without_fractions(go) == without_fractions(ours)
    {
        return true;
    }
    let bytes = ["\\x80\\xff", "\\xed\\xa0"]
        .iter()
        .any(|b| template.contains(b));
    if bytes
        && ["regex", "Regex", "include"]
            .iter()
            .any(|name| template.contains(name))
    {
        return true;
    }
    *go == Answer::Crash || go.holds_an_address()
}

/// Whether two outputs, or errors, differ in nothing that is no part of a time.
pub(crate) fn differ_in_time(go: &Answer, ours: &Answer) -> bool {
    let ((Answer::Output(go), Answer::Output(ours)) | (Answer::Error(go), Answer::Error(ours))) =
        (go, ours)
    else {
        return false;
    };
    without_time(go) == without_time(ours)
}

/// A text without digits and the names of months and days.
fn without_time(text: &str) -> String {
    let mut text = text.replace(|c: char| c.is_ascii_digit(), "");
    for name in MONTHS.iter().chain(&WEEKDAYS) {
        let short = name.get(..3).unwrap_or(name);
        text = text.replace(name, "").replace(short, "");
    }
    text
}

/// A text without the digits that follow a dot or comma after a digit.
fn without_fractions(text: &str) -> String {
    let mut kept = String::new();
    let mut fraction = false;
    let mut before = ' ';
    for c in text.chars() {
        fraction = match c {
            '.' | ',' => before.is_ascii_digit(),
            '0'..='9' => fraction,
            _ => false,
        };
        if !(fraction && c.is_ascii_digit()) {
            kept.push(c);
        }
        before = c;
    }
    kept
}
