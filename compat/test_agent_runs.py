"""Runs of agents through boto3 and LangChain. The model is an upstream that plays a script: what is tested is what the
agent makes of what it says."""

import http.server
import io
import json
import re
import threading
import uuid
import zipfile

import pytest

from conftest import ACCESS_KEY, ACCOUNT, REGION, SECRET_KEY, Server, inline_document, wait
from test_agents import SCHEMA

MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"
# The seed's sample, its comments left out.
HANDLER = '''
import json
def lambda_handler(event, context):
    action_group = event.get("actionGroup")
    function_name = event.get("function")
    parameters = event.get("parameters", [])
    params = {p["name"]: p["value"] for p in parameters}
    print(f"Agent calling: {action_group}::{function_name} with {params}")
    if function_name == "get_order_status":
        order_id = params.get("order_id")
        result = {
            "order_id": order_id,
            "status": "SHIPPED",
            "estimated_delivery": "2026-06-10",
            "carrier": "FedEx",
            "tracking_number": "7749283746271",
        }
        response_body = {"application/json": {"body": json.dumps(result)}}
    elif function_name == "initiate_cancellation":
        order_id = params.get("order_id")
        reason = params.get("reason")
        result = {
            "success": True,
            "cancellation_id": "CXL-998877",
            "message": f"Order {order_id} cancellation initiated. Refund in 3–5 business days.",
        }
        response_body = {"application/json": {"body": json.dumps(result)}}
    else:
        response_body = {"application/json": {"body": json.dumps({"error": "Unknown function"})}}
    return {
        "messageVersion": "1.0",
        "response": {
            "actionGroup": action_group,
            "function": function_name,
            "functionResponse": {"responseBody": response_body},
        },
    }
'''
DOCUMENTS = {
    "returns": "Enterprise subscriptions may be returned within 45 days of purchase for a full refund.",
    "shipping": "Hardware is shipped by FedEx within three business days from our Rotterdam warehouse.",
}


