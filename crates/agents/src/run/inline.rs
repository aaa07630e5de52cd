//! InvokeInlineAgent's request as a definition: what a stored agent would have been settled into.

use std::collections::{BTreeMap, HashMap, HashSet};

use craton_api_bedrock_agent as control;
use craton_api_bedrock_agent_runtime as api;
use craton_backend::function::FunctionError;
use craton_core::RequestContext;
use craton_guardrails::GuardReference;
use craton_identity::{Actor, ObjectAccess};
use craton_objects::{GetOptions, ObjectRef};
use craton_wire::ApiError;

use super::AgentRuns;
use crate::control::{
    MOST_ACTION_GROUPS, MOST_KNOWLEDGE_BASES, check_prompts, compile_prompts, refuse_custom,
};
use crate::definition::{
    ActionGroup, ActionGroupKind, Actions, AgentDefinition, Collaboration, Collaborator, CollaboratorAgent,
    Executor, FunctionAction, FunctionParameter, GuardrailUse, KnowledgeBaseUse, PromptOverrides,
};
use crate::schema;

const INLINE_AGENT: &str = "INLINE_AGENT";
const IDLE_S: u32 = 600;

/// Characters of an instruction, as a stored agent's model has it.
const MOST_INSTRUCTION: usize = 4000;

/// Retrieval configurations by knowledge base, as the request has them.
pub(super) type Retrievals = HashMap<String, api::KnowledgeBaseRetrievalConfiguration>;

/// An inline agent, and how its knowledge bases are searched.
pub(super) struct Inline {
    pub agent: AgentDefinition,
    pub retrievals: Retrievals,
}

/// What the request and each collaborator in it have in common.
struct Given {
    name: String,
    model: String,
    instruction: String,
    idle_s: Option<i32>,
    groups: Vec<api::AgentActionGroup>,
    bases: Vec<api::KnowledgeBase>,
    guardrail: Option<api::GuardrailConfigurationWithArn>,
    prompts: Option<api::PromptOverrideConfiguration>,
    collaboration: Option<api::AgentCollaboration>,
    collaborators: Vec<api::CollaboratorConfiguration>,
}

pub(super) async fn definition(
    runs: &AgentRuns,
    context: &RequestContext,
    input: api::InvokeInlineAgentRequest,
) -> Result<Inline, ApiError> {
    let custom = input.orchestration_type == Some(api::OrchestrationType::CustomOrchestration);
    refuse_custom(custom || input.custom_orchestration.is_some())?;
    let reading = Reading { runs, context };
    let mut retrievals = Retrievals::new();
    let mut inline: BTreeMap<String, api::Collaborator> = BTreeMap::new();
    for collaborator in input.collaborators.unwrap_or_default() {
        let name = collaborator.agent_name.clone().unwrap_or_default();
        if inline.insert(name.clone(), collaborator).is_some() {
            return Err(twice("collaborator", &name));
        }
    }
    let given = Given {
        name: input.agent_name.unwrap_or_else(|| INLINE_AGENT.to_owned()),
        model: input.foundation_model,
        instruction: input.instruction,
        idle_s: input.idle_session_ttl_in_seconds,
        groups: input.action_groups.unwrap_or_default(),
        bases: input.knowledge_bases.unwrap_or_default(),
        guardrail: input.guardrail_configuration,
        prompts: input.prompt_override_configuration,
        collaboration: input.agent_collaboration,
        collaborators: input.collaborator_configurations.unwrap_or_default(),
    };
    let (mut agent, configurations) = reading.agent(given, &mut retrievals).await?;
    for configuration in configurations {
        let named = inline.remove(&configuration.collaborator_name);
        agent.collaborators.push(reading.collaborator(configuration, named, &mut retrievals).await?);
    }
    if agent.collaboration != Collaboration::Disabled && agent.collaborators.is_empty() {
        return Err(ApiError::validation("A supervisor needs collaboratorConfigurations."));
    }
    if let Some(name) = inline.keys().next() {
        return Err(ApiError::validation(format!(
            "The collaborator {name} has no entry in collaboratorConfigurations with that collaboratorName."
        )));
    }
    check_names("collaborator", agent.collaborators.iter().map(|it| it.name.as_str()))?;
    reading.check_there(&agent).await?;
    for collaborator in &agent.collaborators {
        match &collaborator.agent {
            CollaboratorAgent::Inline(agent) => reading.check_there(agent).await?,
            CollaboratorAgent::Alias(arn) => reading.check_alias(&collaborator.name, arn).await?,
        }
    }
    Ok(Inline { agent, retrievals })
}

struct Reading<'a> {
    runs: &'a AgentRuns,
    context: &'a RequestContext,
}

