"""Flows through boto3: every kind of node that needs no agent, against real functions, buckets, code and models."""

import io
import json
import time
import uuid
import zipfile

import pytest
from botocore.exceptions import EventStreamError

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/flows"
CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"


def node(name, kind, configuration, inputs=(), outputs=()):
    return {
        "name": name, "type": kind, "configuration": configuration,
        "inputs": [{"name": i[0], "type": i[1], "expression": i[2], **({"category": i[3]} if len(i) > 3 else {})} for i in inputs],
        "outputs": [{"name": n, "type": t} for n, t in outputs],
    }


def data(source, output, target, target_input):
    return {
        "name": f"{source}{output}{target}{target_input}", "type": "Data", "source": source, "target": target,
        "configuration": {"data": {"sourceOutput": output, "targetInput": target_input}},
    }


def start(kind):
    return node("Begin", "Input", {"input": {}}, outputs=[("document", kind)])


def end(kind, name="Finish", expression="$.data"):
    return node(name, "Output", {"output": {}}, [("document", kind, expression)])


def prompt(name, text, variable, expression="$.data"):
    inline = {
        "modelId": CLAUDE, "templateType": "TEXT",
        "templateConfiguration": {"text": {"text": text, "inputVariables": [{"name": variable}]}},
        "inferenceConfiguration": {"text": {"maxTokens": 12, "temperature": 0}},
    }
    source = {"prompt": {"sourceConfiguration": {"inline": inline}}}
    return node(name, "Prompt", source, [(variable, "String", expression)], [("modelCompletion", "String")])


def code(name, source, inputs, kind):
    return node(name, "InlineCode", {"inlineCode": {"code": source, "language": "Python_3"}}, inputs, [("response", kind)])


@pytest.fixture(scope="module")
def agent(server):
    return server.client("bedrock-agent")


@pytest.fixture(scope="module")
def runtime(server):
    return server.client("bedrock-agent-runtime")


@pytest.fixture(scope="module")
def make(agent):
    made = []

    def make(nodes, connections):
        flow = agent.create_flow(
            name="flow-" + uuid.uuid4().hex[:8], executionRoleArn=ROLE, definition={"nodes": nodes, "connections": connections})
        made.append(flow["id"])
        status = agent.prepare_flow(flowIdentifier=flow["id"])["status"]
        assert status == "Prepared", agent.get_flow(flowIdentifier=flow["id"])["validations"]
        return flow["id"]

    yield make
    for flow in made:
        agent.delete_flow(flowIdentifier=flow)


@pytest.fixture
def run(runtime):
    def run(flow, document, **options):
        answer = runtime.invoke_flow(
            flowIdentifier=flow, flowAliasIdentifier="TSTALIASID",
            inputs=[{"nodeName": "Begin", "nodeOutputName": "document", "content": {"document": document}}], **options)
        events = list(answer["responseStream"])
        assert answer["executionId"]
        assert events[-1]["flowCompletionEvent"]["completionReason"] == "SUCCESS", events
        outputs = [e["flowOutputEvent"] for e in events if "flowOutputEvent" in e]
        return [(o["nodeName"], o["content"]["document"]) for o in outputs], events

    return run


def test_code_iterates_and_is_collected(make, run):
    source = "total = price * 2\n{'price': total, 'big': total > 10}"
    flow = make(
        [
            start("Array"),
            node("Items", "Iterator", {"iterator": {}}, [("array", "Array", "$.data")], [("arrayItem", "Object"), ("arraySize", "Number")]),
            code("Double", source, [("price", "Number", "$.data.price")], "Object"),
            node("All", "Collector", {"collector": {}},
                 [("arrayItem", "Object", "$.data"), ("arraySize", "Number", "$.data")], [("collectedArray", "Array")]),
            end("Array"),
        ],
        [
            data("Begin", "document", "Items", "array"), data("Items", "arrayItem", "Double", "price"),
            data("Double", "response", "All", "arrayItem"), data("Items", "arraySize", "All", "arraySize"),
            data("All", "collectedArray", "Finish", "document"),
        ])
    outputs, events = run(flow, [{"price": 4}, {"price": 7}], enableTrace=True)
    assert outputs == [("Finish", [{"price": 8, "big": False}, {"price": 14, "big": True}])]
    inputs = [e["flowTraceEvent"]["trace"]["nodeInputTrace"] for e in events if "nodeInputTrace" in e.get("flowTraceEvent", {}).get("trace", {})]
    chains = [i["fields"][0].get("executionChain") for i in inputs if i["nodeName"] == "Double"]
    assert chains == [[{"nodeName": "Items", "index": n, "type": "Iterator"}] for n in range(2)]


