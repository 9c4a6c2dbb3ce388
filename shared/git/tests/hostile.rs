//! Repositories that would exhaust a process' memory or time: an error within the budget, or files that are streamed.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::io::Read as _;
use std::sync::Arc;

use flux_budget::Budget;
use flux_errors::chain;
use flux_git::{FetchOptions, Fetched, Snapshot};
use hostile::{Pack, Server, V2, head, hex, number, packet, repeated, says, tree};
use rstest::rstest;
use support::{MINUTE, reference, remote_with};

/// The memory budget of these repositories, in bytes.
const BUDGET: u64 = 16 << 20;
const MIB: usize = 1 << 20;

/// Fetches the branch `main` within the budget: returns the snapshot with the budget, or the error and whether a retry
/// is useless.
async fn fetch(server: &Server) -> Result<(Box<Snapshot>, Budget), (String, bool)> {
    let budget = Budget::new(BUDGET);
    let claim = Arc::new(budget.claim());
    let remote = remote_with(&server.url(), &[], |options| options.claim = claim);
    let fetched = remote
        .fetch(&reference("branch=main"), &FetchOptions::default(), MINUTE)
        .await;
    match fetched {
        Ok(Fetched::Snapshot(snapshot)) => Ok((snapshot, budget)),
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            drop(remote);
            assert_eq!(budget.used(), 0, "an error gives everything back");
            Err((chain(&error), error.is_too_large()))
        }
    }
}

/// The error of a fetch that a retry does not fix.
async fn refused(server: &Server) -> String {
    let (error, too_large) = fetch(server).await.map(|_| ()).unwrap_err();
    assert!(too_large, "{error}");
    error
}

const ID: &str = "1111111111111111111111111111111111111111";

// SC-ART-068
#[rstest]
#[case::version_2(true)]
#[case::version_0(false)]
#[tokio::test]
async fn endless_references_are_refused(#[case] v2: bool) {
    let server = Server::start(hostile::DISCOVERY, move |target, _, out| {
        if target.contains("info/refs") && v2 {
            return out.write_all(V2.as_bytes());
        }
        for number in 0_u64.. {
            // Wanted and unwanted ones.
            let name = if number.is_multiple_of(2) {
                "main"
            } else {
                "x"
            };
            let line = format!("{ID} refs/heads/{name}{number}\n");
            out.write_all(packet(line.as_bytes()).as_bytes())?;
        }
        Ok(())
    });
    let error = refused(&server).await;
    let expected = "the references of the repository take too much memory: not enough memory";
    assert!(error.contains(expected), "{error}");
    assert!(
        error.ends_with("or raise the controller's memory limit"),
        "{error}"
    );
}

#[rstest]
#[case::version_2(true)]
#[case::version_0(false)]
#[tokio::test]
async fn reference_names_are_limited(#[case] v2: bool) {
    let server = Server::start(hostile::DISCOVERY, move |target, _, out| {
        if target.contains("info/refs") && v2 {
            return out.write_all(V2.as_bytes());
        }
        let line = format!("{ID} refs/heads/{}\n", "a".repeat(5000));
        out.write_all(format!("{}0000", packet(line.as_bytes())).as_bytes())
    });
    let error = refused(&server).await;
    let expected = "exceeds the limit of 4096 bytes in the name of a reference";
    assert!(error.ends_with(expected), "{error}");
}

/// A repository of one file `f`, the object with the id `id`.
fn one_file(mut pack: Pack, id: [u8; 20]) -> Server {
    let root = pack.whole(2, &tree(&[("100644", b"f", id)]));
    let tip = pack.commit(root);
    Server::of_pack(tip, pack.finish())
}

