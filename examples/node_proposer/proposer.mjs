// Writes instructions without a model: the words that tell each answer of the labelled rows from the
// others. Put your own writing into `write`; it has to give the same for the same request.

const WORD = /[\p{L}\p{N}']+/gu;
const MOST_TRIED = 64;
const TIPS = [
  "",
  "Read the whole message before you decide.",
  "Decide by what the writer wants, not by a single word.",
  "When two answers fit, choose the more specific one.",
];

/** Words of each answer, the ones that are most its own first. */
export function telling(rows) {
  const byAnswer = new Map();
  const total = new Map();
  for (const { input, output } of rows) {
    const counts = byAnswer.get(output) ?? new Map();
    byAnswer.set(output, counts);
    for (const word of new Set(input.toLowerCase().match(WORD) ?? [])) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
      total.set(word, (total.get(word) ?? 0) + 1);
    }
  }
  const found = new Map();
  for (const [answer, counts] of [...byAnswer].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const share = (word) => (counts.get(word) * counts.get(word)) / total.get(word);
    const words = [...counts.keys()].filter((word) => word.length > 2);
    words.sort((a, b) => share(b) - share(a) || (a < b ? -1 : 1));
    found.set(answer, words);
  }
  return found;
}

/** The instruction of a number, from 1: each takes other words, or another tip. */
export function write(request, index) {
  const lines = [request.stage.baseline_instruction];
  const count = 4 + 4 * ((index - 1) % 4);
  const answers = telling(request.examples);
  const classes = answers.size > 1 && answers.size * 2 <= request.examples.length;
  if (classes) {
    lines.push("", "Words that point to each answer:");
    for (const [answer, words] of answers) {
      lines.push(`- ${answer}: ${words.slice(0, count).join(", ")}`);
    }
  }
  const tip = TIPS[Math.floor((index - (classes ? 1 : 0)) / (classes ? 4 : 1)) % TIPS.length];
  if (tip) lines.push("", tip);
  const rationale = classes ? `${count} words for each of ${answers.size} answers` : "a tip";
  return { text: lines.join("\n"), rationale };
}

/** Yields the answers of a request: the baseline, then one instruction for each position. */
export function* propose(request) {
  const { stage_id, baseline_instruction } = request.stage;
  yield { instruction: { index: 0, stage_id, text: baseline_instruction } };
  // A later round is told what was tried before, and is to write something else.
  const known = new Set([...request.history.map((one) => one.text), ...request.avoid]);
  let number = 0;
  for (let index = 1; index <= request.count; index += 1) {
    let written;
    do written = write(request, (number += 1));
    while (known.has(written.text) && number < MOST_TRIED);
    yield { instruction: { index, stage_id, ...written, model: "words" } };
  }
  const description = `words of ${request.examples.length} rows`;
  yield { summary: { description, usage: { cost_usd: 0 } } };
}
