//! Return of control: actions that the caller carries out, or agrees to, before the agent goes on.

use std::collections::BTreeMap;

use craton_api_bedrock_agent_runtime as api;
use craton_wire::ApiError;
use craton_wire::types::Map;
use serde::Deserialize as _;
use serde_json::Value;

use super::act::{MOST_SCRATCHPAD as MOST_RESULTS, Ready, group_input, parameters};
use super::arguments::{self, Invocation};
use super::collaborate::Noted;
use super::conversation::{Exchange, Part, Turn};
use super::functions::Reply;
use super::inputs;
use super::session::{Asked, Lease, Pending, Session, Waiting, Want, internal};
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
            attached: std::mem::take(&mut self.attached),
            found: std::mem::take(&mut self.found),
            done,
            waiting,
            returned: None,
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
        let Some(Does::Action(action)) = self.agent.toolbox.find(&call.tool) else { return None };
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
    ///
    /// What is done on the way (a function that the user agreed to, a collaborator's turn) is kept at once: a caller who
    /// sends the same results again, because the turn failed later or the server stopped, does not have it done twice.
    pub(super) async fn resume(&mut self, lease: &mut Lease, returned: Returned) -> Result<Acted, ApiError> {
        check(self.session.pending.as_ref(), &returned)?;
        let mut pending = self.session.pending.take().unwrap_or_default();
        self.question.clone_from(&pending.question);
        self.scratchpad.clone_from(&pending.scratchpad);
        self.found.clone_from(&pending.found);
        if self.attached.is_empty() {
            self.attach(pending.attached.clone()).await?;
        }
        if self.prompt_attributes.is_empty() {
            self.prompt_attributes.clone_from(&pending.prompt_attributes);
        }
        // Bound once, and kept with what is kept of the turn: whoever tries again can't have a result counted for
        // another call because its own is done.
        if pending.returned.is_none() {
            bind(&mut pending, returned.results)?;
        }
        let mut still = Vec::new();
        while !pending.waiting.is_empty() {
            if !pending.waiting[0].next.is_empty() {
                let call = pending.waiting.remove(0);
                self.handed_over.insert(call.call_id.clone(), inputs::read(&call.next)?);
                still.push(call);
                continue;
            }
            let (noted, acted) = match pending.waiting[0].collaborator.clone() {
                Some((name, inner)) => {
                    let call = &pending.waiting[0];
                    (self.resume_collaborator(call, (&name, &inner)).await?, true)
                }
                None => self.resume_action(lease, (&mut pending, &still)).await?,
            };
            let call = pending.waiting.remove(0);
            let (id, (text, failed)) = match noted {
                Noted::Text(text) => (call.call_id, (text, false)),
                Noted::Failed(text) => (call.call_id, (text, true)),
                Noted::Waits(more) => {
                    let next =
                        self.handed_over.get(&call.call_id).map(|all| inputs::kept(all)).transpose()?;
                    let next = next.unwrap_or_default();
                    still.push(Waiting { call_id: call.call_id, next, ..*more });
                    self.keep_progress(lease, &pending, &still).await?;
                    continue;
                }
            };
            pending.done.push(Part::Result { id, text, failed });
            if acted {
                self.keep_progress(lease, &pending, &still).await?;
            }
        }
        if still.is_empty() {
            self.scratchpad.push(Turn::results(pending.done));
            self.tracer.next_step();
            return Ok(Acted::GoOn);
        }
        still.iter_mut().for_each(|call| call.next.clear());
        Ok(Acted::Returned(self.hand_over(pending.done, still)))
    }

    /// Keeps how far a turn has come that was put aside.
    async fn keep_progress(
        &self,
        lease: &mut Lease,
        pending: &Pending,
        still: &[Waiting],
    ) -> Result<(), ApiError> {
        let mut pending = pending.clone();
        pending.waiting.extend(still.iter().cloned());
        pending.found.clone_from(&self.found);
        pending.prompt_attributes.clone_from(&self.prompt_attributes);
        let own = self.session.exchanges.get(self.relayed..).unwrap_or_default().to_vec();
        let mut session = Session { exchanges: own, pending: Some(pending), ..self.session.clone() };
        self.runs.save_session(lease, &mut session).await
    }

    /// What comes of the first action that waits, and whether anything was done for it.
    async fn resume_action(
        &mut self,
        lease: &mut Lease,
        (pending, still): (&mut Pending, &[Waiting]),
    ) -> Result<(Noted, bool), ApiError> {
        let call = &mut pending.waiting[0];
        if call.want == Want::Confirmation && call.begun {
            return Ok((Noted::Failed(INTERRUPTED.to_owned()), false));
        }
        let agreed = match self.brought(call)? {
            Ok(noted) => return Ok((noted, false)),
            Err(Agreed) => {
                call.begun = true;
                call.clone()
            }
        };
        self.keep_progress(lease, pending, still).await?;
        self.confirmed(&agreed).await.map(|noted| (noted, true))
    }

    /// Calls the function that the user agreed to.
    async fn confirmed(&mut self, call: &Waiting) -> Result<Noted, ApiError> {
        let Some((action, _)) = self.action_of(call) else {
            return Ok(Noted::Failed(GONE.to_owned()));
        };
        let nothing = serde_json::Map::new();
        let work = self.invoke(&action.clone(), call.input.as_object().unwrap_or(&nothing));
        let ready = Ready { id: call.call_id.clone(), tool: call.tool.clone(), work };
        self.trace_call(&ready);
        let span = self.tracer.span();
        let done = self.carry_out(ready).await?;
        Ok(match self.settle(done, span, &mut Vec::new())? {
            Some(Part::Result { text, failed: false, .. }) => Noted::Text(text),
            Some(Part::Result { text, .. }) => Noted::Failed(text),
            _ => Noted::Failed("The action gave nothing.".to_owned()),
        })
    }

    /// What the caller brought for an action, or that its function may now be called. What the caller did is told as it
    /// is even where the agent has that action no more: it was done.
    fn brought(&mut self, call: &Waiting) -> Result<Result<Noted, Agreed>, ApiError> {
        let Some(brought) = bound(call)?.into_iter().next().map(Brought::of) else {
            return Ok(Ok(Noted::Failed("The action was not carried out: no result came back.".to_owned())));
        };
        let agreed = brought.agreed;
        if call.want != Want::Result && agreed != Some(true) {
            return Ok(Ok(Noted::Text(
                "The user did not agree to this action. It was not carried out.".to_owned(),
            )));
        }
        if call.want == Want::Confirmation {
            return Ok(Err(Agreed));
        }
        let metadata = self.tracer.metadata(self.tracer.span(), None);
        let reply =
            Reply { text: brought.text, state: brought.state, failed: brought.failed, ..Reply::default() };
        let (text, failed) = self.note_reply(reply, &call.tool, metadata)?;
        Ok(Ok(if failed { Noted::Failed(text) } else { Noted::Text(text) }))
    }
}

