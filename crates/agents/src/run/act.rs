//! The calls of one answer: checked, traced, carried out side by side, and what they gave.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use craton_api_bedrock_agent_runtime as api;
use craton_backend::ToolUse;
use craton_backend::function::{FunctionCall, FunctionError};
use craton_wire::ApiError;
use futures::StreamExt as _;
use serde_json::{Map, Value};

use super::arguments::{self, Argument, Invocation};
use super::asked::{MOST_ATTRIBUTES, length};
use super::collaborate::Noted;
use super::conversation::{self, Part, Turn};
use super::failure;
use super::functions::{self, Caller, Changes, Reply};
use super::knowledge::Found;
use super::session::{Asked, Waiting, Want};
use super::tools::{Action, Does};
use super::turn::{Acted, Outcome, Run, Strike};
use crate::definition::{Executor, KnowledgeBaseUse};

/// Calls of one answer that run side by side.
const AT_ONCE: usize = 8;
/// Bytes that the calls and results of one turn may have.
pub(super) const MOST_SCRATCHPAD: usize = 2 * 1024 * 1024;
const ASK_ALONE: &str = "The user was not asked: other tools were called in the same answer, and their results are here. \
                         If you still need to ask, call this tool again, alone.";
const WAITS: &str = "The message was not delivered: this agent waits for what the caller has to do for an earlier message. \
                     Send it again after that.";
/// Calls that one answer may make.
const MOST_CALLS: usize = 32;
/// How often in a row a tool may fail, or be called wrongly, before the turn is given up.
const MOST_STRIKES: u32 = 2;

/// A call that is about to be carried out.
pub(super) struct Ready {
    pub id: String,
    pub tool: String,
    pub work: Work,
}

pub(super) enum Work {
    Invoke {
        function: String,
        invocation: Invocation,
    },
    Lookup {
        base: KnowledgeBaseUse,
        query: String,
    },
    Interpret {
        code: String,
    },
    Message {
        recipient: String,
        content: String,
    },
    /// Nothing can be done: what the model is told. It counts as a failure of the tool.
    Refuse {
        why: String,
    },
    /// Nothing is to be done, and nothing has failed.
    Tell {
        text: String,
    },
}

/// What came of a call.
pub(super) struct Done {
    pub id: String,
    pub tool: String,
    pub result: Result<Gave, String>,
}

/// What a call gave.
pub(super) enum Gave {
    Reply(Reply),
    Found(Vec<Found>, String),
    Ran(super::code::Ran),
    Answered(super::collaborate::Delivered),
    Told(String),
}

impl Run {
    /// Carries the calls of one answer out, or hands them to the caller.
    pub(super) async fn act(&mut self, calls: Vec<ToolUse>) -> Result<Acted, ApiError> {
        if calls.len() > MOST_CALLS {
            return Err(failure::dependency(
                format!(
                    "The model called {} tools at once, and at most {MOST_CALLS} are carried out.",
                    calls.len()
                ),
                "",
            ));
        }
        self.round += 1;
        let alone = calls.len() == 1;
        let mut ready = Vec::new();
        let mut waiting = Vec::new();
        for call in calls {
            let (id, tool) = (call.id.clone(), call.name.clone());
            match self.prepare(call) {
                Prepared::Ready(call) => ready.push(*call),
                Prepared::Waiting(call) => waiting.push(*call),
                Prepared::Ask(question) if alone => return Ok(Acted::Ask(question)),
                // The user's answer comes with the next turn: what else was called would have no result until then.
                Prepared::Ask(_) => {
                    let text = ASK_ALONE.to_owned();
                    ready.push(Ready { id, tool, work: Work::Tell { text } });
                }
            }
        }
        for call in &ready {
            self.trace_call(call);
        }
        let span = self.tracer.span();
        let done = self.carry_out_all(ready).await?;
        let mut results = Vec::new();
        for done in done {
            if let Some(result) = self.settle(done, span, &mut waiting)? {
                results.push(result);
            }
        }
        let results = Turn::results(results);
        let bytes =
            conversation::bytes(&self.scratchpad) + conversation::bytes(std::slice::from_ref(&results));
        if bytes > MOST_SCRATCHPAD {
            return Err(failure::dependency(
                format!(
                    "What the agent's tools answered in this turn has more than {MOST_SCRATCHPAD} bytes together."
                ),
                "",
            ));
        }
        if waiting.is_empty() {
            self.scratchpad.push(results);
            return Ok(Acted::GoOn);
        }
        Ok(Acted::Returned(self.hand_over(results.parts, waiting)))
    }

