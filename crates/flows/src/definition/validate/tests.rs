use craton_api_bedrock_agent::{FlowDefinition, FlowValidation, FlowValidationSeverity, FlowValidationType};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::validate;
use crate::testing::{FUNCTION, data, input, loop_body};

fn found(definition: &Value) -> Vec<FlowValidation> {
    let definition: FlowDefinition = serde_json::from_value(definition.clone()).unwrap();
    validate(&definition)
}

fn conditional(name: &str, source: &str, condition: &str, target: &str) -> Value {
    let configuration = json!({"conditional": {"condition": condition}});
    json!({"name": name, "type": "Conditional", "source": source, "target": target, "configuration": configuration})
}

/// In → Route → Ask → Loud, or → Calm.
fn routed() -> Value {
    let inline = json!({
        "modelId": "m", "templateType": "TEXT",
        "templateConfiguration": {"text": {"text": "Answer {{text}}"}}
    });
    json!({
        "nodes": [
            {"name": "In", "type": "Input", "configuration": {"input": {}}, "outputs": [{"name": "document", "type": "Object"}]},
            {"name": "Route", "type": "Condition", "inputs": [input("level", "Number", "$.data.level")],
             "configuration": {"condition": {"conditions": [{"name": "urgent", "expression": "level > 5"}, {"name": "default"}]}}},
            {"name": "Ask", "type": "Prompt", "configuration": {"prompt": {"sourceConfiguration": {"inline": inline}}},
             "inputs": [input("text", "String", "$.data.text")], "outputs": [{"name": "modelCompletion", "type": "String"}]},
            {"name": "Loud", "type": "Output", "configuration": {"output": {}}, "inputs": [input("document", "String", "$.data")]},
            {"name": "Calm", "type": "Output", "configuration": {"output": {}}, "inputs": [input("document", "String", "$.data.text")]}
        ],
        "connections": [
            data("toRoute", ("In", "document"), ("Route", "level")),
            data("toAsk", ("In", "document"), ("Ask", "text")),
            data("toLoud", ("Ask", "modelCompletion"), ("Loud", "document")),
            data("toCalm", ("In", "document"), ("Calm", "document")),
            conditional("ifUrgent", "Route", "urgent", "Ask"),
            conditional("ifNot", "Route", "default", "Calm")
        ]
    })
}

/// In → Items → Each → Gather → Out, and In → Again (a loop) → Last.
fn repeated() -> Value {
    let lambda = json!({"lambdaFunction": {"lambdaArn": FUNCTION}});
    let inner = loop_body("Work", "done == true", 3);
    json!({
        "nodes": [
            {"name": "In", "type": "Input", "configuration": {"input": {}}, "outputs": [{"name": "document", "type": "Array"}]},
            {"name": "Items", "type": "Iterator", "configuration": {"iterator": {}}, "inputs": [input("array", "Array", "$.data")],
             "outputs": [{"name": "arrayItem", "type": "String"}, {"name": "arraySize", "type": "Number"}]},
            {"name": "Each", "type": "LambdaFunction", "configuration": lambda, "inputs": [input("it", "String", "$.data")],
             "outputs": [{"name": "functionResponse", "type": "String"}]},
            {"name": "Gather", "type": "Collector", "configuration": {"collector": {}},
             "inputs": [input("arrayItem", "String", "$.data"), input("arraySize", "Number", "$.data")],
             "outputs": [{"name": "collectedArray", "type": "Array"}]},
            {"name": "Out", "type": "Output", "configuration": {"output": {}}, "inputs": [input("document", "Array", "$.data")]},
            {"name": "Again", "type": "Loop", "configuration": {"loop": {"definition": inner}},
             "inputs": [input("text", "String", "$.data[0]")],
             "outputs": [{"name": "best", "type": "String"}, {"name": "iterationCount", "type": "Number"}]},
            {"name": "Last", "type": "Output", "configuration": {"output": {}}, "inputs": [input("document", "String", "$.data")]}
        ],
        "connections": [
            data("b1", ("In", "document"), ("Items", "array")),
            data("b2", ("Items", "arrayItem"), ("Each", "it")),
            data("b3", ("Each", "functionResponse"), ("Gather", "arrayItem")),
            data("b4", ("Items", "arraySize"), ("Gather", "arraySize")),
            data("b5", ("Gather", "collectedArray"), ("Out", "document")),
            data("b6", ("In", "document"), ("Again", "text")),
            data("b7", ("Again", "best"), ("Last", "document"))
        ]
    })
}

