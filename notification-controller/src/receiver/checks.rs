//! What a Receiver must say, whatever its API server has checked (NC-RECV-025 to NC-RECV-028).

use std::collections::BTreeSet;

use flux_api::notification::{OIDCProvider, ReceiverSpec, ReceiverType};
use flux_golang::strconv::quote;

use crate::claims::Claims;
use crate::expression;

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

/// Checks a spec.
pub(super) fn check(spec: &ReceiverSpec) -> Result<(), CheckError> {
    let is_oidc = spec.type_ == ReceiverType::GenericOidc;
    let compile = |text: &Option<String>, what: &dyn Fn() -> String| {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(());
        };
        match expression::filter(text, is_oidc) {
            Ok(_) => Ok(()),
            Err(error) => Err(CheckError::Expression(format!("{}: {error}", what()))),
        }
    };
    // NC-RECV-025, NC-RECV-030
    compile(&spec.resource_filter, &|| {
        "invalid resourceFilter expression".to_owned()
    })?;
    for (at, resource) in spec.resources.iter().enumerate() {
        compile(&resource.filter, &|| {
            format!(
                "invalid filter expression for resources[{at}] (kind={}, name={})",
                quote(resource.kind.as_str()),
                quote(&resource.name)
            )
        })?;
    }
    // NC-RECV-026
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
    for (at, provider) in spec.oidc_providers.iter().enumerate() {
        if let Err(error) = Claims::new(provider) {
            return Err(CheckError::Expression(format!(
                "oidcProviders[{at}] (issuerURL={}): {error}",
                quote(&provider.issuer_url)
            )));
        }
    }
    Ok(())
}

/// NC-RECV-027
fn check_providers(providers: &[OIDCProvider]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (at, provider) in providers.iter().enumerate() {
        let url = &provider.issuer_url;
        let shown = quote(url);
        if url.is_empty() {
            return Err(format!("oidcProviders[{at}]: issuerURL is required"));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!(
                "oidcProviders[{at}]: issuerURL {shown} must start with http:// or https://"
            ));
        }
        if !seen.insert(url) {
            return Err(format!("oidcProviders[{at}]: duplicate issuerURL {shown}"));
        }
        let refuse = |why: String| Err(format!("oidcProviders[{at}] (issuerURL={shown}): {why}"));
        if provider.validations.is_empty() {
            let why = "at least one validation is required; without validations any caller able to obtain a token from this issuer can trigger the Receiver";
            return refuse(why.to_owned());
        }
        for (index, variable) in provider.variables.iter().enumerate() {
            if variable.name.is_empty() {
                return refuse(format!("variables[{index}]: name is required"));
            }
            if variable.expression.is_empty() {
                let name = quote(&variable.name);
                return refuse(format!(
                    "variables[{index}] (name={name}): expression is required"
                ));
            }
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
    use flux_api::notification::{OIDCValidation, OIDCVariable, ReceiverResource};

    use super::*;

    fn provider(url: &str) -> OIDCProvider {
        OIDCProvider {
            issuer_url: url.to_owned(),
            validations: vec![OIDCValidation {
                expression: "claims.sub == 'x'".to_owned(),
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
        let oidc = spec("generic-oidc", false, vec![provider("https://i")]);
        assert!(check(&oidc).is_ok());
    }

    #[test]
    fn expressions_are_compiled() {
        // NC-RECV-025, NC-RECV-030
        let mut top = spec("github", true, vec![]);
        top.resource_filter = Some("'x'".to_owned());
        let error = check(&top).unwrap_err();
        assert!(matches!(error, CheckError::Expression(_)));
        assert_eq!(
            error.to_string(),
            "invalid resourceFilter expression: CEL expression output type mismatch: expected bool, got string"
        );
        let mut each = spec("github", true, vec![]);
        each.resources = vec![ReceiverResource {
            kind: "GitRepository".into(),
            name: "app".to_owned(),
            filter: Some("claims.a".to_owned()),
            ..ReceiverResource::default()
        }];
        let error = check(&each).unwrap_err().to_string();
        let begin =
            "invalid filter expression for resources[0] (kind=\"GitRepository\", name=\"app\"): ";
        assert!(error.starts_with(begin), "{error}");
        // NC-RECV-028
        let mut unknown = provider("https://i");
        unknown.validations[0].expression = "other == 1".to_owned();
        let error = check(&spec("generic-oidc", false, vec![unknown])).unwrap_err();
        let text = error.to_string();
        let begin =
            "oidcProviders[0] (issuerURL=\"https://i\"): invalid expression for validation \"m\": ";
        assert!(text.starts_with(begin), "{text}");
        assert!(matches!(error, CheckError::Expression(_)));
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
        let mut no_expression = provider("https://i");
        no_expression.variables.push(OIDCVariable {
            name: "v".to_owned(),
            expression: String::new(),
        });
        let of = "oidcProviders[0] (issuerURL=\"https://i\"): ";
        for (providers, want) in [
            (
                vec![provider("")],
                "oidcProviders[0]: issuerURL is required".to_owned(),
            ),
            (
                vec![provider("ftp://i")],
                "oidcProviders[0]: issuerURL \"ftp://i\" must start with http:// or https://"
                    .to_owned(),
            ),
            (
                vec![provider("https://i"), provider("https://i")],
                "oidcProviders[1]: duplicate issuerURL \"https://i\"".to_owned(),
            ),
            (
                vec![no_message],
                format!("{of}validations[0]: message is required"),
            ),
            (vec![no_name], format!("{of}variables[0]: name is required")),
            (
                vec![no_expression],
                format!("{of}variables[0] (name=\"v\"): expression is required"),
            ),
        ] {
            assert_eq!(check_providers(&providers).unwrap_err(), want);
        }
        let error = check_providers(&[no_validation]).unwrap_err();
        assert!(error.starts_with(&format!("{of}at least one validation is required; ")));
    }
}
