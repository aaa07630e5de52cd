//! Return of control: actions that the caller carries out, or agrees to, before the agent goes on.

use std::collections::BTreeMap;

use craton_api_bedrock_agent_runtime as api;
use craton_wire::ApiError;
use craton_wire::types::Map;

use super::act::{Ready, group_input, parameters};
use super::arguments::{self, Invocation};
use super::collaborate::Noted;
use super::conversation::{Part, Turn};
use super::functions::Reply;
use super::session::{Pending, Waiting, Want};
use super::tools::{Action, ActionShape, Does};
use super::turn::{Acted, Run};

/// What a caller brought back.
#[derive(Debug, Clone)]
pub(super) struct Returned {
    pub invocation_id: String,
    pub results: Vec<api::InvocationResultMember>,
}

impl Run {
    /// Puts the turn aside until the caller comes back, and says what it has to do.
    pub(super) fn hand_over(&mut self, done: Vec<Part>, waiting: Vec<Waiting>) -> api::ReturnControlPayload {
        let invocation_id = self.runs.parts.ids.uuid();
        let mut inputs = Vec::new();
        for call in &waiting {
            match (&call.collaborator, self.asked_of(call)) {
                (Some(_), _) => inputs.extend(self.handed_over.remove(&call.call_id).unwrap_or_default()),
                (None, Some((invocation, input))) => {
                    self.trace_handed_over(&invocation, &invocation_id);
                    inputs.push(input);
                }
                (None, None) => {}
            }
        }
        self.session.pending = Some(Pending {
            invocation_id: invocation_id.clone(),
            question: self.question.clone(),
            prompt_attributes: self.prompt_attributes.clone(),
            scratchpad: std::mem::take(&mut self.scratchpad),
            done,
            waiting,
        });
        api::ReturnControlPayload { invocation_id: Some(invocation_id), invocation_inputs: Some(inputs) }
    }

    fn trace_handed_over(&self, invocation: &Invocation, id: &str) {
        self.tracer.input(api::InvocationType::ActionGroup, |it| {
            let kind = api::ExecutionType::ReturnControl;
            it.action_group_invocation_input = Some(group_input(invocation, kind, Some(id.to_owned())));
        });
    }

    fn action_of(&self, call: &Waiting) -> Option<(&Action, Invocation)> {
        let Some(Does::Action(action)) = self.toolbox.find(&call.tool) else { return None };
        Some((action, arguments::invocation(action, call.input.as_object()?)))
    }

    /// A call as the caller is asked to carry it out.
    fn asked_of(&self, call: &Waiting) -> Option<(Invocation, api::InvocationInputMember)> {
        let (action, invocation) = self.action_of(call)?;
        let kind = Some(match call.want {
            Want::Result => api::ActionInvocationType::Result,
            Want::Confirmation => api::ActionInvocationType::UserConfirmation,
            Want::ConfirmationAndResult => api::ActionInvocationType::UserConfirmationAndResult,
        });
        let identity = self.tracer.identity();
        let agent_id = identity.collaborator_name.is_some().then(|| identity.agent_id.clone());
        let collaborator_name = identity.collaborator_name.clone();
        let input = match &action.shape {
            ActionShape::Function(function) => {
                let one = |it: &arguments::Argument| api::FunctionParameter {
                    name: Some(it.name.clone()),
                    r#type: Some(it.kind.clone()),
                    value: Some(it.value.clone()),
                };
                api::InvocationInputMember::FunctionInvocationInput(api::FunctionInvocationInput {
                    action_group: invocation.group.clone(),
                    action_invocation_type: kind,
                    agent_id,
                    collaborator_name,
                    function: Some(function.name.clone()),
                    parameters: Some(invocation.parameters.iter().map(one).collect()),
                })
            }
            ActionShape::Api(operation) => {
                let one = |it: &arguments::Argument| api::ApiParameter {
                    name: Some(it.name.clone()),
                    r#type: Some(it.kind.clone()),
                    value: Some(it.value.clone()),
                };
                let body = invocation.body.as_ref().map(|(kind, properties)| {
                    let properties = api::PropertyParameters { properties: Some(parameters(properties)) };
                    api::ApiRequestBody { content: Some([(kind.clone(), properties)].into_iter().collect()) }
                });
                api::InvocationInputMember::ApiInvocationInput(api::ApiInvocationInput {
                    action_group: invocation.group.clone(),
                    action_invocation_type: kind,
                    agent_id,
                    api_path: Some(operation.path.clone()),
                    collaborator_name,
                    http_method: Some(operation.method.clone()),
                    parameters: Some(invocation.parameters.iter().map(one).collect()),
                    request_body: body,
                })
            }
        };
        Some((invocation, input))
    }

