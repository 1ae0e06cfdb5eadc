// What the Ray dashboard's pages show of a session that has ended, put right after they have drawn it. Found by what is read, not by
// class names, which change with each build; what is not found stays as Ray drew it.

const OPEN = new Set(["RUNNING", "PENDING", "ALIVE", "PENDING_CREATION", "DEPENDENCIES_UNREADY", "RESTARTING", "SUBMITTED_TO_WORKER",
  "PENDING_NODE_ASSIGNMENT", "PENDING_ARGS_AVAIL", "PENDING_ARGS_FETCH", "DEPLOYING", "HEALTHY", "STARTING", "UPDATING"]);
const bar = document.getElementById("ray-history-bar");
const note = document.getElementById("ray-history-note");
const route = () => location.hash.replace(/^#/, "");
let nodesWithLogs = null;

/** RUNNING is what it was when the cluster went away. */
function markStates(root) {
  for (const chip of root.querySelectorAll('span[style*="border-color"] > span:not([data-then])')) {
    if (OPEN.has(chip.textContent.trim())) {
      chip.dataset.then = "";
      chip.title = `${chip.textContent.trim()} when the session ended`;
    }
  }
}

/** A dead node's logs are stored, but its row has no link to them: it stands two cells after the node's id. */
function offerLogsOfRows(root) {
  for (const link of root.querySelectorAll('tr a[href^="#/cluster/nodes/"]')) {
    const row = link.closest("tr");
    const cell = link.closest("td")?.nextElementSibling?.nextElementSibling;
    if (!cell || cell.childNodes.length || row.querySelector('a[href*="/logs"]')) continue;
    const node = link.getAttribute("href").split("/").pop();
    cell.append(Object.assign(document.createElement("a"), { href: `#/logs/?nodeId=${node}`, textContent: "Log" }));
  }
}

/** The list of nodes with logs names only those that are alive. */
async function offerLogsOfNodes(root) {
  const place = document.getElementById("ray-history-nodes");
  if (!/^\/logs\/?$/.test(route())) return place?.remove();
  const list = [...root.querySelectorAll("ul")].find((ul) => ul.textContent.includes("Node ID:")) ?? root.querySelector("main ul");
  if (!list || place) return undefined;
  nodesWithLogs ??= fetch("ray_history/nodes_with_logs").then((answer) => (answer.ok ? answer.json() : []));
  const others = (await nodesWithLogs).filter((node) => !list.textContent.includes(node.node_id));
  if (!others.length || document.getElementById("ray-history-nodes")) return undefined;
  const heading = Object.assign(document.createElement("h2"), { textContent: "Nodes that were gone before the session ended" });
  const section = Object.assign(document.createElement("section"), { id: "ray-history-nodes" });
  section.append(heading, Object.assign(document.createElement("ul")));
  for (const node of others) {
    const what = [node.state, node.ip && `IP: ${node.ip}`, node.hostname].filter(Boolean).join(", ");
    const link = Object.assign(document.createElement("a"), { href: `#/logs/?nodeId=${node.node_id}`, textContent: `Node ID: ${node.node_id}` });
    const item = document.createElement("li");
    item.append(link, ` (${what})`);
    section.lastChild.append(item);
  }
  list.after(section);
  return undefined;
}

function tellOfMetrics(root) {
  for (const alert of root.querySelectorAll(".MuiAlert-message")) {
    if (!alert.textContent.startsWith("Set up Prometheus")) continue;
    alert.textContent = "No metrics were stored with this session. A Grafana that still has them can be shown here: RAY_HISTORY_GRAFANA_URL.";
  }
}

function stopSwitches(root) {
  for (const input of root.querySelectorAll('input[name="refresh"]')) {
    const control = input.closest(".MuiSwitch-root");
    if (!control || control.hidden) continue;
    control.hidden = true;
    if (control.previousSibling?.nodeType === Node.TEXT_NODE) control.previousSibling.nodeValue = "";
  }
}

function tellOfGauges() {
  const cluster = route().startsWith("/cluster");
  note.hidden = !cluster;
  note.textContent = cluster ? "CPU, memory, disk, network, load and processes of nodes were never stored: here they read as zero or nothing." : "";
}

function makeRoom() {
  document.documentElement.style.setProperty("--ray-history-bar", `${bar.offsetHeight}px`);
}

function mark() {
  const root = document.getElementById("root");
  if (!root) return;
  markStates(root);
  offerLogsOfRows(root);
  offerLogsOfNodes(root);
  tellOfMetrics(root);
  stopSwitches(root);
  tellOfGauges();
}

let waiting = false;
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    mark();
  });
}

document.getElementById("ray-history-reload").addEventListener("click", async (event) => {
  event.target.disabled = true;
  await fetch("../load?force=true", { method: "POST" }).catch(() => {});
  // The loading page goes on to where we are.
  location.assign(`../${location.hash}`);
});
new ResizeObserver(makeRoom).observe(bar);
new MutationObserver(soon).observe(document.body, { childList: true, subtree: true, characterData: true });
window.addEventListener("hashchange", soon);
mark();
