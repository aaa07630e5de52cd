"""LlamaIndex's Bedrock Converse model and Bedrock embeddings."""

import tools
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.bedrock import BedrockEmbedding
from llama_index.llms.bedrock_converse import BedrockConverse

CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"


def model():
    return BedrockConverse(model=CLAUDE, region_name="us-east-1", max_tokens=64, temperature=0)


def test_chat():
    answer = model().chat([ChatMessage(role="user", content="Say hello.")])
    assert answer.message.content.strip()


def test_stream():
    chunks = list(model().stream_chat([ChatMessage(role="user", content="Count from one to ten.")]))
    assert len(chunks) > 3 and chunks[-1].message.content.strip()


def test_tool():
    def get_weather(city: str, unit: str) -> str:
        """Gives the current weather of a city."""
        return f"21 {unit} in {city}"

    tool = FunctionTool.from_defaults(get_weather)
    answer = model().chat_with_tools([tool], user_msg=tools.QUESTION, tool_required=True)
    calls = model().get_tool_calls_from_response(answer)
    # LlamaIndex's schema leaves further properties open, so the model may add some.
    assert calls[0].tool_name == "get_weather" and {"city", "unit"} <= set(calls[0].tool_kwargs)


def test_embeddings():
    vector = BedrockEmbedding(model_name="amazon.titan-embed-text-v2:0", region_name="us-east-1").get_text_embedding("a cat")
    assert len(vector) == 1024
