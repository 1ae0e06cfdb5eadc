// Runs before the Ray dashboard's own scripts, which were written for a cluster that runs.
// For a session that has ended: its clock stands still, nothing is polled, and what only a live cluster has is said to be missing.
(() => {
  const session = JSON.parse(document.querySelector('meta[name="ray-history-session"]').content);
  // Where the dashboard lies below its server, with a final slash.
  const here = new URL("./", location.href).pathname;

  /** `new Date()` and `Date.now()` are the session's end: ages and durations are counted to it. */
  function stopClock(now) {
    const Real = Date;
    const Stopped = new Proxy(Real, {
      construct: (target, given, made) => Reflect.construct(target, given.length ? given : [now], made === Stopped ? target : made),
      apply: () => new Real(now).toString(),
      get: (target, name) => (name === "now" ? () => now : Reflect.get(target, name)),
    });
    Real.prototype.constructor = Stopped;
    window.Date = Stopped;
  }

  /**
   * What was fetched stays good. The pages poll by intervals, and by SWR, which asks again only once its window for the same
   * question has closed: that window, alone in having this length, is left open. What failed is still tried again.
   */
  function stopPolling() {
    const { setInterval, setTimeout } = window;
    const SHORTEST_POLL = 1000;
    const SWR_DEDUPING_INTERVAL = 2000;
    window.setInterval = (run, delay, ...given) => (delay >= SHORTEST_POLL ? 0 : setInterval(run, delay, ...given));
    window.setTimeout = (run, delay, ...given) => (delay === SWR_DEDUPING_INTERVAL ? 0 : setTimeout(run, delay, ...given));
  }

  /** Some builds ask for `/api/...` at the server's root, which knows no session: it is asked below the dashboard's own path. */
  function askBelow() {
    const below = (address) => (/^\/(?!\/)/.test(address) && !address.startsWith(here) ? here + address.slice(1) : address);
    const { fetch, XMLHttpRequest } = window;
    window.fetch = (asked, options) => fetch(typeof asked === "string" ? below(asked) : asked, options);
    const { open } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.open = function (method, address, ...others) {
      return open.call(this, method, below(String(address)), ...others);
    };
  }

  /** Panels of a configured Grafana show the session's time, and are not refreshed. */
  function showThen(grafana, start, end) {
    HTMLIFrameElement.prototype.setAttribute = function (name, value) {
      let address = value;
      if (name === "src" && String(value).startsWith(grafana)) {
        address = new URL(value);
        address.searchParams.set("from", start);
        address.searchParams.set("to", end);
        address.searchParams.delete("refresh");
      }
      return Element.prototype.setAttribute.call(this, name, address);
    };
  }

  function nameTab() {
    const name = () => {
      if (!document.title.startsWith(session.title)) document.title = `${session.title} - ${document.title}`;
    };
    name();
    new MutationObserver(name).observe(document.head, { childList: true, characterData: true, subtree: true });
  }

  if (session.now) stopClock(session.now);
  stopPolling();
  askBelow();
  if (session.grafana && session.now) showThen(session.grafana, session.start, session.now);
  nameTab();
})();
