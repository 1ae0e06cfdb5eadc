// The jobs of all sessions: search, filters and order are in the address, by the names that `/jobs` takes as an API.

import { ask, byId, duration, element, goOnToDashboard, kinds, linkFailures, number, replaceRows, time, utc } from "./common.js";

const PAGE = 50;
const REFRESH = 10_000;
// A list that nobody brings up to date is said to be old after so many seconds.
const OLD = 300;
const SESSIONS = 10;
const SESSION_FILTERS = ["q", "namespace", "kind"];
const TIMES = ["since", "until"];
const DEFAULT_SORT = "-start";

// The page has two addresses. A server without an index of jobs begins with its sessions.
const atRoot = !location.pathname.endsWith("/jobs");

const form = byId("search");
const rows = byId("rows");
let sort = DEFAULT_SORT;
// What an address says that no field is for, so that the server can say what is wrong with it.
let others = [];
let next = null;
let shown = 0;
let asked = 0;

/** For an input of the reader's local time, without a zone. */
function local(text) {
  const moment = new Date(text);
  return Number.isNaN(moment.getTime()) ? "" : new Date(moment - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function readAddress() {
  const given = new URLSearchParams(location.search);
  for (const field of form.elements) {
    const value = given.get(field.name) ?? "";
    field.value = TIMES.includes(field.name) ? (value ? local(value) : "") : value;
  }
  sort = given.get("sort") ?? DEFAULT_SORT;
  others = [...given].filter(([name]) => !form.elements[name] && !["sort", "limit", "cursor"].includes(name));
}

function filters() {
  const query = new URLSearchParams(others);
  for (const [name, value] of new FormData(form)) {
    if (value.trim()) query.set(name, TIMES.includes(name) ? new Date(value).toISOString() : value.trim());
  }
  if (sort !== DEFAULT_SORT) query.set("sort", sort);
  return query;
}

const sessionOf = (job) => `sessions/${job.ref.split("/").map(encodeURIComponent).join("/")}`;

function titleOf(job) {
  const title = element("th", { scope: "row" }, element("a", { href: `${sessionOf(job)}/dashboard/#/jobs/${encodeURIComponent(job.id)}` }, job.submission_id ?? job.id));
  if (job.error) title.append(element("small", { className: "error" }, job.error));
  if (job.entrypoint) title.append(element("small", {}, element("code", {}, job.entrypoint)));
  return title;
}

function startOf(job) {
  return job.start ? [element("time", { dateTime: job.start }, time(job.start)), element("small", {}, utc(job.start))] : [];
}

function failuresOf(job) {
  if (!job.failures || !job.job_id) return [job.failures === null ? "" : number(job.failures)];
  const filter = [["job_id", job.job_id], ["state", "FAILED"]].map(([key, value]) => `filter_keys=${key}&filter_predicates=%3D&filter_values=${value}`);
  return [element("a", { href: `${sessionOf(job)}/dashboard/api/v0/tasks?detail=1&limit=1000&${filter.join("&")}` }, number(job.failures))];
}

function row(job) {
  const cluster = element("td", {}, element("a", { href: `${sessionOf(job)}/` }, job.name));
  cluster.append(element("small", {}, [job.namespace, kinds[job.kind] ?? job.kind, job.ray_version && `Ray ${job.ray_version}`].filter(Boolean).join(", ")));
  cluster.append(element("small", {}, `${job.session} `, element("a", { href: `${sessionOf(job)}/overview`, ariaLabel: `Overview of ${job.session}` }, "overview")));
  return element(
    "tr",
    {},
    titleOf(job),
    element("td", {}, element("span", { className: `state ${job.status.toLowerCase()}` }, job.status.toLowerCase())),
    element("td", {}, ...startOf(job)),
    element("td", {}, job.duration === null ? "" : duration(job.duration)),
    element("td", {}, ...failuresOf(job)),
    cluster,
  );
}

function drawOrder() {
  for (const head of document.querySelectorAll("th[data-sort]")) {
    const name = head.dataset.sort.replace("-", "");
    if (sort.replace("-", "") === name) head.setAttribute("aria-sort", sort.startsWith("-") ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

/** What keeps the list from being whole, if anything does. */
function drawIndex(index) {
  const said = [];
  if (index.age === null) said.push("No worker has looked through the storage yet. The list fills by itself.");
  else if (index.age > OLD) said.push(`The list is ${duration(index.age)} old: no worker could look through the storage since.`);
  if (index.left) said.push(`${number(index.left)} sessions are still to be looked at.`);
  if (index.failed) said.push(`${number(index.failed)} sessions could not be read, and will be tried again.`);
  const text = said.join(" ");
  if (byId("index").textContent !== text) byId("index").textContent = text;
  byId("index").hidden = !text;
}

/** Sessions that the same words find, where no job is found: jobs that nobody submitted are known once their session was opened. */
async function showSessions(turn) {
  const query = filters();
  query.delete("sort");
  const alike = shown === 0 && [...query.keys()].every((name) => SESSION_FILTERS.includes(name));
  query.set("limit", SESSIONS);
  const sessions = alike ? (await ask(`sessions?${query}`)).sessions : [];
  if (turn !== asked) return;
  replaceRows(byId("found"), sessions.map((one) => element("li", {}, element("a", { href: `${sessionOf(one)}/` }, one.name), ` in ${one.namespace}, ${one.session}`)));
  byId("sessions").hidden = !sessions.length;
}

async function show({ further = false } = {}) {
  const turn = ++asked;
  const query = filters();
  // A refresh shows again as many as are there.
  query.set("limit", further ? PAGE : Math.min(1000, Math.max(PAGE, shown)));
  if (further) query.set("cursor", next);
  try {
    const page = await ask(`jobs?${query}`);
    if (turn !== asked) return;
    const made = page.jobs.map(row);
    if (further) rows.append(...made);
    else replaceRows(rows, made);
    shown = rows.children.length;
    next = page.next;
    const said = page.total === 0 ? "No jobs found" : `${number(shown)} of ${number(page.total)} jobs`;
    if (byId("count").textContent !== said) byId("count").textContent = said;
    byId("table").hidden = shown === 0;
    byId("more").hidden = !next;
    byId("trouble").hidden = true;
    drawIndex(page.index);
    await showSessions(turn);
  } catch (error) {
    if (turn !== asked) return;
    if (error.code === "job_index_off" && atRoot) {
      location.replace(`sessions${location.search}`);
      return;
    }
    byId("trouble").textContent = `The jobs cannot be listed: ${error.message}`;
    byId("trouble").hidden = false;
    if (!shown) byId("count").textContent = "";
  }
}

function changed() {
  const query = filters().toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  shown = 0;
  drawOrder();
  show();
}

let typing;
form.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(changed, 150);
});
form.addEventListener("submit", (event) => event.preventDefault());
for (const head of document.querySelectorAll("th[data-sort]")) {
  head.querySelector("button").addEventListener("click", () => {
    const first = head.dataset.sort;
    const other = first.startsWith("-") ? first.slice(1) : `-${first}`;
    sort = sort === first ? other : first;
    changed();
  });
}
byId("more").addEventListener("click", () => show({ further: true }));
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    form.q.focus();
  }
});
linkFailures();
goOnToDashboard();
readAddress();
drawOrder();
setInterval(() => document.hidden || show(), REFRESH);
show();
