//! The normalised form of applied objects, and field ownership: objects applied by upstream, and fields set by others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flux_apply::{Options, apply_in_stages};
use flux_cluster::{Metadata, Object};
use kind_tests::{Failure, Kind, Result, SECRET, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};

use crate::{Bench, MANAGER};

const POD: Kind = Kind("v1", "Pod");
const LIMIT_RANGE: Kind = Kind("v1", "LimitRange");
const WEBHOOKS: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
);

/// Kinds of a namespace, in the shortest form that the server accepts. Pods get resources of the LimitRange, below the
/// `resources: {}` owned by upstream.
const BRIEF: &[(Kind, &str, &str)] = &[
    (LIMIT_RANGE, "lr", "spec: {limits: [{type: Container, default: {memory: 1Gi}}]}"),
    (Kind("batch/v1", "Job"), "plain", "spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.org/job:1}]}}}"),
    (Kind("batch/v1", "Job"), "labelled", "spec: {template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: c, image: example.org/job:1}]}}}"),
    (Kind("v1", "Pod"), "bare", "spec: {containers: [{name: c, image: example.org/pod:1}]}"),
    (Kind("batch/v1", "CronJob"), "cron", "spec: {schedule: '0 3 1 1 *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.org/job:1}]}}}}}"),
    (Kind("apps/v1", "StatefulSet"), "sts", "spec:
  serviceName: sts
  selector: {matchLabels: {app: sts}}
  template: {metadata: {labels: {app: sts}}, spec: {containers: [{name: c, image: example.org/x:1}]}}
  volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]"),
    (Kind("apps/v1", "DaemonSet"), "ds", "spec: {selector: {matchLabels: {app: ds}}, template: {metadata: {labels: {app: ds}}, spec: {containers: [{name: c, image: example.org/x:1}]}}}"),
    (Kind("apps/v1", "Deployment"), "dep", "spec:
  selector: {matchLabels: {app: dep}}
  template: {metadata: {labels: {app: dep}}, spec: {containers: [{name: c, image: example.org/x:1, resources: {requests: {cpu: 1000m}}}]}}"),
    (Kind("apps/v1", "ReplicaSet"), "rs", "spec: {selector: {matchLabels: {app: rs}}, template: {metadata: {labels: {app: rs}}, spec: {containers: [{name: c, image: example.org/x:1}]}}}"),
    (Kind("v1", "ReplicationController"), "rc", "spec: {selector: {app: rc}, template: {metadata: {labels: {app: rc}}, spec: {containers: [{name: c, image: example.org/x:1}]}}}"),
    (Kind("v1", "Service"), "svc", "spec: {selector: {app: dep}, ports: [{port: 80}]}"),
    (Kind("v1", "PersistentVolumeClaim"), "pvc", "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: none}"),
    (Kind("policy/v1", "PodDisruptionBudget"), "pdb", "spec: {minAvailable: 1, selector: {matchLabels: {app: dep}}}"),
    (Kind("networking.k8s.io/v1", "Ingress"), "ing", "spec: {defaultBackend: {service: {name: svc, port: {number: 80}}}}"),
    (Kind("networking.k8s.io/v1", "NetworkPolicy"), "np", "spec: {podSelector: {}, policyTypes: [Egress]}"),
    (Kind("autoscaling/v2", "HorizontalPodAutoscaler"), "hpa", "spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: dep}, maxReplicas: 3}"),
    (Kind("v1", "ResourceQuota"), "rq", "spec: {hard: {pods: '100'}}"),
    (Kind("v1", "Endpoints"), "ext", "subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}]}]"),
    (Kind("discovery.k8s.io/v1", "EndpointSlice"), "ext-1", "addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 80}]"),
    (Kind("coordination.k8s.io/v1", "Lease"), "lease", "spec: {holderIdentity: me, renewTime: '2026-07-01T00:00:00.500000Z'}"),
    (Kind("rbac.authorization.k8s.io/v1", "RoleBinding"), "rb", "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: none}
subjects: [{kind: ServiceAccount, name: sa}]"),
];

/// The manifest of an object, in the test's namespace if its kind has one.
fn manifest(kind: Kind, name: &str, rest: &str) -> String {
    let namespace = match kind {
        WEBHOOKS => "",
        _ => ", namespace: '${namespace}'",
    };
    let Kind(version, kind) = kind;
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: '{name}'{namespace}}}\n{rest}\n"
    )
}

