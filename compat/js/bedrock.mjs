// The AWS SDK for JavaScript v3, as it comes: bedrock-runtime speaks HTTP/2 prior knowledge on an http:// endpoint.
import assert from "node:assert/strict";
import test from "node:test";
import { BedrockClient, ListFoundationModelsCommand } from "@aws-sdk/client-bedrock";
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from "@aws-sdk/client-bedrock-runtime";

const options = { region: process.env.AWS_REGION, endpoint: process.env.AWS_ENDPOINT_URL, maxAttempts: 1 };
const runtime = new BedrockRuntimeClient(options);
const modelId = "anthropic.claude-3-5-sonnet-20241022-v2:0";
const messages = [{ role: "user", content: [{ text: "Count from one to ten." }] }];
const question = [{ role: "user", content: [{ text: "What is the weather in Paris, in celsius? Use the tool." }] }];
// Bounded, because a small model may otherwise write a string until its tokens run out.
const schema = {
  type: "object",
  properties: { city: { type: "string", maxLength: 40 }, unit: { type: "string", enum: ["celsius", "fahrenheit"] } },
  required: ["city", "unit"],
  additionalProperties: false,
};

test.after(() => runtime.destroy());

test("converse", async () => {
  const answer = await runtime.send(new ConverseCommand({ modelId, messages, inferenceConfig: { maxTokens: 24 } }));
  assert.ok(answer.output.message.content[0].text.trim());
});

test("converse stream", async () => {
  const answer = await runtime.send(new ConverseStreamCommand({ modelId, messages, inferenceConfig: { maxTokens: 24 } }));
  const names = [];
  for await (const event of answer.stream) names.push(Object.keys(event)[0]);
  assert.equal(names[0], "messageStart");
  assert.deepEqual(names.slice(-2), ["messageStop", "metadata"]);
});

test("a forced tool call", async () => {
  const toolConfig = {
    tools: [{ toolSpec: { name: "get_weather", inputSchema: { json: schema } } }],
    toolChoice: { tool: { name: "get_weather" } },
  };
  const answer = await runtime.send(new ConverseCommand({ modelId, messages: question, toolConfig }));
  const call = answer.output.message.content.find((block) => block.toolUse).toolUse;
  assert.deepEqual(Object.keys(call.input).sort(), ["city", "unit"]);
});

test("invoke model, whole and streamed, on a model given by its ARN", async () => {
  const arn = `arn:aws:bedrock:us-east-1::foundation-model/${modelId}`;
  const body = JSON.stringify({
    anthropic_version: "bedrock-2023-05-31",
    max_tokens: 16,
    messages: [{ role: "user", content: "Say hello." }],
  });
  const whole = await runtime.send(new InvokeModelCommand({ modelId: arn, body, contentType: "application/json" }));
  assert.ok(JSON.parse(new TextDecoder().decode(whole.body)).content[0].text.trim());
  const streamed = await runtime.send(
    new InvokeModelWithResponseStreamCommand({ modelId: arn, body, contentType: "application/json" }),
  );
  const kinds = [];
  for await (const event of streamed.body) kinds.push(JSON.parse(new TextDecoder().decode(event.chunk.bytes)).type);
  assert.equal(kinds[0], "message_start");
  assert.equal(kinds.at(-1), "message_stop");
});

test("a modelled exception is thrown as its class", async () => {
  await assert.rejects(
    runtime.send(new ConverseCommand({ modelId: "nobody.no-such-model-v1:0", messages })),
    { name: "ValidationException" },
  );
});

test("control plane", async () => {
  const listed = await new BedrockClient(options).send(new ListFoundationModelsCommand({ byOutputModality: "TEXT" }));
  assert.ok(listed.modelSummaries.length > 20);
});
