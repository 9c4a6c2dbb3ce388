//! A control plane on loopback: etcd, API server, controller-manager, scheduler, and kwok simulating the nodes.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pki::Pki;
use super::supervisor::{self, Owned, Plan, Program};
use super::{binary, connect, crds};
use crate::cache::{self, Fingerprint};
use crate::failure::{Doing, Failure, Result};

/// Increment it when the output of `bake` changes its meaning.
const BAKE_VERSION: &str = "1";

/// The issuer of ServiceAccount tokens.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The user of kwok and of `bake`, which the audit policy excludes.
const HARNESS: &str = "flux-tests-harness";

/// Settings of a control plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address at which real pods reach the API server; it then listens on all addresses.
    pub advertise: Option<IpAddr>,
    /// Whether kwok simulates the node `fake-1`.
    pub fake_node: bool,
    /// Another control plane of this machine, by its address, whose ServiceAccounts are users here: with the prefix
    /// `trusted:`, by tokens for the audience `second`.
    pub trusts: Option<String>,
    /// The address that it asks whose a bearer token is (`TokenReview`), for tokens that it does not know itself.
    pub token_reviews: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            advertise: None,
            fake_node: true,
            trusts: None,
            token_reviews: None,
        }
    }
}

/// A running control plane, as other processes find it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// Its folder.
    pub folder: PathBuf,
    /// The supervisor's process id; 0 if this process owns the supervisor.
    pub pid: i32,
    /// The API server's port.
    pub port: u16,
    /// Its multi-call binary.
    pub kube: PathBuf,
    /// The key of its CRDs.
    pub crds: String,
}

impl State {
    /// Its certificates.
    pub(crate) fn pki(&self) -> Pki {
        Pki::open(&self.folder.join("pki"))
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The audit log, one line per request.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Writes a kubeconfig for `user`, a member of `group`, and returns its path.
    pub(crate) fn kubeconfig_for(&self, user: &str, group: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{user}.kubeconfig"));
        write_kubeconfig(&path, &self.pki(), self.port, user, group)?;
        Ok(path)
    }
}

/// Starts a control plane in `folder`, which is emptied first, with the checkout's CRDs; stopped when the returned
/// value is dropped.
pub(crate) async fn start_owned(folder: &Path, settings: &Settings) -> Result<(State, Owned)> {
    let (mut state, plan) = prepare(folder, settings).await?;
    let owned = supervisor::start_owned(&state.kube, folder, plan)?;
    state.pid = 0;
    ready(&state).await?;
    Ok((state, owned))
}

/// As [`start_owned`], but it outlives this process, until it is stopped or has had no request for an hour: each
/// request of any client is a line in the audit log.
pub(crate) async fn start_detached(folder: &Path, settings: &Settings) -> Result<State> {
    let (mut state, mut plan) = prepare(folder, settings).await?;
    fs::write(state.audit_log(), "")?; // the supervisor reads it before the first request
    plan.idle_file = Some(state.audit_log());
    plan.idle_seconds = 3600;
    state.pid = supervisor::start_detached(&state.kube, folder, &plan)?;
    if let Err(failure) = ready(&state).await {
        supervisor::end_detached(state.pid, folder)?;
        return Err(failure);
    }
    Ok(state)
}

/// Ports that are currently unused, for this process: other test processes do not get them before it ends. They are below
/// the range of ports that the system assigns to connections, which could otherwise take a port between its choice and its
/// use.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    const TRIES: usize = 1_000;
    let reservations = cache::folder()?.join("ports");
    let mut ports = [0; N];
    for port in &mut ports {
        let free = (0..TRIES).find_map(|_| {
            let candidate = rand::random_range(10_000..32_000_u16);
            let reserved = reserve(&reservations, candidate);
            let unused = || TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)).is_ok();
            (reserved && unused()).then_some(candidate)
        });
        *port = free.ok_or_else(|| Failure::new("no free port was found"))?;
    }
    Ok(ports)
}

/// Whether the port is this process's until it ends, which the lock on a file of its number says.
fn reserve(folder: &Path, port: u16) -> bool {
    static RESERVED: Mutex<Vec<fs::File>> = Mutex::new(Vec::new());
    let lock = || {
        fs::create_dir_all(folder).ok()?;
        let file = fs::File::create(folder.join(port.to_string())).ok()?;
        file.try_lock().ok()?;
        RESERVED.lock().ok()?.push(file);
        Some(())
    };
    lock().is_some()
}

async fn prepare(folder: &Path, settings: &Settings) -> Result<(State, Plan)> {
    let kube = tokio::task::spawn_blocking(binary::kube).await??;
    let crds = crds::key()?;
    let baked = prepared_data(&kube, &crds).await?;
    if folder.exists() {
        fs::remove_dir_all(folder).doing(format!("empty {}", folder.display()))?;
    }
    cache::copy_folder(&baked, folder)?;
    plan(folder, kube, crds, settings)
}

