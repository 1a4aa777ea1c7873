// Makes one call of each kind with the unmodified openai client and prints what it understood,
// one JSON object a line.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "the app's own", maxRetries: 0 });
const messages = [
  { role: "system", content: process.argv[3] },
  { role: "user", content: "Query: where is my card" },
];
const tools = [
  { type: "function", function: { name: "classify", parameters: { type: "object", properties: {} } } },
];

const say = (kind, value) => console.log(JSON.stringify({ kind, ...value }));

const chat = await client.chat.completions.create({ model: "m", messages });
say("chat", { text: chat.choices[0].message.content, used: chat.usage.prompt_tokens });

let text = "";
let used = null;
const options = { include_usage: true };
for await (const event of await client.chat.completions.create({
  model: "m", messages, stream: true, stream_options: options,
})) {
  text += event.choices[0]?.delta?.content ?? "";
  used = event.usage ?? used;
}
say("chat stream", { text, used: used.prompt_tokens });

const runner = client.chat.completions.stream({ model: "m", messages, tools });
const called = await runner.finalChatCompletion();
say("chat tools", { text: called.choices[0].message.tool_calls[0].function.arguments });

const input = "Query: where is my card";
const response = await client.responses.create({ model: "m", instructions: process.argv[3], input });
say("responses", { text: response.output_text, instructions: response.instructions });

const stream = client.responses.stream({ model: "m", instructions: process.argv[3], input });
const kinds = [];
for await (const event of stream) kinds.push(event.type);
const { output } = await stream.finalResponse();
say("responses stream", { text: output[0].content[0].text, last: kinds.at(-1) });

try {
  await client.responses.create({ model: "m", input, previous_response_id: "resp_1" });
} catch (error) {
  say("refused", { status: error.status, text: error.message, id: error.requestID });
}
