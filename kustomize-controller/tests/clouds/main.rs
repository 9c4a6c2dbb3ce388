//! Kustomizations whose ServiceAccounts are identities of clouds: they decrypt with the clouds' key services, and apply to
//! clusters that the clouds know. The clouds stand-ins check each request's signature and body; the cluster is a second real
//! control plane, which asks the stand-ins whose a token is, as clusters of clouds do.

#[allow(dead_code, reason = "shared with the tests of decryption")]
#[path = "../decryption/material.rs"]
mod material;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clouds::Clouds;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kind_tests::controller::Settings;
use kind_tests::{Applier, Cluster, KUSTOMIZATION, Result, SECRET, Source, ensure};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::material::{data_key, for_service};

const ROLE: &str = "arn:aws:iam::123456789012:role/flux";
const CLIENT: &str = "client-1";
const WORKLOAD_POOL: &str =
    "projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";

/// The clouds, and a controller whose requests to their names reach them.
struct World {
    clouds: Clouds,
    applier: Applier,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(topic: &str, settings: Settings) -> Result<Self> {
        let (clouds, folder) = (Clouds::start(), tempfile::TempDir::new()?);
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, clouds.authority().pem())?;
        let settings = settings
            .env("SSL_CERT_FILE", authority.to_string_lossy())
            .env("HTTPS_PROXY", clouds.proxy().url())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("GCE_METADATA_HOST", clouds.metadata());
        let applier = Applier::start(topic, settings).await?;
        Ok(Self {
            clouds,
            applier,
            _folder: folder,
        })
    }

    /// Makes a ServiceAccount an identity of all three clouds.
    async fn account(&self, name: &str) -> Result {
        let namespace = &self.applier.namespace;
        let annotations = json!({
            "eks.amazonaws.com/role-arn": ROLE,
            "azure.workload.identity/tenant-id": "tenant-1",
            "azure.workload.identity/client-id": CLIENT,
            "gcp.auth.fluxcd.io/workload-identity-provider": WORKLOAD_POOL,
            "iam.gke.io/gcp-service-account": "flux@project-1.iam.gserviceaccount.com",
        });
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "annotations": annotations}});
        namespace.apply(&account.to_string()).await?;
        let subject = format!("system:serviceaccount:{}:{name}", namespace.name());
        let google = format!("//iam.googleapis.com/{WORKLOAD_POOL}");
        for (identity, audience) in [
            (ROLE, "sts.amazonaws.com"),
            (CLIENT, "api://AzureADTokenExchange"),
            (&*google, &*google),
        ] {
            self.clouds.trust(identity, audience, &subject);
        }
        Ok(())
    }
}

