"""The OpenAI SDK: Chat Completions and Responses, keyed with a Bedrock API key."""

import json

import openai
import pytest
import tools
from test_anthropic import api_key

MODEL = "openai.gpt-oss-20b-1:0"
MESSAGES = [{"role": "user", "content": "Count from one to ten."}]


@pytest.fixture(params=["/openai/v1", "/v1"])
def client(request, server):
    return openai.OpenAI(base_url=server.url + request.param, api_key=api_key(), max_retries=0)


def test_chat(client):
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_completion_tokens=24)
    assert answer.choices[0].message.content.strip() and answer.usage.completion_tokens > 0


def test_chat_stream(client):
    chunks = list(client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_completion_tokens=24, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices).strip()
    assert chunks[-1].usage.completion_tokens > 0


def test_chat_tool(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": tools.QUESTION}], tools=[tools.OPENAI_TOOL],
        tool_choice={"type": "function", "function": {"name": tools.NAME}})
    call = answer.choices[0].message.tool_calls[0].function
    assert call.name == tools.NAME
    tools.check_arguments(json.loads(call.arguments))


def test_structured_output(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": tools.QUESTION}],
        response_format={"type": "json_schema", "json_schema": {"name": "weather", "schema": tools.SCHEMA, "strict": True}})
    tools.check_arguments(json.loads(answer.choices[0].message.content))


def test_responses(client):
    answer = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=24)
    assert answer.output_text.strip()


def test_responses_stream(client):
    events = list(client.responses.create(model=MODEL, input="Count from one to ten.", max_output_tokens=24, stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text.strip() and events[-1].response.output_text == text


def test_models(client):
    assert MODEL in {model.id for model in client.models.list()}


def test_errors_have_openais_shape(client):
    with pytest.raises(openai.APIStatusError) as error:
        client.chat.completions.create(model="nobody.no-such-model", messages=MESSAGES)
    assert error.value.status_code in (400, 404) and error.value.body["message"]