#[test]
fn good_flows_have_no_findings() {
    for flow in [routed(), repeated()] {
        assert!(found(&flow).is_empty(), "{:#?}", found(&flow));
    }
}

/// A change to a good flow, where in it and to what.
struct Change {
    flow: fn() -> Value,
    /// A JSON pointer; its end `-` appends to a list.
    at: &'static str,
    to: Value,
    /// What must be found, by type and by the JSON of its details.
    finds: (&'static str, Value),
}

fn change(flow: fn() -> Value, at: &'static str, to: Value, kind: &'static str, details: Value) -> Change {
    Change { flow, at, to, finds: (kind, details) }
}

const BODY: &str = "/nodes/5/configuration/loop/definition";

fn in_body(rest: &str) -> &'static str {
    Box::leak(format!("{BODY}{rest}").into_boxed_str())
}

fn mistakes_of_connections() -> Vec<Change> {
    let c = |at, to, kind, details| change(routed, at, to, kind, details);
    let back = data("back", ("Ask", "modelCompletion"), ("Ask", "text"));
    let lonely = json!({"name": "Lonely", "type": "LambdaFunction", "outputs": [{"name": "functionResponse", "type": "String"}],
        "configuration": {"lambdaFunction": {"lambdaArn": "arn:aws:lambda:us-east-1:123456789012:function:f"}}});
    let again = json!({"name": "more", "expression": "level > 5"});
    vec![
        c("/connections/-", back, "CyclicConnection", json!({"cyclicConnection": {"connection": "back"}})),
        c(
            "/connections/-",
            data("twice", ("In", "document"), ("Ask", "text")),
            "DuplicateConnections",
            json!({"duplicateConnections": {"source": "In", "target": "Ask"}}),
        ),
        c(
            "/nodes/1/configuration/condition/conditions/-",
            again,
            "DuplicateConditionExpression",
            json!({"duplicateConditionExpression": {"node": "Route", "expression": "level > 5"}}),
        ),
        c("/nodes/-", lonely, "UnreachableNode", json!({"unreachableNode": {"node": "Lonely"}})),
        c(
            "/connections/0/source",
            json!("Gone"),
            "UnknownConnectionSource",
            json!({"unknownConnectionSource": {"connection": "toRoute"}}),
        ),
        c(
            "/connections/0/configuration/data/sourceOutput",
            json!("gone"),
            "UnknownConnectionSourceOutput",
            json!({"unknownConnectionSourceOutput": {"connection": "toRoute"}}),
        ),
        c(
            "/connections/0/target",
            json!("Gone"),
            "UnknownConnectionTarget",
            json!({"unknownConnectionTarget": {"connection": "toRoute"}}),
        ),
        c(
            "/connections/0/configuration/data/targetInput",
            json!("gone"),
            "UnknownConnectionTargetInput",
            json!({"unknownConnectionTargetInput": {"connection": "toRoute"}}),
        ),
        c(
            "/connections/4/configuration/conditional/condition",
            json!("gone"),
            "UnknownConnectionCondition",
            json!({"unknownConnectionCondition": {"connection": "ifUrgent"}}),
        ),
        c(
            "/nodes/1/configuration/condition/conditions/0/expression",
            json!("level >"),
            "MalformedConditionExpression",
            json!({"malformedConditionExpression": {"node": "Route", "condition": "urgent",
                "cause": "expected an input's name, a number, a text, 'not' or '(', found the end at character 8"}}),
        ),
    ]
}

