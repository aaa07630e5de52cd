//! A service model as botocore stores it, with the questions the generators ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::services::Service;

pub(crate) struct Model {
    /// The client's name: `bedrock-runtime`.
    pub service: &'static str,
    pub metadata: Metadata,
    /// By name, so sorted.
    pub operations: BTreeMap<String, Operation>,
    /// Operations that are named in the table and have no types.
    pub untyped: BTreeMap<String, Operation>,
    pub shapes: BTreeMap<String, Shape>,
    /// Shapes reachable from an operation's input.
    pub inputs: BTreeSet<String>,
    /// Shapes reachable from an operation's output, exceptions left out.
    pub outputs: BTreeSet<String>,
}

#[derive(Deserialize)]
struct File {
    metadata: Metadata,
    operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub protocol: String,
    /// Absent where it is the endpoint's prefix.
    signing_name: Option<String>,
    endpoint_prefix: String,
    pub api_version: String,
    pub xml_namespace: Option<String>,
    pub target_prefix: Option<String>,
    pub json_version: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Operation {
    pub http: Http,
    pub input: Option<Reference>,
    pub output: Option<Reference>,
    #[serde(default)]
    pub errors: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Http {
    pub method: String,
    pub request_uri: String,
    /// Absent where it is 200.
    pub response_code: Option<u16>,
}

/// A use of a shape: by a member, a list, a map, an operation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reference {
    pub shape: String,
    pub location: Option<String>,
    pub location_name: Option<String>,
    #[serde(default)]
    flattened: bool,
    #[serde(default)]
    pub idempotency_token: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub kind: Kind,
    /// In the model's order (serde_json keeps it), which is the order of constraint messages.
    #[serde(default)]
    members: serde_json::Map<String, serde_json::Value>,
    #[serde(skip)]
    pub fields: Vec<(String, Reference)>,
    #[serde(default)]
    pub required: Vec<String>,
    pub payload: Option<String>,
    #[serde(default)]
    pub union: bool,
    #[serde(default)]
    pub document: bool,
    #[serde(default)]
    pub exception: bool,
    #[serde(default)]
    pub eventstream: bool,
    /// An exception that is the service's fault.
    #[serde(default)]
    fault: bool,
    #[serde(default)]
    flattened: bool,
    #[serde(default)]
    pub sensitive: bool,
    error: Option<ErrorTrait>,
    pub member: Option<Reference>,
    pub key: Option<Reference>,
    pub value: Option<Reference>,
    pub min: Option<serde_json::Number>,
    pub max: Option<serde_json::Number>,
    pub pattern: Option<String>,
    #[serde(default, rename = "enum")]
    pub values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorTrait {
    /// The name on the wire, where it is not the shape's.
    code: Option<String>,
    http_status_code: u16,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Structure,
    List,
    Map,
    String,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Timestamp,
    Blob,
}

impl Shape {
    /// An exception's name on the wire and its HTTP status.
    pub(crate) fn error<'s>(&'s self, name: &'s str) -> (&'s str, u16) {
        match &self.error {
            Some(error) => (error.code.as_deref().unwrap_or(name), error.http_status_code),
            None if self.fault => (name, 500),
            None => (name, 400),
        }
    }

    pub(crate) fn is_required(&self, member: &str) -> bool {
        self.required.iter().any(|name| name == member)
    }
}

impl Model {
    /// Reads `data/SERVICE/DATE/service-2.json(.gz)`, the newest date.
    pub(crate) fn load(botocore: &Path, service: &'static Service) -> anyhow::Result<Self> {
        let Service { name: service, typed } = *service;
        let folder = botocore.join("data").join(service);
        let mut dates: Vec<_> = std::fs::read_dir(&folder)
            .with_context(|| format!("reading {}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir())
            .collect();
        dates.sort();
        let newest = dates.last().with_context(|| format!("{} is empty", folder.display()))?;
        let mut text = String::new();
        let packed = newest.join("service-2.json.gz");
        if packed.is_file() {
            flate2::read::GzDecoder::new(std::fs::File::open(&packed)?).read_to_string(&mut text)?;
        } else {
            text = std::fs::read_to_string(newest.join("service-2.json"))?;
        }
        let file: File = serde_json::from_str(&text).with_context(|| format!("the model of {service}"))?;
        let mut model = Self {
            service,
            metadata: file.metadata,
            operations: file.operations,
            untyped: BTreeMap::new(),
            shapes: file.shapes,
            inputs: BTreeSet::new(),
            outputs: BTreeSet::new(),
        };
        for shape in model.shapes.values_mut() {
            for (name, value) in std::mem::take(&mut shape.members) {
                shape.fields.push((name, serde_json::from_value(value)?));
            }
        }
        if let Some(typed) = typed {
            for name in typed {
                ensure!(model.operations.contains_key(*name), "{service} has no operation {name}");
            }
            let all = std::mem::take(&mut model.operations);
            (model.operations, model.untyped) =
                all.into_iter().partition(|(name, _)| typed.contains(&name.as_str()));
            // Two operations at one path are told apart by their query; the table knows paths only.
            model.untyped.retain(|_, operation| !operation.http.request_uri.contains('?'));
        }
        model.inputs = model.reachable(model.operations.values().filter_map(|o| o.input.as_ref()));
        model.outputs = model.reachable(model.operations.values().filter_map(|o| o.output.as_ref()));
        model.check_query_names()?;
        Ok(model)
    }

    /// The name in a credential scope.
    pub(crate) fn signing_name(&self) -> &str {
        self.metadata.signing_name.as_ref().unwrap_or(&self.metadata.endpoint_prefix)
    }

    /// Every operation the table names, typed or not.
    pub(crate) fn all_operations(&self) -> BTreeMap<&str, (&Operation, bool)> {
        let typed = self.operations.iter().map(|(name, operation)| (name.as_str(), (operation, true)));
        let untyped = self.untyped.iter().map(|(name, operation)| (name.as_str(), (operation, false)));
        typed.chain(untyped).collect()
    }

    /// Query requests and XML answers are written with the default names; a model that asks for others needs more of
    /// the generator.
    fn check_query_names(&self) -> anyhow::Result<()> {
        for (name, shape) in &self.shapes {
            if self.metadata.protocol != "query"
                || !(self.inputs.contains(name) || self.outputs.contains(name))
            {
                continue;
            }
            let fields = shape.fields.iter().map(|(_, reference)| reference);
            let parts = [&shape.member, &shape.key, &shape.value].into_iter().flatten();
            let renamed = |r: &Reference| r.flattened || r.location_name.is_some();
            ensure!(
                !shape.flattened && !fields.chain(parts).any(renamed),
                "{name} has names of its own in XML"
            );
        }
        Ok(())
    }

    pub(crate) fn shape(&self, name: &str) -> anyhow::Result<&Shape> {
        self.shapes.get(name).with_context(|| format!("{} has no shape {name}", self.service))
    }

    /// Shapes that are an operation's whole input.
    pub(crate) fn is_input_root(&self, name: &str) -> bool {
        self.operations.values().any(|o| o.input.as_ref().is_some_and(|input| input.shape == name))
    }

    /// Shapes that are an operation's whole output.
    pub(crate) fn is_output_root(&self, name: &str) -> bool {
        self.operations.values().any(|o| o.output.as_ref().is_some_and(|output| output.shape == name))
    }

    /// The payload member of a root shape, with its shape.
    pub(crate) fn payload<'m>(
        &'m self,
        root: &'m Shape,
    ) -> anyhow::Result<Option<(&'m Reference, &'m Shape)>> {
        let Some(payload) = &root.payload else { return Ok(None) };
        let (_, reference) =
            root.fields.iter().find(|(name, _)| name == payload).context("the payload is a member")?;
        Ok(Some((reference, self.shape(&reference.shape)?)))
    }

    fn reachable<'a>(&'a self, roots: impl Iterator<Item = &'a Reference>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut pending: Vec<&str> = roots.map(|reference| reference.shape.as_str()).collect();
        while let Some(name) = pending.pop() {
            let Some(shape) = self.shapes.get(name) else { continue };
            if shape.exception || !seen.insert(name.to_owned()) {
                continue;
            }
            let fields = shape.fields.iter().map(|(_, reference)| reference);
            let parts = [&shape.member, &shape.key, &shape.value].into_iter().flatten();
            pending.extend(fields.chain(parts).map(|reference| reference.shape.as_str()));
        }
        seen
    }

    /// Structures that contain each other without a list or map between, so that Rust needs a `Box` somewhere:
    /// whether `outer` can be reached from `inner` through plain members.
    pub(crate) fn contains(&self, inner: &str, outer: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut pending = vec![inner];
        while let Some(name) = pending.pop() {
            if name == outer {
                return true;
            }
            if !seen.insert(name) {
                continue;
            }
            if let Some(shape) = self.shapes.get(name)
                && shape.kind == Kind::Structure
            {
                pending.extend(shape.fields.iter().map(|(_, reference)| reference.shape.as_str()));
            }
        }
        false
    }
}
