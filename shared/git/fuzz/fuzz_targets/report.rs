//! The response to a push, with and without side band: no panic, no memory kept, no inconsistent result.
#![no_main]

use flux_git::parsers::{Parsers, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(Parsers::report, input));
