//! Templates that exceed limits, and texts that are barely templates: they fail with a position, and never panic, crash or
//! exhaust the memory.

use std::sync::Arc;

use flux_budget::Budget;
use flux_gotemplate::{
    CallError, Context, Functions, Limits, Map, Nothing, Session, Str, Templates, Value, json,
    with_stack,
};

fn functions() -> Arc<Functions> {
    let mut functions = flux_sprig::functions();
    flux_sprig::add_cryptography(&mut functions);
    functions.add("include", |c: &mut Context<'_>, name: Str, data: Value| {
        c.execute(&name.to_text(), data).map_err(CallError::from)
    });
    functions.add("tpl", |c: &mut Context<'_>, text: Str, data: Value| {
        c.evaluate("t", &text, data).map_err(CallError::from)
    });
    Arc::new(functions)
}

fn tight() -> Limits {
    Limits {
        steps: 200_000,
        output: 1 << 20,
        allocation: 64 << 20,
        ..Limits::default()
    }
}

/// Renders on a thread with the smallest stack that the documentation allows.
fn render(template: &str) -> Result<String, flux_gotemplate::Error> {
    with_stack(Limits::default().stack, || {
        let mut templates = Templates::new("t", functions());
        templates.parse("t", template.as_bytes())?;
        let data: Map = [("a", Value::from(vec![Value::from(1.0); 3]))]
            .into_iter()
            .collect();
        let mut session = Session::new(Nothing, tight());
        let out = templates.execute(&mut session, "t", data.into())?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    })
    .expect("a thread")
}

/// A call with two equal values, `$d` and `$e`, that consist of a hundred maps each, and of 2^50 when they are written.
fn shared(call: &str) -> String {
    let made = |name: &str| {
        format!(
            "{{{{ ${name} := dict }}}}{{{{ range 50 }}}}{{{{ ${name} = dict \"a\" ${name} \"b\" ${name} }}}}{{{{ end }}}}"
        )
    };
    format!("{}{}{{{{ {call} }}}}", made("d"), made("e"))
}

#[test]
fn limits_stop_endless_calls() {
    for (template, message) in [
        (
            r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#,
            "too deeply for the stack",
        ),
        (
            r#"{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}"#,
            "too deeply for the stack",
        ),
        (
            r#"{{ define "a" }}{{ tpl "{{ include \"a\" . }}" . }}{{ end }}{{ include "a" . }}"#,
            "too deeply for the stack",
        ),
        (
            r"{{ range until 1000000000 }}{{ end }}",
            "makes too much data",
        ),
        (r"{{ range 1000000000 }}{{ end }}", "too many steps"),
        (r#"{{ repeat 1000000000 "x" }}"#, "makes too much data"),
        (
            r#"{{ $s := "x" }}{{ range 40 }}{{ $s = print $s $s }}{{ end }}"#,
            "makes too much data",
        ),
        (
            r"{{ range 100000 }}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{ end }}",
            "writes too much",
        ),
        (r#"{{ indent 100000000 "a" }}"#, "makes too much data"),
        (r"{{ seq 1 1000000000 }}", "makes too much data"),
        (
            r#"{{ replace "" (repeat 1000000 "x") (repeat 100 "y") }}"#,
            "makes too much data",
        ),
        (
            r"{{ $l := list 1 2 3 4 }}{{ range 30 }}{{ $l = concat $l $l }}{{ end }}",
            "makes too much data",
        ),
        (
            r"{{ $l := until 40000 }}{{ len (concat $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l $l) }}",
            "makes too much data",
        ),
        (&shared("toJson $d"), "makes too much data"),
        (&shared("mustToJson $d"), "makes too much data"),
        (&shared("toPrettyJson $d"), "makes too much data"),
        (&shared("mustToPrettyJson $d"), "makes too much data"),
        (&shared("toRawJson $d"), "makes too much data"),
        (&shared("deepEqual $d $e"), "too many steps"),
        (&shared("has $d (list $e)"), "too many steps"),
        (&shared("without (list $d) $e"), "too many steps"),
        (&shared("uniq (list $d $e)"), "too many steps"),
        (
            r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $d }}"#,
            "nested too deeply",
        ),
        (
            r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ deepCopy $d }}"#,
            "nested too deeply",
        ),
        (
            r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ merge $d (dict "d" (deepCopy (dict "d" $d))) }}"#,
            "nested too deeply",
        ),
    ] {
        let error = render(template).expect_err(template);
        assert!(error.is_limit(), "{template}: {error}");
        let text = error.to_string();
        assert!(
            text.contains(message) && text.starts_with("template: t:1:"),
            "{template}: {text}"
        );
    }
}

