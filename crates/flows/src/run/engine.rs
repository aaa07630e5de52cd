//! What runs when.
//!
//! A frame is one passage through a scope: the flow itself, one item of an iterator, one iteration of a loop's body. In
//! a frame every unit (see [`Graph`]) is started as soon as the units that it waits for have ended; those that wait for
//! nothing of each other run at the same time. What they gave stays in the frame, and frames within see it.
//!
//! A node whose condition was not met, or that needs what such a node would have given, does not run ([`Outcome::Dead`]).
//! One that needs what a user must say first waits, and so does all that needs it ([`Outcome::Waiting`]); the rest goes
//! on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use craton_api_bedrock_agent::{FlowNodeInputCategory as Category, FlowNodeType};
use craton_core::Clock;
use craton_wire::ApiError;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::decide::{holds, met, most_rounds, of_category, size};
use super::event::{InputField, Link, OutputField, RunEvent};
use super::{Call, Given, Recorder, RunError, Work, Worked, Worker, key};
use crate::ITERATION_COUNT;
use crate::definition::{Graph, Input, Node, type_of};

/// What a run may use.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Nodes at work at the same time.
    pub concurrency: usize,
    /// Runs of nodes in all, iterations counted each.
    pub node_runs: usize,
    /// Items of an array that an iterator goes through.
    pub items: usize,
    /// Bytes of one value, about.
    pub value_bytes: usize,
    /// Bytes of all values that nodes gave, about.
    pub total_bytes: usize,
    /// How long one node may work.
    pub node: Duration,
}

/// One run of a flow.
pub(crate) struct Engine<'r> {
    worker: &'r dyn Worker,
    recorder: &'r dyn Recorder,
    clock: &'r dyn Clock,
    limits: Limits,
    places: Semaphore,
    runs: AtomicUsize,
    bytes: AtomicUsize,
}

/// What became of a node in a frame.
#[derive(Clone)]
enum Outcome {
    Given(Arc<Given>),
    /// What an iterator gave, a frame an item.
    Rounds(Vec<Arc<Frame>>),
    Dead,
    Waiting,
}

#[derive(Clone, Default)]
struct Frame {
    outcomes: BTreeMap<usize, Outcome>,
    outer: Option<Arc<Frame>>,
}

impl Frame {
    fn find(&self, node: usize) -> Option<&Outcome> {
        match self.outcomes.get(&node) {
            None => self.outer.as_ref()?.find(node),
            found => found,
        }
    }

    fn waits(&self) -> bool {
        self.outcomes.values().any(|outcome| match outcome {
            Outcome::Waiting => true,
            Outcome::Rounds(rounds) => rounds.iter().any(|frame| frame.waits()),
            Outcome::Given(_) | Outcome::Dead => false,
        })
    }
}

/// Where in a run something is.
#[derive(Clone, Copy)]
struct At<'g> {
    graph: &'g Graph,
    /// Iterators around it in this graph.
    scope: &'g [usize],
    /// Rounds around it, those of loops too.
    chain: &'g [Link],
    /// What the graph's entry gives.
    seed: &'g BTreeMap<String, Value>,
}

/// An input's value, or why there is none.
enum Arrived {
    Value(Value),
    Dead,
    Waiting,
}

impl<'r> Engine<'r> {
    pub(crate) fn new(
        worker: &'r dyn Worker,
        recorder: &'r dyn Recorder,
        clock: &'r dyn Clock,
        limits: Limits,
    ) -> Self {
        Self {
            worker,
            recorder,
            clock,
            places: Semaphore::new(limits.concurrency.max(1)),
            limits,
            runs: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Runs a flow on its input. False when it must wait for somebody's answer.
    pub(crate) async fn run(&self, graph: &Graph, input: Value) -> Result<bool, RunError> {
        let seed = BTreeMap::from([("document".to_owned(), input)]);
        let at = At { graph, scope: &[], chain: &[], seed: &seed };
        Ok(!self.frame(at, None).await?.waits())
    }

    /// One passage through a scope.
    fn frame<'f>(
        &'f self,
        at: At<'f>,
        outer: Option<Arc<Frame>>,
    ) -> BoxFuture<'f, Result<Arc<Frame>, RunError>> {
        async move {
            let members: Vec<usize> = at.graph.members(at.scope).collect();
            let mut left: BTreeMap<usize, Vec<usize>> =
                members.iter().map(|&unit| (unit, at.graph.nodes[unit].waits_for.clone())).collect();
            let mut frame = Frame { outcomes: BTreeMap::new(), outer };
            let mut running = FuturesUnordered::new();
            loop {
                let ready: Vec<usize> =
                    left.iter().filter(|(_, waits)| waits.is_empty()).map(|(unit, _)| *unit).collect();
                if !ready.is_empty() {
                    let before = Arc::new(frame.clone());
                    for unit in ready {
                        left.remove(&unit);
                        let before = Arc::clone(&before);
                        running.push(async move { (unit, self.unit(at, unit, before).await) });
                    }
                }
                let Some((unit, outcome)) = running.next().await else { break };
                frame.outcomes.insert(unit, outcome?);
                for waits in left.values_mut() {
                    waits.retain(|other| *other != unit);
                }
            }
            Ok(Arc::new(frame))
        }
        .boxed()
    }

