//! What is done for a hook.

use flux_apply::Rules;
use flux_helm::Hook;
use flux_helm::action::{HookStep, Object, objects};
use kube::api::PropagationPolicy;

use crate::create::{Creation, create_all};
use crate::delete::delete_all;
use crate::run::Run;

impl Run<'_> {
    /// Does something for a hook. Its objects carry no sign of whose they are (HE-HOOK-015), and creating them forces nothing
    /// (HE-HOOK-008).
    pub(crate) async fn hook(&mut self, step: HookStep, hook: &Hook) -> Result<(), String> {
        match step {
            HookStep::Delete => {
                let built = self.hook_objects(hook).await.map_err(|error| {
                    let path = &hook.path;
                    format!("unable to build kubernetes object for deleting hook {path}: {error}")
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
                };
                let made = create_all(self.cluster(), &self.kinds, &built, how).await;
                made.map(drop)
            }
            HookStep::Watch => {
                let built = self.hook_objects(hook).await?;
                self.waiting(self.hook_strategy).hook(&built).await
            }
            // Nobody reads them (HE-HOOK-014).
            HookStep::Logs => Ok(()),
        }
    }

    async fn hook_objects(&mut self, hook: &Hook) -> Result<Vec<Object>, String> {
        let (cluster, namespace) = (self.releaser.cluster(), self.namespace.clone());
        let read = self
            .kinds
            .read(cluster, |scope| objects(&hook.manifest, &namespace, scope));
        read.await
    }

    /// HE-HOOK-006
    async fn delete_hook(&self, objects: &[Object]) -> Result<(), String> {
        let background = PropagationPolicy::Background;
        let deleted = delete_all(self.cluster(), &self.kinds, objects, None, &background).await;
        if !deleted.errors.is_empty() {
            return Err(deleted.errors.join("; "));
        }
        let going: Vec<Object> = deleted.going.into_iter().cloned().collect();
        self.waiting(self.hook_strategy).gone(&going).await
    }
}
