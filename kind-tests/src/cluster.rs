//! Finds, starts, shares and stops clusters.

pub(crate) mod binary;
mod crds;
pub(crate) mod kind;
pub(crate) mod local;
pub(crate) mod pki;
pub(crate) mod supervisor;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
pub use local::{Settings, free_ports};

use crate::cache::{self, Fingerprint};
use crate::failure::{Doing, Failure, Result};

/// The field manager of the harness.
pub const FIELD_MANAGER: &str = "kind-tests";

/// A running Kubernetes cluster. Clones refer to the same cluster.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    kubeconfig: PathBuf,
    provider: Provider,
    /// Dropped last: stops the cluster.
    _owned: Option<Owned>,
}

enum Provider {
    /// An external cluster, given by a kubeconfig.
    Kubeconfig,
    Kind {
        name: String,
    },
    Local(local::State),
}

enum Owned {
    Local {
        supervisor: supervisor::Owned,
        folder: PathBuf,
    },
    Kind {
        name: String,
    },
}

impl Drop for Owned {
    fn drop(&mut self) {
        match self {
            Self::Local { supervisor, folder } => {
                supervisor.end();
                if std::env::var_os("FLUX_TEST_KEEP").is_none() {
                    let _ = fs::remove_dir_all(folder);
                }
            }
            Self::Kind { name } => {
                let _ = kind::delete(name);
            }
        }
    }
}

/// The source of test clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `FLUX_TEST_CLUSTER=kubeconfig`: the current context of `KUBECONFIG`.
    Kubeconfig,
    /// `FLUX_TEST_CLUSTER=kind`, or unset with kind and a Docker engine available.
    Kind,
    /// `FLUX_TEST_CLUSTER=local`, or unset without them: the control plane built from Go modules.
    Local,
}

impl Source {
    /// The source selected by this machine and environment.
    pub fn find() -> Result<Self> {
        Self::choose(
            std::env::var("FLUX_TEST_CLUSTER").ok().as_deref(),
            kind::is_available,
        )
    }

    fn choose(asked: Option<&str>, kind_works: impl FnOnce() -> bool) -> Result<Self> {
        match asked {
            Some("kubeconfig") => Ok(Self::Kubeconfig),
            Some("kind") => Ok(Self::Kind),
            Some("local") => Ok(Self::Local),
            None | Some("") => Ok(if kind_works() {
                Self::Kind
            } else {
                Self::Local
            }),
            Some(other) => Err(Failure::new(format!(
                "FLUX_TEST_CLUSTER is {other:?}; it may be kubeconfig, kind or local"
            ))),
        }
    }
}

impl Cluster {
    /// The cluster shared by all tests of this checkout, started by the first one.
    ///
    /// It outlives the process; `cargo run -p kind-tests --bin cluster -- down` stops it, as does an hour without
    /// requests.
    pub async fn shared() -> Result<Self> {
        match Source::find()? {
            Source::Kubeconfig => Self::from_kubeconfig().await,
            Source::Kind => Self::shared_kind().await,
            Source::Local => Self::shared_local().await,
        }
    }

    /// Builds everything that a cluster on this machine needs; returns a description of it.
    pub fn build() -> Result<String> {
        Ok(match Source::find()? {
            Source::Kubeconfig => "nothing to build: the cluster of your kubeconfig".to_owned(),
            Source::Kind => "nothing to build: kind".to_owned(),
            Source::Local => binary::kube()?.display().to_string(),
        })
    }

    /// As [`Cluster::build`]; a build of Kubernetes tells `progress` how far it is.
    pub fn build_with(progress: &dyn Fn(&str)) -> Result {
        if Source::find()? == Source::Local {
            binary::kube_with(progress)?;
        }
        Ok(())
    }

