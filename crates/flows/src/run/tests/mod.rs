mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use craton_api_bedrock_agent::FlowDefinition;
use craton_core::SystemClock;
use craton_wire::ApiError;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::event::{RunEvent, Traces};
use super::{Call, Engine, Given, Limits, RecordError, Recorder, Work, Worked, Worker};
use crate::definition::{Graph, Node, validate};
use crate::testing::{FUNCTION, data, loop_body};

fn limits() -> Limits {
    Limits {
        concurrency: 4,
        node_runs: 1000,
        items: 100,
        value_bytes: 1 << 20,
        total_bytes: 8 << 20,
        node: Duration::from_secs(5),
    }
}

/// Gives each node's inputs back, joined, after its name; does what some names say.
#[derive(Default)]
struct Echo {
    /// Keys, when their work began and ended.
    log: Mutex<Vec<String>>,
    working: AtomicUsize,
    most: AtomicUsize,
}

/// Counts a node as working until it is dropped.
struct Working<'e>(&'e Echo);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Worker for Echo {
    async fn work(&self, call: Call<'_>) -> Result<Work, ApiError> {
        let working = self.working.fetch_add(1, Ordering::SeqCst) + 1;
        let _working = Working(self);
        self.most.fetch_max(working, Ordering::SeqCst);
        self.log.lock().push(format!("+{}", call.key));
        for _ in 0..call.node.name.len() {
            tokio::task::yield_now().await;
        }
        let said: Vec<String> = call
            .inputs
            .values()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        let name = call.node.name.as_str();
        let output = match (name, &call.reply) {
            ("Hang", _) => std::future::pending().await,
            ("Fail", _) => return Err(ApiError::new("DependencyFailedException", "it is broken")),
            ("Wrong", _) => json!(7),
            ("Huge", _) => json!("x".repeat(2 << 20)),
            ("Count", _) => json!({"text": format!("{}.", said[0]), "done": said[0].len() >= 3}),
            ("Asks", None) => {
                let asks = Worked::Asks("Which?".to_owned());
                return Ok(Work { worked: asks, actions: Vec::new(), traces: Traces::default() });
            }
            ("Asks", Some(reply)) => reply.clone(),
            _ => json!(format!("{name}({})", said.join(","))),
        };
        self.log.lock().push(format!("-{}", call.key));
        Ok(Work::gave(Given::one("functionResponse", output)))
    }
}

/// Keeps everything in memory.
#[derive(Default)]
struct Notes {
    done: Mutex<BTreeMap<String, Given>>,
    replies: BTreeMap<String, Value>,
    waited: Vec<String>,
    asked: Mutex<Vec<String>>,
    outputs: Mutex<Vec<(String, Value)>>,
    events: Mutex<Vec<RunEvent>>,
    /// Keys in the order in which they ended.
    order: Mutex<Vec<String>>,
}

#[async_trait]
impl Recorder for Notes {
    fn recall(&self, key: &str) -> Option<Given> {
        self.done.lock().get(key).cloned()
    }

    fn reply(&self, key: &str) -> Option<Value> {
        self.replies.get(key).cloned()
    }

    fn waits(&self, key: &str) -> bool {
        self.waited.iter().any(|it| it == key)
    }

    async fn begins(&self, _key: &str, event: RunEvent) -> Result<(), RecordError> {
        self.events.lock().push(event);
        Ok(())
    }

    async fn ended(&self, key: &str, given: &Given, events: Vec<RunEvent>) -> Result<(), RecordError> {
        assert!(self.done.lock().insert(key.to_owned(), given.clone()).is_none(), "{key} ended twice");
        self.order.lock().push(key.to_owned());
        for event in &events {
            if let RunEvent::FlowOutput { node, value, .. } = event {
                self.outputs.lock().push((node.clone(), value.clone()));
            }
        }
        self.events.lock().extend(events);
        Ok(())
    }

    async fn asks(&self, key: &str, _node: &Node, _question: String) -> Result<(), RecordError> {
        self.asked.lock().push(key.to_owned());
        Ok(())
    }
}

