//! From flags to a running process: startup, leadership, shutdown.

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use flux_budget::Budget;
use flux_objects::path;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::runtime::watcher;
use kube::{Api, Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::client::{self, ClientFactory, VersionedKind};
use crate::controller::{Controller, Environment, Reconciler, in_checked_namespace};
use crate::events::Recorder;
use crate::flags::{self, Given, ManagerFlags};
use crate::gates::Gates;
use crate::leader::{self, Election};
use crate::logging::{self, Log};
use crate::metrics::Metrics;
use crate::outcome::chain;
use crate::queue::BackOff;
use crate::run::Kind;
use crate::static_kind::{StaticController, StaticKind};
use crate::telemetry::Traces;
use crate::watch::{Cache, Watched};
use crate::{descriptors, memory, metrics, panics, probes};

/// The names of a controller, and the options that it has.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The name of the controller: event source, Lease, user agent.
    pub controller: &'static str,
    /// The field manager of status writes (RT-KUB-006).
    pub status_manager: &'static str,
    /// The feature gates with their defaults.
    pub gates: &'static [(&'static str, bool)],
    /// The flags and gates that are accepted and have no effect.
    pub pending: Pending,
}

/// Upstream's flags and feature gates that this controller accepts, so that a Deployment need not be changed, but that
/// configure something that it does not support; each with a description of that. If one is set, it is logged at
/// startup.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// The flags, by name without dashes.
    pub flags: &'static [(&'static str, &'static str)],
    /// The feature gates.
    pub gates: &'static [(&'static str, &'static str)],
}

impl Pending {
    /// Logs the flags and gates that are set and have no effect.
    fn log(&self, given: &Given, gates: &[(String, bool)]) {
        for (flag, lacks) in self.flags.iter().filter(|(flag, _)| given.contains(flag)) {
            tracing::error!(
                logger = "setup",
                flag,
                "this flag changes nothing yet: this controller does not support {lacks}"
            );
        }
        let is_given = |gate: &str| gates.iter().any(|(given, _)| given == gate);
        for (gate, lacks) in self.gates.iter().filter(|(gate, _)| is_given(gate)) {
            tracing::error!(
                logger = "setup",
                "feature-gate" = gate,
                "this feature gate changes nothing yet: this controller does not support {lacks}"
            );
        }
    }
}

/// Options that not every controller has flags for.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--watch-label-selector`.
    pub selector: String,
    /// `--interval-jitter-percentage`; zero without that flag (RT-QUE-008).
    pub jitter: u8,
    /// How long running reconciles may take to finish (RT-LED-009).
    pub grace: Duration,
    /// The flags that the command line sets.
    pub given: Given,
    /// The kinds of which a cluster may serve older versions only (NC-COMPAT-001): each is used in the newest version
    /// that is served at startup.
    pub versioned: Vec<VersionedKind>,
    /// Whether `--events-addr` is where events are posted to. In notification-controller it is the address that events are
    /// received at, and its own go to Kubernetes only (NC-PROC-002, NC-PROC-035).
    pub posts_events: bool,
    /// Whether requests are limited to the rate of `--kube-api-qps` where the API server does not limit clients itself.
    /// source-watcher does so only if the flags are given (RT-KUB-002).
    pub limits_requests: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            selector: String::new(),
            jitter: 0,
            grace: Duration::from_secs(30),
            given: Given::default(),
            versioned: Vec::new(),
            posts_events: true,
            limits_requests: true,
        }
    }
}

/// An error that prevents the startup of a controller, or ends it.
pub type Fatal = Box<dyn Error + Send + Sync>;

type Task = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, Result<(), Fatal>> + Send>;

/// A controller process that is being set up.
pub struct Manager {
    /// The feature gates.
    pub gates: Gates,
    /// The flags that every controller has.
    pub flags: ManagerFlags,
    /// Creates clients for other identities and clusters.
    pub clients: ClientFactory,
    /// The configuration of the client.
    pub config: Config,
    /// The client of the controller's own identity.
    pub client: Client,
    /// Where events go.
    pub recorder: Recorder,
    /// Where measurements go.
    pub metrics: Metrics,
    /// The memory budget that all reconciles share.
    pub budget: Budget,
    identity: Identity,
    options: Options,
    at_once: Vec<Task>,
    leading: Vec<Task>,
}