/// Applies a manifest as upstream's kustomize-controller does.
async fn apply_as_upstream(bench: &Bench, go: &mut Oracle, kind: Kind, object: &Object) -> Result {
    // The namespace has another name in every run; with a fixed one instead, the question matches its record.
    let swap = |value: &Value, from: &str, to: &str| -> Result<Value> {
        Ok(serde_json::from_str(&value.to_string().replace(from, to))?)
    };
    let (own, fixed) = (bench.namespace.name(), "the-namespace");
    let object_there = swap(&object.to_value(), own, fixed)?;
    let question = json!({"mode": "normalise", "object": object_there});
    let Answer::Output(payload) = go.ask(&question) else {
        return Err(Failure::new(format!(
            "upstream cannot normalise {}",
            object.id()
        )));
    };
    let payload = swap(&payload, fixed, own)?;
    let api = bench.namespace.api(kind).await?;
    let params = PatchParams::apply(MANAGER).force();
    api.patch(object.name(), &params, &Patch::Apply(&payload))
        .await?;
    Ok(())
}

/// The UID, which changes when an object is recreated, and the fields that the controller owns.
async fn ownership(bench: &Bench, kind: Kind, name: &str) -> Result<(Value, Value)> {
    let live = bench.namespace.get(kind, name).await?.unwrap_or_default();
    let metadata = &live["metadata"];
    // The entries of the cluster's own controllers change in the meantime.
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let entries = entries.filter(|entry| entry["manager"] == MANAGER);
    let fields = entries.map(|entry| json!([entry["operation"], entry["fieldsV1"]]));
    Ok((metadata["uid"].clone(), fields.collect()))
}

// KC-SSA-003 KC-SSA-004 KC-SSA-005
#[tokio::test]
async fn objects_applied_by_upstream_are_taken_over_without_a_change() -> Result {
    let Some(mut go) = Oracle::start("normalise") else {
        return Ok(());
    };
    let mut bench = Bench::new("apply-swap").await?;
    let yaml: Vec<String> = (BRIEF.iter())
        .map(|(kind, name, rest)| manifest(*kind, name, rest))
        .collect();
    let mut before = Vec::new();
    for ((kind, name, _), yaml) in BRIEF.iter().zip(&yaml) {
        for object in bench.manifests(yaml)? {
            apply_as_upstream(&bench, &mut go, *kind, &object).await?;
        }
        before.push(ownership(&bench, *kind, name).await?);
    }

    let yaml = yaml.join("---\n");
    let forced = Options {
        force: true,
        ..bench.options()
    };
    let changes = bench.apply_with(&yaml, &forced).await?;
    let mut lines = changes.lines();
    ensure!(lines.all(|line| line.ends_with(" unchanged")), "{changes}");

    // The same when everything is written: with another annotation, and without it.
    let mut annotated = bench.objects(&yaml)?;
    for object in &mut annotated {
        let (key, value) = ("by".to_owned(), "us".to_owned());
        object.set_metadata(Metadata::Annotations, [(&key, &value)]);
    }
    let changes = apply_in_stages(&bench.target, &annotated, &forced, &mut bench.memory).await?;
    let changes = changes.to_string();
    let mut lines = changes.lines();
    ensure!(lines.all(|line| line.ends_with(" configured")), "{changes}");
    let changes = bench.apply_with(&yaml, &forced).await?;
    let mut lines = changes.lines();
    ensure!(lines.all(|line| line.ends_with(" configured")), "{changes}");
    for ((kind, name, _), was) in BRIEF.iter().zip(&before) {
        let is = ownership(&bench, *kind, name).await?;
        ensure!(is == *was, "{} {name}: {was:?} became {is:?}", kind.1);
    }
    let pod = bench.namespace.get(POD, "bare").await?.unwrap_or_default();
    let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
    ensure!(limits["memory"] == "1Gi", "the defaults are gone: {pod}");
    Ok(())
}

/// A manifest with empty values, and the values that another manager sets instead.
struct Shared {
    kind: Kind,
    rest: &'static str,
    set: Value,
    at: &'static str,
}

