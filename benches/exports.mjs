// Runs what `spanqa export --format onnx --layout transformers.js` wrote in transformers.js, and compares.
//
//     npm install @huggingface/transformers
//     node exports.mjs FOLDER...
//
// Its tokenizer has to make the tokens of check.jsonl out of the texts, and its model the logits or vectors out of the tokens.

import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { AutoModel, AutoModelForQuestionAnswering, AutoTokenizer, Tensor, env } from "@huggingface/transformers";

const FILES = { fp32: "model.onnx", fp16: "model_fp16.onnx", q8: "model_quantized.onnx" };
// The project's limits; integers are judged by their answers, and only have to be near.
const LIMITS = { fp32: 1e-4, fp16: 2e-2, q8: 2.0 };

env.allowRemoteModels = false;

function tensor(rows) {
  return new Tensor("int64", BigInt64Array.from(rows[0], BigInt), [1, rows[0].length]);
}

function gap(found, expected) {
  return Math.max(...found.data.map((number, place) => Math.abs(number - expected[place])));
}

let failed = false;
for (const folder of process.argv.slice(2).map((name) => resolve(name))) {
  env.localModelPath = dirname(folder);
  const name = basename(folder);
  const rows = readFileSync(join(folder, "check.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
  const answers = "start_logits" in rows[0];
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  let otherTokens = 0;
  for (const row of rows) {
    const { input_ids } = answers ? await tokenizer(row.question, { text_pair: row.context }) : await tokenizer(row.text);
    // A long text is cut into windows by whoever asks; its first tokens are those of the window.
    const ids = Array.from(input_ids.data, Number).slice(0, row.input_ids[0].length - 1);
    otherTokens += ids.some((id, place) => id !== row.input_ids[0][place]) ? 1 : 0;
  }
  const gaps = {};
  for (const [dtype, file] of Object.entries(FILES).filter(([, file]) => existsSync(join(folder, "onnx", file)))) {
    const model = await (answers ? AutoModelForQuestionAnswering : AutoModel).from_pretrained(name, { dtype });
    gaps[dtype] = 0;
    for (const row of rows) {
      const inputs = ["input_ids", "attention_mask", "token_type_ids"].filter((key) => key in row);
      const found = await model(Object.fromEntries(inputs.map((key) => [key, tensor(row[key])])));
      for (const key of ["start_logits", "end_logits", "sentence_embedding"].filter((key) => key in row)) {
        gaps[dtype] = Math.max(gaps[dtype], gap(found[key], row[key][0].length ? row[key][0] : row[key]));
      }
    }
    failed ||= !(gaps[dtype] <= LIMITS[dtype]);
  }
  failed ||= otherTokens > 0;
  console.log(name, `${rows.length} inputs, ${otherTokens} with other tokens, largest differences`, gaps);
}
process.exitCode = failed ? 1 : 0;
