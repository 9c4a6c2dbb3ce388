//! `cargo xorder`: generates `shared/runtime/startup/order.ld`, the list of functions that run while a controller
//! starts and idles.
//!
//! Each controller is linked with a map, and run under valgrind's callgrind on a cluster until it has been leader,
//! probed and scraped for a while; the executed addresses are looked up in the map. Requires valgrind.

mod code;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use code::Order;
use kind_tests::controller::{self, Controller, Settings};
use kind_tests::{Cluster, Doing, Namespace, Result, cache};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "source-watcher",
];

/// The number of probes and scrapes of a controller, one second apart.
const PROBES: u32 = 30;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result {
    let path = cache::workspace().join("shared/runtime/startup/order.ld");
    let old = std::fs::read(&path).doing(format!("read {}", path.display()))?;
    // Valgrind resolves addresses only in a program with a single code section.
    let write =
        |text: &[u8]| std::fs::write(&path, text).doing(format!("write {}", path.display()));
    write(Order::default().script().as_bytes())?;
    match measure().await {
        Ok(order) => {
            write(order.script().as_bytes())?;
            println!("{} names in {}", order.len(), path.display());
            Ok(())
        }
        Err(failure) => {
            write(&old)?;
            Err(failure)
        }
    }
}

async fn measure() -> Result<Order> {
    let cluster = Cluster::shared().await?;
    let mut order = Order::default();
    for package in CONTROLLERS {
        let namespace = Namespace::create(&cluster, "startup-order").await?;
        let folder = namespace.folder();
        std::fs::create_dir_all(&folder)?;
        let map = folder.join("link.map");
        let argument = format!("link-arg=-Wl,-Map={}", map.display());
        // Without symbols callgrind attributes the addresses to another program.
        let link = move || controller::build_with(package, &["-C", &argument, "-C", "strip=none"]);
        let program = tokio::task::spawn_blocking(link).await??;
        let ran = folder.join("ran");
        idle(package, &program, &namespace, &ran).await?;
        let read =
            |path: &Path| std::fs::read_to_string(path).doing(format!("read {}", path.display()));
        order.add(package, &read(&map)?, &read(&ran)?)?;
    }
    Ok(order)
}

/// Runs the controller as its Deployment does, with nothing to reconcile, and writes the executed instructions to
/// `ran`.
async fn idle(package: &str, program: &Path, namespace: &Namespace, ran: &Path) -> Result {
    let valgrind = [
        "valgrind",
        "--tool=callgrind",
        "--dump-instr=yes",
        "--compress-strings=no",
        "--compress-pos=no",
    ];
    let mut settings = Settings::default().flag("--enable-leader-election");
    settings.program = Some(program.to_owned());
    settings.under = valgrind.map(str::to_owned).to_vec();
    settings
        .under
        .push(format!("--callgrind-out-file={}", ran.display()));
    let mut controller = Controller::start(package, namespace, settings).await?;
    for _ in 0..PROBES {
        get(&controller.health_address(), "/healthz").await?;
        get(&controller.health_address(), "/readyz").await?;
        get(&controller.metrics_address(), "/metrics").await?;
        if let Some(artifacts) = controller.artifact_address() {
            get(&artifacts, "/").await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    controller.terminate().await?;
    Ok(())
}

async fn get(address: &str, path: &str) -> Result {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
