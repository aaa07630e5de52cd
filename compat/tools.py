"""The tool that every client offers to the model, and what a call of it must look like."""

NAME = "get_weather"
DESCRIPTION = "Gives the current weather of a city."
SCHEMA = {
    "type": "object",
    "properties": {
        # Bounded, because a small model may otherwise write a string until its tokens run out.
        "city": {"type": "string", "description": "Name of the city", "maxLength": 40},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
QUESTION = "What is the weather in Paris, in celsius? Use the tool."

CONVERSE_TOOL_CONFIG = {
    "tools": [{"toolSpec": {"name": NAME, "description": DESCRIPTION, "inputSchema": {"json": SCHEMA}}}],
    "toolChoice": {"tool": {"name": NAME}},
}
OPENAI_TOOL = {"type": "function", "function": {"name": NAME, "description": DESCRIPTION, "parameters": SCHEMA}}
ANTHROPIC_TOOL = {"name": NAME, "description": DESCRIPTION, "input_schema": SCHEMA}


def check_arguments(arguments: dict) -> None:
    """The arguments satisfy the schema: a forced call to a local model always does."""
    assert set(arguments) == {"city", "unit"}, arguments
    assert isinstance(arguments["city"], str) and arguments["unit"] in ("celsius", "fahrenheit"), arguments
