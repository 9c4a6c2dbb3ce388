//! Random templates over all constructs and functions, with data made to be awkward.

use crate::oracle::Answer;

/// What an argument should be, most of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Text,
    Int,
    Number,
    Bool,
    List,
    Dict,
    Regex,
    Version,
    Range,
    Layout,
    Duration,
    Json,
    Url,
    Time,
}

use Kind::{
    Any, Bool, Dict, Duration, Int, Json, Layout, List, Number, Range, Regex, Text, Time, Url,
    Version,
};

/// Functions, their parameters, and what they give. Random and clock functions cannot be compared.
const FUNCTIONS: &[(&str, &[Kind], Kind)] = &[
    ("trim", &[Text], Text),
    ("upper", &[Text], Text),
    ("lower", &[Text], Text),
    ("title", &[Text], Text),
    ("untitle", &[Text], Text),
    ("repeat", &[Int, Text], Text),
    ("substr", &[Int, Int, Text], Text),
    ("nospace", &[Text], Text),
    ("trunc", &[Int, Text], Text),
    ("abbrev", &[Int, Text], Text),
    ("abbrevboth", &[Int, Int, Text], Text),
    ("initials", &[Text], Text),
    ("wrap", &[Int, Text], Text),
    ("wrapWith", &[Int, Text, Text], Text),
    ("contains", &[Text, Text], Bool),
    ("hasPrefix", &[Text, Text], Bool),
    ("hasSuffix", &[Text, Text], Bool),
    ("quote", &[Any], Text),
    ("quote", &[Any, Any], Text),
    ("squote", &[Any], Text),
    ("cat", &[Any, Any], Text),
    ("indent", &[Int, Text], Text),
    ("nindent", &[Int, Text], Text),
    ("replace", &[Text, Text, Text], Text),
    ("plural", &[Text, Text, Int], Text),
    ("snakecase", &[Text], Text),
    ("camelcase", &[Text], Text),
    ("kebabcase", &[Text], Text),
    ("swapcase", &[Text], Text),
    ("trimAll", &[Text, Text], Text),
    ("trimPrefix", &[Text, Text], Text),
    ("trimSuffix", &[Text, Text], Text),
    ("toString", &[Any], Text),
    ("toStrings", &[List], List),
    ("join", &[Text, List], Text),
    ("split", &[Text, Text], Dict),
    ("splitn", &[Text, Int, Text], Dict),
    ("splitList", &[Text, Text], List),
    ("sortAlpha", &[List], List),
    ("atoi", &[Text], Int),
    ("int", &[Any], Int),
    ("int64", &[Any], Number),
    ("float64", &[Any], Number),
    ("toDecimal", &[Any], Number),
    ("seq", &[Int], Text),
    ("seq", &[Int, Int], Text),
    ("seq", &[Int, Int, Int], Text),
    ("until", &[Int], List),
    ("untilStep", &[Int, Int, Int], List),
    ("add", &[Number, Number], Number),
    ("add1", &[Number], Number),
    ("sub", &[Number, Number], Number),
    ("mul", &[Number, Number], Number),
    ("div", &[Number, Number], Number),
    ("mod", &[Number, Number], Number),
    ("max", &[Number, Number], Number),
    ("min", &[Number, Number], Number),
    ("maxf", &[Number, Number], Number),
    ("minf", &[Number, Number], Number),
    ("addf", &[Number, Number], Number),
    ("add1f", &[Number], Number),
    ("subf", &[Number, Number], Number),
    ("mulf", &[Number, Number], Number),
    ("divf", &[Number, Number], Number),
    ("ceil", &[Number], Number),
    ("floor", &[Number], Number),
    ("round", &[Number, Int], Number),
    ("round", &[Number, Int, Number], Number),
    ("default", &[Any, Any], Any),
    ("empty", &[Any], Bool),
    ("coalesce", &[Any, Any], Any),
    ("all", &[Any, Any], Bool),
    ("any", &[Any, Any], Bool),
    ("compact", &[List], List),
    ("ternary", &[Any, Any, Bool], Any),
    ("fromJson", &[Json], Any),
    ("mustFromJson", &[Json], Any),
    ("toJson", &[Any], Text),
    ("toPrettyJson", &[Any], Text),
    ("toRawJson", &[Any], Text),
    ("mustToJson", &[Any], Text),
    ("deepCopy", &[Any], Any),
    ("typeOf", &[Any], Text),
    ("typeIs", &[Text, Any], Bool),
    ("typeIsLike", &[Text, Any], Bool),
    ("kindOf", &[Any], Text),
    ("kindIs", &[Text, Any], Bool),
    ("deepEqual", &[Any, Any], Bool),
    ("base", &[Text], Text),
    ("dir", &[Text], Text),
    ("clean", &[Text], Text),
    ("ext", &[Text], Text),
    ("isAbs", &[Text], Bool),
    ("b64enc", &[Text], Text),
    ("b64dec", &[Text], Text),
    ("b32enc", &[Text], Text),
    ("b32dec", &[Text], Text),
    ("sha1sum", &[Text], Text),
    ("sha256sum", &[Text], Text),
    ("sha512sum", &[Text], Text),
    ("adler32sum", &[Text], Text),
    ("list", &[Any, Any], List),
    ("list", &[Any, Any, Any], List),
    ("dict", &[Text, Any, Text, Any], Dict),
    ("dict", &[Any, Any, Any], Dict),
    ("get", &[Dict, Text], Any),
    ("set", &[Dict, Text, Any], Dict),
    ("unset", &[Dict, Text], Dict),
    ("hasKey", &[Dict, Text], Bool),
    ("pluck", &[Text, Dict, Dict], List),
    ("pick", &[Dict, Text, Text], Dict),
    ("omit", &[Dict, Text], Dict),
    ("merge", &[Dict, Dict], Dict),
    ("merge", &[Dict, Dict, Dict], Dict),
    ("mergeOverwrite", &[Dict, Dict], Dict),
    ("mustMerge", &[Dict, Dict], Dict),
    ("dig", &[Text, Text, Any, Dict], Any),
    ("dig", &[Text, Any, Dict], Any),
    ("append", &[List, Any], List),
    ("prepend", &[List, Any], List),
    ("first", &[List], Any),
    ("rest", &[List], List),
    ("last", &[List], Any),
    ("initial", &[List], List),
    ("reverse", &[List], List),
    ("uniq", &[List], List),
    ("without", &[List, Any], List),
    ("has", &[Any, List], Bool),
    ("mustHas", &[Any, List], Bool),
    ("slice", &[List, Int], List),
    ("slice", &[List, Int, Int], List),
    ("concat", &[List, List], List),
    ("chunk", &[Int, List], List),
    ("semver", &[Version], Any),
    ("semverCompare", &[Range, Version], Bool),
    ("regexMatch", &[Regex, Text], Bool),
    ("mustRegexMatch", &[Regex, Text], Bool),
    ("regexFind", &[Regex, Text], Text),
    ("regexFindAll", &[Regex, Text, Int], List),
    ("mustRegexFindAll", &[Regex, Text, Int], List),
    ("regexReplaceAll", &[Regex, Text, Text], Text),
    ("regexReplaceAllLiteral", &[Regex, Text, Text], Text),
    ("regexSplit", &[Regex, Text, Int], List),
    ("regexQuoteMeta", &[Text], Text),
    ("urlParse", &[Url], Dict),
    ("urlJoin", &[Dict], Text),
    ("toDate", &[Layout, Text], Time),
    ("mustToDate", &[Layout, Text], Time),
    ("date", &[Layout, Time], Text),
    ("dateInZone", &[Layout, Time, Text], Text),
    ("htmlDate", &[Time], Text),
    ("dateModify", &[Duration, Time], Time),
    ("mustDateModify", &[Duration, Time], Time),
    ("unixEpoch", &[Time], Text),
    ("duration", &[Any], Text),
    ("durationRound", &[Duration], Text),
    ("fail", &[Text], Any),
    // Go's own.
    ("len", &[Any], Int),
    ("index", &[List, Int], Any),
    ("index", &[Dict, Text], Any),
    ("eq", &[Any, Any], Bool),
    ("eq", &[Any, Any, Any], Bool),
    ("ne", &[Any, Any], Bool),
    ("lt", &[Number, Number], Bool),
    ("le", &[Any, Any], Bool),
    ("gt", &[Text, Text], Bool),
    ("ge", &[Number, Number], Bool),
    ("and", &[Any, Any], Any),
    ("or", &[Any, Any], Any),
    ("not", &[Any], Bool),
    ("print", &[Any, Any], Text),
    ("println", &[Any, Any], Text),
    ("html", &[Any], Text),
    ("js", &[Any], Text),
    ("urlquery", &[Any], Text),
    ("tpl", &[Text, Any], Text),
    ("include", &[Text, Any], Text),
];

