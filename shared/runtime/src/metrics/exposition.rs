//! The exposition formats (RT-MET-001): Prometheus' text format, or OpenMetrics for clients that accept it, compressed
//! for clients that accept gzip.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use flux_golang::strconv;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Error, Result};

/// The format of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// OpenMetrics 1.0 in place of Prometheus' text format 0.0.4.
    pub open_metrics: bool,
    /// Compressed with gzip.
    pub gzip: bool,
}

impl Page {
    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        if self.open_metrics {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            "text/plain; version=0.0.4; charset=utf-8"
        }
    }
}

/// The format that matches these values of `Accept` and `Accept-Encoding` best. The default is plain text, which every
/// client reads.
pub fn negotiate(accept: &str, accept_encoding: &str) -> Page {
    // Without the parameter the version is up to the server; the versions before 1.0.0 differ in details only.
    let open = choices(accept)
        .filter(|choice| {
            choice.name == "application/openmetrics-text"
                && choice
                    .version
                    .is_none_or(|version| matches!(version, "1.0.0" | "0.0.1"))
        })
        .map(|choice| choice.weight)
        .fold(0.0, f32::max);
    let text = choices(accept)
        .filter(|choice| matches!(choice.name, "text/plain" | "text/*" | "*/*"))
        .map(|choice| choice.weight)
        .fold(0.0, f32::max);
    let gzip = choices(accept_encoding)
        .any(|choice| matches!(choice.name, "gzip" | "x-gzip") && choice.weight > 0.0);
    Page {
        open_metrics: open > 0.0 && open >= text,
        gzip,
    }
}

struct Choice<'a> {
    name: &'a str,
    version: Option<&'a str>,
    weight: f32,
}

fn choices(header: &str) -> impl Iterator<Item = Choice<'_>> {
    header.split(',').map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let mut choice = Choice {
            name: parts.next().unwrap_or_default(),
            version: None,
            weight: 1.0,
        };
        for part in parts {
            match part.split_once('=') {
                Some(("version", version)) => choice.version = Some(version.trim_matches('"')),
                Some(("q", weight)) => choice.weight = weight.parse().unwrap_or(0.0),
                _ => {}
            }
        }
        choice
    })
}

/// Encodes the families as a page in this format.
pub(super) fn encode(families: &[MetricFamily], page: Page) -> Result<Vec<u8>> {
    let mut text = String::with_capacity(16 * 1024);
    for family in families {
        write_family(&mut text, family, page.open_metrics);
    }
    if page.open_metrics {
        text.push_str("# EOF\n");
    }
    if !page.gzip {
        return Ok(text.into_bytes());
    }
    let mut packed = GzEncoder::new(Vec::with_capacity(4 * 1024), Compression::fast());
    packed
        .write_all(text.as_bytes())
        .and_then(|()| packed.finish())
        .map_err(Error::Io)
}

fn write_family(text: &mut String, family: &MetricFamily, open_metrics: bool) {
    let name = family.name();
    let kind = family.get_field_type();
    // In OpenMetrics `_total` belongs to the name of a counter's sample, not of its family.
    let title = match name.strip_suffix("_total") {
        Some(stem) if open_metrics && kind == MetricType::COUNTER => stem,
        _ => name,
    };
    let help = family.help().replace('\\', "\\\\").replace('\n', "\\n");
    let help = if open_metrics {
        help.replace('"', "\\\"")
    } else {
        help
    };
    let word = match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED if open_metrics => "unknown",
        MetricType::UNTYPED => "untyped",
    };
    let _ = write!(text, "# HELP {title} {help}\n# TYPE {title} {word}\n");
    for metric in family.get_metric() {
        match kind {
            MetricType::HISTOGRAM => write_histogram(text, name, metric),
            MetricType::COUNTER => sample(
                text,
                name,
                "",
                metric,
                None,
                metric.get_counter().get_value(),
            ),
            _ => sample(text, name, "", metric, None, metric.get_gauge().get_value()),
        }
    }
}

fn write_histogram(text: &mut String, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count() as f64;
    for bucket in histogram.get_bucket() {
        let seen = bucket.cumulative_count() as f64;
        sample(
            text,
            name,
            "_bucket",
            metric,
            Some(bucket.upper_bound()),
            seen,
        );
    }
    let last = histogram.get_bucket().last();
    if last.is_none_or(|bucket| bucket.upper_bound().is_finite()) {
        sample(text, name, "_bucket", metric, Some(f64::INFINITY), count);
    }
    sample(text, name, "_sum", metric, None, histogram.get_sample_sum());
    sample(text, name, "_count", metric, None, count);
}