    /// One node of a frame; `before` has what it needs.
    async fn unit(&self, at: At<'_>, unit: usize, before: Arc<Frame>) -> Result<Outcome, RunError> {
        let node = &at.graph.nodes[unit];
        let failed = |error| RunError::of(node, error);
        let name = key(at.chain, &node.name);
        if node.kind == FlowNodeType::Collector {
            return self.collect(at, node, &before).await;
        }
        let Some(inputs) = inputs(node, &before).map_err(failed)? else {
            return Ok(if blocked(node, &before) { Outcome::Dead } else { Outcome::Waiting });
        };
        self.count().map_err(failed)?;
        if node.kind == FlowNodeType::Iterator {
            return self.iterate((at, unit), &inputs, before).await;
        }
        if let Some(given) = self.recorder.recall(&name) {
            return Ok(Outcome::Given(Arc::new(given)));
        }
        if self.recorder.waits(&name) {
            return Ok(Outcome::Waiting);
        }
        self.begins(at, node, &name, &inputs).await?;
        let work = match node.kind {
            FlowNodeType::Input | FlowNodeType::LoopInput => {
                Work::gave(Given { outputs: at.seed.clone(), met: None })
            }
            FlowNodeType::Output | FlowNodeType::LoopController => {
                Work::gave(Given { outputs: inputs.clone(), met: None })
            }
            FlowNodeType::Condition => {
                Work::gave(Given { met: Some(met(node, &inputs)?), ..Given::default() })
            }
            FlowNodeType::Loop => match self.repeat(at, node, &inputs).await? {
                Some(given) => Work::gave(given),
                None => return Ok(Outcome::Waiting),
            },
            _ => self.work(node, &name, &inputs).await?,
        };
        self.settle(node, &name, work).await
    }

    /// What came of a node's work, made sure of and recorded.
    async fn settle(&self, node: &Node, name: &str, work: Work) -> Result<Outcome, RunError> {
        let failed = |error| RunError::of(node, error);
        let recording = |error| RunError::recording(node, error);
        let at_ms = self.clock.now_ms();
        let mut events: Vec<RunEvent> = work
            .actions
            .into_iter()
            .map(|action| RunEvent::Action { node: node.name.clone(), action, at_ms })
            .collect();
        if !work.traces.is_empty() {
            events.push(RunEvent::Traces { node: node.name.clone(), traces: work.traces, at_ms });
        }
        let given = match work.worked {
            Worked::Given(given) => given,
            Worked::Asks(question) => {
                self.recorder.asks(name, node, question).await.map_err(recording)?;
                return Ok(Outcome::Waiting);
            }
        };
        self.weigh(&given.outputs).map_err(failed)?;
        events.extend(self.told(node, &given, at_ms).map_err(failed)?);
        self.recorder.ended(name, &given, events).await.map_err(recording)?;
        Ok(Outcome::Given(Arc::new(given)))
    }

    async fn work(
        &self,
        node: &Node,
        name: &str,
        inputs: &BTreeMap<String, Value>,
    ) -> Result<Work, RunError> {
        let failed = |error| RunError::of(node, error);
        let place = self.places.acquire().await;
        let _place = place.map_err(|_| failed(ApiError::internal("the run has ended")))?;
        let call = Call { node, key: name, inputs, reply: self.recorder.reply(name) };
        match tokio::time::timeout(self.limits.node, self.worker.work(call)).await {
            // Whoever invokes a flow did not choose what its nodes ask.
            Ok(worked) => worked.map_err(|error| failed(error.without_quotes())),
            Err(_) => {
                let seconds = self.limits.node.as_secs();
                Err(failed(ApiError::new(
                    "DependencyFailedException",
                    format!("it took more than {seconds} seconds"),
                )))
            }
        }
    }

