//! Wires the reconciler to its flags and watches.

use flux_api::image::{ImagePolicy, ImageUpdateAutomation};
use flux_api::source::GitRepository;
use flux_git::SshAlgorithms;
use flux_identity::{Identities, Tokens};
use flux_references::{Index, Reader, Secrets};
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager};
use flux_runtime::per_object::PerObject;
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use flux_tenancy::Access;
use kube::runtime::watcher;

use crate::NAME;
use crate::flags::Flags;
use crate::image_update_automation::{Automations, Gates, SETTINGS, Turns};
use crate::triggers::{on_policy, on_repository, references};

/// Adds the controller of ImageUpdateAutomations to the manager.
pub(crate) fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    let gate = |name: &str| manager.gates.enabled(name);
    let gates = Gates {
        force_push: gate("GitForcePushBranch"),
        shallow: gate("GitShallowClone"),
        all_branches: gate("GitAllBranchReferences"),
        sparse: gate("GitSparseCheckout"),
    };
    let secrets = Secrets::from_manager(manager);
    let tokens = Tokens::from_flags(&flags.tokens, &manager.metrics)?;
    let account = &flags.default_service_account;
    let automations = Cache::<ImageUpdateAutomation>::default();
    let repositories = Cache::<GitRepository>::default();
    let policies = Cache::<ImagePolicy>::default();
    let reported = PerObject::default();
    let reconciler = Automations {
        access: Access {
            no_cross_namespace: flags.cross_namespace.no_cross_namespace_refs,
            ..Access::default()
        },
        gates,
        repositories: Reader::Cached(repositories.clone()),
        policies: policies.clone(),
        secrets,
        identities: Identities::new(manager.client.clone(), tokens, account),
        ssh: SshAlgorithms {
            kex: flags.ssh.ssh_kex_algos.clone(),
            host_key: flags.ssh.ssh_hostkey_algos.clone(),
        },
        budget: manager.budget.clone(),
        work: WorkFolders::opened(NAME),
        turns: Turns::default(),
        reported: reported.clone(),
    };
    let index = Index::of(&automations, references);
    let environment = manager.environment();
    let controller = Controller::new(reconciler, SETTINGS, automations.clone(), environment)
        .clearing(&reported)
        .watching(
            manager.api::<GitRepository>(),
            watcher::Config::default(),
            repositories,
            on_repository(index),
        )
        .watching(
            manager.api::<ImagePolicy>(),
            watcher::Config::default(),
            policies,
            on_policy(automations),
        );
    manager.add(controller);
    Ok(())
}
