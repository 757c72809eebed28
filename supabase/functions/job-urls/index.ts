// job-urls: signed URLs for exactly one attempt, for a machine that holds no bucket key.

import { posted } from "../_shared/envelope.ts";
import { answer } from "./urls.ts";

Deno.serve(posted(answer));
