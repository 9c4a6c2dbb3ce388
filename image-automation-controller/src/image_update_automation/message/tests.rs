//! Templates, with the results of upstream's.

use flux_setters::{Change, ObjectId};
use rstest::rstest;

use super::*;

fn data() -> Data {
    let object = |kind: &str, name: &str| ObjectId {
        api_version: "apps/v1".into(),
        kind: kind.into(),
        name: name.into(),
        namespace: "prod".into(),
    };
    let change = |old: &str, new: &str| Change {
        old_value: old.into(),
        new_value: new.into(),
        setter: "apps:web".into(),
    };
    let mut changes = Changes::default();
    changes.add(
        "b/deploy.yaml",
        [
            (object("Deployment", "web"), change("web:1", "web:2")),
            (object("CronJob", "job"), change("1", "2")),
        ],
    );
    changes.add(
        "a.yaml",
        [(object("Deployment", "web"), change("web:1", "web:2"))],
    );
    Data {
        automation: Key::new("apps", "update"),
        changes,
        values: BTreeMap::from([("env".to_owned(), "prod & <test>".to_owned())]),
    }
}

fn rendered(template: &str) -> String {
    match render(template, &data()) {
        Ok(message) => message,
        Err(error) => format!("error: {}", flux_runtime::outcome::chain(&error)),
    }
}

#[rstest]
// IA-MSG-001
#[case("", "Update from image update automation")]
// IA-MSG-002
#[case("{{ with 1 }}{{ . }}{{ end }}{{/* c */}} {{- `x` -}} ", "1x")]
#[case(
    "{{ define \"T\" }}<{{ . }}>{{ end }}{{ template \"T\" 3 }}{{ block \"B\" 4 }}[{{ . }}]{{ end }}",
    "<3>[4]"
)]
#[case(
    "{{ range $i, $x := list 1 2 3 }}{{ if eq $x 2 }}{{ continue }}{{ end }}{{ $i }}{{ break }}{{ end }}",
    "0"
)]
#[case(
    "{{ printf \"%d-%s\" (len .Changed.Changes) (urlquery \"a b\") }}",
    "2-a+b"
)]
// IA-MSG-004
#[case("{{ .AutomationObject }}", "apps/update")]
#[case(
    "{{ .AutomationObject.Namespace }}:{{ .AutomationObject.Name }}",
    "apps:update"
)]
#[case("{{ .AutomationObject.String | upper }}", "APPS/UPDATE")]
// IA-MSG-005, IA-MSG-009
#[case(
    "{{ range $file, $objects := .Changed.FileChanges }}{{ $file }}({{ range $object, $changes := $objects }}{{ $object.Kind }} {{ range $changes }}{{ .OldValue }}>{{ .NewValue }};{{ end }}{{ end }}) {{ end }}",
    "a.yaml(Deployment web:1>web:2;) b/deploy.yaml(CronJob 1>2;Deployment web:1>web:2;) "
)]
// IA-MSG-006, IA-MSG-008
#[case(
    "{{ range $object, $changes := .Changed.Objects }}{{ $object.APIVersion }} {{ $object.Kind }} {{ $object.Namespace }}/{{ $object.Name }} {{ len $changes }} {{ (index $changes 0).Setter }}\n{{ end }}",
    "apps/v1 CronJob prod/job 1 apps:web\napps/v1 Deployment prod/web 2 apps:web\n"
)]
// IA-MSG-007, IA-MSG-010
#[case(
    "{{ range .Changed.Changes }}{{ .OldValue }} -> {{ .NewValue }}\n{{ end }}",
    "web:1 -> web:2\n1 -> 2\n"
)]
// IA-MSG-011, IA-MSG-025
#[case(
    "{{ .Values.env }}|{{ index .Values \"env\" }}|{{ .Values.none }}",
    "prod & <test>|prod & <test>|<no value>"
)]
// IA-MSG-012
#[case(
    "{{ .Changed.FileChanges }}",
    "map[a.yaml:map[{{{apps/v1 Deployment} {web prod}}}:[{web:1 web:2 apps:web}]] b/deploy.yaml:map[{{{apps/v1 CronJob} {job prod}}}:[{1 2 apps:web}] {{{apps/v1 Deployment} {web prod}}}:[{web:1 web:2 apps:web}]]]"
)]
#[case(
    "{{ range $o, $c := .Changed.Objects }}{{ len (index $.Changed.Objects $o) }}{{ end }}{{ len .Changed.FileChanges }}",
    "122"
)]
#[case("I{{ .Changed.FileChanges | toString | sha1sum | trunc 4 }}", "If5af")]
// IA-MSG-014, IA-MSG-015, IA-MSG-017: some of each family
#[case(
    "{{ \"b,a\" | splitList \",\" | sortAlpha | join \"+\" }} {{ camelcase \"a_b\" }} {{ indent 2 \"x\" }}",
    "a+b AB   x"
)]
#[case(
    "{{ add1 2 }} {{ max 1 5 3 }} {{ untilStep 0 6 2 }} {{ seq 1 3 }} {{ round 3.14159 2 }}",
    "3 5 [0 2 4] 1 2 3 3.14"
)]
#[case(
    "{{ dict \"a\" 1 | toJson }} {{ list 1 2 | first }} {{ default \"d\" \"\" }} {{ ternary 1 2 true }}",
    "{\"a\":1} 1 d 1"
)]
#[case(
    "{{ hello }} {{ sha256sum \"a\" | trunc 6 }} {{ b64enc \"a\" }} {{ semver \"1.2.3\" | toString }} {{ base \"a/b\" }} {{ kindOf 1 }} {{ regexMatch \"^a\" \"ab\" }}",
    "Hello! ca9781 YQ== 1.2.3 b int true"
)]
// IA-MSG-024
#[case("{{ if false }}x{{ end }}", "")]
#[case(" x \n\n", " x \n\n")]
// IA-MSG-027
#[case("{{ .Changed.Summary }}", "- web:1 -> web:2\n- 1 -> 2\n")]
// IA-MSG-018
#[case(
    "{{ .a",
    "error: unable to create commit message template from spec: template: commit message:1: unclosed action"
)]
// IA-MSG-013
#[case(
    "{{ now }}",
    "error: unable to create commit message template from spec: template: commit message:1: function \"now\" not defined"
)]
// IA-MSG-018, IA-MSG-023
#[case(
    "{{ .Other }}",
    "error: failed to run template from spec: template: commit message:1:3: executing \"commit message\" at <.Other>: can't evaluate field Other in type source.TemplateData"
)]
#[case(
    "{{ .Changed.Other }}",
    "error: failed to run template from spec: template: commit message:1:11: executing \"commit message\" at <.Changed.Other>: can't evaluate field Other in type update.Result"
)]
#[case(
    "{{ range $o, $c := .Changed.Objects }}{{ $o.Other }}{{ end }}",
    "error: failed to run template from spec: template: commit message:1:43: executing \"commit message\" at <$o.Other>: can't evaluate field Other in type update.ObjectIdentifier"
)]
#[case(
    "{{ .Changed.Objects.web }}",
    "error: failed to run template from spec: template: commit message:1:11: executing \"commit message\" at <.Changed.Objects.web>: can't evaluate field web in type update.ObjectChanges"
)]
#[case(
    "{{ fail \"no\" }}",
    "error: failed to run template from spec: template: commit message:1:3: executing \"commit message\" at <fail \"no\">: error calling fail: no"
)]
// IA-MSG-020
#[case(
    "{{ range .Updated.Images }}{{ println . }}{{ end }}",
    "error: template uses removed '.Updated' field. Please use '.Changed' instead. See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template"
)]
// IA-MSG-021
#[case(
    "{{ .Changed.ImageResult }}",
    "error: template uses removed '.Changed.ImageResult' field. Please use '.Changed.FileChanges' or '.Changed.Objects' instead. See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template"
)]
// IA-MSG-022
#[case("{{ if false }}{{ .Updated }}{{ end }}x", "x")]
fn messages_match_upstream(#[case] template: &str, #[case] message: &str) {
    assert_eq!(rendered(template), message);
}

