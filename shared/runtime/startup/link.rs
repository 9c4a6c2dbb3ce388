//! The build script of every controller: has the linker put side by side what runs in a controller that starts and idles.
//!
//! The kernel maps a file in runs of 64 KiB around each page that is touched. Spread over all of the program, 3 MB of code that
//! run made 13 MB resident; side by side they make 6 MB. `order.ld` lists them; `cargo xorder` writes it anew.
//! An order that has grown old costs memory and nothing else.

use std::env;
use std::path::Path;

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let order =
        Path::new(&variable("CARGO_MANIFEST_DIR")).join("../shared/runtime/startup/order.ld");
    println!("cargo::rerun-if-changed={}", order.display());
    // Elsewhere it was not tried. What is not optimised is not inlined alike, and is linked often.
    let tried = variable("CARGO_CFG_TARGET_ARCH") == "x86_64"
        && variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if tried && matches!(&*variable("OPT_LEVEL"), "2" | "3") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", order.display());
    }
}