fn shared() -> Vec<Shared> {
    vec![
        Shared {
            kind: Kind("v1", "ServiceAccount"),
            rest: "imagePullSecrets: []\nsecrets: []",
            set: json!({"imagePullSecrets": [{"name": "pull"}]}),
            at: "/imagePullSecrets/0/name",
        },
        Shared {
            kind: Kind("apps/v1", "Deployment"),
            rest: "spec: {paused: false, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}},
                spec: {tolerations: [], nodeSelector: {}, priorityClassName: '', containers: [{name: c, image: x}]}}}",
            set: json!({"spec": {"template": {"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}}}}),
            at: "/spec/template/spec/tolerations/0/key",
        },
        Shared {
            kind: Kind("v1", "PersistentVolumeClaim"),
            rest: "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: none, volumeName: ''}",
            set: json!({"spec": {"volumeName": "bound"}}),
            at: "/spec/volumeName",
        },
        Shared {
            kind: Kind("v1", "Service"),
            rest: "spec: {externalIPs: [], publishNotReadyAddresses: false, selector: {a: b}, ports: [{port: 80}]}",
            set: json!({"spec": {"publishNotReadyAddresses": true}}),
            at: "/spec/publishNotReadyAddresses",
        },
        Shared {
            kind: Kind("networking.k8s.io/v1", "Ingress"),
            rest: "spec: {tls: [], defaultBackend: {service: {name: s, port: {number: 80}}}}",
            set: json!({"spec": {"tls": [{"hosts": ["h.example.org"]}]}}),
            at: "/spec/tls/0/hosts/0",
        },
        Shared {
            kind: Kind("rbac.authorization.k8s.io/v1", "RoleBinding"),
            rest: "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: none}\nsubjects: []",
            set: json!({"subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
            at: "/subjects/0/name",
        },
        Shared {
            kind: WEBHOOKS,
            rest: "webhooks: [{name: a.example.com, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Ignore,
                clientConfig: {caBundle: '', service: {name: x, namespace: ns}}, namespaceSelector: {matchLabels: {never: matches}},
                rules: [{apiGroups: [zz.io], apiVersions: ['*'], operations: [CREATE], resources: ['*']}]}]",
            // Set by the test, which generates a certificate.
            set: Value::Null,
            at: "/webhooks/0/clientConfig/caBundle",
        },
    ]
}

// KC-SSA-003
#[tokio::test]
async fn empty_values_keep_values_of_other_managers() -> Result {
    let mut bench = Bench::new("apply-empty").await?;
    let name = bench.namespace.name().to_owned();
    for Shared {
        kind,
        rest,
        mut set,
        at,
    } in shared()
    {
        if kind.1 == WEBHOOKS.1 {
            let certificate = rcgen::generate_simple_self_signed(["x".to_owned()])?;
            let bundle = BASE64.encode(certificate.cert.pem());
            let live = bench.apply(&manifest(kind, "${namespace}", rest)).await?;
            ensure!(live.ends_with(" created"), "{live}");
            let mut hooks = bench.namespace.get(kind, &name).await?.unwrap_or_default();
            let mut hooks = hooks["webhooks"].take();
            hooks[0]["clientConfig"]["caBundle"] = bundle.into();
            set = json!({"webhooks": hooks});
        } else {
            let made = bench.apply(&manifest(kind, "${namespace}", rest)).await?;
            ensure!(made.ends_with(" created"), "{made}");
        }
        let api = bench.namespace.api(kind).await?;
        let params = PatchParams {
            field_manager: Some("another".to_owned()),
            ..PatchParams::default()
        };
        api.patch(&name, &params, &Patch::Merge(&set)).await?;
        let again = bench.apply(&manifest(kind, "${namespace}", rest)).await;
        let live = bench.namespace.get(kind, &name).await?.unwrap_or_default();
        if kind.1 == WEBHOOKS.1 {
            api.delete(&name, &DeleteParams::default()).await?;
        }
        let again = again?;
        ensure!(again.ends_with(" unchanged"), "{again}");
        let expected = set.pointer(at);
        ensure!(live.pointer(at) == expected, "{}: {live}", kind.1);
    }
    Ok(())
}

// KC-SSA-003
#[tokio::test]
async fn a_secret_with_a_number_as_string_data_is_refused() -> Result {
    let mut bench = Bench::new("apply-number").await?;
    let options = bench.options();
    let yaml = "{apiVersion: v1, kind: Secret, metadata: {name: db, namespace: '${namespace}'}, stringData: {HOST: db.local, PORT: 8080, TLS: true}}";
    let error = bench.refused(yaml, &options).await?;
    ensure!(
        error.starts_with("Secret/ns/db dry-run failed")
            && error.contains(".stringData.PORT: expected string, got "),
        "{error}"
    );
    let secret = bench.namespace.get(SECRET, "db").await?;
    ensure!(secret.is_none(), "it was applied: {secret:?}");
    Ok(())
}