fn mistakes_of_expressions() -> Vec<Change> {
    let c = |at, to, kind, details| change(routed, at, to, kind, details);
    vec![
        c(
            "/nodes/2/inputs/0/expression",
            json!("$.text"),
            "MalformedNodeInputExpression",
            json!({"malformedNodeInputExpression": {"node": "Ask", "input": "text",
                "cause": "expected '.data' after '$' at character 2"}}),
        ),
        c(
            "/nodes/2/outputs/0/type",
            json!("Object"),
            "MismatchedNodeOutputType",
            json!({"mismatchedNodeOutputType": {"node": "Ask", "output": "modelCompletion", "expectedType": "String"}}),
        ),
        c(
            "/nodes/3/inputs/0/type",
            json!("Number"),
            "IncompatibleConnectionDataType",
            json!({"incompatibleConnectionDataType": {"connection": "toLoud"}}),
        ),
        c(
            "/nodes/0/outputs/0/type",
            json!("String"),
            "IncompatibleConnectionDataType",
            json!({"incompatibleConnectionDataType": {"connection": "toRoute"}}),
        ),
        c(
            "/connections/0/configuration",
            Value::Null,
            "MissingConnectionConfiguration",
            json!({"missingConnectionConfiguration": {"connection": "toRoute"}}),
        ),
        c(
            "/connections/0/type",
            json!("Conditional"),
            "MissingConnectionConfiguration",
            json!({"missingConnectionConfiguration": {"connection": "toRoute"}}),
        ),
        c(
            "/nodes/2/configuration",
            Value::Null,
            "MissingNodeConfiguration",
            json!({"missingNodeConfiguration": {"node": "Ask"}}),
        ),
        c(
            "/nodes/2/configuration/prompt/sourceConfiguration/inline/modelId",
            json!(""),
            "MissingNodeConfiguration",
            json!({"missingNodeConfiguration": {"node": "Ask"}}),
        ),
        c(
            "/nodes/2/inputs",
            json!([]),
            "MissingNodeInput",
            json!({"missingNodeInput": {"node": "Ask", "input": "text"}}),
        ),
        c(
            "/nodes/2/outputs",
            json!([]),
            "MissingNodeOutput",
            json!({"missingNodeOutput": {"node": "Ask", "output": "modelCompletion"}}),
        ),
    ]
}

fn mistakes_of_nodes() -> Vec<Change> {
    let c = |at, to, kind, details| change(routed, at, to, kind, details);
    vec![
        c("/nodes/0/type", json!("Output"), "MissingStartingNodes", json!({"missingStartingNodes": {}})),
        c(
            "/connections/-",
            data("other", ("In", "document"), ("Loud", "document")),
            "MultipleNodeInputConnections",
            json!({"multipleNodeInputConnections": {"node": "Loud", "input": "document"}}),
        ),
        c(
            "/nodes/2/inputs/-",
            input("more", "String", "$.data"),
            "UnknownNodeInput",
            json!({"unknownNodeInput": {"node": "Ask", "input": "more"}}),
        ),
        c(
            "/nodes/1/inputs/-",
            input("more", "String", "$.data"),
            "UnfulfilledNodeInput",
            json!({"unfulfilledNodeInput": {"node": "Route", "input": "more"}}),
        ),
        c(
            "/nodes/2/outputs/-",
            json!({"name": "more", "type": "String"}),
            "UnknownNodeOutput",
            json!({"unknownNodeOutput": {"node": "Ask", "output": "more"}}),
        ),
        c(
            "/connections/-",
            conditional("both", "Route", "default", "Loud"),
            "UnsatisfiedConnectionConditions",
            json!({"unsatisfiedConnectionConditions": {"connection": "both"}}),
        ),
        c("/nodes/4/name", json!("Loud"), "Unspecified", json!({"unspecified": {}})),
        c("/connections/4/name", json!("toAsk"), "Unspecified", json!({"unspecified": {}})),
        c(
            "/nodes/2",
            json!({"name": "Ask", "type": "Lex", "inputs": [input("inputText", "String", "$.data.text")],
            "outputs": [{"name": "predictedIntent", "type": "String"}],
            "configuration": {"lex": {"botAliasArn": "arn:aws:lex:us-east-1:123456789012:bot-alias/B/A", "localeId": "en_US"}}}),
            "Unspecified",
            json!({"unspecified": {}}),
        ),
    ]
}

