// The loading page: has its session loaded, shows how far it is, and goes on by itself to what the address names.

import { ask, byId, duration, element, reference } from "./common.js";
import { drawBar, drawFacts, drawLosses } from "./load-status.js";

const OFTEN = 300;
const SELDOM = 2000;
const SLOWLY = 5000;

const ref = reference();
const address = location.pathname.replace(/\/+$/, "");
const given = new URLSearchParams(location.search);
const redirect = given.get("redirect");
// A page of the session itself, such as `overview?job_id=01000000`.
const next = /^overview(\?[\w=&%.-]*)?$/.test(given.get("next") ?? "") ? given.get("next") : null;
// Entering sets cookies and goes on; the page of the dashboard that an address names is behind its `#`.
const target = redirect
  ? `../../../../../enter_cluster/${address.split("/").slice(-4).join("/")}?redirect=${encodeURIComponent(redirect)}`
  : (next ?? `dashboard/${location.hash}`);
const place = next ? "overview" : "dashboard";
const opened = Date.now();

byId("name").textContent = ref.name;
byId("open").href = target;
byId("open").textContent = `Open the ${place}`;
document.title = `${ref.name} ${ref.session} - Ray History Server`;

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const tell = (text) => {
  // Said once to those who listen, not at every poll.
  if (byId("state").textContent !== text) byId("state").textContent = text;
};

function trouble(error) {
  byId("trouble").hidden = !error;
  if (!error) return;
  const code = error.code ? ` (${error.code})` : "";
  byId("trouble").replaceChildren(element("p", {}, `${error.message ?? "Unknown error"}${code}`));
}

/** Is there something to read before one goes on? */
const wanting = (record) => record.state === "loaded" && (record.complete === false || Boolean(record.empty));

/** Show one load status. Is there more to wait for? */
function draw(record) {
  drawFacts(record, ref);
  drawBar(record);
  drawLosses(record.state === "loaded" ? record : null);
  trouble(record.state === "failed" ? (record.error ?? { message: "The load failed." }) : null);
  byId("open").hidden = record.state !== "loaded" && record.state !== "live";
  if (record.state === "loaded" && record.complete === false) tell("Loaded, but partial");
  else if (record.state === "loaded") tell(record.empty ? "Loaded, but empty" : `Loaded: opening the ${place}`);
  else if (record.state === "live") tell("Live: opening the dashboard");
  else if (record.state === "failed") tell("The session could not be loaded");
  else tell(record.state === "loading" ? "Loading" : "Waiting for a worker");
  return !["loaded", "live", "failed"].includes(record.state);
}

function goOn(record) {
  if (record.state === "failed") offerRetry(null);
  else if (wanting(record)) byId("open").focus();
  else location.replace(target);
}

let turn = 0;

/** Wait for the load and go on. A later call takes over: its predecessor ends at its next step. */
async function start() {
  const mine = ++turn;
  byId("retry").hidden = true;
  trouble(null);
  let asked = false;
  while (mine === turn) {
    try {
      let record = await ask(address);
      // A visit loads what is not loaded, or was not when it was last tried.
      if (record.state === "failed" && !asked) record = await load();
      asked = true;
      while (mine === turn && draw(record)) {
        // Nobody loads it: it was never asked for, or it was evicted meanwhile.
        if (record.state === "absent") record = await load();
        await wait(Date.now() - opened < 10_000 ? OFTEN : SELDOM);
        record = await ask(address);
      }
      if (mine === turn) goOn(record);
      return;
    } catch (error) {
      if (mine !== turn) return;
      fail(error);
      if (error.status !== 0 && error.status < 500) return;
      offerRetry(error.retryAfter);
      // A failed load is tried again by a person, an outage by itself.
      if (error.code === "load_failed") return;
      await wait(error.retryAfter ? error.retryAfter * 1000 : SLOWLY);
    }
  }
}

const load = () => ask(`${address}/load`, { method: "POST" });

function fail(error) {
  drawFacts(null, ref);
  drawLosses(null);
  trouble(error);
  byId("bar").hidden = true;
  tell(error.code === "load_failed" ? "The session could not be loaded" : "The session cannot be opened");
}

/** The button; for a failed load only once it may be tried again, and the seconds until then. */
async function offerRetry(seconds) {
  const mine = turn;
  const button = byId("retry");
  button.hidden = false;
  const until = Date.now() + (seconds ?? 0) * 1000;
  for (let left = seconds; left > 0 && mine === turn; left = (until - Date.now()) / 1000) {
    button.disabled = true;
    button.textContent = `Try again in ${duration(Math.ceil(left))}`;
    await wait(1000);
  }
  if (mine !== turn) return;
  button.disabled = false;
  button.textContent = "Try again";
}

byId("retry").addEventListener("click", start);
start();