/// A flow of functions. Each node is `name < source, source`; `In` gives the input, names that begin with `Out` are
/// outputs. Data are strings, and `?condition` after a source makes it a condition on the way instead.
fn flow(lines: &[&str], entry: &str) -> Value {
    let lambda = json!({"lambdaFunction": {"lambdaArn": FUNCTION}});
    let mut nodes = vec![json!({"name": "In", "type": "Input", "configuration": {"input": {}},
        "outputs": [{"name": "document", "type": entry}]})];
    let mut connections = Vec::new();
    for line in lines {
        let (name, sources) = line.split_once(" < ").unwrap();
        let mut inputs = Vec::new();
        for source in sources.split(", ").filter(|source| !source.is_empty()) {
            let id = format!("c{}", connections.len());
            if let Some((source, condition)) = source.split_once('?') {
                connections.push(json!({"name": id, "type": "Conditional", "source": source, "target": name,
                    "configuration": {"conditional": {"condition": condition}}}));
                continue;
            }
            let output = match source {
                "In" => "document",
                it if it.starts_with("Each") => "arrayItem",
                it if it.starts_with("All") => "collectedArray",
                _ => "functionResponse",
            };
            let input = match name {
                it if it.starts_with("Out") => "document".to_owned(),
                it if it.starts_with("Each") => "array".to_owned(),
                it if it.starts_with("All") => "arrayItem".to_owned(),
                _ => format!("in{}", inputs.len()),
            };
            let kind = match (source, name) {
                (_, it) if it.starts_with("Each") => "Array",
                ("In", _) => entry,
                (it, _) if it.starts_with("All") => "Array",
                _ => "String",
            };
            inputs.push(json!({"name": input, "type": kind, "expression": "$.data"}));
            connections.push(json!({"name": id, "type": "Data", "source": source, "target": name,
                "configuration": {"data": {"sourceOutput": output, "targetInput": input}}}));
        }
        let (kind, configuration, outputs) = match name {
            it if it.starts_with("Out") => ("Output", json!({"output": {}}), json!([])),
            it if it.starts_with("Each") => (
                "Iterator",
                json!({"iterator": {}}),
                json!([{"name": "arrayItem", "type": "String"}, {"name": "arraySize", "type": "Number"}]),
            ),
            it if it.starts_with("All") => {
                let iterator = lines
                    .iter()
                    .rev()
                    .filter_map(|line| line.split_once(" < ").map(|it| it.0))
                    .find(|name| name.starts_with("Each"))
                    .unwrap();
                inputs.push(json!({"name": "arraySize", "type": "Number", "expression": "$.data"}));
                connections.push(json!({"name": format!("c{}", connections.len()), "type": "Data", "source": iterator,
                    "target": name, "configuration": {"data": {"sourceOutput": "arraySize", "targetInput": "arraySize"}}}));
                ("Collector", json!({"collector": {}}), json!([{"name": "collectedArray", "type": "Array"}]))
            }
            it if it.starts_with("If") => (
                "Condition",
                json!({"condition": {"conditions": [
                {"name": "urgent", "expression": "in0 == \"urgent\""}, {"name": "default"}]}}),
                json!([]),
            ),
            _ => ("LambdaFunction", lambda.clone(), json!([{"name": "functionResponse", "type": "String"}])),
        };
        nodes.push(json!({"name": name, "type": kind, "configuration": configuration, "inputs": inputs, "outputs": outputs}));
    }
    json!({"nodes": nodes, "connections": connections})
}

fn graph(flow: &Value) -> Graph {
    let definition: FlowDefinition = serde_json::from_value(flow.clone()).unwrap();
    let found = validate(&definition);
    assert!(found.is_empty(), "{found:#?}");
    Graph::compile(&definition).unwrap()
}

async fn run(graph: &Graph, input: Value, worker: &Echo, notes: &Notes) -> Result<bool, String> {
    let engine = Engine::new(worker, notes, &SystemClock, limits());
    engine.run(graph, input).await.map_err(|error| error.into_api().message)
}