impl Reading<'_> {
    async fn collaborator(
        &self,
        configuration: api::CollaboratorConfiguration,
        named: Option<api::Collaborator>,
        retrievals: &mut Retrievals,
    ) -> Result<Collaborator, ApiError> {
        let name = configuration.collaborator_name;
        let agent = match (configuration.agent_alias_arn, named) {
            (Some(arn), _) => CollaboratorAgent::Alias(arn),
            (None, Some(given)) => {
                if given.agent_collaboration.is_some_and(|it| it != api::AgentCollaboration::Disabled) {
                    return Err(ApiError::validation(format!(
                        "The collaborator {name} is a supervisor itself. Inline collaborators can't be; use an alias."
                    )));
                }
                let given = Given {
                    name: name.clone(),
                    model: given.foundation_model,
                    instruction: given.instruction,
                    idle_s: given.idle_session_ttl_in_seconds,
                    groups: given.action_groups.unwrap_or_default(),
                    bases: given.knowledge_bases.unwrap_or_default(),
                    guardrail: given.guardrail_configuration,
                    prompts: given.prompt_override_configuration,
                    collaboration: None,
                    collaborators: Vec::new(),
                };
                let mut agent = self.agent(given, retrievals).await?.0;
                // Results that the caller brings back say by it whose they are.
                agent.agent_id = format!("{INLINE_AGENT}:{name}");
                CollaboratorAgent::Inline(Box::new(agent))
            }
            (None, None) => {
                return Err(ApiError::validation(format!(
                    "The collaborator {name} has neither an agentAliasArn nor an entry in collaborators with that \
                     agentName."
                )));
            }
        };
        let relay = configuration.relay_conversation_history;
        Ok(Collaborator {
            name,
            instruction: configuration.collaborator_instruction,
            relay_history: relay == Some(api::RelayConversationHistory::ToCollaborator),
            agent,
        })
    }

    /// Refuses what an agent names and is not there: a stored agent's preparation finds that.
    async fn check_there(&self, agent: &AgentDefinition) -> Result<(), ApiError> {
        let (region, account) = (&self.context.region, &self.context.account.id);
        for KnowledgeBaseUse { id, .. } in &agent.knowledge_bases {
            let arn = format!("arn:aws:bedrock:{region}:{account}:knowledge-base/{id}");
            if self.may("bedrock:Retrieve", &arn).await
                && !self.runs.parts.agents.has_knowledge_base(self.context, id).await?
            {
                return Err(ApiError::not_found(format!("The knowledge base {id} does not exist.")));
            }
        }
        let of_steps = agent.prompts.steps.values().filter_map(|step| step.foundation_model.as_ref());
        for model in std::iter::once(&agent.foundation_model).chain(of_steps) {
            self.runs.parts.agents.check_model(self.context, model).await?;
        }
        if let Some(GuardrailUse { identifier, version }) = &agent.guardrail {
            let arn = match identifier.starts_with("arn:") {
                true => identifier.clone(),
                false => format!("arn:aws:bedrock:{region}:{account}:guardrail/{identifier}"),
            };
            if self.may("bedrock:ApplyGuardrail", &arn).await {
                let (identifier, version) = (identifier.clone(), Some(version.clone()));
                let reference = GuardReference { identifier, version };
                self.runs.parts.guardrails.guard(self.context, &reference).await?;
            }
        }
        self.check_functions(agent).await
    }

    async fn check_functions(&self, agent: &AgentDefinition) -> Result<(), ApiError> {
        let of_group = |group: &ActionGroup| match &group.kind {
            ActionGroupKind::Actions { executor: Executor::Function(arn), .. } => {
                Some((arn.clone(), format!("the action group {}", group.name)))
            }
            _ => None,
        };
        let parser = agent.prompts.parser_function.clone();
        let parser = parser.map(|arn| (arn, "the overrideLambda".to_owned()));
        for (arn, whose) in agent.action_groups.iter().filter_map(of_group).chain(parser) {
            if !self.may("lambda:InvokeFunction", &arn).await {
                continue;
            }
            if let Err(FunctionError::NotFound(_)) = self.runs.parts.functions.check(&arn).await {
                return Err(ApiError::not_found(format!("The function {arn} of {whose} does not exist.")));
            }
        }
        Ok(())
    }

    async fn check_alias(&self, name: &str, arn: &str) -> Result<(), ApiError> {
        if !self.may("bedrock:InvokeAgent", arn).await {
            return Ok(());
        }
        let there = self.runs.parts.agents.resolve_alias(self.context, arn).await;
        there.map(drop).map_err(|error| {
            let message = format!("The collaborator {name} can't be used: {}", error.message);
            ApiError { message, ..error }
        })
    }

    /// Whether the caller may use something: only then it is told whether that is there. Whoever may not is told that when
    /// the agent comes to use it.
    async fn may(&self, action: &str, resource: &str) -> bool {
        let permissions = &self.runs.parts.permissions;
        permissions.check(self.context, Actor::Caller, action, resource).await.is_ok()
    }

    /// An agent but for its collaborators.
    async fn agent(
        &self,
        given: Given,
        retrievals: &mut Retrievals,
    ) -> Result<(AgentDefinition, Vec<api::CollaboratorConfiguration>), ApiError> {
        check_size(&given)?;
        let mut groups = Vec::new();
        for group in given.groups {
            groups.push(self.group(group).await?);
        }
        let mut bases = Vec::new();
        for base in given.bases {
            if let Some(retrieval) = base.retrieval_configuration {
                retrievals.insert(base.knowledge_base_id.clone(), retrieval);
            }
            let (id, description) = (base.knowledge_base_id, base.description);
            bases.push(KnowledgeBaseUse { id, description });
        }
        check_names("action group", groups.iter().map(|it| it.name.as_str()))?;
        check_names("knowledge base", bases.iter().map(|it| it.id.as_str()))?;
        let agent = AgentDefinition {
            agent_id: INLINE_AGENT.to_owned(),
            agent_name: given.name,
            agent_version: "DRAFT".to_owned(),
            account: self.context.account.id.clone(),
            region: self.context.region.clone(),
            foundation_model: given.model,
            instruction: given.instruction,
            idle_session_ttl_s: given.idle_s.and_then(|s| u32::try_from(s).ok()).unwrap_or(IDLE_S),
            action_groups: groups,
            knowledge_bases: bases,
            guardrail: given.guardrail.map(|it| GuardrailUse {
                identifier: it.guardrail_identifier,
                version: it.guardrail_version,
            }),
            prompts: given.prompts.map(prompts).transpose()?.unwrap_or_default(),
            collaboration: match given.collaboration {
                None | Some(api::AgentCollaboration::Disabled) => Collaboration::Disabled,
                Some(api::AgentCollaboration::Supervisor) => Collaboration::Supervisor,
                Some(api::AgentCollaboration::SupervisorRouter) => Collaboration::SupervisorRouter,
            },
            ..AgentDefinition::default()
        };
        Ok((agent, given.collaborators))
    }

    async fn group(&self, group: api::AgentActionGroup) -> Result<ActionGroup, ApiError> {
        let name = group.action_group_name;
        let kind = match group.parent_action_group_signature {
            Some(api::ActionGroupSignature::AmazonUserInput) => ActionGroupKind::UserInput,
            Some(api::ActionGroupSignature::AmazonCodeInterpreter) => ActionGroupKind::CodeInterpreter,
            Some(other) => {
                return Err(ApiError::validation(format!(
                    "The action group {name} asks for {}, which this server does not serve.",
                    other.as_str()
                )));
            }
            None => ActionGroupKind::Actions {
                executor: executor(&name, group.action_group_executor)?,
                actions: self.actions(&name, group.api_schema, group.function_schema).await?,
            },
        };
        Ok(ActionGroup { id: name.clone(), name, description: group.description, kind })
    }

    async fn actions(
        &self,
        group: &str,
        api_schema: Option<api::APISchema>,
        functions: Option<api::FunctionSchema>,
    ) -> Result<Actions, ApiError> {
        let invalid = |error: &dyn std::fmt::Display| {
            ApiError::validation(format!("The action group {group}: {error}"))
        };
        let text = match (api_schema, functions) {
            (None, Some(api::FunctionSchema::Functions(functions))) => {
                let functions: Vec<FunctionAction> = functions.into_iter().map(function).collect();
                schema::check_functions(&functions).map_err(|error| invalid(&error))?;
                return Ok(Actions::Functions(functions));
            }
            (Some(api::APISchema::Payload(text)), None) => text,
            (Some(api::APISchema::S3(at)), None) => {
                let (Some(bucket), Some(key)) = (at.s3_bucket_name, at.s3_object_key) else {
                    return Err(invalid(&"apiSchema.s3 needs s3BucketName and s3ObjectKey."));
                };
                let uri = format!("s3://{bucket}/{key}");
                let bytes = read_object(self.runs, self.context, &uri, schema::MAX_BYTES).await?;
                String::from_utf8(bytes).map_err(|_| invalid(&"the schema is not UTF-8 text"))?
            }
            _ => return Err(invalid(&"it needs either an apiSchema or a functionSchema.")),
        };
        let read = tokio::task::spawn_blocking(move || schema::read_openapi(&text)).await;
        let read = read.map_err(|error| super::session::internal(&error))?;
        read.map(Actions::Api).map_err(|error| invalid(&error))
    }
}