    /// An iterator: its region once an item, one after another.
    async fn iterate(
        &self,
        (at, unit): (At<'_>, usize),
        inputs: &BTreeMap<String, Value>,
        before: Arc<Frame>,
    ) -> Result<Outcome, RunError> {
        let node = &at.graph.nodes[unit];
        let failed = |error| RunError::of(node, error);
        let recording = |error| RunError::recording(node, error);
        let items = inputs.get("array").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if items.len() > self.limits.items {
            let limit = self.limits.items;
            let message = format!("the array has {} items, more than the {limit} allowed", items.len());
            return Err(failed(ApiError::validation(message)));
        }
        let name = key(at.chain, &node.name);
        if self.recorder.recall(&name).is_none() {
            self.begins(at, node, &name, inputs).await?;
            self.recorder.ended(&name, &Given::default(), Vec::new()).await.map_err(recording)?;
        }
        let scope: Vec<usize> = at.scope.iter().copied().chain([unit]).collect();
        let mut rounds = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let outputs = BTreeMap::from([
                ("arrayItem".to_owned(), item.clone()),
                ("arraySize".to_owned(), items.len().into()),
            ]);
            let given = Given { outputs, met: None };
            // Rounds cost something whatever is in them, and must not keep others waiting.
            self.count().map_err(failed)?;
            self.weigh(&given.outputs).map_err(failed)?;
            tokio::task::yield_now().await;
            let link = Link {
                node: node.name.clone(),
                loops: false,
                index: u32::try_from(index).unwrap_or(u32::MAX),
            };
            let chain: Vec<Link> = at.chain.iter().cloned().chain([link]).collect();
            let round = key(&chain, "");
            if self.recorder.recall(&round).is_none() {
                let events = self.told(node, &given, self.clock.now_ms()).map_err(failed)?;
                self.recorder.ended(&round, &Given::default(), events).await.map_err(recording)?;
            }
            let mut outer = (*before).clone();
            outer.outcomes.insert(unit, Outcome::Given(Arc::new(given)));
            let inner = At { scope: &scope, chain: &chain, ..at };
            let frame = self.frame(inner, Some(Arc::new(outer))).await?;
            let waits = frame.waits();
            rounds.push(frame);
            if waits {
                break;
            }
        }
        Ok(Outcome::Rounds(rounds))
    }

    /// A collector: what its source gave in each round of the iterator around that. Rounds in which it gave nothing,
    /// because a condition sent them elsewhere, are left out.
    async fn collect(&self, at: At<'_>, node: &Node, before: &Frame) -> Result<Outcome, RunError> {
        let failed = |error| RunError::of(node, error);
        let source = node.inputs.iter().find(|input| input.name == "arrayItem");
        let Some(source) = source.and_then(|input| input.source.as_ref().map(|source| (input, source)))
        else {
            return Ok(Outcome::Dead);
        };
        let Some(&iterator) =
            at.graph.nodes[source.1.node].scope.get(at.scope.len()).or(Some(&source.1.node))
        else {
            return Ok(Outcome::Dead);
        };
        // Conditions outside the rounds are about all of them.
        let outer: Vec<Option<bool>> = node
            .gates
            .iter()
            .filter(|gate| before.find(gate.node).is_some())
            .map(|gate| is_open(gate, before))
            .collect();
        if outer.contains(&Some(false)) {
            return Ok(Outcome::Dead);
        }
        let rounds = match before.find(iterator) {
            Some(Outcome::Rounds(rounds)) => rounds,
            Some(Outcome::Waiting) => return Ok(Outcome::Waiting),
            _ => return Ok(Outcome::Dead),
        };
        if outer.contains(&None) || rounds.iter().any(|round| round.waits()) {
            return Ok(Outcome::Waiting);
        }
        let mut collected = Vec::with_capacity(rounds.len());
        for round in rounds {
            let open = node.gates.iter().all(|gate| is_open(gate, round) != Some(false));
            if let (true, Arrived::Value(value)) = (open, arrived(source.0, round).map_err(failed)?) {
                collected.push(value);
            }
        }
        let name = key(at.chain, &node.name);
        if let Some(given) = self.recorder.recall(&name) {
            return Ok(Outcome::Given(Arc::new(given)));
        }
        let inputs = BTreeMap::from([
            ("arraySize".to_owned(), collected.len().into()),
            ("arrayItem".to_owned(), Value::Array(collected.clone())),
        ]);
        self.begins(at, node, &name, &inputs).await?;
        self.settle(node, &name, Work::gave(Given::one("collectedArray", Value::Array(collected)))).await
    }