    /// Goes on with a turn that was put aside, with what the caller brought.
    pub(super) async fn resume(&mut self, returned: Returned) -> Result<Acted, ApiError> {
        check(self.session.pending.as_ref(), &returned)?;
        let pending = self.session.pending.take().unwrap_or_default();
        self.question = pending.question;
        self.scratchpad = pending.scratchpad;
        if self.prompt_attributes.is_empty() {
            self.prompt_attributes = pending.prompt_attributes;
        }
        let mut results = returned.results;
        let mut parts = pending.done;
        let mut still = Vec::new();
        for call in pending.waiting {
            let part = match call.collaborator.clone() {
                Some((name, inner)) => self.resume_collaborator(&call, (&name, &inner), &mut results).await?,
                None => self.resume_action(&call, &mut results).await?,
            };
            match part {
                Noted::Text(text) => parts.push(Part::Result { id: call.call_id, text, failed: false }),
                Noted::Failed(text) => parts.push(Part::Result { id: call.call_id, text, failed: true }),
                Noted::Waits(more) => still.push(Waiting { call_id: call.call_id, ..*more }),
            }
        }
        if still.is_empty() {
            self.scratchpad.push(Turn::results(parts));
            self.tracer.next_step();
            return Ok(Acted::GoOn);
        }
        Ok(Acted::Returned(self.hand_over(parts, still)))
    }

    async fn resume_action(
        &mut self,
        call: &Waiting,
        results: &mut Vec<api::InvocationResultMember>,
    ) -> Result<Noted, ApiError> {
        let Some((action, invocation)) = self.action_of(call) else {
            return Ok(Noted::Failed("The action is gone.".to_owned()));
        };
        let position = results.iter().position(|result| is_of(result, &invocation));
        let Some(brought) = position.map(|at| Brought::of(results.remove(at))) else {
            return Ok(Noted::Failed("The action was not carried out: no result came back.".to_owned()));
        };
        let agreed = brought.agreed;
        if call.want != Want::Result && agreed != Some(true) {
            return Ok(Noted::Text(
                "The user did not agree to this action. It was not carried out.".to_owned(),
            ));
        }
        if call.want == Want::Confirmation {
            let work =
                self.invoke(&action.clone(), call.input.as_object().unwrap_or(&serde_json::Map::new()));
            let ready = Ready { id: call.call_id.clone(), tool: call.tool.clone(), work };
            self.trace_call(&ready);
            let span = self.tracer.span();
            let done = self.carry_out(ready).await?;
            return Ok(match self.settle(done, span, &mut Vec::new())? {
                Some(Part::Result { text, failed: false, .. }) => Noted::Text(text),
                Some(Part::Result { text, .. }) => Noted::Failed(text),
                _ => Noted::Failed("The action gave nothing.".to_owned()),
            });
        }
        let metadata = self.tracer.metadata(self.tracer.span(), None);
        let reply =
            Reply { text: brought.text, state: brought.state, failed: brought.failed, ..Reply::default() };
        let (text, failed) = self.note_reply(reply, &call.tool, metadata)?;
        Ok(if failed { Noted::Failed(text) } else { Noted::Text(text) })
    }
}

/// A result that the caller brought.
struct Brought {
    text: String,
    state: Option<api::ResponseState>,
    failed: bool,
    /// Whether the user agreed, where that was asked.
    agreed: Option<bool>,
}

impl Brought {
    fn of(result: api::InvocationResultMember) -> Self {
        let agreed =
            |state: Option<api::ConfirmationState>| state.map(|it| it == api::ConfirmationState::Confirm);
        match result {
            api::InvocationResultMember::ApiResult(it) => Self {
                text: body(it.response_body),
                state: it.response_state,
                failed: it.http_status_code.is_some_and(|status| status >= 400),
                agreed: agreed(it.confirmation_state),
            },
            api::InvocationResultMember::FunctionResult(it) => Self {
                text: body(it.response_body),
                state: it.response_state,
                failed: false,
                agreed: agreed(it.confirmation_state),
            },
        }
    }
}

fn body(by_type: Option<Map<api::ContentBody>>) -> String {
    let by_type = by_type.unwrap_or_default();
    let preferred = ["TEXT", "application/json"].iter().find_map(|kind| by_type.get(*kind));
    let chosen = preferred.or_else(|| by_type.values().next());
    chosen.and_then(|content| content.body.clone()).unwrap_or_default()
}

/// Whether a result is one of this call.
fn is_of(result: &api::InvocationResultMember, invocation: &Invocation) -> bool {
    match result {
        api::InvocationResultMember::FunctionResult(it) => {
            it.action_group == invocation.group
                && it.function.as_deref().is_none_or(|name| name == invocation.function)
        }
        api::InvocationResultMember::ApiResult(it) => {
            let Some((path, verb)) = &invocation.operation else { return false };
            it.action_group == invocation.group
                && it.api_path.as_deref().is_none_or(|given| given == path)
                && it.http_method.as_deref().is_none_or(|given| given.eq_ignore_ascii_case(verb))
        }
    }
}

/// What the session remembers of a turn that its caller never came back to: the question, and that nothing came of it.
pub(super) fn abandoned(pending: Pending) -> super::conversation::Exchange {
    super::conversation::Exchange {
        question: pending.question,
        steps: Vec::new(),
        answer: "(The actions that this needed were not carried out.)".to_owned(),
    }
}

/// Inputs that collaborators handed over, by the supervisor's call.
pub(super) type HandedOver = BTreeMap<String, Vec<api::InvocationInputMember>>;

/// The results must be for a turn that waits; checked before the answer's stream begins.
pub(super) fn check(pending: Option<&Pending>, returned: &Returned) -> Result<(), ApiError> {
    match pending {
        Some(pending) if pending.invocation_id == returned.invocation_id => Ok(()),
        Some(_) | None => Err(ApiError::validation(format!(
            "The session does not wait for results of the invocation {}. Send the invocationId of its last \
             returnControl event.",
            returned.invocation_id
        ))),
    }
}
