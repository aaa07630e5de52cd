"""IAM and STS with boto3: users, roles, policies and temporary credentials, and what they open."""

import io
import json
import subprocess
import uuid
import zipfile

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import ACCESS_KEY, REGION, SECRET_KEY, Server

MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"
HELLO = [{"role": "user", "content": [{"text": "hi"}]}]


def name(prefix):
    return prefix + uuid.uuid4().hex[:8]


def policy(actions, resource="*", effect="Allow", **more):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": actions, "Resource": resource, **more}]})


def trust(principal):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]})


def client_with(server, service, key, secret, token=None):
    return boto3.client(
        service, region_name=REGION, endpoint_url=server.url, aws_access_key_id=key, aws_secret_access_key=secret,
        aws_session_token=token, config=Config(retries={"total_max_attempts": 1}, read_timeout=240),
    )


def code(call, *arguments, **parameters):
    with pytest.raises(ClientError) as error:
        call(*arguments, **parameters)
    return error.value.response["Error"]["Code"]


@pytest.fixture(scope="module")
def iam(server):
    return server.client("iam")


@pytest.fixture
def user(server, iam):
    """A user's name and its clients."""
    user_name = name("user")
    iam.create_user(UserName=user_name, Tags=[{"Key": "team", "Value": "red"}])
    iam.get_waiter("user_exists").wait(UserName=user_name, WaiterConfig={"Delay": 1, "MaxAttempts": 2})
    key = iam.create_access_key(UserName=user_name)["AccessKey"]
    return user_name, lambda service: client_with(server, service, key["AccessKeyId"], key["SecretAccessKey"])


def test_the_root_is_who_it_is(server):
    who = server.client("sts").get_caller_identity()
    assert (who["Account"], who["UserId"]) == ("123456789012", "123456789012")
    assert who["Arn"] == "arn:aws:iam::123456789012:root"


def test_a_role_is_made_assumed_and_used(server, iam, user):
    user_name, as_user = user
    role_name = name("role")
    made = iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=trust({"Service": "bedrock.amazonaws.com"}), Path="/team/")["Role"]
    assert made["Arn"].endswith(f":role/team/{role_name}") and made["RoleId"].startswith("AROA")
    iam.get_waiter("role_exists").wait(RoleName=role_name, WaiterConfig={"Delay": 1, "MaxAttempts": 2})
    iam.attach_role_policy(RoleName=role_name, PolicyArn="arn:aws:iam::aws:policy/AmazonBedrockFullAccess")
    assert code(as_user("sts").assume_role, RoleArn=made["Arn"], RoleSessionName="compat") == "AccessDenied"
    user_arn = iam.get_user(UserName=user_name)["User"]["Arn"]
    iam.update_assume_role_policy(RoleName=role_name, PolicyDocument=trust({"AWS": user_arn}))
    assumed = as_user("sts").assume_role(RoleArn=made["Arn"], RoleSessionName="compat", DurationSeconds=900)
    keys = assumed["Credentials"]
    session = lambda service: client_with(server, service, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    assert session("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::123456789012:assumed-role/{role_name}/compat"
    answer = session("bedrock-runtime").converse(modelId=MODEL, messages=HELLO, inferenceConfig={"maxTokens": 4})
    assert answer["stopReason"] in ("end_turn", "max_tokens")
    assert code(session("iam").list_users) == "AccessDenied"
    shown = iam.get_role(RoleName=role_name)["Role"]
    assert shown["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"AWS": user_arn}
    assert code(iam.delete_role, RoleName=role_name) == "DeleteConflict"
    iam.detach_role_policy(RoleName=role_name, PolicyArn="arn:aws:iam::aws:policy/AmazonBedrockFullAccess")
    iam.delete_role(RoleName=role_name)
    assert code(session("bedrock").list_foundation_models) == "UnrecognizedClientException"


def test_policies_have_versions_and_are_attached(iam, user):
    user_name, as_user = user
    arn = iam.create_policy(PolicyName=name("policy"), PolicyDocument=policy("bedrock:ListFoundationModels"))["Policy"]["Arn"]
    iam.get_waiter("policy_exists").wait(PolicyArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 2})
    assert code(as_user("bedrock").list_foundation_models) == "AccessDeniedException"
    group = name("group")
    iam.create_group(GroupName=group)
    iam.attach_group_policy(GroupName=group, PolicyArn=arn)
    iam.add_user_to_group(GroupName=group, UserName=user_name)
    assert as_user("bedrock").list_foundation_models()["modelSummaries"]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy("bedrock:*", effect="Deny"), SetAsDefault=True)
    assert code(as_user("bedrock").list_foundation_models) == "AccessDeniedException"
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [(v["VersionId"], v["IsDefaultVersion"]) for v in versions] == [("v2", True), ("v1", False)]
    document = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    assert document["Statement"][0]["Action"] == "bedrock:ListFoundationModels"
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert [g["GroupName"] for g in entities["PolicyGroups"]] == [group]
    assert code(iam.delete_policy, PolicyArn=arn) == "DeleteConflict"
    assert code(iam.create_policy, PolicyName=name("p"), PolicyDocument="{}") == "MalformedPolicyDocument"


def test_errors_and_pages(iam):
    names = sorted(name("page") for _ in range(5))
    for user_name in names:
        iam.create_user(UserName=user_name, Path="/pages/")
    pages = iam.get_paginator("list_users").paginate(PathPrefix="/pages/", PaginationConfig={"PageSize": 2})
    assert [u["UserName"] for page in pages for u in page["Users"]] == names
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException):
        iam.create_user(UserName=names[0].upper())
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="no-such-role")
    for user_name in names:
        iam.delete_user(UserName=user_name)
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_user(UserName=names[0])