const GONE: &str =
    "The user agreed to this action, but the agent has changed and has it no more. It was not carried out.";

/// The user agreed to an action that has a function.
struct Agreed;

const INTERRUPTED: &str = "The user agreed to this action and it was begun, but what became of it is not known. It is not \
                           carried out again by itself. Tell the user, or find out how things stand.";

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

/// What an input asks for.
pub(super) fn asked(input: &api::InvocationInputMember) -> Option<Asked> {
    match input {
        api::InvocationInputMember::FunctionInvocationInput(it) => Some(Asked {
            agent_id: it.agent_id.clone(),
            group: it.action_group.clone(),
            function: it.function.clone().unwrap_or_default(),
            operation: None,
        }),
        api::InvocationInputMember::ApiInvocationInput(it) => Some(Asked {
            agent_id: it.agent_id.clone(),
            group: it.action_group.clone(),
            function: String::new(),
            operation: it.api_path.clone().zip(it.http_method.clone()),
        }),
    }
}

/// Whether a result is one of what was asked. One that names no agent is whoever's asked first.
pub(super) fn is_of(result: &api::InvocationResultMember, asked: &Asked) -> bool {
    let by = |agent_id: &Option<String>| {
        agent_id.as_ref().zip(asked.agent_id.as_ref()).is_none_or(|(given, asked)| given == asked)
    };
    match result {
        api::InvocationResultMember::FunctionResult(it) => {
            by(&it.agent_id)
                && it.action_group == asked.group
                && it.function.as_deref().is_none_or(|name| name == asked.function)
        }
        api::InvocationResultMember::ApiResult(it) => {
            let Some((path, verb)) = &asked.operation else { return false };
            by(&it.agent_id)
                && it.action_group == asked.group
                && it.api_path.as_deref().is_none_or(|given| given == path)
                && it.http_method.as_deref().is_none_or(|given| given.eq_ignore_ascii_case(verb))
        }
    }
}

