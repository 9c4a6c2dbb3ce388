//! A real node: Debian's containerd and runc, with the kubelet, kube-proxy and cluster DNS of the multi-call binary.
//!
//! It requires root, and there is one per machine: the bridge, its address range and the kubelet's port are fixed.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::Api;
use kube::api::DeleteParams;
use rcgen::SanType;
use serde_json::json;

use crate::cache;
use crate::cluster::pki::NODE_GATEWAY;
use crate::cluster::supervisor::{self, Owned, Plan, Program};
use crate::cluster::{Cluster, Settings, local};
use crate::failure::{Doing, Failure, Result};
use crate::image::Image;

/// The host's address on the node's bridge, at which pods reach it.
pub const GATEWAY: IpAddr = NODE_GATEWAY;

const NAME: &str = "real-1";
const BRIDGE: &str = "flux0";
const SUBNET: &str = "10.88.7.0/24";
const FIRST_POD: &str = "10.88.7.10";
const KUBELET_PORT: u16 = 10_250;
/// Socket paths must be short, so this is not in the cache.
const RUN: &str = "/run/flux-tests-node";
const PAUSE: &str = "localhost/pause:1";

/// A separate cluster with one real node; both are stopped on drop.
pub struct Node {
    cluster: Cluster,
    folder: PathBuf,
    /// In stop order.
    programs: Vec<Owned>,
    /// Keeps other test processes from using the node.
    _lock: fs::File,
}

/// Why this machine cannot run a real node, or `None`.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a real node needs root".to_owned());
    }
    let programs = [
        "containerd",
        "ctr",
        "runc",
        "ip",
        "iptables",
        "iptables-save",
        "sysctl",
    ];
    let absent: Vec<_> = programs
        .into_iter()
        .filter(|program| find_program(program).is_none())
        .collect();
    if !absent.is_empty() || !Path::new("/usr/lib/cni/bridge").exists() {
        return Some(format!(
            "a real node needs the Debian packages containerd, runc, containernetworking-plugins, iptables and iproute2 \
             (not found: {})",
            if absent.is_empty() {
                "/usr/lib/cni/bridge".to_owned()
            } else {
                absent.join(", ")
            }
        ));
    }
    None
}