#[test]
fn a_map_that_contains_itself_is_not_json() {
    let text = render(r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}[{{ toJson $d }}]"#);
    assert_eq!(text.expect("toJson swallows errors"), "[]");
}

/// HE-TPL-008
#[test]
fn deep_nesting_is_refused_with_the_message_of_go() {
    assert_eq!(Limits::default().depth, 100_000, "Go's limit");
    let mut templates = Templates::new("t", functions());
    let text = r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#;
    templates.parse("t", text.as_bytes()).expect("it parses");
    let limits = Limits {
        depth: 50,
        ..tight()
    };
    let mut session = Session::new(Nothing, limits);
    let error = templates.execute(&mut session, "t", Value::Nil);
    assert_eq!(
        error.expect_err("no end").to_string(),
        r#"template: t:1:28: executing "a" at <{{template "a" .}}>: exceeded maximum template depth (50)"#
    );

    let parens = |n: usize| format!("{{{{ {}1{} }}}}", "(".repeat(n), ")".repeat(n));
    let error = render(&parens(10_001)).expect_err("too deep");
    assert_eq!(
        error.to_string(),
        "template: t:1: max expression depth exceeded"
    );
    assert_eq!(render(&parens(100)).expect("it is not deep"), "1");
}

#[test]
fn depth_in_texts_and_values_is_bounded() {
    for (open, close) in [
        ("(", ")"),
        ("{{ if . }}", "{{ end }}"),
        ("{{ if . }}{{ else if . }}", ""),
    ] {
        let text = if open == "(" {
            format!("{{{{ {}1{} }}}}", open.repeat(20_000), close.repeat(20_000))
        } else {
            format!("{}{}", open.repeat(20_000), close.repeat(20_000))
        };
        assert!(render(&text).is_err());
    }
    let deep = format!(
        "{{{{ fromJson `{}{}` }}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    assert_eq!(
        render(&deep).expect("fromJson swallows errors"),
        "<no value>"
    );
    // Nested values created one at a time must not recurse deeply when dropped, either.
    let nested = r"{{ $l := list }}{{ range 50000 }}{{ $l = list $l }}{{ end }}ok";
    assert_eq!(render(nested).expect("it runs"), "ok");
}

