//! `cargo run -p kind-tests --bin cluster -- build|up|down|status|kubectl ARG...`: manages the shared test cluster. `servers` builds the
//! other servers that scenarios start.

use std::process::{Command, ExitCode};

use kind_tests::{Cluster, Collector, Failure, Gitea, Result};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("build") => println!("{}", tokio::task::spawn_blocking(Cluster::build).await??),
        Some("servers") => {
            for build in [Gitea::build, Collector::build] {
                let program = tokio::task::spawn_blocking(build).await??;
                println!("{}", program.display());
            }
        }
        Some("up") => println!("{}", Cluster::shared().await?.describe()),
        Some("down") => {
            let ran = Cluster::end_shared().await?;
            println!(
                "{}",
                if ran {
                    "stopped the shared cluster"
                } else {
                    "no shared cluster is running"
                }
            );
        }
        Some("status") => {
            if let Some(cluster) = Cluster::running().await? {
                println!("{}", cluster.describe());
            } else {
                println!("no shared cluster is running");
                return Ok(ExitCode::FAILURE);
            }
        }
        Some("kubectl") => {
            let cluster = Cluster::shared().await?;
            let mut kubectl = match cluster.kube() {
                Some(kube) => {
                    let mut command = Command::new(kube);
                    command.arg("kubectl");
                    command
                }
                None => Command::new("kubectl"),
            };
            let status = kubectl
                .args(arguments)
                .env("KUBECONFIG", cluster.kubeconfig())
                .status()?;
            return Ok(if status.success() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        _ => {
            return Err(Failure::new(
                "usage: cluster build|servers|up|down|status|kubectl ARG...",
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
