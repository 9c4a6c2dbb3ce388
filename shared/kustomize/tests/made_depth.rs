//! Random builds that amplify depth and size: each ends within its limits, with objects that can be written.
//! `FLUX_MADE_CASES` and `FLUX_MADE_SEED` set the cases; the fuzz target `made` finds them by coverage.

mod made;

use std::sync::Arc;

use flux_budget::Budget;
use flux_kustomize::{Allowance, Build, Options, Remotes, build_within};
use flux_tree::TreePath;

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn depth(value: &flux_yaml::Value) -> usize {
    match value {
        flux_yaml::Value::Seq(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        flux_yaml::Value::Map(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[test]
fn random_amplifying_builds_stay_within_bounds() {
    let seed = number("FLUX_MADE_SEED", 1);
    let (mut done, mut refused) = (0, 0);
    for case in 0..number("FLUX_MADE_CASES", 2000) {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (seed << 32) ^ case);
        let bytes: Vec<u8> = (0..64 + random.next() % 400)
            .map(|_| (random.next() >> 32) as u8)
            .collect();
        let budget = Budget::new(64 << 20);
        let allowance = Allowance::new(Arc::new(budget.claim()));
        let tree = made::tree(&bytes);
        let built = build_within(
            &tree,
            &TreePath::root(),
            &Options::flux(),
            &Remotes::new(),
            &allowance,
        );
        match built {
            Ok(Build::Done(output)) => {
                done += 1;
                for resource in output.resources.iter() {
                    let levels = depth(resource.value());
                    assert!(levels <= 256, "case {case} of seed {seed}: {levels} levels");
                    assert!(!resource.to_yaml().is_empty(), "case {case} of seed {seed}");
                }
            }
            Ok(Build::Needs(needs)) => panic!("case {case} of seed {seed}: {needs:?}"),
            Err(error) => {
                refused += 1;
                let length = error.to_string().len();
                assert!(
                    length < 1 << 20,
                    "case {case} of seed {seed}: {length} bytes"
                );
                assert_eq!(budget.used(), 0, "case {case} of seed {seed}");
            }
        }
    }
    // Otherwise the cases have become useless.
    assert!(done > 20 && refused > 20, "{done} done, {refused} refused");
}
