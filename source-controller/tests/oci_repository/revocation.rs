//! Revoked certificates of notation's signers: lists (CRL) over HTTP, and a real responder (OCSP).

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use git_servers::{HttpGitServer, Proxy};
use kind_tests::controller::Settings;
use kind_tests::{Failure, Result, ensure};
use registries::{Artifact, Registry, tar_gz};
use serde_json::json;
use tempfile::TempDir;

use crate::signatures::{ANYONE, data, policy};
use crate::signing::{Authority, Envelope, Pem};
use crate::world::{APP, World};

// SC-VER-058, SC-VER-054
#[tokio::test]
async fn revoked_certificates_are_found_out_over_http() -> Result {
    const LISTS: &str = "http://crl.example.com/lists";
    let authority = Authority::new();
    let server = HttpGitServer::builder()
        .files("/lists")
        .hang("/lists/never");
    let server = server.start();
    std::fs::write(server.root().join("ca"), authority.list(&[1]))?;
    std::fs::write(server.root().join("broken"), "no list")?;
    let proxy = Proxy::http(None);
    proxy.resolve("crl.example.com:80", server.address());
    // SC-VER-058: the proxy of the environment is used
    let settings = Settings::default().env("HTTP_PROXY", proxy.url());
    let world = World::start_with("oci-revoked", settings, Registry::start()).await?;
    let trust = |level: &str| json!({"trustpolicy.json": policy(level, ANYONE), "a.crt": data(authority.pem())});
    world.secret("strict", trust("strict")).await?;
    world.secret("permissive", trust("permissive")).await?;
    for (name, serial, list) in [
        ("good", 2, "ca"),
        ("revoked", 1, "ca"),
        ("broken", 2, "broken"),
        ("absent", 2, "absent"),
        ("never", 2, "never"),
    ] {
        let artifact = Artifact::flux(tar_gz(&[("a", name)]));
        world.registry.push(APP, name, &artifact);
        let notary = authority.signer(serial, None, Some(&format!("{LISTS}/{list}")));
        notary.sign(&world.registry, APP, &artifact.manifest(), Envelope::Jws);
    }
    let apply = async |name: &str, level: &str| {
        let spec = format!(
            "ref: {{tag: {name}}}, verify: {{provider: notation, secretRef: {{name: {level}}}}}"
        );
        world.apply(&format!("{name}-{level}"), &spec).await
    };
    apply("good", "strict").await?;
    world.verified("good-strict").await?;
    let asked = server.requests();
    assert_eq!(asked.len(), 1, "{asked:?}");
    for (name, why) in [
        ("revoked", "is revoked"),
        // what is not known does not count as good: also where the server needs longer than it may
        ("broken", "revocation status is unknown"),
        ("absent", "revocation status is unknown"),
        ("never", "revocation status is unknown"),
    ] {
        apply(name, "strict").await?;
        let text = world.unverified(&format!("{name}-strict")).await?;
        let subject = "signing certificate with subject ";
        ensure!(text.contains(subject) && text.ends_with(why), "{text}");
        // SC-VER-054: the level says whether that matters
        apply(name, "permissive").await?;
        world.verified(&format!("{name}-permissive")).await?;
    }
    Ok(())
}

