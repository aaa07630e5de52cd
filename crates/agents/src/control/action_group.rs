//! CreateAgentActionGroup, GetAgentActionGroup, ListAgentActionGroups, UpdateAgentActionGroup, DeleteAgentActionGroup.

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_identity::ObjectAccess;
use craton_objects::{GetOptions, ObjectRef};
use craton_store::Idempotency;
use craton_wire::ApiError;
use serde_json::json;

use super::Agents;
use super::edit::{Edit, NewPart};
use super::records::{
    ActionGroupRecord, AgentRecord, DRAFT, ID_LENGTH, Place, StoredActionGroup, bad_page, kinds,
};
use crate::definition::{Actions, FunctionAction, FunctionParameter};
use crate::error::missing;
use crate::schema::{self, MAX_BYTES};

/// Action groups of an agent, and how many of them may be enabled, as AWS's default quotas have it.
const MOST: usize = 20;
pub(crate) const MOST_ENABLED: usize = 15;

/// The requests that create and change a group have the same fields.
macro_rules! body {
    ($input:ident) => {
        StoredActionGroup {
            description: $input.description,
            signature: $input.parent_action_group_signature,
            signature_params: $input.parent_action_group_signature_params,
            executor: $input.action_group_executor,
            api_schema: $input.api_schema,
            function_schema: $input.function_schema,
            state: $input.action_group_state.unwrap_or(api::ActionGroupState::Enabled),
        }
    };
}

impl Agents {
    pub async fn create_agent_action_group(
        &self,
        context: &RequestContext,
        input: api::CreateAgentActionGroupRequest,
    ) -> Result<api::CreateAgentActionGroupResponse, ApiError> {
        let place = Place::of(context);
        let agent = self.agent(&place, &input.agent_id).await?;
        let name = input.action_group_name;
        let body = body!(input);
        check(&body)?;
        self.actions(context, &agent, (&name, &body)).await?;
        let id = self.parts.ids.short(ID_LENGTH);
        let token = input.client_token;
        let request = json!([input.agent_id, name, body]);
        let mut edit = Edit::begin(self, place.clone(), &input.agent_id).await?;
        let created = edit
            .create(NewPart {
                kind: kinds::ACTION_GROUP,
                id: &id,
                name: &name,
                body: &body,
                idempotency: Idempotency::answering(token.clone(), &request, &id),
            })
            .await?;
        let found: ActionGroupRecord = edit.part(kinds::ACTION_GROUP, &created).await?;
        if created == id {
            check_quotas(&edit.parts(kinds::ACTION_GROUP).await?)?;
            edit.finish().await?;
        } else {
            edit.leave().await?;
        }
        let mut group = view(&input.agent_id, DRAFT, &found);
        group.client_token = token;
        Ok(api::CreateAgentActionGroupResponse { agent_action_group: group })
    }

    pub async fn get_agent_action_group(
        &self,
        context: &RequestContext,
        input: api::GetAgentActionGroupRequest,
    ) -> Result<api::GetAgentActionGroupResponse, ApiError> {
        let groups = self.action_groups(&Place::of(context), &input.agent_id, &input.agent_version).await?;
        let found = groups.into_iter().find(|group| group.id == input.action_group_id);
        let found = found.ok_or_else(|| missing(&input.action_group_id))?;
        let agent_action_group = view(&input.agent_id, &input.agent_version, &found);
        Ok(api::GetAgentActionGroupResponse { agent_action_group })
    }

