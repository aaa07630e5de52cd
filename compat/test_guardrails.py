"""Guardrails with boto3: made, versioned, applied alone and with models."""

import json
import uuid

import pytest

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
BLOCKED = "I cannot process that request."


@pytest.fixture(scope="module")
def guardrail(server):
    bedrock = server.client("bedrock")
    made = bedrock.create_guardrail(
        name=f"compat-{uuid.uuid4().hex[:8]}",
        wordPolicyConfig={"wordsConfig": [{"text": "moonshine"}], "managedWordListsConfig": [{"type": "PROFANITY"}]},
        sensitiveInformationPolicyConfig={
            "piiEntitiesConfig": [
                {"type": "EMAIL", "action": "ANONYMIZE"},
                {"type": "US_SOCIAL_SECURITY_NUMBER", "action": "BLOCK"},
            ],
            "regexesConfig": [{"name": "ticket", "pattern": r"TCK-\d{4}", "action": "ANONYMIZE"}],
        },
        blockedInputMessaging=BLOCKED,
        blockedOutputsMessaging="I cannot say that.",
        tags=[{"key": "team", "value": "blue"}],
    )
    version = bedrock.create_guardrail_version(guardrailIdentifier=made["guardrailArn"], description="first")
    assert made["version"] == "DRAFT" and version["version"] == "1"
    yield made
    bedrock.delete_guardrail(guardrailIdentifier=made["guardrailId"])


def test_it_is_shown_and_listed(server, guardrail):
    bedrock = server.client("bedrock")
    shown = bedrock.get_guardrail(guardrailIdentifier=guardrail["guardrailId"], guardrailVersion="1")
    assert shown["status"] == "READY" and shown["version"] == "1" and shown["description"] == "first"
    assert shown["wordPolicy"]["words"][0]["text"] == "moonshine"
    assert shown["sensitiveInformationPolicy"]["piiEntities"][0]["inputAction"] == "ANONYMIZE"
    listed = bedrock.list_guardrails(guardrailIdentifier=guardrail["guardrailId"])["guardrails"]
    assert [it["version"] for it in listed] == ["DRAFT", "1"]
    tags = bedrock.list_tags_for_resource(resourceARN=guardrail["guardrailArn"])["tags"]
    assert tags == [{"key": "team", "value": "blue"}]


def test_it_is_applied_alone(server, guardrail):
    runtime = server.client("bedrock-runtime")

    def apply(text, **more):
        return runtime.apply_guardrail(
            guardrailIdentifier=guardrail["guardrailId"], guardrailVersion="1", source="INPUT",
            content=[{"text": {"text": text}}], **more,
        )

    masked = apply("Write to ann@example.com about TCK-1234")
    assert masked["action"] == "GUARDRAIL_INTERVENED" and masked["actionReason"] == "Guardrail masked."
    assert masked["outputs"] == [{"text": "Write to {EMAIL} about {ticket}"}]
    found = masked["assessments"][0]["sensitiveInformationPolicy"]
    assert found["piiEntities"][0]["match"] == "ann@example.com" and found["regexes"][0]["name"] == "ticket"
    assert masked["usage"]["wordPolicyUnits"] == 1 and masked["usage"]["topicPolicyUnits"] == 0
    blocked = apply("some m o o n s h i n e please")
    assert blocked["outputs"] == [{"text": BLOCKED}]
    assert apply("hello")["action"] == "NONE"
    assert apply("hello", outputScope="FULL")["outputs"] == []


def test_it_guards_converse(server, guardrail):
    runtime = server.client("bedrock-runtime")
    config = {"guardrailIdentifier": guardrail["guardrailId"], "guardrailVersion": "1", "trace": "enabled"}

    def ask(text):
        messages = [{"role": "user", "content": [{"text": text}]}]
        return dict(modelId=CLAUDE, messages=messages, inferenceConfig={"maxTokens": 12, "temperature": 0})

    answer = runtime.converse(**ask("My number is 536-90-4399"), guardrailConfig=config)
    assert answer["stopReason"] == "guardrail_intervened" and answer["usage"]["totalTokens"] == 0
    assert answer["output"]["message"]["content"][0]["text"] == BLOCKED
    assessment = answer["trace"]["guardrail"]["inputAssessment"][guardrail["guardrailId"]]
    assert assessment["sensitiveInformationPolicy"]["piiEntities"][0]["action"] == "BLOCKED"
    assert runtime.converse(**ask("Say hello."), guardrailConfig=config)["stopReason"] in ("end_turn", "max_tokens")
    events = list(runtime.converse_stream(**ask("moonshine"), guardrailConfig={**config, "streamProcessingMode": "sync"})["stream"])
    text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
    stop = next(event["messageStop"]["stopReason"] for event in events if "messageStop" in event)
    assert (text, stop) == (BLOCKED, "guardrail_intervened")


def test_it_guards_invoke_model(server, guardrail):
    runtime = server.client("bedrock-runtime")
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 12, "messages": [{"role": "user", "content": "536-90-4399"}]}
    answer = runtime.invoke_model(
        modelId=CLAUDE, body=json.dumps(body), guardrailIdentifier=guardrail["guardrailId"], guardrailVersion="1", trace="ENABLED",
    )
    answer = json.loads(answer["body"].read())
    assert answer["amazon-bedrock-guardrailAction"] == "INTERVENED" and answer["content"][0]["text"] == BLOCKED
    assert answer["amazon-bedrock-trace"]["guardrail"]["input"][guardrail["guardrailId"]]


def test_denied_topics_are_known_by_their_meaning(server):
    bedrock, runtime = server.client("bedrock"), server.client("bedrock-runtime")
    made = bedrock.create_guardrail(
        name=f"topics-{uuid.uuid4().hex[:8]}",
        topicPolicyConfig={"topicsConfig": [{
            "name": "legal-advice", "type": "DENY",
            "definition": "Requests for specific legal advice, interpretation of contracts, or legal representation",
            "examples": ["Can I sue my employer for this?", "Is my NDA enforceable?"]}, {
            "name": "competitor-comparison", "type": "DENY",
            "definition": "Questions asking to compare Techoral products against specific named competitors",
            "examples": ["How does Techoral compare to Competitor X?"]}]},
        blockedInputMessaging=BLOCKED, blockedOutputsMessaging="I cannot say that.")

    def action(text):
        content = [{"text": {"text": text}}]
        return runtime.apply_guardrail(guardrailIdentifier=made["guardrailId"], guardrailVersion="DRAFT", source="INPUT", content=content)["action"]

    for denied in ("Would it be possible to take my company to court over this?", "Should I file a lawsuit against my boss?",
                   "Is Techoral better than Globex?"):
        assert action(denied) == "GUARDRAIL_INTERVENED", denied
    for fine in ("What is your refund policy?", "How do I change the delivery address of my order?", "Which Techoral plan has SSO?"):
        assert action(fine) == "NONE", fine
    bedrock.delete_guardrail(guardrailIdentifier=made["guardrailId"])
