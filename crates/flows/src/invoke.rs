//! InvokeFlow: a run whose events go to the client as they happen.
//!
//! The run is polled by the client's stream and by nothing else: a client that goes away drops it, and with it every
//! call that it waits for.
//!
//! When an agent asks its user something, the run goes on as far as it can without the answer. What its nodes gave is
//! then kept under the execution's id (`conversation`), and the next InvokeFlow with that id and an input for the
//! agent's node takes the run up again: nodes that have ended are not run again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use craton_api_bedrock_agent::FlowNodeType;
use craton_api_bedrock_agent_runtime as api;
use craton_api_bedrock_agent_runtime::FlowResponseStream as Event;
use craton_core::RequestContext;
use craton_wire::ApiError;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::Stream;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Flows;
use crate::conversation::{Answering, Conversation, Waiting};
use crate::definition::{Graph, Node};
use crate::run::event::RunEvent;
use crate::run::{Engine, Given, RecordError, Recorder};
use crate::runnable::{Caller, Runnable, entry, latency};
use crate::work::node_type;

/// What a run begins with.
#[derive(Default)]
struct Start {
    input: Value,
    done: BTreeMap<String, Given>,
    replies: BTreeMap<String, Value>,
    /// What else waits for an answer.
    waiting: Vec<Waiting>,
    /// Of a run that is taken up again: the right to do so, and the record that goes when that comes to an end.
    answering: Option<Answering>,
}

impl Flows {
    pub async fn invoke_flow(
        &self,
        context: &RequestContext,
        input: api::InvokeFlowRequest,
    ) -> Result<api::InvokeFlowResponse, ApiError> {
        let runnable = self.runnable(context, &input.flow_identifier, &input.flow_alias_identifier).await?;
        let execution_id = input.execution_id.unwrap_or_else(|| self.parts.ids.uuid());
        let resumed = self.resumed(&runnable, &execution_id, &input.inputs).await?;
        let (runnable, start) = match resumed {
            Some((runnable, start)) => (runnable, start),
            None => {
                let document = entry(&runnable.graph()?, &input.inputs)?;
                (runnable, Start { input: document, ..Start::default() })
            }
        };
        let graph = runnable.graph()?;
        let traced = input.enable_trace == Some(true);
        let caller = Caller {
            context: context.clone(),
            execution_id: execution_id.clone(),
            traced,
            latency: latency(input.model_performance_configuration.as_ref()),
        };
        let (sender, events) = unbounded_channel();
        let listener = Listener {
            sender,
            traced,
            remembers: has_agents(&graph),
            done: Mutex::new(start.done),
            replies: start.replies,
            waited: start.waiting,
            waiting: Mutex::default(),
        };
        let flows = self.clone();
        let (id, document, answering) = (execution_id.clone(), start.input, start.answering);
        let run = async move {
            let complete = flows.run_for_client((runnable, graph), caller, listener, (id, document)).await?;
            match answering {
                Some(answering) if complete => flows.forget_conversation(&answering).await,
                _ => Ok(()),
            }
        };
        let response_stream = Box::pin(Running { run: Some(run.boxed()), events, failed: None });
        Ok(api::InvokeFlowResponse { execution_id: Some(execution_id), response_stream })
    }

    /// What is taken up again, where the input answers what an earlier run asked.
    async fn resumed(
        &self,
        runnable: &Runnable,
        execution_id: &str,
        inputs: &[api::FlowInput],
    ) -> Result<Option<(Runnable, Start)>, ApiError> {
        let Some(input) = inputs.first() else { return Ok(None) };
        let place = (&runnable.flow, runnable.alias_id.as_str());
        let taken = self.take_conversation(place, execution_id, &input.node_name).await?;
        let Some((conversation, answering)) = taken else { return Ok(None) };
        let Conversation { version, body, input: document, done, mut waiting } = conversation;
        let api::FlowInputContent::Document(reply) = &input.content;
        let answered = waiting.iter().position(|it| it.node == input.node_name);
        let answered = answered.map(|at| waiting.remove(at));
        let replies = answered.map(|it| (it.key, reply.clone())).into_iter().collect();
        let runnable = Runnable {
            flow: runnable.flow.clone(),
            alias_id: runnable.alias_id.clone(),
            version,
            body,
            concurrency: runnable.concurrency,
        };
        let answering = Some(answering);
        Ok(Some((runnable, Start { input: document, done, replies, waiting, answering })))
    }

