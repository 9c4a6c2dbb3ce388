//! Tests of signatures made by git, ssh-keygen and GnuPG.

use git_servers::{PgpKey, Repo, SshKey, gpg_available};
use rstest::rstest;

use super::*;
use crate::revision::Hash;

/// An error with its sources.
fn print(result: Result<String, VerifyError>) -> Result<String, String> {
    result.map_err(|error| flux_errors::chain(&error))
}

fn trusted(pgp: &[&str], ssh: &[&str]) -> TrustedKeys {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    TrustedKeys {
        pgp: own(pgp),
        ssh: own(ssh),
    }
}

/// The commit or tag as stored in the repository.
fn commit(repo: &Repo, hash: &str) -> Commit {
    let raw = repo.git(&["cat-file", "commit", hash]) + "\n";
    Commit::parse(Hash::new(hash), "", raw.as_bytes())
}

fn tag(repo: &Repo, hash: &str) -> Tag {
    let raw = repo.git(&["cat-file", "tag", hash]) + "\n";
    Tag::parse(Hash::new(hash), raw.as_bytes())
}

fn repository() -> (tempfile::TempDir, Repo) {
    let folder = tempfile::TempDir::new().unwrap();
    let repo = Repo::init(folder.path(), "app.git");
    (folder, repo)
}

const NO_PGP: &str = "unable to verify Git commit: unable to verify payload with any of the given key rings: no matching key";
const NO_SSH: &str = "unable to verify Git commit SSH signature: unable to verify payload with any of the given authorized keys: no matching key";

#[test]
fn signature_kinds_are_recognised() {
    // SC-VER-005
    for (text, kind) in [
        ("-----BEGIN PGP SIGNATURE-----\n", "openpgp"),
        ("\n -----BEGIN SSH SIGNATURE-----", "ssh"),
        ("-----BEGIN SIGNED MESSAGE-----", "x509"),
        ("", "empty"),
        ("-----BEGIN PGP MESSAGE-----", "unknown"),
    ] {
        assert_eq!(SignatureKind::from_armor(text).to_string(), kind);
    }
}

#[test]
fn trusted_keys_are_read_from_the_secret() {
    // SC-VER-003
    let secret = SecretData::new(
        "n",
        "s",
        [("a.asc", b"A".as_slice()), ("b.sshpub", b"B"), ("c", b"C")],
    );
    assert_eq!(
        TrustedKeys::from_secret(&secret),
        trusted(&["A", "C"], &["B"])
    );
}

#[rstest]
#[case(&["-t", "ed25519"])]
#[case(&["-t", "rsa", "-b", "2048"])]
#[case(&["-t", "ecdsa", "-b", "256"])]
#[case(&["-t", "ecdsa", "-b", "384"])]
#[case(&["-t", "ecdsa", "-b", "521"])]
fn ssh_signatures_are_verified(#[case] arguments: &[&str]) {
    let (_folder, repo) = repository();
    let (key, other) = (SshKey::generate(arguments, ""), SshKey::ed25519());
    let hash = repo.commit("main").file("a", "1").signed_ssh(&key).create();
    let signed = commit(&repo, &hash);
    let tag = tag(
        &repo,
        &repo
            .annotated_tag("v1", &hash)
            .message("one\n")
            .signed_ssh(&key)
            .create(),
    );
    let (public, stranger) = (key.public(), other.public());
    let list = format!("# keys\n\n{stranger}{public}");
    let with_options = format!("from=\"10.0.0.0/8, \\\" x\",no-pty {public}");
    for keys in [&public, &list, &with_options] {
        // SC-VER-011, SC-VER-015, RT-GIT-016
        assert_eq!(
            print(signed.verify(&trusted(&[], &[keys]))),
            Ok(key.fingerprint())
        );
        // SC-VER-002
        assert_eq!(
            print(tag.verify(&trusted(&[], &[&stranger, keys]))),
            Ok(key.fingerprint())
        );
    }
    let expected = format!("{NO_SSH}\npublic key does not match");
    assert_eq!(
        print(signed.verify(&trusted(&[], &[&stranger, &stranger]))),
        Err(expected)
    );
    let tag_error = print(tag.verify(&trusted(&[], &[&stranger]))).unwrap_err();
    assert!(
        tag_error.starts_with("unable to verify Git tag SSH signature: "),
        "{tag_error}"
    );
    assert_eq!(
        print(signed.verify(&trusted(&[], &["# none\n"]))),
        Err(NO_SSH.to_owned())
    );
    // SC-VER-006
    assert_eq!(
        print(signed.verify(&trusted(&["ring"], &[]))).unwrap_err(),
        "SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)"
    );
    // A bad line invalidates its text, but not others.
    let bad = format!("{public}not a key\n");
    assert_eq!(
        print(signed.verify(&trusted(&[], &[&bad, &public]))),
        Ok(key.fingerprint())
    );
    assert_eq!(
        print(signed.verify(&trusted(&[], &[&bad]))).unwrap_err(),
        "unable to verify Git commit SSH signature: unable to parse authorized keys: \
         unable to parse authorized key: ssh: no key found"
    );
    // SC-VER-016: the signed payload is the object without its signature, byte by byte
    let mut changed = signed.clone();
    changed.encoded[10] ^= 1;
    let expected = format!("{NO_SSH}\nssh: signature did not verify");
    assert_eq!(
        print(changed.verify(&trusted(&[], &[&public]))),
        Err(expected)
    );
}

