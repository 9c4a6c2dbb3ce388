//! The certificate authorities of a kubeconfig, checked before a client is made with them (HC-REMOTE-009).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flux_http::TlsSettings;
use flux_runtime::client;
use kube::config::Kubeconfig;

/// Checks the authorities of the cluster in the current context. What is not base64 is refused when the kubeconfig is
/// loaded.
///
/// # Errors
/// They contain no certificate. The texts are client-go's.
pub(crate) fn check(kubeconfig: &Kubeconfig) -> Result<(), &'static str> {
    let cluster = client::current_cluster(kubeconfig);
    let data = cluster.and_then(|cluster| cluster.certificate_authority_data.as_deref());
    let Some(pem) = data.and_then(|data| BASE64_STANDARD.decode(data).ok()) else {
        return Ok(());
    };
    if pem.is_empty() {
        return Ok(()); // as if there were none
    }
    let settings = TlsSettings {
        authorities: Some(pem.clone()),
        ..TlsSettings::default()
    };
    if settings.validate().is_ok() {
        return Ok(());
    }
    let has = |text: &[u8]| pem.windows(text.len()).any(|part| part == text);
    Err(if has(b"-----BEGIN CERTIFICATE-----") {
        "unable to load root certificates: failed to parse certificate: x509: malformed certificate"
    } else if has(b"-----BEGIN ") {
        "unable to load root certificates: no valid certificate authority data seen"
    } else {
        "unable to load root certificates: unable to parse bytes as PEM block"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(data: Option<&str>) -> Result<(), &'static str> {
        let cluster = |data: &str| {
            format!(
                "{{server: 'https://10.0.0.1', certificate-authority-data: '{}'}}",
                BASE64_STANDARD.encode(data)
            )
        };
        // The other cluster's are not used.
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: a}}}}]\n\
             clusters:\n- {{name: b, cluster: {}}}\n- {{name: a, cluster: {}}}\n",
            cluster("nothing"),
            data.map_or("{server: 'https://10.0.0.1'}".to_owned(), cluster)
        );
        check(&Kubeconfig::from_yaml(&text).unwrap())
    }

    // HC-REMOTE-009
    #[test]
    fn authorities_without_a_certificate_are_refused_in_the_words_of_client_go() {
        let block = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        assert_eq!(with(None), Ok(()));
        assert_eq!(with(Some("")), Ok(()));
        for (data, why) in [
            ("nothing", "unable to parse bytes as PEM block"),
            (
                &*block("CERTIFICATE"),
                "failed to parse certificate: x509: malformed certificate",
            ),
            (
                &*block("PUBLIC KEY"),
                "no valid certificate authority data seen",
            ),
        ] {
            let refused = with(Some(data)).unwrap_err();
            assert_eq!(refused, format!("unable to load root certificates: {why}"));
        }
    }
}
