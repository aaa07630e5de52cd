"""One server a session, the real binary; every test talks to it with an unmodified client."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import uuid

import boto3
import pytest
import requests
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parent.parent
ACCESS_KEY, SECRET_KEY, REGION = "AKIACOMPATROOT000001", "compat-root-secret-access-key-0000000001", "us-east-1"
ACCOUNT = "123456789012"
TITAN = "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0"
FIELDS = {"vectorField": "v", "textField": "t", "metadataField": "m"}


def wait(ask, done=bool, seconds=60):
    """Asks until the answer is right, and returns it."""
    end = time.monotonic() + seconds
    while not done(answer := ask()):
        assert time.monotonic() < end, f"still {answer}"
        time.sleep(0.1)
    return answer


def index_in(collection: str, name: str = "i") -> dict:
    """The storage configuration of an index in a collection."""
    return {"type": "OPENSEARCH_SERVERLESS", "opensearchServerlessConfiguration": {
        "collectionArn": collection, "vectorIndexName": name, "fieldMapping": FIELDS}}


def knowledge_base_request(storage: dict, name: str | None = None, role: str = "KB") -> dict:
    return dict(
        name=name or f"kb-{uuid.uuid4().hex[:8]}", roleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}",
        knowledgeBaseConfiguration={"type": "VECTOR", "vectorKnowledgeBaseConfiguration": {"embeddingModelArn": TITAN}},
        storageConfiguration=storage)


def inline_document(name: str, text: str, **numbers: int) -> dict:
    """A document that is put in directly, with its metadata."""
    document = {"content": {"dataSourceType": "CUSTOM", "custom": {
        "customDocumentIdentifier": {"id": name}, "sourceType": "IN_LINE",
        "inlineContent": {"type": "TEXT", "textContent": {"data": text}}}}}
    if numbers:
        document["metadata"] = {"type": "IN_LINE_ATTRIBUTE", "inlineAttributes": [
            {"key": key, "value": {"type": "NUMBER", "numberValue": number}} for key, number in numbers.items()]}
    return document


class Server:
    """A `craton serve` process on a free port."""

    def __init__(self, directory: pathlib.Path, *arguments: str, config: str | None = None):
        self.binary = os.environ.get("CRATON_BIN", str(ROOT / "target/debug/craton"))
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        scheme = "https" if "--tls" in arguments else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.command = [self.binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", str(directory / "data")]
        self.command += arguments
        if config is not None:
            path = directory / "craton.toml"
            path.write_text(config)
            self.command += ["--config", str(path)]

    def start(self) -> "Server":
        env = dict(os.environ, CRATON_ROOT_ACCESS_KEY_ID=ACCESS_KEY, CRATON_ROOT_SECRET_ACCESS_KEY=SECRET_KEY)
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        self.log = (self.directory / "server.log").open("ab")
        self.process = subprocess.Popen(self.command, env=env, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server exited with {self.process.returncode}:\n{self.tail()}")
            try:
                if requests.get(f"{self.url}/health", timeout=2, verify=False).status_code == 200:
                    return self
            except requests.RequestException:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the server did not become healthy:\n{self.tail()}")

    def tail(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")[-4000:]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def environment(self) -> dict[str, str]:
        """What `craton env` exports, for clients that read it."""
        return dict(
            os.environ,
            AWS_ENDPOINT_URL=self.url,
            AWS_ACCESS_KEY_ID=ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY=SECRET_KEY,
            AWS_REGION=REGION,
            AWS_DEFAULT_REGION=REGION,
            AWS_EC2_METADATA_DISABLED="true",
        )

    def client(self, service: str, **options):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=240),
            **options,
        )

    def collection(self) -> str:
        """The ARN of a new collection, which a knowledge base needs."""
        aoss, name = self.client("opensearchserverless"), f"kb-{uuid.uuid4().hex[:8]}"
        rules = [{"ResourceType": "collection", "Resource": [f"collection/{name}"]}]
        aoss.create_security_policy(
            name=name, type="encryption", policy=json.dumps({"Rules": rules, "AWSOwnedKey": True}))
        return aoss.create_collection(name=name, type="VECTORSEARCH")["createCollectionDetail"]["arn"]

    def knowledge_base(self, storage: dict | None = None, role: str = "KB") -> dict:
        """A new knowledge base that is active; in a collection of its own unless it is told where."""
        agent = self.client("bedrock-agent")
        request = knowledge_base_request(storage or index_in(self.collection()), role=role)
        base = agent.create_knowledge_base(**request)["knowledgeBase"]
        ask = lambda: agent.get_knowledge_base(knowledgeBaseId=base["knowledgeBaseId"])["knowledgeBase"]["status"]
        wait(ask, lambda status: status == "ACTIVE")
        return base

    def fill(self, base: str, documents: list[dict]) -> dict:
        """Puts documents into a new source of a knowledge base and waits until they are indexed; the ids of both."""
        agent = self.client("bedrock-agent")
        source = agent.create_data_source(
            knowledgeBaseId=base, name="own", dataSourceConfiguration={"type": "CUSTOM"})["dataSource"]
        ids = {"knowledgeBaseId": base, "dataSourceId": source["dataSourceId"]}
        details = agent.ingest_knowledge_base_documents(**ids, documents=documents)["documentDetails"]
        assert {detail["status"] for detail in details} == {"STARTING"}
        identifiers = [{"dataSourceType": "CUSTOM", "custom": {
            "id": document["content"]["custom"]["customDocumentIdentifier"]["id"]}} for document in documents]
        ask = lambda: agent.get_knowledge_base_documents(**ids, documentIdentifiers=identifiers)["documentDetails"]
        wait(ask, lambda details: all(detail["status"] == "INDEXED" for detail in details), 120)
        return ids


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("craton")).start()
    yield running
    assert running.stop() == 0, running.tail()


@pytest.fixture(autouse=True)
def aws_environment(server, monkeypatch):
    """Clients that read only the environment find this server and nothing else."""
    for name, value in server.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
