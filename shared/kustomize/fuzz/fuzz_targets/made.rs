//! Builds that amplify small input to depth and size: no panic, no stack overflow, no build beyond its memory.
#![no_main]

#[path = "../../tests/made/mod.rs"]
mod made;

use std::sync::Arc;

use flux_budget::Budget;
use flux_kustomize::{Allowance, Build, Options, Remotes, build_within};
use flux_tree::TreePath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let budget = Budget::new(64 << 20);
    let allowance = Allowance::new(Arc::new(budget.claim()));
    let mut options = Options::flux();
    options.limits.steps = 20_000_000;
    let built = build_within(
        &made::tree(bytes),
        &TreePath::root(),
        &options,
        &Remotes::new(),
        &allowance,
    );
    match built {
        Ok(Build::Done(output)) => assert!(
            output
                .resources
                .iter()
                .all(|object| !object.to_yaml().is_empty())
        ),
        Ok(Build::Needs(needs)) => panic!("{needs:?}"),
        Err(_) => assert_eq!(budget.used(), 0),
    }
});