#[tokio::test]
async fn amplifying_deltas_are_refused() {
    let mut pack = Pack::default();
    let base = pack.whole(3, &vec![0; MIB]);
    for tail in 0..40_u8 {
        pack.delta(base, &repeated(MIB as u64, MIB as u32, 512, &[tail]));
    }
    let error = refused(&one_file(pack, base)).await;
    let expected = "the contents of one object of the repository take too much memory: \
        not enough memory: 514 MiB needed, 16 MiB available to this process";
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn chained_deltas_take_the_memory_of_two_objects() {
    let mut pack = Pack::default();
    let base = pack.whole(3, &vec![7; 2 * MIB]);
    let mut last = base;
    let mut content = vec![7; 2 * MIB];
    for _ in 0..20 {
        let delta = repeated(content.len() as u64, 2 << 20, 1, b"x");
        pack.delta(last, &delta);
        content = [&content[..2 * MIB], b"x"].concat();
        last = Pack::default().whole(3, &content);
    }
    let (snapshot, budget) = fetch(&one_file(pack, last)).await.unwrap();
    let file = snapshot.find("f").unwrap();
    let reader = snapshot.reader().unwrap();
    assert!(reader.read(file).unwrap()[..] == content[..]);
    assert!(budget.used() <= BUDGET);
}

#[tokio::test]
async fn the_base_of_a_delta_is_found_at_any_distance() {
    // As entries, these have distances of one to three digits; 100 and 10,000 set the highest bit of the first digit.
    for length in [10, 100, 300, 10_000, 3_000_000_u32] {
        let noise = (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
        let mut content: Vec<u8> = noise.collect();
        let mut pack = Pack::default();
        pack.whole(3, &content);
        pack.nearby_delta(&repeated(u64::from(length), length, 1, b"x"));
        content.push(b'x');
        let id = Pack::default().whole(3, &content);
        let (snapshot, _budget) = fetch(&one_file(pack, id)).await.unwrap();
        let file = snapshot.find("f").unwrap();
        let reader = snapshot.reader().unwrap();
        assert!(reader.read(file).unwrap()[..] == content[..], "{length}");
    }
}

#[tokio::test]
async fn delta_chains_are_limited() {
    let mut pack = Pack::default();
    let base = pack.whole(3, b"0");
    let mut last = base;
    for round in 1..=5000_u32 {
        let content = round.to_string();
        let mut delta = number((round - 1).to_string().len() as u64);
        delta.extend(number(content.len() as u64));
        delta.push(content.len() as u8);
        delta.extend(content.as_bytes());
        pack.delta(last, &delta);
        last = Pack::default().whole(3, content.as_bytes());
    }
    let error = refused(&one_file(pack, base)).await;
    let expected = "the limit of 4095 deltas in one chain of the pack";
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn a_file_larger_than_the_memory_is_streamed() {
    let size = 3 * BUDGET as usize;
    let mut pack = Pack::default();
    let id = pack.whole(3, &vec![0; size]);
    let (snapshot, budget) = fetch(&one_file(pack, id)).await.unwrap();
    let file = snapshot.find("f").unwrap();
    let reader = snapshot.reader().unwrap();
    assert_eq!(reader.size(file).unwrap(), size as u64);
    let mut stream = reader.open(file).unwrap();
    assert_eq!(stream.remaining(), size as u64);
    let (mut piece, mut total) = (vec![1; MIB], 0);
    loop {
        let read = stream.read(&mut piece).unwrap();
        assert!(piece[..read].iter().all(|byte| *byte == 0));
        total += read;
        if read == 0 {
            break;
        }
    }
    assert_eq!(total, size);
    assert!(budget.used() < MIB as u64, "{}", budget.used());
    // Reading all of it at once fails.
    let error = reader.read(file).unwrap_err();
    assert!(error.is_too_large(), "{}", chain(&error));
}

#[tokio::test]
async fn an_object_with_a_declared_size_above_the_limit_is_refused() {
    let mut pack = Pack::default();
    pack.raw(head(3, 3 << 30));
    let error = refused(&one_file(pack, [1; 20])).await;
    let expected = "the repository exceeds the limit of 1073741824 bytes in one object";
    assert!(error.ends_with(expected), "{error}");
}

/// A tree of ten times the one below, `levels` times.
fn shared_trees(leaf: &[(&str, &[u8], [u8; 20])], levels: usize) -> (Pack, [u8; 20]) {
    let mut pack = Pack::default();
    pack.whole(3, b"x\n");
    let mut id = pack.whole(2, &tree(leaf));
    let names: Vec<Vec<u8>> = (0..10).map(|n| format!("d{n}").into_bytes()).collect();
    for _ in 0..levels {
        let entries: Vec<_> = names.iter().map(|name| ("40000", &name[..], id)).collect();
        id = pack.whole(2, &tree(&entries));
    }
    let tip = pack.commit(id);
    (pack, tip)
}

#[rstest]
#[case::of_files(true)]
#[case::of_empty_folders(false)]
#[tokio::test]
async fn shared_trees_are_limited(#[case] files: bool) {
    let blob = Pack::default().whole(3, b"x\n");
    let names: Vec<Vec<u8>> = (0..10).map(|n| format!("f{n}").into_bytes()).collect();
    let leaf: Vec<_> = names
        .iter()
        .filter(|_| files)
        .map(|name| ("100644", &name[..], blob))
        .collect();
    let (pack, tip) = shared_trees(&leaf, 9);
    let server = Server::of_pack(tip, pack.finish());
    let budget = Budget::new(BUDGET);
    let claim = Arc::new(budget.claim());
    let remote = remote_with(&server.url(), &[], |options| {
        options.claim = claim;
        if !files {
            options.limits.entries = 50_000;
        }
    });
    let error = remote
        .fetch(&reference("branch=main"), &FetchOptions::default(), MINUTE)
        .await
        .unwrap_err();
    let text = chain(&error);
    assert!(error.is_too_large(), "{text}");
    let expected = if files {
        "the files of the repository take too much memory"
    } else {
        "the repository exceeds the limit of 50000 files and folders"
    };
    assert!(text.contains(expected), "{text}");
}

#[rstest]
#[case::name(5000, 0)]
#[case::folders(200, 30)]
#[tokio::test]
async fn paths_are_limited(#[case] length: usize, #[case] levels: usize) {
    let mut pack = Pack::default();
    let blob = pack.whole(3, b"x\n");
    let name = "n".repeat(length).into_bytes();
    let mut id = pack.whole(2, &tree(&[("100644", &name, blob)]));
    for _ in 0..levels {
        id = pack.whole(2, &tree(&[("40000", &name, id)]));
    }
    let tip = pack.commit(id);
    let server = Server::of_pack(tip, pack.finish());
    let (error, _) = fetch(&server).await.map(|_| ()).unwrap_err();
    assert!(
        error.ends_with("…\": it is longer than 4096 bytes"),
        "{error}"
    );
    assert!(error.len() < 300, "{error}");
}

#[tokio::test]
async fn commits_and_trees_have_their_own_limits() {
    let mut pack = Pack::default();
    let empty = pack.whole(2, b"");
    let text = format!("tree {}\n\n{}", hex(&empty), "m".repeat(9 * MIB));
    let tip = pack.whole(1, text.as_bytes());
    let error = refused(&Server::of_pack(tip, pack.finish())).await;
    assert!(
        error.ends_with("8388608 bytes in one commit or tag"),
        "{error}"
    );
}

#[tokio::test]
async fn a_discovery_of_any_content_type_is_read() {
    let mut pack = Pack::default();
    let blob = pack.whole(3, b"x\n");
    let root = pack.whole(2, &tree(&[("100644", b"f", blob)]));
    let tip = pack.commit(root);
    let pack = pack.finish();
    let server = Server::start("text/plain; charset=utf-8", move |target, body, out| {
        if target.contains("info/refs") {
            // No agent, and no side band.
            let line = format!("{} refs/heads/main\0shallow ofs-delta\n", hex(&tip));
            let text = packet(b"# service=git-upload-pack\n");
            return out.write_all(format!("{text}0000{}0000", packet(line.as_bytes())).as_bytes());
        }
        assert!(says(body, &format!("want {} ofs-delta\n", hex(&tip))));
        out.write_all(packet(format!("shallow {}", hex(&tip)).as_bytes()).as_bytes())?;
        out.write_all(b"00000008NAK\n")?;
        out.write_all(&pack)
    });
    let (snapshot, _) = fetch(&server).await.unwrap();
    assert_eq!(support::files(&snapshot)["f"], "x\n");
}

#[rstest]
#[case(
    "ERR this repository is moved\n",
    "unable to clone 'URL': this repository is moved"
)]
#[case(
    "ERR Repository not found.",
    "unable to clone: repository not found: git repository: 'URL'"
)]
#[tokio::test]
async fn an_error_line_is_the_message(#[case] line: &'static str, #[case] expected: &str) {
    for at_discovery in [true, false] {
        let server = Server::start(hostile::DISCOVERY, move |target, _, out| {
            if target.contains("info/refs") && !at_discovery {
                return out.write_all(V2.as_bytes());
            }
            out.write_all(packet(line.as_bytes()).as_bytes())
        });
        let (error, _) = fetch(&server).await.map(|_| ()).unwrap_err();
        assert_eq!(error, expected.replace("URL", &server.url()));
    }
}
