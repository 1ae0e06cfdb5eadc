// What the pages share: elements, problems told by the server, times and sizes for people.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const clock = { ahead: 0 };

/** The server's time in ms, to about a second: the reader's clock may be wrong. */
export const now = () => Date.now() + clock.ahead;

/** A server's answer as JSON. Throws an Error whose message is for people; `status`, `code` and `retryAfter` (seconds) tell programs. */
export async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, { headers: { Accept: "application/json" }, cache: "no-store", ...options });
  } catch {
    throw Object.assign(new Error("The server does not answer."), { status: 0 });
  }
  const body = await response.json().catch(() => null);
  const date = Date.parse(response.headers.get("Date"));
  if (date) clock.ahead = date - Date.now();
  if (response.ok && body !== null) return body;
  const detail = body?.detail || body?.msg || body?.title || response.statusText || "The server gave no usable answer.";
  throw Object.assign(new Error(detail), {
    status: response.status,
    code: body?.code,
    retryAfter: Number(response.headers.get("Retry-After")) || null,
  });
}

export const number = (value) => new Intl.NumberFormat().format(value ?? 0);

export function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes ?? 0, 1)) / 3));
  const style = { style: "unit", unit: units[power], maximumFractionDigits: power ? 1 : 0 };
  return new Intl.NumberFormat(undefined, style).format((bytes ?? 0) / 1000 ** power);
}

/** In the reader's time zone, which is named. */
export const time = (text) =>
  new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  }).format(new Date(text));

/** The same moment on everybody's clock. */
export const utc = (text) => `${new Date(text).toISOString().slice(0, 19).replace("T", " ")} UTC`;

/** Put new rows in place of the old ones, without taking the focus from the link that has it. */
export function replaceRows(rows, made) {
  const focused = rows.contains(document.activeElement) ? document.activeElement.href : null;
  rows.replaceChildren(...made);
  if (focused) [...rows.querySelectorAll("a")].find((link) => link.href === focused)?.focus();
}

/** Have the link to failed jobs begin with the reader's yesterday. */
export function linkFailures() {
  const yesterday = new Date(now());
  yesterday.setHours(-24, 0, 0, 0);
  byId("failed").href = `jobs?status=FAILED&since=${yesterday.toISOString()}`;
}

/** `/#/jobs` is a page of the dashboard, of the session that was entered (KubeRay: its frontend lies at the root). */
export function goOnToDashboard() {
  if (!location.hash.startsWith("#/")) return;
  ask("entered_cluster")
    .then(({ ref }) => location.replace(`sessions/${ref}/dashboard/${location.hash}`))
    .catch(() => {}); // none was: the list is what can be offered
}

/** "1 min 5 s" for 65. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(whole / 3600), "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  return parts.filter(([count], place) => count || (place === 2 && whole < 60)).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

export const kinds = { raycluster: "RayCluster", rayjob: "RayJob", rayservice: "RayService" };

/** The reference in the address of a session's page: the four parts after `/sessions/`. */
export function reference() {
  const parts = location.pathname.split("/sessions/").pop().split("/").map(decodeURIComponent);
  const [namespace, kind, name, session] = parts;
  return { namespace, kind, name, session };
}
