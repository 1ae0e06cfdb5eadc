// Draws one load status: what is loaded, how far it is, what is missing.

import { byId, duration, element, kinds, now, number, size, time } from "./common.js";

const MOST_LOSSES = 20;
const PHASES = { queued: "waiting for a worker", listing: "listing files", parsing: "reading events", merging: "merging events", publishing: "publishing" };
// Which share of a long load is over when a phase begins, and when it ends.
const SHARES = { listing: [0, 0.02], parsing: [0.02, 0.4], merging: [0.4, 0.95], publishing: [0.95, 1] };
const LEAST_ELAPSED = 3;

let reading = 0;
let merging = 0;

/** How much of the load is done, 0 to 1; null when that cannot be told. */
function done(record) {
  const { phase, bytes_total: total, bytes_read: read, steps_total: steps, steps_done: stepped } = record.progress ?? {};
  if (record.state !== "loading" || !(phase in SHARES)) return null;
  const [from, to] = SHARES[phase];
  if (steps) return Math.min(1, (stepped ?? 0) / steps);
  if (phase === "parsing") return total ? from + (to - from) * Math.min(1, (read ?? 0) / total) : from;
  if (phase !== "merging") return from;
  // Merging takes about one and a half times as long as reading did, and counts nothing.
  const expected = 1.5 * Math.max(1, reading);
  return from + (to - from) * (1 - Math.exp(-merging / expected));
}

function seconds(record) {
  return record.started_at ? Math.max(0, (now() - Date.parse(record.started_at)) / 1000) : null;
}

function clocks(record) {
  const elapsed = seconds(record) ?? 0;
  if (record.progress?.phase === "parsing") reading = elapsed;
  if (record.progress?.phase === "merging") {
    reading ||= elapsed;
    merging = elapsed - reading;
  }
}

export function drawBar(record) {
  clocks(record);
  const progress = byId("bar");
  progress.hidden = !["queued", "loading", "absent"].includes(record.state);
  const share = done(record);
  if (share === null) progress.removeAttribute("value");
  else Object.assign(progress, { max: 1, value: share });
}

function elapsedAndLeft(record) {
  const elapsed = seconds(record);
  if (elapsed === null || record.state !== "loading") return [];
  const share = done(record);
  const told = [["Elapsed", duration(elapsed)]];
  if (share > 0.05 && elapsed >= LEAST_ELAPSED) told.push(["Estimate", `about ${duration((elapsed * (1 - share)) / share)} to go`]);
  return told;
}

export function drawFacts(record, ref) {
  const { progress, session } = record ?? {};
  const told = [["Namespace", ref.namespace], ["Kind", kinds[ref.kind] ?? ref.kind], ["Session", session?.session ?? ref.session]];
  if (session?.cluster && session.cluster !== ref.name) told.push(["Cluster", session.cluster]);
  if (record?.state === "loading") told.push(["Phase", PHASES[progress?.phase] ?? progress?.phase ?? "starting"]);
  if (progress?.files_total) {
    const failed = progress.files_failed ? `, ${number(progress.files_failed)} failed` : "";
    told.push(["Files", `${number(progress.files_read)} of ${number(progress.files_total)}${failed}`]);
    told.push(["Bytes", `${size(progress.bytes_read)} of ${size(progress.bytes_total)}`]);
    const skipped = record.events_skipped ? `, ${number(record.events_skipped)} skipped` : "";
    told.push(["Events", `${number(progress.events)}${skipped}`]);
  }
  if (record) told.push(...elapsedAndLeft(record));
  if (record?.attempt > 1) told.push(["Attempt", number(record.attempt)]);
  if (record?.queued_at) told.push(["Queued", time(record.queued_at)]);
  byId("facts").replaceChildren(...told.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/** What is missing from a loaded session, if anything. */
export function drawLosses(record) {
  const lost = record?.losses ?? [];
  const total = record?.loss_count ?? lost.length;
  const said = (record?.warnings ?? []).map((warning) => element("p", {}, warning.message));
  if (record?.empty && !said.length) {
    said.push(element("p", {}, "No event of this session was stored, so its pages have little to show. Did Ray export events? The collector's guide names Ray's settings for it."));
  }
  if (lost.length) {
    const files = lost.slice(0, MOST_LOSSES).map((loss) => element("li", {}, element("code", {}, loss.file), `: ${loss.message}`));
    if (total > files.length) files.push(element("li", {}, `and ${number(total - files.length)} more`));
    said.push(element("p", {}, "These files could not be read, so the session is partial:"), element("ul", { className: "plain" }, ...files));
  }
  byId("losses").hidden = !said.length;
  byId("losses").replaceChildren(...said);
}