    /// A loop: its body at least once, and again until the controller's condition holds: AWS's model says of
    /// `continueCondition` that the loop goes on until it is true. None while it waits.
    async fn repeat(
        &self,
        at: At<'_>,
        node: &Node,
        inputs: &BTreeMap<String, Value>,
    ) -> Result<Option<Given>, RunError> {
        let failed = |message: &str| RunError::of(node, ApiError::validation(message));
        let body = node.body.as_deref().ok_or_else(|| failed("the loop has no body"))?;
        let controller = body.find(FlowNodeType::LoopController);
        let controller = controller.ok_or_else(|| failed("the loop has no controller"))?;
        let most = most_rounds(&body.nodes[controller]);
        let mut seed = inputs.clone();
        let mut round = 0;
        loop {
            let link = Link { node: node.name.clone(), loops: true, index: round };
            let chain: Vec<Link> = at.chain.iter().cloned().chain([link]).collect();
            let inner = At { graph: body, scope: &[], chain: &chain, seed: &seed };
            let frame = self.frame(inner, None).await?;
            if frame.waits() {
                return Ok(None);
            }
            let Some(Outcome::Given(decided)) = frame.find(controller) else {
                return Err(failed("the loop's controller was not reached"));
            };
            round += 1;
            let decided = &decided.outputs;
            let exit = holds(&body.nodes[controller], decided)?;
            if exit || round == most {
                let mut outputs = of_category(&body.nodes[controller], decided, Category::ExitLoop);
                outputs.entry(ITERATION_COUNT.to_owned()).or_insert_with(|| round.into());
                outputs.retain(|name, _| node.outputs.iter().any(|output| output.name == *name));
                return Ok(Some(Given { outputs, met: None }));
            }
            seed.extend(of_category(&body.nodes[controller], decided, Category::ReturnValueToLoopStart));
        }
    }

    async fn begins(
        &self,
        at: At<'_>,
        node: &Node,
        name: &str,
        inputs: &BTreeMap<String, Value>,
    ) -> Result<(), RunError> {
        // Whether anybody keeps them or not: a flow that runs is to run with traces, and as an execution, too.
        self.weigh(inputs).map_err(|error| RunError::of(node, error))?;
        if node.inputs.is_empty() || !self.recorder.keeps_events() {
            return Ok(());
        }
        let field = |input: &Input| InputField {
            name: input.name.clone(),
            value: inputs.get(&input.name).cloned().unwrap_or_default(),
            data_type: input.data_type,
            category: input.category,
            chain: at.chain.to_vec(),
            source: input.source.as_ref().map(|source| {
                let from = at.graph.nodes[source.node].name.clone();
                (from, source.output.clone(), input.path.to_string())
            }),
        };
        let event = RunEvent::NodeInput {
            node: node.name.clone(),
            fields: node.inputs.iter().map(field).collect(),
            at_ms: self.clock.now_ms(),
        };
        self.recorder.begins(name, event).await.map_err(|error| RunError::recording(node, error))
    }

