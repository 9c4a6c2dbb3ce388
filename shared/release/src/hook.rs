//! The steps of a hook.

use std::sync::Arc;

use flux_cluster::Rules;
use flux_helm::Hook;
use flux_helm::action::{HookStep, Object};
use kube::api::PropagationPolicy;

use crate::create::{Creation, create_all};
use crate::delete::{delete_all, unchecked};
use crate::error::StepError;
use crate::run::Run;

impl Run<'_> {
    /// Performs a step of a hook. Its objects get no ownership metadata (HE-HOOK-015), and are created without force
    /// (HE-HOOK-008).
    pub(crate) async fn hook(&mut self, step: HookStep, hook: &Hook) -> Result<(), StepError> {
        match step {
            HookStep::Delete => {
                let built =
                    self.hook_objects(hook)
                        .await
                        .map_err(|error| StepError::BuildHook {
                            path: hook.path.clone(),
                            source: Box::new(error),
                        })?;
                self.delete_hook(&built).await
            }
            HookStep::Build => self.hook_objects(hook).await.map(drop),
            HookStep::Create => {
                let built = self.hook_objects(hook).await?;
                let how = Creation {
                    method: self.hook_method,
                    force: false,
                    rules: Rules::Hook,
                    log: self.log(),
                };
                let made = create_all(self.cluster(), &self.kinds, &built, how).await;
                made.map(drop)
            }
            HookStep::Watch => {
                let built = self.hook_objects(hook).await?;
                self.waiting(self.hook_strategy).hook(&built).await
            }
            // Upstream ignores this step (HE-HOOK-014).
            HookStep::Logs => Ok(()),
        }
    }

    /// The objects of a hook, parsed in its first step and cached for the others.
    async fn hook_objects(&mut self, hook: &Hook) -> Result<Arc<Vec<Object>>, StepError> {
        if let Some(objects) = self.hooks.get(&hook.manifest) {
            return Ok(objects.clone());
        }
        let cluster = self.releaser.cluster();
        let objects = self.kinds.objects(cluster, &hook.manifest, &self.namespace);
        let objects = Arc::new(objects.await?);
        self.hooks.insert(hook.manifest.clone(), objects.clone());
        Ok(objects)
    }

    /// HE-HOOK-006
    async fn delete_hook(&self, objects: &[Object]) -> Result<(), StepError> {
        let background = PropagationPolicy::Background;
        let objects = unchecked(objects);
        let deleted = delete_all(
            self.cluster(),
            &self.kinds,
            &objects,
            &background,
            self.log(),
        );
        let deleted = deleted.await;
        StepError::of_several(deleted.errors, "; ")?;
        let deleting: Vec<Object> = deleted.deleting.into_iter().cloned().collect();
        self.waiting(self.hook_strategy).gone(&deleting).await
    }
}
