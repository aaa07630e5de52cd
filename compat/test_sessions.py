"""Sessions through boto3, and LangGraph's checkpoints on them."""

import datetime
import uuid

import pytest


@pytest.fixture(scope="module")
def runtime(server):
    return server.client("bedrock-agent-runtime")


@pytest.fixture
def session(runtime):
    made = runtime.create_session(sessionMetadata={"user": "ada"}, tags={"team": "blue"})
    yield made
    runtime.end_session(sessionIdentifier=made["sessionId"])
    runtime.delete_session(sessionIdentifier=made["sessionArn"])


def test_steps_with_text_and_images(runtime, session):
    identifier = session["sessionId"]
    shown = runtime.get_session(sessionIdentifier=session["sessionArn"])
    assert shown["sessionStatus"] == "ACTIVE" and shown["sessionMetadata"] == {"user": "ada"}
    assert runtime.list_tags_for_resource(resourceArn=session["sessionArn"])["tags"] == {"team": "blue"}
    invocation = runtime.create_invocation(sessionIdentifier=identifier, description="first")["invocationId"]
    gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    blocks = [
        {"text": "naïve ☃"},
        {"image": {"format": "gif", "source": {"bytes": gif}}},
        {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://photos/one.png"}}}},
    ]
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=250000)
    step = runtime.put_invocation_step(
        sessionIdentifier=identifier, invocationIdentifier=invocation, invocationStepTime=now, payload={"contentBlocks": blocks})
    back = runtime.get_invocation_step(
        sessionIdentifier=identifier, invocationIdentifier=invocation, invocationStepId=step["invocationStepId"])["invocationStep"]
    assert back["payload"]["contentBlocks"] == blocks
    assert back["invocationStepTime"] == now.replace(microsecond=0) or back["invocationStepTime"] == now
    with pytest.raises(runtime.exceptions.ConflictException):
        runtime.create_invocation(sessionIdentifier=identifier, invocationId=invocation)
    with pytest.raises(runtime.exceptions.ConflictException):
        runtime.delete_session(sessionIdentifier=identifier)
    with pytest.raises(runtime.exceptions.ResourceNotFoundException):
        runtime.get_session(sessionIdentifier=str(uuid.uuid4()))


def test_lists_go_over_pages(runtime, session):
    identifier = session["sessionId"]
    for _ in range(5):
        invocation = runtime.create_invocation(sessionIdentifier=identifier)["invocationId"]
        runtime.put_invocation_step(
            sessionIdentifier=identifier, invocationIdentifier=invocation, invocationStepTime=datetime.datetime.now(datetime.timezone.utc),
            payload={"contentBlocks": [{"text": "x"}]})
    for name, key in (("list_invocations", "invocationSummaries"), ("list_invocation_steps", "invocationStepSummaries")):
        pages = list(runtime.get_paginator(name).paginate(sessionIdentifier=identifier, PaginationConfig={"PageSize": 2}))
        assert [len(page[key]) for page in pages] == [2, 2, 1]
    sessions = [one["sessionId"] for page in runtime.get_paginator("list_sessions").paginate() for one in page["sessionSummaries"]]
    assert identifier in sessions


def test_langgraph_keeps_its_checkpoints_here(server, runtime, session):
    from typing import Annotated, TypedDict
    import operator

    from langgraph.graph import END, START, StateGraph
    from langgraph_checkpoint_aws import BedrockSessionSaver

    class State(TypedDict):
        said: Annotated[list[str], operator.add]

    graph = StateGraph(State)
    graph.add_node("hear", lambda state: {"said": [f"heard {len(state['said'])}"]})
    graph.add_node("answer", lambda state: {"said": [f"answered {state['said'][-1]}"]})
    graph.add_edge(START, "hear")
    graph.add_edge("hear", "answer")
    graph.add_edge("answer", END)
    config = {"configurable": {"thread_id": session["sessionId"]}}
    app = graph.compile(checkpointer=BedrockSessionSaver(client=runtime), interrupt_before=["answer"])
    app.invoke({"said": ["hello"]}, config)
    # Another process goes on where this one stopped.
    again = graph.compile(checkpointer=BedrockSessionSaver(client=server.client("bedrock-agent-runtime")))
    assert again.get_state(config).next == ("answer",)
    assert again.invoke(None, config)["said"] == ["hello", "heard 1", "answered heard 1"]
    history = list(again.get_state_history(config))
    assert len(history) >= 3 and history[0].values["said"][-1] == "answered heard 1"
