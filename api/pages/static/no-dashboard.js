import { ask, byId, element, kinds, reference } from "./common.js";

const ref = reference();
byId("name").textContent = `${kinds[ref.kind] ?? ref.kind} ${ref.name}`;
byId("address").textContent = new URL("./", location.href).href.replace(/\/$/, "");
document.title = `${ref.name} - Ray History Server`;

ask("api/version")
  .then((told) => { byId("version").textContent = told.ray_version; })
  .catch(() => {}); // the words RAY_VERSION stay

ask("api/v0/nodes?limit=1000")
  .then(({ data }) => {
    const nodes = data.result.result;
    if (!nodes.length) throw new Error("No nodes are known.");
    byId("logs").replaceChildren(...nodes.map((node) => {
      const label = `${node.node_ip ?? ""} ${node.is_head_node ? "(head) " : ""}${node.node_id}`.trim();
      return element("li", {}, element("a", { href: `api/v0/logs?node_id=${encodeURIComponent(node.node_id)}` }, label));
    }));
  })
  .catch((error) => { byId("no-nodes").textContent = error.message; });
