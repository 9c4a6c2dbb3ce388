//! Servers that respond to pushes in ways that would exhaust memory or time, or that lie: typed errors within the budget.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::io::Write;
use std::sync::Arc;

use flux_budget::Budget;
use flux_errors::chain;
use flux_git::{PushError, PushOptions};
use hostile::{DISCOVERY, Pack, Server, V2, hex, packet, says, tree};
use rstest::rstest;
use support::{MINUTE, check_out, commit, remote_with};

/// The memory budget in bytes.
const BUDGET: u64 = 16 << 20;
const CAPABILITIES: &str = "report-status side-band-64k";

type Response = fn(&mut dyn Write) -> std::io::Result<()>;

/// A server of one file that can be fetched, and responds to a push by `discover` and `respond`.
fn server(discover: Response, respond: Response) -> Server {
    let mut pack = Pack::default();
    let file = pack.whole(3, b"1");
    let root = pack.whole(2, &tree(&[("100644", b"f", file)]));
    let tip = pack.commit(root);
    let pack = pack.finish();
    Server::start(DISCOVERY, move |target, body, out| {
        if target.ends_with("service=git-receive-pack") {
            out.write_all(announce().as_bytes())?;
            discover(out)
        } else if target.ends_with("/git-receive-pack") {
            respond(out)
        } else if target.contains("info/refs") {
            out.write_all(V2.as_bytes())
        } else if says(body, "command=ls-refs") {
            let line = format!("{} refs/heads/main\n", hex(&tip));
            out.write_all(format!("{}0000", packet(line.as_bytes())).as_bytes())
        } else {
            out.write_all(packet(b"packfile\n").as_bytes())?;
            write!(out, "{:04x}\x01", pack.len() + 5)?;
            out.write_all(&pack)?;
            out.write_all(b"0000")
        }
    })
}

fn announce() -> String {
    format!("{}0000", packet(b"# service=git-receive-pack\n"))
}

/// The discovery of a repository without references and with these capabilities.
fn empty(out: &mut dyn Write, capabilities: &str) -> std::io::Result<()> {
    let zero = "0".repeat(40);
    let line = format!("{zero} capabilities^{{}}\0{capabilities}\n");
    out.write_all(format!("{}0000", packet(line.as_bytes())).as_bytes())
}

fn honest(out: &mut dyn Write) -> std::io::Result<()> {
    empty(out, CAPABILITIES)
}

/// The error of a push of one commit; whatever it is, all memory is given back.
async fn refused(server: &Server) -> PushError {
    let budget = Budget::new(BUDGET);
    let claim = Arc::new(budget.claim());
    let remote = remote_with(&server.url(), &[], |options| options.claim = claim);
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "f", "2");
    let before = budget.used();
    let error = copy
        .push(&PushOptions::default(), MINUTE)
        .await
        .unwrap_err();
    assert_eq!(budget.used(), before);
    drop((copy, remote));
    assert_eq!(budget.used(), 0);
    error
}

fn band(out: &mut dyn Write, band: u8, data: &[u8]) -> std::io::Result<()> {
    write!(out, "{:04x}", data.len() + 5)?;
    out.write_all(&[band])?;
    out.write_all(data)
}

/// A report of these lines in the side band.
fn report(out: &mut dyn Write, lines: &[&str]) -> std::io::Result<()> {
    let packets: String = lines.iter().map(|line| packet(line.as_bytes())).collect();
    band(out, 1, format!("{packets}0000").as_bytes())
}

#[rstest]
#[case::report(
    |out: &mut dyn Write| {
        band(out, 1, b"000eunpack ok\n")?;
        loop {
            band(out, 1, packet(b"ok refs/heads/other\n").repeat(100).as_bytes())?;
        }
    },
    "bytes in the report of a push"
)]
#[case::messages(|out: &mut dyn Write| loop { band(out, 2, &vec![b'x'; 60_000])?; }, "bytes of messages of a push")]
#[case::empty_messages(|out: &mut dyn Write| loop { band(out, 2, b"")?; }, "bytes of messages of a push")]
#[tokio::test]
async fn endless_responses_are_refused(#[case] respond: Response, #[case] unit: &str) {
    let error = refused(&server(honest, respond)).await;
    let text = chain(&error);
    assert!(error.is_too_large(), "{text}");
    assert!(text.ends_with(unit), "{text}");
}

