//! Files that the real sops has encrypted, with every kind of key, format and rule: decrypted to the bytes that sops gives, and
//! refused where they were changed. `.ci/sops` makes them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_sops::{
    Answers, DataKey, DataKeyError, DecryptError, Format, Keyring, LoadError, Mac, MasterKey,
    MetadataError, Search, SopsFile, TreeError, ValueError,
};
use serde_json::Value;

static MATERIAL: LazyLock<Value> = LazyLock::new(|| {
    let packed = include_bytes!("material/material.json.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap()
});

/// One encrypted file.
struct Case {
    name: &'static str,
    format: Format,
    file: Vec<u8>,
    /// The key that decrypts it.
    key: &'static str,
    /// What sops gives for it in each format; nothing where sops fails.
    plain: BTreeMap<&'static str, Option<Vec<u8>>>,
    /// The data key, where a key service saw it.
    data_key: Option<Vec<u8>>,
}

fn decoded(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}

fn format(name: &str) -> Format {
    let found = Format::ALL
        .into_iter()
        .find(|format| format.name().eq_ignore_ascii_case(name));
    found.unwrap()
}

fn cases() -> Vec<Case> {
    let cases = MATERIAL["cases"].as_array().unwrap().iter();
    cases
        .map(|case| Case {
            name: case["name"].as_str().unwrap(),
            format: format(case["format"].as_str().unwrap()),
            file: decoded(&case["file"]),
            key: case["key"].as_str().unwrap(),
            plain: case["plain"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(format, plain)| (&**format, (!plain.is_null()).then(|| decoded(plain))))
                .collect(),
            data_key: case["data_keys"].get(0).map(decoded),
        })
        .collect()
}

fn case(name: &str) -> Case {
    let found = cases().into_iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("no case {name}"))
}

fn key(name: &str) -> &'static str {
    MATERIAL["keys"][name].as_str().unwrap()
}

fn ring(names: &[&str]) -> Keyring {
    let mut ring = Keyring::default();
    for name in names {
        let key = key(name);
        if name.starts_with("ssh") {
            ring.add_ssh(key).unwrap();
        } else if name.starts_with("pgp") {
            ring.add_openpgp(key.as_bytes()).unwrap();
        } else {
            ring.add_age(key).unwrap();
        }
    }
    ring
}

impl Case {
    fn ring(&self) -> Keyring {
        match self.key {
            "groups" => ring(&["x25519", "pgp-rsa"]),
            "service" => Keyring::default(),
            name => ring(&[name]),
        }
    }

