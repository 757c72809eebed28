import assert from "node:assert/strict";

import { isPublic, literalOf } from "../_shared/addresses.ts";
import { addressesOf, AddressRefused, NoAddress, type Resolve } from "../deliver-webhooks/guard.ts";

const file = new URL("../../../tests/vectors/addresses.json", import.meta.url);
const vectors = JSON.parse(await Deno.readTextFile(file)) as Record<"public" | "private", string[]>;

const NAME = new URL("https://receiver.example/hook");

/** A name server with those records; what it lacks, it fails at. */
function server(records: Partial<Record<"A" | "AAAA", string[]>>): Resolve {
  return (_, kind) => {
    const found = records[kind];
    return found ? Promise.resolve(found) : Promise.reject(new Deno.errors.NotFound());
  };
}

Deno.test("addresses of our own network, and what is no address, are not public", () => {
  assert.deepEqual(vectors.private.filter(isPublic), []);
});

Deno.test("negative control: addresses of the open internet are", () => {
  assert.deepEqual(vectors.public.filter((address) => !isPublic(address)), []);
});

Deno.test("a literal address is known in every spelling that a URL may have", () => {
  const hosts = ["http://0x7f.1/", "http://2130706433/", "http://[::ffff:7f00:1]/"];
  const literals = hosts.map((url) => literalOf(new URL(url).hostname));

  assert.deepEqual(literals.map((literal) => literal !== undefined && isPublic(literal)), [
    ...[false, false, false],
  ]);
  assert.equal(literalOf("example.com"), undefined);
});

Deno.test("plain http and private addresses are refused before anything is sent", async () => {
  const urls = ["http://1.1.1.1/", "https://127.1/", "https://[::1]/", "https://10.0.0.1/x"];
  for (const url of urls) await assert.rejects(addressesOf(new URL(url)), AddressRefused);
  assert.deepEqual(await addressesOf(new URL("https://1.1.1.1/")), ["1.1.1.1"]);
});

for (
  const records of [
    { A: ["10.0.0.1"] },
    { AAAA: ["::1"] },
    { A: ["1.1.1.1", "127.0.0.1"] },
    { A: ["1.1.1.1"], AAAA: ["fd00::1"] },
  ]
) {
  Deno.test(`a name with a private address is refused: ${JSON.stringify(records)}`, async () => {
    await assert.rejects(addressesOf(NAME, server(records)), AddressRefused);
  });
}

Deno.test("a public name is called by the addresses that were checked", async () => {
  const both = { A: ["1.1.1.1"], AAAA: ["2606:4700::1"] };

  assert.deepEqual(await addressesOf(NAME, server(both)), ["1.1.1.1", "2606:4700::1"]);
  assert.deepEqual(await addressesOf(NAME, server({ A: ["1.1.1.1"] })), ["1.1.1.1"]);
});

Deno.test("a name without an address is none of the guard's refusals", async () => {
  await assert.rejects(addressesOf(NAME, server({})), NoAddress);
  await assert.rejects(addressesOf(NAME, server({ A: [] })), NoAddress);
});

Deno.test("a name server that does not answer is not waited for", async () => {
  // A timer of `AbortSignal.timeout` alone would not keep the test alive.
  const alive = setTimeout(() => {}, 5_000);
  const silent: Resolve = (_, kind) =>
    kind === "A" ? Promise.resolve(["1.1.1.1"]) : new Promise(() => {});

  assert.deepEqual(await addressesOf(NAME, silent, 10), ["1.1.1.1"]);
  await assert.rejects(addressesOf(NAME, () => new Promise(() => {}), 10), NoAddress);
  clearTimeout(alive);
});