/// The entries of sops for a key of each cloud, by name: the clouds give back what they are sent.
fn cloud_keys() -> [(&'static str, String); 4] {
    let encrypted = data_key();
    let key = STANDARD.decode(encrypted).unwrap_or_default();
    let arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let created = "created_at: '2026-01-02T03:04:05Z'";
    [
        (
            "aws",
            format!(
                "    kms:\n        - arn: {arn}\n          {created}\n          enc: {encrypted}\n"
            ),
        ),
        (
            "aws-role",
            format!(
                "    kms:\n        - arn: {arn}\n          role: {ROLE}-of-keys\n          {created}\n          enc: {encrypted}\n"
            ),
        ),
        (
            "azure",
            format!(
                "    azure_kv:\n        - vault_url: https://flux.vault.azure.net\n          name: flux\n          version: '1'\n          {created}\n          enc: {}\n",
                URL_SAFE_NO_PAD.encode(&key)
            ),
        ),
        (
            "gcp",
            format!(
                "    gcp_kms:\n        - resource_id: projects/project-1/locations/global/keyRings/r/cryptoKeys/k\n          {created}\n          enc: {encrypted}\n"
            ),
        ),
    ]
}

#[tokio::test]
async fn a_service_account_decrypts_with_the_keys_of_each_cloud() -> Result {
    let world = World::start("sops-identity", Settings::default()).await?;
    let World {
        clouds, applier, ..
    } = &world;
    world.account("decryptor").await?;
    let namespace = applier.namespace.name();
    for (number, (name, key)) in cloud_keys().into_iter().enumerate() {
        let revision = format!("main@sha1:{number}");
        applier
            .publish(&revision, &[("secret.yaml", &for_service(&key))])
            .await?;
        let decryption = "decryption: {provider: sops, serviceAccountName: decryptor}";
        let yaml = applier.kustomization("app", &["prune: true", decryption]);
        applier.namespace.apply(&yaml).await?;
        // KC-SOPS-044, KC-SOPS-045
        applier.applied("app", &revision).await?;
        let secret = applier.namespace.get(SECRET, "kms").await?;
        let secret = secret.unwrap_or_default();
        let token = secret["data"]["token"].as_str().unwrap_or_default();
        assert_eq!(
            STANDARD.decode(token).unwrap_or_default(),
            b"very-secret",
            "{name}"
        );
        applier.namespace.delete(SECRET, "kms").await?;
    }
    // KC-SOPS-045: the exchange of each provider
    let sts = clouds.to("sts.eu-west-1.amazonaws.com");
    let session = format!("decryptor.{namespace}.eu-west-1.fluxcd.io");
    assert_eq!(sts[0].field("RoleSessionName"), session);
    // KC-SOPS-041: the key's own role is assumed with the credentials of the account
    let assumed = sts
        .iter()
        .find(|request| request.field("Action") == "AssumeRole");
    let assumed = assumed.ok_or_else(|| kind_tests::Failure::new("no role was assumed"))?;
    assert_eq!(assumed.field("RoleArn"), format!("{ROLE}-of-keys"));
    ensure!(
        assumed.field("RoleSessionName").starts_with("sops@"),
        "{assumed:?}"
    );
    assert_eq!(clouds.to("login.microsoftonline.com").len(), 1);
    assert_eq!(clouds.to("sts.googleapis.com").len(), 1);
    assert_eq!(clouds.to("iamcredentials.googleapis.com").len(), 1);

    // A ServiceAccount that the clouds do not know decrypts nothing.
    let other = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: other, annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::123456789012:role/other'}}}";
    applier.namespace.apply(other).await?;
    let [(_, aws), ..] = cloud_keys();
    applier
        .publish("main@sha1:9", &[("secret.yaml", &for_service(&aws))])
        .await?;
    let decryption = "decryption: {provider: sops, serviceAccountName: other}";
    let yaml = applier.kustomization("app", &["prune: true", decryption]);
    applier.namespace.apply(&yaml).await?;
    let text = "AccessDenied: Not authorized to perform";
    applier.says("app", "BuildFailed", text).await?;
    Ok(())
}

/// A second control plane that asks the clouds whose a token is, with a namespace of this name.
async fn second(clouds: &Clouds, namespace: &str) -> Result<(Cluster, kube::Client)> {
    let settings = kind_tests::Settings {
        fake_node: false,
        token_reviews: Some(clouds.token_reviews()),
        ..kind_tests::Settings::default()
    };
    let cluster = Cluster::own(settings).await?;
    let client = cluster.client().await?;
    let wanted = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &wanted).await?;
    let users = ["aws", "azure", "gcp"];
    let subjects: Vec<Value> = users
        .iter()
        .map(|user| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("cloud:{user}")}))
        .collect();
    let admins = serde_json::from_value(json!({
        "metadata": {"name": "clouds"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": subjects,
    }))?;
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.create(&PostParams::default(), &admins).await?;
    Ok((cluster, client))
}

