//! Random templates over all constructs and functions, with data made to be awkward.

mod material;

use crate::oracle::Answer;

use material::Kind::{
    self, Any, Bool, Dict, Duration, Int, Json, Layout, List, Number, Range, Regex, Text, Time,
    Url, Version,
};
use material::{
    DURATIONS, FIELDS, FUNCTIONS, JSONS, LAYOUTS, NUMBERS, RANGES, REGEXES, TEXTS, URLS, VERBS,
    VERSIONS,
};

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
        let missing = ["default", "zero", "zero", "error"][self.below(4)];
        (template, self.values(), missing)
    }

    fn values(&mut self) -> String {
        let s = ["hello world", "a b  c", "Zażółć", "", "x<y>&z"][self.below(5)];
        let n = ["3", "8080", "0.5", "-2", "1e6", "12345678901234567890"][self.below(6)];
        let l = [
            "[1,2,3]",
            "[\"b\",\"a\",\"b\",null]",
            "[[],{},null,0,\"\"]",
            "[1,\"1\",true,1.5]",
        ][self.below(4)];
        let m = [
            "{\"a\":1,\"b\":\"x\",\"k\":{\"deep\":[1]}}",
            "{\"a\":false,\"k\":\"\",\"deep\":null}",
            "{\"_0\":\"z\",\"a\":[],\"b\":{}}",
        ][self.below(3)];
        format!(
            "{{\"s\":\"{s}\",\"u\":\"ünïcödé\",\"e\":\"\",\"multi\":\"l1\\nl2\\n\",\"n\":{n},\"neg\":-7,\"big\":1e300,\"frac\":2.675,\
             \"zero\":0,\"t\":true,\"f\":false,\"l\":{l},\"el\":[],\"sl\":[\"x\",\"y\",\"z\"],\"nested\":[[1,[2]],{{\"a\":1}}],\"m\":{m},\
             \"em\":{{}},\"mm\":{{\"a\":{{\"b\":{{\"c\":1}}}},\"k\":2}},\"nul\":null,\"path\":\"/a/b.c\"}}"
        )
    }

    fn statement(&mut self, depth: usize) -> String {
        let choice = if depth > 2 { 0 } else { self.below(14) };
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
        if self.chance(25) {
            let piped = FUNCTIONS[self.below(FUNCTIONS.len())];
            let (name, params, _) = piped;
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
        if self.chance(3) {
            text.push_str(" 1");
        }
        text
    }

    /// Something that stands as an argument; one in ten is of another kind.
    fn operand(&mut self, kind: Kind, depth: usize) -> String {
        let kind = if self.chance(10) {
            [Any, Text, Int, Number, Bool, List, Dict][self.below(7)]
        } else {
            kind
        };
        if depth < 4 && self.chance(25) && !matches!(kind, Regex | Version | Range | Layout) {
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

/// Differences that are known and stated: addresses, and limits that only one side has.
pub(crate) fn excused(go: &Answer, _ours: &Answer) -> bool {
    match go {
        Answer::Crash => true,
        Answer::Output(text) | Answer::Error(text) => text.contains("0xc000"),
    }
}
