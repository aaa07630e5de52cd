//! From a draft to the definition a run works from, or the reasons why there is none.

use craton_api_bedrock_agent as api;
use craton_backend::function::FunctionError;
use craton_core::RequestContext;
use craton_guardrails::GuardReference;
use craton_identity::{Actor, ObjectAccess, ServiceUse};
use craton_models::Task;
use craton_wire::ApiError;

use super::records::{
    ActionGroupRecord, AgentArns as _, AgentRecord, CollaboratorRecord, DRAFT, KnowledgeBaseRecord, Place,
    Settings,
};
use super::settings::{MAX_RECENT_SESSIONS, STORAGE_DAYS};
use super::{Agents, AliasRef, prompt_overrides};
use crate::definition::{
    ActionGroup, ActionGroupKind, AgentDefinition, Collaboration, Collaborator, CollaboratorAgent, Executor,
    GuardrailUse, KnowledgeBaseUse, Memory,
};
use crate::run::MOST_LEVELS;

/// Characters that an instruction has at least.
const MIN_INSTRUCTION: usize = 40;

/// Everything of an agent that is edited.
pub(super) struct Draft {
    pub(super) agent: AgentRecord,
    pub(super) action_groups: Vec<ActionGroupRecord>,
    pub(super) knowledge_bases: Vec<KnowledgeBaseRecord>,
    pub(super) collaborators: Vec<CollaboratorRecord>,
}

/// What came of a preparation.
pub(super) enum Compiled {
    /// With what should be done besides: it can be prepared, but can't do all that it is for yet.
    Definition {
        definition: Box<AgentDefinition>,
        advice: Vec<String>,
    },
    Failed {
        reasons: Vec<String>,
        actions: Vec<String>,
    },
}

/// What keeps a draft from being prepared.
#[derive(Default)]
struct Faults {
    reasons: Vec<String>,
    actions: Vec<String>,
}

impl Faults {
    fn add(&mut self, reason: impl Into<String>, action: &str) {
        self.reasons.push(reason.into());
        if !self.actions.iter().any(|known| known == action) {
            self.actions.push(action.to_owned());
        }
    }

    /// A client's error becomes a reason; a fault of ours stays one.
    fn note(&mut self, error: ApiError, what: &str, action: &str) -> Result<(), ApiError> {
        if error.code == "InternalServerException" {
            return Err(error);
        }
        self.add(format!("{what}: {}", error.message), action);
        Ok(())
    }
}

impl Draft {
    /// Whether the draft says all that it must.
    pub(super) fn check_complete(&self) -> Result<(), ApiError> {
        let settings = &self.agent.body.settings;
        let refused =
            |what: String| Err(ApiError::validation(format!("This agent cannot be prepared. {what}")));
        match &settings.instruction {
            None => return refused("The agent has no instruction. Update the agent with one.".into()),
            Some(text) if text.chars().count() < MIN_INSTRUCTION => {
                return refused(format!("The instruction must have at least {MIN_INSTRUCTION} characters."));
            }
            Some(_) => {}
        }
        if settings.foundation_model.is_none() {
            return refused("The agent has no foundationModel. Update the agent with one.".into());
        }
        if settings.role_arn.as_deref().unwrap_or_default().is_empty() {
            return refused("The agent has no agentResourceRoleArn. Update the agent with one.".into());
        }
        let supervises = settings.collaboration != api::AgentCollaboration::Disabled;
        if supervises && self.collaborators.is_empty() {
            return refused(format!(
                "The AgentCollaboration attribute is set to {} but no agent collaborators are added. Update the \
                 AgentCollaboration attribute to DISABLED or add agent collaborators.",
                settings.collaboration.as_str()
            ));
        }
        for group in &self.action_groups {
            let enabled = group.body.state == api::ActionGroupState::Enabled;
            if enabled && group.body.signature.is_none() && group.body.executor.is_none() {
                return refused(format!("The action group {} has no actionGroupExecutor.", group.name));
            }
        }
        Ok(())
    }
}

