//! What a Receiver must say, whatever its API server has checked (NC-RECV-025 to NC-RECV-028).

use std::collections::BTreeSet;

use flux_api::notification::{OIDCProvider, ReceiverSpec, ReceiverType};
use flux_golang::strconv::quote;

/// Why a Receiver cannot work until it is changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// An expression cannot be used.
    #[error("{0}")]
    Expression(String),
    /// The spec contradicts itself.
    #[error("{0}")]
    Spec(String),
}

/// What is said of expressions until they are supported.
const UNSUPPORTED: &str = "CEL expressions are not supported yet";

/// Checks a spec.
pub(super) fn check(spec: &ReceiverSpec) -> Result<(), CheckError> {
    let is_set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    // NC-RECV-025, NC-RECV-030
    if is_set(&spec.resource_filter) {
        let text = format!("invalid resourceFilter expression: {UNSUPPORTED}");
        return Err(CheckError::Expression(text));
    }
    for (at, resource) in spec.resources.iter().enumerate() {
        if is_set(&resource.filter) {
            return Err(CheckError::Expression(format!(
                "invalid filter expression for resources[{at}] (kind={}, name={}): {UNSUPPORTED}",
                quote(resource.kind.as_str()),
                quote(&resource.name)
            )));
        }
    }
    // NC-RECV-026
    let is_oidc = spec.type_ == ReceiverType::GenericOidc;
    let contradiction = match (is_oidc, spec.oidc_providers.is_empty(), &spec.secret_ref) {
        (true, true, _) => "generic-oidc receiver requires at least one oidcProvider",
        (false, false, _) => "oidcProviders can only be set when type is generic-oidc",
        (true, _, Some(_)) => "secretRef cannot be set when type is generic-oidc",
        (false, _, None) => "secretRef is required when type is not generic-oidc",
        _ => "",
    };
    if !contradiction.is_empty() {
        return Err(CheckError::Spec(contradiction.to_owned()));
    }
    check_providers(&spec.oidc_providers).map_err(CheckError::Spec)?;
    // NC-RECV-028
    match spec.oidc_providers.first() {
        None => Ok(()),
        Some(provider) => Err(CheckError::Expression(format!(
            "oidcProviders[0] (issuerURL={}): {UNSUPPORTED}",
            quote(&provider.issuer_url)
        ))),
    }
}

/// NC-RECV-027
fn check_providers(providers: &[OIDCProvider]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (at, provider) in providers.iter().enumerate() {
        let url = &provider.issuer_url;
        let refuse = |why: String| Err(format!("oidcProviders[{at}]: {why}"));
        if url.is_empty() {
            return refuse("issuerURL is required".to_owned());
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return refuse("issuerURL must start with http:// or https://".to_owned());
        }
        if !seen.insert(url) {
            return refuse(format!("duplicate issuerURL {}", quote(url)));
        }
        for (index, variable) in provider.variables.iter().enumerate() {
            if variable.name.is_empty() {
                return refuse(format!("variables[{index}]: name is required"));
            }
            if variable.expression.is_empty() {
                return refuse(format!("variables[{index}]: expression is required"));
            }
        }
        if provider.validations.is_empty() {
            let why = "at least one validation is required; without any, every token that this issuer signs is accepted";
            return refuse(why.to_owned());
        }
        for (index, validation) in provider.validations.iter().enumerate() {
            if validation.expression.is_empty() {
                return refuse(format!("validations[{index}]: expression is required"));
            }
            if validation.message.is_empty() {
                return refuse(format!("validations[{index}]: message is required"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flux_api::meta::LocalObjectReference;
    use flux_api::notification::{OIDCValidation, OIDCVariable};

    use super::*;

    fn provider(url: &str) -> OIDCProvider {
        OIDCProvider {
            issuer_url: url.to_owned(),
            validations: vec![OIDCValidation {
                expression: "true".to_owned(),
                message: "m".to_owned(),
            }],
            ..OIDCProvider::default()
        }
    }

    fn spec(kind: &str, secret: bool, providers: Vec<OIDCProvider>) -> ReceiverSpec {
        ReceiverSpec {
            type_: ReceiverType::from(kind),
            secret_ref: secret.then(|| LocalObjectReference {
                name: "s".to_owned(),
            }),
            oidc_providers: providers,
            ..ReceiverSpec::default()
        }
    }

    #[test]
    fn contradictions_are_named_as_upstream_names_them() {
        // NC-RECV-026
        for (spec, want) in [
            (
                spec("generic-oidc", false, vec![]),
                "generic-oidc receiver requires at least one oidcProvider",
            ),
            (
                spec("github", true, vec![provider("https://i")]),
                "oidcProviders can only be set when type is generic-oidc",
            ),
            (
                spec("generic-oidc", true, vec![provider("https://i")]),
                "secretRef cannot be set when type is generic-oidc",
            ),
            (
                spec("github", false, vec![]),
                "secretRef is required when type is not generic-oidc",
            ),
        ] {
            let error = check(&spec).unwrap_err();
            assert!(matches!(error, CheckError::Spec(_)));
            assert_eq!(error.to_string(), want);
        }
        assert!(check(&spec("github", true, vec![])).is_ok());
    }

    #[test]
    fn issuers_are_checked() {
        // NC-RECV-027
        let mut no_validation = provider("https://i");
        no_validation.validations.clear();
        let mut no_message = provider("https://i");
        no_message.validations[0].message.clear();
        let mut no_name = provider("https://i");
        no_name.variables.push(OIDCVariable::default());
        for (providers, want) in [
            (
                vec![provider("")],
                "oidcProviders[0]: issuerURL is required",
            ),
            (
                vec![provider("ftp://i")],
                "oidcProviders[0]: issuerURL must start with http:// or https://",
            ),
            (
                vec![provider("https://i"), provider("https://i")],
                "oidcProviders[1]: duplicate issuerURL \"https://i\"",
            ),
            (
                vec![no_message],
                "oidcProviders[0]: validations[0]: message is required",
            ),
            (
                vec![no_name],
                "oidcProviders[0]: variables[0]: name is required",
            ),
        ] {
            assert_eq!(check_providers(&providers).unwrap_err(), want);
        }
        let error = check_providers(&[no_validation]).unwrap_err();
        assert!(error.starts_with("oidcProviders[0]: at least one validation is required; "));
        assert_eq!(check_providers(&[provider("https://i")]), Ok(()));
    }
}