    /// A cluster for a single test, for cluster-scoped objects; stopped when the returned value is dropped.
    pub async fn own(settings: Settings) -> Result<Self> {
        let name = format!("own-{}-{:08x}", std::process::id(), rand::random::<u32>());
        if Source::find()? == Source::Kind && settings.advertise.is_none() {
            let folder = clusters()?;
            let kubeconfig = folder.join(format!("{name}.kubeconfig"));
            let kind_name = format!("flux-{name}");
            let (creating, path) = (kind_name.clone(), kubeconfig.clone());
            blocking(move || kind::create(&creating, &path)).await?;
            let owned = Some(Owned::Kind {
                name: kind_name.clone(),
            });
            crds::apply(&connect(&kubeconfig).await?).await?;
            let provider = Provider::Kind { name: kind_name };
            return Ok(Self(Arc::new(Inner {
                kubeconfig,
                provider,
                _owned: owned,
            })));
        }
        let folder = clusters()?.join(name);
        let (state, supervisor) = local::start_owned(&folder, &settings).await?;
        let owned = Some(Owned::Local { supervisor, folder });
        Ok(Self(Arc::new(Inner {
            kubeconfig: state.kubeconfig(),
            provider: Provider::Local(state),
            _owned: owned,
        })))
    }

    /// Stops the shared cluster, if it runs. Returns whether it did.
    pub async fn end_shared() -> Result<bool> {
        let shared = Shared::open().await?;
        let mut ran = false;
        if let Some(state) = shared.local_state() {
            ran = supervisor::runs(state.pid, &state.folder);
            supervisor::end_detached(state.pid, &state.folder)?;
        }
        if shared.folder.exists() {
            fs::remove_dir_all(&shared.folder)?;
        }
        let _ = fs::remove_file(&shared.state);
        if Source::find()? == Source::Kind && kind::exists(&shared.name)? {
            kind::delete(&shared.name)?;
            ran = true;
        }
        Ok(ran)
    }

    /// The shared cluster, if it is already running.
    pub async fn running() -> Result<Option<Self>> {
        let shared = Shared::open().await?;
        match shared.local_state() {
            Some(state) if local::is_alive(&state).await => Ok(Some(Self::from_local(state))),
            _ => Ok(None),
        }
    }

    /// A client with administrator rights. It belongs to the async runtime that it is created in, so create one per
    /// test.
    pub async fn client(&self) -> Result<Client> {
        connect(&self.0.kubeconfig).await
    }

