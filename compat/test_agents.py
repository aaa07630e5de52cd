"""The control plane of agents through boto3: the seed's sample, and what programs call before and after it."""

import json
import time
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/AmazonBedrockExecutionRoleForAgents"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:order-support-handler"
MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"
INSTRUCTION = """You are an order support agent for Techoral Store.
When a customer asks about their order:
1. Use get_order_status to look up the current status.
2. If the order is delayed, use check_carrier_tracking for real-time carrier data.
3. If the customer wants to cancel, use initiate_cancellation.
Always be polite and concise. Never make up order information."""
SCHEMA = {
    "openapi": "3.0.0",
    "info": {"title": "Order Support API", "version": "1.0.0"},
    "paths": {
        "/get_order_status": {
            "get": {
                "operationId": "get_order_status",
                "description": "Retrieve the current status of a customer order",
                "parameters": [
                    {"name": "order_id", "in": "query", "required": True, "description": "The order ID (format: ORD-XXXXXX)", "schema": {"type": "string"}}
                ],
                "responses": {"200": {"description": "Order status returned"}},
            }
        },
        "/initiate_cancellation": {
            "post": {
                "operationId": "initiate_cancellation",
                "description": "Initiate cancellation of an order",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"type": "object", "properties": {"order_id": {"type": "string"}, "reason": {"type": "string"}}, "required": ["order_id", "reason"]}}},
                },
                "responses": {"200": {"description": "Cancellation initiated"}},
            }
        },
    },
}
YAML = """openapi: 3.0.0
info: {title: Weather, version: 1.0.0}
paths:
  /weather/{city}:
    get:
      operationId: getWeather
      description: |
        The weather of a city.
        Today's.
      parameters:
        - {$ref: '#/components/parameters/City'}
      responses:
        200: {description: The weather}
components:
  parameters:
    City: {name: city, in: path, required: true, description: A city's name, schema: {type: string}}
"""


def name(kind):
    return f"{kind}-{uuid.uuid4().hex[:8]}"


def wait_for_status(agents, agent_id, target):
    deadline = time.monotonic() + 30
    while (status := agents.get_agent(agentId=agent_id)["agent"]["agentStatus"]) != target:
        assert status != "FAILED" and time.monotonic() < deadline, status
        time.sleep(0.05)


@pytest.fixture
def agents(server):
    return server.client("bedrock-agent")


@pytest.fixture
def agent_id(agents):
    made = agents.create_agent(
        agentName=name("order-support-agent"), agentResourceRoleArn=ROLE, foundationModel=MODEL, instruction=INSTRUCTION, idleSessionTTLInSeconds=600
    )["agent"]
    yield made["agentId"]
    agents.delete_agent(agentId=made["agentId"], skipResourceInUseCheck=True)


def test_the_sample_is_prepared(agents, agent_id):
    group = agents.create_agent_action_group(
        agentId=agent_id,
        agentVersion="DRAFT",
        actionGroupName="order-operations",
        actionGroupExecutor={"lambda": FUNCTION},
        apiSchema={"payload": json.dumps(SCHEMA)},
        description="Functions for looking up and managing customer orders",
    )["agentActionGroup"]
    prepared = agents.prepare_agent(agentId=agent_id)
    assert prepared["agentStatus"] == "PREPARING" and prepared["agentVersion"] == "DRAFT"
    wait_for_status(agents, agent_id, "PREPARED")
    agent = agents.get_agent(agentId=agent_id)["agent"]
    assert agent["instruction"] == INSTRUCTION and agent["idleSessionTTLInSeconds"] == 600
    assert agent["preparedAt"] >= agent["createdAt"]
    got = agents.get_agent_action_group(agentId=agent_id, agentVersion="DRAFT", actionGroupId=group["actionGroupId"])["agentActionGroup"]
    assert json.loads(got["apiSchema"]["payload"]) == SCHEMA and got["actionGroupExecutor"] == {"lambda": FUNCTION}


def test_clean_up_as_samples_do(agents, agent_id):
    """Disable and delete the action group, delete every alias but the built-in one, then the agent."""
    group = agents.create_agent_action_group(
        agentId=agent_id,
        agentVersion="DRAFT",
        actionGroupName="VacationsActionGroup",
        actionGroupExecutor={"lambda": FUNCTION},
        functionSchema={
            "functions": [
                {"name": "get_available_vacations_days", "description": "days left", "parameters": {"employee_id": {"description": "the id of the employee", "required": True, "type": "integer"}}}
            ]
        },
    )["agentActionGroup"]
    agents.prepare_agent(agentId=agent_id)
    wait_for_status(agents, agent_id, "PREPARED")
    alias = agents.create_agent_alias(agentId=agent_id, agentAliasName="live", description="Live")["agentAlias"]
    assert alias["routingConfiguration"] == [{"agentVersion": "1"}]
    aliases = agents.list_agent_aliases(agentId=agent_id, maxResults=100)["agentAliasSummaries"]
    assert {"TSTALIASID", alias["agentAliasId"]} == {one["agentAliasId"] for one in aliases}
    with pytest.raises(agents.exceptions.ValidationException, match="TSTALIASID"):
        agents.delete_agent_alias(agentId=agent_id, agentAliasId="TSTALIASID")
    ids = {"agentId": agent_id, "agentVersion": "DRAFT", "actionGroupId": group["actionGroupId"]}
    with pytest.raises(agents.exceptions.ConflictException, match="VacationsActionGroup"):
        agents.delete_agent_action_group(**ids)
    agents.update_agent_action_group(
        **ids, actionGroupName=group["actionGroupName"], actionGroupExecutor=group["actionGroupExecutor"], functionSchema=group["functionSchema"], actionGroupState="DISABLED"
    )
    agents.delete_agent_action_group(**ids)
    with pytest.raises(agents.exceptions.ConflictException, match="live"):
        agents.delete_agent(agentId=agent_id)
    agents.delete_agent_alias(agentId=agent_id, agentAliasId=alias["agentAliasId"])
    summary = next(one for one in agents.list_agents(maxResults=1000)["agentSummaries"] if one["agentId"] == agent_id)
    assert summary["latestAgentVersion"] == "1"