#[tokio::test]
async fn the_clouds_say_where_their_clusters_are_and_give_tokens_for_them() -> Result {
    if Source::find()? != Source::Local {
        println!("skipped: only a local control plane can be told whom to ask");
        return Ok(());
    }
    // KC-REMOTE-012, KC-PROC-028: neither the flag nor an account in the ConfigMap needs a gate
    let settings = Settings::default().flag("--default-kubeconfig-service-account=reacher");
    let world = World::start("cloud-clusters", settings).await?;
    let World {
        clouds, applier, ..
    } = &world;
    let namespace = applier.namespace.name().to_owned();
    let (cluster, client) = second(clouds, &namespace).await?;
    let kubeconfig: Value = serde_json::from_slice(&std::fs::read(cluster.kubeconfig())?)?;
    let described = &kubeconfig["clusters"][0]["cluster"];
    let address = described["server"].as_str().unwrap_or_default();
    let ca = described["certificate-authority-data"]
        .as_str()
        .unwrap_or_default();
    let ca = String::from_utf8(STANDARD.decode(ca).unwrap_or_default())?;
    let aws = "arn:aws:eks:eu-west-1:123456789012:cluster/prod";
    let azure = "/subscriptions/01234567-89ab-cdef-0123-456789abcdef/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/prod";
    let gcp = "projects/project-1/locations/europe-west1/clusters/prod";
    for id in [aws, azure, gcp] {
        clouds.add_cluster(clouds::Cluster {
            id: id.to_owned(),
            address: address.to_owned(),
            ca: ca.clone(),
        });
    }
    world.account("reacher").await?;
    world.account("named").await?;
    let map = |provider: &str, more: Value| {
        let mut data = json!({"provider": provider});
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("remote-{provider}")}, "data": data})
            .to_string()
    };
    let maps: Api<ConfigMap> = Api::all(client.clone());
    for (provider, id, account, describes) in [
        // KC-REMOTE-014, RT-ACL-017
        ("aws", aws, "", "eks.eu-west-1.amazonaws.com"),
        // KC-REMOTE-015, RT-ACL-018
        ("azure", azure, "named", "management.azure.com"),
        // KC-REMOTE-016, RT-ACL-019
        ("gcp", gcp, "", "container.googleapis.com"),
    ] {
        let mut more = json!({"cluster": id});
        if !account.is_empty() {
            more["serviceAccountName"] = json!(account);
        }
        applier.namespace.apply(&map(provider, more)).await?;
        let name = format!("of-{provider}");
        let manifest = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {provider}}}\ndata: {{v: '1'}}\n"
        );
        let revision = format!("main@sha1:{provider}");
        applier.publish(&revision, &[("a.yaml", &manifest)]).await?;
        let reference = format!("kubeConfig: {{configMapRef: {{name: remote-{provider}}}}}");
        let yaml = applier.kustomization(&name, &["prune: true", "wait: true", &reference]);
        applier.namespace.apply(&yaml).await?;
        applier.applied(&name, &revision).await?;
        let fields = format!("metadata.name={provider},metadata.namespace={namespace}");
        let applied = maps.list(&ListParams::default().fields(&fields)).await?;
        ensure!(applied.items.len() == 1, "{provider}: not applied there");
        let described = clouds.to(describes).len();
        ensure!(described > 0, "{provider}: nobody said where it is");
        // KC-REMOTE-005: what is known of a cluster is kept
        applier.run(&name).await?;
        applier.run(&name).await?;
        assert_eq!(clouds.to(describes).len(), described, "{provider}");
        // With both address and authority nothing is asked for; the address of AKS has to be the cluster's.
        let given = json!({"cluster": id, "address": address, "ca.crt": ca});
        applier.namespace.apply(&map(provider, given)).await?;
        clouds.clear_requests();
        let suspended = json!({"spec": {"suspend": true}});
        applier
            .namespace
            .merge(KUSTOMIZATION, &name, suspended)
            .await?;
    }
    // KC-REMOTE-014: the ARN is needed
    applier
        .namespace
        .apply(&map("aws", json!({"cluster": "prod"})))
        .await?;
    let reference = "kubeConfig: {configMapRef: {name: remote-aws}}";
    let yaml = applier.kustomization("odd", &["prune: true", reference]);
    applier.namespace.apply(&yaml).await?;
    applier
        .says(
            "odd",
            "ReconciliationFailed",
            "invalid EKS cluster ARN: 'prod'",
        )
        .await?;
    // KC-REMOTE-015: another address than the cluster's own
    let other = json!({"cluster": azure, "address": "https://other.example"});
    applier.namespace.apply(&map("azure", other)).await?;
    let reference = "kubeConfig: {configMapRef: {name: remote-azure}}";
    let yaml = applier.kustomization("odd", &["prune: true", reference]);
    applier.namespace.apply(&yaml).await?;
    let text = format!(
        "no kubeconfig found for AKS cluster {azure} matching the specified address 'https://other.example'. cluster addresses: ['{address}']"
    );
    applier.says("odd", "ReconciliationFailed", &text).await?;
    // KC-REMOTE-016: an unknown cluster
    let unknown = json!({"cluster": "projects/project-1/locations/europe-west1/clusters/none"});
    applier.namespace.apply(&map("gcp", unknown)).await?;
    let reference = "kubeConfig: {configMapRef: {name: remote-gcp}}";
    let yaml = applier.kustomization("odd", &["prune: true", reference]);
    applier.namespace.apply(&yaml).await?;
    let text =
        "failed to describe GKE cluster 'projects/project-1/locations/europe-west1/clusters/none'";
    applier.says("odd", "ReconciliationFailed", text).await?;
    Ok(())
}
