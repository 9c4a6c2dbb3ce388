//! Tests of flag parsing.

use super::*;

#[derive(Parser, Debug)]
struct Flags {
    #[command(flatten)]
    manager: ManagerFlags,
    #[command(flatten)]
    ssh: SshFlags,
    #[command(flatten)]
    storage: StorageFlags,
}

fn flags(words: &[&str]) -> Result<Flags, clap::Error> {
    let words = ["source-controller"].iter().chain(words).map(Into::into);
    parse_from(&[("concurrent", "2".to_owned())], words)
}

#[test]
fn flags_are_parsed_as_by_pflag() {
    // RT-FLG-001
    let read = flags(&[
        "--log-level",
        "debug",
        "--log-encoding=console",
        "--enable-leader-election",
        // RT-FLG-010
        "positional",
    ])
    .unwrap();
    assert_eq!(
        (&*read.manager.log_level, &*read.manager.log_encoding),
        ("debug", "console")
    );
    assert!(read.manager.enable_leader_election);
    let read = flags(&[
        // RT-FLG-003
        "--watch-all-namespaces=F",
        // RT-FLG-004
        "--concurrent=3",
        "--concurrent",
        "0x10",
    ])
    .unwrap();
    assert!(!read.manager.watch_all_namespaces);
    assert_eq!(read.manager.concurrent, 16);
    // RT-FLG-002
    let read = flags(&["--enable-leader-election", "false"]).unwrap();
    assert!(
        read.manager.enable_leader_election,
        "a separate word is no value of a boolean flag"
    );
    assert_eq!(read.manager.concurrent, 2, "the controller's own default");
}

#[test]
fn repeated_list_flags_accumulate() {
    // RT-FLG-005, RT-FLG-007
    let read = flags(&[
        "--feature-gates=A=true,B=false",
        "--feature-gates=C=true",
        "--ssh-kex-algos=a,b",
        "--ssh-kex-algos=c",
    ])
    .unwrap();
    assert_eq!(read.manager.feature_gates.concat().len(), 3);
    assert_eq!(read.ssh.ssh_kex_algos, ["a", "b", "c"]);
}

#[test]
fn usage_errors_exit_with_code_two() {
    // RT-FLG-009, SC-PROC-001
    for words in [
        &["--unknown"][..],
        // RT-FLG-008
        &["--min-retry-delay=5"],
        &["--enable-leader-election=yes"],
        // RT-FLG-006
        &["--feature-gates=Foo"],
        &["--concurrent=x"],
        // RT-FLG-011
        &["--kubeconfig=x"],
        &["--version"],
    ] {
        assert_eq!(flags(words).unwrap_err().exit_code(), 2, "{words:?}");
    }
    assert_eq!(flags(&["--help"]).unwrap_err().exit_code(), 0);
}

#[test]
fn defaults_match_upstream() {
    let read = flags(&[]).unwrap();
    let manager = &read.manager;
    assert_eq!(
        [
            &*manager.metrics_addr,
            &*manager.health_addr,
            &*manager.events_addr
        ],
        [":8080", ":9440", ""]
    );
    assert_eq!((manager.kube_api_qps, manager.kube_api_burst), (50.0, 300));
    assert_eq!(
        [&*manager.log_encoding, &*manager.log_level],
        ["json", "info"]
    );
    assert!(
        !manager.enable_leader_election
            && manager.leader_election_release_on_cancel
            && manager.watch_all_namespaces
    );
    let seconds = [
        manager.leader_election_lease_duration,
        manager.leader_election_renew_deadline,
        manager.leader_election_retry_period,
        manager.max_retry_delay,
    ];
    assert_eq!(seconds.map(|duration| duration.as_secs()), [35, 30, 5, 900]);
    assert_eq!(manager.min_retry_delay.as_millis(), 750);
    assert_eq!(
        manager.watch_configs_label_selector,
        "reconcile.fluxcd.io/watch=Enabled"
    );
    assert_eq!(read.storage.storage_path, PathBuf::from("/data"));
    assert_eq!(
        [&*read.storage.storage_addr, &*read.storage.storage_adv_addr],
        [":9090", ""]
    );
    assert_eq!(
        (
            read.storage.artifact_retention_ttl.as_secs(),
            read.storage.artifact_retention_records
        ),
        (60, 2)
    );
    assert_eq!(read.storage.artifact_digest_algo, "sha256");
}

#[test]
fn label_selector_flags_are_validated() {
    // RT-WAT-005
    for good in [
        "",
        "a",
        "!a",
        "a=b",
        "a==b",
        "a!=b",
        "a in (b, c)",
        "a notin (b),c",
        "x.io/a=b,!x.io/c",
        "a>5",
        "a=",
    ] {
        assert_eq!(check_selector(good), Ok(()), "{good}");
    }
    // RT-WAT-007, SC-PROC-030, KC-PROC-024
    for bad in [
        "a b",
        "=b",
        "a in b",
        "a in (b",
        "a=b c",
        "a,,b",
        "/a=b",
        "-a",
        "a>x",
        "a within (b)",
        "!",
    ] {
        assert!(check_selector(bad).is_err(), "{bad}");
    }
}
