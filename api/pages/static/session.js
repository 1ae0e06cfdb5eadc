import { ask, byId, element, kinds, number, reference, size, time } from "./common.js";

const OFTEN = 300;
const SELDOM = 2000;
const SLOWLY = 5000;
const MOST_LOSSES = 20;

const ref = reference();
const address = location.pathname.replace(/\/+$/, "");
const names = { listing: "listing files", parsing: "reading events", merging: "merging events" };
const started = Date.now();

byId("name").textContent = `${kinds[ref.kind] ?? ref.kind} ${ref.name}`;
document.title = `${ref.name} - Ray History Server`;

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const tell = (text) => {
  // Said once to those who listen, not at every poll.
  if (byId("state").textContent !== text) byId("state").textContent = text;
};

function facts(record) {
  const session = record?.session?.session ?? ref.session;
  const told = [["Namespace", ref.namespace], ["Session", session]];
  const progress = record?.progress;
  if (progress?.files_total) {
    const failed = progress.files_failed ? `, ${number(progress.files_failed)} failed` : "";
    told.push(["Files", `${number(progress.files_read)} of ${number(progress.files_total)}${failed}`]);
    told.push(["Bytes", `${size(progress.bytes_read)} of ${size(progress.bytes_total)}`]);
    const skipped = record.events_skipped ? `, ${number(record.events_skipped)} skipped` : "";
    told.push(["Events", `${number(progress.events)}${skipped}`]);
  }
  if (record?.attempt > 1) told.push(["Attempt", number(record.attempt)]);
  if (record?.queued_at) told.push(["Queued", time(record.queued_at)]);
  byId("facts").replaceChildren(...told.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function bar(record) {
  const { bytes_total: total, bytes_read: read } = record.progress ?? {};
  const progress = byId("bar");
  progress.hidden = !["queued", "loading", "absent"].includes(record.state);
  if (total) Object.assign(progress, { max: total, value: Math.min(read ?? 0, total) });
  else progress.removeAttribute("value");
}

function losses(record) {
  const lost = record.losses ?? [];
  const total = record.loss_count ?? lost.length;
  const files = lost.slice(0, MOST_LOSSES).map((loss) => element("li", {}, element("code", {}, loss.file), `: ${loss.message}`));
  if (total > files.length) files.push(element("li", {}, `and ${number(total - files.length)} more`));
  byId("losses").hidden = !lost.length;
  byId("losses").replaceChildren(
    element("p", {}, "These files could not be read, so the session is partial:"),
    element("ul", { className: "plain" }, ...files),
  );
}

function trouble(error) {
  byId("trouble").hidden = !error;
  if (!error) return;
  const code = error.code ? ` (${error.code})` : "";
  byId("trouble").replaceChildren(element("p", {}, `${error.message ?? "Unknown error"}${code}`));
}

/** Show one load status. Is there more to wait for? */
function draw(record) {
  facts(record);
  bar(record);
  losses(record);
  trouble(record.state === "failed" ? (record.error ?? { message: "The load failed." }) : null);
  byId("retry").hidden = record.state !== "failed";
  byId("open").hidden = record.state !== "loaded" && record.state !== "live";
  const phase = record.progress?.phase;
  if (record.state === "loaded") tell(record.complete === false ? "Loaded, but partial" : "Loaded: opening the dashboard");
  else if (record.state === "live") tell("Live: opening the dashboard");
  else if (record.state === "failed") tell("The session could not be loaded");
  else if (record.state === "loading") tell(phase ? `Loading: ${names[phase] ?? phase}` : "Loading");
  else tell("Waiting for a worker");
  return !["loaded", "live", "failed"].includes(record.state);
}

function goOn(record) {
  // What is missing from a partial session should be read before one goes on.
  if (record.state === "live" || (record.state === "loaded" && record.complete !== false)) location.replace("dashboard/");
  else if (record.state === "loaded") byId("open").focus();
}

let turn = 0;

/** Wait for the load and go on. A later call takes over: its predecessor ends at its next step. */
async function start({ again = false } = {}) {
  const mine = ++turn;
  byId("retry").hidden = true;
  trouble(null);
  while (mine === turn) {
    try {
      let record = await ask(address);
      if (again && record.state === "failed") record = await load();
      again = false;
      while (mine === turn && draw(record)) {
        // Nobody loads it: it was never asked for, or it was evicted meanwhile.
        if (record.state === "absent") record = await load();
        await wait(Date.now() - started < 10_000 ? OFTEN : SELDOM);
        record = await ask(address);
      }
      if (mine === turn) goOn(record);
      return;
    } catch (error) {
      if (mine !== turn) return;
      fail(error);
      if (error.status !== 0 && error.status < 500) return;
      byId("retry").hidden = false;
      // A failed load is tried again by a person, an outage by itself.
      if (error.code === "load_failed") return;
      await wait(error.retryAfter ? error.retryAfter * 1000 : SLOWLY);
    }
  }
}

const load = () => ask(`${address}/load`, { method: "POST" });

function fail(error) {
  facts(null);
  trouble(error);
  byId("bar").hidden = true;
  byId("losses").hidden = true;
  tell("The session cannot be opened");
}

byId("retry").addEventListener("click", () => start({ again: true }));
start();
