"""The Anthropic SDK: its Bedrock client, and its own API served under /anthropic."""

import anthropic
import pytest
import tools
from conftest import ACCESS_KEY, REGION, SECRET_KEY

CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"
MESSAGES = [{"role": "user", "content": "Count from one to ten."}]


@pytest.fixture(params=["bedrock", "direct"])
def client(request, server):
    if request.param == "bedrock":
        return anthropic.AnthropicBedrock(
            aws_access_key=ACCESS_KEY, aws_secret_key=SECRET_KEY, aws_region=REGION, base_url=server.url, max_retries=0)
    return anthropic.Anthropic(base_url=server.url + "/anthropic", api_key=api_key(), max_retries=0)


def api_key() -> str:
    from aws_bedrock_token_generator import BedrockTokenGenerator
    from botocore.credentials import Credentials

    return BedrockTokenGenerator().get_token(Credentials(ACCESS_KEY, SECRET_KEY), REGION)


def test_message(client):
    answer = client.messages.create(model=CLAUDE, max_tokens=24, messages=MESSAGES)
    assert answer.content[0].text.strip() and answer.usage.input_tokens > 0


def test_stream(client):
    with client.messages.stream(model=CLAUDE, max_tokens=48, extra_body={"temperature": 0}, messages=MESSAGES) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3 and final.stop_reason in ("end_turn", "max_tokens")


def test_tool(client):
    answer = client.messages.create(
        model=CLAUDE, max_tokens=128, tools=[tools.ANTHROPIC_TOOL],
        tool_choice={"type": "tool", "name": tools.NAME}, messages=[{"role": "user", "content": tools.QUESTION}])
    assert answer.stop_reason == "tool_use"
    call = next(block for block in answer.content if block.type == "tool_use")
    tools.check_arguments(call.input)


def test_count_tokens(server):
    client = anthropic.Anthropic(base_url=server.url + "/anthropic", api_key=api_key(), max_retries=0)
    counted = client.messages.count_tokens(model=CLAUDE, messages=MESSAGES).input_tokens
    assert counted == client.messages.create(model=CLAUDE, max_tokens=1, messages=MESSAGES).usage.input_tokens


def test_errors_have_anthropics_shape(server):
    client = anthropic.Anthropic(base_url=server.url + "/anthropic", api_key=api_key(), max_retries=0)
    with pytest.raises(anthropic.APIStatusError) as error:
        client.messages.create(model="nobody.no-such-model", max_tokens=1, messages=MESSAGES)
    assert error.value.status_code in (400, 404) and error.value.body["type"] == "error"