#[test]
fn an_ssh_signature_of_another_namespace_is_refused() {
    // SC-VER-015
    let (_folder, repo) = repository();
    let key = SshKey::ed25519();
    let hash = repo.commit("main").file("a", "1").create();
    let mut unsigned = commit(&repo, &hash);
    let file = key.path().with_extension("data");
    std::fs::write(&file, &unsigned.encoded).unwrap();
    let done = std::process::Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", "file", "-f"])
        .arg(key.path())
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    unsigned.signature = std::fs::read_to_string(file.with_extension("data.sig")).unwrap();
    let error = print(unsigned.verify(&trusted(&[], &[&key.public()]))).unwrap_err();
    assert_eq!(error, format!("{NO_SSH}\nnamespace does not match"));
    unsigned.signature = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----".into();
    let error = print(unsigned.verify(&trusted(&[], &[&key.public()]))).unwrap_err();
    assert!(
        error.starts_with(
            "unable to verify Git commit SSH signature: unable to unarmor SSH signature: "
        ),
        "{error}"
    );
}

#[test]
fn missing_and_unsupported_signatures_are_rejected() {
    // SC-VER-006
    let (_folder, repo) = repository();
    let mut unsigned = commit(&repo, &repo.commit("main").file("a", "1").create());
    for (signature, kind) in [
        ("", "empty"),
        ("-----BEGIN SIGNED MESSAGE-----\nx", "x509"),
        ("x", "unknown"),
    ] {
        signature.clone_into(&mut unsigned.signature);
        let error = print(unsigned.verify(&trusted(&["ring"], &["key"]))).unwrap_err();
        assert_eq!(error, format!("unsupported signature type: {kind}"));
    }
}

/// Skips a test without GnuPG.
macro_rules! need_gpg {
    () => {
        if !gpg_available() {
            println!("skipped: gpg is not installed");
            return;
        }
    };
}

#[rstest]
#[case("ed25519")]
#[case("rsa3072")]
#[case("nistp256")]
#[case("nistp384")]
#[case("nistp521")]
fn pgp_signatures_are_verified(#[case] algorithm: &str) {
    need_gpg!();
    let (_folder, repo) = repository();
    let (key, other) = (
        PgpKey::generate(algorithm, "never"),
        PgpKey::generate("ed25519", "never"),
    );
    let hash = repo.commit("main").file("a", "1").signed_pgp(&key).create();
    let signed = commit(&repo, &hash);
    let tag = tag(
        &repo,
        &repo
            .annotated_tag("v1", &hash)
            .message("one\n")
            .signed_pgp(&key)
            .create(),
    );
    let (public, stranger) = (key.public(), other.public());
    assert_eq!(key.key_id().len(), 16);
    for rings in [
        &[public.as_str()][..],
        &[&stranger, &public],
        &["nonsense", &public],
    ] {
        // SC-VER-011, SC-VER-012, RT-GIT-016
        assert_eq!(
            print(signed.verify(&trusted(rings, &[]))),
            Ok(key.key_id().to_owned())
        );
        // SC-VER-002
        assert_eq!(
            print(tag.verify(&trusted(rings, &[]))),
            Ok(key.key_id().to_owned())
        );
    }
    assert_eq!(
        print(signed.verify(&trusted(&[&stranger], &[]))),
        Err(NO_PGP.to_owned())
    );
    assert_eq!(
        print(signed.verify(&trusted(&["nonsense", &stranger], &[]))),
        Err(NO_PGP.to_owned())
    );
    let error = print(signed.verify(&trusted(&["nonsense"], &[]))).unwrap_err();
    assert_eq!(
        error,
        "unable to verify Git commit: unable to read armored key ring: openpgp: invalid argument: no armored data found"
    );
    // SC-VER-006
    assert_eq!(
        print(signed.verify(&trusted(&[], &["key"]))).unwrap_err(),
        "PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)"
    );
    // SC-VER-016
    let mut changed = signed.clone();
    changed.encoded[10] ^= 1;
    assert_eq!(
        print(changed.verify(&trusted(&[&public], &[]))),
        Err(NO_PGP.to_owned())
    );
    assert!(
        print(tag.verify(&trusted(&[&stranger], &[])))
            .unwrap_err()
            .starts_with("unable to verify Git tag: ")
    );
}