/// A folder with the certificates and the etcd data of a control plane that already has the CRDs and the fake node.
/// Starting from a copy takes a tenth of a second longer than starting empty; creating the CRDs would take five
/// seconds.
async fn prepared_data(kube: &Path, crds: &str) -> Result<PathBuf> {
    let version = kube.parent().and_then(Path::file_name).unwrap_or_default();
    let key = Fingerprint::default()
        .with(BAKE_VERSION)
        .with(version.as_encoded_bytes())
        .with(crds)
        .key();
    let (kube, crds) = (kube.to_path_buf(), crds.to_owned());
    let parent = cache::folder()?.join("baked");
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        cache::folder_of(&parent, &key, |folder| {
            runtime.block_on(bake(folder, kube, crds))
        })
    })
    .await?
}

async fn bake(folder: &Path, kube: PathBuf, crds: String) -> Result {
    Pki::create(&folder.join("pki"))?;
    let work = folder.join("work");
    cache::copy_folder(&folder.join("pki"), &work.join("pki"))?;
    let (state, plan) = plan(
        &work,
        kube,
        crds,
        &Settings {
            fake_node: false,
            ..Settings::default()
        },
    )?;
    let mut owned = supervisor::start_owned(&state.kube, &work, plan)?;
    ready(&state).await?;
    let client = connect(&state.kubeconfig()).await?;
    crds::apply(&client).await?;
    create_fake_node(&client).await?;
    default_service_account(&client).await?;
    owned.end();
    fs::rename(work.join("etcd"), folder.join("etcd"))?;
    fs::remove_dir_all(work)?;
    Ok(())
}

fn plan(folder: &Path, kube: PathBuf, crds: String, settings: &Settings) -> Result<(State, Plan)> {
    let [port, client, peer] = free_ports()?;
    let state = State {
        folder: folder.to_path_buf(),
        pid: 0,
        port,
        kube,
        crds,
    };
    let pki = state.pki();
    if let Some(issuer) = &settings.trusts {
        let trust = serde_json::to_vec(&authentication(issuer, &pki)?)?;
        fs::write(folder.join("authentication.json"), trust)?;
    }
    if let Some(address) = &settings.token_reviews {
        let webhook = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "reviews",
            "clusters": [{"name": "reviews", "cluster": {"server": address}}],
            "users": [{"name": "reviews", "user": {}}],
            "contexts": [{"name": "reviews", "context": {"cluster": "reviews", "user": "reviews"}}],
        });
        fs::write(folder.join("reviews.json"), webhook.to_string())?;
    }
    write_kubeconfig(&state.kubeconfig(), &pki, port, "admin", "system:masters")?;
    fs::write(
        folder.join("audit-policy.json"),
        serde_json::to_vec(&audit_policy())?,
    )?;

    let live = format!("https://127.0.0.1:{port}/livez");
    let program = |name: &str, after: &str, args: Vec<String>| Program {
        name: name.to_owned(),
        args,
        log: folder.join(format!("{name}.log")),
        after: after.to_owned(),
        graceful: name == "etcd",
        ..Program::default()
    };
    let mut programs = vec![
        program("etcd", "", etcd(folder, client, peer)),
        program("kube-apiserver", "", apiserver(&state, client, settings)),
    ];
    for (name, user) in [
        ("kube-controller-manager", "system:kube-controller-manager"),
        ("kube-scheduler", "system:kube-scheduler"),
    ] {
        let kubeconfig = state.kubeconfig_for(user, "")?;
        let mut args = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ];
        if name == "kube-controller-manager" {
            args.extend([
                "--use-service-account-credentials=true".to_owned(),
                format!("--service-account-private-key-file={}", pki.path("sa.key").display()),
                format!("--root-ca-file={}", pki.path("ca.crt").display()),
                "--controllers=*,-node-ipam-controller,-node-route-controller,-cloud-node-lifecycle-controller".to_owned(),
            ]);
        }
        programs.push(program(name, &live, args));
    }
    if settings.fake_node {
        let stages = std::process::Command::new(&state.kube)
            .arg("kwok-stages")
            .output()
            .doing("run kwok-stages")?;
        fs::write(folder.join("stages.yaml"), stages.stdout)?;
        let kubeconfig = state.kubeconfig_for(HARNESS, "system:masters")?;
        let args = vec![
            format!("--config={}", folder.join("stages.yaml").display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
            "--cidr=10.244.0.0/16".to_owned(),
            "--node-ip=127.0.0.1".to_owned(),
            "--enable-crds=".to_owned(),
            // Without a Lease the controller-manager considers the node lost after 50 seconds, and its pods not ready.
            "--node-lease-duration-seconds=40".to_owned(),
        ];
        programs.push(program("kwok", &live, args));
    }
    Ok((
        state,
        Plan {
            programs,
            ..Plan::default()
        },
    ))
}

fn etcd(folder: &Path, client: u16, peer: u16) -> Vec<String> {
    let (client, peer) = (
        format!("http://127.0.0.1:{client}"),
        format!("http://127.0.0.1:{peer}"),
    );
    vec![
        "--name=tests".to_owned(),
        format!("--data-dir={}", folder.join("etcd").display()),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=tests={peer}"),
    ]
}

