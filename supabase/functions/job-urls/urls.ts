// The database says which objects the caller's attempt may use; only those are signed.

import { isUploadOf, RESULT_FILES, SIGNED_URL_SECONDS } from "../_shared/contract.ts";
import { needed } from "../_shared/environment.ts";
import { objectOf, Refused, success } from "../_shared/envelope.ts";
import { type Keys, presigned } from "../_shared/presigning.ts";
import { bearerOf, rpc } from "../_shared/supabase.ts";
import { type UrlRequest, urlRequestOf, type Write } from "./url_request.ts";

/** The answer of `attempt_objects` about a live attempt of the caller. */
interface AttemptObjects {
  readonly source: string;
  readonly result_prefix: string;
  readonly expires_at: string;
}

export async function answer(request: Request): Promise<Response> {
  const token = bearerOf(request);
  const wanted = urlRequestOf(await objectOf(request));
  const objects = await objectsOf(wanted, token);
  const now = new Date();
  const seconds = secondsLeft(objects, now);
  const sign = signer(seconds, now);
  const [source, ...writes] = await Promise.all([
    sign("GET", objects.source, {}),
    ...wanted.writes.map((write) => sign("PUT", objects.result_prefix + write.name, fixed(write))),
  ]);
  return success({
    source: { key: objects.source, url: source },
    writes: wanted.writes.map((write, place) => ({
      name: write.name,
      key: objects.result_prefix + write.name,
      url: writes[place],
      headers: fixed(write),
    })),
    seconds,
  });
}

async function objectsOf(wanted: UrlRequest, token: string): Promise<AttemptObjects> {
  const objects = await rpc("attempt_objects", { p_token: wanted.token }, token);
  if (objects === null) throw new Refused("not_found");
  const found = objects as AttemptObjects;
  const userId = found.result_prefix.split("/")[1];
  // A table constraint says so too; without it this check still protects the bucket.
  if (!isUploadOf(found.source, userId)) throw new Refused("source_not_found");
  return found;
}

/** Never longer than the attempt may last: what is written later is discarded. */
function secondsLeft(objects: AttemptObjects, now: Date): number {
  const left = Math.floor((Date.parse(objects.expires_at) - now.getTime()) / 1000);
  if (left < 1) throw new Refused("not_found");
  return Math.min(left, SIGNED_URL_SECONDS);
}

/** Headers that the upload must have as they are, so that the URL is valid for no other file. */
function fixed(write: Write): Record<string, string> {
  return { "content-type": RESULT_FILES[write.name], "content-length": String(write.bytes) };
}

type Sign = (
  method: "GET" | "PUT",
  key: string,
  headers: Record<string, string>,
) => Promise<string>;

function signer(seconds: number, now: Date): Sign {
  const origin = needed("R2_ENDPOINT");
  const bucket = needed("R2_BUCKET");
  const keys: Keys = {
    accessKeyId: needed("R2_ACCESS_KEY_ID"),
    secretAccessKey: needed("R2_SECRET_ACCESS_KEY"),
    region: "auto",
  };
  return (method, key, headers) =>
    presigned({ method, origin, path: `/${bucket}/${key}`, seconds, headers }, keys, now);
}
