"""boto3: the client most Bedrock code is written with."""

import json

import boto3
import botocore
import pytest
import tools
from botocore.config import Config
from conftest import REGION, Server

CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"
HELLO = [{"role": "user", "content": [{"text": "Say hello to the reader."}]}]


def test_converse(server):
    answer = server.client("bedrock-runtime").converse(
        modelId=CLAUDE, system=[{"text": "Be brief."}], messages=HELLO, inferenceConfig={"maxTokens": 24}
    )
    assert answer["output"]["message"]["content"][0]["text"].strip()
    assert answer["usage"]["totalTokens"] == answer["usage"]["inputTokens"] + answer["usage"]["outputTokens"]
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-craton-served-by"]
    assert answer["ResponseMetadata"]["RequestId"]


def test_converse_stream_is_incremental(server):
    """Byte equality with Converse is the engine's own test: a reused prefix may change the last digits of a score."""
    events = list(
        server.client("bedrock-runtime").converse_stream(
            modelId=CLAUDE, messages=HELLO, inferenceConfig={"maxTokens": 24, "temperature": 0}
        )["stream"]
    )
    pieces = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert len(pieces) > 3 and "".join(pieces).strip()
    assert [next(iter(event)) for event in events][-2:] == ["messageStop", "metadata"]


def test_converse_tool_round_trip(server):
    client = server.client("bedrock-runtime")
    messages = [{"role": "user", "content": [{"text": tools.QUESTION}]}]
    answer = client.converse(modelId=CLAUDE, messages=messages, toolConfig=tools.CONVERSE_TOOL_CONFIG)
    assert answer["stopReason"] == "tool_use"
    call = next(block["toolUse"] for block in answer["output"]["message"]["content"] if "toolUse" in block)
    assert call["name"] == tools.NAME
    tools.check_arguments(call["input"])

    result = {"toolUseId": call["toolUseId"], "content": [{"json": {"temperature": 21, "sky": "clear"}}]}
    messages += [answer["output"]["message"], {"role": "user", "content": [{"toolResult": result}]}]
    config = {"tools": tools.CONVERSE_TOOL_CONFIG["tools"]}
    final = client.converse(
        modelId=CLAUDE, messages=messages, toolConfig=config, inferenceConfig={"maxTokens": 48}
    )
    assert final["output"]["message"]["content"]


def test_converse_stream_tool_input_deltas(server):
    events = list(
        server.client("bedrock-runtime").converse_stream(
            modelId=CLAUDE,
            messages=[{"role": "user", "content": [{"text": tools.QUESTION}]}],
            toolConfig=tools.CONVERSE_TOOL_CONFIG,
        )["stream"]
    )
    start = next(event["contentBlockStart"]["start"]["toolUse"] for event in events if "contentBlockStart" in event)
    assert start["name"] == tools.NAME
    pieces = [
        event["contentBlockDelta"]["delta"]["toolUse"]["input"]
        for event in events
        if "toolUse" in event.get("contentBlockDelta", {}).get("delta", {})
    ]
    assert len(pieces) > 1
    tools.check_arguments(json.loads("".join(pieces)))
    assert next(event["messageStop"]["stopReason"] for event in events if "messageStop" in event) == "tool_use"


def test_inference_profiles(server):
    client = server.client("bedrock")
    model = "arn:aws:bedrock:us-east-1::foundation-model/" + CLAUDE
    created = client.create_inference_profile(
        inferenceProfileName="compat-profile", modelSource={"copyFrom": model}, tags=[{"key": "team", "value": "a"}]
    )
    arn = created["inferenceProfileArn"]
    assert client.get_inference_profile(inferenceProfileIdentifier=arn)["models"][0]["modelArn"] == model
    assert any(
        profile["inferenceProfileArn"] == arn
        for profile in client.list_inference_profiles(typeEquals="APPLICATION")["inferenceProfileSummaries"]
    )
    answer = server.client("bedrock-runtime").converse(modelId=arn, messages=HELLO, inferenceConfig={"maxTokens": 4})
    assert answer["usage"]["outputTokens"] <= 4
    client.delete_inference_profile(inferenceProfileIdentifier=arn)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_inference_profile(inferenceProfileIdentifier=arn)


def test_errors_name_what_was_wrong(server):
    client = server.client("bedrock-runtime")
    with pytest.raises(client.exceptions.ValidationException) as error:
        client.converse(modelId=CLAUDE, messages=HELLO, inferenceConfig={"temperature": 3.0})
    assert "inferenceConfig.temperature" in str(error.value)
    with pytest.raises(client.exceptions.ValidationException) as error:
        client.converse(modelId="nobody.no-such-model-v9:0", messages=HELLO)
    assert "model identifier" in str(error.value)


def test_operations_not_served_say_so(server):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        server.client("bedrock").list_evaluation_jobs()
    assert error.value.response["Error"]["Code"] == "UnknownOperationException"
    assert "ListEvaluationJobs" in error.value.response["Error"]["Message"]


def test_short_term_api_key_over_tls(tmp_path, monkeypatch):
    """boto3 sends a bearer key only over TLS; the key is made by AWS's own generator."""
    from aws_bedrock_token_generator import BedrockTokenGenerator
    from botocore.credentials import Credentials
    from conftest import ACCESS_KEY, SECRET_KEY

    running = Server(tmp_path, "--tls").start()
    try:
        key = BedrockTokenGenerator().get_token(Credentials(ACCESS_KEY, SECRET_KEY), REGION)
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
        client = boto3.client(
            "bedrock-runtime",
            region_name=REGION,
            endpoint_url=running.url,
            verify=False,
            config=Config(retries={"total_max_attempts": 1}),
        )
        answer = client.converse(modelId=CLAUDE, messages=HELLO, inferenceConfig={"maxTokens": 4})
        assert answer["output"]["message"]["content"]
    finally:
        running.stop()
