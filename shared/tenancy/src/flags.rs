//! The flags of multi-tenancy.

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
