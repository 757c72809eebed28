import assert from "node:assert/strict";

import { presigned } from "../_shared/presigning.ts";

const KEYS = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  region: "us-east-1",
};
const NOW = new Date("2013-05-24T00:00:00Z");

Deno.test("the URL of Amazon's own example has Amazon's signature", async () => {
  const url = await presigned(
    {
      method: "GET",
      origin: "https://examplebucket.s3.amazonaws.com",
      path: "/test.txt",
      seconds: 86400,
    },
    KEYS,
    NOW,
  );

  assert.equal(
    url,
    "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256" +
      "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
      "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
      "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
  );
});

Deno.test("every part of the grant is signed", async () => {
  const grant = {
    method: "PUT",
    origin: "https://r2.example",
    path: "/bucket/results/a/mask.png",
    seconds: 60,
    headers: { "content-type": "image/png" },
  } as const;
  const signature = async (change: object) => {
    const url = new URL(await presigned({ ...grant, ...change }, KEYS, NOW));
    return url.searchParams.get("X-Amz-Signature");
  };
  const changes = [
    {},
    { method: "GET" },
    { origin: "https://other.example" },
    { path: "/bucket/results/a/overlay.webp" },
    { seconds: 61 },
    { headers: { "content-type": "text/html" } },
    { headers: { ...grant.headers, "content-length": "4" } },
  ];
  const signatures = await Promise.all(changes.map(signature));

  assert.equal(new Set(signatures).size, changes.length);
});
