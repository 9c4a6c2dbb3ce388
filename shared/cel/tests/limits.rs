//! What expressions may cost.

use flux_cel::{CompileError, EvaluateError, Expression, Limits, Type, Value};

fn no_variable(_: &str) -> Option<Value> {
    None
}

/// The error that an expression gives, parsed or evaluated within small limits.
fn refusal(text: &str) -> String {
    let limits = Limits {
        steps: 200_000,
        bytes: 1 << 20,
    };
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(error) => return error.to_string(),
    };
    let value = expression.evaluate(no_variable, limits);
    value
        .err()
        .map_or("none".to_owned(), |error| error.to_string())
}

/// Repeats a text.
fn times(count: usize, text: &str) -> String {
    text.repeat(count)
}

#[test]
fn deep_and_long_expressions_are_refused() {
    let too_deep = "ERROR: <input>:-1:0: expression recursion limit exceeded: 250";
    for text in [
        format!("{}1{}", times(300, "("), times(300, ")")),
        format!("{}1{}", times(300, "["), times(300, "]")),
        format!("1{}", times(300, "+1")),
        format!("a{}", times(300, ".b")),
        format!("a{}", times(300, "[0]")),
        format!("{}1", times(300, "true ? 1 : ")),
        // each level has a chain of its own
        format!(
            "{}a{}",
            times(40, "("),
            times(40, &format!("){}", times(60, ".b")))
        ),
    ] {
        assert!(refusal(&text).contains(too_deep), "{}", &text[..60]);
    }
    let long = refusal(&times(100_001, "a"));
    let limit = "expression code point size exceeds limit: size: 100001, limit 100000";
    assert!(long.ends_with(limit), "{}", &long[long.len() - 100..]);
    // a copy of the target for each macro
    let copies = format!("optional.of(1){}", times(60, ".optMap(x, x)"));
    assert!(refusal(&copies).contains("nodes when its macros are expanded"));
}

#[test]
fn expressions_at_the_limit_fit_the_stack_of_a_worker() {
    let run = || {
        for text in [
            format!("{}1{}", times(240, "("), times(240, ")")),
            format!("{}{}", times(240, "["), times(240, "]")),
            format!("{}1", times(240, "true ? 1 : ")),
            format!("1{}", times(240, "+1")),
            format!("{}x{}", times(60, "[1].map(x, "), times(60, ")")),
            format!("true{}", times(9_000, "||true")),
        ] {
            let error = Expression::parse(&text).map(|parsed| {
                let value = parsed.evaluate(no_variable, Limits::default());
                value.map(drop)
            });
            assert!(matches!(error, Ok(Ok(()))), "{error:?} {}", &text[..40]);
            let compiled = Expression::compile(&text, &[], None);
            assert!(compiled.is_ok(), "{}", &text[..40]);
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

#[test]
fn evaluations_end_at_their_limits() {
    let hundred = format!("[{}]", times(100, "1,"));
    let entries: String = (0..1_500).map(|key| format!("{key}: 1,")).collect();
    for text in [
        format!("{hundred}.all(a, {hundred}.all(b, {hundred}.all(c, true)))"),
        // an interruption is not hidden by what decides
        format!("{hundred}.exists(a, {hundred}.exists(b, {hundred}.exists(c, false))) || true"),
        format!("{hundred}.map(a, {hundred}.map(b, {hundred}.map(c, 'text' + 'text')))"),
        format!(
            "'{}'.replace('', '{}')",
            times(4_000, "a"),
            times(4_000, "b")
        ),
        format!(
            "'%s'.format([{hundred}.map(x, '{}').join('{0}')])",
            times(20_000, "a")
        ),
        // what is compared counts, and not only how often
        format!(
            "[[{}]].exists(list, {hundred}.all(a, list == list))",
            times(3_000, "1,")
        ),
        format!("[{{{entries}}}].exists(map, {hundred}.all(a, map == map))"),
    ] {
        assert!(
            refusal(&text).ends_with("operation interrupted"),
            "{}",
            refusal(&text)
        );
    }
}

#[test]
fn errors_and_debug_output_do_not_show_values() {
    let secret = |_: &str| Some(Value::String("hunter2".into()));
    let expression = Expression::parse("size(a) + a.b").unwrap();
    let error = expression.evaluate(secret, Limits::default()).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
    assert_eq!(format!("{:?}", secret("a").unwrap()), "Value(string)");
}

#[test]
fn values_are_of_the_type_that_is_asked_for() {
    let limits = Limits::default();
    let parse = |text: &str| Expression::parse(text).unwrap();
    assert_eq!(parse("1 < 2").evaluate_bool(no_variable, limits), Ok(true));
    // KC-HEALTH-034
    let no_bool = parse("'a'").evaluate_bool(no_variable, limits).unwrap_err();
    assert_eq!(no_bool, EvaluateError::NoBool("'a'".into()));
    assert_eq!(
        no_bool.to_string(),
        "failed to evaluate CEL expression as boolean: ''a''"
    );
    assert_eq!(
        parse("'a'").evaluate_string(no_variable, limits),
        Ok("a".into())
    );
    assert!(parse("1").evaluate_string(no_variable, limits).is_err());
    let texts = parse("['a', 'b']").evaluate_strings(no_variable, limits);
    assert_eq!(texts, Ok(vec!["a".into(), "b".into()]));
    assert!(
        parse("['a', 1]")
            .evaluate_strings(no_variable, limits)
            .is_err()
    );
    let found = Expression::compile("[1]", &[], Some(Type::Bool)).unwrap_err();
    assert_eq!(
        found.to_string(),
        "CEL expression output type mismatch: expected bool, got list(int)"
    );
    assert!(matches!(found, CompileError::Output { .. }));
}
