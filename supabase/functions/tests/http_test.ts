import assert from "node:assert/strict";

import { Answer, NotHttp, requestOf } from "../deliver-webhooks/http.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** An answer that comes in pieces of `size` bytes. */
function arriving(text: string, size = 7): Answer {
  let left = utf8(text);
  return new Answer((into) => {
    const piece = left.subarray(0, Math.min(size, into.length));
    left = left.subarray(piece.length);
    into.set(piece);
    return Promise.resolve(piece.length || null);
  });
}

async function read(answer: Answer): Promise<[number, string]> {
  const head = await answer.head();
  let text = "";
  for await (const piece of answer.body(head)) text += new TextDecoder().decode(piece);
  return [head.status, text];
}

for (
  const [law, sent, status, text] of [
    ["by length", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyesno", 200, "yes"],
    ["to the end", "HTTP/1.0 500\r\nx: y\r\n\r\nto the end", 500, "to the end"],
    [
      "in chunks",
      "HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nyes\r\nA\r\n, they say\r\n0\r\n\r\n",
      202,
      "yes, they say",
    ],
    ["not at all", "HTTP/1.1 204 No Content\r\n\r\nrest", 204, ""],
    ["after 100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 410 Gone\r\n\r\n", 410, ""],
    ["with bare line ends", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok", 200, "ok"],
  ] as const
) {
  Deno.test(`a body is read ${law}`, async () => {
    for (const size of [1, 7, 4096]) {
      assert.deepEqual(await read(arriving(sent, size)), [status, text]);
    }
  });
}

for (
  const sent of [
    "",
    "SSH-2.0-OpenSSH\r\n",
    "HTTP/2 200\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-le",
    `HTTP/1.1 200 OK\r\nx: ${"y".repeat(20_000)}\r\n\r\n`,
    "HTTP/1.1 200 OK\r\n" + "x: y\r\n".repeat(5_000) + "\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n".repeat(2_000),
  ]
) {
  Deno.test(`refused as no HTTP: ${JSON.stringify(sent.slice(0, 40))}`, async () => {
    await assert.rejects(arriving(sent).head(), NotHttp);
  });
}

Deno.test("a line without an end is not read on", async () => {
  const endless = new Answer((into) => Promise.resolve(into.fill(65).length));

  await assert.rejects(endless.head(), NotHttp);
});

Deno.test("a chunk without a size is where the body breaks off", async () => {
  const sent = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";

  await assert.rejects(read(arriving(sent)), NotHttp);
});

Deno.test("a request is one POST, and no value becomes a header", () => {
  const url = new URL("https://receiver.example:8443/a%20b?c=d#e");
  const text = new TextDecoder().decode(requestOf(url, { x: "y" }, utf8('"ü"')));

  assert.equal(
    text,
    "POST /a%20b?c=d HTTP/1.1\r\nhost: receiver.example:8443\r\nconnection: close\r\nx: y\r\n" +
      'content-length: 4\r\n\r\n"ü"',
  );
  assert.throws(() => requestOf(url, { x: "y\r\nz: 1" }, utf8("")), NotHttp);
});
