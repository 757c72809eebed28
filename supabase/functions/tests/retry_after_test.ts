import assert from "node:assert/strict";

import { retryAfter } from "../deliver-webhooks/retry_after.ts";

const file = new URL("../../../tests/vectors/retry_after.json", import.meta.url);
const { now, vectors } = JSON.parse(await Deno.readTextFile(file)) as {
  now: string;
  vectors: { header: string; seconds: number | null }[];
};

Deno.test("Retry-After is read as Python reads it", () => {
  for (const { header, seconds } of vectors) {
    assert.equal(retryAfter(header, new Date(now)) ?? null, seconds, header);
  }
});
