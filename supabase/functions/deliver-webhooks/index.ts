// deliver-webhooks: sends users their webhooks, as webhooks/delivery/ does, for projects without a
// server. Call it every minute (Supabase Cron) with the service key.

import { posted } from "../_shared/envelope.ts";
import { answer } from "./dispatching.ts";

Deno.serve(posted(answer));
