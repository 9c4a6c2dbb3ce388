//! The flags of multi-tenancy and of the clusters that objects act on.

use clap::Args;

/// References to other namespaces: all controllers but source-controller.
#[derive(Args, Clone, Debug)]
pub struct CrossNamespaceFlags {
    /// Whether references to other namespaces are refused.
    #[arg(long)]
    pub no_cross_namespace_refs: bool,
}

/// Impersonation: kustomize- and helm-controller.
#[derive(Args, Clone, Debug)]
pub struct ImpersonationFlags {
    /// The ServiceAccount to act as where an object names none.
    #[arg(long, default_value = "")]
    pub default_service_account: String,
}

/// Clusters of kubeconfigs: kustomize- and helm-controller.
#[derive(Args, Clone, Debug)]
pub struct KubeConfigFlags {
    /// The ServiceAccount whose cloud identity reaches remote clusters where a ConfigMap names none.
    #[arg(long, default_value = "")]
    pub default_kubeconfig_service_account: String,
    /// Whether kubeconfigs of remote clusters may run programs.
    #[arg(long)]
    pub insecure_kubeconfig_exec: bool,
    /// Whether kubeconfigs of remote clusters may switch off the check of certificates.
    #[arg(long)]
    pub insecure_kubeconfig_tls: bool,
}