impl Node {
    /// Starts a control plane and a node with these images (tar files), and waits until the node is ready.
    pub async fn start(images: &[PathBuf]) -> Result<Self> {
        if let Some(why) = missing() {
            return Err(Failure::new(why));
        }
        let lock =
            tokio::task::spawn_blocking(|| cache::lock(Path::new("/run/lock/flux-tests-node")))
                .await??;
        clean();
        // The bridge comes first: it has the API server's address.
        run("ip", &["link", "add", BRIDGE, "type", "bridge"])?;
        run(
            "ip",
            &["addr", "add", &format!("{NODE_GATEWAY}/24"), "dev", BRIDGE],
        )?;
        run("ip", &["link", "set", BRIDGE, "up"])?;
        run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;

        let settings = Settings {
            advertise: Some(NODE_GATEWAY),
            fake_node: false,
            ..Settings::default()
        };
        let cluster = Cluster::own(settings).await?;
        let state = cluster
            .local()
            .ok_or_else(|| Failure::new("the cluster is not local"))?
            .clone();
        let folder = state.folder.join("node");
        let mut node = Self {
            cluster,
            folder,
            programs: Vec::new(),
            _lock: lock,
        };
        node.start_containerd(images).await?;
        node.start_kubelet(&state)?;
        node.ready().await?;
        Ok(node)
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    async fn start_containerd(&mut self, images: &[PathBuf]) -> Result {
        let folder = self.folder.join("containerd");
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(format!("{RUN}/cni"))?;
        fs::write(folder.join("config.toml"), containerd_config(&folder))?;
        fs::write(
            format!("{RUN}/cni/10-bridge.conflist"),
            serde_json::to_vec(&cni_config())?,
        )?;
        let containerd = find_program("containerd").ok_or_else(|| Failure::new("no containerd"))?;
        let program = Program {
            name: "containerd".to_owned(),
            path: containerd.to_string_lossy().into_owned(),
            args: vec![
                "-c".to_owned(),
                folder.join("config.toml").to_string_lossy().into_owned(),
            ],
            log: folder.join("containerd.log"),
            graceful: true,
            ..Program::default()
        };
        self.supervise(&folder, vec![program])?;

        let deadline = Instant::now() + Duration::from_mins(1);
        while ctr(&["version"]).is_err() {
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "containerd does not respond: see {}",
                    folder.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut tars = vec![pause_image()?];
        tars.extend_from_slice(images);
        for tar in &tars {
            ctr(&["-n", "k8s.io", "images", "import", &tar.to_string_lossy()])?;
        }
        Ok(())
    }

    fn start_kubelet(&mut self, state: &local::State) -> Result {
        let folder = self.folder.join("kubelet");
        fs::create_dir_all(&folder)?;
        let pki = state.pki();
        let names = [
            SanType::DnsName(NAME.try_into()?),
            SanType::IpAddress(NODE_GATEWAY),
        ];
        pki.issue(
            "kubelet",
            &format!("system:node:{NAME}"),
            "system:nodes",
            &names,
        )?;
        let kubelet_config = folder.join("config.json");
        fs::write(
            &kubelet_config,
            serde_json::to_vec_pretty(&kubelet_configuration(state, &folder))?,
        )?;
        fs::write(
            folder.join("Corefile"),
            corefile(&state.kubeconfig_for("system:kube-dns", "system:masters")?),
        )?;

        let node_user = state.kubeconfig_for(&format!("system:node:{NAME}"), "system:nodes")?;
        let proxy_user = state.kubeconfig_for("system:kube-proxy", "")?;
        let program = |name: &str, args: Vec<String>| Program {
            name: name.to_owned(),
            args,
            log: folder.join(format!("{name}.log")),
            graceful: true,
            ..Program::default()
        };
        let programs = vec![
            program(
                "kubelet",
                vec![
                    format!("--config={}", kubelet_config.display()),
                    format!("--kubeconfig={}", node_user.display()),
                    format!("--root-dir={}", folder.join("root").display()),
                    format!("--cert-dir={}", folder.join("pki").display()),
                    format!("--hostname-override={NAME}"),
                    format!("--node-ip={NODE_GATEWAY}"),
                ],
            ),
            program(
                "kube-proxy",
                vec![
                    format!("--kubeconfig={}", proxy_user.display()),
                    format!("--hostname-override={NAME}"),
                    "--proxy-mode=iptables".to_owned(),
                    format!("--cluster-cidr={SUBNET}"),
                    // Conntrack's sysctls are left to the host.
                    "--conntrack-max-per-core=0".to_owned(),
                    "--conntrack-tcp-timeout-established=0".to_owned(),
                    "--conntrack-tcp-timeout-close-wait=0".to_owned(),
                    format!("--healthz-bind-address=127.0.0.1:{}", KUBELET_PORT + 1),
                    format!("--metrics-bind-address=127.0.0.1:{}", KUBELET_PORT + 2),
                ],
            ),
            program(
                "coredns",
                vec![
                    "-conf".to_owned(),
                    folder.join("Corefile").to_string_lossy().into_owned(),
                ],
            ),
        ];
        self.supervise(&folder, programs)
    }

    fn supervise(&mut self, folder: &Path, programs: Vec<Program>) -> Result {
        let kube = self
            .cluster
            .kube()
            .ok_or_else(|| Failure::new("the cluster is not local"))?;
        let plan = Plan {
            programs,
            ..Plan::default()
        };
        // Last started, first stopped.
        self.programs
            .insert(0, supervisor::start_owned(kube, folder, plan)?);
        Ok(())
    }

    async fn ready(&self) -> Result {
        let nodes: Api<KubeNode> = Api::all(self.cluster.client().await?);
        // The copied data folder contains kwok's node, which does not run here.
        nodes.delete("fake-1", &DeleteParams::default()).await?;
        let is_ready = |node: Option<&KubeNode>| {
            let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
            conditions
                .is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        };
        let wait = kube::runtime::wait::await_condition(nodes, NAME, is_ready);
        match tokio::time::timeout(Duration::from_mins(2), wait).await {
            Ok(found) => found.map(|_| ()).doing("wait for the node"),
            Err(_) => Err(Failure::new(format!(
                "the node does not become ready: see {}",
                self.folder.display()
            ))),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Kubelet first, since it would restart what is removed; containerd last, since it knows the containers.
        let containerd = self.programs.pop();
        self.programs.clear();
        if let Some(kube) = self.cluster.kube() {
            let _ = Command::new(kube)
                .args(["kube-proxy", "--cleanup"])
                .output();
        }
        remove_containers();
        drop(containerd);
        clean();
        unmount_below(&self.folder.to_string_lossy());
    }
}

fn containerd_config(folder: &Path) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "{RUN}/containerd"
[grpc]
  address = "{RUN}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{RUN}/cni"
"#,
        root = folder.join("root").display()
    )
}

fn cni_config() -> serde_json::Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "flux-tests",
        "plugins": [
            {
                "type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": SUBNET, "rangeStart": FIRST_POD}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": format!("{RUN}/ipam"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn kubelet_configuration(state: &local::State, folder: &Path) -> serde_json::Value {
    let pki = state.pki();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": format!("unix://{RUN}/containerd.sock"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.path("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.path("kubelet.crt"),
        "tlsPrivateKeyFile": pki.path("kubelet.key"),
        "address": NODE_GATEWAY,
        "port": KUBELET_PORT,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "makeIPTablesUtilChains": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        // The machine's disk may be nearly full, which is irrelevant to the tests.
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "memory.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "clusterDomain": "cluster.local",
        "clusterDNS": [NODE_GATEWAY],
        "podLogsDir": folder.join("logs"),
        "volumePluginDir": folder.join("volume-plugins"),
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "4s",
        "shutdownGracePeriod": "0s",
    })
}

