"""Knowledge bases through boto3, on the embedded embedding model: documents put in directly are found by meaning."""

import pytest
from conftest import index_in, inline_document, knowledge_base_request, wait

TEXTS = {
    "returns": "Enterprise subscriptions may be returned within 45 days of purchase for a full refund.",
    "shipping": "Hardware is shipped by FedEx within three business days from our Rotterdam warehouse.",
    "security": "Passwords must be at least 16 characters long. Single sign-on uses SAML 2.0.",
}


@pytest.fixture(scope="module")
def library(server):
    agent = server.client("bedrock-agent")
    base = server.knowledge_base()
    documents = [inline_document(name, text, year=2020 + n) for n, (name, text) in enumerate(TEXTS.items())]
    ids = server.fill(base["knowledgeBaseId"], documents)
    return agent, base, ids


def test_documents_are_found_by_meaning(server, library):
    runtime = server.client("bedrock-agent-runtime")
    for question, name in [("How long can a company send a product back?", "returns"), ("Which carrier do you use?", "shipping")]:
        found = runtime.retrieve(knowledgeBaseId=library[2]["knowledgeBaseId"], retrievalQuery={"text": question})["retrievalResults"]
        assert found[0]["content"]["text"] == TEXTS[name]
        assert found[0]["location"] == {"type": "CUSTOM", "customDocumentLocation": {"id": name}}
    found = runtime.retrieve(
        knowledgeBaseId=library[2]["knowledgeBaseId"], retrievalQuery={"text": "rules"},
        retrievalConfiguration={"vectorSearchConfiguration": {"filter": {"greaterThan": {"key": "year", "value": 2021}}}})
    assert [result["metadata"]["year"] for result in found["retrievalResults"]] == [2022]


def test_a_deleted_document_is_not_found(server, library):
    agent, _, ids = library
    agent.ingest_knowledge_base_documents(**ids, documents=[inline_document("extra", "The cafeteria serves soup on Tuesdays.", year=1999)])
    identifier = [{"dataSourceType": "CUSTOM", "custom": {"id": "extra"}}]
    status = lambda: agent.get_knowledge_base_documents(**ids, documentIdentifiers=identifier)["documentDetails"][0]["status"]
    wait(status, lambda status: status == "INDEXED")
    listed = agent.get_paginator("list_knowledge_base_documents").paginate(**ids, PaginationConfig={"PageSize": 2})
    names = [detail["identifier"]["custom"]["id"] for page in listed for detail in page["documentDetails"]]
    assert sorted(names) == sorted([*TEXTS, "extra"])
    agent.delete_knowledge_base_documents(**ids, documentIdentifiers=identifier)
    wait(status, lambda status: status == "NOT_FOUND")
    found = server.client("bedrock-agent-runtime").retrieve(knowledgeBaseId=ids["knowledgeBaseId"], retrievalQuery={"text": "soup"})
    assert all("soup" not in result["content"]["text"] for result in found["retrievalResults"])


def test_errors_are_aws_own(library):
    agent, base, ids = library
    with pytest.raises(agent.exceptions.ConflictException):
        storage = base["storageConfiguration"]["opensearchServerlessConfiguration"]
        agent.create_knowledge_base(**knowledge_base_request(index_in(storage["collectionArn"]), base["name"]))
    with pytest.raises(agent.exceptions.ResourceNotFoundException):
        agent.get_knowledge_base(knowledgeBaseId="NOSUCHBASE")
    with pytest.raises(agent.exceptions.ValidationException, match="IngestKnowledgeBaseDocuments"):
        agent.start_ingestion_job(**ids)
    assert agent.list_tags_for_resource(resourceArn=base["knowledgeBaseArn"])["tags"] == {}
    agent.tag_resource(resourceArn=base["knowledgeBaseArn"], tags={"team": "blue"})
    assert agent.list_tags_for_resource(resourceArn=base["knowledgeBaseArn"])["tags"] == {"team": "blue"}