/// The namespace that the controller runs in, as set by its Deployment (RT-ENV-001).
pub fn runtime_namespace() -> Option<String> {
    std::env::var("RUNTIME_NAMESPACE")
        .ok()
        .filter(|namespace| !namespace.is_empty())
}

impl Manager {
    /// The only namespace to watch, if there is one (RT-WAT-008, RT-ENV-002).
    pub fn namespace(&self) -> Option<String> {
        if self.flags.watch_all_namespaces {
            None
        } else {
            runtime_namespace()
        }
    }

    /// The API of a kind in the namespaces that this controller watches.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        match self.namespace() {
            Some(namespace) => in_checked_namespace(&self.client, &namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// The environment of a controller of one kind.
    pub fn environment(&self) -> Environment {
        Environment {
            client: self.client.clone(),
            namespace: self.namespace(),
            selector: Some(self.options.selector.clone()).filter(|selector| !selector.is_empty()),
            workers: self.flags.concurrent,
            back_off: BackOff {
                first: self.flags.min_retry_delay,
                last: self.flags.max_retry_delay,
            },
            jitter: self.options.jitter,
            status_manager: self.identity.status_manager,
            recorder: self.recorder.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Runs the controller of a kind while this process leads.
    pub fn add<R: Reconciler>(&mut self, controller: Controller<R>)
    where
        R::Kind: Kind,
    {
        let grace = self.options.grace;
        self.leading.push(Box::new(move |stop| {
            controller.run(stop, grace).map(Ok).boxed()
        }));
    }

    /// Runs the controller of a static kind while this process leads.
    pub fn add_static<S: StaticKind>(&mut self, controller: StaticController<S>) {
        let grace = self.options.grace;
        self.leading.push(Box::new(move |stop| {
            controller.run(stop, grace).map(Ok).boxed()
        }));
    }

    /// Fills `cache` from the API server while this process leads, for kinds that are only read.
    pub fn follow<K: Watched>(&mut self, api: Api<K>, config: watcher::Config, cache: Cache<K>) {
        self.leading.push(Box::new(move |stop| {
            async move { cache.run(api, config, stop).await }
                .map(Ok)
                .boxed()
        }));
    }

    /// Runs `task` while this process leads (RT-LED-007). It must finish soon after the token is cancelled; its error
    /// ends the process.
    pub fn add_leading<F>(&mut self, task: impl FnOnce(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Fatal>> + Send + 'static,
    {
        self.leading.push(Box::new(move |stop| task(stop).boxed()));
    }

    /// Runs `task` from startup on, leading or not (RT-LED-007: notification-controller's servers).
    pub fn add_at_once<F>(&mut self, task: impl FnOnce(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Fatal>> + Send + 'static,
    {
        self.at_once.push(Box::new(move |stop| task(stop).boxed()));
    }

    async fn start(
        identity: Identity,
        flags: ManagerFlags,
        options: Options,
        gates: Gates,
    ) -> Result<Self, Fatal> {
        if let Some(namespace) = runtime_namespace() {
            path::namespace(&namespace).map_err(|error| format!("RUNTIME_NAMESPACE: {error}"))?;
        }
        let config = client::config().await?;
        let metrics = Metrics::with_resources(metrics::resources_wanted())?;
        let mut clients = if options.limits_requests {
            let (qps, burst) = (flags.kube_api_qps, flags.kube_api_burst);
            ClientFactory::probing(&config, metrics.clone(), qps, burst).await
        } else {
            ClientFactory::unlimited(metrics.clone())
        };
        let mut client = clients.client(config.clone())?;
        if !options.versioned.is_empty() {
            clients = clients.adapting(&client, &options.versioned).await?;
            if clients.is_adapting() {
                client = clients.client(config.clone())?;
            }
        }
        let recorder = Recorder::new(
            client.clone(),
            identity.controller,
            hostname(),
            options.posts_events.then_some(&*flags.events_addr),
        )?;
        Ok(Self {
            gates,
            flags,
            clients,
            config,
            client,
            recorder,
            metrics,
            budget: memory::budget(memory::limit()),
            identity,
            options,
            at_once: Vec::new(),
            leading: Vec::new(),
        })
    }

    fn election(&self) -> Result<Option<Election>, Fatal> {
        if !self.flags.enable_leader_election {
            return Ok(None);
        }
        let namespace = leader::namespace().ok_or(
            "unable to find leader election namespace: not running in a pod, please set RUNTIME_NAMESPACE",
        )?;
        let election = Election {
            namespace,
            name: leader::lease_name(self.identity.controller, &self.options.selector),
            identity: format!("{}_{}", hostname(), uuid::Uuid::new_v4()),
            lease: self.flags.leader_election_lease_duration,
            renew_deadline: self.flags.leader_election_renew_deadline,
            retry: self.flags.leader_election_retry_period,
            release: self.flags.leader_election_release_on_cancel,
        };
        election.check()?;
        Ok(Some(election))
    }

    /// Starts the metrics and health servers, which answer whether this process leads or not (RT-MET-002, RT-PRB-003).
    /// They are stopped last, so that a process can be scraped while it shuts down.
    async fn serve(&self) -> Result<(), Fatal> {
        const METRICS: &str = "controller-runtime.metrics";
        let on = |address: &str| !address.is_empty() && address != "0"; // switched off, as controller-runtime has it
        let (metrics, health) = (&*self.flags.metrics_addr, &*self.flags.health_addr);
        let listen = async |address: &str, name: &str| {
            let listener = probes::listen(address).await;
            listener.map_err(|error| format!("unable to listen on {address} for {name}: {error}"))
        };
        if on(metrics) {
            let listener = listen(metrics, "metrics").await?;
            tracing::info!(logger = METRICS, "Starting metrics server");
            let router = probes::metrics(self.metrics.clone());
            tokio::spawn(probes::serve(listener, router, CancellationToken::new()));
            tracing::info!(
                logger = METRICS,
                bindAddress = metrics,
                secure = false,
                "Serving metrics server"
            );
        }
        if on(health) {
            let listener = listen(health, "health probe").await?;
            let address = listener.local_addr()?.to_string();
            tracing::info!(name = "health probe", addr = address, "starting server");
            tokio::spawn(probes::serve(
                listener,
                probes::health(),
                CancellationToken::new(),
            ));
        }
        Ok(())
    }

    /// Runs until a signal, an error, or the loss of leadership.
    async fn run(mut self) -> Result<(), Fatal> {
        let stop = CancellationToken::new();
        self.serve().await?;

        let mut tasks: FuturesUnordered<_> = self
            .at_once
            .drain(..)
            .map(|task| tokio::spawn(task(stop.clone())))
            .collect();
        let signals = signals(stop.clone())?;
        tokio::spawn(signals);

        let leadership = match self.election()? {
            None => None,
            Some(election) => {
                let acquiring = election.acquire(
                    self.client.clone(),
                    self.recorder.clone(),
                    self.metrics.clone(),
                    &stop,
                );
                tokio::select! {
                    acquired = acquiring => match acquired {
                        Some(leadership) => Some(leadership),
                        None => return drain(tasks).await, // asked to end before it led
                    },
                    Some(ended) = tasks.next(), if !tasks.is_empty() => {
                        stop.cancel();
                        return ended_early(ended);
                    }
                }
            }
        };

        tasks.extend(
            self.leading
                .drain(..)
                .map(|task| tokio::spawn(task(stop.clone()))),
        );
        // The Lease is kept until all work has ended (RT-LED-011).
        let over = CancellationToken::new();
        let mut renewal = {
            let over = over.clone();
            tokio::spawn(async move {
                let Some(mut leadership) = leadership else {
                    over.cancelled().await;
                    return true;
                };
                let kept = leadership.renew(&over).await;
                if kept {
                    leadership.release().await;
                }
                kept
            })
        };
        let mut result = Ok(());
        let kept = loop {
            if tasks.is_empty() {
                over.cancel();
            }
            tokio::select! {
                kept = &mut renewal => break kept.unwrap_or(false),
                ended = tasks.next(), if !tasks.is_empty() => match ended {
                    Some(Ok(Err(error))) if stop.is_cancelled() => result = Err(error),
                    Some(ended) if !stop.is_cancelled() => {
                        result = ended_early(ended);
                        stop.cancel();
                    }
                    Some(_) | None => {}
                },
            }
        };
        if !kept {
            // The new leader must not run concurrently with this process's work: exit immediately (RT-LED-008).
            return Err("leader election lost".into());
        }
        self.recorder.flush(Duration::from_secs(3)).await;
        result
    }
}

type Ended = Result<Result<(), Fatal>, tokio::task::JoinError>;

fn ended_early(ended: Ended) -> Result<(), Fatal> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(join) => Err(panics::of_task(join).into()),
    }
}

async fn drain(
    mut tasks: FuturesUnordered<tokio::task::JoinHandle<Result<(), Fatal>>>,
) -> Result<(), Fatal> {
    while let Some(ended) = tasks.next().await {
        ended_early(ended)?;
    }
    Ok(())
}

/// Cancels `stop` at the first SIGTERM or SIGINT and exits at the second (RT-LED-009).
fn signals(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first {
                tracing::info!("Stopping and waiting for running work to end");
                stop.cancel();
            } else {
                std::process::exit(1);
            }
        }
    })
}

/// The host name: in a pod, the pod's name.
pub fn hostname() -> String {
    let file = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    file.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Runs a controller process to its end: sets up logs and traces, validates the flags, connects, lets `setup` add the
/// controllers, and runs them. Errors are logged by the logger `setup`, and the process ends with code 1 (RT-FLG-013).
pub fn main<S>(identity: Identity, flags: ManagerFlags, options: Options, setup: S) -> ExitCode
where
    S: AsyncFnOnce(&mut Manager) -> Result<(), Fatal>,
{
    // Fails if another provider is installed already, which works as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let traces = {
        // The exporter over gRPC connects on the runtime, and both exporters need the provider of TLS.
        let _context = runtime.as_ref().ok().map(tokio::runtime::Runtime::enter);
        Traces::from_env(identity.controller)
    };
    let log = Log::to_stderr(&flags.log_level, &flags.log_encoding);
    let spans = traces.as_ref().ok().and_then(Option::as_ref).map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            .with_filter(logging::exported())
    });
    if tracing_subscriber::registry()
        .with(spans)
        .with(log.filtered())
        .try_init()
        .is_err()
    {
        eprintln!("the log is set up already");
        return ExitCode::FAILURE;
    }
    std::panic::set_hook(Box::new(|panic| {
        let stack = std::backtrace::Backtrace::force_capture().to_string();
        tracing::error!(
            logger = "runtime",
            stacktrace = stack,
            "{}",
            panics::line(panic)
        );
    }));
    descriptors::raise_limit();
    let result = (|| -> Result<(), Fatal> {
        if let Err(error) = &traces {
            return Err(format!("unable to set up OpenTelemetry: {}", chain(error)).into());
        }
        let given = flags.feature_gates.concat();
        let gates = Gates::new(identity.gates, &given)?;
        gates.log(&given);
        identity.pending.log(&options.given, &given);
        if options.jitter >= 100 {
            return Err("unable to set global jitter: the interval jitter percentage must be a non-negative value and less than 100".into());
        }
        flags::check_selector(&options.selector)?;
        flags::check_selector(&flags.watch_configs_label_selector)?;
        let runtime = runtime.as_ref().map_err(|error| chain(error))?;
        runtime.block_on(async {
            let mut manager = Manager::start(identity, flags, options, gates).await?;
            setup(&mut manager).await?;
            tracing::info!(logger = "setup", "starting manager");
            manager.run().await
        })
    })();
    // The last spans are sent on the runtime.
    if let Ok(Some(traces)) = &traces {
        traces.shutdown();
    }
    if let Ok(runtime) = runtime {
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                logger = "setup",
                error = chain(&*error),
                "problem running manager"
            );
            ExitCode::FAILURE
        }
    }
}
