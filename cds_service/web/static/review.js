"use strict";
// Keys of the queue, and the print button. Every page works without this file.
(() => {
  const print = document.querySelector("[data-print]");
  if (print) print.addEventListener("click", () => window.print());

  const table = document.querySelector("[data-keys]");
  if (!table) return;
  const rows = [...table.querySelectorAll("[data-row]")];
  let here = -1;

  const go = (to) => {
    if (!rows.length) return;
    here = Math.max(0, Math.min(rows.length - 1, to));
    rows.forEach((row, place) => row.classList.toggle("here", place === here));
    rows[here].focus();
  };

  const acts = {
    j: () => go(here + 1),
    k: () => go(here - 1),
    Enter: () => rows[here]?.querySelector("a")?.click(),
    o: () => rows[here]?.querySelector("a")?.click(),
    t: () => rows[here]?.querySelector("[data-take]")?.click(),
    "/": () => document.querySelector(".filters select")?.focus(),
    "?": () => table.querySelector("caption").scrollIntoView({ block: "center" }),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, button, a, summary");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
})();