    fn data_key(&self) -> DataKey {
        let file = SopsFile::read(&self.file, self.format).unwrap();
        let mut answers = Answers::new();
        loop {
            match file.data_key(&self.ring(), &answers) {
                Ok(Search::Found(key)) => return key,
                Ok(Search::Needs(key)) => {
                    let share = self.data_key.clone().map(DataKey::new);
                    answers.insert(*key, share.ok_or_else(|| "unknown".to_owned()));
                }
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
    }
}

#[test]
fn files_of_every_format_key_and_rule_decrypt_as_by_sops() {
    let mut wrong = Vec::new();
    for case in cases().into_iter().filter(|case| !case.plain.is_empty()) {
        if case.key == "service" && case.data_key.is_none() {
            continue;
        }
        let file = SopsFile::read(&case.file, case.format).unwrap();
        let key = case.data_key();
        // KC-SOPS-022, KC-SOPS-023, KC-SOPS-024
        if let Err(error) = file.clone().decrypt(&key, Mac::Checked) {
            wrong.push(format!("{}: {error}", case.name));
        }
        let plain = file.decrypt(&key, Mac::Ignored).unwrap();
        for (output, expected) in &case.plain {
            // KC-SOPS-029, KC-SOPS-030, FR-N-127
            let found = plain.write(format(output));
            if found.as_ref().ok() != expected.as_ref() {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                wrong.push(format!(
                    "{} as {output}:\n{}\n--- sops gives\n{}",
                    case.name,
                    found.map_or_else(|error| error.to_string(), |bytes| text(&bytes)),
                    expected.as_deref().map_or("an error".to_owned(), text)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n=====\n"));
}

#[test]
fn every_kind_of_key_opens_files_of_every_format() {
    // KC-SOPS-033, KC-SOPS-034, KC-SOPS-036
    for kind in ["hybrid", "ssh-ed25519", "ssh-rsa", "pgp-rsa", "pgp-curve"] {
        for format in ["yaml", "json", "dotenv", "ini", "binary"] {
            let case = case(&format!("{format}, {kind}"));
            let _ = case.data_key();
            let file = SopsFile::read(&case.file, case.format).unwrap();
            let other = file.data_key(&ring(&["other"]), &Answers::new());
            assert!(other.is_err(), "{}", case.name);
        }
    }
    // A key of another kind is not an error, whichever is tried first.
    let mut kinds = ["x25519", "hybrid", "ssh-ed25519", "ssh-rsa"];
    for _ in 0..kinds.len() {
        kinds.rotate_left(1);
        for kind in ["hybrid", "ssh-ed25519", "ssh-rsa"] {
            let case = case(&format!("yaml, {kind}"));
            let file = SopsFile::read(&case.file, case.format).unwrap();
            let found = file.data_key(&ring(&kinds), &Answers::new());
            assert!(matches!(found, Ok(Search::Found(_))), "{kind} of {kinds:?}");
        }
    }
    // One file with both keys of OpenPGP.
    let file = case("yaml, pgp-curve").file;
    let file = SopsFile::read(&file, Format::Yaml).unwrap();
    let both = file.data_key(&ring(&["pgp-both"]), &Answers::new());
    assert!(matches!(both, Ok(Search::Found(_))));
}

#[test]
fn the_code_over_all_values_finds_changes() {
    // KC-SOPS-015
    for (name, from, to) in [
        ("yaml, encrypted regex", "plain: ", "plain: &x "),
        ("yaml, encrypted suffix", "app: web", "app: wob"),
        ("json, encrypted suffix", "\"value\"", "\"volue\""),
        ("dotenv, encrypted suffix", "PLAIN=value", "PLAIN=volue"),
        (
            "ini, encrypted suffix",
            "= the first section",
            "= the other section",
        ),
    ] {
        let case = case(name);
        let text = String::from_utf8(case.file.clone()).unwrap();
        let changed = text.replacen(from, to, 1);
        assert_ne!(text, changed, "{name}");
        let decrypt = |mac| {
            let file = SopsFile::read(changed.as_bytes(), case.format).unwrap();
            file.decrypt(&case.data_key(), mac).map(drop)
        };
        let wanted = if name == "yaml, encrypted regex" {
            Ok(()) // an anchor is no value
        } else {
            Err(DecryptError::Mac)
        };
        assert_eq!(decrypt(Mac::Checked), wanted, "{name}");
        assert_eq!(decrypt(Mac::Ignored), Ok(()), "{name}");
    }
    // With a code over encrypted values only, others may change.
    let case = case("yaml, mac of encrypted only");
    let text = String::from_utf8(case.file.clone()).unwrap();
    let changed = text.replacen("app: web", "app: wob", 1);
    assert_ne!(text, changed);
    let file = SopsFile::read(changed.as_bytes(), case.format).unwrap();
    assert!(file.decrypt(&case.data_key(), Mac::Checked).is_ok());
}

#[test]
fn changed_ciphertexts_are_refused() {
    // KC-SOPS-022
    for case in cases() {
        if case.plain.is_empty() || case.key == "service" {
            continue;
        }
        let text = String::from_utf8(case.file.clone()).unwrap();
        let key = case.data_key();
        let marker = "ENC[AES256_GCM,data:";
        for (at, _) in text.match_indices(marker).take(2) {
            let at = at + marker.len();
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let file = SopsFile::read(&changed, case.format).unwrap();
            // A comment that cannot be decrypted is kept, so that only the code may notice.
            let line_start = text[..at].rfind('\n').map_or(0, |at| at + 1);
            let line = text[line_start..at].trim_start();
            let in_comment = line.contains('#') || line.starts_with(';');
            let found = file.decrypt(&key, Mac::Checked).map(drop);
            let refused = Err(DecryptError::Tree(TreeError::Value(
                ValueError::Unauthentic,
            )));
            if !in_comment {
                assert!(
                    found == refused || found == Err(DecryptError::Mac),
                    "{}: {found:?}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn a_changed_or_foreign_data_key_is_refused() {
    for name in [
        "yaml, default",
        "yaml, hybrid",
        "yaml, ssh-ed25519",
        "yaml, ssh-rsa",
        "yaml, pgp-rsa",
        "yaml, pgp-curve",
    ] {
        let case = case(name);
        let text = String::from_utf8(case.file.clone()).unwrap();
        let begin = text.find("enc: |").unwrap();
        // A character within each line of the encrypted data key.
        for (offset, line) in text[begin..].lines().skip(1).scan(begin, |at, line| {
            let own = text[*at..].find(line)? + *at;
            *at = own + line.len();
            Some((own, line))
        }) {
            if line.contains("END ") {
                break;
            }
            let base64 = line.trim_start();
            if base64.len() < 12 || base64.contains("BEGIN") || base64.contains(':') {
                continue;
            }
            let at = offset + line.len() - base64.len() + 5;
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let file = SopsFile::read(&changed, Format::Yaml).unwrap();
            let found = file.data_key(&case.ring(), &Answers::new());
            let same = matches!(&found, Ok(Search::Found(key)) if *key == case.data_key());
            // OpenPGP's headers have bits that nothing depends on.
            assert!(!same || name.contains("pgp"), "{name}: {line}");
        }
        let file = SopsFile::read(&case.file, Format::Yaml).unwrap();
        let error = file.decrypt(&DataKey::new([7; 32]), Mac::Ignored).map(drop);
        let refused = DecryptError::Tree(TreeError::Value(ValueError::Unauthentic));
        assert_eq!(error, Err(refused));
        let file = SopsFile::read(&case.file, Format::Yaml).unwrap();
        let error = file.decrypt(&DataKey::new([7; 5]), Mac::Ignored).map(drop);
        assert_eq!(error, Err(DecryptError::KeySize(5)));
    }
}

#[test]
fn enough_groups_give_the_key() {
    // KC-SOPS-027
    let case = case("yaml, two of three groups");
    let file = SopsFile::read(&case.file, Format::Yaml).unwrap();
    let find = |names: &[&str]| file.data_key(&ring(names), &Answers::new());
    let whole = find(&["x25519", "other"]).unwrap();
    assert_eq!(find(&["x25519", "pgp-rsa"]).unwrap(), whole);
    assert_eq!(find(&["other", "pgp-rsa"]).unwrap(), whole);
    let error = find(&["other"]).unwrap_err();
    assert!(matches!(&error, DataKeyError::Groups { required: 2, groups } if groups.len() == 3));
    let text = error.to_string();
    for part in [
        "Group 0: FAILED",
        "Group 1: SUCCESS",
        "Group 2: FAILED",
        "No secret key",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn keys_at_hand_come_before_services() {
    // KC-SOPS-028, FR-N-129
    let case = case("AWS KMS or age");
    let file = SopsFile::read(&case.file, Format::Yaml).unwrap();
    let found = file.data_key(&ring(&["x25519"]), &Answers::new());
    assert!(matches!(found, Ok(Search::Found(_))));
    let asked = file.data_key(&ring(&["other"]), &Answers::new());
    let Ok(Search::Needs(key)) = asked else {
        panic!("{asked:?}");
    };
    let answers = Answers::from([(*key, Err("AccessDenied".to_owned()))]);
    let error = file.data_key(&ring(&["other"]), &answers).unwrap_err();
    let text = error.to_string();
    let age = text.find("identity did not match any of the recipients");
    let age = age.or_else(|| text.find("identity did not match"));
    assert!(age < text.find("AccessDenied") && age.is_some(), "{text}");
}

#[test]
fn a_service_is_asked_for_what_the_file_says() {
    // KC-SOPS-026, KC-SOPS-041
    let asked = |name: &str| {
        let case = case(name);
        let file = SopsFile::read(&case.file, case.format).unwrap();
        match file.data_key(&Keyring::default(), &Answers::new()) {
            Ok(Search::Needs(key)) => *key,
            other => panic!("{other:?}"),
        }
    };
    let arn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let key = asked("AWS KMS with a context");
    assert_eq!(key.to_string(), format!("{arn}|env:prod,team:web"));
    let MasterKey::AwsKms {
        context, encrypted, ..
    } = key
    else {
        panic!("not of AWS");
    };
    assert_eq!(context["team"], "web");
    assert!(STANDARD.decode(encrypted).unwrap().starts_with(b"wrapped:"));
    for name in ["AWS KMS", "AWS KMS in INI"] {
        assert_eq!(asked(name).to_string(), arn);
    }
    assert_eq!(
        asked("AWS KMS in dotenv").to_string(),
        format!("{arn}|team:web")
    );
    let key = asked("transit");
    assert_eq!(
        key.to_string(),
        "http://127.0.0.1:18200/v1/transit/keys/flux"
    );
    assert!(
        matches!(key, MasterKey::Transit { encrypted, .. } if encrypted.starts_with("vault:v1:"))
    );
}

/// A YAML file with the data key of another, and metadata of the test's own.
fn with_keys(keys: &str) -> Result<SopsFile, LoadError> {
    let case = case("AWS KMS");
    let text = String::from_utf8(case.file).unwrap();
    let at = text.find("    kms:").unwrap();
    let end = text.find("    lastmodified:").unwrap();
    let text = format!("{}{keys}{}", &text[..at], &text[end..]);
    SopsFile::read(text.as_bytes(), Format::Yaml)
}

#[test]
fn keys_of_all_services_are_read() {
    // KC-SOPS-026
    let asked = |keys: &str| match with_keys(keys)
        .unwrap()
        .data_key(&Keyring::default(), &Answers::new())
    {
        Ok(Search::Needs(key)) => *key,
        other => panic!("{other:?}"),
    };
    let created = "created_at: '2026-01-02T03:04:05Z'\n          enc: abc\n";
    let gcp = "projects/p/locations/global/keyRings/r/cryptoKeys/k";
    let key = asked(&format!(
        "    gcp_kms:\n        - resource_id: {gcp}\n          {created}"
    ));
    assert_eq!(
        (
            &key.to_string()[..],
            matches!(key, MasterKey::GcpKms { .. })
        ),
        (gcp, true)
    );
    let key = asked(&format!(
        "    azure_kv:\n        - vault_url: https://v.vault.azure.net\n          name: k\n          version: \"1\"\n          {created}"
    ));
    assert_eq!(key.to_string(), "https://v.vault.azure.net/keys/k/1");
    let key = asked(&format!(
        "    hckms:\n        - key_id: r:k\n          {created}"
    ));
    assert_eq!(key.to_string(), "r:k");
    let key = asked(&format!(
        "    kms:\n        - arn: a\n          role: r\n          aws_profile: p\n          context: {{b: x, a: y}}\n          {created}"
    ));
    assert_eq!(key.to_string(), "a+r|a:y,b:x|p");
}

#[test]
fn invalid_metadata_is_an_error() {
    // KC-SOPS-026
    let error = |keys: &str| with_keys(keys).unwrap_err().to_string();
    assert_eq!(error(""), "No keys found in file");
    assert!(
        error("    pgp:\n        - fp: A\n          created_at: yesterday\n")
            .starts_with("parsing time \"yesterday\"")
    );
    assert!(error("    age: 1\n").contains("'age' expected type"));
    assert!(
        error(
            "    age:\n        - recipient: a\n    encrypted_suffix: a\n    encrypted_regex: b\n"
        )
        .starts_with("Cannot use more than one")
    );
    let read = |text: &str, format| SopsFile::read(text.as_bytes(), format).map(drop);
    let not_found = Err(LoadError::Metadata(MetadataError::NotFound));
    assert_eq!(read("a: b\n", Format::Yaml), not_found);
    assert_eq!(read("{\"a\": 1}", Format::Json), not_found);
    assert_eq!(read("A=b\n", Format::Dotenv), not_found);
    assert_eq!(read("[a]\nb = c\n", Format::Ini), not_found);
    let twice = "{\"sops\": {}, \"sops\": {}}";
    assert_eq!(
        read(twice, Format::Json),
        Err(LoadError::Metadata(MetadataError::Duplicate))
    );
    assert_eq!(
        read("sops: 1\n", Format::Yaml),
        Err(LoadError::Metadata(MetadataError::NotAMap))
    );
}

#[test]
fn values_in_the_wrong_place_are_errors_without_the_value() {
    // KC-SOPS-017, KC-SOPS-025
    let case = case("yaml, encrypted suffix");
    let text = String::from_utf8(case.file.clone()).unwrap();
    let at = text.find("key_secret: ").unwrap() + "key_secret: ".len();
    let end = at + text[at..].find('\n').unwrap();
    for (value, error) in [
        (
            "my-password",
            "Error walking tree: Could not decrypt value: Input string <redacted> does not match sops' data format",
        ),
        (
            "3735928559",
            "Error walking tree: Expected encrypted value as string, but got int",
        ),
        (
            "true",
            "Error walking tree: Expected encrypted value as string, but got bool",
        ),
        (
            "1.5",
            "Error walking tree: Expected encrypted value as string, but got float64",
        ),
    ] {
        let changed = format!("{}{value}{}", &text[..at], &text[end..]);
        let file = SopsFile::read(changed.as_bytes(), Format::Yaml).unwrap();
        let found = file.decrypt(&case.data_key(), Mac::Ignored).unwrap_err();
        assert_eq!(found.to_string(), error);
        assert!(!format!("{found:?}").contains(value));
    }
}

// KC-SOPS-018
#[test]
fn damaged_files_are_errors_and_no_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let ring = ring(&["x25519", "ssh-ed25519"]);
    let cases = cases();
    let cases = cases
        .iter()
        .filter(|case| matches!(case.key, "x25519" | "ssh-ed25519" | "service"));
    for case in cases {
        for round in 0..40 {
            let mut damaged = case.file.clone();
            match round % 4 {
                0 => damaged.truncate(random(damaged.len())),
                1 => {
                    let at = random(damaged.len());
                    damaged.drain(at..damaged.len().min(at + 40));
                }
                2 => {
                    let at = random(damaged.len());
                    let piece = damaged[at..damaged.len().min(at + 60)].to_vec();
                    let to = random(damaged.len());
                    damaged.splice(to..to, piece);
                }
                _ => {
                    let at = random(damaged.len());
                    damaged[at] = u8::try_from(random(256)).unwrap();
                }
            }
            let Ok(file) = SopsFile::read(&damaged, case.format) else {
                continue;
            };
            let key = match file.data_key(&ring, &Answers::new()) {
                Ok(Search::Found(key)) => key,
                _ => DataKey::new([1; 32]),
            };
            if let Ok(plain) = file.decrypt(&key, Mac::Ignored) {
                for format in Format::ALL {
                    let _ = plain.write(format);
                }
            }
        }
    }
}
