import assert from "node:assert/strict";

import { isPublic, literalOf } from "../_shared/addresses.ts";
import { AddressRefused, checkAddress } from "../deliver-webhooks/guard.ts";

const PRIVATE = [
  ...["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"],
  ...["100.64.0.1", "192.0.0.192", "224.0.0.1", "255.255.255.255", "168.63.129.16"],
  ...["::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "3fff::1"],
  // An IPv4 address in IPv6's clothes.
  ...["::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0::1"],
  ...["localhost", "", "1.2.3", "1.2.3.4.5", "300.1.1.1"],
];

const PUBLIC = [
  ...["1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"],
];

Deno.test("addresses of our own network, and what is no address, are not public", () => {
  assert.deepEqual(PRIVATE.filter(isPublic), []);
});

Deno.test("negative control: addresses of the open internet are", () => {
  assert.deepEqual(PUBLIC.filter((address) => !isPublic(address)), []);
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
  for (const url of ["http://1.1.1.1/", "https://127.1/", "https://[::1]/", "https://10.0.0.1/x"]) {
    await assert.rejects(checkAddress(url), AddressRefused);
  }
  await checkAddress("https://1.1.1.1/");
});
