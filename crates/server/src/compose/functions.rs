//! Functions, and what they call AWS services with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use craton_core::{Account, Clock, IdSource};
use craton_identity::directory::Directory;
use craton_identity::policy::{Policy, PolicyKind};
use craton_identity::{PolicySource as _, ServiceRoles, ServiceUse};
use craton_lambda::{Credentials, Lambda, LambdaParts};
use craton_models::files::ModelFiles;
use craton_objects::Objects;
use craton_sandbox::Sandbox;
use craton_store::Store;

use crate::config::{ConfigError, ServerConfig};

/// How long a function's credentials last. Environments are ended long before.
const SESSION_MS: i64 = 12 * 60 * 60 * 1000;

/// Whose role a function can be given.
const SERVICE: &str = "lambda.amazonaws.com";

/// Temporary credentials of a function's role, where there is such a role and it trusts Lambda to act for the function;
/// and this server's own endpoint.
struct RoleSessions {
    directory: Directory,
    roles: ServiceRoles,
    clock: Arc<dyn Clock>,
    url: String,
    /// The server's own certificate chain, when it serves TLS.
    certificate: Option<PathBuf>,
}

impl Credentials for RoleSessions {
    fn certificates(&self) -> Option<PathBuf> {
        self.certificate.clone()
    }

    fn variables(&self, role_arn: &str, function_arn: &str) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::from([("AWS_ENDPOINT_URL".to_owned(), self.url.clone())]);
        // Without: the function runs, and is a stranger to every service.
        if let Err(error) =
            self.roles.trusts(&ServiceUse { role_arn, service: SERVICE, source_arn: Some(function_arn) })
        {
            tracing::warn!(function_arn, error = error.message, "a function gets no credentials");
            return variables;
        }
        let name = function_arn.rsplit(':').next().unwrap_or("function");
        let now_ms = self.clock.now_ms();
        match self.directory.service_session(role_arn, name, (now_ms, now_ms + SESSION_MS)) {
            Ok(Some(session)) => variables.extend([
                ("AWS_ACCESS_KEY_ID".to_owned(), session.access_key_id),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), session.secret.expose().to_owned()),
                ("AWS_SESSION_TOKEN".to_owned(), session.token),
            ]),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "a function gets no credentials"),
        }
        variables
    }

    fn may_be_given(&self, role_arn: &str, function_arn: &str) -> bool {
        let usage = ServiceUse { role_arn, service: SERVICE, source_arn: Some(function_arn) };
        self.roles.check_trust(&usage).is_ok()
    }

    fn bind_principals(&self, policy: &str) -> Option<String> {
        Policy::parse(policy, PolicyKind::Resource).ok()?;
        self.directory.bind_principals(policy).ok()
    }

    fn show_principals(&self, policy: &str) -> String {
        self.directory.show_principals(policy)
    }
}

pub(crate) fn functions(
    (config, url, certificate): (&ServerConfig, &str, Option<&Path>),
    (store, directory, objects): (&Store, &Directory, &Objects),
    (files, sandbox): (&ModelFiles, &Sandbox),
    (account, roles): (&Arc<Account>, &ServiceRoles),
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
) -> Result<Lambda, ConfigError> {
    let lambda = Lambda::new(LambdaParts {
        store: store.clone(),
        objects: Some(Arc::new(objects.clone())),
        account: Arc::clone(account),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        directory: config.data_dir.join("lambda"),
        runtimes: runtimes(config, files),
        sandbox: sandbox.clone(),
        config: config.lambda.clone(),
        functions: config.functions.clone(),
        credentials: Arc::new(RoleSessions {
            directory: directory.clone(),
            roles: roles.clone(),
            clock: Arc::clone(clock),
            url: url.to_owned(),
            // Functions run in folders of their own.
            certificate: certificate.and_then(|file| std::path::absolute(file).ok()),
        }),
    });
    lambda.map_err(|message| ConfigError::Value { key: "function", message })
}

/// Where AWS's runtime clients are kept: beside the model store, for every data directory.
fn runtimes(config: &ServerConfig, files: &ModelFiles) -> PathBuf {
    let beside = files.directory().parent().map(|cache| cache.join("lambda"));
    let configured = config.lambda.runtimes_dir.clone();
    configured.or(beside).unwrap_or_else(|| config.data_dir.join("lambda/runtimes"))
}

#[cfg(test)]
mod tests {
    use craton_core::SystemClock;
    use craton_identity::directory::{Document, NewRole};

    use super::*;

    #[tokio::test]
    async fn credentials_of_a_role_go_only_to_functions_it_trusts() {
        let directory = Directory::in_memory("123456789012").await.unwrap();
        let trusting = |service: &str, condition: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole",
                    "Principal":{{"Service":"{service}"}},"Condition":{condition}}}}}"#
            );
            Document::parse(&text, PolicyKind::Trust).unwrap()
        };
        for (name, trust) in [
            ("Function", trusting(SERVICE, "{}")),
            ("Agent", trusting("bedrock.amazonaws.com", "{}")),
            (
                "OfOne",
                trusting(SERVICE, r#"{"ArnLike":{"aws:SourceArn":"arn:aws:lambda:*:*:function:one"}}"#),
            ),
            ("Elsewhere", trusting(SERVICE, r#"{"StringEquals":{"aws:SourceAccount":"999999999999"}}"#)),
        ] {
            let role = NewRole {
                name: name.into(),
                path: "/".into(),
                trust,
                description: None,
                max_session_s: 3600,
                boundary: None,
                tags: BTreeMap::new(),
            };
            directory.change(0, |draft| draft.create_role(role)).await.unwrap();
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        for enforce in [true, false] {
            let source: Arc<dyn craton_identity::PolicySource> = Arc::new(directory.clone());
            let roles = ServiceRoles::new(source, "123456789012", enforce);
            let (directory, clock, url) =
                (directory.clone(), Arc::clone(&clock), "http://127.0.0.1:1".into());
            let sessions = RoleSessions { directory, roles, clock, url, certificate: None };
            for (role, function, given) in [
                ("Function", "one", true),
                ("Agent", "one", false),
                ("OfOne", "one", true),
                ("OfOne", "two", false),
                ("Elsewhere", "one", false),
                ("Nobodys", "one", false),
            ] {
                let role_arn = format!("arn:aws:iam::123456789012:role/{role}");
                let function_arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{function}");
                let variables = sessions.variables(&role_arn, &function_arn);
                assert_eq!(variables.contains_key("AWS_SESSION_TOKEN"), given, "{role} {function} {enforce}");
                assert!(variables.contains_key("AWS_ENDPOINT_URL"));
            }
        }
    }
}