/// What comes out of a flow whose functions give their inputs back; why it failed, if it did.
pub(crate) fn echoed(definition: &FlowDefinition, input: Value) -> Result<Vec<(String, Value)>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let notes = Notes::default();
    let graph = Graph::compile(definition)?;
    let ended = runtime.block_on(run(&graph, input, &Echo::default(), &notes))?;
    if ended { Ok(notes.outputs.into_inner()) } else { Err("it waits".to_owned()) }
}

async fn outputs(lines: &[&str], input: Value) -> Vec<(String, Value)> {
    let entry = if input.is_array() { "Array" } else { "String" };
    let notes = Notes::default();
    assert_eq!(run(&graph(&flow(lines, entry)), input, &Echo::default(), &notes).await, Ok(true));
    notes.outputs.into_inner()
}

fn out(name: &str, value: impl Into<Value>) -> (String, Value) {
    (name.to_owned(), value.into())
}

#[tokio::test]
async fn data_pass_from_node_to_node() {
    let lines = ["A1 < In", "B1 < In", "C1 < A1, B1", "Out < C1"];
    assert_eq!(outputs(&lines, json!("x")).await, [out("Out", "C1(A1(x),B1(x))")]);
}

#[tokio::test]
async fn conditions_choose_one_way() {
    let lines =
        ["If < In", "Loud < In, If?urgent", "Calm < In, If?default", "OutLoud < Loud", "OutCalm < Calm"];
    assert_eq!(outputs(&lines, json!("urgent")).await, [out("OutLoud", "Loud(urgent)")]);
    assert_eq!(outputs(&lines, json!("later")).await, [out("OutCalm", "Calm(later)")]);
}

#[tokio::test]
async fn iterations_go_one_after_another_and_are_collected() {
    let lines = ["Each < In", "Work < Each", "All < Work", "Out < All", "OutEach < Work"];
    let worker = Echo::default();
    let notes = Notes::default();
    let graph = graph(&flow(&lines, "Array"));
    assert_eq!(run(&graph, json!(["a", "b"]), &worker, &notes).await, Ok(true));
    let expected =
        [out("OutEach", "Work(a)"), out("OutEach", "Work(b)"), out("Out", json!(["Work(a)", "Work(b)"]))];
    assert_eq!(notes.outputs.into_inner(), expected);
    assert_eq!(*worker.log.lock(), ["+Each[0]/Work", "-Each[0]/Work", "+Each[1]/Work", "-Each[1]/Work"]);
    assert_eq!(outputs(&lines, json!([])).await, [out("Out", json!([]))]);
}

#[tokio::test]
async fn items_that_a_condition_sends_elsewhere_are_not_collected() {
    let lines = ["Each < In", "If < Each", "Work < Each, If?urgent", "All < Work", "Out < All"];
    let collected = outputs(&lines, json!(["urgent", "later", "urgent"])).await;
    assert_eq!(collected, [out("Out", json!(["Work(urgent)", "Work(urgent)"]))]);
}

#[tokio::test]
async fn nodes_in_an_iteration_see_what_is_outside_it() {
    let mut definition = flow(&["Each < In", "Size < In", "Work < Each, Size", "Out < Work"], "Array");
    definition["nodes"][2]["inputs"][0] = json!({"name": "in0", "type": "String", "expression": "$.data[0]"});
    let notes = Notes::default();
    assert_eq!(run(&graph(&definition), json!(["a", "b"]), &Echo::default(), &notes).await, Ok(true));
    assert_eq!(notes.outputs.into_inner(), [out("Out", "Work(a,Size(a))"), out("Out", "Work(b,Size(a))")]);
}

