//! Pieces of definitions that tests are put together from.

use serde_json::{Value, json};

pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

/// An input of a node.
pub(crate) fn input(name: &str, kind: &str, expression: &str) -> Value {
    json!({"name": name, "type": kind, "expression": expression})
}

/// A connection from an output to an input.
pub(crate) fn data(name: &str, (source, output): (&str, &str), (target, input): (&str, &str)) -> Value {
    let configuration = json!({"data": {"sourceOutput": output, "targetInput": input}});
    json!({"name": name, "type": "Data", "source": source, "target": target, "configuration": configuration})
}

/// The body of a loop: Enter → `work` → Decide, until the expression holds, and no more often than `most` times.
pub(crate) fn loop_body(work: &str, expression: &str, most: u32) -> Value {
    let until = json!({"name": "enough", "expression": expression});
    let decided = |name: &str, kind: &str, path: &str, category: &str| json!({"name": name, "type": kind, "expression": path, "category": category});
    json!({
        "nodes": [
            {"name": "Enter", "type": "LoopInput", "configuration": {"loopInput": {}}, "outputs": [{"name": "text", "type": "String"}]},
            {"name": work, "type": "LambdaFunction", "configuration": {"lambdaFunction": {"lambdaArn": FUNCTION}},
             "inputs": [input("it", "String", "$.data")], "outputs": [{"name": "functionResponse", "type": "Object"}]},
            {"name": "Decide", "type": "LoopController",
             "configuration": {"loopController": {"continueCondition": until, "maxIterations": most}},
             "inputs": [
                decided("done", "Boolean", "$.data.done", "LoopCondition"),
                decided("text", "String", "$.data.text", "ReturnValueToLoopStart"),
                decided("best", "String", "$.data.text", "ExitLoop")]}
        ],
        "connections": [
            data("a1", ("Enter", "text"), (work, "it")),
            data("a2", (work, "functionResponse"), ("Decide", "done")),
            data("a3", (work, "functionResponse"), ("Decide", "text")),
            data("a4", (work, "functionResponse"), ("Decide", "best"))
        ]
    })
}