/// An agent that comes with its call has the limits of a stored one.
fn check_size(given: &Given) -> Result<(), ApiError> {
    let limits = [
        (given.instruction.chars().count(), MOST_INSTRUCTION, "characters of instruction"),
        (given.groups.len(), MOST_ACTION_GROUPS, "action groups"),
        (given.bases.len(), MOST_KNOWLEDGE_BASES, "knowledge bases"),
    ];
    for (count, most, what) in limits {
        if count > most {
            let name = &given.name;
            return Err(ApiError::validation(format!(
                "The agent {name} has {count}, and at most {most} {what} can be used."
            )));
        }
    }
    let signatures: Vec<_> =
        given.groups.iter().filter_map(|group| group.parent_action_group_signature).collect();
    for (at, signature) in signatures.iter().enumerate() {
        if signatures[..at].contains(signature) {
            return Err(twice("parentActionGroupSignature", signature.as_str()));
        }
    }
    Ok(())
}

fn check_names<'n>(what: &str, names: impl Iterator<Item = &'n str>) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(twice(what, name));
        }
    }
    Ok(())
}

fn twice(what: &str, name: &str) -> ApiError {
    ApiError::validation(format!("The {what} {name} is in the request twice."))
}

fn executor(group: &str, executor: Option<api::ActionGroupExecutor>) -> Result<Executor, ApiError> {
    match executor {
        Some(api::ActionGroupExecutor::Lambda(arn)) => Ok(Executor::Function(arn)),
        Some(api::ActionGroupExecutor::CustomControl(_)) => Ok(Executor::ReturnControl),
        None => Err(ApiError::validation(format!("The action group {group} needs an actionGroupExecutor."))),
    }
}

