// What an app does with the official client; prints one JSON object for the test to judge.
// Arguments: url, anon key, table, function, topic for everybody signed in, topic for nobody.
import { createClient, type RealtimeChannel } from "@supabase/supabase-js";

const [url, anonKey, table, sum, openTopic, closedTopic] = Deno.args;

function newClient() {
  return createClient(url, anonKey, { auth: { persistSession: false, autoRefreshToken: false } });
}

type Client = ReturnType<typeof newClient>;

/** A client of somebody who signed up just now, and their id. */
async function signUp(): Promise<[Client, string]> {
  const client = newClient();
  const email = `js-${crypto.randomUUID()}@example.com`;
  const { data, error } = await client.auth.signUp({ email, password: "correct horse" });
  if (error) throw error;
  return [client, data.user!.id];
}

/** The first status of a subscription, and the error's text if there is one. */
function subscribed(channel: RealtimeChannel): Promise<{ status: string; error?: string }> {
  return new Promise((resolve) =>
    channel.subscribe((status, error) => resolve({ status, error: error?.message }))
  );
}

/** Events as they come, to be awaited one by one. */
class Ear<T> {
  private heard: T[] = [];
  private waiting: ((event: T) => void)[] = [];
  hear = (event: T) => {
    const next = this.waiting.shift();
    next ? next(event) : this.heard.push(event);
  };
  next(): Promise<T> {
    const event = this.heard.shift();
    if (event !== undefined) return Promise.resolve(event);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("nothing heard in 5 s")), 5000);
      this.waiting.push((event) => (clearTimeout(timer), resolve(event)));
    });
  }
}

// deno-lint-ignore no-explicit-any
type Event = any;
const report: Record<string, unknown> = {};
const [me, myId] = await signUp();
const [stranger, strangerId] = await signUp();

// Changes under row-level security: the stranger's row comes first and must not be heard of.
const changes = new Ear<Event>(), live = new Ear<Event>();
const rows = me.channel("rows")
  .on("postgres_changes", { event: "*", schema: "public", table }, changes.hear)
  .on("system", {}, live.hear);
report.rows = (await subscribed(rows)).status;
report.live = (await live.next()).message;
await stranger.from(table).insert({ id: 1, owner: strangerId, name: "theirs", size: 1 });
await me.from(table).insert({ id: 2, owner: myId, name: "mine", size: 1.5 });
const inserted = await changes.next();
await me.from(table).update({ size: 2 }).eq("id", 2);
const updated = await changes.next();
report.inserted = [inserted.eventType, inserted.new.name, inserted.new.size, inserted.errors];
report.updated = [updated.eventType, updated.new.size, updated.old];

// Reading.
const selected = await me.from(table).select("name,size").gt("size", 1).in("name", ["mine", "theirs"]);
report.selected = selected.data;
report.sum = (await me.rpc(sum, { a: 2, b: 3 })).data;

// Broadcasts, both ways.
const mine = new Ear<Event>(), theirs = new Ear<Event>();
const one = me.channel("room", { config: { broadcast: { ack: true } } })
  .on("broadcast", { event: "*" }, mine.hear);
const two = stranger.channel("room").on("broadcast", { event: "*" }, theirs.hear);
report.room = [(await subscribed(one)).status, (await subscribed(two)).status];
report.acknowledged = await one.send({ type: "broadcast", event: "ping", payload: { n: 1 } });
report.heardByStranger = (await theirs.next()).payload;
await two.send({ type: "broadcast", event: "pong", payload: { n: 2 } });
report.heardByMe = (await mine.next()).payload;
await two.httpSend("pong", { n: 3 });
report.heardByHttp = (await mine.next()).payload;

// Presence.
const present = new Ear<Event>();
const lobby = me.channel("lobby", { config: { presence: { key: "me" } } })
  .on("presence", { event: "join" }, present.hear);
await subscribed(lobby);
await lobby.track({ mood: "fine" });
report.present = (await present.next()).newPresences[0].mood;

// Private channels.
const open = me.channel(openTopic, { config: { private: true } });
report.open = await subscribed(open);
report.closed = await subscribed(me.channel(closedTopic, { config: { private: true } }));

// Leaving.
report.left = await me.removeChannel(rows);
await Promise.all([me.removeAllChannels(), stranger.removeAllChannels()]);
console.log(JSON.stringify(report));
Deno.exit(0);
