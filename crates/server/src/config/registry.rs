//! Every configuration key and environment variable, described once.

use std::fmt::Write as _;

/// How a setting's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Switch,
}

/// A key of `craton.toml`. Keys in a table are written `table.key`, those of an array of tables `[[table]].key`.
#[derive(Debug)]
pub struct Setting {
    pub key: &'static str,
    pub kind: Kind,
    /// As a reader of the documentation sees it; empty when there is none.
    pub default: &'static str,
    pub about: &'static str,
}

impl Setting {
    /// Whether one environment variable can set it: keys of arrays of tables have none.
    pub fn scalar(&self) -> bool {
        !self.key.starts_with("[[")
    }

    /// `limits.max_streams` is `CRATON_LIMITS_MAX_STREAMS`.
    pub fn variable(&self) -> String {
        format!("CRATON_{}", self.key.replace('.', "_").to_uppercase())
    }

    pub(super) fn read(&self, text: &str) -> Result<toml::Value, String> {
        match self.kind {
            Kind::Text => Ok(toml::Value::String(text.to_owned())),
            Kind::Number => {
                text.parse().map(toml::Value::Integer).map_err(|_| "must be a whole number".to_owned())
            }
            Kind::Switch => match text {
                "true" | "1" => Ok(toml::Value::Boolean(true)),
                "false" | "0" => Ok(toml::Value::Boolean(false)),
                _ => Err("must be true or false".to_owned()),
            },
        }
    }
}

/// An environment variable that is not a key of the file.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    pub about: &'static str,
}

const fn text(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Text, default, about }
}

const fn number(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Number, default, about }
}

const fn switch(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Switch, default, about }
}