/// OpenSSL's responder, which knows the certificates of one authority; stopped on drop.
struct Responder {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Responder {
    /// Starts it. The serial numbers of `revoked` are revoked, those of `good` are not, and others unknown to it.
    fn start(authority: &Authority, signer: &Pem, good: &[u8], revoked: &[u8]) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut index = String::new();
        for serial in good {
            let _ = writeln!(
                index,
                "V\t491231235959Z\t\t{serial:02X}\tunknown\t/CN=signer"
            );
        }
        for serial in revoked {
            let _ = writeln!(
                index,
                "R\t491231235959Z\t260101000000Z,keyCompromise\t{serial:02X}\tunknown\t/CN=signer"
            );
        }
        for (name, text) in [
            ("index", &*index),
            ("ca.pem", &authority.pem()),
            ("signer.pem", &signer.certificate),
            ("signer.key", &signer.key),
        ] {
            fs::write(folder.path().join(name), text)?;
        }
        let mut child = Command::new("openssl")
            .args(["ocsp", "-port", "0", "-index", "index", "-CA", "ca.pem"])
            .args(["-rsigner", "signer.pem", "-rkey", "signer.key"])
            .args(["-ndays", "1", "-rmd", "sha256"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| Failure::new("no output"))?;
        let mut lines = BufReader::new(output)
            .lines()
            .map_while(std::io::Result::ok);
        // `ACCEPT 0.0.0.0:12345 PID=1`
        let port = lines.find_map(|line| {
            let address = line.strip_prefix("ACCEPT ")?.split(' ').next()?.to_owned();
            address.rsplit_once(':')?.1.parse().ok()
        });
        let port: u16 = port.ok_or_else(|| Failure::new("the responder does not start"))?;
        // What it prints of requests must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self {
            child,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            _folder: folder,
        })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// SC-VER-058, SC-VER-054
#[tokio::test]
async fn responders_are_asked_whether_certificates_are_revoked() -> Result {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, revoked, unknown) = (2, 3, 4);
    let responder = |signer: &Pem| Responder::start(&authority, signer, &[good], &[revoked]);
    // The authority signs itself, or by a certificate that it issued for that purpose. Another one must not.
    let by_authority = responder(&authority.own())?;
    let delegated = responder(&authority.responder(true))?;
    let not_delegated = responder(&authority.responder(false))?;
    let forged = responder(&stranger.own())?;
    let web = HttpGitServer::builder().files("/lists").hang("/never");
    let web = web.answer("/busy", 503, "").start();
    fs::write(web.root().join("ca"), authority.list(&[revoked.into()]))?;
    let proxy = Proxy::http(None);
    for (name, address) in [
        ("ca", by_authority.address),
        ("delegated", delegated.address),
        ("not-delegated", not_delegated.address),
        ("forged", forged.address),
        ("web", web.address()),
    ] {
        proxy.resolve(&format!("{name}.example.com:80"), address);
    }
    let settings = Settings::default().env("HTTP_PROXY", proxy.url());
    let world = World::start_with("oci-ocsp", settings, Registry::start()).await?;
    let trust = |level: &str| json!({"trustpolicy.json": policy(level, ANYONE), "a.crt": data(authority.pem())});
    world.secret("strict", trust("strict")).await?;
    world.secret("permissive", trust("permissive")).await?;

    let is_revoked = Some("is revoked");
    let is_unknown = Some("revocation status is unknown");
    let list = Some("web.example.com/lists/ca");
    for (name, serial, server, list, why) in [
        ("good", good, "ca.example.com", None, None),
        ("delegated", good, "delegated.example.com", None, None),
        ("revoked", revoked, "ca.example.com", None, is_revoked),
        (
            "revoked-2",
            revoked,
            "delegated.example.com/",
            None,
            is_revoked,
        ),
        ("unknown", unknown, "ca.example.com", None, is_unknown),
        (
            "not-issued",
            good,
            "not-delegated.example.com",
            None,
            is_unknown,
        ),
        ("forged", good, "forged.example.com", None, is_unknown),
        ("never", good, "web.example.com/never", None, is_unknown),
        ("busy", good, "web.example.com/busy", None, is_unknown),
        // A list decides where no responder does, and only there.
        ("listed-good", good, "web.example.com/never", list, None),
        ("listed", revoked, "web.example.com/busy", list, is_revoked),
        (
            "unlisted",
            good,
            "ca.example.com",
            Some("unasked.example.com/list"),
            None,
        ),
    ] {
        let artifact = Artifact::flux(tar_gz(&[("a", name)]));
        let digest = world.registry.push(APP, name, &artifact);
        let url = |address: &str| format!("http://{address}");
        let notary = authority.signer(serial.into(), Some(&url(server)), list.map(url).as_deref());
        notary.sign(&world.registry, APP, &artifact.manifest(), Envelope::Jws);
        let apply = async |level: &str| {
            let spec = format!(
                "ref: {{tag: {name}}}, verify: {{provider: notation, secretRef: {{name: {level}}}}}"
            );
            world.apply(&format!("{name}-{level}"), &spec).await
        };
        proxy.clear_destinations();
        apply("strict").await?;
        let expected = format!("verified signature of revision {name}@{digest}");
        if let Some(why) = why {
            let text = world.unverified(&format!("{name}-strict")).await?;
            let subject = "signing certificate with subject ";
            ensure!(
                text.contains(subject) && text.ends_with(why),
                "{name}: {text}"
            );
            ensure!(
                !world.folder(&format!("{name}-strict")).exists(),
                "{name} is stored"
            );
            // SC-VER-054: the level says whether that matters
            apply("permissive").await?;
            let text = world.verified(&format!("{name}-permissive")).await?;
            assert_eq!(text, expected);
        } else {
            let text = world.verified(&format!("{name}-strict")).await?;
            assert_eq!(text, expected);
        }
        // Objects that failed ask again meanwhile.
        let asked = proxy.destinations();
        let was_asked = |host: &str| asked.contains(&format!("{host}:80"));
        let host = server.split('/').next().unwrap_or_default();
        ensure!(was_asked(host), "{name}: {asked:?}");
        ensure!(!was_asked("unasked.example.com"), "{name}: {asked:?}");
    }
    Ok(())
}