    /// Carries calls out side by side, but messages to one collaborator one after the other: it has one session. What
    /// they gave is in the order of the calls.
    async fn carry_out_all(&self, ready: Vec<Ready>) -> Result<Vec<Done>, ApiError> {
        let mut lanes: Vec<Vec<(usize, Ready)>> = Vec::new();
        for (at, call) in ready.into_iter().enumerate() {
            let lane = recipient(&call)
                .and_then(|to| lanes.iter().position(|lane| recipient(&lane[0].1) == Some(to)));
            match lane {
                Some(lane) => lanes[lane].push((at, call)),
                None => lanes.push(vec![(at, call)]),
            }
        }
        let lanes = lanes.into_iter().map(|lane| self.carry_out_in_turn(lane));
        let done: Vec<Result<Vec<(usize, Done)>, ApiError>> =
            futures::stream::iter(lanes).buffered(AT_ONCE).collect().await;
        let mut done: Vec<(usize, Done)> =
            done.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        done.sort_by_key(|(at, _)| *at);
        Ok(done.into_iter().map(|(_, done)| done).collect())
    }

    async fn carry_out_in_turn(&self, lane: Vec<(usize, Ready)>) -> Result<Vec<(usize, Done)>, ApiError> {
        let mut all = Vec::new();
        let mut waits = false;
        for (at, call) in lane {
            let done = if waits {
                let text = WAITS.to_owned();
                Done { id: call.id, tool: call.tool, result: Ok(Gave::Told(text)) }
            } else {
                self.carry_out(call).await?
            };
            waits |=
                matches!(&done.result, Ok(Gave::Answered(it)) if matches!(it.outcome, Outcome::Returned(_)));
            all.push((at, done));
        }
        Ok(all)
    }

    fn prepare(&self, call: ToolUse) -> Prepared {
        let ToolUse { id, name, input } = call;
        let refuse = |why: String, tool: String| {
            Prepared::Ready(Box::new(Ready { id: id.clone(), tool, work: Work::Refuse { why } }))
        };
        let (does, input) = match self.agent.toolbox.checked(&name, &input) {
            Some(Ok(fits)) => fits,
            Some(Err(why)) => return refuse(why, name),
            None => {
                return refuse(
                    format!("There is no tool {name}. Use one of those that you were given."),
                    name,
                );
            }
        };
        let text = |field: &str| input.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let work = match does {
            Does::AskUser => return Prepared::Ask(text("question")),
            Does::Action(action) => match wanted(action) {
                Some(want) => {
                    let Invocation { group, function, operation, .. } = arguments::invocation(action, &input);
                    let agent_id = Some(self.tracer.identity().agent_id.clone());
                    return Prepared::Waiting(Box::new(Waiting {
                        call_id: id,
                        tool: name,
                        input: Value::Object(input),
                        want,
                        collaborator: None,
                        asked: vec![Asked { agent_id, group, function, operation }],
                        begun: false,
                        bound: Vec::new(),
                        next: Vec::new(),
                    }));
                }
                None => self.invoke(action, &input),
            },
            Does::Lookup(base) => Work::Lookup { base: base.clone(), query: text("searchQuery") },
            Does::Interpret => Work::Interpret { code: text("code") },
            Does::Collaborate => Work::Message { recipient: text("recipient"), content: text("content") },
        };
        Prepared::Ready(Box::new(Ready { id, tool: name, work }))
    }

    /// The work of an action whose function may be called.
    pub(super) fn invoke(&self, action: &Action, input: &Map<String, Value>) -> Work {
        match &action.executor {
            Executor::Function(function) => {
                Work::Invoke { function: function.clone(), invocation: arguments::invocation(action, input) }
            }
            Executor::ReturnControl => Work::Refuse { why: "The action has no function.".to_owned() },
        }
    }

