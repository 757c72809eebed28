// AWS Signature Version 4 in a URL: R2, and any server that speaks S3.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html

const HMAC = { name: "HMAC", hash: "SHA-256" };

/** The signing key, and the region; R2's is `auto`. */
export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
}

/** What exactly a URL allows, and how long. */
export interface Grant {
  readonly method: "GET" | "PUT";
  /** Address of the object, its path not yet encoded. */
  readonly origin: string;
  readonly path: string;
  readonly seconds: number;
  /** Headers that the request must have, with these values; names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A URL that allows `grant` from `now` on. */
export async function presigned(grant: Grant, keys: Keys, now: Date): Promise<string> {
  const url = new URL(grant.origin);
  const moment = now.toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${moment.slice(0, 8)}/${keys.region}/s3/aws4_request`;
  const headers: Record<string, string> = { ...grant.headers, host: url.host };
  const names = Object.keys(headers).sort();
  const path = grant.path.split("/").map(encoded).join("/");
  const query = canonicalQuery({
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": `${keys.accessKeyId}/${scope}`,
    "X-Amz-Date": moment,
    "X-Amz-Expires": String(grant.seconds),
    "X-Amz-SignedHeaders": names.join(";"),
  });
  const request = [
    grant.method,
    path,
    query,
    ...names.map((name) => `${name}:${headers[name].trim()}`),
    "",
    names.join(";"),
    "UNSIGNED-PAYLOAD",
  ].join("\n");
  const text = ["AWS4-HMAC-SHA256", moment, scope, await sha256(request)].join("\n");
  const signature = hex(await hmac(await signingKey(keys, moment.slice(0, 8)), text));
  return `${url.origin}${path}?${query}&X-Amz-Signature=${signature}`;
}

function canonicalQuery(parameters: Record<string, string>): string {
  const pairs = Object.entries(parameters).sort(([one], [other]) => one < other ? -1 : 1);
  return pairs.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join("&");
}

/** Percent-encoded as AWS requires: all but letters, digits and `-._~`. */
function encoded(text: string): string {
  const left = /[!'()*]/g;
  return encodeURIComponent(text).replace(
    left,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

async function signingKey(keys: Keys, day: string): Promise<ArrayBuffer> {
  let key: ArrayBuffer = new TextEncoder().encode(`AWS4${keys.secretAccessKey}`).buffer;
  for (const part of [day, keys.region, "s3", "aws4_request"]) key = await hmac(key, part);
  return key;
}

async function hmac(key: ArrayBuffer, text: string): Promise<ArrayBuffer> {
  const imported = await crypto.subtle.importKey("raw", key, HMAC, false, ["sign"]);
  return await crypto.subtle.sign(HMAC, imported, new TextEncoder().encode(text));
}

async function sha256(text: string): Promise<string> {
  return hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
