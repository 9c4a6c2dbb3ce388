//! Tests of the wire protocol on messages in memory.

use std::io::Read as _;
use std::num::NonZeroU32;
use std::sync::Arc;

use flux_budget::Claim;
use gix::hash::ObjectId;
use rstest::rstest;

use super::*;
use crate::error::Fault;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Lines as packets; `0000` to `0002` represent themselves, and `A` and `B` hashes.
fn message(lines: &[&str]) -> Vec<u8> {
    let packet = |line: &&str| match *line {
        "0000" | "0001" | "0002" => (*line).to_owned(),
        line => {
            let line = line.replace("<A>", A).replace("<B>", B);
            format!("{:04x}{line}", line.len() + 4)
        }
    };
    lines.iter().map(packet).collect::<String>().into_bytes()
}

fn claim() -> Arc<Claim> {
    Arc::new(Claim::unlimited())
}

fn advertisement(lines: &[&str]) -> Result<Advertisement, Fault> {
    Advertisement::read(&mut Packets::new(&message(lines)[..]), &claim())
}

/// References as `name target peeled`, each hash by its first letter.
fn show(references: &References) -> Vec<String> {
    let letter = |id: ObjectId| id.to_string()[..1].to_owned();
    let show = |listed: &Listed| {
        let peeled = listed.peeled.map(|id| format!(" {}", letter(id)));
        let peeled = peeled.unwrap_or_default();
        format!("{} {}{peeled}", listed.name, letter(listed.target))
    };
    references.iter().map(show).collect()
}

#[rstest]
#[case::with_capabilities(&["<A> HEAD\0side-band agent=x\n", "<A> refs/heads/main\n", "0000"], &["HEAD a", "refs/heads/main a"])]
#[case::without_capabilities(&["<A> refs/heads/main\n", "0000"], &["refs/heads/main a"])]
#[case::over_http(&["# service=git-upload-pack\n", "0000", "<A> refs/heads/main\0x\n", "0000"], &["refs/heads/main a"])]
#[case::version_1(&["version 1\n", "<A> refs/heads/main\0x\n", "0000"], &["refs/heads/main a"])]
#[case::annotated_tags(&["<A> refs/tags/v1\0x\n", "<B> refs/tags/v1^{}\n", "0000"], &["refs/tags/v1 a b"])]
#[case::shallow(&["<A> refs/heads/main\0x\n", "shallow <B>\n", "0000"], &["refs/heads/main a"])]
#[case::empty(&["0000000000000000000000000000000000000000 capabilities^{}\0x\n", "0000"], &[])]
#[case::empty_over_http(&["# service=git-upload-pack\n", "0000", "0000"], &[])]
fn protocol_v0_references_are_read(#[case] lines: &[&str], #[case] expected: &[&str]) {
    let server = advertisement(lines).unwrap();
    assert!(!server.is_v2());
    assert_eq!(show(&server.references.unwrap()), expected);
}

#[test]
fn capabilities_are_parsed() {
    let v0 = advertisement(&["<A> HEAD\0side-band agent=x=y shallow\n", "0000"]).unwrap();
    let v2 = advertisement(&[
        "version 2\n",
        "agent=x=y\n",
        "fetch=shallow filter\n",
        "0000",
    ]);
    let v2 = v2.unwrap();
    assert!(v2.is_v2() && v2.has("fetch") && !v2.has("fetch=shallow") && !v2.has("fet"));
    assert!(v0.has("shallow") && v0.has("agent") && !v0.has("side-band-64k"));
    for server in [&v0, &v2] {
        assert_eq!(server.value("agent"), Some("x=y"));
        assert_eq!(server.value("age"), None);
    }
    assert_eq!(v2.value("fetch"), Some("shallow filter"));
}

