//! Tests of `known_hosts`: matching, certificates, malformed lines.

use std::process::Command;

use git_servers::SshKey;
use rstest::rstest;

use super::*;

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAy1ugHgcxKBYqRbBFLnGLOSyuQ3CzQiJ6cCp0mWPvOQ";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

fn check(file: &str, host: &str, port: u16) -> Result<(), HostKeyError> {
    let file = file.replace("KEY", ED).replace("OTHER", OTHER);
    KnownHosts::parse(file.as_bytes())
        .unwrap()
        .check(host, port, &key(ED))
}

// SC-GIT-124, RT-GIT-014
#[rstest]
#[case("h KEY", "h", 22, Ok(()))]
#[case("h KEY", "H", 22, Ok(()))]
#[case("# comment\n\n  h\tKEY comment\r\n", "h", 22, Ok(()))]
#[case("h KEY", "h", 2222, Err(HostKeyError::Unknown))]
#[case("[h]:2222 KEY", "h", 2222, Ok(()))]
#[case("[h]:2222 KEY", "h", 22, Err(HostKeyError::Unknown))]
#[case("h:2222 KEY", "h", 2222, Ok(()))]
#[case("a,h,b KEY", "h", 22, Ok(()))]
#[case("*.example.com KEY", "git.example.com", 22, Ok(()))]
#[case("*.example.com KEY", "example.com", 22, Err(HostKeyError::Unknown))]
#[case("git?.example.com KEY", "git1.example.com", 22, Ok(()))]
#[case(
    "*.example.com,!bad.example.com KEY",
    "bad.example.com",
    22,
    Err(HostKeyError::Unknown)
)]
#[case(
    "!bad.example.com,*.example.com KEY",
    "bad.example.com",
    22,
    Err(HostKeyError::Unknown)
)]
#[case("* KEY", "anything", 22, Ok(()))]
#[case("::1 KEY", "::1", 22, Ok(()))]
#[case("[::1]:2222 KEY", "::1", 2222, Ok(()))]
#[case("h OTHER", "h", 22, Err(HostKeyError::Mismatch))]
#[case("h OTHER\nh KEY", "h", 22, Ok(()))]
#[case("x KEY", "h", 22, Err(HostKeyError::Unknown))]
#[case("", "h", 22, Err(HostKeyError::Unknown))]
#[case("h KEY\n@revoked * KEY", "h", 22, Err(HostKeyError::Revoked))]
#[case("@cert-authority h KEY", "h", 22, Err(HostKeyError::Mismatch))]
#[case("h sk-ssh-unknown@example AAAA\nh KEY", "h", 22, Ok(()))]
fn lines(
    #[case] file: &str,
    #[case] host: &str,
    #[case] port: u16,
    #[case] expected: Result<(), HostKeyError>,
) {
    assert_eq!(check(file, host, port), expected);
}

#[test]
fn host_names_hashed_by_ssh_keygen_match() {
    // SC-GIT-124
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("known_hosts");
    std::fs::write(
        &path,
        format!("git.example.com {ED}\n[git.example.com]:2222 {OTHER}\n"),
    )
    .unwrap();
    let done = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(done.status.success());
    let hashed = std::fs::read_to_string(&path).unwrap();
    assert!(hashed.starts_with("|1|") && !hashed.contains("example"));
    let hosts = KnownHosts::parse(hashed.as_bytes()).unwrap();
    assert_eq!(hosts.check("git.example.com", 22, &key(ED)), Ok(()));
    assert_eq!(hosts.check("git.example.com", 2222, &key(OTHER)), Ok(()));
    assert_eq!(
        hosts.check("git.example.com", 2222, &key(ED)),
        Err(HostKeyError::Mismatch)
    );
    assert_eq!(
        hosts.check("other.example.com", 22, &key(ED)),
        Err(HostKeyError::Unknown)
    );
}