/// Data whose lifetime can be observed.
struct Held(#[allow(dead_code)] std::rc::Rc<()>);
impl flux_gotemplate::Object for Held {
    fn go_type(&self) -> flux_gotemplate::Type {
        static HELD: flux_gotemplate::TypeInfo =
            flux_gotemplate::TypeInfo::object("held", flux_gotemplate::Kind::Struct);
        &HELD
    }
    fn fields(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[test]
fn sessions_leave_no_cycles_behind() {
    let watched = std::rc::Rc::new(());
    let mut templates = Templates::new("t", functions());
    let text = br#"{{ $d := dict "held" . }}{{ $_ := set $d "d" (list $d) }}"#;
    templates.parse("t", text).expect("it parses");
    let mut session = Session::new(Nothing, tight());
    let held = Value::object(Held(std::rc::Rc::clone(&watched)));
    templates.execute(&mut session, "t", held).expect("it runs");
    drop(session);
    assert_eq!(std::rc::Rc::strong_count(&watched), 1);
}

const SEEDS: &[&str] = &[
    r#"{{ define "a" }}{{ . | upper | quote }}{{ end }}{{ range $i, $e := .a }}{{ template "a" $e }}{{ else }}x{{ end }}"#,
    r#"{{- if and .a (eq 1 2) -}} {{ printf "%-5.2f|%x|%[1]q" 1.5 "a" }} {{- else with .b }}{{ .c.d }}{{ end -}}"#,
    r#"{{ $x := dict "a" (list 1 2) }}{{ range $k, $v := $x }}{{ $k }}{{ index $v 0 }}{{ break }}{{ end }}{{/* c */}}"#,
    r#"{{ regexReplaceAll "(a|b)+?[^c-d]{2,3}\\pL$" "abcd" "${1}x$$" }}{{ date "2006-01-02 MST" 0 }}{{ mustToDate "Jan _2" "x" }}"#,
    r#"{{ semverCompare ">=1.2 || ~3" "1.2.3" }}{{ urlParse "http://a:b@[::1]:80/x?y#z" }}{{ b64dec "aGk=" }}{{ wrap 3 "a b c" }}"#,
];

/// Seeds with bytes changed, duplicated, removed and joined: any result is allowed, as long as there is one.
#[test]
fn template_functions_never_panic() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let functions = functions();
    for _ in 0..3_000 {
        let mut text = SEEDS[next(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..=next(4) {
            let at = next(text.len());
            match next(5) {
                0 => text[at] = next(256) as u8,
                1 => {
                    text.remove(at);
                }
                2 => text.insert(at, b"{}()|$.\"`'-\\\n %,:=09e\xe9/*"[next(24)]),
                3 => {
                    let end = at + next(text.len() - at);
                    let part = text[at..end].to_vec();
                    text.splice(at..at, part);
                }
                _ => text.extend_from_slice(SEEDS[next(SEEDS.len())].as_bytes()),
            }
            if text.is_empty() {
                text.push(b' ');
            }
        }
        let mut templates = Templates::new("t", Arc::clone(&functions));
        if templates.parse("t", &text).is_err() {
            continue;
        }
        let data = json::unmarshal(br#"{"a":[1,"x",null,{"b":[]}],"b":{"c":{"d":1e300}}}"#);
        let mut session = Session::new(Nothing, tight());
        let _ = templates.execute(&mut session, "t", data.expect("JSON"));
    }
}

#[test]
fn odd_values_fail_as_in_go() {
    // Found by random templates: HE-FNN-010 HE-TPL-034 HE-FNE-002
    for (template, said) in [
        (
            r#"{{ mustToDate "06/1/2" "-0x" }}"#,
            r#"cannot parse "x" as "/""#,
        ),
        (r#"{{ mustToDate "06" "-5" | date "2006" }}"#, "1995"),
        (
            r#"{{ regexMatch "\\x{d800}|^[\\x{d7ff}-\\x{dfff}]$" "a" }}{{ regexMatch "^[^\\x{dabc}]$" "a" }}"#,
            "falsetrue",
        ),
        (
            r#"{{ len (semver "1.2.3") }}"#,
            "len of type semver.Version",
        ),
        (r#"{{ add1 1e300 | date "1e3" }}"#, "12e3"),
        (
            r#"{{ $_ := set . "x" (dict "l" (list) "m" .) }}{{ toJson . }}|"#,
            "|",
        ),
        (
            r#"{{ $_ := set . "x" (dict "l" (list) "m" .) }}{{ toRawJson . }}"#,
            "encountered a cycle via map[string]interface {}",
        ),
    ] {
        let told = render(template).unwrap_or_else(|e| e.to_string());
        assert!(told.contains(said), "{template}: {told}");
    }
}

#[test]
fn memory_is_claimed_while_a_session_lasts() {
    let budget = Budget::new(8 << 20);
    let run = |template: &str| {
        let mut templates = Templates::new("t", functions());
        templates.parse("t", template.as_bytes()).unwrap();
        let claim = Arc::new(budget.claim());
        let limits = Limits {
            output: 64 << 20,
            ..tight()
        };
        let mut session = Session::new(Nothing, limits).with_memory(Some(Arc::clone(&claim)));
        let done = templates.execute(&mut session, "t", Value::Nil);
        let during = claim.held();
        drop(session);
        (done.map(|out| out.len()), during, claim.held())
    };
    for template in [
        r#"{{ $a := repeat 5000000 "x" }}{{ $b := repeat 5000000 "y" }}"#,
        r#"{{ $a := repeat 1000000 "x" }}{{ range 9 }}{{ $a }}{{ end }}"#,
    ] {
        let (done, _, _) = run(template);
        let error = done.expect_err(template);
        assert!(error.is_limit(), "{error}");
        assert!(error.to_string().contains("not enough memory"), "{error}");
        assert_eq!(budget.used(), 0, "{template}");
    }
    // What was made is given back, what was written is kept.
    let (done, during, after) = run(r#"{{ $a := repeat 1500000 "x" }}{{ repeat 500000 "y" }}"#);
    assert_eq!(done.unwrap(), 500_000);
    assert!((4_000_000..5_000_000).contains(&during), "{during}");
    assert!((500_000..600_000).contains(&after), "{after}");
}