#[rstest]
#[case(&["ERR sorry, moved\n"], "sorry, moved")]
#[case(&["ERR access denied or repository not exported: /x"], "repository not found")]
#[case(&["version 3\n"], "the server speaks an unknown protocol: version 3")]
#[case(&["<A>\n", "0000"], "the server's list of references is malformed")]
#[case(&["<A> x\n"], "the server's answer ends too early: unexpected EOF")]
#[case(&[], "the server's answer ends too early: unexpected EOF")]
#[case(&["version 2\n", "object-format=sha256\n", "0000"], "object format 'sha256'")]
#[case(&["<A>aaaaaaaaaaaaaaaaaaaaaaaa refs/heads/main\n"], "object format 'sha256'")]
fn malformed_advertisements_are_errors(#[case] lines: &[&str], #[case] expected: &str) {
    let error = advertisement(lines).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn the_error_line_of_a_server_is_shown_in_part_if_it_is_long() {
    let words = format!("ERR {}", "x".repeat(5000));
    let Err(Fault::ErrorLine(text)) = advertisement(&[&words]) else {
        panic!("the server reports an error");
    };
    assert_eq!(text, "x".repeat(1020));
}

#[test]
fn a_response_without_packets_is_malformed() {
    for text in ["<!DOCTYPE html>", "0003", "fff1", "00zz", "00"] {
        let error = Advertisement::read(&mut Packets::new(text.as_bytes()), &claim()).unwrap_err();
        assert!(
            error.to_string().ends_with("invalid pkt-len found"),
            "{text}: {error}"
        );
    }
}

#[test]
fn capabilities_are_limited() {
    let long = format!("x={}\n", "y".repeat(60_000));
    let error = advertisement(&["version 2\n", &long, &long]).unwrap_err();
    assert!(error.is_too_large(), "{error}");
}

#[test]
fn listed_references_are_read_and_filtered_by_prefix() {
    let lines = message(&[
        "<A> refs/tags/v1 peeled:<B>\n",
        "<A> refs/heads/main symref-target:refs/heads/x\n",
        "unborn HEAD symref-target:refs/heads/main\n",
        "0000",
    ]);
    let read = |prefixes: &[&str]| {
        let mut packets = Packets::new(&lines[..]);
        show(&read_references(&mut packets, prefixes, &claim()).unwrap())
    };
    assert_eq!(read(&[]), ["refs/tags/v1 a b", "refs/heads/main a"]);
    assert_eq!(read(&["refs/heads/"]), ["refs/heads/main a"]);
}

fn requested(server: &[&str], depth: u32) -> String {
    let server = advertisement(server).unwrap();
    let wants: Vec<ObjectId> = [A, B].iter().map(|hex| hex.parse().unwrap()).collect();
    let fetch = Fetch {
        wants: &wants,
        depth: NonZeroU32::new(depth),
    };
    String::from_utf8(fetch.encode(&server)).unwrap()
}

#[rstest]
#[case::all(
    "multi_ack side-band side-band-64k ofs-delta thin-pack shallow no-progress agent=x",
    " multi_ack side-band-64k ofs-delta no-progress agent=AGENT",
    true
)]
#[case::no_agent("side-band ofs-delta", " side-band ofs-delta", false)]
#[case::nothing("", "", false)]
fn requests_to_old_servers_use_their_capabilities(
    #[case] can: &str,
    #[case] asked: &str,
    #[case] shallow: bool,
) {
    let agent = concat!("git/flux-", env!("CARGO_PKG_VERSION"));
    let first = format!("want <A>{}\n", asked.replace("AGENT", agent));
    let mut expected = vec![&*first, "want <B>\n"];
    if shallow {
        expected.push("deepen 1\n");
    }
    expected.extend(["0000", "done\n"]);
    let server = format!("<A> HEAD\0{can}\n");
    let request = requested(&[&server, "0000"], 1);
    assert_eq!(request.as_bytes(), message(&expected));
}

// SC-GIT-057
#[test]
fn protocol_v2_requests_use_the_server_capabilities() {
    let bare = requested(&["version 2\n", "fetch\n", "0000"], 1);
    let expected = [
        "command=fetch\n",
        "0001",
        "ofs-delta\n",
        "no-progress\n",
        "want <A>\n",
        "want <B>\n",
        "done\n",
        "0000",
    ];
    assert_eq!(bare.as_bytes(), message(&expected));
    let lines = [
        "version 2\n",
        "agent=x\n",
        "object-format=sha1\n",
        "fetch=shallow\n",
        "0000",
    ];
    let full = requested(&lines, 1);
    assert!(full.contains("agent=git/flux-") && full.contains("object-format=sha1\n"));
    assert!(full.contains("deepen 1\n") && !requested(&lines, 0).contains("deepen"));
    let server = advertisement(&["version 2\n", "ls-refs\n", "0000"]).unwrap();
    let expected = [
        "command=ls-refs\n",
        "0001",
        "peel\n",
        "ref-prefix refs/tags/\n",
        "0000",
    ];
    assert_eq!(list(&server, &["refs/tags/"]), message(&expected));
}

fn pack_of(stream: Result<PackStream<&[u8]>, Fault>) -> Result<String, String> {
    let mut text = String::new();
    let mut stream = stream.map_err(|fault| fault.to_string())?;
    stream
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    Ok(text)
}