#[rstest]
#[case("h", "knownhosts: missing key type pattern (line 1)")]
#[case("\n@revoked", "knownhosts: missing host pattern (line 2)")]
#[case("h ssh-ed25519", "knownhosts: missing key (line 1)")]
#[case("h ssh-ed25519 !!!", "knownhosts: the key is not base64 (line 1)")]
#[case("h ssh-ed25519 AAAA", "knownhosts: the key is malformed (line 1)")]
#[case("@what h KEY", "knownhosts: unknown marker (line 1)")]
#[case("! KEY", "knownhosts: negation without following hostname (line 1)")]
#[case("[h KEY", "knownhosts: missing ']' in host pattern (line 1)")]
#[case("[h]x KEY", "knownhosts: missing port in host pattern (line 1)")]
#[case("[h]:x KEY", "knownhosts: the port is not a number (line 1)")]
#[case("|1|x KEY", "knownhosts: a hashed host needs three parts (line 1)")]
#[case(
    "|2|x|y KEY",
    "knownhosts: the hash type of a hashed host must be '1' (line 1)"
)]
#[case("|1|!|! KEY", "knownhosts: a hashed host is not base64 (line 1)")]
fn malformed_lines(#[case] file: &str, #[case] expected: &str) {
    let error = KnownHosts::parse(file.replace("KEY", ED).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn algorithms_follow_the_known_host_keys() {
    // RT-GIT-014, SC-GIT-125
    let rsa = SshKey::generate(&["-t", "rsa", "-b", "2048"], "").public();
    let ecdsa = SshKey::generate(&["-t", "ecdsa"], "").public();
    let names = |file: &str| {
        let hosts = KnownHosts::parse(file.as_bytes()).unwrap();
        let names: Vec<String> = hosts
            .algorithms("h", 22)
            .iter()
            .map(ToString::to_string)
            .collect();
        names.join(" ")
    };
    assert_eq!(
        names(&format!("h {rsa}")),
        "rsa-sha2-512 rsa-sha2-256 ssh-rsa"
    );
    assert_eq!(
        names(&format!("h {ecdsa}h {ED}\n")),
        "ecdsa-sha2-nistp256 ssh-ed25519"
    );
    assert_eq!(names(&format!("h {ED}\nother {ecdsa}")), "ssh-ed25519");
    assert_eq!(
        names(&format!("x {ED}\nother {ecdsa}")),
        "ssh-ed25519 ecdsa-sha2-nistp256"
    );
}

#[test]
fn host_certificates_are_verified() {
    // SC-GIT-124
    let (authority, host) = (SshKey::ed25519(), SshKey::ed25519());
    let now = 1_700_000_000;
    let certify = |arguments: &[&str]| {
        let text = authority.certify(&host, arguments);
        Certificate::from_openssh(text.trim()).unwrap()
    };
    let hosts = |file: &str| {
        let file = file
            .replace("CA", authority.public().trim())
            .replace("HOST", host.public().trim());
        KnownHosts::parse(file.as_bytes()).unwrap()
    };
    let trusting = hosts("@cert-authority *.example.com CA");
    assert!(
        trusting.has_authority("git.example.com", 22) && !trusting.has_authority("elsewhere", 22)
    );
    let check = |hosts: &KnownHosts, certificate: &Certificate| {
        hosts.check_certificate("git.example.com", 22, certificate, now)
    };
    let good = certify(&[
        "-h",
        "-I",
        "id",
        "-n",
        "git.example.com",
        "-V",
        "20200101:20990101",
    ]);
    assert_eq!(check(&trusting, &good), Ok(()));
    assert_eq!(check(&hosts("other CA"), &good), Err(HostKeyError::Unknown));
    assert_eq!(
        check(&hosts("git.example.com CA"), &good),
        Err(HostKeyError::Unknown)
    );
    for revoked in ["@revoked * CA", "@revoked * HOST"] {
        let file = format!("@cert-authority *.example.com CA\n{revoked}");
        assert_eq!(check(&hosts(&file), &good), Err(HostKeyError::Revoked));
    }
    for bad in [
        &["-h", "-I", "id", "-n", "other.example.com"][..],
        &["-I", "id", "-n", "git.example.com"],
        &[
            "-h",
            "-I",
            "id",
            "-n",
            "git.example.com",
            "-V",
            "20200101:20210101",
        ],
    ] {
        assert_eq!(
            check(&trusting, &certify(bad)),
            Err(HostKeyError::Certificate),
            "{bad:?}"
        );
    }
}

#[test]
fn wildcard_matching_is_not_exponential() {
    let pattern = "*a".repeat(40) + "b";
    assert!(!wildcard(pattern.as_bytes(), "a".repeat(10_000).as_bytes()));
    assert!(
        wildcard(b"*", b"")
            && wildcard(b"", b"")
            && !wildcard(b"?", b"")
            && wildcard(b"a*b*c", b"aXbYc")
    );
}

proptest::proptest! {
    #[test]
    fn the_parser_never_panics(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        line in "[@|!\\[\\]:,*?a-z0-9= ]{0,60}",
    ) {
        for file in [bytes, format!("{line} {ED}").into_bytes(), line.into_bytes()] {
            if let Ok(hosts) = KnownHosts::parse(&file) {
                let _ = (hosts.check("h", 22, &key(ED)), hosts.algorithms("h", 22));
            }
        }
    }
}

// SC-GIT-124
#[test]
fn comments_may_be_in_any_encoding() {
    let mut file = format!("h {ED} caf").into_bytes();
    file.extend_from_slice(b"\xe9\n# \xff\xfe\n");
    let known = KnownHosts::parse(&file).unwrap();
    assert_eq!(known.check("h", 22, &key(ED)), Ok(()));
}

// SC-GIT-124
#[test]
fn errors_do_not_quote_the_file() {
    for text in [
        "S3CRET",
        "S3CRET S3CRET",
        "h ssh-ed25519 S3CRET!",
        "h ssh-ed25519 UzNDUkVU",
        "@S3CRET h ssh-ed25519 S3CRET",
        "|1|S3CRET!|S3CRET! ssh-ed25519 S3CRET",
        "|S3CRET|a|b ssh-ed25519 S3CRET",
        "[S3CRET ssh-ed25519 S3CRET",
        "h:S3CRET ssh-ed25519 S3CRET",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nS3CRET\n",
    ] {
        let error = KnownHosts::parse(text.as_bytes()).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("S3CRET") && !shown.contains("UzNDUkVU"),
            "{shown}"
        );
    }
}
