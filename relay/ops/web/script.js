// The page without this script is whole; with it the view renews itself, and arrow keys go through the heat map.
"use strict";
(function () {
  const every = 10000;
  let paused = false, busy = false;
  const main = () => document.querySelector("main");
  const place = document.querySelector("#renew");
  const button = document.createElement("button");
  button.type = "button";
  function label() {
    button.textContent = paused ? "Renew again" : "Stop renewing";
    button.setAttribute("aria-pressed", String(paused));
  }
  button.addEventListener("click", () => { paused = !paused; label(); });
  label();
  if (place) place.append(button);
  async function renew() {
    if (paused || busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      const wide = main().querySelector(".wide"), at = wide ? [wide.scrollLeft, wide.scrollTop] : null;
      const held = document.activeElement && document.activeElement.getAttribute("href");
      const open = [...main().querySelectorAll("details")].map((d) => d.open);
      [...next.querySelectorAll("details")].forEach((d, k) => { d.open = Boolean(open[k]); });
      main().replaceWith(document.importNode(next, true));
      if (held) for (const a of main().querySelectorAll("a")) if (a.getAttribute("href") === held) { a.focus({ preventScroll: true }); break; }
      const again = main().querySelector(".wide");
      if (again && at) { again.scrollLeft = at[0]; again.scrollTop = at[1]; }
      document.body.dataset.renewed = String(Number(document.body.dataset.renewed || 0) + 1);
    } catch (e) {
      document.title = "(not reached) Postern";
    } finally { busy = false; }
  }
  setInterval(renew, every);
  document.addEventListener("keydown", (e) => {
    const cell = document.activeElement && document.activeElement.closest(".heat td");
    const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
    if (!cell || !way) return;
    const rows = cell.closest("table").tBodies[0].rows;
    let r = cell.parentNode.rowIndex - 1, c = cell.cellIndex;
    for (;;) {
      r += way[0]; c += way[1];
      if (!rows[r] || !rows[r].cells[c] || c < 1) return;
      const a = rows[r].cells[c].querySelector("a");
      if (a) { a.focus(); e.preventDefault(); return; }
    }
  });
})();
