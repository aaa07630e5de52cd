"""Prompts through boto3."""

import uuid

import pytest

CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"


@pytest.fixture(scope="module")
def prompt(server):
    agent = server.client("bedrock-agent")
    made = agent.create_prompt(
        name=f"support-{uuid.uuid4().hex[:8]}", defaultVariant="default", tags={"team": "blue"},
        variants=[{"name": "default", "templateType": "TEXT", "modelId": CLAUDE,
                   "templateConfiguration": {"text": {"text": "Greet {{name}} of {{company}}.", "inputVariables": [{"name": "name"}, {"name": "company"}]}},
                   "inferenceConfiguration": {"text": {"temperature": 0, "maxTokens": 12}}}])
    yield agent, made
    agent.delete_prompt(promptIdentifier=made["id"])


def test_a_version_is_a_model(server, prompt):
    agent, made = prompt
    version = agent.create_prompt_version(promptIdentifier=made["id"])
    assert version["arn"] == f"{made['arn']}:{version['version']}"
    variables = {"name": {"text": "Ada"}, "company": {"text": "Techoral"}}
    runtime = server.client("bedrock-runtime")
    for model in (made["arn"], version["arn"]):
        answer = runtime.converse(modelId=model, promptVariables=variables)
        assert answer["output"]["message"]["content"][0]["text"] and answer["usage"]["inputTokens"] > 5
    stream = runtime.converse_stream(modelId=version["arn"], promptVariables=variables)["stream"]
    assert any("contentBlockDelta" in event for event in stream)


def test_what_is_missing_is_named(server, prompt):
    runtime = server.client("bedrock-runtime")
    with pytest.raises(runtime.exceptions.ValidationException, match="company"):
        runtime.converse(modelId=prompt[1]["arn"], promptVariables={"name": {"text": "Ada"}})


def test_prompts_are_listed_with_their_versions(prompt):
    agent, made = prompt
    versions = [one["version"] for one in agent.list_prompts(promptIdentifier=made["id"])["promptSummaries"]]
    assert versions[0] == "DRAFT"
    assert made["id"] in [one["id"] for page in agent.get_paginator("list_prompts").paginate() for one in page["promptSummaries"]]
