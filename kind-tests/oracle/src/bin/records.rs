//! Packs the answers that tests recorded with `FLUX_ORACLE=write` into `kind-tests/oracle/records`; `.ci/records` calls it.

use std::process::ExitCode;

fn main() -> ExitCode {
    match oracle::write_records() {
        Ok(written) => {
            for (command, answers, bytes) in written {
                println!("{command}: {answers} answers, {bytes} bytes");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot write the records: {error}");
            ExitCode::FAILURE
        }
    }
}