#[test]
fn functions_that_depend_on_time_and_place_are_gone() {
    // IA-MSG-013
    for name in REMOVED {
        let message = rendered(&format!("{{{{ {name} }}}}"));
        let text = format!("function \"{name}\" not defined");
        assert!(message.ends_with(&text), "{message}");
    }
    let functions = functions();
    // IA-MSG-014
    for name in [
        "abbrev",
        "swapcase",
        "shuffle",
        "plural",
        "wrapWith",
        "toStrings",
    ] {
        assert!(functions.get(name).is_some(), "{name}");
    }
    // IA-MSG-015
    for name in ["toDecimal", "randInt", "mulf", "biggest", "maxf"] {
        assert!(functions.get(name).is_some(), "{name}");
    }
    // IA-MSG-016
    for name in [
        "mustToJson",
        "mergeOverwrite",
        "mustUniq",
        "dig",
        "chunk",
        "toRawJson",
    ] {
        assert!(functions.get(name).is_some(), "{name}");
    }
    // IA-MSG-017
    for name in [
        "ago",
        "must_date_modify",
        "mustDateModify",
        "adler32sum",
        "genSelfSignedCert",
        "genCAWithKey",
        "decryptAES",
        "osIsAbs",
        "mustRegexReplaceAllLiteral",
        "urlJoin",
        "deepEqual",
        "typeIsLike",
    ] {
        assert!(functions.get(name).is_some(), "{name}");
    }
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let endless = "{{ define \"T\" }}{{ template \"T\" }}{{ end }}{{ template \"T\" }}";
    assert!(rendered(endless).starts_with("error: failed to run template from spec: "));
    let long = "{{ range until 100000 }}{{ repeat 1000 \"x\" }}{{ end }}";
    assert!(rendered(long).starts_with("error: failed to run template from spec: "));
}