def test_a_schema_in_a_bucket(server, agents, agent_id):
    s3, bucket = server.client("s3"), name("schemas")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="apis/weather.yaml", Body=YAML)
    group = {"agentId": agent_id, "agentVersion": "DRAFT", "actionGroupName": "weather", "actionGroupExecutor": {"customControl": "RETURN_CONTROL"}}
    where = {"s3BucketName": bucket, "s3ObjectKey": "apis/weather.yaml"}
    agents.create_agent_action_group(**group, apiSchema={"s3": where})
    agents.prepare_agent(agentId=agent_id)
    wait_for_status(agents, agent_id, "PREPARED")
    s3.put_object(Bucket=bucket, Key="apis/weather.yaml", Body=YAML.replace("in: path", "in: body"))
    agents.prepare_agent(agentId=agent_id)
    failed = agents.get_agent(agentId=agent_id)["agent"]
    assert failed["agentStatus"] == "FAILED" and failed["recommendedActions"]
    assert "paths./weather/{city}.get.parameters.0" in failed["failureReasons"][0] or "components.parameters.City.in" in failed["failureReasons"][0]
    with pytest.raises(agents.exceptions.ValidationException, match="can't be read"):
        agents.create_agent_action_group(**{**group, "actionGroupName": "other"}, apiSchema={"s3": {**where, "s3ObjectKey": "none.yaml"}})


def test_errors_are_the_modelled_ones(agents, agent_id):
    with pytest.raises(agents.exceptions.ResourceNotFoundException):
        agents.get_agent(agentId="AAAAAAAAAA")
    with pytest.raises(agents.exceptions.ConflictException):
        agents.create_agent(agentName=agents.get_agent(agentId=agent_id)["agent"]["agentName"])
    with pytest.raises(agents.exceptions.ValidationException, match="Not Prepared state"):
        agents.create_agent_alias(agentId=agent_id, agentAliasName="early")
    with pytest.raises(agents.exceptions.ResourceNotFoundException):
        agents.associate_agent_knowledge_base(agentId=agent_id, agentVersion="DRAFT", knowledgeBaseId="AAAAAAAAAA", description="x")
    with pytest.raises(ClientError, match="agentCollaboration"):
        agents.create_agent(agentName=name("bad"), agentCollaboration="ENABLED")


def test_a_supervisor(agents, agent_id):
    agents.prepare_agent(agentId=agent_id)
    wait_for_status(agents, agent_id, "PREPARED")
    alias = agents.create_agent_alias(agentId=agent_id, agentAliasName="v1")["agentAlias"]
    supervisor = agents.create_agent(
        agentName=name("supervisor"), agentResourceRoleArn=ROLE, foundationModel=MODEL, instruction=INSTRUCTION, agentCollaboration="SUPERVISOR"
    )["agent"]["agentId"]
    with pytest.raises(agents.exceptions.ValidationException, match="no agent collaborators are added"):
        agents.prepare_agent(agentId=supervisor)
    made = agents.associate_agent_collaborator(
        agentId=supervisor,
        agentVersion="DRAFT",
        agentDescriptor={"aliasArn": alias["agentAliasArn"]},
        collaboratorName="orders",
        collaborationInstruction="Everything about orders.",
        relayConversationHistory="TO_COLLABORATOR",
    )["agentCollaborator"]
    agents.prepare_agent(agentId=supervisor)
    wait_for_status(agents, supervisor, "PREPARED")
    listed = agents.list_agent_collaborators(agentId=supervisor, agentVersion="DRAFT")["agentCollaboratorSummaries"]
    assert [one["collaboratorName"] for one in listed] == ["orders"]
    agents.disassociate_agent_collaborator(agentId=supervisor, agentVersion="DRAFT", collaboratorId=made["collaboratorId"])
    agents.delete_agent(agentId=supervisor)


def test_a_guardrail_that_goes_fails_the_preparation(server, agents, agent_id):
    bedrock = server.client("bedrock")
    guardrail = bedrock.create_guardrail(name=name("words"), blockedInputMessaging="no", blockedOutputsMessaging="no", wordPolicyConfig={"wordsConfig": [{"text": "Globex"}]})
    agent = agents.get_agent(agentId=agent_id)["agent"]
    fields = {key: agent[key] for key in ("agentId", "agentName", "agentResourceRoleArn", "foundationModel", "instruction")}
    agents.update_agent(**fields, guardrailConfiguration={"guardrailIdentifier": guardrail["guardrailId"], "guardrailVersion": "DRAFT"})
    agents.prepare_agent(agentId=agent_id)
    wait_for_status(agents, agent_id, "PREPARED")
    bedrock.delete_guardrail(guardrailIdentifier=guardrail["guardrailId"])
    agents.prepare_agent(agentId=agent_id)
    failed = agents.get_agent(agentId=agent_id)["agent"]
    assert failed["agentStatus"] == "FAILED" and guardrail["guardrailId"] in failed["failureReasons"][0]


def test_tags(agents, agent_id):
    arn = agents.get_agent(agentId=agent_id)["agent"]["agentArn"]
    agents.tag_resource(resourceArn=arn, tags={"team": "blue", "stage": "test"})
    agents.untag_resource(resourceArn=arn, tagKeys=["stage"])
    assert agents.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "blue"}
