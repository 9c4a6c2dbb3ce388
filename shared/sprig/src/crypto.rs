//! Keys, certificates, passwords.

mod aes;
mod certificates;
mod der;
mod drbg;
mod dsa;
mod keys;
mod passwords;
mod pem;

use flux_gotemplate::Functions;

pub(super) fn register(f: &mut Functions) {
    passwords::register(f);
    aes::register(f);
    keys::register(f);
    certificates::register(f);
}
