//! The entries of `configMapGenerator` and `secretGenerator`, and the IAM policy generator.

use std::collections::BTreeMap;

use super::{Decode, Object};

/// The sources of a generated ConfigMap or Secret (KZ-GEN-001).
#[derive(Clone, Debug, Default)]
pub(crate) struct GeneratorArgs {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) behavior: String,
    pub(crate) literals: Vec<String>,
    pub(crate) files: Vec<String>,
    pub(crate) envs: Vec<String>,
    pub(crate) options: Option<GeneratorOptions>,
    /// Secrets only.
    pub(crate) kind: String,
}

impl GeneratorArgs {
    /// The fields of both kinds, all of them embedded.
    pub(crate) fn decode_fields(object: &mut Object<'_>) -> Result<Self, String> {
        let mut args = Self {
            namespace: object.inline_text("namespace")?,
            name: object.inline_text("name")?,
            behavior: object.inline_text("behavior")?,
            literals: object.texts("literals")?.unwrap_or_default(),
            files: object.texts("files")?.unwrap_or_default(),
            envs: object.texts("envs")?.unwrap_or_default(),
            options: object.object("options")?,
            kind: String::new(),
        };
        // KZ-FILE-016
        let env = object.inline_text("env")?;
        if !env.is_empty() {
            args.envs.push(env);
        }
        Ok(args)
    }
}

/// An entry of `configMapGenerator`.
#[derive(Debug, Default)]
pub(super) struct ConfigMapArgs(pub(super) GeneratorArgs);

impl Decode for ConfigMapArgs {
    const NAME: &'static str = "ConfigMapArgs";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        GeneratorArgs::decode_fields(object).map(Self)
    }
}

/// An entry of `secretGenerator`.
#[derive(Debug, Default)]
pub(super) struct SecretArgs(pub(super) GeneratorArgs);

impl Decode for SecretArgs {
    const NAME: &'static str = "SecretArgs";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        let kind = object.text("type")?;
        let args = GeneratorArgs::decode_fields(object)?;
        Ok(Self(GeneratorArgs { kind, ..args }))
    }
}

/// `options` of an entry, and `generatorOptions` of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct GeneratorOptions {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) disable_name_suffix_hash: bool,
    pub(crate) immutable: bool,
}

impl Decode for GeneratorOptions {
    const NAME: &'static str = "GeneratorOptions";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            labels: object.text_map("labels")?.unwrap_or_default(),
            annotations: object.text_map("annotations")?.unwrap_or_default(),
            disable_name_suffix_hash: object.boolean("disableNameSuffixHash")?,
            immutable: object.boolean("immutable")?,
        })
    }
}

impl GeneratorOptions {
    /// The entry's options, with those of the file as defaults (KZ-GEN-017).
    pub(crate) fn merged(local: Option<Self>, global: Option<&Self>) -> Option<Self> {
        let Some(global) = global else {
            return local;
        };
        let mut merged = global.clone();
        if let Some(local) = local {
            merged.labels.extend(local.labels);
            merged.annotations.extend(local.annotations);
            merged.disable_name_suffix_hash |= local.disable_name_suffix_hash;
            merged.immutable |= local.immutable;
        }
        Some(merged)
    }
}

/// The service account that the IAM policy generator makes (KZ-PLG-011).
#[derive(Clone, Debug, Default)]
pub(crate) struct IamPolicy {
    pub(crate) cloud: String,
    pub(crate) service: IamService,
    pub(crate) account: IamAccount,
}

/// `kubernetesService` of an [`IamPolicy`].
#[derive(Clone, Debug, Default)]
pub(crate) struct IamService {
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// `serviceAccount` of an [`IamPolicy`].
#[derive(Clone, Debug, Default)]
pub(crate) struct IamAccount {
    pub(crate) name: String,
    pub(crate) project_id: String,
}

impl Decode for IamPolicy {
    const NAME: &'static str = "IAMPolicyGeneratorArgs";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            cloud: object.text("cloud")?,
            service: object.object("kubernetesService")?.unwrap_or_default(),
            account: object.object("serviceAccount")?.unwrap_or_default(),
        })
    }
}

impl Decode for IamService {
    const NAME: &'static str = "KubernetesService";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            name: object.text("name")?,
            namespace: object.text("namespace")?,
        })
    }
}

impl Decode for IamAccount {
    const NAME: &'static str = "ServiceAccount";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            name: object.text("name")?,
            project_id: object.text("projectId")?,
        })
    }
}
