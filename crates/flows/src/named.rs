//! What a flow's nodes name outside of the flow: functions, knowledge bases, prompts, models, guardrails and agents, and
//! whether it is there.
//!
//! A definition can be right in itself and still run into nothing. That is found when the flow is validated or prepared,
//! by asking whoever keeps these things ([`Named`], [`Lookup`]), and not first by the run. A stored prompt that is there
//! may still not fit its node, or have nothing to be asked with: whoever may read it is told.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use craton_api_bedrock_agent::{
    FlowDefinition, FlowNode, FlowNodeConfiguration as Configuration, FlowValidation,
    FlowValidationDetails as Details, FlowValidationSeverity as Severity, FlowValidationType as Type,
    GuardrailConfiguration, PromptFlowNodeSourceConfiguration as Source, UnspecifiedFlowValidationDetails,
};
use craton_core::RequestContext;
use craton_identity::Actor;
use craton_wire::ApiError;
use futures::{FutureExt as _, StreamExt as _, stream};

use crate::Flows;
use crate::definition::{MOST_FINDINGS, parts, validate, validate_stored};

const LOOKED_UP_AT_ONCE: usize = 8;

/// Something that a node names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named<'n> {
    /// By its ARN, as agents' aliases and prompts are.
    Function(&'n str),
    KnowledgeBase(&'n str),
    Prompt(&'n str),
    AgentAlias(&'n str),
    /// By its id or any ARN that models have.
    Model(&'n str),
    RerankModel(&'n str),
    /// By id or ARN, and version.
    Guardrail(&'n str, &'n str),
}

/// Knows what is there.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Why a flow of this account can't use it; none where it can.
    async fn missing(&self, context: &RequestContext, named: Named<'_>) -> Result<Option<String>, ApiError>;
}

/// What all nodes name, each with the first node that does.
fn named<'d>(definition: &'d FlowDefinition, found: &mut BTreeMap<Named<'d>, &'d str>) {
    let mut waiting = vec![definition];
    while let Some(definition) = waiting.pop() {
        for node in parts(definition).0 {
            let mut name = |named: Named<'d>| {
                found.entry(named).or_insert(&node.name);
            };
            let mut guardrail = None;
            match &node.configuration {
                Some(Configuration::LambdaFunction(it)) => name(Named::Function(&it.lambda_arn)),
                Some(Configuration::Agent(it)) => name(Named::AgentAlias(&it.agent_alias_arn)),
                Some(Configuration::KnowledgeBase(it)) => {
                    name(Named::KnowledgeBase(&it.knowledge_base_id));
                    if let Some(model) = it.model_id.as_deref().filter(|id| !id.is_empty()) {
                        name(Named::Model(model));
                    }
                    let rerank = it.reranking_configuration.as_ref();
                    if let Some(rerank) = rerank.and_then(|it| it.bedrock_reranking_configuration.as_ref()) {
                        name(Named::RerankModel(&rerank.model_configuration.model_arn));
                    }
                    guardrail = it.guardrail_configuration.as_ref();
                }
                Some(Configuration::Prompt(it)) => {
                    match &it.source_configuration {
                        Source::Resource(resource) => name(Named::Prompt(&resource.prompt_arn)),
                        Source::Inline(inline) => name(Named::Model(&inline.model_id)),
                    }
                    guardrail = it.guardrail_configuration.as_ref();
                }
                Some(Configuration::Loop(it)) => waiting.push(&it.definition),
                _ => {}
            }
            if let Some((id, version)) = guardrail.and_then(guardrail_of) {
                name(Named::Guardrail(id, version));
            }
        }
    }
}

/// The nodes that ask a stored prompt, of all levels, by the prompt's ARN.
fn askers(definition: &FlowDefinition) -> BTreeMap<&str, Vec<&FlowNode>> {
    let (mut found, mut waiting) = (BTreeMap::<_, Vec<_>>::new(), vec![definition]);
    while let Some(definition) = waiting.pop() {
        for node in parts(definition).0 {
            match &node.configuration {
                Some(Configuration::Loop(it)) => waiting.push(&it.definition),
                Some(Configuration::Prompt(it)) => {
                    if let Source::Resource(resource) = &it.source_configuration {
                        found.entry(resource.prompt_arn.as_str()).or_default().push(node);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// What keeps a node from running, for which the API has no type.
fn can_not_run(node: &str, why: &str, severity: Severity) -> FlowValidation {
    FlowValidation {
        message: format!("The node {node} can't run: {why}"),
        severity,
        details: Some(Details::Unspecified(UnspecifiedFlowValidationDetails {})),
        r#type: Some(Type::Unspecified),
    }
}

/// A node's guardrail and its version, which is the draft where it names none.
pub(crate) fn guardrail_of(guardrail: &GuardrailConfiguration) -> Option<(&str, &str)> {
    let version = guardrail.guardrail_version.as_deref().unwrap_or("DRAFT");
    Some((guardrail.guardrail_identifier.as_deref()?, version))
}

impl Flows {
    /// Everything that is wrong with a definition, what it names and is not there included; and the first fault of ours that
    /// kept something from being looked up.
    pub(crate) async fn findings(
        &self,
        context: &RequestContext,
        definition: &FlowDefinition,
    ) -> (Vec<FlowValidation>, Result<(), ApiError>) {
        let mut findings = validate(definition);
        let mut all = BTreeMap::new();
        named(definition, &mut all);
        let mut looking = Vec::with_capacity(all.len());
        for (named, node) in all {
            let missing = self.parts.lookup.missing(context, named);
            looking.push(missing.map(move |missing| (named, node, missing)).boxed());
        }
        let mut looked_up = stream::iter(looking).buffered(LOOKED_UP_AT_ONCE);
        let (mut fault, mut prompts) = (Ok(()), BTreeSet::new());
        while findings.len() < MOST_FINDINGS
            && let Some((named, node, missing)) = looked_up.next().await
        {
            match missing {
                Ok(None) => {
                    if let Named::Prompt(arn) = named {
                        prompts.insert(arn);
                    }
                }
                Err(error) => fault = fault.and(Err(error)),
                Ok(Some(why)) => {
                    // Functions are often made after the flow that calls them.
                    let later = matches!(named, Named::Function(_));
                    let severity = if later { Severity::Warning } else { Severity::Error };
                    findings.push(can_not_run(node, &why, severity));
                }
            }
        }
        let askers = askers(definition).into_iter().filter(|(arn, _)| prompts.contains(arn));
        for (arn, nodes) in askers {
            match self.misasked(context, arn, &nodes).await {
                Ok(found) => findings.extend(found),
                Err(error) => fault = fault.and(Err(error)),
            }
        }
        findings.truncate(MOST_FINDINGS);
        (findings, fault)
    }

    /// What keeps these nodes from asking a stored prompt that is there. Nothing for callers who may not read it.
    async fn misasked(
        &self,
        context: &RequestContext,
        arn: &str,
        nodes: &[&FlowNode],
    ) -> Result<Vec<FlowValidation>, ApiError> {
        let read = self.parts.permissions.check(context, Actor::Caller, "bedrock:GetPrompt", arn).await;
        match read {
            Ok(()) => {}
            Err(error) if error.code == "AccessDeniedException" => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let everywhere = |why: String| -> Vec<FlowValidation> {
            nodes.iter().map(|node| can_not_run(&node.name, &why, Severity::Error)).collect()
        };
        let needs = match self.parts.prompts.needs(context, arn).await {
            Ok(needs) => needs,
            Err(error) if error.code == "InternalServerException" => return Err(error),
            Err(error) => return Ok(everywhere(error.message)),
        };
        let model = self.parts.lookup.missing(context, Named::Model(&needs.model_id)).await?;
        let mut found: Vec<_> =
            model.map(|why| everywhere(format!("of the prompt {arn}, {why}"))).unwrap_or_default();
        found.extend(nodes.iter().flat_map(|node| validate_stored(node, &needs.variables)));
        Ok(found)
    }
}
