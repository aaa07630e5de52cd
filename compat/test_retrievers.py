"""A knowledge base filled directly, through the retrievers of LangChain and LlamaIndex and boto3's own samples."""

import json

import pytest
from conftest import inline_document

CLAUDE = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20241022-v2:0"
TEXTS = {
    "returns": ("Enterprise subscriptions may be returned within 45 days of purchase for a full refund.", 2024),
    "shipping": ("Hardware is shipped by FedEx within 3 business days.", 2025),
    "errors": ("Error code ZX-4471 means the certificate has expired.", 2025),
}


@pytest.fixture(scope="module")
def knowledge_base(server):
    base = server.knowledge_base()["knowledgeBaseId"]
    server.fill(base, [inline_document(name, text, year=year) for name, (text, year) in TEXTS.items()])
    return base


def test_langchain(server, knowledge_base):
    from langchain_aws.retrievers import AmazonKnowledgeBasesRetriever

    retriever = AmazonKnowledgeBasesRetriever(
        knowledge_base_id=knowledge_base, client=server.client("bedrock-agent-runtime"), min_score_confidence=0.1,
        retrieval_config={"vectorSearchConfiguration": {"numberOfResults": 2, "filter": {
            "greaterThan": {"key": "year", "value": 2024}}}})
    found = retriever.invoke("What does ZX-4471 mean?")
    assert len(found) == 2 and "certificate" in found[0].page_content
    assert found[0].metadata["source_metadata"]["year"] == 2025 and 0 < found[0].metadata["score"] <= 1


def test_llama_index(server, knowledge_base, monkeypatch):
    from llama_index.retrievers.bedrock import AmazonKnowledgeBasesRetriever

    for name, value in server.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    retriever = AmazonKnowledgeBasesRetriever(
        knowledge_base_id=knowledge_base,
        retrieval_config={"vectorSearchConfiguration": {"numberOfResults": 2, "overrideSearchType": "HYBRID"}})
    found = retriever.retrieve("How long may enterprise customers return something?")
    assert "45 days" in found[0].node.text and found[0].score > 0


def test_answers_stream_and_remember(server, knowledge_base):
    runtime = server.client("bedrock-agent-runtime")
    configuration = {"type": "KNOWLEDGE_BASE", "knowledgeBaseConfiguration": {
        "knowledgeBaseId": knowledge_base, "modelArn": CLAUDE,
        "generationConfiguration": {"inferenceConfig": {"textInferenceConfig": {"maxTokens": 60}}}}}
    answer = runtime.retrieve_and_generate_stream(
        input={"text": "Within how many days may enterprise subscriptions be returned?"},
        retrieveAndGenerateConfiguration=configuration)
    events = list(answer["stream"])
    text = "".join(event["output"]["text"] for event in events if "output" in event)
    citations = [event["citation"] for event in events if "citation" in event]
    assert text.strip() and citations and answer["sessionId"]
    for citation in citations:
        part = citation["generatedResponsePart"]["textResponsePart"]
        assert text[part["span"]["start"]:part["span"]["end"] + 1] == part["text"]
    again = runtime.retrieve_and_generate(
        input={"text": "And who ships hardware?"}, sessionId=answer["sessionId"],
        retrieveAndGenerateConfiguration=configuration)
    assert again["sessionId"] == answer["sessionId"] and again["output"]["text"].strip()
    with pytest.raises(runtime.exceptions.ValidationException):
        runtime.retrieve_and_generate(input={"text": "x"}, sessionId="nobody-knows-it",
                                      retrieveAndGenerateConfiguration=configuration)


def test_pages(server, knowledge_base):
    pages = server.client("bedrock-agent-runtime").get_paginator("retrieve").paginate(
        knowledgeBaseId=knowledge_base, retrievalQuery={"text": "days"},
        retrievalConfiguration={"vectorSearchConfiguration": {"numberOfResults": 1}})
    texts = [result["content"]["text"] for page in pages for result in page["retrievalResults"]]
    assert sorted(texts) == sorted(text for text, _ in TEXTS.values())
    assert json.dumps(texts)
