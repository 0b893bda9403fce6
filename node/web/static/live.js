// Pages stay as they are without this. With it, their regions marked data-live are kept up to date:
// the server tells that something changed, and the page asks for itself again.
"use strict";

(() => {
  const REST_MS = 1000; // between two updates at least
  const SPREAD_MS = 400; // so that many pages do not ask at the same moment
  const POLL_MS = 60000; // where the server has no place for another listener
  const regions = () => document.querySelectorAll("[data-live][id]");
  const status = document.getElementById("live");
  let last = null;
  let isDue = false;
  let isBusy = false;

  const say = (what) => {
    if (status && status.dataset.state !== what) {
      status.dataset.state = what;
      status.textContent = status.dataset[what];
    }
  };

  // Nothing is taken from under a finger, a cursor or a selection.
  const isInUse = (region) => {
    const selection = document.getSelection();
    const isSelected =
      selection && !selection.isCollapsed && selection.containsNode(region, true);
    return isSelected || (region.contains(document.activeElement) && document.hasFocus());
  };

  const put = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const region of regions()) {
      const other = fresh.getElementById(region.id);
      if (!other || isInUse(region) || region.innerHTML === other.innerHTML) continue;
      const open = [...region.querySelectorAll("details[open][id]")].map((each) => each.id);
      for (const id of open) {
        const details = other.querySelector(`#${CSS.escape(id)}`);
        if (details) details.open = true;
      }
      const spoken = region.querySelector("[aria-live]");
      const heard = other.querySelector("[aria-live]");
      if (spoken && heard && spoken.className === heard.className) {
        // What a screen reader listens to stays, and only its words change.
        if (spoken.innerHTML !== heard.innerHTML) spoken.innerHTML = heard.innerHTML;
        if (heard.href) spoken.setAttribute("href", heard.getAttribute("href"));
        heard.replaceWith(spoken);
      }
      region.replaceChildren(...other.childNodes);
    }
  };

  const update = async () => {
    if (isBusy) {
      isDue = true;
      return;
    }
    isBusy = true;
    isDue = false;
    try {
      await new Promise((done) => setTimeout(done, Math.random() * SPREAD_MS));
      const response = await fetch(location.href, { cache: "no-cache" });
      if (response.ok) put(await response.text());
    } catch {
      say("off");
    }
    await new Promise((done) => setTimeout(done, REST_MS));
    isBusy = false;
    if (isDue) update();
  };

  // A page that nobody sees holds no connection: browsers have six for each server.
  let source = null;
  let polling = 0;
  const leave = () => {
    if (source) source.close();
    source = null;
    clearInterval(polling);
  };
  const listen = () => {
    if (source || document.hidden) return;
    source = new EventSource("/live");
    source.onmessage = (event) => {
      const isNews = last !== null && last !== event.data;
      last = event.data;
      say("on");
      if (isNews) update();
    };
    source.onerror = () => {
      say("off");
      if (source.readyState !== EventSource.CLOSED) return;
      clearInterval(polling);
      polling = setInterval(update, POLL_MS);
    };
  };

  if (!regions().length) return;
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", listen);
})();
