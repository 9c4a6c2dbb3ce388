//! `cargo xledger`: counts the proven rows of the parity ledgers, lists the missing ones, and writes `docs/status.md`.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use ledger::{Ledger, sources};

const USAGE: &str = "\
usage: cargo xledger                   the number of proven rows of each area, as docs/status.md has it
       cargo xledger --missing PREFIX  the rows of that prefix that no test proves
       cargo xledger --write           writes docs/status.md
       cargo xledger --check           fails if docs/status.md is not up to date";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let ledger = Ledger::read(&root.join("docs/parity"))?;
    let proof = ledger.proof(&sources(&root)?);
    let page = root.join("docs/status.md");
    match arguments {
        [] => print!("{}", ledger.status(&proof)),
        ["--missing", prefix] => {
            for id in ledger.missing(&proof.proven) {
                if id.starts_with(prefix) {
                    let only = if proof.shared.contains(id) {
                        " (in shared code only)"
                    } else {
                        ""
                    };
                    println!("{id}{only} | {}", ledger.rows()[id].text);
                }
            }
        }
        ["--write"] => fs::write(page, ledger.status(&proof))?,
        ["--check"] => {
            if fs::read_to_string(page).unwrap_or_default() != ledger.status(&proof) {
                return Err("docs/status.md is not up to date: run cargo xledger --write".into());
            }
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