/// Fields of the data, by what they hold.
const FIELDS: &[(&str, Kind)] = &[
    ("s", Text),
    ("u", Text),
    ("e", Text),
    ("multi", Text),
    ("n", Number),
    ("neg", Number),
    ("big", Number),
    ("frac", Number),
    ("zero", Number),
    ("t", Bool),
    ("f", Bool),
    ("l", List),
    ("el", List),
    ("sl", List),
    ("nested", List),
    ("m", Dict),
    ("em", Dict),
    ("mm", Dict),
    ("nul", Any),
    ("missing", Any),
    ("path", Text),
];

const TEXTS: &[&str] = &[
    r#""""#,
    r#""a""#,
    r#""hello world""#,
    r#""FooBar baz""#,
    r#""héllo wörld""#,
    r#""日本語 テキスト""#,
    r#""a,b,c""#,
    r#""a.b.c""#,
    r#""x=1\ny=2\n""#,
    r#""  padded\t""#,
    r#""HTTPServer2xx""#,
    r#""_0""#,
    r#""a""#,
    r#""b""#,
    r#""12""#,
    r#""-7""#,
    r#""3.50""#,
    r#""0x1f""#,
    r#""1e3""#,
    r#""true""#,
    r#""aGVsbG8=""#,
    r#""NBSWY3DP""#,
    "`raw \"q\"`",
    r#""<a href='x'>&</a>""#,
    r#""../a/./b//c/""#,
    r#""/etc/x.tar.gz""#,
    r#""\x80\xff""#,
    r#""😀 emoji""#,
    r#""$1-${x}""#,
    r#""string""#,
    r#""map""#,
    r#""slice""#,
    r#""map[string]interface {}""#,
    r#"".""#,
    r#"",""#,
    r#"" ""#,
    r#""UTC""#,
    r#""Europe/Berlin""#,
    r#""America/New_York""#,
    r#""deep""#,
    r#""k""#,
    r#""one two  three four five six""#,
    r#""2024-02-29T13:14:15Z""#,
    r#""{{ .s }}""#,
    r#""{{ .x.y }}""#,
    r#""helper""#,
    r#""ǅ ßﬁ İı""#,
    r#""some_snake-case ID3tag""#,
];