fn mistakes_of_loops() -> Vec<Change> {
    let c = |at, to, kind, details| change(repeated, at, to, kind, details);
    let controller = json!({"name": "Other", "type": "LoopController",
        "configuration": {"loopController": {"continueCondition": {"name": "again", "expression": "x == 1"}}},
        "inputs": [{"name": "x", "type": "Number", "expression": "$.data", "category": "LoopCondition"}]});
    let entry =
        json!({"name": "Other", "type": "LoopInput", "configuration": {"loopInput": {}}, "outputs": []});
    let iterator = json!({"name": "Inner", "type": "Iterator", "configuration": {"iterator": {}}});
    let gone = json!({"name": "Gone", "type": "Output", "configuration": {"output": {}}, "inputs": [input("document", "String", "$.data")]});
    vec![
        c(
            "/nodes/1/inputs/0/type",
            json!("Object"),
            "MismatchedNodeInputType",
            json!({"mismatchedNodeInputType": {"node": "Items", "input": "array", "expectedType": "Array"}}),
        ),
        c(
            in_body("/nodes/0"),
            gone.clone(),
            "MissingLoopInputNode",
            json!({"missingLoopInputNode": {"loopNode": "Again"}}),
        ),
        c(
            in_body("/nodes/2"),
            gone,
            "MissingLoopControllerNode",
            json!({"missingLoopControllerNode": {"loopNode": "Again"}}),
        ),
        c(
            in_body("/nodes/-"),
            entry,
            "MultipleLoopInputNodes",
            json!({"multipleLoopInputNodes": {"loopNode": "Again"}}),
        ),
        c(
            in_body("/nodes/-"),
            controller,
            "MultipleLoopControllerNodes",
            json!({"multipleLoopControllerNodes": {"loopNode": "Again"}}),
        ),
        c(
            in_body("/nodes/-"),
            iterator,
            "LoopIncompatibleNodeType",
            json!({"loopIncompatibleNodeType": {"node": "Again", "incompatibleNodeType": "Iterator", "incompatibleNodeName": "Inner"}}),
        ),
        c(
            "/connections/-",
            data("across", ("Work", "functionResponse"), ("Last", "document")),
            "InvalidLoopBoundary",
            json!({"invalidLoopBoundary": {"connection": "across", "source": "Work", "target": "Last"}}),
        ),
    ]
}

fn mistakes_of_loop_names() -> Vec<Change> {
    let c = |at, to, kind, details| change(repeated, at, to, kind, details);
    vec![
        c(
            in_body("/connections/-"),
            data("across", ("In", "document"), ("Work", "it")),
            "InvalidLoopBoundary",
            json!({"invalidLoopBoundary": {"connection": "across", "source": "In", "target": "Work"}}),
        ),
        c(
            "/nodes/5/inputs",
            json!([]),
            "MissingNodeInput",
            json!({"missingNodeInput": {"node": "Again", "input": "text"}}),
        ),
        c(
            "/nodes/5/outputs/0/name",
            json!("worst"),
            "UnknownNodeOutput",
            json!({"unknownNodeOutput": {"node": "Again", "output": "worst"}}),
        ),
        c(
            in_body("/nodes/2/inputs/1/name"),
            json!("nothing"),
            "UnknownNodeInput",
            json!({"unknownNodeInput": {"node": "Decide", "input": "nothing"}}),
        ),
        c(
            "/connections/2",
            data("b3", ("Again", "best"), ("Gather", "arrayItem")),
            "Unspecified",
            json!({"unspecified": {}}),
        ),
        c("/nodes/0/type", json!("LoopInput"), "Unspecified", json!({"unspecified": {}})),
    ]
}

