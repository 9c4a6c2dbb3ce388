//! Build options and limits.

/// Options of a build. The default is that of `kustomize build`, except for the order of the output: objects stay in
/// the order of accumulation, as in kustomize 5.8 and in Flux.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Which files a kustomization may read.
    pub load: LoadRestriction,
    /// The order of the output if the kustomization has no `sortOptions`.
    pub order: Order,
    /// Whether a custom `openapi` schema extends the built-in types instead of replacing them (KC-BLD-028).
    pub keep_builtin_schema: bool,
    /// Whether every object gets the label `app.kubernetes.io/managed-by`, as for `buildMetadata: [managedByLabel]`.
    pub managed_by_label: bool,
    /// The version in that label.
    pub version: String,
    /// Limits against hostile sources.
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
    /// The settings of kustomize-controller: files are restricted only to the tree, built-in types are always known
    /// (KZ-FLX rows).
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
    /// Files in and below its own folder. Bases may be anywhere in the tree.
    RootOnly,
    /// Every file of the tree.
    None,
}

/// The order of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Order of accumulation.
    None,
    /// By kind: namespaces and definitions first, webhooks last (KZ-SORT-005).
    Legacy,
}

/// Limits for untrusted sources.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum number of kustomizations in one build; one that is used twice counts twice.
    pub kustomizations: usize,
    /// The maximum nesting of kustomizations.
    pub depth: usize,
    /// The maximum number of nodes of one file after anchors are expanded.
    pub nodes: usize,
    /// The maximum number of objects of a build.
    pub resources: usize,
    /// The maximum work of a build, in steps of about ten nanoseconds: for everything slower than reading, changing and
    /// writing every object, such as patterns matched against many objects.
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
