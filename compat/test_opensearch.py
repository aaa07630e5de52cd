"""Knowledge bases whose index is in a real OpenSearch, as a domain and in place of a collection's own index."""

import subprocess

import pytest
from botocore.exceptions import ClientError
from conftest import FIELDS, ROOT, Server, index_in, inline_document, wait

DOMAIN = "arn:aws:es:us-east-1:123456789012:domain/vectors"
COLLECTION = "arn:aws:aoss:us-east-1:123456789012:collection/abcdefghij0123456789"
TEXTS = {
    "returns": ("Enterprise subscriptions may be returned within 45 days.", 2024),
    "errors": ("Error code ZX-4471 means the certificate has expired.", 2025),
    "shipping": ("Hardware is shipped by FedEx.", 2025),
}


@pytest.fixture(scope="module")
def searching(tmp_path_factory):
    """A server that knows an OpenSearch, which `make opensearch` put together."""
    script = subprocess.Popen([ROOT / "compat/opensearch/serve", ROOT / "compat/.opensearch"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
    said = script.stdout.readline().decode().strip()
    assert said.startswith("ready "), "OpenSearch did not start; `make opensearch` installs it"
    url = said.removeprefix("ready ")
    config = "".join(f'[[opensearch]]\nresource_arn = "{arn}"\nurl = "{url}"\n' for arn in (DOMAIN, COLLECTION))
    running = Server(tmp_path_factory.mktemp("searching"), config=config).start()
    yield running
    stopped = running.stop()
    script.stdin.close()
    script.wait(60)
    assert stopped == 0, running.tail()


def domain(arn: str) -> dict:
    return {"type": "OPENSEARCH_MANAGED_CLUSTER", "opensearchManagedClusterConfiguration": {
        "domainEndpoint": "https://search-vectors.us-east-1.es.amazonaws.com", "domainArn": arn,
        "vectorIndexName": "domain-index", "fieldMapping": FIELDS}}


@pytest.mark.parametrize("storage", [
    domain(DOMAIN),
    index_in(COLLECTION, "collection-index"),
], ids=["domain", "collection"])
def test_documents_are_found_and_go(searching, storage):
    agent, runtime = searching.client("bedrock-agent"), searching.client("bedrock-agent-runtime")
    base = searching.knowledge_base(storage)["knowledgeBaseId"]
    ids = searching.fill(base, [inline_document(name, text, year=year) for name, (text, year) in TEXTS.items()])
    find = lambda question, **vector: runtime.retrieve(
        knowledgeBaseId=base, retrievalQuery={"text": question},
        retrievalConfiguration={"vectorSearchConfiguration": vector})["retrievalResults"]
    found = find("ZX-4471", filter={"greaterThan": {"key": "year", "value": 2024}})
    assert [result["metadata"]["year"] for result in found] == [2025, 2025]
    assert "certificate" in found[0]["content"]["text"] and found[0]["score"] > 1.5 * found[1]["score"]
    meant = find("How long may large customers send something back?", overrideSearchType="SEMANTIC")
    assert "45 days" in meant[0]["content"]["text"] and 0.5 < meant[0]["score"] <= 1
    agent.delete_data_source(**ids)
    wait(lambda: not find("ZX-4471"))


def test_nobody_makes_the_server_reach_another_cluster(searching):
    with pytest.raises(ClientError, match="No OpenSearch is configured for") as refused:
        searching.knowledge_base(domain(DOMAIN + "-of-another"))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
