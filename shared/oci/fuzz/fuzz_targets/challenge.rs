//! The `WWW-Authenticate` header of a registry, and the token service that it names.
#![no_main]

use flux_oci::parsers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| parsers::challenge(input));
