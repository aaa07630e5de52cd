"""Lambda through boto3, as notebooks use it before they make an agent."""

import base64
import io
import json
import uuid
import zipfile

import pytest

ROLE = "arn:aws:iam::123456789012:role/lambda"
SOURCE = """
import json, os
def handler(event, context):
    print("order", event["order"])
    if event["order"] < 0:
        raise ValueError("no such order")
    return {"order": event["order"] * int(os.environ["FACTOR"])}
"""


def archive(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("main.py", source)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def function(server):
    lam = server.client("lambda")
    name = f"orders-{uuid.uuid4().hex[:8]}"
    made = lam.create_function(
        FunctionName=name, Runtime="python3.11", Handler="main.handler", Role=ROLE, Code={"ZipFile": archive(SOURCE)},
        Timeout=10, Environment={"Variables": {"FACTOR": "2"}}, Tags={"team": "blue"})
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    lam.get_waiter("function_active_v2").wait(FunctionName=name)
    yield lam, name
    lam.delete_function(FunctionName=name)
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.get_function(FunctionName=name)


def test_a_call_answers_with_its_log(function):
    lam, name = function
    answer = lam.invoke(FunctionName=name, Payload=json.dumps({"order": 21}), LogType="Tail")
    assert answer["StatusCode"] == 200 and "FunctionError" not in answer
    assert json.loads(answer["Payload"].read()) == {"order": 42}
    assert "order 21" in base64.b64decode(answer["LogResult"]).decode()


def test_a_failure_is_a_function_error(function):
    lam, name = function
    answer = lam.invoke(FunctionName=name, Payload=json.dumps({"order": -1}))
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == "ValueError"


def test_code_and_configuration_change_and_versions_stay(function):
    lam, name = function
    first = lam.publish_version(FunctionName=name)["Version"]
    lam.update_function_configuration(FunctionName=name, Environment={"Variables": {"FACTOR": "3"}})
    lam.get_waiter("function_updated_v2").wait(FunctionName=name)
    call = lambda **more: json.loads(lam.invoke(FunctionName=name, Payload='{"order": 5}', **more)["Payload"].read())
    assert (call()["order"], call(Qualifier=first)["order"]) == (15, 10)
    lam.create_alias(FunctionName=name, Name="live", FunctionVersion=first)
    assert call(Qualifier="live")["order"] == 10
    assert [v["Version"] for v in lam.list_versions_by_function(FunctionName=name)["Versions"]] == ["$LATEST", first]


def test_permissions_and_other_calls(function):
    lam, name = function
    lam.add_permission(FunctionName=name, StatementId="agent", Action="lambda:InvokeFunction", Principal="bedrock.amazonaws.com")
    assert json.loads(lam.get_policy(FunctionName=name)["Policy"])["Statement"][0]["Sid"] == "agent"
    with pytest.raises(lam.exceptions.ResourceConflictException):
        lam.add_permission(FunctionName=name, StatementId="agent", Action="lambda:InvokeFunction", Principal="bedrock.amazonaws.com")
    assert lam.invoke(FunctionName=name, InvocationType="DryRun", Payload='{"order": 1}')["StatusCode"] == 204
    assert lam.invoke(FunctionName=name, InvocationType="Event", Payload='{"order": 1}')["StatusCode"] == 202
    assert name in [f["FunctionName"] for page in lam.get_paginator("list_functions").paginate() for f in page["Functions"]]
    arn = lam.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert lam.list_tags(Resource=arn)["Tags"] == {"team": "blue"}
