//! A manifest, an index, or a list of referrers.
#![no_main]

use flux_oci::parsers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| parsers::manifest(input));