impl Agents {
    pub(super) async fn compile(
        &self,
        context: &RequestContext,
        place: &Place,
        draft: &Draft,
    ) -> Result<Compiled, ApiError> {
        let mut faults = Faults::default();
        let settings = &draft.agent.body.settings;
        self.check_models(context, (place, &draft.agent), &mut faults).await?;
        self.check_guardrail(context, settings, &mut faults).await?;
        let advice = self.missing_functions(draft).await;
        let action_groups = self.compile_groups(context, draft, &mut faults).await?;
        let knowledge_bases = self.compile_knowledge_bases(place, draft, &mut faults).await?;
        let collaborators = self.compile_collaborators(context, draft, &mut faults).await?;
        if !faults.reasons.is_empty() {
            return Ok(Compiled::Failed { reasons: faults.reasons, actions: faults.actions });
        }
        let definition = Box::new(AgentDefinition {
            agent_id: draft.agent.id.clone(),
            agent_name: settings.name.clone(),
            agent_version: DRAFT.to_owned(),
            account: place.account.clone(),
            region: place.region.clone(),
            foundation_model: settings.foundation_model.clone().unwrap_or_default(),
            instruction: settings.instruction.clone().unwrap_or_default(),
            role_arn: settings.role_arn.clone(),
            idle_session_ttl_s: u32::try_from(settings.idle_session_ttl_s).unwrap_or_default(),
            action_groups,
            knowledge_bases,
            guardrail: guardrail(settings),
            prompts: settings.prompt_overrides.as_ref().map(prompt_overrides::compile).unwrap_or_default(),
            collaboration: collaboration(settings.collaboration),
            collaborators,
            memory: settings.memory.as_ref().map(memory),
        });
        Ok(Compiled::Definition { definition, advice })
    }

    /// The agent's model and those of its prompts are there, answer chats, and may be used with its role.
    async fn check_models(
        &self,
        context: &RequestContext,
        (place, agent): (&Place, &AgentRecord),
        faults: &mut Faults,
    ) -> Result<(), ApiError> {
        let settings = &agent.body.settings;
        let steps = settings.prompt_overrides.iter().flat_map(|it| &it.prompt_configurations);
        let models = settings
            .foundation_model
            .iter()
            .chain(steps.filter_map(|step| step.foundation_model.as_ref()))
            .collect::<std::collections::BTreeSet<_>>();
        let action = "Choose a model that this server has, and check that the agent's role may invoke it.";
        let guardrail = guardrail(settings);
        let guardrail = guardrail.as_ref().map(|it| (it.identifier.as_str(), it.version.as_str()));
        for id in models {
            let what = format!("The model {id} can't be used");
            match self.parts.models.resolve(context, id).await {
                Ok(resolved) if resolved.model.task() == Task::Chat => {
                    let source_arn = place.agent_arn(&agent.id);
                    let actor = Actor::Role(usage(agent, &source_arn));
                    let permissions = &self.parts.permissions;
                    if let Err(error) = permissions.check_model(context, actor, id, guardrail).await {
                        faults.note(error, &what, action)?;
                    }
                }
                Ok(_) => faults.add(format!("{what}: it does not answer with text."), action),
                Err(error) => faults.note(error, &what, action)?,
            }
        }
        Ok(())
    }

    /// What to do about functions of enabled action groups, and of the prompts' parser, that are not there. They are
    /// often made after the agent that calls them, so that an agent without them is prepared all the same.
    async fn missing_functions(&self, draft: &Draft) -> Vec<String> {
        let enabled = draft.action_groups.iter().filter(|it| it.body.state == api::ActionGroupState::Enabled);
        let of_groups = enabled.filter_map(|group| match &group.body.executor {
            Some(api::ActionGroupExecutor::Lambda(arn)) => {
                Some((arn.as_str(), format!("the action group {}", group.name)))
            }
            _ => None,
        });
        let overrides = draft.agent.body.settings.prompt_overrides.as_ref();
        let parser = overrides.and_then(|it| it.override_lambda.as_deref());
        let parser = parser.map(|arn| (arn, "the overrideLambda".to_owned()));
        let mut advice = Vec::new();
        for (arn, whose) in of_groups.chain(parser) {
            if let Err(FunctionError::NotFound(_)) = self.parts.functions.check(arn).await {
                advice.push(format!(
                    "Create the function {arn} of {whose}, which does not exist: until then its calls fail."
                ));
            }
        }
        advice
    }

