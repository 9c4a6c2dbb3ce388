/// How a build is done. The default is what `kustomize build` does, save for the order of the output: that stays the order
/// of accumulation, as in kustomize 5.8 and in Flux.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Which files a kustomization may read.
    pub load: LoadRestriction,
    /// The order of the output where the kustomization has no `sortOptions`.
    pub order: Order,
    /// Whether a custom `openapi` schema adds to the built-in types rather than replacing them (KC-BLD-028).
    pub keep_builtin_schema: bool,
    /// Whether every object gets the label `app.kubernetes.io/managed-by`, as for `buildMetadata: [managedByLabel]`.
    pub managed_by_label: bool,
    /// The version that the label tells.
    pub version: String,
    /// Bounds against hostile sources.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            load: LoadRestriction::RootOnly,
            order: Order::None,
            keep_builtin_schema: false,
            managed_by_label: false,
            version: "v5.8.1".into(),
            limits: Limits::default(),
        }
    }
}

impl Options {
    /// What kustomize-controller does: no restriction but the tree, built-in types always known (KZ-FLX rows).
    pub fn flux() -> Self {
        Self {
            load: LoadRestriction::None,
            keep_builtin_schema: true,
            ..Self::default()
        }
    }
}

/// Which files a kustomization may read (KZ-PATH-010, KZ-PATH-011).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadRestriction {
    /// Files in and below its own folder. Bases may lie anywhere in the tree.
    RootOnly,
    /// Every file of the tree.
    None,
}

/// The order of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As accumulated.
    None,
    /// By kind: namespaces and definitions first, webhooks last (KZ-SORT-005).
    Legacy,
}

/// Bounds against sources that would never end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many kustomizations one build may read, counting one that is used twice twice.
    pub kustomizations: usize,
    /// How deep kustomizations may nest.
    pub depth: usize,
    /// How many nodes one file may have once its anchors are expanded.
    pub nodes: usize,
    /// How many objects a build may have.
    pub resources: usize,
    /// How much work a build may do, in steps of some ten nanoseconds: what takes longer than reading, changing and writing
    /// every object does, such as patterns over many objects.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            kustomizations: 10_000,
            depth: 100,
            nodes: 10_000_000,
            resources: 1_000_000,
            steps: 2_000_000_000,
        }
    }
}