#[test]
fn every_kind_of_mistake_is_found() {
    let mut seen = vec!["MissingDefaultCondition", "MissingEndingNodes"];
    let mut without_default = routed();
    without_default["nodes"][1]["configuration"]["condition"]["conditions"].as_array_mut().unwrap().pop();
    assert!(found(&without_default).is_empty(), "a connection to the default names it");
    without_default["connections"].as_array_mut().unwrap().pop();
    must_find(
        &without_default,
        "MissingDefaultCondition",
        &json!({"missingDefaultCondition": {"node": "Route"}}),
        "",
    );
    let start = json!({"nodes": [routed()["nodes"][0]], "connections": []});
    must_find(&start, "MissingEndingNodes", &json!({"missingEndingNodes": {}}), "");

    let mistakes = [
        mistakes_of_connections(),
        mistakes_of_expressions(),
        mistakes_of_nodes(),
        mistakes_of_loops(),
        mistakes_of_loop_names(),
    ];
    for Change { flow, at, to, finds: (kind, details) } in mistakes.into_iter().flatten() {
        let mut changed = flow();
        match at.strip_suffix("/-") {
            Some(list) => changed.pointer_mut(list).unwrap().as_array_mut().unwrap().push(to),
            None => *changed.pointer_mut(at).unwrap() = to,
        }
        must_find(&changed, kind, &details, at);
        seen.push(kind);
    }
    for kind in FlowValidationType::ALL {
        assert!(seen.contains(&kind.as_str()), "nothing shows that {} is found", kind.as_str());
    }
}

fn must_find(flow: &Value, kind: &str, details: &Value, at: &str) {
    let findings = found(flow);
    let there = findings.iter().any(|finding| {
        let it = serde_json::to_value(finding).unwrap();
        it["type"] == kind && it["details"] == *details
    });
    assert!(there, "{kind} {details} is not found at {at}: {findings:#?}");
}

#[test]
fn nodes_that_need_the_collector_within_its_iteration_can_not_run() {
    let mut flow = repeated();
    let nodes = flow["nodes"].as_array_mut().unwrap();
    nodes[2]["inputs"].as_array_mut().unwrap().push(input("all", "Array", "$.data"));
    let mut second = nodes[2].clone();
    second["name"] = json!("Late");
    nodes[2]["inputs"].as_array_mut().unwrap().pop();
    nodes.push(second);
    let connections = flow["connections"].as_array_mut().unwrap();
    connections.push(data("c1", ("Items", "arrayItem"), ("Late", "it")));
    connections.push(data("c2", ("Gather", "collectedArray"), ("Late", "all")));
    let findings = found(&flow);
    assert!(
        findings.iter().any(|finding| finding.message.contains("what the collector collects")),
        "{findings:#?}"
    );
}

