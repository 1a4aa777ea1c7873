// Makes every kind of call with the openai package and prints what the app would get, as one JSON object.
//
//     node calls.mjs PACKAGE all|failing [BASE_URL]
//
// Without a base URL the package takes it from OPENAI_BASE_URL.

import { readFileSync } from "node:fs";

const [name, what, baseURL] = process.argv.slice(2);
const { messages, instructions, input, tool } = JSON.parse(readFileSync(0, "utf8"));
const { default: OpenAI } = await import(name);
const app = new OpenAI({ baseURL, timeout: 30_000 });
const chat = { model: "gpt-mine", messages };
const response = { model: "gpt-mine", instructions, input };

async function all() {
  const whole = await app.chat.completions.create(chat);
  let streamed = "";
  for await (const event of await app.chat.completions.create({ ...chat, stream: true })) {
    streamed += event.choices[0]?.delta?.content ?? "";
  }
  const called = await app.chat.completions
    .stream({ ...chat, tools: [tool] })
    .finalChatCompletion();
  const schema = { name: "intent", schema: tool.function.parameters, strict: true };
  const formed = await app.chat.completions.parse({
    ...chat,
    response_format: { type: "json_schema", json_schema: schema },
  });
  const answered = await app.responses.create(response);
  const final = await app.responses.stream(response).finalResponse();
  const embedded = await app.embeddings.create({
    model: "e",
    input: ["a", "b"],
    encoding_format: "float",
  });
  const models = [];
  for await (const model of app.models.list()) models.push(model.id);
  return {
    whole: whole.choices[0].message.content,
    tokens: whole.usage.total_tokens,
    streamed,
    called: called.choices[0].message.tool_calls[0].function.arguments,
    formed: JSON.parse(formed.choices[0].message.content),
    answered: answered.output_text,
    final: final.output_text,
    instructions: [answered.instructions, final.instructions],
    embedded: embedded.data.map((one) => one.embedding),
    models,
    retrieved: (await app.models.retrieve(models[0])).id,
  };
}

async function failing() {
  try {
    await app.chat.completions.create(chat);
  } catch (error) {
    const kinds = Object.keys(OpenAI).filter((one) => error.constructor === OpenAI[one]);
    return { kind: kinds[0], status: error.status, code: error.code, message: error.message };
  }
  return {};
}

console.log(JSON.stringify(await (what === "all" ? all() : failing())));