fn corefile(kubeconfig: &Path) -> String {
    format!(
        ".:53 {{\n bind {NODE_GATEWAY}\n errors\n kubernetes cluster.local in-addr.arpa {{\n  kubeconfig {}\n  pods insecure\n }}\n \
         forward . /etc/resolv.conf\n cache 5\n}}\n",
        kubeconfig.display()
    )
}

/// The image of every pod's sandbox: a program that waits forever.
pub(crate) fn pause_image() -> Result<PathBuf> {
    let folder = cache::folder()?.join("pause");
    fs::create_dir_all(&folder)?;
    let (program, tar) = (folder.join("pause"), folder.join("pause.tar"));
    if !tar.exists() {
        let source = folder.join("pause.rs");
        fs::write(&source, "fn main() { loop { std::thread::park() } }\n")?;
        let arguments = [
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "strip=symbols",
            "-o",
        ];
        let (program, source) = (program.to_string_lossy(), source.to_string_lossy());
        run("rustc", &[&arguments[..], &[&program, &source]].concat())?;
        let image = Image {
            reference: PAUSE.to_owned(),
            files: vec![(PathBuf::from(program.as_ref()), "/pause".to_owned())],
            user: "65534:65534".to_owned(),
            env: Vec::new(),
            entrypoint: vec!["/pause".to_owned()],
        };
        image.write(&tar)?;
    }
    Ok(tar)
}

