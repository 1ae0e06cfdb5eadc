// Two sessions or jobs side by side: which are compared is in the address, by the names that `/compare` takes as an API.

import { ask, byId, element, number } from "./common.js";
import { moment, span, table } from "./overview-parts.js";

const form = byId("sides");
const NAMES = ["a", "a_job", "b", "b_job"];
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** A side's overview, and what its rows are below. */
function addressOf(side) {
  const ref = side.ref.split("/").map(encodeURIComponent).join("/");
  return `sessions/${ref}/overview${side.job_id ? `?job_id=${side.job_id}` : ""}`;
}

const lasted = (side) => (side.start_ms && side.end_ms ? span(side.end_ms - side.start_ms) : "");

function drawBoth({ a, b }) {
  const states = [...new Set([...Object.keys(a.states), ...Object.keys(b.states)])].sort();
  const rows = [
    ["Session", ...[a, b].map((side) => [element("a", { href: addressOf(side) }, side.ref), side.job_id && element("small", {}, `job ${side.job_id}`)])],
    ["Began", moment(a.start_ms), moment(b.start_ms)],
    ["Duration", lasted(a), lasted(b)],
    ["Ended", a.how_ended, b.how_ended],
    ["Complete", ...[a, b].map((side) => (side.complete ? "yes" : "no"))],
    ["Ray", a.ray_version ?? "", b.ray_version ?? ""],
    ...states.map((state) => [`Attempts ${state.toLowerCase()}`, number(a.states[state] ?? 0), number(b.states[state] ?? 0)]),
    ["Retries", number(a.retries), number(b.retries)],
  ];
  byId("both").replaceChildren(table(["What", "From", "To"], rows, { first: rows.length }));
}

const news = (pair) => (pair.a ? (pair.b ? "both" : "gone") : "new");

function drawFailures(found) {
  const rows = found.failures.map((pair) => [
    [element("span", { className: "message" }, pair.message || "(no message)"), element("small", {}, pair.error_type || "no error type")],
    [element("span", { className: `state ${{ new: "failed", gone: "succeeded", both: "stopped" }[news(pair)]}` }, news(pair))],
    number(pair.a?.count ?? 0),
    number(pair.b?.count ?? 0),
    (pair.b ?? pair.a).functions.map((one) => one.name).join(", "),
  ]);
  byId("failures").replaceChildren(rows.length ? table(["Failure", "Change", "From", "To", "Functions"], rows) : element("p", {}, "No task attempt failed in either."));
  note("failures-note", found.failures_complete);
}

function drawFunctions(found) {
  const total = (row) => row?.running?.total_ms ?? 0;
  const median = (row) => (row?.running ? span(row.running.p50_ms) : "");
  const waited = (row) => (row?.waiting ? span(row.waiting.p50_ms) : "");
  const rows = found.functions.map((pair) => {
    const grown = total(pair.b) - total(pair.a);
    return [
      [pair.name, element("small", {}, pair.a && pair.b ? "" : pair.b ? "new" : "gone")],
      number(pair.a?.attempts ?? 0), number(pair.b?.attempts ?? 0),
      median(pair.a), median(pair.b),
      pair.ratio === null ? "" : `${new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }).format(pair.ratio)} x`,
      waited(pair.a), waited(pair.b),
      `${grown < 0 ? "-" : "+"}${span(Math.abs(grown))}`,
    ];
  });
  const keys = found.functions.map((pair) => [
    pair.name, pair.a?.attempts ?? 0, pair.b?.attempts ?? 0, pair.a?.running?.p50_ms ?? -1, pair.b?.running?.p50_ms ?? -1, pair.ratio ?? -1,
    pair.a?.waiting?.p50_ms ?? -1, pair.b?.waiting?.p50_ms ?? -1, total(pair.b) - total(pair.a),
  ]);
  const names = ["Function", "Attempts from", "to", "Ran p50 from", "to", "Ratio", "Waited p50 from", "to", "Time in all"];
  byId("functions").replaceChildren(table(names, rows, { keys, sorted: 8 }));
  note("functions-note", found.functions_complete);
}

function note(id, complete) {
  byId(id).textContent = "An overview holds its first entries only: what one side lacks may be among its others.";
  byId(id).hidden = complete;
}

let turn = 0;

async function show(query) {
  const mine = ++turn;
  byId("trouble").hidden = true;
  byId("asking").textContent = "Asking for both";
  while (mine === turn) {
    try {
      const found = await ask(`compare?${query}`);
      if (mine !== turn) return;
      drawBoth(found);
      drawFailures(found);
      drawFunctions(found);
      byId("asking").textContent = "";
      byId("whole").hidden = false;
      return;
    } catch (error) {
      if (mine !== turn) return;
      if (error.code !== "loading") {
        byId("asking").textContent = "";
        byId("trouble").textContent = `They cannot be compared: ${error.message}`;
        byId("trouble").hidden = false;
        return;
      }
      byId("asking").textContent = `Loading: ${error.message}`;
      await wait(1000);
    }
  }
}

/** Other sessions of the same cluster or owner, to choose from. */
async function suggest(ref) {
  const [namespace, kind, name] = ref.split("/");
  const page = await ask(`sessions?${new URLSearchParams(name ? { namespace, kind, q: name } : { limit: 100 })}`).catch(() => ({ sessions: [] }));
  byId("sessions").replaceChildren(...page.sessions.filter((one) => !one.live).map((one) => element("option", { value: one.ref })));
  const before = page.sessions.filter((one) => one.ref < ref && one.ref.startsWith(`${namespace}/${kind}/${name}/`)).map((one) => one.ref).sort();
  if (before.length && !form.a.value) form.a.value = before.at(-1);
}

const given = new URLSearchParams(location.search);
for (const name of NAMES) form[name].value = given.get(name) ?? "";
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim()));
  history.replaceState(null, "", `?${query}`);
  show(query);
});
suggest(form.b.value);
// What no field is for is sent, too: the server says what is wrong with it.
if (given.get("a") && given.get("b")) show(given);
