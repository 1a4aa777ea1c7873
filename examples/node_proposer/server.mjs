// Serves ProposerService over gRPC, made from `protos/` when it starts: nothing is generated.
//
//     node server.mjs [--listen 127.0.0.1:0] [--protos ../../protos]
//
// Prints the address that it serves at. Calls have to carry the token in BURNISH_PROPOSERS_TOKEN.

import { timingSafeEqual } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { propose } from "./proposer.mjs";

const { values: options } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    protos: { type: "string", default: fileURLToPath(new URL("../../protos", import.meta.url)) },
  },
});
const MESSAGE_BYTES = 16 * 1024 * 1024;
const token = process.env.BURNISH_PROPOSERS_TOKEN ?? "";
if (!token) throw new Error("set BURNISH_PROPOSERS_TOKEN, here and for the controller");

function allowed(metadata) {
  const [given = ""] = metadata.get("authorization");
  const mine = Buffer.from(`Bearer ${token}`);
  const theirs = Buffer.from(String(given));
  return mine.length === theirs.length && timingSafeEqual(mine, theirs);
}

const UNAUTHENTICATED = {
  code: grpc.status.UNAUTHENTICATED,
  details: "send the proposer's token as `authorization: Bearer`",
};

const service = {
  ProposeInstructions(call) {
    if (!allowed(call.metadata)) {
      call.emit("error", UNAUTHENTICATED);
      return;
    }
    const { request } = call;
    if (!request.stage?.stage_id || request.count < 1) {
      const details = "`stage.stage_id` and `count` are needed";
      call.emit("error", { code: grpc.status.INVALID_ARGUMENT, details });
      return;
    }
    for (const answer of propose(request)) call.write(answer);
    call.end();
  },
  SummarizeDataset(call, answer) {
    if (!allowed(call.metadata)) return answer(UNAUTHENTICATED);
    return answer(null, { summary: "", usage: { cost_usd: 0 } });
  },
  ListProposers(call, answer) {
    if (!allowed(call.metadata)) return answer(UNAUTHENTICATED);
    const description = "Names the words that tell each answer from the others.";
    return answer(null, { proposers: [{ name: "words", description }] });
  },
};

const definition = protoLoader.loadSync(
  join(options.protos, "burnish/api/proposer/v1/proposer_service.proto"),
  { includeDirs: [options.protos], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true },
);
const { ProposerService } = grpc.loadPackageDefinition(definition).burnish.api.proposer.v1;
const server = new grpc.Server({ "grpc.max_receive_message_length": MESSAGE_BYTES });
server.addService(ProposerService.service, service);
server.bindAsync(options.listen, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`${options.listen.slice(0, options.listen.lastIndexOf(":"))}:${port}`);
});
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => server.tryShutdown(() => process.exit(0)));
}
