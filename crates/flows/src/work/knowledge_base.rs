//! Knowledge base nodes: passages as an array or, with a model, an answer from them.

use craton_api_bedrock_agent as api;
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::{Nodes, gave, input, same_shape, text};
use crate::run::{Call, Work};

impl Nodes {
    pub(super) async fn knowledge_base(
        &self,
        call: &Call<'_>,
        base: &api::KnowledgeBaseFlowNodeConfiguration,
    ) -> Result<Work, ApiError> {
        let query = text(input(call.inputs, "retrievalQuery")?);
        let arn = self.arn(format!("knowledge-base/{}", base.knowledge_base_id));
        let rerank = base.reranking_configuration.as_ref();
        let rerank = rerank.and_then(|it| it.bedrock_reranking_configuration.as_ref());
        if let Some(rerank) = rerank {
            self.allowed_model(&rerank.model_configuration.model_arn, None).await?;
        }
        let model = base.model_id.as_deref().filter(|id| !id.is_empty());
        let Some(model_id) = model else {
            self.allowed("bedrock:Retrieve", &arn).await?;
            let request = json!({
                "knowledgeBaseId": base.knowledge_base_id,
                "retrievalQuery": {"text": query},
                "retrievalConfiguration": search(base),
            });
            let found = self.parts.retrieval.retrieve(&self.context, same_shape(&request)?).await?;
            let results = serde_json::to_value(found.retrieval_results).unwrap_or_default();
            return Ok(gave("retrievalResults", results, None));
        };
        self.allowed("bedrock:RetrieveAndGenerate", "*").await?;
        self.allowed("bedrock:Retrieve", &arn).await?;
        self.allowed_model(model_id, base.guardrail_configuration.as_ref()).await?;
        self.allowed_guardrail(base.guardrail_configuration.as_ref()).await?;
        let request = json!({
            "input": {"text": query},
            "retrieveAndGenerateConfiguration": {
                "type": "KNOWLEDGE_BASE",
                "knowledgeBaseConfiguration": {
                    "knowledgeBaseId": base.knowledge_base_id,
                    "modelArn": model_id,
                    "retrievalConfiguration": search(base),
                    "generationConfiguration": generation(base),
                    "orchestrationConfiguration": orchestration(base),
                },
            },
        });
        let answer = self
            .parts
            .retrieval
            .retrieve_and_generate(&self.context, same_shape(&without_nulls(request))?)
            .await?;
        Ok(gave("outputText", Value::String(answer.output.text), None))
    }
}

fn search(base: &api::KnowledgeBaseFlowNodeConfiguration) -> Value {
    without_nulls(json!({"vectorSearchConfiguration": {
        "numberOfResults": base.number_of_results,
        "rerankingConfiguration": base.reranking_configuration,
    }}))
}

fn generation(base: &api::KnowledgeBaseFlowNodeConfiguration) -> Value {
    let guardrail = base.guardrail_configuration.as_ref().filter(|it| it.guardrail_identifier.is_some());
    let guardrail = guardrail
        .map(|it| json!({"guardrailId": it.guardrail_identifier, "guardrailVersion": it.guardrail_version}));
    json!({
        "promptTemplate": base.prompt_template,
        "guardrailConfiguration": guardrail,
        "inferenceConfig": inference(base.inference_configuration.as_ref()),
    })
}

fn orchestration(base: &api::KnowledgeBaseFlowNodeConfiguration) -> Value {
    let Some(orchestration) = &base.orchestration_configuration else { return Value::Null };
    json!({
        "promptTemplate": orchestration.prompt_template,
        "inferenceConfig": inference(orchestration.inference_config.as_ref()),
        "additionalModelRequestFields": orchestration.additional_model_request_fields,
        "performanceConfig": orchestration.performance_config,
    })
}

fn inference(configuration: Option<&api::PromptInferenceConfiguration>) -> Value {
    match configuration {
        Some(api::PromptInferenceConfiguration::Text(text)) => json!({"textInferenceConfig": text}),
        None => Value::Null,
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        other => other,
    }
}
