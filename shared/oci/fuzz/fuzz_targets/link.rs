//! The `Link` header of a list.
#![no_main]

use flux_oci::parsers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| parsers::link(input));