    /// Refuses settings whose guardrail is not there: they would be taken for guarded until the agent is prepared.
    pub(super) async fn check_guardrail_exists(
        &self,
        context: &RequestContext,
        settings: &Settings,
    ) -> Result<(), ApiError> {
        let Some(GuardrailUse { identifier, version }) = guardrail(settings) else { return Ok(()) };
        let reference = GuardReference { identifier, version: Some(version) };
        let checked = self.parts.guardrails.check(context, &reference).await;
        checked.map_err(|error| match error.code.as_ref() {
            "ResourceNotFoundException" => ApiError::validation(format!(
                "The guardrailConfiguration names a guardrail that can't be used: {}",
                error.message
            )),
            _ => error,
        })
    }

    async fn check_guardrail(
        &self,
        context: &RequestContext,
        settings: &Settings,
        faults: &mut Faults,
    ) -> Result<(), ApiError> {
        let Some(GuardrailUse { identifier, version }) = guardrail(settings) else { return Ok(()) };
        let what = format!("The guardrail {identifier}, version {version}, can't be used");
        let reference = GuardReference { identifier, version: Some(version) };
        match self.parts.guardrails.guard(context, &reference).await {
            Ok(_) => Ok(()),
            Err(error) => faults.note(error, &what, "Associate a guardrail and a version of it that exist."),
        }
    }

    /// Enabled action groups, their schemas read.
    async fn compile_groups(
        &self,
        context: &RequestContext,
        draft: &Draft,
        faults: &mut Faults,
    ) -> Result<Vec<ActionGroup>, ApiError> {
        let mut groups = Vec::new();
        for group in &draft.action_groups {
            let body = &group.body;
            if body.state != api::ActionGroupState::Enabled {
                continue;
            }
            let actions = match self.actions(context, &draft.agent, (&group.name, body)).await {
                Ok(actions) => actions,
                Err(error) => {
                    let what = format!("The action group {} can't be used", group.name);
                    faults.note(error, &what, "Correct the schema of the action group, or disable it.")?;
                    continue;
                }
            };
            let executor = match &body.executor {
                Some(api::ActionGroupExecutor::Lambda(arn)) => Executor::Function(arn.clone()),
                _ => Executor::ReturnControl,
            };
            let kind = match (body.signature, actions) {
                (Some(api::ActionGroupSignature::AmazonUserInput), _) => ActionGroupKind::UserInput,
                (Some(_), _) => ActionGroupKind::CodeInterpreter,
                (None, Some(actions)) => ActionGroupKind::Actions { executor, actions },
                (None, None) => continue,
            };
            groups.push(ActionGroup {
                id: group.id.clone(),
                name: group.name.clone(),
                description: body.description.clone(),
                kind,
            });
        }
        Ok(groups)
    }

    async fn compile_knowledge_bases(
        &self,
        place: &Place,
        draft: &Draft,
        faults: &mut Faults,
    ) -> Result<Vec<KnowledgeBaseUse>, ApiError> {
        let mut uses = Vec::new();
        for found in &draft.knowledge_bases {
            if found.body.state != api::KnowledgeBaseState::Enabled {
                continue;
            }
            if !self.parts.knowledge_bases.exists(place, &found.id).await? {
                faults.add(
                    format!("The knowledge base {} does not exist.", found.id),
                    "Disassociate knowledge bases that were deleted.",
                );
                continue;
            }
            uses.push(KnowledgeBaseUse { id: found.id.clone(), description: found.body.description.clone() });
        }
        Ok(uses)
    }

