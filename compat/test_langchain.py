"""LangChain's ChatBedrock, ChatBedrockConverse and BedrockEmbeddings."""

import math

import pytest
import tools
from langchain_aws import BedrockEmbeddings, ChatBedrock, ChatBedrockConverse

CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"


def chat(kind, **options):
    return kind(model=CLAUDE, region_name="us-east-1", max_tokens=64, temperature=0, **options)


@pytest.mark.parametrize("kind", [ChatBedrock, ChatBedrockConverse])
def test_invoke(kind):
    answer = chat(kind).invoke([("system", "Be brief."), ("human", "Say hello.")])
    assert answer.content and answer.usage_metadata["output_tokens"] > 0


@pytest.mark.parametrize("kind", [ChatBedrock, ChatBedrockConverse])
def test_stream(kind):
    chunks = list(chat(kind).stream("Count from one to ten."))
    assert len(chunks) > 3
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text.strip() if isinstance(whole.text, str) else whole.text().strip()


@pytest.mark.parametrize("kind", [ChatBedrock, ChatBedrockConverse])
def test_tool(kind):
    model = chat(kind).bind_tools([tools.OPENAI_TOOL], tool_choice=tools.NAME)
    calls = model.invoke(tools.QUESTION).tool_calls
    assert calls and calls[0]["name"] == tools.NAME
    tools.check_arguments(calls[0]["args"])


@pytest.mark.parametrize("model", ["amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1", "cohere.embed-english-v3"])
def test_embeddings(model):
    embeddings = BedrockEmbeddings(model_id=model, region_name="us-east-1")
    cat, kitten, index = embeddings.embed_documents(["a cat", "a kitten", "a database index"])

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b)) / math.hypot(*a) / math.hypot(*b)

    assert cosine(cat, kitten) > cosine(cat, index)
    assert len(embeddings.embed_query("a cat")) == len(cat)
