"""The AWS CLI (version 1, from the package index)."""

import json
import subprocess
import sys

import pathlib
import pytest
import tools

CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"
AWS = pathlib.Path(sys.executable).with_name("aws")


def aws(server, *arguments: str) -> str:
    done = subprocess.run([AWS, *arguments], env=server.environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_list_foundation_models(server):
    listed = json.loads(aws(server, "bedrock", "list-foundation-models", "--by-provider", "anthropic"))
    assert listed["modelSummaries"] and all(m["providerName"] == "Anthropic" for m in listed["modelSummaries"])


def test_invoke_model(server, tmp_path):
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 12,
            "messages": [{"role": "user", "content": "Say hello."}]}
    (tmp_path / "body.json").write_text(json.dumps(body))
    out = tmp_path / "out.json"
    aws(server, "bedrock-runtime", "invoke-model", "--model-id", CLAUDE,
        "--body", f"fileb://{tmp_path / 'body.json'}", str(out))
    assert json.loads(out.read_text())["content"][0]["text"].strip()


def test_converse_with_a_tool(server):
    answer = json.loads(aws(
        server, "bedrock-runtime", "converse", "--model-id", CLAUDE,
        "--messages", json.dumps([{"role": "user", "content": [{"text": tools.QUESTION}]}]),
        "--tool-config", json.dumps(tools.CONVERSE_TOOL_CONFIG)))
    call = next(block["toolUse"] for block in answer["output"]["message"]["content"] if "toolUse" in block)
    tools.check_arguments(call["input"])


@pytest.mark.parametrize("operation", ["list-foundation-models", "list-inference-profiles"])
def test_lists(server, operation):
    assert json.loads(aws(server, "bedrock", operation))