def test_a_loop_goes_round_until_its_condition_holds(make, run):
    body = {
        "nodes": [
            node("Enter", "LoopInput", {"loopInput": {}}, outputs=[("value", "Number")]),
            code("Grow", "{'value': number * 3, 'enough': number * 3 >= 50}", [("number", "Number", "$.data")], "Object"),
            node("Decide", "LoopController",
                 {"loopController": {"continueCondition": {"name": "enough", "expression": "enough == true"}, "maxIterations": 8}},
                 [("enough", "Boolean", "$.data.enough", "LoopCondition"), ("value", "Number", "$.data.value", "ReturnValueToLoopStart"),
                  ("result", "Number", "$.data.value", "ExitLoop")]),
        ],
        "connections": [
            data("Enter", "value", "Grow", "number"), data("Grow", "response", "Decide", "enough"),
            data("Grow", "response", "Decide", "value"), data("Grow", "response", "Decide", "result"),
        ],
    }
    flow = make(
        [
            start("Number"),
            node("Again", "Loop", {"loop": {"definition": body}}, [("value", "Number", "$.data")], [("result", "Number"), ("iterationCount", "Number")]),
            end("Number"), end("Number", "Count"),
        ],
        [
            data("Begin", "document", "Again", "value"), data("Again", "result", "Finish", "document"),
            data("Again", "iterationCount", "Count", "document"),
        ])
    outputs, _ = run(flow, 2)
    assert sorted(outputs) == [("Count", 3), ("Finish", 54)]


def test_a_function_gets_the_documented_event(server, make, run):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("main.py", "def handler(event, context):\n    return event\n")
    functions = server.client("lambda")
    name = "echo-" + uuid.uuid4().hex[:8]
    arn = functions.create_function(
        FunctionName=name, Runtime="python3.11", Handler="main.handler", Role=ROLE, Code={"ZipFile": buffer.getvalue()})["FunctionArn"]
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    flow = make(
        [
            start("Object"),
            node("Call", "LambdaFunction", {"lambdaFunction": {"lambdaArn": arn}},
                 [("second", "Number", "$.data.list[1]")], [("functionResponse", "Object")]),
            end("Object"),
        ],
        [data("Begin", "document", "Call", "second"), data("Call", "functionResponse", "Finish", "document")])
    outputs, _ = run(flow, {"list": [1, 2, 3]})
    flow_arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:flow/{flow}"
    assert outputs[0][1] == {
        "messageVersion": "1.0",
        "flow": {"flowArn": flow_arn, "flowAliasArn": f"{flow_arn}/alias/TSTALIASID"},
        "node": {"name": "Call", "inputs": [{"name": "second", "type": "Number", "expression": "$.data.list[1]", "value": 2}]},
    }
    functions.delete_function(FunctionName=name)


def test_objects_are_stored_and_fetched(server, make, run):
    s3, bucket = server.client("s3"), "flows-" + uuid.uuid4().hex[:8]
    s3.create_bucket(Bucket=bucket)
    s3_configuration = {"serviceConfiguration": {"s3": {"bucketName": bucket}}}
    flow = make(
        [
            start("Object"),
            node("Keep", "Storage", {"storage": s3_configuration},
                 [("content", "Object", "$.data.content"), ("objectKey", "String", "$.data.key")], [("s3Uri", "String")]),
            code("Key", "uri.split('/', 3)[3]", [("uri", "String", "$.data")], "String"),
            node("Fetch", "Retrieval", {"retrieval": s3_configuration}, [("objectKey", "String", "$.data")], [("s3Content", "String")]),
            end("String"),
        ],
        [
            data("Begin", "document", "Keep", "content"), data("Begin", "document", "Keep", "objectKey"),
            data("Keep", "s3Uri", "Key", "uri"), data("Key", "response", "Fetch", "objectKey"),
            data("Fetch", "s3Content", "Finish", "document"),
        ])
    outputs, _ = run(flow, {"content": {"a": [1]}, "key": "reports/one.json"})
    assert json.loads(outputs[0][1]) == {"a": [1]}
    assert json.loads(s3.get_object(Bucket=bucket, Key="reports/one.json")["Body"].read()) == {"a": [1]}


