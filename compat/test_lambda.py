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


def test_a_handler_calls_this_server_as_its_role(server):
    """The seed's pattern: a function whose role may list functions, and nothing else, does so with plain boto3."""
    iam, lam = server.client("iam"), server.client("lambda")
    name = f"caller-{uuid.uuid4().hex[:8]}"
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "lambda:ListFunctions", "Resource": "*"}]}))
    source = """
import boto3
def handler(event, context):
    who = boto3.client("sts").get_caller_identity()["Arn"]
    functions = [f["FunctionName"] for f in boto3.client("lambda").list_functions()["Functions"]]
    try:
        boto3.client("lambda").get_function(FunctionName=context.function_name)
        return [who, context.function_name in functions, "allowed"]
    except Exception as error:
        return [who, context.function_name in functions, error.response["Error"]["Code"]]
"""
    lam.create_function(FunctionName=name, Runtime="python3.11", Handler="main.handler", Role=role,
                        Code={"ZipFile": archive(source)}, Timeout=30, MemorySize=512)
    try:
        answer = lam.invoke(FunctionName=name, Payload="{}", LogType="Tail")
        who, listed, further = json.loads(answer["Payload"].read())
        assert who == f"arn:aws:sts::123456789012:assumed-role/{name}/{name}", base64.b64decode(answer["LogResult"])
        assert listed and further == "AccessDeniedException"
    finally:
        lam.delete_function(FunctionName=name)
        iam.delete_role_policy(RoleName=name, PolicyName="p")
        iam.delete_role(RoleName=name)


def test_another_server_is_the_far_end_of_a_mapping(server, tmp_path):
    """`[[function]] arn`: calls go, signed, to another Lambda; ours stands in for AWS's."""
    from conftest import ACCESS_KEY, SECRET_KEY, Server

    lam = server.client("lambda")
    name = f"far-{uuid.uuid4().hex[:8]}"
    source = "def handler(event, context):\n    print('far away')\n    return [event['n'] * 2, context.client_context and context.client_context.custom]"
    arn = lam.create_function(FunctionName=name, Runtime="python3.11", Handler="main.handler", Role=ROLE,
                              Code={"ZipFile": archive(source)}, Timeout=30)["FunctionArn"]
    credentials = tmp_path / "credentials"
    credentials.write_text(f"[far]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    config = f"""
[[function]]
name = "near"
arn = "{arn}"
endpoint = "{server.url}"
aws_profile = "far"
aws_credentials_file = "{credentials}"

[[function]]
name = "lost"
arn = "{arn}-not"
endpoint = "{server.url}"
aws_profile = "far"
aws_credentials_file = "{credentials}"
"""
    near = Server(tmp_path, config=config).start()
    try:
        client = near.client("lambda")
        context = base64.b64encode(json.dumps({"custom": {"a": "b\n"}}).encode()).decode()
        answer = client.invoke(FunctionName="near", Payload='{"n": 4}', LogType="Tail", ClientContext=context)
        assert json.loads(answer["Payload"].read()) == [8, {"a": "b\n"}]
        assert "far away" in base64.b64decode(answer["LogResult"]).decode()
        failed = client.invoke(FunctionName="near", Payload="{}")
        assert failed["FunctionError"] == "Unhandled" and json.loads(failed["Payload"].read())["errorType"] == "KeyError"
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke(FunctionName="lost", Payload="{}")
        with pytest.raises(client.exceptions.InvalidRequestContentException):
            client.invoke(FunctionName="near", Payload="{}", ClientContext="bm8=")
    finally:
        near.stop()
        lam.delete_function(FunctionName=name)
