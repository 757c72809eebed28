// The database says what the caller's attempt may touch; this file signs that and nothing else.

import { isUploadOf, RESULT_FILES, SIGNED_URL_SECONDS } from "../_shared/contract.ts";
import { needed } from "../_shared/environment.ts";
import { objectOf, Refused, success } from "../_shared/envelope.ts";
import { type Keys, presigned } from "../_shared/presigning.ts";
import { bearerOf, rpc } from "../_shared/supabase.ts";
import { type Asked, askedOf, type Write } from "./asked.ts";

/** What `attempt_objects` answers about a live attempt of the caller's. */
interface AttemptObjects {
  readonly source: string;
  readonly result_prefix: string;
  readonly expires_at: string;
}

export async function answer(request: Request): Promise<Response> {
  const token = bearerOf(request);
  const asked = askedOf(await objectOf(request));
  const objects = await objectsOf(asked, token);
  const now = new Date();
  const seconds = secondsLeft(objects, now);
  const sign = signer(seconds, now);
  const [source, ...writes] = await Promise.all([
    sign("GET", objects.source, {}),
    ...asked.writes.map((write) => sign("PUT", objects.result_prefix + write.name, fixed(write))),
  ]);
  return success({
    source: { key: objects.source, url: source },
    writes: asked.writes.map((write, place) => ({
      name: write.name,
      key: objects.result_prefix + write.name,
      url: writes[place],
      headers: fixed(write),
    })),
    seconds,
  });
}

async function objectsOf(asked: Asked, token: string): Promise<AttemptObjects> {
  const objects = await rpc("attempt_objects", { p_token: asked.token }, token);
  if (objects === null) throw new Refused("not_found");
  const found = objects as AttemptObjects;
  const userId = found.result_prefix.split("/")[1];
  // The table has a constraint to this end; whoever takes it out opens no bucket.
  if (!isUploadOf(found.source, userId)) throw new Refused("source_not_found");
  return found;
}

/** Never longer than the attempt may last: what comes later is thrown away anyhow. */
function secondsLeft(objects: AttemptObjects, now: Date): number {
  const left = Math.floor((Date.parse(objects.expires_at) - now.getTime()) / 1000);
  if (left < 1) throw new Refused("not_found");
  return Math.min(left, SIGNED_URL_SECONDS);
}

/** Headers that the upload must carry as they are, so that the URL is good for no other file. */
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
