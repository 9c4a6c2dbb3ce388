//! The build script of every controller: has the linker place the code that runs at startup and when idle contiguously.
//!
//! The kernel maps a file in runs of 64 KiB around each page that is touched. Spread over the whole program, 3 MB of
//! code that ran made 13 MB resident; contiguously they make 6 MB. `order.ld` lists the functions; `cargo xorder`
//! regenerates it. An outdated order costs memory and nothing else.

use std::env;
use std::path::Path;

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let order =
        Path::new(&variable("CARGO_MANIFEST_DIR")).join("../shared/runtime/startup/order.ld");
    println!("cargo::rerun-if-changed={}", order.display());
    // Other architectures were not tried. Unoptimised code is inlined differently, and is linked often.
    let tried = variable("CARGO_CFG_TARGET_ARCH") == "x86_64"
        && variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if tried && matches!(&*variable("OPT_LEVEL"), "2" | "3" | "s") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", order.display());
    }
}
