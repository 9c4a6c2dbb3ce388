//! Tests of the values that a run reads.

use k8s_openapi::ByteString;

use super::*;

fn configs(size: usize) -> Configs {
    let (maps, secrets) = (Cache::default(), Cache::default());
    let mut secret = Secret::default();
    secret.metadata.name = Some("vars".into());
    secret.metadata.namespace = Some("ns".into());
    secret.data = Some([("b".to_owned(), ByteString(b"2".to_vec()))].into());
    secrets.upsert(secret);
    let mut map = ConfigMap::default();
    map.metadata.name = Some("vars".into());
    map.metadata.namespace = Some("ns".into());
    map.data = Some([("a".to_owned(), "x".repeat(size))].into());
    map.binary_data = Some([("c".to_owned(), ByteString(b"3".to_vec()))].into());
    maps.upsert(map);
    Configs {
        config_maps: Reader::Cached(maps),
        secrets: Reader::Cached(secrets),
    }
}

#[tokio::test]
async fn values_are_those_of_data() {
    // KC-SUB-005
    let configs = configs(1);
    let key = Key::new("ns", "vars");
    let claim = Claim::unlimited();
    let mut reading = configs.reading(&claim);
    let map = reading.values(&ValuesKind::ConfigMap, &key, false).await;
    let map = map.ok().flatten().unwrap();
    assert_eq!(map.entries, [("a".to_owned(), b"x".to_vec())]);
    assert!(!map.is_secret);
    let secret = reading.values(&ValuesKind::Secret, &key, false).await;
    let secret = secret.ok().flatten().unwrap();
    assert_eq!(secret.entries, [("b".to_owned(), b"2".to_vec())]);
    assert!(secret.is_secret);
}

#[tokio::test]
async fn only_an_optional_reference_may_be_missing() {
    // KC-SUB-007
    let configs = configs(1);
    let key = Key::new("ns", "other");
    for kind in [ValuesKind::ConfigMap, ValuesKind::Secret] {
        let claim = Claim::unlimited();
        let optional = configs.reading(&claim).values(&kind, &key, true).await;
        assert!(optional.is_ok_and(|values| values.is_none()));
        let needed = configs.reading(&claim).values(&kind, &key, false).await;
        let error = needed.err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("{} \"other\" not found", kind.as_str())
        );
    }
}

#[tokio::test]
async fn the_values_of_a_run_are_bounded() {
    let configs = configs(MAX_VALUES / 2);
    let key = Key::new("ns", "vars");
    let claim = Claim::unlimited();
    let mut reading = configs.reading(&claim);
    let first = reading.values(&ValuesKind::ConfigMap, &key, true).await;
    assert!(first.is_ok());
    let second = reading.values(&ValuesKind::ConfigMap, &key, true).await;
    assert!(matches!(second, Err(ValuesError::TooLarge)));
}

#[tokio::test]
async fn the_values_of_a_run_are_claimed() {
    let configs = configs(1 << 20);
    let key = Key::new("ns", "vars");
    let budget = flux_budget::Budget::new(8 << 20);
    let claim = budget.claim();
    let mut reading = configs.reading(&claim);
    for fits in [true, true, false] {
        let read = reading.values(&ValuesKind::ConfigMap, &key, true).await;
        let refused = matches!(read, Err(ValuesError::Memory(_)));
        assert!(read.is_ok() == fits && refused != fits);
    }
    drop(claim);
    assert_eq!(budget.used(), 0);
}
