//! A cluster that really runs pods: kind's if Docker and kind work, otherwise a [`Node`] of Debian's own programs.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::cluster::{Cluster, Settings, Source, kind};
use crate::failure::{Doing, Failure, Result};
use crate::node::{self, GATEWAY, Node};

/// A separate cluster that runs pods; stopped on drop.
pub struct PodCluster {
    host: IpAddr,
    nodes: Nodes,
}

enum Nodes {
    Debian(Node),
    Kind(Cluster),
}

impl PodCluster {
    /// Why this machine cannot run one, or `None`.
    ///
    /// # Errors
    ///
    /// As [`Source::find`].
    pub fn missing() -> Result<Option<String>> {
        Ok(match Source::find()? {
            Source::Kind => None,
            Source::Local => node::missing(),
            Source::Kubeconfig => Some(
                "the cluster of your kubeconfig takes no images from a test; unset FLUX_TEST_CLUSTER"
                    .to_owned(),
            ),
        })
    }

    /// Starts one whose nodes have these images (tar files), and the image `localhost/pause:1`, which waits forever.
    ///
    /// # Errors
    ///
    /// If a program fails, with its output.
    pub async fn start(images: &[PathBuf]) -> Result<Self> {
        if Source::find()? != Source::Kind {
            let node = Node::start(images).await?;
            return Ok(Self {
                host: GATEWAY,
                nodes: Nodes::Debian(node),
            });
        }
        let cluster = Cluster::own(Settings::default()).await?;
        let name = cluster
            .kind_name()
            .ok_or_else(|| Failure::new("the cluster is not a kind cluster"))?
            .to_owned();
        let mut tars = images.to_vec();
        let host = tokio::task::spawn_blocking(move || {
            tars.push(node::pause_image()?);
            tars.iter().try_for_each(|tar| kind::load(&name, tar))?;
            kind::host()
        })
        .await??;
        Ok(Self {
            host,
            nodes: Nodes::Kind(cluster),
        })
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        match &self.nodes {
            Nodes::Debian(node) => node.cluster(),
            Nodes::Kind(cluster) => cluster,
        }
    }

    /// The machine's own address, as seen by pods.
    pub fn host(&self) -> IpAddr {
        self.host
    }

    /// Runs kubectl as an administrator and returns its output. With kind it is the one on the path.
    ///
    /// # Errors
    ///
    /// If kubectl is missing or fails, with its output.
    pub fn kubectl(&self, arguments: &[&OsStr]) -> Result<String> {
        let mut command = match self.cluster().kube() {
            Some(kube) => {
                let mut command = Command::new(kube);
                command.arg("kubectl");
                command
            }
            None => Command::new("kubectl"),
        };
        let output = command
            .args(arguments)
            .env("KUBECONFIG", self.cluster().kubeconfig())
            .output()
            .doing("run kubectl")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!("kubectl {arguments:?}: {why}")))
    }
}