    /// Whether the flow came to its end; where it did not, it waits for answers.
    async fn run_for_client(
        &self,
        (runnable, graph): (Runnable, Graph),
        caller: Caller,
        listener: Listener,
        (execution_id, input): (String, Value),
    ) -> Result<bool, ApiError> {
        let nodes = self.nodes(&runnable, caller);
        let limits = self.parts.config.limits(runnable.concurrency);
        let most = Duration::from_secs(self.parts.config.invoke_timeout_s);
        let engine = Engine::new(&nodes, &listener, &*self.parts.clock, limits);
        let run = tokio::time::timeout(most, engine.run(&graph, input.clone())).await;
        let complete = run.map_err(|_| {
            ApiError::new(
                "DependencyFailedException",
                format!("The flow took more than {} seconds.", most.as_secs()),
            )
        })?;
        let complete = complete.map_err(|error| streamable(error.into_api()))?;
        let completion_reason = if complete {
            api::FlowCompletionReason::Success
        } else {
            let waiting = std::mem::take(&mut *listener.waiting.lock());
            let conversation = Conversation {
                version: runnable.version,
                body: runnable.body,
                input,
                done: std::mem::take(&mut *listener.done.lock()),
                waiting,
            };
            self.keep_conversation((&runnable.flow, &runnable.alias_id), &execution_id, &conversation)
                .await?;
            api::FlowCompletionReason::InputRequired
        };
        listener.tell(Event::FlowCompletionEvent(api::FlowCompletionEvent { completion_reason }));
        Ok(complete)
    }
}

fn has_agents(graph: &Graph) -> bool {
    let mut nodes = graph.nodes.iter();
    nodes.any(|node| node.kind == FlowNodeType::Agent || node.body.as_deref().is_some_and(has_agents))
}

/// Errors that the stream's model has no name for are a dependency's.
fn streamable(mut error: ApiError) -> ApiError {
    const NAMED: [&str; 9] = [
        "AccessDeniedException",
        "BadGatewayException",
        "ConflictException",
        "DependencyFailedException",
        "InternalServerException",
        "ResourceNotFoundException",
        "ServiceQuotaExceededException",
        "ThrottlingException",
        "ValidationException",
    ];
    if !NAMED.contains(&error.code.as_ref()) {
        error.code = "DependencyFailedException".into();
    }
    error
}

/// Passes what happens on to a client.
struct Listener {
    sender: UnboundedSender<Event>,
    traced: bool,
    /// Whether the run may have to be taken up again.
    remembers: bool,
    done: Mutex<BTreeMap<String, Given>>,
    replies: BTreeMap<String, Value>,
    /// What was asked before this run and is not answered by it.
    waited: Vec<Waiting>,
    waiting: Mutex<Vec<Waiting>>,
}

impl Listener {
    /// A client that is gone has dropped the run, and this with it.
    fn tell(&self, event: Event) {
        let _ = self.sender.send(event);
    }

    /// Asks the client, now or again.
    fn ask(&self, waiting: Waiting) {
        self.tell(Event::FlowMultiTurnInputRequestEvent(api::FlowMultiTurnInputRequestEvent {
            content: api::FlowMultiTurnInputContent::Document(Value::String(waiting.question.clone())),
            node_name: waiting.node.clone(),
            // Only agents ask.
            node_type: node_type(FlowNodeType::Agent),
        }));
        self.waiting.lock().push(waiting);
    }

    fn happened(&self, event: RunEvent) {
        match event {
            RunEvent::FlowOutput { node, value, .. } => {
                self.tell(Event::FlowOutputEvent(api::FlowOutputEvent {
                    content: api::FlowOutputContent::Document(value),
                    node_name: node,
                    node_type: node_type(FlowNodeType::Output),
                }))
            }
            event if self.traced => {
                if let Some(trace) = event.into_trace() {
                    self.tell(Event::FlowTraceEvent(api::FlowTraceEvent { trace }));
                }
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Recorder for Listener {
    fn recall(&self, key: &str) -> Option<Given> {
        if self.remembers { self.done.lock().get(key).cloned() } else { None }
    }

    fn reply(&self, key: &str) -> Option<Value> {
        self.replies.get(key).cloned()
    }

    fn waits(&self, key: &str) -> bool {
        let Some(waiting) = self.waited.iter().find(|it| it.key == key) else { return false };
        self.ask(waiting.clone());
        true
    }

    fn keeps_events(&self) -> bool {
        self.traced
    }

    async fn begins(&self, _key: &str, event: RunEvent) -> Result<(), RecordError> {
        self.happened(event);
        Ok(())
    }

    async fn ended(&self, key: &str, given: &Given, events: Vec<RunEvent>) -> Result<(), RecordError> {
        events.into_iter().for_each(|event| self.happened(event));
        if self.remembers {
            self.done.lock().insert(key.to_owned(), given.clone());
        }
        Ok(())
    }

    async fn asks(&self, key: &str, node: &Node, question: String) -> Result<(), RecordError> {
        self.ask(Waiting { key: key.to_owned(), node: node.name.clone(), question });
        Ok(())
    }
}

/// A run and what it has told so far. The run goes on when the client takes events.
struct Running {
    run: Option<BoxFuture<'static, Result<(), ApiError>>>,
    events: UnboundedReceiver<Event>,
    failed: Option<ApiError>,
}

impl Stream for Running {
    type Item = Result<Event, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match (self.events.poll_recv(context), &mut self.run) {
                (Poll::Ready(Some(event)), _) => return Poll::Ready(Some(Ok(event))),
                (_, None) => return Poll::Ready(self.failed.take().map(Err)),
                (_, Some(run)) => match run.poll_unpin(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(ended) => {
                        self.failed = ended.err();
                        self.run = None;
                    }
                },
            }
        }
    }
}