fn sample(
    text: &mut String,
    name: &str,
    suffix: &str,
    metric: &Metric,
    bound: Option<f64>,
    value: f64,
) {
    let _ = write!(text, "{name}{suffix}");
    let mut separator = '{';
    let mut label = |name: &str, value: &str| {
        let _ = write!(text, "{separator}{name}=\"{value}\"");
        separator = ',';
    };
    for pair in metric.get_label() {
        label(pair.name(), &escaped(pair));
    }
    if let Some(bound) = bound {
        label("le", &number(bound));
    }
    if separator == ',' {
        text.push('}');
    }
    let _ = writeln!(text, " {}", number(value));
}

fn escaped(pair: &LabelPair) -> String {
    pair.value()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A number in Go's shortest form (`strconv.FormatFloat(f, 'g', -1, 64)`): bounds of buckets are label values, which
/// must not change when a controller is replaced.
fn number(value: f64) -> String {
    strconv::format_float(value, b'g', None)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;

    #[test]
    fn metrics_format_and_encoding_are_negotiated() {
        // RT-MET-001
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
            text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, encoding, open_metrics, gzip) in [
            ("", "", false, false),
            ("*/*", "gzip", false, true),
            ("text/plain", "deflate, gzip;q=1.0, *;q=0.5", false, true),
            (prometheus, "gzip", true, true),
            ("application/openmetrics-text", "identity", true, false),
            (
                "application/openmetrics-text; version=2.0.0, text/plain",
                "gzip;q=0",
                false,
                false,
            ),
            (
                "application/openmetrics-text;q=0.1,text/plain;q=0.9",
                "",
                false,
                false,
            ),
            ("application/openmetrics-text;q=0", "", false, false),
            (
                "application/vnd.google.protobuf;proto=x",
                "br",
                false,
                false,
            ),
        ] {
            let want = Page { open_metrics, gzip };
            assert_eq!(negotiate(accept, encoding), want, "{accept:?} {encoding:?}");
        }
    }

    fn families() -> Vec<MetricFamily> {
        let registry = Registry::new();
        let counter =
            IntCounterVec::new(Opts::new("a_total", "Says \"a\"\\."), &["b", "c"]).unwrap();
        counter.with_label_values(&["x\"\\\n", "y"]).inc();
        let gauge = IntGauge::new("g", "G.").unwrap();
        gauge.set(1_234_567);
        let bounds = HistogramOpts::new("h", "H.").buckets(vec![1e-8, 1.0]);
        let histogram = HistogramVec::new(bounds, &["l"]).unwrap();
        histogram.with_label_values(&["v"]).observe(0.5);
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(gauge)).unwrap();
        registry.register(Box::new(histogram)).unwrap();
        registry.gather()
    }

    #[test]
    fn both_formats_have_the_same_samples() {
        // RT-MET-001: the text as client_golang writes it
        let page = |page| String::from_utf8(encode(&families(), page).unwrap()).unwrap();
        let text = page(Page::default());
        let samples = "h_bucket{l=\"v\",le=\"1e-08\"} 0\nh_bucket{l=\"v\",le=\"1\"} 1\nh_bucket{l=\"v\",le=\"+Inf\"} 1\n\
            h_sum{l=\"v\"} 0.5\nh_count{l=\"v\"} 1\n";
        assert_eq!(
            text,
            format!(
                "# HELP a_total Says \"a\"\\\\.\n# TYPE a_total counter\na_total{{b=\"x\\\"\\\\\\n\",c=\"y\"}} 1\n\
                 # HELP g G.\n# TYPE g gauge\ng 1.234567e+06\n# HELP h H.\n# TYPE h histogram\n{samples}"
            )
        );
        let open = page(Page {
            open_metrics: true,
            gzip: false,
        });
        assert!(
            open.starts_with("# HELP a Says \\\"a\\\"\\\\.\n# TYPE a counter\na_total{"),
            "{open}"
        );
        assert!(open.ends_with(&format!("{samples}# EOF\n")), "{open}");
        let packed = encode(
            &families(),
            Page {
                open_metrics: false,
                gzip: true,
            },
        )
        .unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&*packed)
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
    }

    #[test]
    fn numbers_are_formatted_as_in_go() {
        // RT-MET-003, RT-MET-016: from strconv.FormatFloat(f, 'g', -1, 64)
        for (value, want) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.234567e+06"),
            (1e6, "1e+06"),
            (1e21, "1e+21"),
            (1.7e9, "1.7e+09"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456.5, "123456.5"),
            (-0.000_02, "-2e-05"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), want);
        }
    }
}