def test_tags_and_simulation(iam, user):
    user_name, _ = user
    iam.tag_user(UserName=user_name, Tags=[{"Key": "cost", "Value": "red+blue = 1/2"}])
    iam.untag_user(UserName=user_name, TagKeys=["team"])
    assert iam.list_user_tags(UserName=user_name)["Tags"] == [{"Key": "cost", "Value": "red+blue = 1/2"}]
    iam.put_user_policy(UserName=user_name, PolicyName="p", PolicyDocument=policy("s3:GetObject", "arn:aws:s3:::docs/*"))
    arn = iam.get_user(UserName=user_name)["User"]["Arn"]
    results = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:GetObject", "s3:PutObject"], ResourceArns=["arn:aws:s3:::docs/a"])
    assert [r["EvalDecision"] for r in results["EvaluationResults"]] == ["allowed", "implicitDeny"]
    custom = iam.simulate_custom_policy(PolicyInputList=[policy("s3:*"), policy("s3:Delete*", effect="Deny")], ActionNames=["s3:DeleteObject"])
    assert custom["EvaluationResults"][0]["EvalDecision"] == "explicitDeny"


def test_long_term_api_keys(server, iam, user):
    user_name, _ = user
    iam.attach_user_policy(UserName=user_name, PolicyArn="arn:aws:iam::aws:policy/AmazonBedrockLimitedAccess")
    made = iam.create_service_specific_credential(UserName=user_name, ServiceName="bedrock.amazonaws.com", CredentialAgeDays=30)
    credential = made["ServiceSpecificCredential"]
    assert credential["ServiceCredentialSecret"].startswith("ABSK") and credential["ServiceSpecificCredentialId"].startswith("ACCA")
    call = lambda: requests.post(
        f"{server.url}/model/{MODEL}/converse", json={"messages": HELLO, "inferenceConfig": {"maxTokens": 4}},
        headers={"Authorization": "Bearer " + credential["ServiceCredentialSecret"]}, timeout=240,
    )
    assert call().status_code == 200
    identifier = credential["ServiceSpecificCredentialId"]
    iam.update_service_specific_credential(UserName=user_name, ServiceSpecificCredentialId=identifier, Status="Inactive")
    assert call().status_code == 403


