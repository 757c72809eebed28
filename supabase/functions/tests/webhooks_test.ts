import assert from "node:assert/strict";

import { equal, SignatureError, signedHeaders, utf8, verify } from "../_shared/webhooks.ts";

interface Vector {
  name: string;
  law: string;
  error: string | null;
  now: number;
  secrets: string[];
  headers: Record<string, string>;
  body: string;
}

const file = new URL("../../../tests/vectors/webhook_signatures.json", import.meta.url);
const { vectors } = JSON.parse(await Deno.readTextFile(file)) as { vectors: Vector[] };

Deno.test("there are vectors that pass and vectors that do not", () => {
  assert(vectors.some((vector) => vector.error === null));
  assert(vectors.some((vector) => vector.error !== null));
});

for (const vector of vectors) {
  Deno.test(`${vector.name}: ${vector.law}`, async () => {
    const { secrets, now } = vector;
    const proof = verify(secrets, headersOf(vector), utf8(vector.body), now);
    const fault = await proof.then(() => null, (error: SignatureError) => error.fault);

    assert.equal(fault, vector.error);
  });
}

Deno.test("what we sign is taken, by each of two secrets", async () => {
  const secrets = ["whsec_AAECAwQFBgcICQoLDA0ODw==", "whsec_EBESExQVFhcYGRobHB0eHw=="];
  const body = utf8('{"name":"Zoë"}');
  const headers = new Headers(await signedHeaders(secrets, "msg_1", 1000, body));
  for (const secret of secrets) {
    assert.equal(await verify([secret], headers, body, 1000), "msg_1");
  }
});

Deno.test("two texts are equal or not, whatever their lengths", async () => {
  assert(await equal("secret", "secret"));
  assert(!await equal("secret", "secreT"));
  assert(!await equal("secret", "secret2"));
  assert(!await equal("", "secret"));
});

function headersOf(vector: Vector): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(vector.headers)) headers.append(name, value);
  return headers;
}