    pub(super) fn trace_call(&self, call: &Ready) {
        match &call.work {
            Work::Invoke { invocation, .. } => self.tracer.input(api::InvocationType::ActionGroup, |it| {
                let kind = api::ExecutionType::Lambda;
                it.action_group_invocation_input = Some(group_input(invocation, kind, None));
            }),
            Work::Lookup { base, query } => self.tracer.input(api::InvocationType::KnowledgeBase, |it| {
                it.knowledge_base_lookup_input = Some(api::KnowledgeBaseLookupInput {
                    knowledge_base_id: Some(base.id.clone()),
                    text: Some(query.clone()),
                });
            }),
            Work::Interpret { code } => {
                self.tracer.input(api::InvocationType::ActionGroupCodeInterpreter, |it| {
                    let names: Vec<String> =
                        self.session.files.iter().map(|file| file.name.clone()).collect();
                    it.code_interpreter_invocation_input = Some(api::CodeInterpreterInvocationInput {
                        code: Some(code.clone()),
                        files: (!names.is_empty()).then_some(names),
                    });
                });
            }
            Work::Message { recipient, content } => {
                self.tracer.input(api::InvocationType::AgentCollaborator, |it| {
                    it.agent_collaborator_invocation_input =
                        Some(self.message_input(recipient, content.clone()));
                });
            }
            Work::Refuse { .. } | Work::Tell { .. } => {}
        }
    }

    /// Carries one call out. Errors end the turn; whatever a tool can fail with is a result.
    pub(super) async fn carry_out(&self, call: Ready) -> Result<Done, ApiError> {
        let Ready { id, tool, work } = call;
        let result = match work {
            Work::Refuse { why } => Err(why),
            Work::Tell { text } => Ok(Gave::Told(text)),
            Work::Invoke { function, invocation } => {
                self.call_function(&function, &invocation).await?.map(Gave::Reply)
            }
            Work::Lookup { base, query } => match self.look_up(&base, &query).await {
                Ok((found, text)) => Ok(Gave::Found(found, text)),
                Err(error) if is_ours(&error) => return Err(error),
                Err(error) => Err(format!("The search failed: {}", error.without_quotes().message)),
            },
            Work::Interpret { code } => self.interpret(&code).await?.map(Gave::Ran),
            Work::Message { recipient, content } => match self.deliver(&recipient, content).await {
                Ok(delivered) => Ok(Gave::Answered(delivered)),
                Err(error) if is_ours(&error) => return Err(error),
                Err(error) => {
                    let why = error.without_quotes().message;
                    Err(format!("The agent {recipient} could not answer: {why}"))
                }
            },
        };
        Ok(Done { id, tool, result })
    }

    /// Calls a function with one action; what the model can be told of a failure.
    async fn call_function(
        &self,
        function: &str,
        invocation: &Invocation,
    ) -> Result<Result<Reply, String>, ApiError> {
        let answered = self.run_function(function, self.caller().event(invocation)).await?;
        let before = (&self.session.attributes, &self.prompt_attributes);
        Ok(answered.and_then(|payload| functions::reply_to(invocation, before, &payload)))
    }