def test_keys_on_the_command_line(server):
    def craton(*arguments):
        where = ["--listen", f"127.0.0.1:{server.port}", "--data-dir", str(server.directory / "data")]
        env = dict(server.environment(), CRATON_ROOT_ACCESS_KEY_ID=ACCESS_KEY, CRATON_ROOT_SECRET_ACCESS_KEY=SECRET_KEY)
        run = subprocess.run([server.binary, "keys", *arguments, *where], env=env, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        return run.stdout
    user_name = name("cli")
    made = dict(line.split("=", 1) for line in craton("create", user_name, "--policy", "arn:aws:iam::aws:policy/AmazonBedrockReadOnly").splitlines())
    bedrock = client_with(server, "bedrock", made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"])
    assert bedrock.list_foundation_models()["modelSummaries"]
    assert made["AWS_ACCESS_KEY_ID"] in craton("list")
    craton("revoke", made["AWS_ACCESS_KEY_ID"])
    assert code(bedrock.list_foundation_models) == "UnrecognizedClientException"


def archive(source):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("main.py", source)
    return buffer.getvalue()


HAS_KEYS = """
import os
def handler(event, context):
    return "AWS_SESSION_TOKEN" in os.environ
"""


def function(lam, role, source=HAS_KEYS):
    made = lam.create_function(FunctionName=name("f-"), Runtime="python3.11", Handler="main.handler", Role=role,
                               Code={"ZipFile": archive(source)}, Timeout=20)
    lam.get_waiter("function_active_v2").wait(FunctionName=made["FunctionName"])
    return made["FunctionName"]


def trusting(principal, **condition):
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


WHO_AM_I = """
import boto3
def handler(event, context):
    return boto3.client("sts").get_caller_identity()["Arn"]
"""


def test_a_function_knows_the_certificate_of_its_server(tmp_path):
    running = Server(tmp_path, "--tls").start()
    try:
        certificate = str(tmp_path / "data/tls/certificate.pem")
        client = lambda service: boto3.client(
            service, region_name=REGION, endpoint_url=running.url, aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY, verify=certificate)
        role = client("iam").create_role(
            RoleName="caller", AssumeRolePolicyDocument=trusting({"Service": "lambda.amazonaws.com"}))["Role"]["Arn"]
        made = function(client("lambda"), role, WHO_AM_I)
        answer = client("lambda").invoke(FunctionName=made)
        told = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer and ":assumed-role/caller/" in told, told
    finally:
        running.stop()


def test_a_deputy_is_not_confused(server, iam, user):
    """A component gets a role's credentials only where the role trusts the service to act for that component."""
    lam = server.client("lambda")
    service = {"Service": "lambda.amazonaws.com"}
    anything = "arn:aws:lambda:*:*:function:*"
    for document, given in [
        (trusting(service), True),
        (trusting({"Service": "bedrock.amazonaws.com"}), False),
        (trusting(service, StringEquals={"aws:SourceAccount": "123456789012"}, ArnLike={"aws:SourceArn": anything}), True),
        (trusting(service, StringEquals={"aws:SourceAccount": "999999999999"}), False),
        (trusting(service, ArnLike={"aws:SourceArn": "arn:aws:lambda:*:*:function:another"}), False),
    ]:
        role = iam.create_role(RoleName=name("deputy"), AssumeRolePolicyDocument=document)["Role"]["Arn"]
        made = function(lam, role)
        assert json.loads(lam.invoke(FunctionName=made)["Payload"].read()) == given, document
        lam.delete_function(FunctionName=made)
    # Nobody speaks for a service: these conditions hold for services alone.
    user_name, as_user = user
    iam.put_user_policy(UserName=user_name, PolicyName="p", PolicyDocument=policy("sts:*"))
    user_arn = iam.get_user(UserName=user_name)["User"]["Arn"]
    outside = {"RoleSessionName": "s1", "ExternalId": "wrong"}
    for document in [
        trusting({"AWS": user_arn}, StringEquals={"aws:SourceAccount": "123456789012"}),
        trusting({"AWS": user_arn}, ArnLike={"aws:SourceArn": "arn:aws:bedrock:*:*:*"}),
        trusting({"AWS": user_arn}, StringEquals={"sts:ExternalId": "right"}),
        trusting(service),
    ]:
        role = iam.create_role(RoleName=name("deputy"), AssumeRolePolicyDocument=document)["Role"]["Arn"]
        assert code(as_user("sts").assume_role, RoleArn=role, **outside) == "AccessDenied", document


def test_a_role_is_passed_only_by_who_may(server, iam, user):
    user_name, as_user = user
    role = iam.create_role(RoleName=name("passed"), AssumeRolePolicyDocument=trusting({"Service": "lambda.amazonaws.com"}))["Role"]
    make = lambda: as_user("lambda").create_function(
        FunctionName=name("f-"), Runtime="python3.11", Handler="main.handler", Role=role["Arn"], Code={"ZipFile": archive(HAS_KEYS)})
    iam.put_user_policy(UserName=user_name, PolicyName="p", PolicyDocument=policy("lambda:*"))
    with pytest.raises(ClientError, match="iam:PassRole on resource"):
        make()
    to = {"StringEquals": {"iam:PassedToService": "bedrock.amazonaws.com"}}
    iam.put_user_policy(UserName=user_name, PolicyName="pass", PolicyDocument=policy("iam:PassRole", role["Arn"], Condition=to))
    with pytest.raises(ClientError, match="iam:PassRole on resource"):
        make()
    to["StringEquals"]["iam:PassedToService"] = "lambda.amazonaws.com"
    iam.put_user_policy(UserName=user_name, PolicyName="pass", PolicyDocument=policy("iam:PassRole", role["Arn"], Condition=to))
    iam.tag_role(RoleName=role["RoleName"], Tags=[{"Key": "protected", "Value": "true"}])
    deny = policy("iam:*", effect="Deny", Condition={"StringEquals": {"aws:ResourceTag/protected": "true"}})
    iam.put_user_policy(UserName=user_name, PolicyName="deny", PolicyDocument=deny)
    assert code(make) == "AccessDeniedException"
    iam.untag_role(RoleName=role["RoleName"], TagKeys=["protected"])
    made = make()["FunctionName"]
    server.client("lambda").delete_function(FunctionName=made)


def test_a_functions_own_permissions_count(server, iam, user):
    user_name, as_user = user
    user_arn = iam.get_user(UserName=user_name)["User"]["Arn"]
    lam = server.client("lambda")
    made = function(lam, "arn:aws:iam::123456789012:role/nobodys")
    assert code(as_user("lambda").invoke, FunctionName=made) == "AccessDeniedException"
    lam.add_permission(FunctionName=made, StatementId="s", Action="lambda:InvokeFunction", Principal=user_arn)
    assert json.loads(as_user("lambda").invoke(FunctionName=made)["Payload"].read()) is False
    assert code(as_user("lambda").get_function, FunctionName=made) == "AccessDeniedException"
    lam.remove_permission(FunctionName=made, StatementId="s")
    assert code(as_user("lambda").invoke, FunctionName=made) == "AccessDeniedException"
    lam.delete_function(FunctionName=made)


def test_a_tampered_session_opens_nothing(server, iam, user):
    user_name, as_user = user
    user_arn = iam.get_user(UserName=user_name)["User"]["Arn"]
    role = iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=trust({"AWS": user_arn}))["Role"]
    iam.put_role_policy(RoleName=role["RoleName"], PolicyName="p", PolicyDocument=policy("bedrock:*"))
    begin = lambda: as_user("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="s1")["Credentials"]
    good, other = begin(), begin()
    open_with = lambda keys: client_with(server, "bedrock", keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("SessionToken"))
    assert open_with(good).list_foundation_models()["modelSummaries"]
    token = good["SessionToken"]
    for place in (0, 7, len(token) // 2, len(token) - 3):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1:]
        assert code(open_with(dict(good, SessionToken=changed)).list_foundation_models) == "UnrecognizedClientException", place
    for wrong in (dict(good, SessionToken=other["SessionToken"]), dict(good, SessionToken=None), dict(other, AccessKeyId=good["AccessKeyId"])):
        assert code(open_with(wrong).list_foundation_models) in ("UnrecognizedClientException", "InvalidSignatureException")
    wrong_secret = dict(good, SecretAccessKey=other["SecretAccessKey"])
    assert code(open_with(wrong_secret).list_foundation_models) == "InvalidSignatureException"
    # A role of the same name is another role: sessions of the first don't become its own.
    iam.delete_role_policy(RoleName=role["RoleName"], PolicyName="p")
    iam.delete_role(RoleName=role["RoleName"])
    iam.create_role(RoleName=role["RoleName"], AssumeRolePolicyDocument=trust({"AWS": user_arn}))
    assert code(open_with(good).list_foundation_models) == "UnrecognizedClientException"


def test_policies_of_resources(server, iam, user):
    user_name, as_user = user
    user_arn = iam.get_user(UserName=user_name)["User"]["Arn"]
    bedrock = server.client("bedrock")
    made = bedrock.create_guardrail(name=name("g"), blockedInputMessaging="no", blockedOutputsMessaging="no",
                                    wordPolicyConfig={"wordsConfig": [{"text": "abracadabra"}]})
    arn = made["guardrailArn"]
    assert code(bedrock.get_resource_policy, resourceArn=arn) == "ResourceNotFoundException"
    assert code(as_user("bedrock").get_guardrail, guardrailIdentifier=arn) == "AccessDeniedException"
    document = policy("bedrock:GetGuardrail", arn, Principal={"AWS": user_arn})
    assert bedrock.put_resource_policy(resourceArn=arn, resourcePolicy=document)["resourceArn"] == arn
    assert json.loads(bedrock.get_resource_policy(resourceArn=arn)["resourcePolicy"]) == json.loads(document)
    assert as_user("bedrock").get_guardrail(guardrailIdentifier=made["guardrailId"])["guardrailArn"] == arn
    assert code(as_user("bedrock").put_resource_policy, resourceArn=arn, resourcePolicy=document) == "AccessDeniedException"
    bedrock.delete_resource_policy(resourceArn=arn)
    assert code(as_user("bedrock").get_guardrail, guardrailIdentifier=arn) == "AccessDeniedException"
    nowhere = "arn:aws:bedrock:us-east-1:123456789012:knowledge-base/NOSUCHKB00"
    agent = server.client("bedrock-agent")
    assert code(agent.get_resource_policy, resourceArn=nowhere) == "ResourceNotFoundException"


def test_policies_are_tried_on_the_command_line(server, tmp_path):
    path = tmp_path / "own.json"
    path.write_text(policy("iam:CreateAccessKey", "arn:aws:iam::123456789012:user/${aws:username}"))
    def simulate(who, *more):
        arn = "arn:aws:iam::123456789012:user/"
        run = subprocess.run([server.binary, "policy", "simulate", "--policy", str(path), "--action", "iam:CreateAccessKey",
                              "--resource", arn + "eve", "--principal", arn + who, *more], capture_output=True, text=True, timeout=60)
        return run.returncode, run.stdout
    assert simulate("eve")[0] == 0 and simulate("adam")[0] == 1
    status, text = simulate("adam", "--json")
    assert json.loads(text)["EvaluationResults"][0]["EvalDecision"] == "implicitDeny"


def test_enforced_roles_must_trust_the_component(tmp_path):
    strict = Server(tmp_path, config="enforce_service_roles = true\n").start()
    try:
        iam, agent = strict.client("iam"), strict.client("bedrock-agent")
        bedrock, account = {"Service": "bedrock.amazonaws.com"}, {"aws:SourceAccount": "123456789012"}
        for document, taken in [
            (trusting(bedrock, StringEquals=account, ArnLike={"aws:SourceArn": "arn:aws:bedrock:*:123456789012:agent/*"}), True),
            (trusting(bedrock, ArnLike={"aws:SourceArn": "arn:aws:bedrock:*:123456789012:knowledge-base/*"}), False),
            (trusting(bedrock, StringEquals={"aws:SourceAccount": "999999999999"}), False),
            (trusting({"Service": "lambda.amazonaws.com"}), False),
            (trusting({"AWS": "arn:aws:iam::123456789012:root"}), False),
            (None, False),
        ]:
            role = "arn:aws:iam::123456789012:role/nobodys"
            if document is not None:
                role = iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=document)["Role"]["Arn"]
            make = lambda: agent.create_agent(agentName=name("agent"), agentResourceRoleArn=role, foundationModel=MODEL,
                                              instruction="Answer every question as well as you can.")
            if taken:
                assert make()["agent"]["agentResourceRoleArn"] == role
                continue
            with pytest.raises(ClientError, match="can't assume the role") as refused:
                make()
            assert refused.value.response["Error"]["Code"] == "ValidationException", document
    finally:
        strict.stop()
