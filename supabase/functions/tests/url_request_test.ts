import assert from "node:assert/strict";

import { isUploadOf, MAX_FILE_BYTES } from "../_shared/contract.ts";
import { Refused } from "../_shared/envelope.ts";
import { urlRequestOf } from "../job-urls/url_request.ts";
import { thinOf } from "../notify-listener/forwarding.ts";

const MASK = { name: "mask.png", content_type: "image/png", bytes: 4 };

Deno.test("what fits the contract is taken", () => {
  const wanted = urlRequestOf({ token: 17, writes: [MASK] });

  assert.deepEqual(wanted, { token: 17, writes: [{ name: "mask.png", bytes: 4 }] });
  assert.deepEqual(urlRequestOf({ token: 17 }), { token: 17, writes: [] });
});

for (
  const [code, body] of [
    ["invalid_request", {}],
    ["invalid_request", { token: "17" }],
    ["invalid_request", { token: -1 }],
    ["invalid_request", { token: 1.5 }],
    ["invalid_request", { token: 17, writes: "mask.png" }],
    ["invalid_request", { token: 17, writes: [MASK, MASK, MASK, MASK] }],
    ["invalid_request", { token: 17, writes: [{ ...MASK, content_type: "text/html" }] }],
    ["invalid_request", { token: 17, writes: [{ ...MASK, bytes: MAX_FILE_BYTES + 1 }] }],
    ["invalid_request", { token: 17, writes: [{ ...MASK, bytes: undefined }] }],
    ["invalid_request", { token: 17, writes: [{ ...MASK, bytes: null }] }],
    ["invalid_request", { token: 17, writes: [{ ...MASK, bytes: "4" }] }],
    ["invalid_request", { token: 17, writes: [{ ...MASK, bytes: -1 }] }],
    ["forbidden", { token: 17, writes: [null] }],
    ["forbidden", { token: 17, writes: [{ ...MASK, name: "../mask.png" }] }],
  ] as const
) {
  Deno.test(`${code}: ${JSON.stringify(body)}`, () => {
    assert.throws(() => urlRequestOf(body), (error: Refused) => error.code === code);
  });
}

Deno.test("a listener is told ids, and nothing that a person wrote", () => {
  const record = { id: "one", kind: "image", status: "pending", prompts: ["a secret"], user_id: 1 };
  const body = { type: "INSERT", schema: "public", table: "segmentation_results", record };
  const hint = thinOf({ ...body, old_record: record });

  assert.deepEqual(JSON.parse(hint), {
    ...body,
    record: { id: "one", kind: "image", status: "pending" },
    old_record: null,
  });
});

Deno.test("an upload is one of its user's, and lies where uploads lie", () => {
  assert(isUploadOf("uploads/me/one.png", "me"));
  for (
    const key of [
      "uploads/you/one.png",
      "uploads/us/one.png",
      "resultz/me/one.png",
      "uploads/me/",
      "uploads/me/a/b.png",
      "uploads/me/..",
      "",
    ]
  ) {
    assert(!isUploadOf(key, "me"), key);
  }
});