/// In → Loop { Enter → Count → Decide } → Out.
fn looped(most: u32) -> Value {
    let body = loop_body("Count", "done", most);
    let mut definition = flow(&["Out < In", "OutCount < In"], "String");
    definition["nodes"].as_array_mut().unwrap().push(json!({
        "name": "Again", "type": "Loop", "configuration": {"loop": {"definition": body}},
        "inputs": [{"name": "text", "type": "String", "expression": "$.data"}],
        "outputs": [{"name": "best", "type": "String"}, {"name": "iterationCount", "type": "Number"}]}));
    definition["nodes"][2]["inputs"][0]["type"] = json!("Number");
    definition["connections"] = json!([
        data("e1", ("In", "document"), ("Again", "text")),
        data("e2", ("Again", "best"), ("Out", "document")),
        data("e3", ("Again", "iterationCount"), ("OutCount", "document"))
    ]);
    definition
}

#[tokio::test]
async fn loops_go_on_until_their_condition_holds_and_no_longer_than_they_may() {
    for (most, text, count) in [(10, "a...", 3), (2, "a..", 2), (1, "a.", 1)] {
        let notes = Notes::default();
        assert_eq!(run(&graph(&looped(most)), json!("a"), &Echo::default(), &notes).await, Ok(true));
        let told: BTreeSet<String> =
            notes.outputs.lock().iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(told, BTreeSet::from([format!("Out=\"{text}\""), format!("OutCount={count}")]), "{most}");
        let keys: BTreeSet<String> = notes.done.lock().keys().cloned().collect();
        assert!(
            keys.contains("Again[0]/Count") && !keys.contains(&format!("Again[{count}]/Count")),
            "{keys:?}"
        );
    }
}

#[tokio::test]
async fn what_goes_wrong_names_its_node() {
    let cases = [
        ("Fail", "The node Fail failed: it is broken"),
        (
            "Wrong",
            "The node Wrong failed: its output functionResponse must be of the type String, and is Number",
        ),
        ("Huge", "The node Huge failed: it gave 2097160 bytes, more than the 1048576 allowed"),
    ];
    for (name, message) in cases {
        let graph = graph(&flow(&[&format!("{name} < In"), &format!("Out < {name}")], "String"));
        let error = run(&graph, json!("x"), &Echo::default(), &Notes::default()).await.unwrap_err();
        assert_eq!(error, message);
    }
    let many: Value = (0..101).map(|n| json!(format!("{n}"))).collect();
    let graph = graph(&flow(&["Each < In", "Work < Each", "Out < Work"], "Array"));
    let error = run(&graph, many, &Echo::default(), &Notes::default()).await.unwrap_err();
    assert_eq!(error, "The node Each failed: the array has 101 items, more than the 100 allowed");
    let error = run(&graph, json!([1]), &Echo::default(), &Notes::default()).await.unwrap_err();
    assert!(error.contains("must be of the type String, and is Number"), "{error}");
}

#[tokio::test]
async fn runs_of_nodes_are_counted_and_limited() {
    let lines = ["EachA < In", "EachB < In", "Work < EachA", "Work2 < EachB", "OutA < Work", "OutB < Work2"];
    let graph = graph(&flow(&lines, "Array"));
    let items: Value = (0..100).map(|n| json!(format!("{n}"))).collect();
    let (worker, notes) = (Echo::default(), Notes::default());
    let engine = Engine::new(&worker, &notes, &SystemClock, Limits { node_runs: 50, ..limits() });
    let error = engine.run(&graph, items).await.unwrap_err();
    assert!(error.error.message.contains("more than 50 nodes"), "{}", error.error.message);

    // Rounds in which nothing runs count too, and so does what they are given.
    let mut gated =
        flow(&["Size < In", "If < Size", "Each < In", "Work < Each, If?urgent", "Out < Work"], "Array");
    gated["nodes"][1]["inputs"][0] = json!({"name": "in0", "type": "String", "expression": "$.data[0]"});
    let graph = self::graph(&gated);
    let items: Value = (0..100).map(|n| json!(format!("{n}"))).collect();
    let (worker, notes) = (Echo::default(), Notes::default());
    let engine = Engine::new(&worker, &notes, &SystemClock, Limits { node_runs: 50, ..limits() });
    let error = engine.run(&graph, items.clone()).await.unwrap_err();
    assert!(error.error.message.contains("more than 50 nodes"), "{}", error.error.message);
    let engine = Engine::new(&worker, &notes, &SystemClock, Limits { total_bytes: 4096, ..limits() });
    let wide: Value = (0..100).map(|n| json!(format!("{n}{}", "x".repeat(50)))).collect();
    *notes.done.lock() = BTreeMap::new();
    let error = engine.run(&graph, wide).await.unwrap_err();
    assert!(error.error.message.contains("more than the 4096 bytes"), "{}", error.error.message);
}