fn function(function: api::FunctionDefinition) -> FunctionAction {
    let parameters = function.parameters.unwrap_or_default().into_iter().map(|(name, detail)| {
        let parameter = FunctionParameter {
            kind: detail.r#type.as_str().to_owned(),
            description: detail.description.unwrap_or_default(),
            required: detail.required.unwrap_or_default(),
        };
        (name, parameter)
    });
    FunctionAction {
        name: function.name,
        description: function.description.unwrap_or_default(),
        parameters: parameters.collect(),
        require_confirmation: function.require_confirmation == Some(api::RequireConfirmation::Enabled),
    }
}

/// The prompts as a stored agent has them, checked as its are.
fn prompts(from: api::PromptOverrideConfiguration) -> Result<PromptOverrides, ApiError> {
    let mode = |mode: Option<api::CreationMode>| mode.and_then(|mode| mode.as_str().parse().ok());
    let inference = |from: api::InferenceConfiguration| control::InferenceConfiguration {
        temperature: from.temperature,
        top_p: from.top_p,
        top_k: from.top_k,
        maximum_length: from.maximum_length,
        stop_sequences: from.stop_sequences,
    };
    let step = |it: api::PromptConfiguration| control::PromptConfiguration {
        prompt_type: it.prompt_type.and_then(|kind| kind.as_str().parse().ok()),
        prompt_creation_mode: mode(it.prompt_creation_mode),
        prompt_state: it.prompt_state.and_then(|state| state.as_str().parse().ok()),
        base_prompt_template: it.base_prompt_template,
        inference_configuration: it.inference_configuration.map(inference),
        parser_mode: mode(it.parser_mode),
        foundation_model: it.foundation_model,
        additional_model_request_fields: it.additional_model_request_fields,
    };
    let overrides = control::PromptOverrideConfiguration {
        prompt_configurations: from.prompt_configurations.into_iter().map(step).collect(),
        override_lambda: from.override_lambda,
    };
    check_prompts(&overrides)?;
    Ok(compile_prompts(&overrides))
}

/// An object that the caller names, read as the caller.
pub(super) async fn read_object(
    runs: &AgentRuns,
    context: &RequestContext,
    uri: &str,
    most_bytes: usize,
) -> Result<Vec<u8>, ApiError> {
    let at = ObjectRef::of_uri(uri)
        .ok_or_else(|| ApiError::validation(format!("{uri} is not of the form s3://bucket/key.")))?;
    let access = ObjectAccess::Read { bucket: &at.bucket, key: &at.key };
    runs.parts.permissions.check_object(context, Actor::Caller, access).await?;
    let unreadable =
        |error: &dyn std::fmt::Display| ApiError::validation(format!("{uri} can't be read: {error}."));
    let object = runs.parts.objects.get(&at, GetOptions::default()).await;
    let object = object.map_err(|error| unreadable(&error))?;
    let bytes = object.bytes(most_bytes).await.map_err(|error| unreadable(&error))?;
    Ok(bytes.to_vec())
}
