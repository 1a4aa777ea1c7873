// A verifier node in Node, whose stubs are made from `protos/` when it starts: nothing is generated
// beforehand.
//
// It scores how short the answer is: 1 up to `words` words, and less in proportion beyond. Where it
// reads the score of an earlier node, an answer that scored 0 there is not rewarded for brevity.
// Settings: `words`; default 20.
//
// Usage: node brevity.mjs [PORT] [PROTOS]; port 0 takes a free one. It prints its address.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const WORDS = 20;
const [port = "0", protos = fileURLToPath(new URL("../../../protos", import.meta.url))] =
  process.argv.slice(2);
const definition = protoLoader.loadSync(
  join(protos, "burnish/api/verifier/v1/verifier_node_service.proto"),
  // With defaults, what a request leaves out is there and empty.
  { includeDirs: [protos], keepCase: true, longs: String, oneofs: true, defaults: true },
);
const { VerifierNodeService } = grpc.loadPackageDefinition(definition).burnish.api.verifier.v1;

/** Answers a reward, or a failure: a rollout that cannot be judged is never scored 0. */
function evaluate({ node, rollout, inputs }) {
  if (rollout.output.length === 0) {
    const message = "the rollout has no output; let the task app return one";
    return { failure: { reason: "OUTPUT_MISSING", message } };
  }
  const most = node.remote.settings?.fields?.words?.numberValue || WORDS;
  const count = rollout.output.toString("utf8").split(/\s+/).filter(Boolean).length;
  const brief = Math.min(1, most / Math.max(count, 1));
  const wrong = Object.values(inputs).some((input) => input.fused === 0);
  const feedback = wrong ? "an earlier node scored 0" : `${count} words, ${most} are enough`;
  return { reward: { fused: wrong ? 0 : brief, criteria: { brief }, feedback } };
}

const server = new grpc.Server();
server.addService(VerifierNodeService.service, {
  EvaluateNode: ({ request }, answer) => answer(null, evaluate(request)),
});
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
  if (error) throw error;
  console.log(`127.0.0.1:${bound}`);
});