    async fn compile_collaborators(
        &self,
        context: &RequestContext,
        draft: &Draft,
        faults: &mut Faults,
    ) -> Result<Vec<Collaborator>, ApiError> {
        let mut collaborators = Vec::new();
        for found in &draft.collaborators {
            let there = match AliasRef::parse(context, &found.body.alias_arn) {
                Ok(alias) => self.check_alias(&alias).await,
                Err(error) => Err(error),
            };
            if let Err(error) = there {
                let what = format!("The collaborator {} can't be used", found.name);
                faults.note(error, &what, "Disassociate collaborators whose agent alias was deleted.")?;
                continue;
            }
            collaborators.push(Collaborator {
                name: found.name.clone(),
                instruction: found.body.instruction.clone(),
                relay_history: found.body.relay == api::RelayConversationHistory::ToCollaborator,
                agent: CollaboratorAgent::Alias(found.body.alias_arn.clone()),
            });
        }
        let team = AgentDefinition { collaborators, ..AgentDefinition::default() };
        let below = self.below(context, &team, MOST_LEVELS).await;
        if let Some(other) =
            below.iter().find(|it| it.aliases_below().any(|arn| leads_to(arn, &draft.agent.id)))
        {
            faults.add(
                format!("The agent {} works for this agent, and this agent works for it.", other.agent_id),
                "Disassociate collaborators until no agent hands work to itself by way of others.",
            );
        }
        Ok(team.collaborators)
    }

    /// Whether the agent's role lets it do this.
    pub(super) async fn check_role(
        &self,
        context: &RequestContext,
        agent: &AgentRecord,
        (action, resource): (&str, &str),
    ) -> Result<(), ApiError> {
        let source_arn = Place::of(context).agent_arn(&agent.id);
        let actor = Actor::Role(usage(agent, &source_arn));
        self.parts.permissions.check(context, actor, action, resource).await
    }

    /// The same for what is in a bucket.
    pub(super) async fn check_object(
        &self,
        context: &RequestContext,
        agent: &AgentRecord,
        access: ObjectAccess<'_>,
    ) -> Result<(), ApiError> {
        let source_arn = Place::of(context).agent_arn(&agent.id);
        let actor = Actor::Role(usage(agent, &source_arn));
        self.parts.permissions.check_object(context, actor, access).await
    }
}

/// What is done with an agent's role.
fn usage<'a>(agent: &'a AgentRecord, source_arn: &'a str) -> ServiceUse<'a> {
    ServiceUse {
        role_arn: agent.body.settings.role_arn.as_deref().unwrap_or_default(),
        service: "bedrock.amazonaws.com",
        source_arn: Some(source_arn),
    }
}

/// Whether an agent alias's ARN is of this agent.
fn leads_to(alias_arn: &str, agent_id: &str) -> bool {
    alias_arn.split('/').nth(1) == Some(agent_id)
}

fn guardrail(settings: &Settings) -> Option<GuardrailUse> {
    let guardrail = settings.guardrail.as_ref()?;
    Some(GuardrailUse {
        identifier: guardrail.guardrail_identifier.clone()?,
        version: guardrail.guardrail_version.clone()?,
    })
}

fn collaboration(collaboration: api::AgentCollaboration) -> Collaboration {
    match collaboration {
        api::AgentCollaboration::Disabled => Collaboration::Disabled,
        api::AgentCollaboration::Supervisor => Collaboration::Supervisor,
        api::AgentCollaboration::SupervisorRouter => Collaboration::SupervisorRouter,
    }
}

fn memory(memory: &api::MemoryConfiguration) -> Memory {
    let summary = memory.session_summary_configuration.as_ref();
    let sessions = summary.and_then(|it| it.max_recent_sessions).unwrap_or(MAX_RECENT_SESSIONS);
    Memory {
        storage_days: u32::try_from(memory.storage_days.unwrap_or(STORAGE_DAYS)).unwrap_or_default(),
        max_recent_sessions: u32::try_from(sessions).unwrap_or_default(),
    }
}
