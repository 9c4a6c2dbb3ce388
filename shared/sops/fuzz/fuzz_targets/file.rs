//! Files: the first byte selects the format. Every service gives the same data key, and what was read is written in every
//! format. No panic, and no forged code that is accepted.
#![no_main]

use std::sync::LazyLock;

use flux_sops::{Answers, DataKey, Format, Keyring, Mac, Search, SopsFile};
use libfuzzer_sys::fuzz_target;

/// An identity of no use elsewhere: of the tests of age.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

static RING: LazyLock<Keyring> = LazyLock::new(|| {
    let mut ring = Keyring::default();
    ring.add_age(IDENTITY).expect("an identity");
    ring
});

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let format = Format::ALL[usize::from(*first) % Format::ALL.len()];
    let _ = Format::detect(data);
    let Ok(file) = SopsFile::read(data, format) else {
        return;
    };
    let mut answers = Answers::new();
    let mut asked = 0;
    let key = loop {
        match file.data_key(&RING, &answers) {
            Ok(Search::Found(key)) => break key,
            Ok(Search::Needs(key)) => {
                asked += 1;
                assert!(asked <= 1000, "more keys are asked for than a file may have");
                assert!(answers.insert(*key, Ok(DataKey::new([0x66; 32]))).is_none());
            }
            Err(error) => {
                let _ = error.to_string();
                break DataKey::new([0x66; 32]);
            }
        }
    };
    let checked = file.clone().decrypt(&key, Mac::Checked);
    if let Ok(plain) = file.decrypt(&key, Mac::Ignored) {
        for format in Format::ALL {
            let _ = plain.write(format);
        }
    } else {
        assert!(checked.is_err(), "what cannot be decrypted is authentic");
    }
});