/// What only a model can use is not taken where there is none, by name.
#[test]
fn a_knowledge_base_without_a_model_takes_nothing_for_one() {
    let settings = [
        ("guardrailConfiguration", json!({"guardrailIdentifier": "g", "guardrailVersion": "1"})),
        ("promptTemplate", json!({"textPromptTemplate": "$search_results$"})),
        ("inferenceConfiguration", json!({"text": {"maxTokens": 5}})),
        ("orchestrationConfiguration", json!({"performanceConfig": {"latency": "standard"}})),
    ];
    let with = |model: Option<&str>, extra: &[(&str, Value)]| {
        let mut base = json!({"knowledgeBaseId": "KB12345678", "numberOfResults": 3});
        if let Some(model) = model {
            base["modelId"] = json!(model);
        }
        for (name, value) in extra {
            base[*name] = value.clone();
        }
        let (gives, kind) =
            if model.is_some() { ("outputText", "String") } else { ("retrievalResults", "Array") };
        found(&json!({
            "nodes": [
                {"name": "In", "type": "Input", "configuration": {"input": {}}, "outputs": [{"name": "document", "type": "String"}]},
                {"name": "Base", "type": "KnowledgeBase", "configuration": {"knowledgeBase": base},
                 "inputs": [input("retrievalQuery", "String", "$.data")], "outputs": [{"name": gives, "type": kind}]},
                {"name": "Out", "type": "Output", "configuration": {"output": {}}, "inputs": [input("document", kind, "$.data")]}],
            "connections": [
                data("a", ("In", "document"), ("Base", "retrievalQuery")), data("b", ("Base", gives), ("Out", "document"))]
        }))
    };
    assert!(with(None, &[]).is_empty(), "{:?}", with(None, &[]));
    assert!(with(Some("m"), &settings).is_empty(), "{:?}", with(Some("m"), &settings));
    for setting in &settings {
        let findings = with(None, std::slice::from_ref(setting));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].severity, FlowValidationSeverity::Error);
        assert!(findings[0].message.contains(&format!("nothing uses its {}.", setting.0)), "{findings:?}");
    }
    let all = with(None, &settings);
    assert!(all.len() == 1 && settings.iter().all(|(name, _)| all[0].message.contains(name)), "{all:?}");
    // A guardrail without an identifier asks for nothing.
    assert!(with(None, &[("guardrailConfiguration", json!({}))]).is_empty());
}

#[test]
fn findings_are_bounded() {
    let lonely = |n: usize| json!({"name": format!("N{n}"), "type": "Prompt", "inputs": (0..20).map(|at| input(&format!("i{at}"), "String", "$")).collect::<Vec<_>>()});
    let flow = json!({"nodes": (0..40).map(lonely).collect::<Vec<_>>()});
    assert_eq!(found(&flow).len(), 100);
}

#[test]
fn deep_loops_are_refused() {
    let mut inner = json!({});
    for _ in 0..20 {
        inner = json!({"nodes": [{"name": "L", "type": "Loop", "configuration": {"loop": {"definition": inner}}}]});
    }
    assert!(found(&inner).iter().any(|finding| finding.message.contains("deep within each other")));
}

proptest! {
    /// Whatever the connections are, the check ends, and what it lets through can be run.
    #[test]
    fn any_connections_are_judged(ways in prop::collection::vec((0..6_usize, 0..6_usize, 0..3_usize), 0..20)) {
        let lambda = json!({"lambdaFunction": {"lambdaArn": FUNCTION}});
        let mut nodes = vec![routed()["nodes"][0].clone(), repeated()["nodes"][6].clone()];
        nodes[0]["outputs"][0]["type"] = json!("String");
        nodes.extend((0..4).map(|at| json!({"name": format!("N{at}"), "type": "LambdaFunction", "configuration": lambda,
            "inputs": [input("in0", "String", "$.data")], "outputs": [{"name": "functionResponse", "type": "String"}]})));
        let name = |at: usize| nodes[at]["name"].as_str().unwrap().to_owned();
        let connections: Vec<Value> = ways.iter().enumerate().map(|(at, (source, target, port))| {
            let output = if *source == 0 { "document" } else { "functionResponse" };
            let input = if *target == 1 { "document".to_owned() } else { format!("in{port}") };
            data(&format!("c{at}"), (&name(*source), output), (&name(*target), &input))
        }).collect();
        let flow = json!({"nodes": nodes, "connections": connections});
        let definition: FlowDefinition = serde_json::from_value(flow).unwrap();
        let errors = validate(&definition).iter().any(|finding| finding.severity == FlowValidationSeverity::Error);
        if !errors {
            // What was let through ends, and says what its Output node was connected to.
            let outputs = crate::run::tests::echoed(&definition, json!("x"));
            prop_assert_eq!(outputs.map(|outputs| outputs.len()), Ok(1));
        }
    }
}