    /// Runs a function within the time and size that functions have; what the model can be told of a failure.
    pub(super) async fn run_function(
        &self,
        function: &str,
        event: Value,
    ) -> Result<Result<Bytes, String>, ApiError> {
        self.permit_function(function).await?;
        let limit = Duration::from_secs(self.runs.parts.config.function_timeout_s);
        let call = FunctionCall { arn: function.to_owned(), payload: event.to_string().into() };
        let answered = tokio::time::timeout(limit, self.runs.parts.functions.invoke(call)).await;
        Ok(match answered {
            Err(_) => Err(format!("The function did not answer within {} seconds.", limit.as_secs())),
            Ok(Err(error)) => Err(function_error(&error)),
            Ok(Ok(answer)) if answer.failed => Err(failed_text(&answer.payload)),
            Ok(Ok(answer)) if answer.payload.len() > functions::MOST_ANSWER => Err(format!(
                "The function's answer has {} bytes, and at most {} can be read.",
                answer.payload.len(),
                functions::MOST_ANSWER
            )),
            Ok(Ok(answer)) => Ok(answer.payload),
        })
    }

    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            identity: self.tracer.identity(),
            agent_name: &self.agent.agent_name,
            question: &self.question,
            attributes: &self.session.attributes,
            prompt_attributes: &self.prompt_attributes,
        }
    }

    /// Takes note of what a call gave, and makes it the model's to read. None where a collaborator handed over calls of
    /// its own, which wait.
    pub(super) fn settle(
        &mut self,
        done: Done,
        span: super::trace::Span,
        waiting: &mut Vec<Waiting>,
    ) -> Result<Option<Part>, ApiError> {
        let Done { id, tool, result } = done;
        let gave = match result {
            Ok(gave) => gave,
            Err(why) => {
                let text = self.strike(&tool, why)?;
                return Ok(Some(Part::Result { id, text, failed: true }));
            }
        };
        self.strikes.remove(&tool);
        let metadata = self.tracer.metadata(span, None);
        let (text, failed) = match gave {
            Gave::Reply(reply) => self.note_reply(reply, &tool, metadata)?,
            Gave::Found(found, text) => {
                let references: Vec<_> = found.iter().map(|it| it.reference.clone()).collect();
                self.tracer.observation(api::Type::KnowledgeBase, |it| {
                    it.knowledge_base_lookup_output = Some(api::KnowledgeBaseLookupOutput {
                        metadata: Some(metadata),
                        retrieved_references: Some(references),
                    });
                });
                self.found.extend(found);
                (text, false)
            }
            Gave::Ran(ran) => self.note_ran(ran, metadata),
            Gave::Told(text) => (text, false),
            Gave::Answered(delivered) => match self.note_delivered(&id, delivered, metadata) {
                Noted::Text(text) => (text, false),
                Noted::Failed(text) => (text, true),
                Noted::Waits(more) => {
                    waiting.push(*more);
                    return Ok(None);
                }
            },
        };
        Ok(Some(Part::Result { id, text, failed }))
    }

    /// What a function's answer changes, and its text for the model.
    pub(super) fn note_reply(
        &mut self,
        reply: Reply,
        tool: &str,
        metadata: api::Metadata,
    ) -> Result<(String, bool), ApiError> {
        let kept = self.change_attributes(reply.changed);
        self.session.knowledge_bases.extend(reply.knowledge_bases);
        if reply.state == Some(api::ResponseState::Failure) {
            return Err(failure::dependency(
                format!("The action {tool} answered that it failed: {}", shortened(&reply.text)),
                tool,
            ));
        }
        let reprompt = reply.state == Some(api::ResponseState::Reprompt);
        if reprompt {
            self.tracer.observation(api::Type::Reprompt, |it| {
                it.reprompt_response = Some(api::RepromptResponse {
                    source: Some(api::Source::ActionGroup),
                    text: Some(reply.text.clone()),
                });
            });
        } else {
            self.tracer.observation(api::Type::ActionGroup, |it| {
                it.action_group_invocation_output = Some(api::ActionGroupInvocationOutput {
                    metadata: Some(metadata),
                    text: Some(reply.text.clone()),
                });
            });
        }
        let mut text = reply.text;
        if let Err(TooLarge) = kept {
            text.push_str(LEFT);
        }
        Ok((text, reply.failed || reprompt))
    }

    /// Changes attributes, the session's first, unless they would be larger than they can be: then they stay as they are.
    pub(super) fn change_attributes(&mut self, changes: (Changes, Changes)) -> Result<(), TooLarge> {
        let (mut session, mut prompt) = (self.session.attributes.clone(), self.prompt_attributes.clone());
        let bytes = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| -> usize {
            one.iter().chain(other).map(length).sum()
        };
        let before = bytes(&session, &prompt);
        functions::apply(changes.0, &mut session);
        functions::apply(changes.1, &mut prompt);
        let after = bytes(&session, &prompt);
        if after > MOST_ATTRIBUTES && after > before {
            tracing::warn!(bytes = after, "attributes that a function set are too large, and are not kept");
            return Err(TooLarge);
        }
        (self.session.attributes, self.prompt_attributes) = (session, prompt);
        Ok(())
    }

    /// A tool failed: the model is told once, and the turn given up when it happens again.
    fn strike(&mut self, tool: &str, why: String) -> Result<String, ApiError> {
        let round = self.round;
        let strike = self.strikes.entry(tool.to_owned()).or_default();
        // Calls of one answer count once: the model has not been told between them.
        if strike.round != round {
            *strike = Strike { count: strike.count + 1, round };
        }
        let strikes = strike.count;
        if strikes >= MOST_STRIKES {
            return Err(failure::dependency(
                format!("The tool {tool} failed {strikes} times in a row, last with: {}", shortened(&why)),
                tool,
            ));
        }
        let source = match self.agent.toolbox.find(tool) {
            Some(Does::Lookup(_)) => api::Source::KnowledgeBase,
            _ => api::Source::ActionGroup,
        };
        self.tracer.observation(api::Type::Reprompt, |it| {
            it.reprompt_response =
                Some(api::RepromptResponse { source: Some(source), text: Some(why.clone()) });
        });
        Ok(why)
    }
}