    pub async fn list_agent_action_groups(
        &self,
        context: &RequestContext,
        input: api::ListAgentActionGroupsRequest,
    ) -> Result<api::ListAgentActionGroupsResponse, ApiError> {
        let groups = self.action_groups(&Place::of(context), &input.agent_id, &input.agent_version).await?;
        let page = PageRequest::of(input.next_token, input.max_results)
            .cut(groups, |group| group.id.clone())
            .map_err(bad_page)?;
        let summary = |group: ActionGroupRecord| api::ActionGroupSummary {
            updated_at: group.updated(),
            action_group_id: group.id,
            action_group_name: group.name,
            action_group_state: group.body.state,
            description: group.body.description,
        };
        Ok(api::ListAgentActionGroupsResponse {
            action_group_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    pub async fn update_agent_action_group(
        &self,
        context: &RequestContext,
        input: api::UpdateAgentActionGroupRequest,
    ) -> Result<api::UpdateAgentActionGroupResponse, ApiError> {
        let place = Place::of(context);
        let body = body!(input);
        check(&body)?;
        let agent = self.agent(&place, &input.agent_id).await?;
        self.actions(context, &agent, (&input.action_group_name, &body)).await?;
        let mut edit = Edit::begin(self, place, &input.agent_id).await?;
        let mut found: ActionGroupRecord = edit.part(kinds::ACTION_GROUP, &input.action_group_id).await?;
        (found.name, found.body) = (input.action_group_name, body);
        let found = edit.update(kinds::ACTION_GROUP, &found).await?;
        check_quotas(&edit.parts(kinds::ACTION_GROUP).await?)?;
        edit.finish().await?;
        let agent_action_group = view(&input.agent_id, DRAFT, &found);
        Ok(api::UpdateAgentActionGroupResponse { agent_action_group })
    }

    /// An enabled action group stays, unless the request says otherwise.
    pub async fn delete_agent_action_group(
        &self,
        context: &RequestContext,
        input: api::DeleteAgentActionGroupRequest,
    ) -> Result<api::DeleteAgentActionGroupResponse, ApiError> {
        let mut edit = Edit::begin(self, Place::of(context), &input.agent_id).await?;
        let found: ActionGroupRecord = edit.part(kinds::ACTION_GROUP, &input.action_group_id).await?;
        let enabled = found.body.state == api::ActionGroupState::Enabled;
        if enabled && !input.skip_resource_in_use_check.unwrap_or_default() {
            return Err(ApiError::conflict(format!(
                "ActionGroup with name {} cannot be deleted when it is Enabled. Either use the skipResourceInUseCheck \
                 flag or mark it as Disabled.",
                found.name
            )));
        }
        edit.delete(kinds::ACTION_GROUP, &input.action_group_id).await?;
        edit.finish().await?;
        Ok(api::DeleteAgentActionGroupResponse {})
    }

    /// Of the draft, or of a version.
    async fn action_groups(
        &self,
        place: &Place,
        agent_id: &str,
        version: &str,
    ) -> Result<Vec<ActionGroupRecord>, ApiError> {
        self.agent(place, agent_id).await?;
        if version == DRAFT {
            return self.parts_of(&place.scope(kinds::ACTION_GROUP), agent_id).await;
        }
        Ok(self.snapshot(place, agent_id, version).await?.snapshot.action_groups)
    }

    /// The actions of a group, its schema read; none for a group with a signature.
    pub(super) async fn actions(
        &self,
        context: &RequestContext,
        agent: &AgentRecord,
        (name, group): (&str, &StoredActionGroup),
    ) -> Result<Option<Actions>, ApiError> {
        let wrong = |error: &dyn std::fmt::Display| {
            ApiError::validation(format!(
                "Failed to create OpenAPI 3 model from the JSON/YAML object that you provided for action: {name}. \
                 {error}"
            ))
        };
        if group.signature.is_some() {
            return Ok(None);
        }
        if let Some(api::FunctionSchema::Functions(functions)) = &group.function_schema {
            let functions: Vec<_> = functions.iter().map(function).collect();
            schema::check_functions(&functions).map_err(|error| {
                ApiError::validation(format!(
                    "The functionSchema of action group {name} is not valid: {error}."
                ))
            })?;
            return Ok(Some(Actions::Functions(functions)));
        }
        let text = match &group.api_schema {
            Some(api::APISchema::Payload(text)) => text.clone(),
            Some(api::APISchema::S3(at)) => {
                self.schema_object(context, agent, at).await.map_err(|error| wrong(&error))?
            }
            None => return Ok(None),
        };
        let read = tokio::task::spawn_blocking(move || schema::read_openapi(&text)).await;
        let actions = read.map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Some(Actions::Api(actions.map_err(|error| wrong(&error))?)))
    }

    /// The text of a schema's object, read with the agent's role.
    async fn schema_object(
        &self,
        context: &RequestContext,
        agent: &AgentRecord,
        at: &api::S3Identifier,
    ) -> Result<String, String> {
        let (Some(bucket), Some(key)) = (&at.s3_bucket_name, &at.s3_object_key) else {
            return Err("The s3 location needs an s3BucketName and an s3ObjectKey.".to_owned());
        };
        let allowed = self.check_object(context, agent, ObjectAccess::Read { bucket, key }).await;
        allowed.map_err(|error| error.message)?;
        let at = ObjectRef::new(bucket, key);
        let unreadable =
            |error: &dyn std::fmt::Display| format!("The object s3://{bucket}/{key} can't be read: {error}.");
        let object = self.parts.objects.get(&at, GetOptions::default()).await;
        let object = object.map_err(|error| unreadable(&error))?;
        let bytes = object.bytes(MAX_BYTES).await.map_err(|error| unreadable(&error))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| unreadable(&"it is not UTF-8 text"))
    }
}

fn function(function: &api::Function) -> FunctionAction {
    let parameter = |(name, detail): (&String, &api::ParameterDetail)| {
        let parameter = FunctionParameter {
            kind: detail.r#type.as_str().to_owned(),
            description: detail.description.clone().unwrap_or_default(),
            required: detail.required.unwrap_or_default(),
        };
        (name.clone(), parameter)
    };
    FunctionAction {
        name: function.name.clone(),
        description: function.description.clone().unwrap_or_default(),
        parameters: function.parameters.iter().flatten().map(parameter).collect(),
        require_confirmation: function.require_confirmation == Some(api::RequireConfirmation::Enabled),
    }
}

/// Checks what the API's model can't say of a group, but for its schema.
fn check(group: &StoredActionGroup) -> Result<(), ApiError> {
    if let Some(signature) = group.signature {
        if !matches!(
            signature,
            api::ActionGroupSignature::AmazonUserInput | api::ActionGroupSignature::AmazonCodeInterpreter
        ) {
            return Err(ApiError::validation(format!(
                "The parentActionGroupSignature {} is not served by this release. Use AMAZON.UserInput, \
                 AMAZON.CodeInterpreter or a schema.",
                signature.as_str()
            )));
        }
        let blank = group.description.is_none()
            && group.executor.is_none()
            && group.api_schema.is_none()
            && group.function_schema.is_none();
        if !blank {
            return Err(ApiError::validation(format!(
                "An action group with the parentActionGroupSignature {} must leave description, actionGroupExecutor, \
                 apiSchema and functionSchema blank.",
                signature.as_str()
            )));
        }
        return Ok(());
    }
    match (&group.api_schema, &group.function_schema) {
        (Some(_), Some(_)) => Err(ApiError::validation(
            "An action group has either an apiSchema or a functionSchema. Give one of them.",
        )),
        (None, None) => Err(ApiError::validation(
            "An action group needs an apiSchema, a functionSchema or a parentActionGroupSignature.",
        )),
        _ => Ok(()),
    }
}

fn check_quotas(groups: &[ActionGroupRecord]) -> Result<(), ApiError> {
    if groups.len() > MOST {
        return Err(ApiError::quota_exceeded(format!("The agent has the {MOST} action groups it can have.")));
    }
    let enabled = groups.iter().filter(|group| group.body.state == api::ActionGroupState::Enabled);
    if enabled.count() > MOST_ENABLED {
        return Err(ApiError::quota_exceeded(format!(
            "The agent has the {MOST_ENABLED} enabled action groups it can have."
        )));
    }
    let signatures: Vec<_> = groups.iter().filter_map(|group| group.body.signature).collect();
    for (at, signature) in signatures.iter().enumerate() {
        if signatures[..at].contains(signature) {
            return Err(ApiError::conflict(format!(
                "The agent has an action group with the parentActionGroupSignature {} already.",
                signature.as_str()
            )));
        }
    }
    Ok(())
}

fn view(agent_id: &str, version: &str, found: &ActionGroupRecord) -> api::AgentActionGroup {
    let body = found.body.clone();
    api::AgentActionGroup {
        agent_id: agent_id.to_owned(),
        agent_version: version.to_owned(),
        action_group_id: found.id.clone(),
        action_group_name: found.name.clone(),
        client_token: None,
        description: body.description,
        created_at: found.created(),
        updated_at: found.updated(),
        parent_action_signature: body.signature,
        parent_action_group_signature_params: body.signature_params,
        action_group_executor: body.executor,
        api_schema: body.api_schema,
        function_schema: body.function_schema,
        action_group_state: body.state,
    }
}