    /// What is told of what a node gave. Fails where that is not of the types that it declares.
    fn told(&self, node: &Node, given: &Given, at_ms: i64) -> Result<Vec<RunEvent>, ApiError> {
        let name = node.name.clone();
        if let Some(met) = &given.met {
            return Ok(vec![RunEvent::Condition { node: name, met: met.clone(), at_ms }]);
        }
        if node.kind == FlowNodeType::Output {
            let outputs = given.outputs.iter();
            let told = outputs.map(|(output, value)| RunEvent::FlowOutput {
                node: name.clone(),
                name: output.clone(),
                value: value.clone(),
                at_ms,
            });
            return Ok(told.collect());
        }
        let kept = self.recorder.keeps_events();
        let mut fields = Vec::with_capacity(node.outputs.len());
        for output in &node.outputs {
            let Some(value) = given.outputs.get(&output.name) else {
                return Err(ApiError::validation(format!("it gave no output {}", output.name)));
            };
            if type_of(value) != Some(output.data_type) {
                return Err(mistyped("output", &output.name, output.data_type.as_str(), value));
            }
            if kept {
                fields.push(OutputField {
                    name: output.name.clone(),
                    value: value.clone(),
                    data_type: output.data_type,
                    next: output.next.clone(),
                });
            }
        }
        let silent = fields.is_empty();
        Ok(if silent { Vec::new() } else { vec![RunEvent::NodeOutput { node: name, fields, at_ms }] })
    }

    /// One more run of a node, or round of an iterator.
    fn count(&self) -> Result<(), ApiError> {
        let limit = self.limits.node_runs;
        if self.runs.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(ApiError::validation(format!("the flow ran more than {limit} nodes")));
        }
        Ok(())
    }

    fn weigh(&self, values: &BTreeMap<String, Value>) -> Result<(), ApiError> {
        let size: usize = values.values().map(size).sum();
        let all = self.bytes.fetch_add(size, Ordering::Relaxed) + size;
        let Limits { value_bytes, total_bytes, .. } = self.limits;
        if size > value_bytes {
            return Err(ApiError::validation(format!(
                "it gave {size} bytes, more than the {value_bytes} allowed"
            )));
        }
        if all > total_bytes {
            return Err(ApiError::validation(format!(
                "the flow's data are more than the {total_bytes} bytes allowed"
            )));
        }
        Ok(())
    }
}

/// A node's inputs; none where it does not run, now or at all.
fn inputs(node: &Node, before: &Frame) -> Result<Option<BTreeMap<String, Value>>, ApiError> {
    if node.gates.iter().any(|gate| is_open(gate, before) != Some(true)) {
        return Ok(None);
    }
    let mut inputs = BTreeMap::new();
    for input in node.inputs.iter().filter(|_| node.kind != FlowNodeType::LoopInput) {
        match arrived(input, before)? {
            Arrived::Value(value) => inputs.insert(input.name.clone(), value),
            Arrived::Dead | Arrived::Waiting => return Ok(None),
        };
    }
    Ok(Some(inputs))
}

/// Whether a node that does not run never will.
fn blocked(node: &Node, before: &Frame) -> bool {
    node.gates.iter().any(|gate| is_open(gate, before) == Some(false))
        || node.inputs.iter().any(|input| matches!(arrived(input, before), Ok(Arrived::Dead)))
}

/// Whether a condition on a node's way was met; none while that is not known.
fn is_open(gate: &crate::definition::Gate, before: &Frame) -> Option<bool> {
    match before.find(gate.node)? {
        Outcome::Given(given) => Some(given.met.as_deref() == Some(&*gate.condition)),
        Outcome::Dead | Outcome::Rounds(_) => Some(false),
        Outcome::Waiting => None,
    }
}

/// The value of an input, of the type that it declares.
fn arrived(input: &Input, before: &Frame) -> Result<Arrived, ApiError> {
    let Some(source) = &input.source else { return Ok(Arrived::Dead) };
    let given = match before.find(source.node) {
        Some(Outcome::Given(given)) => given,
        Some(Outcome::Waiting) => return Ok(Arrived::Waiting),
        Some(Outcome::Dead | Outcome::Rounds(_)) | None => return Ok(Arrived::Dead),
    };
    let found = given.outputs.get(&source.output).and_then(|value| input.path.find(value));
    let value = found.ok_or_else(|| {
        ApiError::validation(format!(
            "the expression {} of its input {} finds nothing",
            input.path, input.name
        ))
    })?;
    if type_of(&value) != Some(input.data_type) {
        return Err(mistyped("input", &input.name, input.data_type.as_str(), &value));
    }
    Ok(Arrived::Value(value))
}

fn mistyped(what: &str, name: &str, wanted: &str, value: &Value) -> ApiError {
    let found = type_of(value).map_or("null", craton_api_bedrock_agent::FlowNodeIODataType::as_str);
    ApiError::validation(format!("its {what} {name} must be of the type {wanted}, and is {found}"))
}
