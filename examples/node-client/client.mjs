// Submits a job for a task app and watches it to its end.
//
//     node client.mjs --app http://127.0.0.1:8101 [--rollouts 120] [--json]
//
// BURNISH_TARGET is host:port of the controller; its token is in BURNISH_AUTH_TOKEN, or in the file
// that BURNISH_AUTH_TOKEN_FILE names. Exit code 1: the job did not succeed.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Jobs, PROTOS, struct } from "./jobs.mjs";

const { values: options } = parseArgs({
  options: {
    app: { type: "string" },
    rollouts: { type: "string", default: "120" },
    seed: { type: "string", default: "0" },
    protos: { type: "string", default: PROTOS },
    json: { type: "boolean", default: false },
  },
});

/** Pools out of the app's own splits: a few training rows, some to choose by, and held-out ones. */
async function pools(app) {
  const answer = await fetch(`${app}/task_info`, { signal: AbortSignal.timeout(30_000) });
  if (!answer.ok) throw new Error(`${app}/task_info answered ${answer.status}`);
  const { taskset } = await answer.json();
  const split = Object.fromEntries(taskset.splits.map((one) => [one.name, one]));
  if (!split.train || !split.test) throw new Error("the app tells no splits `train` and `test`");
  const first = split.train.start;
  const range = (start, end) => ({ ranges: [{ start, end }] });
  return {
    bootstrap_pool: range(first, first + 30),
    online_pool: range(first + 30, first + 60),
    validation_pool: range(first + 60, first + 80),
    test_pool: range(split.test.start, Math.min(split.test.end, split.test.start + 60)),
  };
}

async function jobSpec(app) {
  return {
    display_name: "from Node",
    task_app: { uri: app },
    algorithm: "mipro",
    algorithm_settings: struct({
      num_iterations: 4,
      num_evaluations_per_iteration: 2,
      batch_size: 5,
    }),
    random_seed: options.seed,
    policy_model: {
      provider: "local",
      model: "local-reader",
      temperature: 0,
      max_output_tokens: 64,
    },
    proposer: {
      effort: "EFFORT_MEDIUM",
      instruction_count: 3,
      retry_limit: 3,
      meta_model: { provider: "local", model: "local-proposer" },
    },
    offline: {
      ...(await pools(app)),
      bootstrap: { max_bootstrapped_demos: 4, max_labelled_demos: 4, max_demo_sets: 4 },
    },
    budget: { max_rollouts: options.rollouts },
  };
}

function bearerToken() {
  const file = process.env.BURNISH_AUTH_TOKEN_FILE;
  const token = process.env.BURNISH_AUTH_TOKEN ?? (file && readFileSync(file, "utf8").trim());
  if (!token) throw new Error("set BURNISH_AUTH_TOKEN or BURNISH_AUTH_TOKEN_FILE");
  return token;
}

function say(value, text) {
  console.log(options.json ? JSON.stringify(value) : text);
}

async function main() {
  const target = process.env.BURNISH_TARGET;
  if (!target) throw new Error("set BURNISH_TARGET to host:port of the controller");
  if (!options.app) throw new Error("name the task app: --app http://127.0.0.1:8101");
  const jobs = new Jobs({ target, token: bearerToken(), protos: options.protos });
  try {
    const { name } = await jobs.create(await jobSpec(options.app));
    say({ name }, `created ${name}`);
    for await (const event of jobs.watch(name)) {
      say({ event }, `${event.sequence.padStart(4)}  ${event.message}`);
    }
    const job = await jobs.get(name);
    const result = await jobs.result(name);
    say({ job, result }, `${job.state}: ${result.verdict}`);
    return job.state === "JOB_STATE_SUCCEEDED" ? 0 : 1;
  } finally {
    jobs.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`error: ${error.details ?? error.message}`);
  process.exitCode = 1;
}