def script(messages, tools):
    """What the model says: it calls the first tool that fits the question, and then tells what came back."""
    if "<search_results>" in str(messages[0]["content"]) and "45 days" in str(messages[0]["content"]):
        return "You have 45 days to return enterprise subscriptions."
    result = messages[-1]["content"] if messages[-1]["role"] == "tool" else None
    if result is not None:
        text = result if isinstance(result, str) else json.dumps(result)
        if found := re.search(r"774928\d+", text):
            return f"Your order is on its way, tracking {found.group(0)}."
        return "You can return enterprise subscriptions within 45 days of purchase." if "45 days" in text else f"I see: {text}"
    asked = str(next(message["content"] for message in reversed(messages) if message["role"] == "user"))
    for part in (["initiate_cancellation"] if "Cancel" in asked else []) + ["get_order_status", "knowledgebase", "get_time"]:
        for tool in tools:
            if part in tool["function"]["name"]:
                arguments = {"get_order_status": {"order_id": "ORD-447829"},
                             "initiate_cancellation": {"order_id": "ORD-447829", "reason": "too late"}, "knowledgebase": {"searchQuery": "return an enterprise subscription"}}
                return {"name": tool["function"]["name"], "arguments": json.dumps(arguments.get(part, {"zone": "UTC"}))}
    return "I have no tool for that."


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = script(body["messages"], body.get("tools") or [])
        call = {"id": f"call_{uuid.uuid4().hex[:8]}", "type": "function", "function": said}
        message = {"role": "assistant", "content": said} if isinstance(said, str) else {"role": "assistant", "content": None, "tool_calls": [call]}
        answer = {"id": "c1", "object": "chat.completion", "created": 1, "model": "scripted",
                  "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
                  "choices": [{"index": 0, "message": message, "finish_reason": "stop" if isinstance(said, str) else "tool_calls"}]}
        data = json.dumps(answer).encode()
        if body.get("stream"):
            delta = message if isinstance(said, str) else {**message, "tool_calls": [{**call, "index": 0}]}
            usage = answer.pop("usage")
            reason = answer["choices"][0]["finish_reason"]
            parts = [{**answer, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
                     {**answer, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
                     {**answer, "choices": [], "usage": usage}]
            data = "".join(f"data: {json.dumps(part)}\n\n" for part in parts).encode() + b"data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if body.get("stream") else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    server = Server(tmp_path_factory.mktemp("agent-runs"), config=f"""
[[upstream]]
name = "scripted"
kind = "openai"
base_url = "http://127.0.0.1:{upstream.server_address[1]}/v1"
[[model]]
id = "{MODEL}"
upstream = "scripted"
upstream_model = "scripted"
""").start()
    yield server
    server.stop()
    upstream.shutdown()


def make_agent(server, **more):
    control = server.client("bedrock-agent")
    agent = control.create_agent(
        agentName=f"agent-{uuid.uuid4().hex[:8]}", agentResourceRoleArn=f"arn:aws:iam::{ACCOUNT}:role/A",
        foundationModel=MODEL, instruction="You are a support agent of a shop. Use the tools that you are given.", **more)
    return control, agent["agent"]["agentId"]


def prepare(control, agent_id):
    control.prepare_agent(agentId=agent_id)
    wait(lambda: control.get_agent(agentId=agent_id)["agent"]["agentStatus"], lambda status: status == "PREPARED")


def invoke(server, agent_id, text, **more):
    answer = server.client("bedrock-agent-runtime").invoke_agent(
        agentId=agent_id, agentAliasId="TSTALIASID", sessionId=more.pop("session", str(uuid.uuid4())), inputText=text,
        enableTrace=True, **more)
    return list(answer["completion"])


def said(events):
    return b"".join(event["chunk"]["bytes"] for event in events if "chunk" in event).decode()


def make_support_agent(server):
    """The agent of the seed's sample: an API schema, a function that reads `function`."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("lambda_function.py", HANDLER)
    made = server.client("lambda").create_function(
        FunctionName=f"orders-{uuid.uuid4().hex[:8]}", Runtime="python3.11", Handler="lambda_function.lambda_handler",
        Role=f"arn:aws:iam::{ACCOUNT}:role/L", Code={"ZipFile": archive.getvalue()})
    control, agent_id = make_agent(server)
    control.create_agent_action_group(
        agentId=agent_id, agentVersion="DRAFT", actionGroupName="order-operations",
        actionGroupExecutor={"lambda": made["FunctionArn"]}, apiSchema={"payload": json.dumps(SCHEMA)})
    prepare(control, agent_id)
    return agent_id


@pytest.fixture(scope="module")
def orders(world):
    return make_support_agent(world)


def test_an_action_is_called_and_traced(world, orders):
    events = invoke(world, orders, "My order ORD-447829 hasn't arrived.")
    assert said(events) == "Your order is on its way, tracking 7749283746271."
    steps = [event["trace"]["trace"]["orchestrationTrace"] for event in events if "trace" in event]
    assert [next(iter(step)) for step in steps] == [
        "modelInvocationInput", "modelInvocationOutput", "invocationInput", "observation", "modelInvocationInput",
        "modelInvocationOutput", "observation"]
    called = steps[2]["invocationInput"]["actionGroupInvocationInput"]
    assert (called["function"], called["apiPath"], called["verb"]) == ("get_order_status", "/get_order_status", "get")
    assert steps[1]["modelInvocationOutput"]["metadata"]["usage"] == {"inputTokens": 11, "outputTokens": 7}
    assert steps[3]["observation"]["actionGroupInvocationOutput"]["text"].startswith("{")
    assert steps[6]["observation"]["type"] == "FINISH"


def test_the_other_half_of_the_seeds_handler_works_too(world, orders):
    """Its operation has a request body, and the handler reads `parameters`."""
    events = invoke(world, orders, "Cancel my order ORD-447829, it is too late.")
    assert "Order ORD-447829 cancellation initiated." in said(events), said(events)


def test_a_knowledge_base_is_searched_and_cited(world):
    control, agent_id = make_agent(world)
    ids = {"knowledgeBaseId": world.knowledge_base()["knowledgeBaseId"]}
    world.fill(ids["knowledgeBaseId"], [inline_document(name, text) for name, text in DOCUMENTS.items()])
    control.associate_agent_knowledge_base(agentId=agent_id, agentVersion="DRAFT", description="Policies of the shop", **ids)
    prepare(control, agent_id)
    events = invoke(world, agent_id, "Can I give my enterprise subscription back?")
    assert said(events) == "You can return enterprise subscriptions within 45 days of purchase."
    chunk = next(event["chunk"] for event in events if "chunk" in event)
    citation = chunk["attribution"]["citations"][0]
    assert citation["retrievedReferences"][0]["content"]["text"] == DOCUMENTS["returns"]
    assert citation["generatedResponsePart"]["textResponsePart"]["span"] == {"start": 0, "end": 66}
    steps = [event["trace"]["trace"]["orchestrationTrace"] for event in events if "trace" in event]
    found = next(step["observation"]["knowledgeBaseLookupOutput"] for step in steps
                 if "knowledgeBaseLookupOutput" in step.get("observation", {}))
    assert found["retrievedReferences"]

    # Without orchestration the question goes straight to the knowledge base.
    answer = world.client("bedrock-agent-runtime").invoke_inline_agent(
        foundationModel=MODEL, sessionId=str(uuid.uuid4()), inputText="May I return an enterprise subscription?",
        instruction="You answer questions about the policies of a shop.", enableTrace=True,
        knowledgeBases=[{**ids, "description": "Policies of the shop"}], promptOverrideConfiguration={
            "promptConfigurations": [{"promptType": "ORCHESTRATION", "promptState": "DISABLED"}]})
    events = list(answer["completion"])
    assert said(events) == "You have 45 days to return enterprise subscriptions."
    kinds = [event["trace"]["trace"]["orchestrationTrace"]["modelInvocationInput"]["type"] for event in events
             if "modelInvocationInput" in event.get("trace", {}).get("trace", {}).get("orchestrationTrace", {})]
    assert kinds == ["KNOWLEDGE_BASE_RESPONSE_GENERATION"]

    # A flow's node searches it, and asks a model about what it finds.
    def ask(output, kind, **more):
        node = {"name": "Search", "type": "KnowledgeBase", "configuration": {"knowledgeBase": {**ids, **more}},
                "inputs": [{"name": "retrievalQuery", "type": "String", "expression": "$.data"}],
                "outputs": [{"name": output, "type": kind}]}
        join = lambda name, source, given, target, taken: {
            "name": name, "type": "Data", "source": source, "target": target,
            "configuration": {"data": {"sourceOutput": given, "targetInput": taken}}}
        flow = control.create_flow(
            name=f"search-{uuid.uuid4().hex[:8]}", executionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/F", definition={
                "nodes": [{"name": "In", "type": "Input", "configuration": {"input": {}},
                           "outputs": [{"name": "document", "type": "String"}]}, node,
                          {"name": "Out", "type": "Output", "configuration": {"output": {}},
                           "inputs": [{"name": "document", "type": kind, "expression": "$.data"}]}],
                "connections": [join("InSearch", "In", "document", "Search", "retrievalQuery"),
                                join("SearchOut", "Search", output, "Out", "document")]})
        assert control.prepare_flow(flowIdentifier=flow["id"])["status"] == "Prepared"
        stream = world.client("bedrock-agent-runtime").invoke_flow(
            flowIdentifier=flow["id"], flowAliasIdentifier="TSTALIASID", inputs=[
                {"nodeName": "In", "nodeOutputName": "document", "content": {"document": "May I return an enterprise subscription?"}}])
        events = list(stream["responseStream"])
        return next(event["flowOutputEvent"]["content"]["document"] for event in events if "flowOutputEvent" in event)

    found = ask("retrievalResults", "Array", numberOfResults=1)
    assert [passage["content"]["text"] for passage in found] == [DOCUMENTS["returns"]]
    assert ask("outputText", "String", modelId=MODEL).strip()


def test_a_session_survives_a_restart(world, orders):
    session = str(uuid.uuid4())
    invoke(world, orders, "Remember the number 4711.", session=session)
    world.stop()
    world.start()
    events = invoke(world, orders, "Which number?", session=session)
    first = next(event["trace"]["trace"]["orchestrationTrace"]["modelInvocationInput"] for event in events if "trace" in event)
    assert "4711" in first["text"]


def test_langchain_runs_an_agent(world):
    from langchain_aws.agents import BedrockAgentAction, BedrockAgentFinish, BedrockAgentsRunnable
    from langchain_core.tools import tool

    @tool("ClockActions::get_time")
    def get_time(zone: str) -> str:
        """Tells the time in a zone."""
        return f"12:34 {zone}"

    agent = BedrockAgentsRunnable.create_agent(
        agent_name=f"clock-{uuid.uuid4().hex[:8]}", agent_resource_role_arn=f"arn:aws:iam::{ACCOUNT}:role/A",
        foundation_model=MODEL, instruction="You tell people what time it is, wherever they are in the world.",
        tools=[get_time], region_name="us-east-1", bedrock_endpoint_url=world.url, runtime_endpoint_url=world.url)
    (action,) = agent.invoke({"input": "What time is it?"})
    assert isinstance(action, BedrockAgentAction) and action.tool == "ClockActions::get_time"
    finish = agent.invoke({"input": "", "intermediate_steps": [(action, get_time.invoke(action.tool_input))]})
    assert isinstance(finish, BedrockAgentFinish)
    assert finish.return_values["output"] == "I see: 12:34 UTC"


def test_strands_calls_a_tool_and_answers(world):
    """Strands' own loop: its tools go to ConverseStream, their results come back as messages."""
    import boto3
    from strands import Agent, tool
    from strands.models import BedrockModel

    asked = []

    @tool
    def get_order_status(order_id: str) -> str:
        """The status of an order.

        Args:
            order_id: the number of the order: ORD- and six digits
        """
        asked.append(order_id)
        return "SHIPPED, tracking 7749283746271"

    session = boto3.Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name=REGION)
    for streaming in (True, False):
        model = BedrockModel(boto_session=session, endpoint_url=world.url, model_id=MODEL, streaming=streaming)
        agent = Agent(model=model, tools=[get_order_status], system_prompt="You are a support agent.", callback_handler=None)
        answer = agent("Where is my order ORD-447829?")
        assert "7749283746271" in str(answer), answer
        roles = [message["role"] for message in agent.messages]
        assert roles == ["user", "assistant", "user", "assistant"]
    assert asked == ["ORD-447829"] * 2


def test_the_embedded_model_runs_the_same_agent(server):
    """The seed's agent as it is, on the model that comes with the server: it comes to an end, with an answer. Whether a
    model of 135 million parameters decides to call the function is its own affair; if it does, the function is called."""
    agent_id = make_support_agent(server)
    events = invoke(server, agent_id, "My order ORD-447829 hasn't arrived. It was supposed to be here 3 days ago.")
    assert said(events).strip()
    steps = [event["trace"]["trace"]["orchestrationTrace"] for event in events if "trace" in event]
    assert steps[-1]["observation"]["type"] == "FINISH"
    assert steps[1]["modelInvocationOutput"]["metadata"]["usage"]["outputTokens"] > 0