/// Gives each call that waits the results that are its own, in the order of the calls.
fn bind(pending: &mut Pending, results: Vec<api::InvocationResultMember>) -> Result<(), ApiError> {
    pending.returned = Some(kept(&results)?);
    let mut left = results;
    for call in &mut pending.waiting {
        for asked in &call.asked {
            if let Some(at) = left.iter().position(|result| is_of(result, asked)) {
                call.bound.push(kept(&left.remove(at))?);
            }
        }
    }
    Ok(())
}

/// What a caller brings goes to the model, as what tools answer does.
fn check_size(returned: &Returned) -> Result<(), ApiError> {
    if craton_store::fits(&returned.results, MOST_RESULTS) {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "The returnControlInvocationResults are larger than the {MOST_RESULTS} bytes that they can be together."
    )))
}

/// Every action that waits has a result, and every result is one of theirs. What does not fit would be lost, and the
/// model told that nothing was done.
fn check_fit(pending: &Pending, results: &[api::InvocationResultMember]) -> Result<(), ApiError> {
    let mut left: Vec<&api::InvocationResultMember> = results.iter().collect();
    let mut without = Vec::new();
    for asked in pending.waiting.iter().flat_map(|call| &call.asked) {
        match left.iter().position(|result| is_of(result, asked)) {
            Some(at) => drop(left.remove(at)),
            None => without.push(asked.name()),
        }
    }
    let wrong = match (left.first(), without.first()) {
        (Some(result), _) => format!("The result {} is of no action that waits.", named(result)),
        (None, Some(action)) => format!("There is no result of the action {action}."),
        (None, None) => return Ok(()),
    };
    let waiting: Vec<String> = pending.waiting.iter().flat_map(|call| &call.asked).map(Asked::name).collect();
    Err(ApiError::validation(format!(
        "{wrong} Send one result for each action of the returnControl event, with its names: {}.",
        waiting.join(", ")
    )))
}

/// What a result says that it is of.
fn named(result: &api::InvocationResultMember) -> String {
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    match result {
        api::InvocationResultMember::FunctionResult(it) => {
            format!("{}/{}", it.action_group, text(&it.function))
        }
        api::InvocationResultMember::ApiResult(it) => {
            format!("{}/{} {}", it.action_group, text(&it.http_method), text(&it.api_path))
        }
    }
}

/// What the session remembers of a turn that its caller never came back to: the question, what was done about it, and
/// that the rest was not.
pub(super) fn abandoned(pending: Pending) -> Exchange {
    let Pending { question, scratchpad: mut steps, done, waiting, .. } = pending;
    let left = waiting.into_iter().map(|call| {
        let text = if call.begun { INTERRUPTED } else { NOT_DONE };
        Part::Result { id: call.call_id, text: text.to_owned(), failed: true }
    });
    steps.push(Turn::results(done.into_iter().chain(left).collect()));
    Exchange { question, steps, answer: "(The user went on before this was finished.)".to_owned() }
}

const NOT_DONE: &str = "The action was not carried out: nobody came back with its result.";

/// Inputs that collaborators handed over, by the supervisor's call.
pub(super) type HandedOver = BTreeMap<String, Vec<api::InvocationInputMember>>;

/// The results must be for a turn that waits, and the same as before where something was done with them already; checked
/// before the answer's stream begins.
pub(super) fn check(pending: Option<&Pending>, returned: &Returned) -> Result<(), ApiError> {
    let waits = pending.filter(|pending| pending.invocation_id == returned.invocation_id);
    let Some(pending) = waits else {
        return Err(ApiError::validation(format!(
            "The session does not wait for results of the invocation {}. Send the invocationId of its last \
             returnControl event.",
            returned.invocation_id
        )));
    };
    let Some(before) = &pending.returned else {
        check_size(returned)?;
        return check_fit(pending, &returned.results);
    };
    if kept(&returned.results)? != *before {
        return Err(ApiError::validation(
            "Some of these actions were carried out by the results that were sent before. Send the same \
             returnControlInvocationResults again, or go on with an inputText.",
        ));
    }
    Ok(())
}

fn kept<T: serde::Serialize + ?Sized>(results: &T) -> Result<Value, ApiError> {
    serde_json::to_value(results).map_err(|error| internal(&error))
}

/// The results that are a call's.
pub(super) fn bound(call: &Waiting) -> Result<Vec<api::InvocationResultMember>, ApiError> {
    let read = |value: &Value| api::InvocationResultMember::deserialize(value);
    call.bound.iter().map(read).collect::<Result<_, _>>().map_err(|error| internal(&error))
}