def test_a_prompt_asks_its_model(make, run):
    flow = make(
        [start("String"), prompt("Ask", "Name the capital of {{country}}.", "country"), end("String")],
        [data("Begin", "document", "Ask", "country"), data("Ask", "modelCompletion", "Finish", "document")])
    outputs, events = run(flow, "France", enableTrace=True)
    assert outputs[0][1].strip()
    actions = [e["flowTraceEvent"]["trace"]["nodeActionTrace"] for e in events if "nodeActionTrace" in e.get("flowTraceEvent", {}).get("trace", {})]
    assert actions[0]["nodeName"] == "Ask" and actions[0]["operationName"] == "Converse"


def test_failures_end_the_stream_with_their_node(make, runtime):
    flow = make(
        [start("Number"), code("Broken", "1 / number", [("number", "Number", "$.data")], "Number"), end("Number")],
        [data("Begin", "document", "Broken", "number"), data("Broken", "response", "Finish", "document")])
    with pytest.raises(EventStreamError) as error:
        list(runtime.invoke_flow(
            flowIdentifier=flow, flowAliasIdentifier="TSTALIASID",
            inputs=[{"nodeName": "Begin", "nodeOutputName": "document", "content": {"document": 0}}])["responseStream"])
    assert "dependencyFailedException" in str(error.value) and "Broken" in str(error.value) and "ZeroDivisionError" in str(error.value)


def test_lex_is_not_served(agent):
    lex = node("Bot", "Lex", {"lex": {"botAliasArn": f"arn:aws:lex:us-east-1:{ACCOUNT}:bot-alias/B/A", "localeId": "en_US"}},
               [("inputText", "String", "$.data")], [("predictedIntent", "String")])
    found = agent.validate_flow_definition(definition={
        "nodes": [start("String"), lex, end("String")],
        "connections": [data("Begin", "document", "Bot", "inputText"), data("Bot", "predictedIntent", "Finish", "document")]})
    assert any("does not serve Amazon Lex" in v["message"] for v in found["validations"])


def test_an_execution_ends_and_tells(make, runtime):
    flow = make(
        [start("Number"), code("Square", "number ** 2", [("number", "Number", "$.data")], "Number"), end("Number")],
        [data("Begin", "document", "Square", "number"), data("Square", "response", "Finish", "document")])
    names = {"flowIdentifier": flow, "flowAliasIdentifier": "TSTALIASID"}
    arn = runtime.start_flow_execution(
        **names, flowExecutionName="one", inputs=[{"nodeName": "Begin", "nodeOutputName": "document", "content": {"document": 12}}])["executionArn"]
    assert arn.endswith("/alias/TSTALIASID/execution/one")
    names["executionIdentifier"] = "one"
    deadline = time.time() + 30
    while runtime.get_flow_execution(**names)["status"] == "Running" and time.time() < deadline:
        time.sleep(0.1)
    assert runtime.get_flow_execution(**names)["status"] == "Succeeded"
    events = runtime.list_flow_execution_events(**names, eventType="Flow")["flowExecutionEvents"]
    assert events[-1]["flowOutputEvent"]["fields"] == [{"name": "document", "content": {"document": 144}}]
    snapshot = runtime.get_execution_flow_snapshot(**names)
    assert len(json.loads(snapshot["definition"])["nodes"]) == 3
    listed = runtime.list_flow_executions(flowIdentifier=flow)["flowExecutionSummaries"]
    assert [it["executionArn"] for it in listed] == [arn]