#[tokio::test]
async fn a_node_that_takes_too_long_is_given_up() {
    let graph = graph(&flow(&["Hang < In", "Out < Hang"], "String"));
    let (worker, notes) = (Echo::default(), Notes::default());
    let short = Limits { node: Duration::from_millis(20), ..limits() };
    let error = Engine::new(&worker, &notes, &SystemClock, short).run(&graph, json!("x")).await.unwrap_err();
    assert_eq!(error.error.code, "DependencyFailedException");
    assert_eq!(worker.working.load(Ordering::SeqCst), 0, "nothing is left at work");
}

#[tokio::test]
async fn a_failure_and_a_client_that_leaves_end_what_else_is_at_work() {
    let graph = graph(&flow(&["Hang < In", "Fail < In", "Out < Hang", "Out2 < Fail"], "String"));
    let (worker, notes) = (Echo::default(), Notes::default());
    assert!(run(&graph, json!("x"), &worker, &notes).await.is_err());
    assert_eq!(worker.working.load(Ordering::SeqCst), 0);

    let graph = self::graph(&flow(&["Hang < In", "Out < Hang"], "String"));
    let left =
        tokio::time::timeout(Duration::from_millis(20), run(&graph, json!("x"), &worker, &notes)).await;
    assert!(left.is_err());
    assert_eq!(worker.working.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn concurrency_is_limited() {
    let names: Vec<String> = (0..9).map(|n| format!("Wide{n}")).collect();
    let mut lines: Vec<String> = names.iter().map(|name| format!("{name} < In")).collect();
    lines.extend(names.iter().map(|name| format!("Out{name} < {name}")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let graph = graph(&flow(&lines, "String"));
    let worker = Echo::default();
    assert_eq!(run(&graph, json!("x"), &worker, &Notes::default()).await, Ok(true));
    assert_eq!(worker.most.load(Ordering::SeqCst), 4, "as many as may, and no more");
}

#[tokio::test]
async fn a_question_waits_for_its_answer_and_nothing_runs_twice() {
    let lines =
        ["Before < In", "Asks < Before", "After < Asks", "Out < After", "Aside < In", "OutAside < Aside"];
    let graph = graph(&flow(&lines, "String"));
    let (worker, mut notes) = (Echo::default(), Notes::default());
    assert_eq!(run(&graph, json!("x"), &worker, &notes).await, Ok(false));
    assert_eq!(*notes.asked.lock(), ["Asks"]);
    assert_eq!(notes.outputs.lock().as_slice(), [out("OutAside", "Aside(x)")]);
    notes.replies.insert("Asks".to_owned(), json!("this one"));
    notes.outputs.lock().clear();
    assert_eq!(run(&graph, json!("x"), &worker, &notes).await, Ok(true));
    assert_eq!(notes.outputs.lock().as_slice(), [out("Out", "After(this one)")]);
    let begun = |name: &str| worker.log.lock().iter().filter(|line| **line == format!("+{name}")).count();
    assert_eq!((begun("Before"), begun("Aside"), begun("Asks"), begun("After")), (1, 1, 2, 1));
}

#[tokio::test]
async fn what_was_asked_before_is_not_asked_again() {
    let graph = graph(&flow(&["Asks < In", "Out < Asks"], "String"));
    let worker = Echo::default();
    let notes = Notes { waited: vec!["Asks".to_owned()], ..Notes::default() };
    assert_eq!(run(&graph, json!("x"), &worker, &notes).await, Ok(false));
    assert!(worker.log.lock().is_empty());
}
