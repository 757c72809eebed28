// As much of HTTP/1.1 as one POST needs: a request written whole, an answer read up to a bound.

/** Status and headers together; of a longer head nothing more is read. */
const MOST_HEAD_BYTES = 16 * 1024;

const MOST_READ_AT_ONCE = 4 * 1024;

export class NotHttp extends Error {}

/** Reads at most as much as fits; answers how much it was, or null at the end. */
export type Read = (into: Uint8Array) => Promise<number | null>;

type Bytes = Uint8Array<ArrayBuffer>;

/** Names in lower case; of several headers with one name the first. */
export interface Head {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
}

/** A POST of `body`, after which the connection is to be closed. */
export function requestOf(url: URL, headers: Record<string, string>, body: Bytes): Bytes {
  const all = {
    host: url.host,
    connection: "close",
    ...headers,
    "content-length": String(body.length),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  const head = [`POST ${url.pathname}${url.search} HTTP/1.1`, ...lines, "", ""].join("\r\n");
  // A value with a line break in it would become another header.
  if (head.split("\n").length !== lines.length + 3) throw new NotHttp();
  return joined(new TextEncoder().encode(head), body);
}

/** The answer that comes in, read piece by piece. */
export class Answer {
  #rest: Bytes = new Uint8Array();
  #headBytes = 0;

  constructor(private readonly read: Read) {}

  /** Status and headers; interim answers such as "100 Continue" are skipped. Throws NotHttp. */
  async head(): Promise<Head> {
    while (true) {
      const status = statusOf(await this.#headLine());
      const headers = new Map<string, string>();
      for (let line = await this.#headLine(); line !== ""; line = await this.#headLine()) {
        const [name, ...value] = line.split(":");
        const known = name.toLowerCase();
        if (!headers.has(known)) headers.set(known, value.join(":").trim());
      }
      if (status === 101 || status >= 200) return { status, headers };
    }
  }

  /** The body's bytes as they come, until its end. Throws NotHttp when it breaks off. */
  async *body({ status, headers }: Head): AsyncGenerator<Bytes> {
    if (status === 204 || status === 304) return;
    if (/\bchunked$/i.test(headers.get("transfer-encoding") ?? "")) yield* this.#chunks();
    else yield* this.#some(numberOf(headers.get("content-length") ?? "", 10) ?? Infinity);
  }

  async *#chunks(): AsyncGenerator<Bytes> {
    while (true) {
      const size = numberOf((await this.#headLine()).split(";")[0].trim(), 16);
      if (size === undefined) throw new NotHttp();
      if (size === 0) return;
      yield* this.#some(size);
      await this.#headLine();
    }
  }

  /** `count` bytes, or as many as come. */
  async *#some(count: number): AsyncGenerator<Bytes> {
    for (let left = count; left > 0;) {
      if (this.#rest.length === 0 && !await this.#more()) return;
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async #headLine(): Promise<string> {
    let end = this.#rest.indexOf(10);
    while (end < 0) {
      if (this.#rest.length > MOST_HEAD_BYTES || !await this.#more()) throw new NotHttp();
      end = this.#rest.indexOf(10);
    }
    const line = this.#rest.subarray(0, end);
    this.#rest = this.#rest.subarray(end + 1);
    this.#headBytes += end + 1;
    if (this.#headBytes > MOST_HEAD_BYTES) throw new NotHttp();
    return new TextDecoder("latin1").decode(line).replace(/\r$/, "");
  }

  async #more(): Promise<boolean> {
    const piece = new Uint8Array(MOST_READ_AT_ONCE);
    const count = await this.read(piece);
    if (count === null) return false;
    this.#rest = joined(this.#rest, piece.subarray(0, count));
    return true;
  }
}

function statusOf(line: string): number {
  const found = /^HTTP\/1\.[01] ([1-9][0-9]{2})(?: |$)/.exec(line);
  if (found === null) throw new NotHttp();
  return Number(found[1]);
}

function numberOf(text: string, radix: 10 | 16): number | undefined {
  const digits = radix === 10 ? /^[0-9]{1,15}$/ : /^[0-9a-f]{1,12}$/i;
  return digits.test(text) ? parseInt(text, radix) : undefined;
}

function joined(one: Bytes, other: Bytes): Bytes {
  const whole = new Uint8Array(one.length + other.length);
  whole.set(one);
  whole.set(other, one.length);
  return whole;
}
