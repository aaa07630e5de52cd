//! Functions that really run: each test makes a zip archive, creates a function of it and calls it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod bounds;
mod failures;
mod far;
mod management;
mod node;
mod python;
mod walls;

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::Arc;

use craton_api_lambda as api;
use craton_core::{Account, Principal, RandomIds, RequestContext, SystemClock};
use craton_lambda::{Credentials, Lambda, LambdaConfig, LambdaParts, MappedFunction};
use craton_sandbox::{Sandbox, SandboxConfig};
use craton_store::Store;
use craton_wire::types::Blob;
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(crate) struct World {
    pub lambda: Lambda,
    pub store: Store,
    pub context: RequestContext,
    pub directory: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

/// Shared with servers of this machine: installing them takes long.
fn runtimes() -> std::path::PathBuf {
    let home = std::env::var_os("HOME").expect("a home folder");
    std::path::Path::new(&home).join(".cache/craton/lambda")
}

struct Fixed;

impl Credentials for Fixed {
    fn variables(&self, role_arn: &str, _: &str) -> BTreeMap<String, String> {
        let key = format!("key-of-{}", role_arn.rsplit('/').next().unwrap());
        BTreeMap::from([
            ("AWS_ACCESS_KEY_ID".to_owned(), key),
            ("AWS_ENDPOINT_URL".to_owned(), "http://server".to_owned()),
        ])
    }
}

pub(crate) async fn world(functions: Vec<MappedFunction>) -> World {
    world_with(functions, LambdaConfig::default(), tempfile::tempdir().unwrap()).await
}

pub(crate) async fn world_with(
    functions: Vec<MappedFunction>,
    config: LambdaConfig,
    folder: tempfile::TempDir,
) -> World {
    let store = Store::in_memory().await.unwrap();
    let account = Arc::new(Account::default());
    let lambda = Lambda::new(LambdaParts {
        store: store.clone(),
        objects: None,
        account: Arc::clone(&account),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        directory: folder.path().join("lambda"),
        runtimes: runtimes(),
        sandbox: Sandbox::new(SandboxConfig::default(), &[]),
        config,
        functions,
        credentials: Arc::new(Fixed),
    })
    .unwrap();
    let context = RequestContext {
        request_id: "r".into(),
        region: account.home_region.clone(),
        principal: Arc::new(Principal::new(format!("arn:aws:iam::{}:root", account.id), "AKIATEST")),
        account,
        source_ip: None,
        received_ms: 0,
    };
    World { lambda, store, context, directory: folder.path().join("lambda"), _folder: folder }
}

pub(crate) fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub(crate) fn zip_file(source: &str) -> Option<Blob> {
    Some(Blob(archive(&[("main.py", source)]).into()))
}

pub(crate) struct Called {
    pub payload: Value,
    pub error: Option<String>,
    pub log: String,
    pub version: String,
}

impl World {
    /// What a function has printed so far.
    pub(crate) fn log(&self, name: &str) -> String {
        let path = self.directory.join("logs/us-east-1").join(format!("{name}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Waits until a function has printed this.
    pub(crate) async fn printed(&self, name: &str, text: &str) -> String {
        for _ in 0..600 {
            let log = self.log(name);
            if log.contains(text) {
                return log;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("no {text:?} in the log of {name}:\n{}", self.log(name));
    }

    pub(crate) async fn create(&self, name: &str, source: &str) -> api::FunctionConfiguration {
        self.create_with(name, source, |_| {}).await
    }

    pub(crate) async fn create_with(
        &self,
        name: &str,
        source: &str,
        change: impl FnOnce(&mut api::CreateFunctionRequest),
    ) -> api::FunctionConfiguration {
        let mut request = api::CreateFunctionRequest {
            function_name: name.into(),
            runtime: Some(api::Runtime::Python311),
            role: "arn:aws:iam::123456789012:role/service-role/L".into(),
            handler: Some("main.handler".into()),
            code: api::FunctionCode { zip_file: zip_file(source), ..Default::default() },
            timeout: Some(10),
            ..Default::default()
        };
        change(&mut request);
        self.lambda.create_function(&self.context, request).await.unwrap()
    }

    pub(crate) async fn call(&self, name: &str, payload: Value) -> Called {
        let request = api::InvocationRequest {
            function_name: name.into(),
            log_type: Some(api::LogType::Tail),
            payload: Some(Blob(payload.to_string().into())),
            ..Default::default()
        };
        let answer = self.lambda.invoke(&self.context, request).await.unwrap();
        assert_eq!(answer.status_code, Some(200));
        use base64::Engine as _;
        let log = base64::engine::general_purpose::STANDARD.decode(answer.log_result.unwrap()).unwrap();
        Called {
            payload: serde_json::from_slice(&answer.payload.unwrap().0).unwrap(),
            error: answer.function_error,
            log: String::from_utf8(log).unwrap(),
            version: answer.executed_version.unwrap(),
        }
    }
}
