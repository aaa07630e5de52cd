//! Functions that configuration sends elsewhere: to an HTTP endpoint, or to a folder of sources.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use craton_backend::function::FunctionError;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::config::MappedFunction;
use crate::runtime::{MAX_PAYLOAD_BYTES, Outcome};

const DEFAULT_TIMEOUT_S: u32 = 30;
/// Files of a folder whose changes are looked for.
const MAX_WATCHED_FILES: usize = 2_000;

/// The functions of the configuration, by name.
pub(crate) struct Mapped {
    functions: HashMap<String, MappedFunction>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Mapped {
    pub(crate) fn new(functions: &[MappedFunction]) -> Self {
        let functions = functions.iter().map(|function| (function.name.clone(), function.clone())).collect();
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        Self { functions, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&MappedFunction> {
        self.functions.get(name)
    }

    /// Posts an event to an endpoint. An answer that is no success is the function's failure.
    pub(crate) async fn post(
        &self,
        function: &MappedFunction,
        url: &str,
        payload: Bytes,
    ) -> Result<Outcome, FunctionError> {
        let unavailable = |what: String| FunctionError::Unavailable(format!("{url}: {what}"));
        let request = Request::post(url).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(payload)).map_err(|error| unavailable(error.to_string()))?;
        let answering = async {
            let response =
                self.client.request(request).await.map_err(|error| unavailable(error.to_string()))?;
            let failed = !response.status().is_success();
            let body = Limited::new(response.into_body(), MAX_PAYLOAD_BYTES).collect().await;
            let payload = body.map_err(|error| unavailable(error.to_string()))?.to_bytes();
            Ok(Outcome { payload, failed, log_tail: String::new() })
        };
        let patience = Duration::from_secs(u64::from(function.timeout_s.unwrap_or(DEFAULT_TIMEOUT_S)));
        let answer = tokio::time::timeout(patience, answering).await;
        answer.unwrap_or_else(|_| Err(unavailable(format!("no answer within {} s", patience.as_secs()))))
    }
}

/// A mark that changes when a file of the folder does, so that the next call starts a new environment.
pub(crate) fn folder_mark(folder: &Path) -> String {
    let mut newest = SystemTime::UNIX_EPOCH;
    let (mut files, mut bytes) = (0_usize, 0_u64);
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
            if metadata.is_dir() && !hidden {
                folders.push(entry.path());
            } else if metadata.is_file() {
                files += 1;
                bytes += metadata.len();
                newest = newest.max(metadata.modified().unwrap_or(newest));
            }
            if files > MAX_WATCHED_FILES {
                break;
            }
        }
    }
    let newest = newest.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{files}-{bytes}-{}", newest.as_nanos())
}