    /// The path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.0.kubeconfig
    }

    /// The path of a kubeconfig for a user of this name, a cluster administrator whose requests [`crate::requests`] can
    /// identify. The administrator's own if the cluster does not let us create users.
    pub fn kubeconfig_for(&self, user: &str) -> Result<PathBuf> {
        match &self.0.provider {
            Provider::Local(state) => state.kubeconfig_for(user, "system:masters"),
            _ => Ok(self.0.kubeconfig.clone()),
        }
    }

    /// The path of a kubeconfig for a user of this name without any rights except those bound to it; `None` if the
    /// cluster does not let us create users.
    pub fn kubeconfig_without_rights(&self, user: &str) -> Result<Option<PathBuf>> {
        match &self.0.provider {
            Provider::Local(state) => state.kubeconfig_for(user, "").map(Some),
            _ => Ok(None),
        }
    }

    /// The audit log with a line for each request; `None` if the cluster is not ours to configure.
    pub fn audit_log(&self) -> Option<PathBuf> {
        match &self.0.provider {
            Provider::Local(state) => Some(state.audit_log()),
            _ => None,
        }
    }

    /// A one-line description of the cluster and how to reach it.
    pub fn describe(&self) -> String {
        let what = match &self.0.provider {
            Provider::Kubeconfig => "the cluster of your kubeconfig".to_owned(),
            Provider::Kind { name } => format!("the kind cluster {name}"),
            Provider::Local(state) => format!("a local control plane on port {}", state.port),
        };
        format!("{what}, KUBECONFIG={}", self.0.kubeconfig.display())
    }

    /// The multi-call binary of this cluster, which includes `kubectl`; `None` for clusters that we did not build.
    pub fn kube(&self) -> Option<&Path> {
        match &self.0.provider {
            Provider::Local(state) => Some(&state.kube),
            _ => None,
        }
    }

    /// The cluster's name in kind.
    pub(crate) fn kind_name(&self) -> Option<&str> {
        match &self.0.provider {
            Provider::Kind { name } => Some(name),
            _ => None,
        }
    }

    pub(crate) fn local(&self) -> Option<&local::State> {
        match &self.0.provider {
            Provider::Local(state) => Some(state),
            _ => None,
        }
    }

    async fn from_kubeconfig() -> Result<Self> {
        let kubeconfig = std::env::var_os("KUBECONFIG")
            .map(PathBuf::from)
            .or_else(|| {
                std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"))
            })
            .ok_or_else(|| {
                Failure::new("FLUX_TEST_CLUSTER=kubeconfig needs KUBECONFIG to name a file")
            })?;
        let _shared = Shared::open().await?;
        crds::apply(&connect(&kubeconfig).await?).await?;
        Ok(Self(Arc::new(Inner {
            kubeconfig,
            provider: Provider::Kubeconfig,
            _owned: None,
        })))
    }

    async fn shared_kind() -> Result<Self> {
        let shared = Shared::open().await?;
        let kubeconfig = shared.folder.with_extension("kubeconfig");
        if !kind::exists(&shared.name)? {
            let (name, path) = (shared.name.clone(), kubeconfig.clone());
            blocking(move || kind::create(&name, &path)).await?;
        }
        crds::apply(&connect(&kubeconfig).await?).await?;
        let provider = Provider::Kind {
            name: shared.name.clone(),
        };
        Ok(Self(Arc::new(Inner {
            kubeconfig,
            provider,
            _owned: None,
        })))
    }

    async fn shared_local() -> Result<Self> {
        let shared = Shared::open().await?;
        if let Some(mut state) = shared.local_state() {
            let kube = blocking(binary::kube).await?;
            if state.kube == kube && local::is_alive(&state).await {
                if state.crds != crds::key()? {
                    crds::apply(&connect(&state.kubeconfig()).await?).await?;
                    state.crds = crds::key()?;
                    shared.save(&state)?;
                }
                return Ok(Self::from_local(state));
            }
            supervisor::end_detached(state.pid, &state.folder)?;
        }
        let state = local::start_detached(&shared.folder, &Settings::default()).await?;
        shared.save(&state)?;
        Ok(Self::from_local(state))
    }

    fn from_local(state: local::State) -> Self {
        Self(Arc::new(Inner {
            kubeconfig: state.kubeconfig(),
            provider: Provider::Local(state),
            _owned: None,
        }))
    }
}

/// The folder of the shared cluster, locked: while one process looks for it or starts it, others wait.
struct Shared {
    name: String,
    folder: PathBuf,
    state: PathBuf,
    _lock: fs::File,
}

impl Shared {
    async fn open() -> Result<Self> {
        let key = Fingerprint::default()
            .with(cache::workspace().as_os_str().as_encoded_bytes())
            .key();
        let name = format!("flux-tests-{}", &key[..8]);
        let folder = clusters()?.join(&name);
        let lock_file = folder.with_extension("lock");
        let lock = blocking(move || cache::lock(&lock_file)).await?;
        Ok(Self {
            state: folder.with_extension("json"),
            name,
            folder,
            _lock: lock,
        })
    }

    fn local_state(&self) -> Option<local::State> {
        serde_json::from_slice(&fs::read(&self.state).ok()?).ok()
    }

    fn save(&self, state: &local::State) -> Result {
        fs::write(&self.state, serde_json::to_vec_pretty(state)?)
            .doing(format!("write {}", self.state.display()))
    }
}

fn clusters() -> Result<PathBuf> {
    let folder = cache::folder()?.join("clusters");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

async fn connect(kubeconfig: &Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).doing(format!("read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn clusters_are_found_in_the_documented_order() {
        for (asked, kind_works, found) in [
            (Some("kubeconfig"), true, Some(Source::Kubeconfig)),
            (Some("kind"), false, Some(Source::Kind)),
            (Some("local"), true, Some(Source::Local)),
            (None, true, Some(Source::Kind)),
            (None, false, Some(Source::Local)),
            (Some(""), false, Some(Source::Local)),
            (Some("minikube"), true, None),
        ] {
            assert_eq!(
                Source::choose(asked, || kind_works).ok(),
                found,
                "{asked:?}, kind works: {kind_works}"
            );
        }
    }
}
