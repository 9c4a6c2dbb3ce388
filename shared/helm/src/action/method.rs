//! How a release's objects are applied.

use super::WaitStrategy;

/// Who computes the change of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyMethod {
    /// The API server, from the whole object.
    ServerSide,
    /// The client, as a patch from the old manifest, the new one and what lives.
    ClientSide,
}

impl ApplyMethod {
    /// The word in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServerSide => "ssa",
            Self::ClientSide => "csa",
        }
    }

    /// The method that a record names; records without one are client-side (HE-REL-014).
    pub fn of_record(name: &str) -> Self {
        match name {
            "ssa" => Self::ServerSide,
            _ => Self::ClientSide,
        }
    }
}

/// What an upgrade or rollback is asked to use (HE-ACT-024, HE-ACT-028).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyMethodChoice {
    /// What the record before used: the newest one for an upgrade, the target for a rollback.
    #[default]
    Auto,
    /// This one.
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
    /// Who computes the change.
    pub method: ApplyMethod,
    /// Whether conflicts with other field managers are forced, server-side: for everything but the plain creation of a
    /// first installation, where nothing was there before (HE-KUBE-015).
    pub force_conflicts: bool,
    /// Whether the fields that this manager owns by `Update` are moved to `Apply` first (HE-KUBE-013).
    pub migrate_managers: bool,
    /// Whether custom resources get a true three-way merge, client-side; otherwise what changed from the old manifest to
    /// the new one is all that is changed (HE-KUBE-009).
    pub three_way_for_custom: bool,
}

impl super::Action {
    /// Whether this is a first installation: its objects are created rather than updated, where none is adopted.
    pub fn is_install(&self) -> bool {
        self.kind == super::course::Kind::Install
    }

    /// How hooks are waited for: tests as the watcher does, whatever the release's objects are waited for.
    pub fn hook_strategy(&self, strategy: WaitStrategy) -> WaitStrategy {
        match self.kind {
            super::course::Kind::Test => WaitStrategy::Watcher,
            _ => strategy,
        }
    }

    /// How the objects of hooks are created: as those of the release, but server-side when it is uninstalled (HE-HOOK-008).
    pub fn hook_method(&self) -> ApplyMethod {
        match self.kind {
            super::course::Kind::Uninstall => ApplyMethod::ServerSide,
            _ => ApplyMethod::of_record(&self.release.apply_method),
        }
    }

    /// How this action's objects are applied. `adopted` says whether a first installation found objects to take over, and
    /// `take_ownership` whether it does so of whatever it finds.
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
