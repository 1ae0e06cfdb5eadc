import { ask, byId, element, goOnToDashboard, kinds, linkFailures, number, replaceRows, time } from "./common.js";

const PAGE = 100;
const REFRESH = 10_000;
const STATES = { absent: "not loaded" };

const form = byId("search");
const rows = byId("rows");
let next = null;
let shown = 0;
let asked = 0;

// A filtered list has its own address, so that it can be kept and shared.
const given = new URLSearchParams(location.search);
form.q.value = given.get("q") ?? "";
form.state.value = given.get("state") ?? "";

function filters() {
  return new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim()));
}

/** The words for a session's state: a loaded one may be partial, empty, or both. */
function statesOf(session) {
  if (session.live) return ["live"];
  const wanting = ["partial", "empty"].filter((word) => session[word]);
  return wanting.length ? wanting : [session.status || "absent"];
}

const selecting = location.pathname.endsWith("/select_cluster");

/** KubeRay's page for choosing leads to `/#/overview` of whatever dashboard is in front of us; our own to the session's. */
function addressOf({ namespace, kind, name, session }) {
  const ref = [namespace, kind, name, session].map(encodeURIComponent).join("/");
  return selecting ? `enter_cluster/${ref}?redirect=${encodeURIComponent(new URL("./#/overview", location.href).pathname + "#/overview")}` : `sessions/${ref}/`;
}

function row(session) {
  const { namespace, kind, name } = session;
  const title = element("th", { scope: "row" }, element("a", { href: addressOf(session) }, name));
  if (session.cluster && session.cluster !== name) title.append(element("small", {}, `cluster ${session.cluster}`));
  title.append(element("small", {}, session.session));
  return element(
    "tr",
    {},
    title,
    element("td", {}, namespace),
    element("td", {}, kinds[kind] ?? kind),
    element("td", {}, session.createTime ? element("time", { dateTime: session.createTime }, time(session.createTime)) : ""),
    element("td", {}, ...statesOf(session).map((state) => element("span", { className: `state ${state}` }, STATES[state] ?? state))),
  );
}

async function show({ further = false } = {}) {
  const turn = ++asked;
  const query = filters();
  // A refresh shows again as many as are there.
  query.set("limit", further ? PAGE : Math.max(PAGE, shown));
  if (further) query.set("cursor", next);
  try {
    const page = await ask(`sessions?${query}`);
    if (turn !== asked) return;
    const made = page.sessions.map(row);
    if (further) rows.append(...made);
    else replaceRows(rows, made);
    shown = rows.children.length;
    next = page.next ?? null;
    const total = page.total ?? shown;
    byId("count").textContent = total === 0 ? "No sessions found" : `${number(shown)} of ${number(total)} sessions`;
    byId("table").hidden = shown === 0;
    byId("more").hidden = !next;
    byId("trouble").hidden = true;
  } catch (error) {
    if (turn !== asked) return;
    byId("trouble").textContent = `The sessions cannot be listed: ${error.message}`;
    byId("trouble").hidden = false;
    if (!shown) byId("count").textContent = "";
  }
}

let typing;
form.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const query = filters().toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    shown = 0;
    show();
  }, 200);
});
form.addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", () => show({ further: true }));
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    form.q.focus();
  }
});
linkFailures();
goOnToDashboard();
setInterval(() => document.hidden || show(), REFRESH);
show();
