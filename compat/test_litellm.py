"""LiteLLM's bedrock provider: invoke and converse routes, and embeddings."""

import json

import litellm
import pytest
import tools

CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"
MESSAGES = [{"role": "user", "content": "Count from one to ten."}]


@pytest.fixture
def options(server):
    return dict(aws_bedrock_runtime_endpoint=server.url, aws_region_name="us-east-1", max_tokens=64, temperature=0)


@pytest.mark.parametrize("route", ["bedrock/", "bedrock/converse/", "bedrock/invoke/"])
def test_completion(options, route):
    answer = litellm.completion(model=route + CLAUDE, messages=MESSAGES, **options)
    assert answer.choices[0].message.content.strip() and answer.usage.completion_tokens > 0


@pytest.mark.parametrize("route", ["bedrock/converse/", "bedrock/invoke/"])
def test_stream(options, route):
    chunks = list(litellm.completion(model=route + CLAUDE, messages=MESSAGES, stream=True, **options))
    assert len(chunks) > 3 and "".join(c.choices[0].delta.content or "" for c in chunks).strip()


def test_tool(options):
    choice = {"type": "function", "function": {"name": tools.NAME}}
    answer = litellm.completion(
        model="bedrock/converse/" + CLAUDE, messages=[{"role": "user", "content": tools.QUESTION}],
        tools=[tools.OPENAI_TOOL], tool_choice=choice, **options)
    call = answer.choices[0].message.tool_calls[0].function
    assert call.name == tools.NAME
    tools.check_arguments(json.loads(call.arguments))


def test_embedding(server):
    answer = litellm.embedding(
        model="bedrock/amazon.titan-embed-text-v2:0", input=["a cat"],
        aws_bedrock_runtime_endpoint=server.url, aws_region_name="us-east-1")
    assert len(answer.data[0]["embedding"]) == 1024