pub const SETTINGS: &[Setting] = &[
    text("listen", "127.0.0.1:8473", "Address and port to listen on. Port 0 picks a free one."),
    text(
        "data_dir",
        "~/.local/share/craton",
        "Directory of root credentials, the TLS certificate and records.",
    ),
    text(
        "database_url",
        "",
        "PostgreSQL to keep records in, `postgres://user:password@host/database`, instead of SQLite in the data directory. Several servers may share it.",
    ),
    text("account_id", "123456789012", "The AWS account this server plays: twelve digits."),
    text(
        "region",
        "us-east-1",
        "The home region. Requests may be signed for others too, unless `allow_regions` says for which.",
    ),
    switch(
        "stand_ins",
        "true",
        "Let the embedded models answer for every model that nothing is configured to serve, declared at start and in \
         the header `x-craton-served-by`. `false` answers AWS's error for a model without access instead.",
    ),
    switch(
        "tls",
        "false",
        "Serve TLS instead of plain HTTP, with a self-signed certificate unless one is given.",
    ),
    text("tls_certificate", "", "PEM file with the certificate chain to serve. Needs `tls_key`."),
    text("tls_key", "", "PEM file with the key of `tls_certificate`."),
    text(
        "tls_client_ca",
        "",
        "PEM file of authorities: only clients with a certificate from one of them can connect. Needs `tls`.",
    ),
    switch(
        "insecure_listen",
        "false",
        "Listen beyond this machine without TLS, where something else protects the connection.",
    ),
    text(
        "allow_networks",
        "",
        "Networks that clients may come from, separated by commas: `10.0.0.0/8, 2001:db8::/32`. Others' connections are \
         closed at once. Empty: all.",
    ),
    text(
        "allow_regions",
        "",
        "Regions that requests may be signed for, separated by commas; the home region must be one. Empty: all.",
    ),
    switch(
        "enforce_service_roles",
        "false",
        "Check what agents, knowledge bases, flows, jobs and functions do against the policies of the roles given to \
         them. `false` lets them do everything, with roles that need not exist.",
    ),
    switch(
        "audit.enabled",
        "true",
        "Keep the audit log: one line of JSON an API call, in CloudTrail's shape.",
    ),
    text("audit.file", "", "Where it is kept. Default: `audit.jsonl` in the data directory."),
    number("audit.max_file_bytes", "67108864", "A file this long is put aside and a new one begun."),
    number("audit.kept_files", "9", "Files put aside that are kept."),
    number(
        "audit.queued_events",
        "8192",
        "Events that wait to be written. Where the disk can't keep up, further ones are dropped and counted in the log.",
    ),
    number("limits.max_connections", "4096", "Open connections; further ones wait to be accepted."),
    number("limits.max_streams", "256", "HTTP/2 streams open at once on one connection."),
    number("limits.max_headers", "100", "Header lines of an HTTP/1.1 request."),
    number("limits.max_header_bytes", "65536", "Bytes of all header lines of a request."),
    number(
        "limits.max_body_bytes",
        "70254592",
        "Bytes of a request body. A longer one is answered with status 413.",
    ),
    number(
        "limits.header_timeout_ms",
        "75000",
        "A connection that sends no complete request head for this long is closed, idle or not.",
    ),
    number("limits.body_timeout_ms", "120000", "Time for a request's body to arrive."),
    number(
        "limits.stop_grace_ms",
        "20000",
        "Time that open requests have to finish after SIGTERM or SIGINT. Streams that still run then end with a \
         modelled error.",
    ),
    number(
        "agents.max_steps",
        "25",
        "Calls of a model that one turn of an agent may make, its collaborators' included.",
    ),
    number("agents.max_run_s", "600", "Longest time of a turn."),
    number(
        "agents.function_timeout_s",
        "120",
        "Longest time that a turn waits for a function of an action group.",
    ),
    number("knowledge_bases.concurrent_syncs", "2", "Data sources synced at the same time; more wait."),
    number(
        "knowledge_bases.max_document_bytes",
        "52428800",
        "Larger documents fail, each by itself, with its reason in the ingestion job.",
    ),
    switch(
        "knowledge_bases.crawl_private_networks",
        "false",
        "Let web data sources reach loopback, private and link-local addresses.",
    ),
    number(
        "flows.max_concurrency",
        "10",
        "Nodes of one run at work at the same time, unless its alias says less.",
    ),
    number("flows.max_node_runs", "10000", "Runs of nodes in one run of a flow, each iteration counted."),
    number("flows.max_items", "1000", "Items of an array that an iterator goes through."),
    number("flows.max_value_bytes", "8388608", "Bytes of one value that a node gives."),
    number("flows.max_total_bytes", "134217728", "Bytes of all values that nodes give in one run."),
    number("flows.node_timeout_s", "300", "Seconds that one node may work."),
    number("flows.invoke_timeout_s", "3600", "Seconds that InvokeFlow may take."),
    number("flows.execution_timeout_s", "86400", "Seconds that an execution may take."),
    number("flows.concurrent_executions", "4", "Executions that run at the same time; more wait."),
    number(
        "flows.execution_retention_days",
        "90",
        "Days after which executions that ended are deleted with their events. 0 keeps them.",
    ),
    text(
        "s3.domain",
        "localhost",
        "Host names under it may name buckets: `BUCKET.s3.localhost`, `BUCKET.localhost`. Paths may always.",
    ),
    number(
        "s3.upload_expiry_days",
        "7",
        "Days after which an upload in parts that nobody completed is aborted; 0 keeps them.",
    ),
    text(
        "[[bucket]].name",
        "",
        "A bucket that lives in a real S3; `*` stands for every bucket that is not named.",
    ),
    text("[[bucket]].endpoint", "", "The S3 it lives in, such as `https://s3.eu-west-1.amazonaws.com`."),
    text("[[bucket]].region", "us-east-1", "The region to sign for."),
    text("[[bucket]].remote_name", "the name", "The bucket's name there."),
    text(
        "[[bucket]].access_key_id_env",
        "AWS_ACCESS_KEY_ID",
        "The environment variable that holds the access key id to use there.",
    ),
    text(
        "[[bucket]].secret_access_key_env",
        "AWS_SECRET_ACCESS_KEY",
        "The environment variable that holds the secret access key.",
    ),
    text(
        "[[bucket]].session_token_env",
        "AWS_SESSION_TOKEN",
        "The environment variable that holds the session token, if there is one.",
    ),
    text("[[bucket]].aws_profile", "", "A profile of the credentials file in place of these variables."),
    text("[[bucket]].aws_credentials_file", "~/.aws/credentials", "The credentials file."),
    text(
        "[[postgres]].resource_arn",
        "",
        "The `rdsConfiguration.resourceArn` by which knowledge bases of storage type RDS name this PostgreSQL.",
    ),
    text(
        "[[postgres]].url",
        "",
        "Where it is, `postgres://user@host:port`. The database and the table are the knowledge base's to name.",
    ),
    text(
        "[[postgres]].password_env",
        "",
        "The environment variable that holds the user's password, if the URL has none.",
    ),
    text(
        "[[opensearch]].resource_arn",
        "",
        "The ARN of the domain (`domainArn`) or of the collection (`collectionArn`) by which knowledge bases name this OpenSearch.",
    ),
    text("[[opensearch]].url", "", "Where it is, `https://host:port`. It needs its k-NN plugin."),
    text("[[opensearch]].username", "", "The user, for basic authentication. Without one, none."),
    text("[[opensearch]].password_env", "", "The environment variable that holds the user's password."),
    text("[[opensearch]].sign_for", "", "Sign requests for this service: `es`, of OpenSearch domains."),
    text("[[opensearch]].region", "", "The region to sign for. Default: that of `resource_arn`."),
    text("[[opensearch]].access_key_id_env", "AWS_ACCESS_KEY_ID", "The signer's access key id."),
    text("[[opensearch]].secret_access_key_env", "AWS_SECRET_ACCESS_KEY", "Its secret key."),
    text("[[opensearch]].session_token_env", "AWS_SESSION_TOKEN", "Its session token, if any."),
    text("[[opensearch]].aws_profile", "", "A profile of the credentials file in place of these variables."),
    text("[[opensearch]].aws_credentials_file", "~/.aws/credentials", "The credentials file."),
    number("engine.threads", "", "Threads a local model computes with. Default: one a core."),
    number("engine.max_sequences", "32", "Requests that generate at once, a model."),
    number(
        "engine.max_queued",
        "256",
        "Requests that wait for a place, a model; one more is answered ThrottlingException.",
    ),
    number(
        "engine.cached_sequences",
        "32",
        "Finished sequences kept for prefix reuse, a model, within the KV budget. 0 computes every prompt from its start.",
    ),
    number(
        "engine.kv_budget_mib",
        "",
        "Memory for keys and values, a model, in MiB. Default: 256, or what a context of up to 8,192 tokens takes where \
         that is more.",
    ),
    number(
        "engine.context_tokens",
        "",
        "Longest prompt and answer together. Default: what the model was trained for, within the KV budget.",
    ),
    number("engine.batch_tokens", "512", "Most tokens in one step of a model."),
    number(
        "engine.prefill_chunk_tokens",
        "64",
        "Most prompt tokens in a step that also continues answers, so that a long prompt does not stall them.",
    ),
    number("engine.draft_tokens", "7", "Most tokens of a draft (docs/local-models.md). 0 drafts nothing."),
    number("engine.default_max_tokens", "2048", "Answer length when a request gives none."),
    switch(
        "engine.fast_format",
        "true",
        "Run small models with Q4_1 weights from a copy with Q8_0 weights, made beside the file when first needed: faster, \
         and half as large again in memory (docs/local-models.md).",
    ),
    switch(
        "engine.flash_attention",
        "true",
        "Fused attention: several times as fast with many requests or kept prefixes, and a little less precise \
         (docs/local-models.md).",
    ),
    number(
        "engine.max_loaded_models",
        "16",
        "Local models loaded at once. For one more the least recently used idle one is unloaded; a busy one never is.",
    ),
    number(
        "engine.loaded_models_mib",
        "",
        "Memory of all loaded local models, weights and KV caches, in MiB; idle ones are unloaded to stay under it. \
         Default: three quarters of this machine's memory.",
    ),
    number("engine.load_timeout_ms", "120000", "How long a request waits for its model to load."),
    text(
        "guardrails.name_model",
        "en-core-web-sm",
        "Local model that finds names and addresses for guardrails; empty: by patterns only.",
    ),
    text(
        "guardrails.sentence_model",
        "all-minilm-l6-v2",
        "Local model that guardrails ask about denied topics where they are unsure; empty: none.",
    ),
    text(
        "guardrails.guard_model",
        "",
        "Model id that judges harmful content in place of the built-in classifiers; empty: none.",
    ),
    text(
        "guardrails.guard_format",
        "llama-guard",
        "How that model is asked: `llama-guard` (in its own template, hazards mapped to filters) or `json` (any chat model).",
    ),
    number("guardrails.guard_timeout_ms", "10000", "How long that model may take for one text."),
    text(
        "guardrails.guard_on_failure",
        "closed",
        "When it gives no valid answer in time: `closed` (the call fails) or `open` (the built-in classifiers judge).",
    ),
    text(
        "[[model]].id",
        "",
        "A model id or inference profile id as clients send it; a trailing `*` matches every id with that beginning.",
    ),
    text("[[model]].upstream", "", "Name of the `[[upstream]]` that serves it."),
    text("[[model]].upstream_model", "the id", "The upstream's name for it."),
    text("[[model]].local", "", "Name of the model in the model store that serves it."),
    text("[[model]].task", "chat", "What an id outside the catalogue does: `chat`, `embedding` or `rerank`."),
    text(
        "[[model]].family",
        "by its prefix",
        "InvokeModel body format of an id outside the catalogue, such as `anthropic-messages`.",
    ),
    text("[[model]].name", "", "How an id outside the catalogue is listed."),
    text("[[model]].provider", "", "The provider under which an id outside the catalogue is listed."),
    switch("[[model]].images", "false", "Whether an id outside the catalogue takes images."),
    number("[[model]].context_tokens", "", "Context of an id outside the catalogue."),
    number("[[model]].max_output_tokens", "", "Longest answer of an id outside the catalogue."),
    text(
        "[[model]].price",
        "the catalogue's",
        "`[input, output]`: US dollars for 1,000 tokens, for metering.",
    ),
    text("[[upstream]].name", "", "What `[[model]].upstream` and the header `x-craton-served-by` call it."),
    text(
        "[[upstream]].kind",
        "",
        "`openai` (any server that speaks Chat Completions), `anthropic` or `bedrock`.",
    ),
    text("[[upstream]].base_url", "", "Such as `http://localhost:8000/v1` or `https://api.anthropic.com`."),
    text("[[upstream]].api_key_env", "", "The environment variable that holds its API key."),
    text("[[upstream]].region", "from the host name", "`bedrock`: the region to sign for."),
    text(
        "[[upstream]].access_key_id_env",
        "AWS_ACCESS_KEY_ID",
        "`bedrock`: the environment variable of the key id.",
    ),
    text(
        "[[upstream]].secret_access_key_env",
        "AWS_SECRET_ACCESS_KEY",
        "`bedrock`: the environment variable of the secret key.",
    ),
    text(
        "[[upstream]].session_token_env",
        "AWS_SESSION_TOKEN",
        "`bedrock`: the environment variable of the session token, if there is one.",
    ),
    text(
        "[[upstream]].aws_profile",
        "",
        "`bedrock`: a profile of the AWS credentials file, in place of environment variables.",
    ),
    text(
        "[[upstream]].aws_credentials_file",
        "~/.aws/credentials",
        "`bedrock`: the file that has the profile. `AWS_SHARED_CREDENTIALS_FILE` where that is set.",
    ),
    text(
        "[[upstream]].headers",
        "",
        "Headers sent with every request: `headers = { \"x-team\" = \"search\" }`.",
    ),
    number("[[upstream]].max_in_flight", "1024", "Calls at once; one more is answered ThrottlingException."),
    number("[[upstream]].connect_timeout_ms", "5000", "Longest wait for a connection."),
    number("[[upstream]].first_byte_timeout_ms", "300000", "Longest wait for the head of the answer."),
    number("[[upstream]].idle_timeout_ms", "60000", "Longest silence within an answer."),
    number("[[upstream]].max_idle_connections", "256", "Connections kept open while unused."),
    number("lambda.max_concurrency", "64", "Calls of functions at once, over all functions."),
    number("lambda.idle_s", "300", "An environment that no call needed for so long is ended."),
    text(
        "lambda.runtimes_dir",
        "",
        "Where AWS's runtime clients are installed. Default: `lambda` beside the model store, `~/.cache/craton/lambda`.",
    ),
    text(
        "sandbox.python",
        "",
        "Python that runs code of agents and flows; its packages are what the code can import. Default: the machine's `python3`.",
    ),
    switch(
        "sandbox.require_walls",
        "true",
        "Run code of agents, flows and functions only where every wall stands; see docs/sandbox.md.",
    ),
    number("sandbox.max_interpreters", "32", "Interpreters that run at once."),
    number("sandbox.timeout_s", "30", "Longest time of an execution."),
    number("sandbox.memory_mib", "1024", "Address space of an interpreter."),
    number(
        "sessions.idle_s",
        "3600",
        "A session (CreateSession) that nothing was written to for so long expires.",
    ),
    number(
        "sessions.retention_days",
        "30",
        "Days after which sessions that are not active are deleted; 0 keeps them.",
    ),
    text(
        "[[function]].name",
        "",
        "A function that is not run from an archive: calls of this name go elsewhere.",
    ),
    text(
        "[[function]].url",
        "",
        "An HTTP endpoint that takes the event as a POST and answers with the result.",
    ),
    text("[[function]].folder", "", "A folder of sources, read again when a file in it changes."),
    text("[[function]].runtime", "", "For a folder: `python3.11`, `nodejs20.x`…"),
    text("[[function]].handler", "", "For a folder: `file.function`."),
    number("[[function]].timeout_s", "30", "Longest time a call may take."),
    text("[[function]].arn", "", "A function of a real AWS Lambda, called by its ARN."),
    text(
        "[[function]].endpoint",
        "",
        "For an ARN: the Lambda to call. Default: AWS's own in the ARN's region.",
    ),
    text(
        "[[function]].access_key_id_env",
        "AWS_ACCESS_KEY_ID",
        "For an ARN: the variable with the access key id of an account that may call the function.",
    ),
    text("[[function]].secret_access_key_env", "AWS_SECRET_ACCESS_KEY", "Its secret key."),
    text("[[function]].session_token_env", "AWS_SESSION_TOKEN", "Its session token, if any."),
    text("[[function]].aws_profile", "", "A profile of the credentials file in place of these variables."),
    text("[[function]].aws_credentials_file", "~/.aws/credentials", "The credentials file."),
];