#[rstest]
#[case(&["packfile\n", "\x01PA", "\x02words", "\x01CK", "0000"], Ok("PACK"))]
#[case(&["shallow-info\n", "shallow <A>\n", "0001", "packfile\n", "\x01PACK", "0000"], Ok("PACK"))]
#[case(&["packfile\n", "\x01PA", "\x03out of disk\n"], Err("remote: out of disk"))]
#[case(&["packfile\n", "\x03Repository does not exist\n"], Err("repository not found"))]
#[case(&["packfile\n", "\x04what"], Err("unknown side band"))]
#[case(&["ERR upload-pack: not our ref <A>"], Err("upload-pack: not our ref aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))]
#[case(&["acknowledgments\n", "NAK\n", "0000"], Err("the server sent no objects"))]
#[case(&["acknowledgments\n"], Err("the server's answer ends too early: unexpected EOF"))]
#[case(&["packfile\n", "\x01PACK"], Ok("PACK"))]
fn protocol_v2_fetch_responses_are_read(
    #[case] lines: &[&str],
    #[case] expected: Result<&str, &str>,
) {
    let message = message(lines);
    let found = pack_of(PackStream::v2(Packets::new(&message[..])));
    assert_eq!(found.as_deref().map_err(String::as_str), expected);
}

#[rstest]
#[case(&["NAK\n", "\x01PACK", "0000"], true, Ok("PACK"))]
#[case(&["shallow <A>", "0000", "NAK\n", "\x01PACK", "0000"], true, Ok("PACK"))]
#[case(&["shallow <A>", "0000", "NAK\n", "PACK"], false, Ok("0008PACK"))]
#[case(&["what\n"], true, Err("the server's answer is not in Git's protocol: unexpected \"what\""))]
#[case(&["0000"], true, Err("the server's answer ends too early: unexpected EOF"))]
fn protocol_v0_fetch_responses_are_read(
    #[case] lines: &[&str],
    #[case] side_band: bool,
    #[case] expected: Result<&str, &str>,
) {
    let message = message(lines);
    let found = pack_of(PackStream::v0(Packets::new(&message[..]), side_band));
    assert_eq!(found.as_deref().map_err(String::as_str), expected);
}

#[test]
fn a_fault_passes_through_a_reader() {
    struct Failing(Option<std::io::Error>);
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(self.0.take().unwrap())
        }
    }
    let read = |error| read_some(&mut Failing(Some(error)), &mut [0]).unwrap_err();
    let limit = Fault::TooLarge {
        limit: 1,
        unit: "received bytes",
    };
    assert!(read(std::io::Error::other(limit)).is_too_large());
    let lost = read(std::io::Error::other("reset"));
    assert!(matches!(lost, Fault::Connection(text) if text == "reset"));
}

const NULL: &str = "0000000000000000000000000000000000000000";

fn commands(names: &[&str]) -> Vec<Command> {
    let command = |name: &&str| Command {
        name: (*name).to_owned(),
        old: A.parse().unwrap(),
        new: B.parse().unwrap(),
    };
    names.iter().map(command).collect()
}

#[rstest]
#[case::everything(
    "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta object-format=sha1 push-options agent=x",
    &["r1"], &["a=b", "c="],
    &["<A> <B> r1\0 report-status-v2 side-band-64k quiet push-options object-format=sha1 agent=AGENT", "0000", "a=b", "c=", "0000"]
)]
#[case::no_options_are_sent_unless_wanted("report-status push-options", &["r1"], &[], &["<A> <B> r1\0 report-status", "0000"])]
// IA-GIT-079
#[case::options_are_dropped_if_unsupported("report-status", &["r1"], &["a=b"], &["<A> <B> r1\0 report-status", "0000"])]
#[case::several_are_atomic("atomic report-status", &["r1", "r2"], &[], &["<A> <B> r1\0 report-status atomic", "<A> <B> r2", "0000"])]
#[case::nothing("", &["r1"], &[], &["<A> <B> r1", "0000"])]
fn pushes_use_the_server_capabilities(
    #[case] can: &str,
    #[case] names: &[&str],
    #[case] options: &[&str],
    #[case] expected: &[&str],
) {
    let agent = concat!("git/flux-", env!("CARGO_PKG_VERSION"));
    let server = format!("<A> r1\0{can}\n");
    let server = advertisement(&[&server, "0000"]).unwrap();
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let update = Update {
        commands: &commands(names),
        options: &options,
    };
    let expected: Vec<String> = expected
        .iter()
        .map(|line| line.replace("AGENT", agent))
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(update.encode(&server).unwrap(), message(&expected));
}

#[test]
fn names_and_options_that_do_not_fit_into_packets_are_refused() {
    let server = advertisement(&["<A> r1\0push-options\n", "0000"]).unwrap();
    let encode = |name: &str, options: &[String]| {
        let update = Update {
            commands: &commands(&[name]),
            options,
        };
        update.encode(&server).map_err(|fault| fault.to_string())
    };
    let long = encode(&"r".repeat(70_000), &[]).unwrap_err();
    assert!(long.ends_with("bytes in the name of a reference"), "{long}");
    let long = encode("r", &["x".repeat(70_000)]).unwrap_err();
    assert!(long.ends_with("bytes in one push option"), "{long}");
    let many = encode("r", &vec!["x".repeat(60_000); 5]).unwrap_err();
    assert!(many.ends_with("bytes of push options"), "{many}");
}

