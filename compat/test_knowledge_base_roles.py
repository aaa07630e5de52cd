"""Knowledge bases of a server that enforces service roles: what the role may not do fails, and says so."""

import json
import uuid

import pytest
from botocore.exceptions import ClientError
from conftest import TITAN, Server, index_in, wait


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("strict"), config="enforce_service_roles = true\n").start()
    yield running
    assert running.stop() == 0, running.tail()


def role(strict, service: str, *allowed: tuple[str, str]) -> str:
    """The name of a role that a service may assume, and that may do these things."""
    iam, name = strict.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    allow(strict, name, *allowed)
    return name


def allow(strict, name: str, *allowed: tuple[str, str]) -> None:
    """Exactly these things."""
    statements = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in allowed]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam = strict.client("iam")
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="what", PolicyDocument=policy)


def sync(strict, base: str, source: str) -> dict:
    agent = strict.client("bedrock-agent")
    job = agent.start_ingestion_job(knowledgeBaseId=base, dataSourceId=source)["ingestionJob"]
    ids = {"knowledgeBaseId": base, "dataSourceId": source, "ingestionJobId": job["ingestionJobId"]}
    ask = lambda: agent.get_ingestion_job(**ids)["ingestionJob"]
    return wait(ask, lambda job: job["status"] in ("COMPLETE", "FAILED"), 120)


def test_a_role_that_does_not_trust_bedrock_is_refused(strict):
    collection = strict.collection()
    for name in (role(strict, "lambda.amazonaws.com", ("*", "*")), "nobodys"):
        with pytest.raises(ClientError) as refused:
            strict.knowledge_base(index_in(collection), name)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
        assert "can't assume the role" in str(refused.value), refused.value


def test_each_thing_that_a_role_lacks_is_named(strict):
    s3, agent, runtime = (strict.client(name) for name in ("s3", "bedrock-agent", "bedrock-agent-runtime"))
    bucket, collection = f"bucket-{uuid.uuid4().hex[:8]}", strict.collection()
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a.txt", Body=b"Herons fish at dawn.")
    model, store = ("bedrock:InvokeModel", TITAN), ("aoss:APIAccessAll", collection)
    listing, reading = ("s3:ListBucket", f"arn:aws:s3:::{bucket}"), ("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    everything = [model, store, listing, reading]
    name = role(strict, "bedrock.amazonaws.com", *everything)
    base = strict.knowledge_base(index_in(collection), name)["knowledgeBaseId"]
    source = agent.create_data_source(knowledgeBaseId=base, name="s3", dataSourceConfiguration={
        "type": "S3", "s3Configuration": {"bucketArn": f"arn:aws:s3:::{bucket}"}})["dataSource"]["dataSourceId"]
    for missing in everything:
        allow(strict, name, *(one for one in everything if one != missing))
        job = sync(strict, base, source)
        assert job["status"] == "FAILED", (missing, job)
        assert any(missing[0] in reason for reason in job["failureReasons"]), (missing, job["failureReasons"])
    allow(strict, name, *everything)
    job = sync(strict, base, source)
    assert (job["status"], job["statistics"]["numberOfNewDocumentsIndexed"]) == ("COMPLETE", 1), job
    question = {"text": "When do herons fish?"}
    assert runtime.retrieve(knowledgeBaseId=base, retrievalQuery=question)["retrievalResults"]
    allow(strict, name, store, listing, reading)
    with pytest.raises(ClientError, match="bedrock:InvokeModel"):
        runtime.retrieve(knowledgeBaseId=base, retrievalQuery=question)


def test_each_object_is_asked_for(strict):
    """A role that may read some objects has those in its index, and the others are counted with their reason."""
    s3, agent = strict.client("s3"), strict.client("bedrock-agent")
    bucket, collection = f"bucket-{uuid.uuid4().hex[:8]}", strict.collection()
    s3.create_bucket(Bucket=bucket)
    for key in ("docs/a.txt", "docs/b.txt", "docs/secret/c.txt"):
        s3.put_object(Bucket=bucket, Key=key, Body=f"This is {key}.".encode())
    name = role(strict, "bedrock.amazonaws.com", ("bedrock:InvokeModel", TITAN), ("aoss:APIAccessAll", collection),
                ("s3:ListBucket", f"arn:aws:s3:::{bucket}"), ("s3:GetObject", f"arn:aws:s3:::{bucket}/docs/*"))
    deny = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/docs/secret/*"}
    strict.client("iam").put_role_policy(RoleName=name, PolicyName="deny", PolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": [deny]}))
    base = strict.knowledge_base(index_in(collection), name)["knowledgeBaseId"]
    source = agent.create_data_source(knowledgeBaseId=base, name="s3", dataSourceConfiguration={
        "type": "S3", "s3Configuration": {"bucketArn": f"arn:aws:s3:::{bucket}", "inclusionPrefixes": ["docs/"]},
    })["dataSource"]["dataSourceId"]
    job = sync(strict, base, source)
    counted = {name: job["statistics"][name] for name in ("numberOfNewDocumentsIndexed", "numberOfDocumentsFailed")}
    assert (job["status"], counted) == (
        "COMPLETE", {"numberOfNewDocumentsIndexed": 2, "numberOfDocumentsFailed": 1}), job
    assert any("docs/secret/c.txt" in reason for reason in job["failureReasons"]), job["failureReasons"]
