//! Loads any archive, which must end within limits; a loaded chart is rendered or refused.
#![no_main]

use flux_helm::{Chart, RenderOptions, Values, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(chart) = Chart::from_archive(bytes) {
        let mut options = RenderOptions::new("rel", "apps");
        options.limits.steps = 100_000;
        options.limits.output = 1 << 20;
        let _ = render(&chart, &Values::new(), &options);
    }
});
