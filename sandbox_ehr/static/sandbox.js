"use strict";
// The form works without this file; it adds rows, shows the FHIR draft, and warms the payer with order-select.

const form = document.querySelector("form[data-order]");

document.querySelector("[data-focus]")?.focus({ preventScroll: false });

function later(milliseconds, act) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
}

async function post(url) {
  const answer = await fetch(url, { method: "POST", body: new FormData(form) });
  return answer.ok ? answer.json() : null;
}

function addRow(rows, values) {
  const template = rows.parentElement.querySelector("template");
  rows.append(template.content.cloneNode(true));
  const row = rows.lastElementChild;
  if (values) {
    row.querySelectorAll("select, input").forEach((field, index) => { field.value = values[index]; });
  }
  return row;
}

function setUp() {
  const drug = form.querySelector("[data-drug]");
  const solution = form.querySelector("fieldset[data-solution]");
  const drawer = form.querySelector("[data-drawer]");
  const json = form.querySelector("[data-json]");
  const selected = form.querySelector("[data-selected]");

  const showSolution = () => {
    solution.hidden = drug.selectedOptions[0]?.dataset.solution !== "true";
  };
  const showDraft = later(150, async () => {
    if (!drawer.open) return;
    const answer = await post(form.dataset.draft).catch(() => null);
    json.textContent = answer?.draft || "The form is not complete yet.";
  });
  const warm = later(700, async () => {
    const answer = await post(form.dataset.select).catch(() => null);
    if (answer?.status) selected.textContent = `order-select: ${answer.status}, ${answer.milliseconds} ms`;
  });
  const changed = () => { showDraft(); warm(); };

  drug.addEventListener("change", () => {
    const item = drug.selectedOptions[0];
    showSolution();
    if (!item.value) return;
    form.elements.route.value = item.dataset.route;
    if (item.dataset.solution === "true") {
      const rows = solution.querySelector("[data-rows]");
      rows.replaceChildren();
      JSON.parse(item.dataset.ingredients).forEach((values) => addRow(rows, values));
    }
  });
  form.addEventListener("click", (event) => {
    const add = event.target.closest("[data-add]");
    const remove = event.target.closest("[data-remove]");
    if (add) {
      addRow(add.parentElement.querySelector("[data-rows]")).querySelector("select, input").focus();
      changed();
    }
    if (remove) {
      const section = remove.closest("[data-rows]").parentElement;
      remove.closest(".row").remove();
      section.querySelector("[data-add]").focus();
      changed();
    }
  });
  form.addEventListener("input", changed);
  drawer.addEventListener("toggle", showDraft);
  form.addEventListener("submit", (event) => {
    const button = form.querySelector("[data-sign]");
    if (!button || button.getAttribute("aria-disabled") === "true") {
      event.preventDefault();
      return;
    }
    button.setAttribute("aria-disabled", "true");
    button.textContent = "Signing…";
  });
  window.addEventListener("pageshow", () => {
    const button = form.querySelector("[data-sign]");
    button?.removeAttribute("aria-disabled");
    if (button) button.textContent = "Sign";
  });
  showSolution();
}

if (form) setUp();
