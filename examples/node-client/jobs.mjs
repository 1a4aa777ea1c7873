// A client of JobService over plain gRPC, made from `protos/` when it starts: nothing is generated.

import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

export const PROTOS = fileURLToPath(new URL("../../protos", import.meta.url));
export const FINAL_STATES = new Set([
  "JOB_STATE_SUCCEEDED",
  "JOB_STATE_FAILED",
  "JOB_STATE_CANCELLED",
]);

const DEADLINE_MS = 60_000;
const RECONNECT_MS = 500;
// Messages are up to 16 MiB; calls that met a server that was away are repeated.
const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": 16 * 1024 * 1024,
  "grpc.service_config": JSON.stringify({
    methodConfig: [
      {
        name: [{ service: "burnish.api.job.v1.JobService" }],
        retryPolicy: {
          maxAttempts: 5,
          initialBackoff: "0.1s",
          maxBackoff: "2s",
          backoffMultiplier: 2,
          retryableStatusCodes: ["UNAVAILABLE"],
        },
      },
    ],
  }),
};

/** Jobs of one controller. Close it when done. */
export class Jobs {
  #stub;
  #token;

  /** `target` is host:port of the controller, `token` its bearer token. */
  constructor({ target, token, protos = PROTOS }) {
    const definition = protoLoader.loadSync(
      join(protos, "burnish/api/job/v1/job_service.proto"),
      // 64-bit numbers as strings are exact; absent optional fields stay absent.
      { includeDirs: [protos], keepCase: true, longs: String, enums: String, oneofs: true },
    );
    const { JobService } = grpc.loadPackageDefinition(definition).burnish.api.job.v1;
    this.#stub = new JobService(target, grpc.credentials.createInsecure(), CHANNEL_OPTIONS);
    this.#token = token;
  }

  /** Creates a job and returns it. Repeating the call with the same `requestId` creates no second. */
  async create(spec, { requestId = randomUUID() } = {}) {
    return (await this.#call("CreateJob", { spec, request_id: requestId })).job;
  }

  async get(name) {
    return (await this.#call("GetJob", { name })).job;
  }

  async result(name) {
    return (await this.#call("GetJobResult", { name })).result;
  }

  /** Yields every event of a job, each once and in order, until the job has reached its end. */
  async *watch(name, { afterSequence = "0" } = {}) {
    let seen = BigInt(afterSequence);
    for (;;) {
      const stream = this.#stub.WatchJob(
        { name, after_sequence: seen.toString() },
        this.#metadata(),
      );
      try {
        for await (const { event } of stream) {
          if (!event) continue; // a heartbeat
          const sequence = BigInt(event.sequence);
          if (sequence !== seen + 1n) {
            throw new Error(`event ${sequence} came after event ${seen}`);
          }
          seen = sequence;
          yield event;
          if (FINAL_STATES.has(event.state_changed?.to_state)) return;
        }
      } catch (error) {
        if (error.code !== grpc.status.UNAVAILABLE) throw error;
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      } finally {
        stream.cancel();
      }
    }
  }

  close() {
    this.#stub.close();
  }

  #metadata() {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${this.#token}`);
    return metadata;
  }

  #call(method, request) {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + DEADLINE_MS };
      this.#stub[method](request, this.#metadata(), options, (error, response) =>
        error ? reject(error) : resolve(response),
      );
    });
  }
}

/** Turns an object of plain values into a google.protobuf.Struct. */
export function struct(values) {
  const fields = {};
  for (const [key, value] of Object.entries(values)) fields[key] = structValue(value);
  return { fields };
}

function structValue(value) {
  if (value === null) return { nullValue: "NULL_VALUE" };
  if (typeof value === "number") return { numberValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value === "string") return { stringValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(structValue) } };
  return { structValue: struct(value) };
}