/// Attributes were to become larger than they can be.
pub(super) struct TooLarge;

/// What the model is told of that.
pub(super) const LEFT: &str = "\n(The session attributes that were set by this are too large together. They were left as \
                               they were before.)";

/// The collaborator that a message is for.
fn recipient(call: &Ready) -> Option<&str> {
    match &call.work {
        Work::Message { recipient, .. } => Some(recipient),
        _ => None,
    }
}

enum Prepared {
    Ready(Box<Ready>),
    Waiting(Box<Waiting>),
    Ask(String),
}

/// What the caller has to do before, or in place of, a function.
fn wanted(action: &Action) -> Option<Want> {
    match (&action.executor, action.needs_confirmation()) {
        (Executor::Function(_), false) => None,
        (Executor::Function(_), true) => Some(Want::Confirmation),
        (Executor::ReturnControl, false) => Some(Want::Result),
        (Executor::ReturnControl, true) => Some(Want::ConfirmationAndResult),
    }
}

/// Whether an error is the caller's or the server's to hear of, not the model's.
fn is_ours(error: &ApiError) -> bool {
    matches!(error.code.as_ref(), "AccessDeniedException" | "ThrottlingException" | "InternalServerException")
}

fn function_error(error: &FunctionError) -> String {
    match error {
        FunctionError::NotFound(_) => error.to_string(),
        other => format!("The function was not run: {other}"),
    }
}

/// What a function that failed says of it.
fn failed_text(payload: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(payload).unwrap_or_default();
    let field = |name: &str| answer.get(name).and_then(Value::as_str);
    let kind = field("errorType").map(|kind| format!("{kind}: ")).unwrap_or_default();
    format!("The function failed: {kind}{}", shortened(field("errorMessage").unwrap_or("no message")))
}

pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 1000;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn group_input(
    invocation: &Invocation,
    kind: api::ExecutionType,
    invocation_id: Option<String>,
) -> api::ActionGroupInvocationInput {
    let (path, verb) = invocation.operation.clone().unzip();
    api::ActionGroupInvocationInput {
        action_group_name: Some(invocation.group.clone()),
        api_path: path,
        execution_type: Some(kind),
        function: Some(invocation.function.clone()),
        invocation_id,
        parameters: Some(parameters(&invocation.parameters)),
        request_body: invocation.body.as_ref().map(|(kind, properties)| api::RequestBody {
            content: Some([(kind.clone(), parameters(properties))].into_iter().collect()),
        }),
        // Traces have verbs in small letters, as AWS's do.
        verb: verb.map(|verb| verb.to_lowercase()),
    }
}

pub(super) fn parameters(list: &[Argument]) -> Vec<api::Parameter> {
    let one = |it: &Argument| api::Parameter {
        name: Some(it.name.clone()),
        r#type: Some(it.kind.clone()),
        value: Some(it.value.clone()),
    };
    list.iter().map(one).collect()
}
