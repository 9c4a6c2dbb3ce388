//! Charts that exceed a limit: the error names the position in the template, and the chart can still be rendered.
// HE-TPL-008 HE-ENG-008

use std::fmt::Write as _;

use flux_helm::{Chart, File, ParsedChart, RenderError, RenderOptions, Values, load_values};

fn chart(template: &str) -> ParsedChart {
    let files = [
        ("Chart.yaml", "name: web\nversion: 1.0.0\n"),
        ("templates/t.yaml", template),
    ];
    let files = files.map(|(name, text)| File::new(name, text.to_owned()));
    ParsedChart::new(Chart::from_files(files.to_vec()).unwrap())
}

fn tight() -> RenderOptions {
    let mut options = RenderOptions::new("rel", "apps");
    options.limits.steps = 300_000;
    options.limits.output = 1 << 20;
    options.limits.allocation = 4 << 20;
    options.limits.stack = 16 << 20;
    options
}

#[test]
fn endless_templates_are_stopped_by_limits() {
    const TPL: &str = "{{ tpl .Values.text . }}";
    const STEPS: &str = "takes too many steps";
    const OUTPUT: &str = "writes too much";
    const DATA: &str = "makes too much data";
    const SHARED_AS_YAML: &str =
        r#"{{ $d := dict }}{{ range 50 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ toYaml $d }}"#;
    let unless_calm = |wild: &str| {
        format!("{{{{ if .Values.wild }}}}{wild}{{{{ else }}}}kind: Calm{{{{ end }}}}")
    };
    for (wild, message) in [
        (r#"{{ template "a" . }}"#, "too deeply"),
        (TPL, "too deeply"),
        ("{{ range 100000000 }}{{ end }}", STEPS),
        (
            "{{ range 100 }}{{ range 100 }}{{ range 100 }}{{ end }}{{ end }}{{ end }}",
            STEPS,
        ),
        (
            "{{ range 90000 }}some text that is not very short{{ end }}",
            OUTPUT,
        ),
        (r#"{{ range 2000 }}{{ include "text" . }}{{ end }}"#, OUTPUT),
        (
            r#"{{ range 40 }}{{ tpl "{{ range 1000 }}some text that is not very short{{ end }}" $ }}{{ end }}"#,
            OUTPUT,
        ),
        (
            r#"{{ $s := "x" }}{{ range 40 }}{{ $s = print $s $s }}{{ end }}"#,
            DATA,
        ),
        (r#"{{ repeat 100000000 "x" }}"#, DATA),
        (SHARED_AS_YAML, DATA),
        (
            r#"{{ fromYaml (printf "a: [%s]" (repeat 300000 "1,")) }}"#,
            DATA,
        ),
        (
            r#"{{ fromJson (printf "{\"a\": [%s1]}" (repeat 300000 "1,")) }}"#,
            DATA,
        ),
        (r#"{{ indent 100000000 "x" }}"#, DATA),
        (
            "{{ $l := list }}{{ range 100000 }}{{ $l = append $l . }}{{ end }}",
            DATA,
        ),
        (
            "{{ $d := dict }}{{ range 280000 }}{{ $_ := set $d (toString .) (dict) }}{{ end }}",
            DATA,
        ),
        (
            r"{{ $d := dict }}{{ range 1000 }}{{ $_ := set $d (toString .) (fromYaml $.Values.large) }}{{ end }}",
            DATA,
        ),
        (
            r"{{ $d := dict }}{{ range 1000 }}{{ $_ := set $d (toString .) (fromJson $.Values.json) }}{{ end }}",
            DATA,
        ),
    ] {
        let chart = chart(&format!(
            "{{{{ define \"a\" }}}}{{{{ template \"a\" . }}}}{{{{ end }}}}{{{{ define \"text\" }}}}{}{{{{ end }}}}{}",
            "text ".repeat(200),
            unless_calm(wild)
        ));
        let mut values = Values::new();
        values.insert("wild".to_owned(), true.into());
        values.insert("text".to_owned(), TPL.into());
        let anchors =
            "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n";
        values.insert("large".to_owned(), anchors.into());
        values.insert(
            "json".to_owned(),
            format!("{{\"a\": [1{}]}}", ",1".repeat(1000)).into(),
        );
        let error = chart.render(&values, &tight()).expect_err(wild);
        let text = error.to_string();
        assert!(
            matches!(error, RenderError::Template { limit: true, .. }),
            "{wild}: {text}"
        );
        assert!(
            text.contains(message) && text.contains("web/templates/t.yaml:1:"),
            "{wild}: {text}"
        );
        // The cached parts of the chart are still valid.
        let rendered = chart.render(&Values::new(), &tight()).unwrap();
        assert_eq!(rendered.manifests[0].content, "kind: Calm", "{wild}");
    }
}

#[test]
fn include_depth_is_limited_as_in_helm() {
    // Helm's own limit, without any limit of ours.
    let cycle =
        chart(r#"{{ define "a" }}{{ tpl "{{ include \"a\" . }}" . }}{{ end }}{{ include "a" . }}"#);
    let error = cycle.render(&Values::new(), &RenderOptions::new("rel", "apps"));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("nested reference name: a"), "{text}");
}

#[test]
fn values_that_grow_by_aliases_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{items}]");
    }
    let refused = "document contains excessive aliasing";
    let error = load_values(bomb.as_bytes()).unwrap_err().to_string();
    assert!(error.contains(refused), "{error}");

    let files = vec![
        File::new("Chart.yaml", "name: web\nversion: 1.0.0\n"),
        File::new("values.yaml", bomb.clone()),
    ];
    let error = Chart::from_files(files).unwrap_err();
    assert_eq!(error.to_string(), "cannot load values.yaml");

    // In a template the error becomes a value, as in Helm.
    let mut values = Values::new();
    values.insert("bomb".to_owned(), bomb.into());
    let rendered = chart("kind: X\nerror: {{ (fromYaml .Values.bomb).Error | quote }}")
        .render(&values, &tight())
        .unwrap();
    assert!(rendered.manifests[0].content.contains(refused));
}

#[test]
fn deeply_nested_values_are_refused() {
    let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
    let error = load_values(deep.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("exceeded max depth"), "{error}");
}

#[test]
fn endless_templates_are_stopped_by_default_limits() {
    let chart = chart("{{ range 100000000 }}{{ end }}");
    let options = RenderOptions::new("rel", "apps");
    let error = chart.render(&Values::new(), &options).unwrap_err();
    assert!(
        error.to_string().contains("takes too many steps"),
        "{error}"
    );
}