#[test]
fn a_repository_without_references_is_advertised_for_a_push() {
    let none = format!("{NULL} capabilities^{{}}\0report-status\n");
    for lines in [
        &[&*none, "0000"][..],
        &["# service=git-receive-pack\n", "0000", &none, "0000"],
    ] {
        let server = advertisement(lines).unwrap();
        assert!(Update::has_report(&server) && !Update::has_side_band(&server));
        assert!(server.references.unwrap().is_empty());
    }
}

/// The report in `lines`, as text.
fn report(lines: &[u8]) -> Result<String, String> {
    let wanted = |name: &str| name.starts_with('r');
    let report = Report::read(&mut &*lines, wanted).map_err(|fault| fault.to_string())?;
    let mut text = report.unpack.clone().unwrap_or_default();
    for (name, _) in &report.statuses {
        let status = report.status(name).unwrap().err().unwrap_or("ok");
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("[{name} {status}]"));
    }
    Ok(text)
}

#[rstest]
#[case(&["unpack ok\n", "ok r1\n", "ng r2 hook declined\n", "0000"], Ok("[r1 ok][r2 hook declined]"))]
#[case(&["unpack ok\n", "ok r1\n", "option refname r3\n", "option forced-update\n", "0000"], Ok("[r1 ok]"))]
#[case(&["unpack ok\n", "ok x\n", "ng y no\n", "ng r1\n", "ok r1\n", "0000"], Ok("[r1 failed]"))]
#[case(&["unpack index-pack \u{1b}[31mabnormal\u{1b}[0m exit\r\n", "0000"], Ok("index-pack abnormal exit"))]
#[case(&["ok r1\n", "0000"], Err("it does not begin with the result of unpacking"))]
#[case(&["unpack ok\n", "what r1\n", "0000"], Err("it has an unknown line"))]
#[case(&["0000"], Err("it has no result"))]
#[case(&["unpack ok\n", "0001"], Err("it has no result"))]
#[case(&["unpack ok\n", "ok r1\n"], Err("the server's answer ends too early: unexpected EOF"))]
#[case(&[], Err("the server's answer ends too early: unexpected EOF"))]
#[case(&["ERR no\n"], Err("no"))]
fn reports_on_pushes_are_read(#[case] lines: &[&str], #[case] expected: Result<&str, &str>) {
    match (report(&message(lines)), expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (Err(found), Err(expected)) => assert!(found.ends_with(expected), "{found}"),
        (found, _) => panic!("{found:?}"),
    }
}

#[test]
fn endless_reports_are_refused() {
    let mut lines = vec!["unpack ok\n".to_owned()];
    lines.extend((0..100_000).map(|number| format!("ok x{number}\n")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let error = report(&message(&lines)).unwrap_err();
    assert!(
        error.ends_with("the limit of 1048576 bytes in the report of a push"),
        "{error}"
    );
}

#[test]
fn reports_are_extracted_from_the_side_band() {
    let inner = String::from_utf8(message(&["unpack ok\n", "ok r1\n", "0000"])).unwrap();
    let (first, second) = inner.split_at(20);
    let (first, second) = (format!("\x01{first}"), format!("\x01{second}"));
    let lines = [
        "\x02remote: \x1b[1mGitLab:\x1b[0m\tno\x07\n",
        &first,
        "\x02 more\n",
        &second,
        "\x02later",
        "0000",
    ];
    let bytes = message(&lines);
    let mut band = SideBand::new(&bytes[..]);
    let report = Report::read(&mut band, |_| true).unwrap();
    assert_eq!(report.status("r1"), Some(Ok(())));
    assert_eq!(report.status("r2"), None);
    assert_eq!(band.said(), "remote: GitLab: no more");
    band.drain();
    assert_eq!(band.said(), "remote: GitLab: no more later");
}

#[rstest]
#[case("\x03out of disk\x1b[0m\n", "remote: out of disk")]
#[case("\x04what", "unknown side band")]
fn the_side_band_ends_with_an_error(#[case] line: &str, #[case] expected: &str) {
    let bytes = message(&[line]);
    let error = Report::read(&mut SideBand::new(&bytes[..]), |_| true).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn endless_messages_are_refused_and_shown_in_part() {
    let line = format!("\x02{} ", "wörd ".repeat(10_000));
    let lines = vec![&*line; 200];
    let bytes = message(&lines);
    let mut band = SideBand::new(&bytes[..]);
    let error = Report::read(&mut band, |_| true).unwrap_err();
    assert!(error.is_too_large(), "{error}");
    let said = band.said();
    assert!(said.len() <= 1024 + 3 && said.ends_with('…'), "{said}");
}
