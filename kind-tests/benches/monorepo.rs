//! `cargo bench -p kind-tests --bench monorepo`: 50 Kustomizations of one repository with 20,000 files, installed,
//! then reconciled without a change.

mod figures;

use std::fmt::Write as _;
use std::process::ExitCode;

use figures::{Kustomizations, mebibytes, print};
use kind_tests::controller::Settings;
use kind_tests::{Flux, Result};

const FILES: usize = 20_000;
const KUSTOMIZATIONS: usize = 50;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    let flux = Flux::start_on(
        &cluster,
        "monorepo",
        Settings::default(),
        Settings::default(),
    )
    .await?;
    let files: Vec<(String, String)> = (0..FILES).map(file).collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let revision = flux.commit(&files);
    flux.follow_main().await?;
    let all = Kustomizations {
        flux: &flux,
        count: KUSTOMIZATIONS,
        of: format!("on {FILES} files"),
    };

    let took = all.install(&revision, &["prune: true"]).await?;
    all.show("install", &took, ["upstream 431 s", "", ""]);
    for which in ["second", "unchanged"] {
        all.show(which, &all.request(which).await?, [""; 3]);
    }
    print(
        "peak memory of kustomize-controller",
        &mebibytes(flux.kustomize.peak_bytes()?),
        "",
    );
    Ok(())
}

/// One ConfigMap for each of the applications; about two kilobytes of other text in each of the other files.
fn file(number: usize) -> (String, String) {
    if number < KUSTOMIZATIONS {
        let name = Kustomizations::name(number);
        let text = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{a: b}}}}\n"
        );
        return (format!("{name}/config.yaml"), text);
    }
    let mut text = String::new();
    let mut state = number as u64 + 1;
    for line in 0..40 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let _ = writeln!(text, "key-{line:02}: value-{state:016x}-of-some-length");
    }
    (
        format!("other-{:03}/file-{number:05}.yaml", number % 200),
        text,
    )
}
