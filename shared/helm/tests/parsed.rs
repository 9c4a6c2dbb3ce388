//! A cached chart renders as a newly loaded one, whatever was rendered before.

mod support;

use flux_helm::{Chart, ParsedChart, RenderOptions, load_values, render};
use support::{Random, pack};

fn send_and_sync<T: Send + Sync + Clone>(_: &T) {}

#[test]
fn renders_do_not_modify_the_parsed_chart() {
    for case in 0..60 {
        let mut random = Random::new(7_000 + case);
        let mut files = Vec::new();
        random.chart("", "web", 2, &mut files);
        let Ok(chart) = Chart::from_archive(&pack(&files)) else {
            continue;
        };
        let kept = ParsedChart::new(chart);
        send_and_sync(&kept);
        let options = RenderOptions::new("rel", "apps");
        let values: Vec<_> = (0..6)
            .map(|_| random.values(&["one", "two", "three", "other0", "other1"]))
            .collect();
        // Each set of values twice, with others in between.
        for text in values.iter().chain(&values) {
            let Ok(values) = load_values(text.as_bytes()) else {
                continue;
            };
            let fresh = render(kept.chart(), &values, &options);
            let again = kept.clone().render(&values, &options);
            assert_eq!(format!("{again:?}"), format!("{fresh:?}"), "{text}");
        }
    }
}
