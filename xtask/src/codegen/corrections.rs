//! Where the published models say something other than what the services do, or than what their users rely on.

use anyhow::{Context as _, ensure};
use serde_json::Number;

use super::model::Model;

/// Changes the model in the places listed here; an entry that no longer fits is an error, so none goes stale.
pub(crate) fn apply(model: &mut Model) -> anyhow::Result<()> {
    if model.service == "bedrock" {
        // The service lists these words, of models that only a profile reaches and of models that make videos.
        for (name, word) in [("InferenceType", "INFERENCE_PROFILE"), ("ModelModality", "VIDEO")] {
            let shape = model.shapes.get_mut(name).with_context(|| name)?;
            ensure!(!shape.values.iter().any(|value| value == word), "{name} needs no correction any more");
            shape.values.push(word.to_owned());
        }
    }
    if model.service == "bedrock-agent" {
        // `/d` is written where `\d` is meant, in two of its four alternatives: no agent's ARN would match.
        let shape = model.shapes.get_mut("TaggableResourcesArn").context("the tagged ARN")?;
        let pattern = shape.pattern.as_mut().context("its pattern")?;
        ensure!(pattern.contains("/d"), "TaggableResourcesArn needs no correction any more");
        *pattern = pattern.replace("/d", r"\d");

        // One prefix a data source by the model; programs in use send several.
        let shape = model.shapes.get_mut("S3Prefixes").context("the prefixes")?;
        ensure!(
            shape.max.as_ref().and_then(Number::as_u64) == Some(1),
            "S3Prefixes needs no correction any more"
        );
        shape.max = None;

        // Routers' prompts are configured under a name that only the runtime's model knows.
        let shape = model.shapes.get_mut("PromptType").context("the prompt types")?;
        let router = "ROUTING_CLASSIFIER".to_owned();
        ensure!(!shape.values.contains(&router), "PromptType needs no correction any more");
        shape.values.push(router);
    }
    Ok(())
}