/// Removes what a node leaves behind, including a killed one.
fn clean() {
    if Path::new(RUN).join("containerd.sock").exists() {
        remove_containers();
    }
    unmount_below(&format!("{RUN}/"));
    for link in lines("ip", &["-o", "link", "show", "master", BRIDGE]) {
        if let Some(name) = link
            .split(": ")
            .nth(1)
            .and_then(|name| name.split('@').next())
        {
            let _ = run("ip", &["link", "del", name]);
        }
    }
    for namespace in lines("ip", &["netns", "list"]) {
        let name = namespace.split(' ').next().unwrap_or_default();
        if name.starts_with("cni-") {
            let _ = run("ip", &["netns", "del", name]);
        }
    }
    let _ = run("ip", &["link", "del", BRIDGE]);
    clean_iptables();
    for group in ["kubepods", "k8s.io"] {
        for root in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            remove_groups(&root.path().join(group));
        }
        remove_groups(&Path::new("/sys/fs/cgroup").join(group));
    }
    let _ = fs::remove_dir_all(RUN);
}

fn remove_containers() {
    let namespaced = |arguments: &[&str]| ctr(&[&["-n", "k8s.io"], arguments].concat());
    for task in namespaced(&["tasks", "ls", "-q"])
        .unwrap_or_default()
        .lines()
    {
        let _ = namespaced(&["tasks", "rm", "-f", task]);
    }
    for container in namespaced(&["containers", "ls", "-q"])
        .unwrap_or_default()
        .lines()
    {
        let _ = namespaced(&["containers", "rm", container]);
    }
}

/// The masquerade chains of the bridge plugin, and the chain that kube-proxy's own clean-up leaves.
fn clean_iptables() {
    for chain in ["INPUT", "OUTPUT"] {
        let _ = run("iptables", &["-D", chain, "-j", "KUBE-FIREWALL"]);
    }
    let _ = run("iptables", &["-F", "KUBE-FIREWALL"]);
    let _ = run("iptables", &["-X", "KUBE-FIREWALL"]);
    let rules = lines("iptables-save", &["-t", "nat"]);
    for rule in rules.iter().filter(|rule| rule.contains("flux-tests")) {
        if let Some(rest) = rule.strip_prefix("-A POSTROUTING ") {
            let words: Vec<String> = split_quoted(rest);
            let mut arguments = vec!["-t", "nat", "-D", "POSTROUTING"];
            arguments.extend(words.iter().map(String::as_str));
            let _ = run("iptables", &arguments);
        }
    }
    for chain in rules
        .iter()
        .filter_map(|rule| rule.strip_prefix(":CNI-")?.split(' ').next())
    {
        let chain = format!("CNI-{chain}");
        let _ = run("iptables", &["-t", "nat", "-F", &chain]);
        let _ = run("iptables", &["-t", "nat", "-X", &chain]);
    }
}

/// Splits a listed rule into words, which may be double-quoted with escaped quotes.
fn split_quoted(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words
}

fn remove_groups(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|found| found.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

fn unmount_below(prefix: &str) {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<&str> = points.filter(|point| point.starts_with(prefix)).collect();
    below.sort_unstable();
    for point in below.into_iter().rev() {
        if run("umount", &[point]).is_err() {
            let _ = run("umount", &["-l", point]);
        }
    }
}

fn ctr(arguments: &[&str]) -> Result<String> {
    let socket = format!("{RUN}/containerd.sock");
    run("ctr", &[&["-a", &socket], arguments].concat())
}

fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    run(program, arguments)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let found = find_program(program).unwrap_or_else(|| PathBuf::from(program));
    let output = Command::new(found)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .doing(format!("run {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!(
        "{program} {}: {why}",
        arguments.join(" ")
    )))
}

/// Finds a program, also in root's folders, which are not on every user's path.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::split_quoted;

    #[test]
    fn iptables_rules_are_split_into_shell_words() {
        let rule =
            r#"-s 10.88.7.10/32 -m comment --comment "name: \"flux-tests\" id: \"a\"" -j CNI-1"#;
        let comment = r#"name: "flux-tests" id: "a""#;
        assert_eq!(
            split_quoted(rule),
            [
                "-s",
                "10.88.7.10/32",
                "-m",
                "comment",
                "--comment",
                comment,
                "-j",
                "CNI-1"
            ]
        );
    }
}