const REGEXES: &[&str] = &[
    r#""a""#,
    r#""[a-z]+""#,
    r#""^h""#,
    r#""o$""#,
    r#""(l+)(o)?""#,
    r#""\\d+""#,
    r#""\\w""#,
    r#""\\s*""#,
    r#""""#,
    r#""x*""#,
    r#""(?i)HELLO""#,
    r#""(?P<x>[a-z])(.)""#,
    r#""[^a-z ]""#,
    r#""(a|b|)""#,
    r#""a{2,3}""#,
    r#""\\bw""#,
    r#""[[:alpha:]]+""#,
    r#""\\pL+""#,
    r#""\\p{Greek}""#,
    r#"".""#,
    r#""(?s).+""#,
    r#""(?m)^y""#,
    r#""a**""#,
    r#""(""#,
    r#""[a""#,
    r#"")""#,
    r#""*a""#,
    r#""a{1001}""#,
    r#""(?=x)""#,
    r#""\\Qa.b\\E""#,
    r#""\\8""#,
    r#""[z-a]""#,
    r#""é|日""#,
    r#""(?U)l+""#,
    r#""a{,2}""#,
    r#""\\x41|\\101""#,
    r#""(?x)a""#,
    r#""[[:foo:]]""#,
    r#""\\pX""#,
    r#""(?:a{30}){40}""#,
    r#""[\\w-]+""#,
    r#""[a&&b]""#,
    r#""\\""#,
    r#""(?i:W)or""#,
    r#""(?<y>o)""#,
    r#""a??b""#,
    r#""x{2}{3}""#,
];