pub const VARIABLES: &[Variable] = &[
    Variable { name: "CRATON_CONFIG", about: "Configuration file, where `--config` is not given." },
    Variable {
        name: "CRATON_MODELS_DIR",
        about: "The model store, shared by every data directory. Default `~/.cache/craton/models`.",
    },
    Variable {
        name: "CRATON_ROOT_ACCESS_KEY_ID",
        about: "Root access key id. With the next one, used instead of the credentials file in the data directory.",
    },
    Variable { name: "CRATON_ROOT_SECRET_ACCESS_KEY", about: "Root secret access key." },
    Variable {
        name: "CRATON_SECRETS_KEY",
        about: "64 hexadecimal digits that users' secrets and session tokens are encrypted with, instead of `secrets.key` \
                in the data directory. Servers that share a database need the same.",
    },
    Variable { name: "CRATON_LOG", about: "What is logged, as a `tracing` filter. Default `info`." },
];

/// The text of `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Printed from the registry in `crates/server/src/config/registry.rs`; `CRATON_BLESS=1 cargo test -p \
         craton-server` rewrites it.\n\n\
         `craton serve` reads `--config FILE`, else `craton.toml` in the data directory if there is one. An environment \
         variable overrides the file, a command-line option overrides both. Keys that are not listed here are \
         refused.\n\n\
         ## `craton.toml`\n\n| key | environment variable | default | |\n|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let variable = if setting.scalar() { format!("`{}`", setting.variable()) } else { String::new() };
        let default =
            if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        let _ = writeln!(page, "| `{}` | {variable} | {default} | {} |", setting.key, setting.about);
    }
    page.push_str("\n## Environment only\n\n| variable | |\n|---|---|\n");
    for variable in VARIABLES {
        let _ = writeln!(page, "| `{}` | {} |", variable.name, variable.about);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::ServerConfig;
    use super::*;

    /// Field names that the parser itself knows at `place`, read from its complaint about one it doesn't.
    fn known(place: &str) -> Vec<String> {
        let probe = match place.strip_prefix("[[") {
            _ if place.is_empty() => "no_such_key = 1".to_owned(),
            Some(_) => format!("{place}\nno_such_key = 1"),
            None => format!("[{place}]\nno_such_key = 1"),
        };
        let complaint = toml::from_str::<ServerConfig>(&probe).unwrap_err().message().to_owned();
        let listed =
            complaint.split_once("expected").map(|(_, listed)| listed.to_owned()).unwrap_or_default();
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn documented(place: &str) -> Vec<String> {
        let prefix = if place.is_empty() { String::new() } else { format!("{place}.") };
        let keys = SETTINGS.iter().filter_map(|setting| setting.key.strip_prefix(&prefix));
        keys.filter(|key| !key.contains(['.', '['])).map(str::to_owned).collect()
    }

    #[test]
    fn the_registry_has_exactly_the_keys_of_the_parser() {
        let sections = [
            "limits",
            "s3",
            "engine",
            "audit",
            "agents",
            "knowledge_bases",
            "flows",
            "guardrails",
            "lambda",
            "sandbox",
            "sessions",
            "function",
            "model",
            "upstream",
            "bucket",
            "postgres",
            "opensearch",
        ];
        let tables = [
            "",
            "limits",
            "s3",
            "engine",
            "audit",
            "agents",
            "knowledge_bases",
            "flows",
            "guardrails",
            "lambda",
            "sandbox",
            "sessions",
        ];
        let lists =
            ["[[function]]", "[[model]]", "[[upstream]]", "[[bucket]]", "[[postgres]]", "[[opensearch]]"];
        for place in tables.into_iter().chain(lists) {
            let mut known = known(place);
            known.retain(|key| !place.is_empty() || !sections.contains(&key.as_str()));
            let mut documented = documented(place);
            assert!(!known.is_empty(), "{place}");
            known.sort();
            documented.sort();
            assert_eq!(known, documented, "keys of {place:?}");
        }
    }

    #[test]
    fn defaults_are_what_the_registry_says() {
        let with_default = |setting: &&Setting| setting.scalar() && !setting.default.is_empty();
        for setting in SETTINGS.iter().filter(with_default).filter(|setting| setting.key != "data_dir") {
            let value = setting.read(setting.default).unwrap();
            let written: ServerConfig = toml::from_str(&format!("{} = {value}", setting.key)).unwrap();
            assert_eq!(written, ServerConfig::default(), "{}", setting.key);
        }
    }

    #[test]
    fn the_documentation_is_up_to_date() {
        let path = craton_store::testing::repository("docs/configuration.md");
        if std::env::var_os("CRATON_BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == reference(), "docs/configuration.md is out of date; run with CRATON_BLESS=1");
    }
}
