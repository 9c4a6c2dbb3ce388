//! How a release's objects are applied.

use super::WaitStrategy;

/// How the change of an object is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyMethod {
    /// By the API server, from the whole object.
    ServerSide,
    /// By the client, as a patch from the old manifest, the new manifest and the live object.
    ClientSide,
}

impl ApplyMethod {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServerSide => "ssa",
            Self::ClientSide => "csa",
        }
    }

    /// The method in a record; records without one are client-side (HE-REL-014).
    pub fn of_record(name: &str) -> Self {
        match name {
            "ssa" => Self::ServerSide,
            _ => Self::ClientSide,
        }
    }
}

/// The method requested for an upgrade or rollback (HE-ACT-024, HE-ACT-028).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyMethodChoice {
    /// That of an earlier record: the newest one for an upgrade, the target for a rollback.
    #[default]
    Auto,
    /// This method.
    Fixed(ApplyMethod),
}

impl ApplyMethodChoice {
    pub(super) fn decide(self, recorded: &str) -> ApplyMethod {
        match self {
            Self::Auto => ApplyMethod::of_record(recorded),
            Self::Fixed(method) => method,
        }
    }
}

/// How the objects of one action are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplySettings {
    /// How the change of an object is computed.
    pub method: ApplyMethod,
    /// Whether to force conflicts with other field managers, server-side: always except when a first installation creates
    /// objects without adopting any (HE-KUBE-015).
    pub force_conflicts: bool,
    /// Whether to migrate fields that this manager owns by `Update` to `Apply` first (HE-KUBE-013).
    pub migrate_managers: bool,
    /// Whether custom resources get a true three-way merge, client-side; otherwise only the difference between the old and
    /// the new manifest is patched (HE-KUBE-009).
    pub three_way_for_custom: bool,
}

impl super::Action {
    /// Whether this is a first installation: its objects are created rather than updated, unless some are adopted.
    pub fn is_install(&self) -> bool {
        self.kind == super::course::Kind::Install
    }

    /// The strategy for waiting for hooks: tests use the watcher, whatever the strategy for the release's objects.
    pub fn hook_strategy(&self, strategy: WaitStrategy) -> WaitStrategy {
        match self.kind {
            super::course::Kind::Test => WaitStrategy::Watcher,
            _ => strategy,
        }
    }

    /// How the objects of hooks are created: with the release's method, but server-side on uninstallation (HE-HOOK-008).
    pub fn hook_method(&self) -> ApplyMethod {
        match self.kind {
            super::course::Kind::Uninstall => ApplyMethod::ServerSide,
            _ => ApplyMethod::of_record(&self.release.apply_method),
        }
    }

    /// The settings for applying this action's objects. `adopted` says whether a first installation found objects to adopt,
    /// `take_ownership` whether it adopts any object it finds.
    pub fn apply_settings(&self, adopted: bool, take_ownership: bool) -> ApplySettings {
        let method = ApplyMethod::of_record(&self.release.apply_method);
        let server_side = method == ApplyMethod::ServerSide;
        let install = self.kind == super::course::Kind::Install;
        let from_client_side = match self.kind {
            super::course::Kind::Upgrade { .. } => self
                .base
                .as_ref()
                .is_some_and(|base| matches!(base.apply_method.as_str(), "" | "csa")),
            _ => !install || adopted,
        };
        ApplySettings {
            method,
            force_conflicts: server_side && (!install || adopted),
            migrate_managers: server_side && from_client_side,
            three_way_for_custom: install && adopted && take_ownership && !server_side,
        }
    }
}
