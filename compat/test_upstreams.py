"""Every kind of upstream, with a second server as the upstream: what boto3 gets through it, and that it fails cleanly."""

import os

import pytest
import tools
from botocore.exceptions import ClientError
from conftest import ACCESS_KEY, REGION, SECRET_KEY, Server
from test_anthropic import api_key

KINDS = ["openai", "anthropic", "bedrock"]
QUESTION = [{"role": "user", "content": [{"text": "Count from one to ten."}]}]

CONFIG = """
[[upstream]]
name = "openai"
kind = "openai"
base_url = "{url}/openai/v1"
api_key_env = "TEST_UPSTREAM_KEY"

[[upstream]]
name = "anthropic"
kind = "anthropic"
base_url = "{url}/anthropic"
api_key_env = "TEST_UPSTREAM_KEY"

[[upstream]]
name = "bedrock"
kind = "bedrock"
base_url = "{url}"
region = "{region}"
access_key_id_env = "TEST_UPSTREAM_ID"
secret_access_key_env = "TEST_UPSTREAM_SECRET"

[[upstream]]
name = "nobody"
kind = "openai"
base_url = "http://127.0.0.1:9/v1"

[[model]]
id = "test.openai"
upstream = "openai"
upstream_model = "openai.gpt-oss-20b-1:0"

[[model]]
id = "test.anthropic"
upstream = "anthropic"
upstream_model = "anthropic.claude-3-haiku-20240307-v1:0"

[[model]]
id = "test.bedrock"
upstream = "bedrock"
upstream_model = "anthropic.claude-3-haiku-20240307-v1:0"

[[model]]
id = "test.nobody"
upstream = "nobody"

[[model]]
id = "test.embedding"
task = "embedding"
family = "TitanEmbedV2"
upstream = "bedrock"
upstream_model = "amazon.titan-embed-text-v2:0"
"""


@pytest.fixture(scope="module")
def gateway(server, tmp_path_factory):
    os.environ |= {"TEST_UPSTREAM_KEY": api_key(), "TEST_UPSTREAM_ID": ACCESS_KEY, "TEST_UPSTREAM_SECRET": SECRET_KEY}
    config = CONFIG.format(url=server.url, region=REGION)
    gateway = Server(tmp_path_factory.mktemp("gateway"), config=config).start()
    yield gateway.client("bedrock-runtime")
    gateway.stop()


@pytest.fixture(scope="module")
def direct(server):
    return server.client("bedrock-runtime")


def converse(client, model, **options):
    return client.converse(modelId=model, messages=QUESTION, inferenceConfig={"maxTokens": 24, "temperature": 0}, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_answer_is_the_upstreams_own(gateway, direct, kind):
    through = converse(gateway, f"test.{kind}")
    own = converse(direct, "anthropic.claude-3-haiku-20240307-v1:0")
    assert through["output"] == own["output"]
    assert through["stopReason"] == own["stopReason"]
    assert through["usage"] == own["usage"]
    assert kind in through["ResponseMetadata"]["HTTPHeaders"]["x-craton-served-by"]


@pytest.mark.parametrize("kind", KINDS)
def test_stream(gateway, kind):
    answer = gateway.converse_stream(
        modelId=f"test.{kind}", messages=QUESTION, inferenceConfig={"maxTokens": 24, "temperature": 0})
    events = list(answer["stream"])
    text = "".join(e["contentBlockDelta"]["delta"]["text"] for e in events if "contentBlockDelta" in e)
    whole = converse(gateway, f"test.{kind}")
    assert text == whole["output"]["message"]["content"][0]["text"]
    assert events[-1]["metadata"]["usage"] == whole["usage"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streamed", [False, True])
def test_tool(gateway, kind, streamed):
    request = dict(
        modelId=f"test.{kind}", messages=[{"role": "user", "content": [{"text": tools.QUESTION}]}],
        toolConfig=tools.CONVERSE_TOOL_CONFIG)
    if not streamed:
        answer = gateway.converse(**request)
        assert answer["stopReason"] == "tool_use"
        call = next(block["toolUse"] for block in answer["output"]["message"]["content"] if "toolUse" in block)
        assert call["name"] == tools.NAME
        tools.check_arguments(call["input"])
        return
    events = list(gateway.converse_stream(**request)["stream"])
    starts = [e["contentBlockStart"]["start"]["toolUse"] for e in events if "contentBlockStart" in e]
    assert [start["name"] for start in starts] == [tools.NAME]
    assert next(e["messageStop"]["stopReason"] for e in events if "messageStop" in e) == "tool_use"


@pytest.mark.parametrize("kind", ["anthropic", "bedrock"])
def test_count_is_the_usage(gateway, kind):
    counted = gateway.count_tokens(modelId=f"test.{kind}", input={"converse": {"messages": QUESTION}})
    assert counted["inputTokens"] == converse(gateway, f"test.{kind}")["usage"]["inputTokens"]


def test_embedding(gateway, direct):
    import json

    def embed(client, model):
        answer = client.invoke_model(modelId=model, body=json.dumps({"inputText": "A lighthouse."}))
        return json.loads(answer["body"].read())["embedding"]

    through, own = embed(gateway, "test.embedding"), embed(direct, "amazon.titan-embed-text-v2:0")
    assert sum(a * b for a, b in zip(through, own, strict=True)) > 0.999


def test_nobody_there(gateway):
    with pytest.raises(ClientError) as error:
        converse(gateway, "test.nobody")
    assert error.value.response["Error"]["Code"] == "ServiceUnavailableException"
