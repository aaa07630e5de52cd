//! Functions, and what they call AWS services with.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_core::{Account, Clock, IdSource};
use craton_identity::directory::Directory;
use craton_lambda::{Credentials, Lambda, LambdaParts};
use craton_objects::Objects;
use craton_store::Store;

use crate::config::ServerConfig;

/// How long a function's credentials last. Environments are ended long before.
const SESSION_MS: i64 = 12 * 60 * 60 * 1000;

/// Temporary credentials of a function's role, where there is such a role, and this server's own endpoint.
struct RoleSessions {
    directory: Directory,
    clock: Arc<dyn Clock>,
    url: String,
}

impl Credentials for RoleSessions {
    fn variables(&self, role_arn: &str, function_arn: &str) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::from([("AWS_ENDPOINT_URL".to_owned(), self.url.clone())]);
        let name = function_arn.rsplit(':').next().unwrap_or("function");
        let now_ms = self.clock.now_ms();
        match self.directory.service_session(role_arn, name, (now_ms, now_ms + SESSION_MS)) {
            Ok(Some(session)) => variables.extend([
                ("AWS_ACCESS_KEY_ID".to_owned(), session.access_key_id),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), session.secret.expose().to_owned()),
                ("AWS_SESSION_TOKEN".to_owned(), session.token),
            ]),
            // A role that nobody made: the function runs, and is a stranger to every service.
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "a function gets no credentials"),
        }
        variables
    }
}

pub(crate) fn functions(
    config: &ServerConfig,
    (store, directory, objects): (&Store, &Directory, &Objects),
    account: &Arc<Account>,
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
    url: &str,
) -> Lambda {
    Lambda::new(LambdaParts {
        store: store.clone(),
        objects: Some(Arc::new(objects.clone())),
        account: Arc::clone(account),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        directory: config.data_dir.join("lambda"),
        config: config.lambda.clone(),
        functions: config.functions.clone(),
        credentials: Arc::new(RoleSessions {
            directory: directory.clone(),
            clock: Arc::clone(clock),
            url: url.to_owned(),
        }),
    })
}