fn apiserver(state: &State, etcd: u16, settings: &Settings) -> Vec<String> {
    let pki = state.pki();
    let file = |flag: &str, name: &str| format!("--{flag}={}", pki.path(name).display());
    let mut args = vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        format!("--secure-port={}", state.port),
        file("client-ca-file", "ca.crt"),
        file("tls-cert-file", "apiserver.crt"),
        file("tls-private-key-file", "apiserver.key"),
        file("kubelet-client-certificate", "kubelet-client.crt"),
        file("kubelet-client-key", "kubelet-client.key"),
        file("service-account-key-file", "sa.pub"),
        file("service-account-signing-key-file", "sa.key"),
        format!(
            "--service-account-issuer={}",
            if settings.trusts.is_some() {
                "https://second.example"
            } else {
                ISSUER
            }
        ),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!(
            "--audit-policy-file={}",
            state.folder.join("audit-policy.json").display()
        ),
        format!("--audit-log-path={}", state.audit_log().display()),
        "--audit-log-maxsize=1000".to_owned(),
    ];
    if settings.trusts.is_some() {
        let file = state.folder.join("authentication.json");
        args.push(format!("--authentication-config={}", file.display()));
    }
    if settings.token_reviews.is_some() {
        let file = state.folder.join("reviews.json");
        args.push(format!(
            "--authentication-token-webhook-config-file={}",
            file.display()
        ));
        args.push("--authentication-token-webhook-version=v1".to_owned());
    }
    match settings.advertise {
        Some(address) => {
            args.extend([
                "--bind-address=0.0.0.0".to_owned(),
                format!("--advertise-address={address}"),
            ]);
        }
        None => args.extend(
            [
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
            ]
            .map(str::to_owned),
        ),
    }
    args
}

/// The configuration to trust the tokens of another control plane.
fn authentication(issuer: &str, pki: &Pki) -> Result<serde_json::Value> {
    let issuer = issuer.trim_end_matches('/');
    Ok(json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {
                "url": ISSUER,
                "discoveryURL": format!("{issuer}/.well-known/openid-configuration"),
                "audiences": ["second"],
                "certificateAuthority": pki.ca()?,
            },
            "claimMappings": {"username": {"claim": "sub", "prefix": "trusted:"}},
        }],
    }))
}

/// One line for each completed request and for each watch that began, except those of the cluster's own programs.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
            {"level": "None", "users": [
                HARNESS, "system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:anonymous"
            ]},
            {"level": "Metadata"}
        ]
    })
}

fn write_kubeconfig(path: &Path, pki: &Pki, port: u16, user: &str, group: &str) -> Result {
    let pair = pki.pair(user, group, &[])?;
    let base64 = |text: &str| BASE64_STANDARD.encode(text);
    // JSON is valid YAML.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": base64(&pki.ca()?),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": base64(&pair.certificate),
            "client-key-data": base64(&pair.key),
        }}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
        "current-context": "tests",
    });
    fs::write(path, serde_json::to_vec_pretty(&config)?).doing(format!("write {}", path.display()))
}

/// Waits until the API server serves everything, including the CRDs.
async fn ready(state: &State) -> Result {
    let client = connect(&state.kubeconfig()).await?;
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        match answers(&client, "/readyz").await {
            Ok(()) => break,
            Err(failure) if Instant::now() > deadline || ended(state) => {
                return Err(Failure::new(format!(
                    "the control plane in {} does not become ready: {failure}\n{}",
                    state.folder.display(),
                    log_tails(&state.folder)
                )));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
    crds::served(&client, deadline).await
}

/// Whether a detached control plane responds.
pub(crate) async fn is_alive(state: &State) -> bool {
    if !supervisor::runs(state.pid, &state.folder) {
        return false;
    }
    match connect(&state.kubeconfig()).await {
        Ok(client) => answers(&client, "/livez").await.is_ok(),
        Err(_) => false,
    }
}

async fn answers(client: &Client, path: &str) -> Result {
    let request = http::Request::get(path).body(Vec::new())?;
    tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await??;
    Ok(())
}

fn ended(state: &State) -> bool {
    fs::read_to_string(state.folder.join("supervise.log")).is_ok_and(|log| log.contains("ending: "))
}

/// The end of each program's log.
fn log_tails(folder: &Path) -> String {
    let is_log =
        |name: &Path| name.extension().is_some_and(|end| end == "log") && name != "audit.log";
    let mut text = String::new();
    for path in cache::files(folder, is_log).unwrap_or_default() {
        let log = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        let _ = writeln!(text, "--- {}\n{last}", path.display());
    }
    text
}

async fn create_fake_node(client: &Client) -> Result {
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "fake-1",
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": "fake-1",
            },
        },
    });
    nodes
        .patch(
            "fake-1",
            &PatchParams::apply(super::FIELD_MANAGER).force(),
            &Patch::Apply(&node),
        )
        .await?;
    Ok(())
}

/// Waits for the service account without which no pod can be created in the namespace `default`.
async fn default_service_account(client: &Client) -> Result {
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), "default");
    let deadline = Instant::now() + Duration::from_mins(1);
    while accounts.get_opt("default").await?.is_none() {
        if Instant::now() > deadline {
            return Err(Failure::new(
                "the controller-manager did not create the default service account",
            ));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}
