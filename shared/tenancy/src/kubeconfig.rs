//! Kubeconfigs that users write: what of them is used (RT-ACL-012, KC-REMOTE-008).

use kube::config::Kubeconfig;

use crate::KubeConfigFlags;

/// Kubeconfigs are read up to this size, which a Secret does not exceed.
const MAX_BYTES: usize = 2 << 20;

/// Why a kubeconfig cannot be used. The texts hold nothing of it but names (RT-ACL-020).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeConfigError {
    /// It is not the YAML of a kubeconfig.
    #[error("{0}")]
    Malformed(String),
    /// An entry has no content.
    #[error("{kind} '{name}' is nil")]
    Empty {
        /// `cluster` or `user`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An entry refers to a file of the controller.
    #[error("{kind} '{name}' references a {file} file, only {instead} is supported")]
    File {
        /// `cluster` or `user`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The field.
        file: &'static str,
        /// What may be used instead.
        instead: &'static str,
    },
    /// As [`KubeConfigError::File`], for the file of a token, which upstream words differently.
    #[error("user '{0}' references a tokenFile, only an inline token is supported")]
    TokenFile(String),
}

/// Reads a kubeconfig and drops what a user may not have: auth providers and impersonation always, commands and the switch
/// that turns the check of certificates off unless a flag permits them.
///
/// # Errors
/// It is malformed, or names a file: every entry counts, clusters before users.
pub(crate) fn sanitized(
    text: &[u8],
    flags: &KubeConfigFlags,
) -> Result<Kubeconfig, KubeConfigError> {
    let malformed = |problem: &str| KubeConfigError::Malformed(problem.to_owned());
    if text.len() > MAX_BYTES {
        return Err(malformed("it is too large"));
    }
    let text = std::str::from_utf8(text).map_err(|_| malformed("it is not UTF-8"))?;
    let parsed = Kubeconfig::from_yaml(text);
    let mut kubeconfig =
        parsed.map_err(|error| malformed(&flux_objects::words_of_kubeconfig(&error)))?;
    for named in &mut kubeconfig.clusters {
        let name = &named.name;
        let cluster = named
            .cluster
            .as_mut()
            .ok_or_else(|| KubeConfigError::Empty {
                kind: "cluster",
                name: name.clone(),
            })?;
        if is_set(cluster.certificate_authority.as_ref()) {
            return Err(KubeConfigError::File {
                kind: "cluster",
                name: name.clone(),
                file: "certificate-authority",
                instead: "certificate-authority-data",
            });
        }
        if !flags.insecure_kubeconfig_tls {
            cluster.insecure_skip_tls_verify = None;
        }
    }
    for named in &mut kubeconfig.auth_infos {
        let name = &named.name;
        let user = named
            .auth_info
            .as_mut()
            .ok_or_else(|| KubeConfigError::Empty {
                kind: "user",
                name: name.clone(),
            })?;
        if is_set(user.token_file.as_ref()) {
            return Err(KubeConfigError::TokenFile(name.clone()));
        }
        let files = [
            (
                &user.client_certificate,
                "client-certificate",
                "client-certificate-data",
            ),
            (&user.client_key, "client-key", "client-key-data"),
        ];
        for (path, file, instead) in files {
            if is_set(path.as_ref()) {
                return Err(KubeConfigError::File {
                    kind: "user",
                    name: name.clone(),
                    file,
                    instead,
                });
            }
        }
        user.auth_provider = None;
        user.impersonate = None;
        user.impersonate_groups = None;
        user.impersonate_uid = None;
        user.impersonate_user_extra = None;
        if !flags.insecure_kubeconfig_exec {
            user.exec = None;
        }
    }
    Ok(kubeconfig)
}

fn is_set(path: Option<&String>) -> bool {
    path.is_some_and(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(exec: bool, tls: bool) -> KubeConfigFlags {
        KubeConfigFlags {
            default_kubeconfig_service_account: String::new(),
            insecure_kubeconfig_exec: exec,
            insecure_kubeconfig_tls: tls,
        }
    }

    /// A kubeconfig with a second cluster and user that are not those of the current context.
    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: a, user: a}}}}]\n\
             clusters:\n- {{name: a, cluster: {{server: 'https://10.0.0.1'}}}}\n- {{name: k, cluster: {cluster}}}\n\
             users:\n- {{name: a, user: {{token: t}}}}\n- {{name: u, user: {user}}}\n"
        )
    }

    fn read(cluster: &str, user: &str) -> Result<Kubeconfig, String> {
        let text = kubeconfig(cluster, user);
        sanitized(text.as_bytes(), &flags(false, false)).map_err(|error| error.to_string())
    }

    #[test]
    fn files_and_empty_entries_are_refused() {
        // RT-ACL-020, KC-REMOTE-019
        let server = "{server: 'https://10.0.0.2'}";
        for (cluster, user, said) in [
            (
                "{server: 'https://a', certificate-authority: /etc/ca}",
                "{tokenFile: /t}",
                "cluster 'k' references a certificate-authority file, only certificate-authority-data is supported",
            ),
            (
                server,
                "{tokenFile: /t, client-certificate: /c}",
                "user 'u' references a tokenFile, only an inline token is supported",
            ),
            (
                server,
                "{client-certificate: /c, client-key: /k}",
                "user 'u' references a client-certificate file, only client-certificate-data is supported",
            ),
            (
                server,
                "{client-key: /k}",
                "user 'u' references a client-key file, only client-key-data is supported",
            ),
            ("null", "{}", "cluster 'k' is nil"),
            (server, "null", "user 'u' is nil"),
        ] {
            assert_eq!(read(cluster, user).unwrap_err(), said);
        }
        let malformed = sanitized(b"users: [{token: s3cret", &flags(false, false));
        let said = malformed.unwrap_err().to_string();
        assert!(!said.contains("s3cret"), "{said}");
    }

    #[test]
    fn what_is_not_for_users_is_dropped() {
        // RT-ACL-012, KC-REMOTE-008, KC-PROC-020
        let cluster = "{server: 'https://a', insecure-skip-tls-verify: true, tls-server-name: n, proxy-url: 'http://p:1', \
                       disable-compression: true, certificate-authority-data: Y2E=}";
        let user = "{username: u, password: p, token: t, client-certificate-data: Yw==, client-key-data: aw==, \
                    auth-provider: {name: gcp, config: {}}, as: root, as-groups: ['system:masters'], \
                    exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/false, interactiveMode: Never}}";
        // HC-REMOTE-005
        for (exec, tls) in [(false, false), (true, false), (false, true)] {
            let text = kubeconfig(cluster, user);
            let read = sanitized(text.as_bytes(), &flags(exec, tls)).unwrap();
            let cluster = read.clusters[1].cluster.as_ref().unwrap();
            assert_eq!(cluster.insecure_skip_tls_verify.is_some(), tls);
            assert_eq!(cluster.tls_server_name.as_deref(), Some("n"));
            assert_eq!(cluster.proxy_url.as_deref(), Some("http://p:1"));
            assert_eq!(cluster.disable_compression, Some(true));
            assert!(cluster.certificate_authority_data.is_some());
            let user = read.auth_infos[1].auth_info.as_ref().unwrap();
            assert_eq!(user.exec.is_some(), exec);
            assert!(user.auth_provider.is_none() && user.impersonate.is_none());
            assert!(user.impersonate_groups.is_none());
            assert!(user.username.is_some() && user.password.is_some() && user.token.is_some());
            assert!(user.client_certificate_data.is_some() && user.client_key_data.is_some());
        }
    }
}
