//! `cargo bench -p flux-helm`: renders real charts, and one that uses `tpl` heavily, with this crate and with Helm.
//!
//! Each figure is measured in a process of its own, so that the peak memory is that of the work alone: this program starts
//! itself for this crate, and the oracle for Helm. *Cold* reads the archive, parses and renders; *cached* keeps the data
//! that can be kept between two renders, which for Helm is the loaded chart and for this crate the parsed one. The two
//! sides take turns, so that other load on the machine affects both alike.

mod corpus;
mod measure;

use std::process::ExitCode;

use corpus::Sample;
use measure::{Figure, Mode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--worker") {
        return measure::work(&arguments);
    }
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<(), String> {
    let only = std::env::var("FLUX_BENCH_CHART").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    println!(
        "on {cores} cores; milliseconds a render, peak MiB of the process; Helm's figure divided by ours in brackets"
    );
    let folder = std::env::temp_dir().join(format!("flux-helm-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let result = table("chart", &corpus::real(&folder)?, &only).and_then(|()| {
        table(
            "tpl-heavy library chart",
            &corpus::synthetic(&folder)?,
            &only,
        )
    });
    std::fs::remove_dir_all(&folder).map_err(|e| e.to_string())?;
    result
}

fn table(title: &str, samples: &[Sample], only: &str) -> Result<(), String> {
    println!(
        "\n{title:<26}{:>8}{:>8}{:>24}{:>24}{:>24}{:>24}{:>22}",
        "KiB in",
        "KiB out",
        "cold: ours   Helm",
        "processor",
        "cached: ours   Helm",
        "processor",
        "MiB: ours   Helm"
    );
    for sample in samples.iter().filter(|s| s.name.contains(only)) {
        let (our_cold, their_cold) = measure::both(sample, Mode::Cold)?;
        let (our_cached, their_cached) = measure::both(sample, Mode::Cached)?;
        let cold = |of: fn(&Figure) -> f64| pair(of(&our_cold), their_cold.as_ref().map(of));
        let cached = |of: fn(&Figure) -> f64| pair(of(&our_cached), their_cached.as_ref().map(of));
        println!(
            "{:<26}{:>8}{:>8}{}{}{}{}{}{}",
            sample.name,
            sample.size >> 10,
            our_cold.output >> 10,
            cold(Figure::wall),
            cold(Figure::processor),
            cached(Figure::wall),
            cached(Figure::processor),
            cold(Figure::peak),
            match &their_cold {
                Some(theirs) if theirs.output != our_cold.output => "  output differs in length",
                _ => "",
            }
        );
    }
    Ok(())
}

fn pair(ours: f64, theirs: Option<f64>) -> String {
    match theirs {
        Some(theirs) => format!("{ours:>9.2}{theirs:>8.2} ({:>4.1})", theirs / ours),
        None => format!("{ours:>9.2}{:>15}", ""),
    }
}
