//! A docker configuration, of both types, and the credentials found in it.
#![no_main]

use flux_oci::parsers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| parsers::config(input));