const VERSIONS: &[&str] = &[
    r#""1.2.3""#,
    r#""v1.2""#,
    r#""1""#,
    r#""1.2.3-rc.1+b""#,
    r#""bad""#,
    r#""v2.0.0-alpha""#,
    r#""""#,
    r#""01.2.3""#,
    r#""1.2.3.4""#,
];

const RANGES: &[&str] = &[
    r#""^1.2""#,
    r#""~1.2.3""#,
    r#"">=1.0 <2""#,
    r#""1.x""#,
    r#""*""#,
    r#"">=1.2.0-0""#,
    r#""1 - 2""#,
    r#""!=1.2.3 || 2""#,
    r#""x y""#,
];

const LAYOUTS: &[&str] = &[
    r#""2006-01-02T15:04:05Z07:00""#,
    r#""2006-01-02""#,
    r#""Jan _2 15:04:05.000 MST 2006""#,
    r#""Monday, 02-Jan-06 3:4:5PM -0700""#,
    r#""002 __2 06 pm January Mon .999 -07 Z0700 -07:00:00""#,
    r#""x""#,
    r#""""#,
    r#""15h04""#,
];

const DURATIONS: &[&str] = &[
    r#""1h""#,
    r#""-1.5h""#,
    r#""36h10m5.5s""#,
    r#""bad""#,
    r#""10000h""#,
    r#""1us""#,
    r#""3""#,
    r#""""#,
    r#""300ms""#,
    r#""1y""#,
    r#""-""#,
    r#"".5s""#,
];

const JSONS: &[&str] = &[
    r#""{\"a\":[1,2.5,null,\"x\"],\"b\":{\"c\":true}}""#,
    r#""[1e21, 1e-7, -0]""#,
    r#""nul""#,
    r#""""#,
    r#""{\"a\":}""#,
    r#""[1,]""#,
    r#""\"\\ud83d\\ude00\\u00e9\"""#,
    r#""1 2""#,
    r#""{a:1}""#,
    r#""\"abc""#,
    r#""1e999""#,
    r#""[01]""#,
    r#""truth""#,
    r#""{\"a\":1,\"a\":2}""#,
    r#""\"\\x\"""#,
    r#""-""#,
    r#""[1.]""#,
];

const URLS: &[&str] = &[
    r#""https://user:p%40ss@example.com:8080/a/b?x=1&y=2#frag""#,
    r#""mailto:x@y.z""#,
    r#""/path/only?q""#,
    r#""http://[::1]:80/x""#,
    r#""::bad""#,
    r#""http://a b/""#,
    r#""%zz""#,
    r#""//host/p""#,
    r#""http://x:port/""#,
    r#""""#,
    r#""http://é.com/ü?ö#ä""#,
    r#""a:b:c""#,
    r#""http://h:1:2/""#,
    r#""file:///etc/x""#,
];

// No larger integers: as counts they would fill Go's memory, or take it hours.
const NUMBERS: &[&str] = &[
    "0", "1", "-1", "2", "7", "42", "3.5", "-2.25", "1e4", "1e21", "0.1", "1e-7", "'a'", "0x10",
    "1i", "0.5",
];

const VERBS: &[&str] = &[
    "%v", "%s", "%d", "%q", "%x", "%X", "%T", "%t", "%5v", "%-5s|", "%05d", "%.2f", "%8.3f", "%+d",
    "%e", "%g", "%#v", "%+v", "%c", "%U", "%b", "%o", "%O", "%#x", "% x", "%z", "%%", "%[1]v",
    "%[2]v", "%*d", "%.*f", "%6.2v", "%#q", "%+q", "%E", "%G", "%.3s", "%.0f", "%10.4q", "%#o",
    "%!", "%[9]d", "%-010d", "% d", "%+.3e", "%#g",
];

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
