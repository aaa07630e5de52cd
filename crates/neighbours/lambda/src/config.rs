//! `[lambda]` and `[[function]]` of the configuration.

use std::path::PathBuf;

use craton_core::Arn;
use craton_outbound::AwsCredentials;
use serde::Deserialize;

/// How functions are run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LambdaConfig {
    /// Calls that run at the same time, over all functions; more are refused with TooManyRequestsException.
    pub max_concurrency: usize,
    /// An environment that nobody called for so long is ended.
    pub idle_s: u64,
    /// Where runtime clients are installed. Default: `lambda` beside the model store's folder.
    pub runtimes_dir: Option<PathBuf>,
}

impl Default for LambdaConfig {
    fn default() -> Self {
        Self { max_concurrency: 64, idle_s: 300, runtimes_dir: None }
    }
}

/// A function that is somewhere else. Exactly one of `url`, `folder` and `arn` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MappedFunction {
    pub name: String,
    /// `http://host:port/path` that takes the event as a POST and answers with the result.
    pub url: Option<String>,
    /// A folder of sources; changed files are noticed by the next call.
    pub folder: Option<PathBuf>,
    /// For a folder: `python3.11`, `nodejs20.x`…
    pub runtime: Option<String>,
    /// For a folder: `file.function`.
    pub handler: Option<String>,
    /// Seconds a call may take.
    pub timeout_s: Option<u32>,
    /// A function of a real AWS Lambda.
    pub arn: Option<String>,
    /// For an ARN: the Lambda to call, when it is not AWS's own.
    pub endpoint: Option<String>,
    /// For an ARN: environment variables with the keys of an account that may call it. Default: AWS's own names.
    pub access_key_id_env: Option<String>,
    pub secret_access_key_env: Option<String>,
    pub session_token_env: Option<String>,
    /// For an ARN: a profile of the credentials file in place of variables.
    pub aws_profile: Option<String>,
    /// The credentials file. Default: `~/.aws/credentials`.
    pub aws_credentials_file: Option<PathBuf>,
}

impl LambdaConfig {
    /// The first thing that is wrong, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if self.max_concurrency == 0 {
            return Err("max_concurrency must be at least 1".into());
        }
        Ok(())
    }
}

/// Where a mapped function is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Url(String),
    Folder { folder: PathBuf, runtime: String, handler: String },
    Aws { arn: Arn, endpoint: Option<String>, credentials: AwsCredentials },
}

impl MappedFunction {
    /// The first thing that is wrong, if anything is.
    pub fn check(&self) -> Result<(), String> {
        self.target().map(drop)
    }

    /// Where it is. Errors: the first thing that is wrong. Settings of another kind of function are refused.
    pub(crate) fn target(&self) -> Result<Target, String> {
        let name = &self.name;
        if name.is_empty() {
            return Err("a function needs a name".into());
        }
        let of_folder = self.runtime.is_some() || self.handler.is_some();
        let variables = [&self.access_key_id_env, &self.secret_access_key_env, &self.session_token_env];
        let of_aws = variables.into_iter().any(Option::is_some)
            || self.endpoint.is_some()
            || self.aws_profile.is_some()
            || self.aws_credentials_file.is_some();
        if of_folder && self.folder.is_none() {
            return Err(format!("{name}: runtime and handler are for a folder"));
        }
        if of_aws && self.arn.is_none() {
            return Err(format!("{name}: endpoint and keys of an account are for an arn"));
        }
        match (&self.url, &self.folder, &self.arn) {
            (Some(url), None, None) if is_url(url) => Ok(Target::Url(url.clone())),
            (Some(_), None, None) => Err(format!("{name}: url must begin with http:// or https://")),
            (None, Some(folder), None) => match (&self.runtime, &self.handler) {
                (Some(runtime), Some(handler)) => Ok(Target::Folder {
                    folder: folder.clone(),
                    runtime: runtime.clone(),
                    handler: handler.clone(),
                }),
                _ => Err(format!("{name}: a folder needs runtime and handler")),
            },
            (None, None, Some(arn)) => self.of_aws(arn).map_err(|problem| format!("{name}: {problem}")),
            _ => Err(format!("{name}: set one of url, folder and arn")),
        }
    }

    fn of_aws(&self, arn: &str) -> Result<Target, String> {
        let named: Option<Arn> = arn.parse().ok();
        let named = named.filter(|arn| arn.service == "lambda" && arn.resource.starts_with("function:"));
        let named = named.ok_or_else(|| format!("{arn} is not a function's ARN"))?;
        if self.endpoint.as_deref().is_some_and(|endpoint| !is_url(endpoint)) {
            return Err("endpoint must begin with http:// or https://".into());
        }
        let variables = [&self.access_key_id_env, &self.secret_access_key_env, &self.session_token_env];
        let credentials = AwsCredentials::configured(
            self.aws_profile.as_deref(),
            self.aws_credentials_file.as_deref(),
            variables.map(Option::as_deref),
        )?;
        let endpoint = self.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        Ok(Target::Aws { arn: named, endpoint, credentials })
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
