// deliver-webhooks: sends customers their webhooks, as package dispatcher/ does, for projects
// without a server. Have it called every minute (Supabase Cron) with the service key.

import { posted } from "../_shared/envelope.ts";
import { answer } from "./dispatching.ts";

Deno.serve(posted(answer));