/// Texts around a marked key that no parser accepts.
fn unreadable(key: &str) -> Vec<String> {
    let body = key.lines().nth(2).unwrap_or_default();
    let without_checksum: Vec<&str> = key.lines().filter(|line| !line.starts_with('=')).collect();
    vec![
        key.replace("BEGIN PGP", "BEGIN PGPG"),
        key.replacen(body, &format!("S3CRET!{body}"), 1),
        key.replacen(body, "S3CRET", 1),
        key[..key.len() / 2].to_owned(),
        key.replace("KEY BLOCK", "MESSAGE"),
        key.replace('\n', "S3CRET\n"),
        without_checksum[..without_checksum.len() / 2].join("\n"),
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nS3CRET".to_owned(),
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nUzNDUkVU\n-----END PGP PUBLIC KEY BLOCK-----\n"
            .to_owned(),
        "S3CRET".to_owned(),
        "\tS3CRET\n  -----BEGIN S3CRET-----\n".to_owned(),
    ]
}

#[test]
fn keys_that_do_not_parse_are_never_shown() {
    // SC-VER-012
    need_gpg!();
    let key = PgpKey::generate("ed25519", "never");
    let (_folder, repo) = repository();
    let hash = repo.commit("main").file("a", "1").signed_pgp(&key).create();
    let signed = commit(&repo, &hash);
    let secret = key.private();
    for text in unreadable(&secret)
        .into_iter()
        .chain(unreadable(&key.public()))
    {
        let Err(error) = signed.verify(&trusted(&[&text], &[])) else {
            continue; // what is broken is not what counts
        };
        let shown = format!("{} {error:?}", print(Err(error.clone())).unwrap_err());
        let words: Vec<&str> = secret.lines().filter(|line| line.len() > 20).collect();
        let quoted = words
            .iter()
            .any(|line| !line.starts_with('-') && shown.contains(line));
        // Bytes of the text as a list of numbers, as parsers print them.
        let numbers = format!("{}, {}, {}", b'S', b'3', b'C');
        assert!(
            !quoted && !shown.contains("S3CRET") && !shown.contains(&numbers) && shown.len() < 400,
            "{shown}"
        );
    }
}

#[test]
fn indented_and_private_keys_are_read() {
    // SC-VER-012: as Go's reader, which ignores white space around lines
    need_gpg!();
    let key = PgpKey::generate("ed25519", "never");
    let (_folder, repo) = repository();
    let hash = repo.commit("main").file("a", "1").signed_pgp(&key).create();
    let signed = commit(&repo, &hash);
    for text in [key.public(), key.private()] {
        let indented: String = text.lines().map(|line| format!("  {line}\t\r\n")).collect();
        for armored in [
            text.clone(),
            indented.clone(),
            format!("# my key\n\n{indented}"),
            text.replace('\n', "\r\n"),
        ] {
            signed
                .verify(&trusted(&[&armored], &[]))
                .unwrap_or_else(|error| panic!("{error:?}: {armored}"));
        }
    }
}

#[test]
fn a_key_ring_with_several_keys_is_read() {
    // SC-VER-012
    need_gpg!();
    let (_folder, repo) = repository();
    let (one, two) = (
        PgpKey::generate("ed25519", "never"),
        PgpKey::generate("rsa3072", "never"),
    );
    let file = one.home().join("other.asc");
    std::fs::write(&file, two.public()).unwrap();
    one.gpg(&["--import", &file.display().to_string()]);
    let ring = one.gpg(&["--armor", "--export"]);
    let signed = commit(
        &repo,
        &repo.commit("main").file("a", "1").signed_pgp(&two).create(),
    );
    assert_eq!(
        print(signed.verify(&trusted(&[&ring], &[]))),
        Ok(two.key_id().to_owned())
    );
}

