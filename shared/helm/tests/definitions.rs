//! The definitions in the `crds` folders of charts.

use flux_helm::{Chart, File, ParsedChart, RenderOptions, Values, load_values};

fn chart() -> ParsedChart {
    let file = |name: &str, text: &str| File::new(name, text.to_owned());
    let files = vec![
        file(
            "Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, version: 1.0.0, alias: store, condition: store.enabled}]\n",
        ),
        file("crds/a.yaml", "kind: A\n"),
        file("crds/deep/b.YML", "kind: B\n"),
        file("crds/c.json", "{}"),
        file("crds/README.md", "no manifest"),
        file("templates/t.yaml", "kind: T\n"),
        file(
            "charts/db/Chart.yaml",
            "apiVersion: v2\nname: db\nversion: 1.0.0\n",
        ),
        file("charts/db/crds/d.yaml", "kind: D\n"),
    ];
    ParsedChart::new(Chart::from_files(files).unwrap())
}

#[test]
fn definitions_are_those_of_the_enabled_charts() {
    // HC-CRD-003
    let own = ["crds/a.yaml", "crds/deep/b.YML", "crds/c.json"];
    for (values, subchart) in [
        ("", true),
        ("store: {enabled: true}", true),
        ("store: {enabled: false}", false),
    ] {
        let values = load_values(values.as_bytes()).unwrap();
        let found = chart().definitions(&values).unwrap();
        let names: Vec<&str> = found.iter().map(|crd| crd.file.name.as_str()).collect();
        let all = [&own[..], &["crds/d.yaml"]].concat();
        assert_eq!(
            names,
            if subchart { all } else { own.to_vec() },
            "{values:?}"
        );
    }
    let wrong = load_values(b"store: 5").unwrap();
    assert_eq!(
        chart().definitions(&wrong).unwrap_err().to_string(),
        "type mismatch on store: %!t(float64=5)"
    );
}

// HE-MAN-013
#[test]
fn definitions_are_not_part_of_the_manifest() {
    let options = RenderOptions::new("rel", "apps");
    let rendered = chart().render(&Values::new(), &options).unwrap();
    let manifest = rendered.manifest(false);
    assert!(
        manifest.contains("kind: T") && !manifest.contains("kind: A"),
        "{manifest}"
    );
    assert_eq!(rendered.crds.len(), 4);
}