#[tokio::test]
async fn endless_references_are_refused() {
    let discover: Response = |out: &mut dyn Write| {
        for number in 0_u64.. {
            let line = format!("{} refs/heads/{number}\n", "1".repeat(40));
            out.write_all(packet(line.as_bytes()).as_bytes())?;
        }
        Ok(())
    };
    let error = refused(&server(discover, |_: &mut dyn Write| Ok(()))).await;
    assert!(error.is_too_large(), "{error}");
    let text = chain(&error);
    let expected =
        "failed to push to remote: the references of the repository take too much memory";
    assert!(text.starts_with(expected), "{text}");
}

#[rstest]
#[case::no_response(|_: &mut dyn Write| Ok(()), "the server's answer ends too early: unexpected EOF")]
#[case::no_side_band(|out: &mut dyn Write| out.write_all(b"000eunpack ok\n0000"), "unknown side band")]
#[case::a_page(|out: &mut dyn Write| out.write_all(b"<!DOCTYPE html>"), "invalid pkt-len found")]
#[case::no_status(
    |out: &mut dyn Write| report(out, &["unpack ok\n"]),
    "the server did not report on refs/heads/main"
)]
#[case::status_of_another(
    |out: &mut dyn Write| report(out, &["unpack ok\n", "ok refs/heads/other\n"]),
    "the server did not report on refs/heads/main"
)]
#[case::fatal(|out: &mut dyn Write| band(out, 3, b"disk\x1b[1m full\n"), "remote: disk full")]
#[case::error_line(|out: &mut dyn Write| out.write_all(b"000cERR busy"), "busy")]
#[case::unpack(
    |out: &mut dyn Write| report(out, &["unpack index-pack failed \x07\x1b[2J\n"]),
    "unpack error: index-pack failed"
)]
#[case::silly_reason(
    |out: &mut dyn Write| report(out, &["unpack ok\n", "ng refs/heads/main no\twa\x00y\x1b[0m\n"]),
    "command error on refs/heads/main: no way"
)]
#[tokio::test]
async fn lies_and_nonsense_are_errors(#[case] respond: Response, #[case] expected: &str) {
    let error = chain(&refused(&server(honest, respond)).await);
    assert_eq!(error, format!("failed to push to remote: {expected}"));
}

#[rstest]
#[case::version_2(
    |out: &mut dyn Write| out.write_all(b"000eversion 2\n0000"),
    "the server speaks version 2 of the protocol, which has no push"
)]
#[case::sha256(
    |out: &mut dyn Write| empty(out, "report-status object-format=sha256"),
    "the repository uses the object format 'sha256', which is not supported: only sha1 is"
)]
#[case::a_page(|out: &mut dyn Write| out.write_all(b"<!DOCTYPE html>"), "invalid pkt-len found")]
#[case::error_line(|out: &mut dyn Write| out.write_all(b"000dERR moved"), "moved")]
#[tokio::test]
async fn malformed_discoveries_are_errors(#[case] discover: Response, #[case] expected: &str) {
    let error = chain(&refused(&server(discover, |_: &mut dyn Write| Ok(()))).await);
    assert_eq!(error, format!("failed to push to remote: {expected}"));
}

#[tokio::test]
async fn messages_are_shown_in_part() {
    let respond: Response = |out: &mut dyn Write| {
        for _ in 0..50 {
            band(out, 2, &"long words ".repeat(1000).into_bytes())?;
        }
        report(out, &["unpack ok\n", "ng refs/heads/main denied\n"])?;
        out.write_all(b"0000")
    };
    let error = chain(&refused(&server(honest, respond)).await);
    let expected = "failed to push to remote: command error on refs/heads/main: denied: long words";
    assert!(error.starts_with(expected), "{error}");
    assert!(error.len() < 1200, "{}", error.len());
}