#[test]
fn signing_subkeys_are_reported_by_their_primary_key() {
    // SC-VER-011
    need_gpg!();
    let (_folder, repo) = repository();
    let key = PgpKey::generate("ed25519", "never");
    key.add_signing_subkey("ed25519", "never");
    let signed = commit(
        &repo,
        &repo.commit("main").file("a", "1").signed_pgp(&key).create(),
    );
    assert_eq!(
        print(signed.verify(&trusted(&[&key.public()], &[]))),
        Ok(key.key_id().to_owned())
    );
}

/// A payload signed at GnuPG's clock, and the ring.
fn payload(key: &PgpKey, arguments: &[&str]) -> (String, Vec<u8>) {
    let data = b"tree x\n\nmessage\n".to_vec();
    (key.sign(&data, arguments), data)
}

#[test]
fn expired_keys_and_signatures_do_not_count() {
    // SC-VER-012
    need_gpg!();
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second() as u64;
    let then = ["--faked-system-time", "20200102T000000"];
    let key = PgpKey::generate_at("ed25519", "30d", Some("20200101T000000"));
    let ring = [key.public()];
    let (signature, data) = payload(&key, &then);
    let verify = |signature: &str, now: &str| super::pgp::verify(signature, &data, &ring, at(now));
    assert_eq!(
        verify(&signature, "2020-01-15T00:00:00Z"),
        Ok(key.key_id().to_owned())
    );
    assert_eq!(
        verify(&signature, "2020-03-01T00:00:00Z"),
        Err(SignatureError::NoMatchingPgpKey)
    );
    assert_eq!(
        verify(&signature, "2020-01-01T12:00:00Z"),
        Err(SignatureError::NoMatchingPgpKey),
        "in the future"
    );
    let (short, _) = payload(&key, &[&then[..], &["--default-sig-expire", "2d"]].concat());
    assert!(verify(&short, "2020-01-03T00:00:00Z").is_ok());
    assert_eq!(
        verify(&short, "2020-01-15T00:00:00Z"),
        Err(SignatureError::NoMatchingPgpKey)
    );
}

#[test]
fn weak_hashes_and_revoked_keys_do_not_count() {
    // SC-VER-012
    need_gpg!();
    // An hour ahead, since the keys are generated later.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 3600;
    let key = PgpKey::generate("rsa3072", "never");
    let (good, data) = payload(&key, &[]);
    assert!(super::pgp::verify(&good, &data, &[key.public()], now).is_ok());
    let (weak, _) = payload(
        &key,
        &["--digest-algo", "SHA1", "--allow-weak-digest-algos"],
    );
    assert_eq!(
        super::pgp::verify(&weak, &data, &[key.public()], now),
        Err(SignatureError::NoMatchingPgpKey)
    );
    // GnuPG prepares a revocation for each new key, with a colon before the armor to prevent accidental use.
    let prepared = key
        .home()
        .join(format!("openpgp-revocs.d/{}.rev", key.fingerprint()));
    let text = std::fs::read_to_string(&prepared)
        .unwrap()
        .replace(":-----BEGIN", "-----BEGIN");
    let begin = text.find("-----BEGIN").unwrap();
    std::fs::write(&prepared, &text[begin..]).unwrap();
    key.gpg(&["--import", &prepared.display().to_string()]);
    assert_eq!(
        super::pgp::verify(&good, &data, &[key.public()], now),
        Err(SignatureError::NoMatchingPgpKey)
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn verifiers_never_panic(
        body in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        text in ".{0,80}",
    ) {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(body);
        let armor = |kind: &str| format!("-----BEGIN {kind}-----\n\n{body}\n-----END {kind}-----");
        let rings = [armor("PGP PUBLIC KEY BLOCK"), text.clone()];
        let _ = super::pgp::verify(&armor("PGP SIGNATURE"), b"data", &rings, 0);
        let ssh = armor("SSH SIGNATURE").replace("\n\n", "\n");
        let _ = super::ssh::verify(&ssh, b"data", &[format!("ssh-ed25519 {body}"), text]);
    }
}
