//! Controllers as child processes, run as in a pod: their own binary and flags, the environment of the image and their own.

mod log;
mod program;
mod usage;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use self::log::Log;
use self::program::dockerfile;
pub use self::program::{Compiled, build_together, build_with, image, program};
pub use self::usage::{cpu, memory};
use crate::cluster::free_ports;
use crate::failure::{Doing, Failure, Result};
use crate::image::Image;
use crate::namespace::{Namespace, deadline};

/// Settings of a controller.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Additional flags.
    pub flags: Vec<String>,
    /// Additional environment variables.
    pub env: Vec<(String, String)>,
    /// The user that it acts as; by default one for its name and namespace.
    pub user: Option<String>,
    /// The binary; by default that of [`program`].
    pub program: Option<PathBuf>,
    /// A command with arguments to run it under, such as a profiler.
    pub under: Vec<String>,
    /// Its ports for artifacts, events and webhooks; by default free ones.
    pub ports: Option<[u16; 3]>,
}

impl Settings {
    /// Adds a flag.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Adds a flag that the settings can override: of a repeated flag the last value counts.
    pub fn default_flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.insert(0, flag.into());
        self
    }

    /// Sets the ports for artifacts, events and webhooks, so that a program that replaces another is found at its addresses.
    pub fn ports(mut self, ports: [u16; 3]) -> Self {
        self.ports = Some(ports);
        self
    }

    /// Lets it write what a run is at to the status at once, for tests of what is written.
    pub fn telling_progress(self) -> Self {
        self.env("FLUX_PROGRESS_AT_ONCE", "true")
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A running controller; killed on drop.
pub struct Controller {
    name: String,
    user: String,
    command: CommandLine,
    child: Child,
    /// Ends when the process has closed its error stream.
    reader: Option<JoinHandle<()>>,
    log: Arc<Log>,
    health: u16,
    metrics: u16,
    storage: Option<u16>,
    /// The ports that events and webhooks are received at.
    received: Option<[u16; 2]>,
}

#[derive(Clone)]
struct CommandLine {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Controller {
    /// Starts the controller of the package `name` on the objects of `namespace`, and waits until it is ready.
    ///
    /// It gets: its own identity (see [`Controller::user`]), the label selector of the namespace (notification-controller,
    /// which has none, the namespace itself), free ports on loopback, and, where it has one, a storage folder that
    /// survives restarts.
    pub async fn start(name: &str, namespace: &Namespace, settings: Settings) -> Result<Self> {
        let mut controller = Self::start_unready(name, namespace, settings).await?;
        controller.ready().await?;
        Ok(controller)
    }

    /// As [`Controller::start`], without waiting for readiness.
    pub async fn start_unready(
        name: &str,
        namespace: &Namespace,
        settings: Settings,
    ) -> Result<Self> {
        let package = name.to_owned();
        let program = match settings.program {
            Some(program) => program,
            None => tokio::task::spawn_blocking(move || program(&package)).await??,
        };
        let [health, metrics] = free_ports()?;
        let [storage_port, events, webhooks] = match settings.ports {
            Some(ports) => ports,
            None => free_ports()?,
        };
        let cluster = namespace.cluster();
        let user = settings
            .user
            .unwrap_or_else(|| format!("{name}.{}", namespace.name()));
        let kubeconfig = cluster.kubeconfig_for(&user)?;

        let mut args = vec![
            format!("--health-addr=127.0.0.1:{health}"),
            format!("--metrics-addr=127.0.0.1:{metrics}"),
        ];
        let receives = name == "notification-controller";
        if receives {
            args.extend([
                "--watch-all-namespaces=false".to_owned(),
                format!("--events-addr=127.0.0.1:{events}"),
                format!("--receiverAddr=127.0.0.1:{webhooks}"),
            ]);
        } else {
            args.push(format!("--watch-label-selector={}", namespace.selector()));
        }
        let serves = matches!(name, "source-controller" | "source-watcher");
        if serves || name == "image-reflector-controller" {
            let folder = storage_folder(name, namespace)?;
            args.push(format!("--storage-path={}", folder.display()));
        }
        if serves {
            args.extend([
                format!("--storage-addr=127.0.0.1:{storage_port}"),
                format!("--storage-adv-addr=127.0.0.1:{storage_port}"),
            ]);
        }
        args.extend(settings.flags);
        let mut env = vec![
            (
                "KUBECONFIG".to_owned(),
                kubeconfig.to_string_lossy().into_owned(),
            ),
            ("RUNTIME_NAMESPACE".to_owned(), namespace.name().to_owned()),
        ];
        env.extend(Image::environment(&dockerfile()?)?);
        env.extend(settings.env);

        let mut command = CommandLine { program, args, env };
        if let Some((outer, arguments)) = settings.under.split_first() {
            let inner = std::mem::replace(&mut command.program, outer.into());
            let inner = [inner.to_string_lossy().into_owned()];
            let all = arguments.iter().chain(&inner).chain(&command.args);
            command.args = all.cloned().collect();
        }
        let log = Arc::new(Log::new());
        namespace.show_on_failure(name, log.clone())?;
        let (child, reader) = spawn(&command, &log)?;
        let storage = serves.then_some(storage_port);
        Ok(Self {
            name: name.to_owned(),
            user,
            command,
            child,
            reader: Some(reader),
            log,
            health,
            metrics,
            storage,
            received: receives.then_some([events, webhooks]),
        })
    }

    /// The package's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user that it acts as, for [`crate::requests::Counter`].
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Its log since the first start.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address of `/metrics`.
    pub fn metrics_address(&self) -> String {
        format!("127.0.0.1:{}", self.metrics)
    }

    /// Its metrics page.
    pub async fn metrics(&self) -> Result<String> {
        let client = flux_http::ClientOptions::default().build()?;
        let url = format!("http://{}/metrics", self.metrics_address());
        Ok(client.get(url).send().await?.text().await?)
    }

    /// Its metrics page once it has all of these: a run is counted after its status is written.
    pub async fn metrics_with<T: AsRef<str>>(&self, series: &[T]) -> Result<String> {
        let lacks = |page: &str| {
            let mut series = series.iter().map(AsRef::as_ref);
            series.find(|part| !page.contains(part)).map(str::to_owned)
        };
        self.metrics_without_lack(lacks).await
    }

    /// Its metrics page once no object of this kind, in lower case, is being reconciled or waits for it, so that each run is
    /// counted.
    pub async fn metrics_at_rest(&self, kind: &str) -> Result<String> {
        let gauges = [
            format!("controller_runtime_active_workers{{controller=\"{kind}\""),
            format!("workqueue_depth{{controller=\"{kind}\""),
        ];
        let lacks = |page: &str| {
            let rests = gauges.iter().all(|gauge| {
                let mut lines = page
                    .lines()
                    .filter(|line| line.starts_with(gauge))
                    .peekable();
                lines.peek().is_some() && lines.all(|line| line.ends_with(" 0"))
            });
            (!rests).then(|| format!("{kind} at rest"))
        };
        self.metrics_without_lack(lacks).await
    }

    /// Its metrics page once it is as `wanted`, which `goal` tells the user.
    pub async fn metrics_when(&self, goal: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        self.metrics_without_lack(|page| (!wanted(page)).then(|| goal.to_owned()))
            .await
    }

    /// Its metrics page once `lacks` finds nothing that is not there yet.
    async fn metrics_without_lack(&self, lacks: impl Fn(&str) -> Option<String>) -> Result<String> {
        let deadline = Instant::now() + deadline();
        loop {
            let page = self.metrics().await?;
            let Some(lack) = lacks(&page) else {
                return Ok(page);
            };
            if Instant::now() > deadline {
                let name = &self.name;
                return Err(Failure::new(format!(
                    "the metrics of {name} never show {lack}:\n{page}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The address of `/healthz` and `/readyz`.
    pub fn health_address(&self) -> String {
        format!("127.0.0.1:{}", self.health)
    }

    /// The address of its artifact server, if it has one: the value for other controllers'
    /// `SOURCE_CONTROLLER_LOCALHOST`.
    pub fn artifact_address(&self) -> Option<String> {
        self.storage.map(|port| format!("127.0.0.1:{port}"))
    }

    /// The address that notification-controller receives events at: for other controllers' `--events-addr`.
    pub fn events_url(&self) -> Option<String> {
        self.received
            .map(|[events, _]| format!("http://127.0.0.1:{events}/"))
    }

    /// The address that notification-controller receives webhooks at, without a path.
    pub fn webhooks_url(&self) -> Option<String> {
        self.received
            .map(|[_, webhooks]| format!("http://127.0.0.1:{webhooks}"))
    }

    /// Waits until its health address, and its artifact address if it has one, accept connections.
    pub async fn ready(&mut self) -> Result {
        self.listens([Some(self.health), self.storage]).await
    }

    /// Waits until its health address accepts connections, which does not depend on leadership.
    pub async fn healthy(&mut self) -> Result {
        self.listens([Some(self.health), None]).await
    }

    async fn listens(&mut self, ports: [Option<u16>; 2]) -> Result {
        let deadline = Instant::now() + deadline();
        for port in ports.into_iter().flatten() {
            while tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
            {
                if let Some(status) = self.child.try_wait()? {
                    return Err(Failure::new(format!(
                        "{} exited with {status}:\n{}",
                        self.name,
                        self.log.tail(40)
                    )));
                }
                if Instant::now() > deadline {
                    let tail = self.log.tail(40);
                    return Err(Failure::new(format!(
                        "{} does not listen on port {port}:\n{tail}",
                        self.name
                    )));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// Kills it without notice, as if the machine failed.
    pub fn kill(&mut self) -> Result {
        self.child.kill()?;
        self.child.wait()?;
        self.read_to_end();
        Ok(())
    }

    /// Waits until the log has all that the process wrote before its end.
    fn read_to_end(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Terminates it as Kubernetes does, unless it has ended by itself, and returns its exit status.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            self.read_to_end();
            return Ok(status);
        }
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, Signal::TERM).doing(format!("end {}", self.name))?;
        }
        let deadline = Instant::now() + deadline();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.read_to_end();
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "{} does not exit:\n{}",
                    self.name,
                    self.log.tail(40)
                )));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts it again after [`Controller::kill`] or [`Controller::terminate`], with the same flags, and waits until it is ready.
    pub async fn restart(&mut self) -> Result {
        let (child, reader) = spawn(&self.command, &self.log)?;
        (self.child, self.reader) = (child, Some(reader));
        self.ready().await
    }

    /// Whether it is still running; if not, its log is complete.
    pub fn runs(&mut self) -> bool {
        let runs = matches!(self.child.try_wait(), Ok(None));
        if !runs {
            self.read_to_end();
        }
        runs
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        memory(self.child.id(), "VmRSS:")
    }

    /// Its peak resident memory in bytes.
    pub fn peak_bytes(&self) -> Result<u64> {
        memory(self.child.id(), "VmHWM:")
    }

    /// Fails if it ever held half of its container's memory, or of the limit that the Deployments set: hostile input must
    /// not come near to it.
    pub fn check_memory(&self) -> Result {
        let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
        let limit = limit.ok().and_then(|text| text.trim().parse().ok());
        let (half, peak) = (limit.unwrap_or(1 << 30) / 2, self.peak_bytes()?);
        if peak < half {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} held {} MiB, and {} at most are right",
            self.name,
            peak >> 20,
            half >> 20
        )))
    }

    /// The processor time that it has used.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(self.child.id())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A panic fails the test, unless the test has already failed and printed the log.
        if let Some(line) = self.log.panic()
            && !self.log.is_shown()
            && !std::thread::panicking()
        {
            panic!("{} panicked: {line}", self.name);
        }
    }
}

fn storage_folder(name: &str, namespace: &Namespace) -> Result<PathBuf> {
    let folder = namespace.folder().join(name);
    std::fs::create_dir_all(&folder).doing(format!("create {}", folder.display()))?;
    Ok(folder)
}

/// Starts the process, and a thread that reads its error stream into the log.
fn spawn(command: &CommandLine, log: &Arc<Log>) -> Result<(Child, JoinHandle<()>)> {
    // With util-linux, a killed test process takes its controllers with it.
    let mut process = if Path::new("/usr/bin/setpriv").exists() {
        let mut wrapped = Command::new("/usr/bin/setpriv");
        wrapped
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&command.program);
        wrapped
    } else {
        Command::new(&command.program)
    };
    process
        .args(&command.args)
        .envs(command.env.iter().cloned())
        .stdin(Stdio::null());
    process.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = process
        .spawn()
        .doing(format!("start {}", command.program.display()))?;
    let stream = child
        .stderr
        .take()
        .ok_or_else(|| Failure::new("no standard error"))?;
    let log = log.clone();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.add(line);
        }
    });
    Ok((child, reader))
}
