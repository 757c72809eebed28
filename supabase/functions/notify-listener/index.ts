// notify-listener: the target of a Database Webhook that was configured in the dashboard.

import { posted } from "../_shared/envelope.ts";
import { answer } from "./forwarding.ts";

Deno.serve(posted(answer));
