// Small helps on top of a form that works without them: an answer is sent as soon as it is given, and the questions that
// follow from it appear; lists are searched while one types; a draft goes to the chart after a pause.
"use strict";

(() => {
  const AUTOSAVE_AFTER = 20000;
  const TYPING_PAUSE = 350;

  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }

  // Times of the server in the reader's own clock.
  function localTimes() {
    for (const time of document.querySelectorAll("time[data-clock]")) {
      time.textContent = new Date(time.dateTime).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      delete time.dataset.clock;
    }
  }
  localTimes();

  const form = document.getElementById("coverage-form");
  const body = document.getElementById("form-body");
  const status = document.getElementById("form-status");
  if (!form || !body) return;

  (document.getElementById("problems") ?? document.getElementById("mine"))?.focus();

  let queue = Promise.resolve();
  let waiting = 0;
  let autosave = 0;
  let leaving = false;

  form.elements.clock.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
  const csrf = form.elements.csrf_token.value;
  const post = (url, data) =>
    fetch(url, { method: "POST", body: data, headers: { "X-CSRF-Token": csrf, "X-Fragment": "1" }, redirect: "manual" });

  // What each field holds now, by its id.
  function held() {
    const fields = [...body.querySelectorAll("input[id], select[id], textarea[id]")];
    return new Map(fields.map((each) => [each.id, /^(checkbox|radio)$/.test(each.type) ? each.checked : each.value]));
  }

  // Where the person is.
  function place() {
    const active = document.activeElement;
    if (!active || !body.contains(active) || !active.id) return null;
    const typed = typeof active.value === "string" && /^(text|search|url|textarea)$/.test(active.type);
    return { id: active.id, from: typed ? active.selectionStart : null, to: typed ? active.selectionEnd : null };
  }

  // The page as the server has it, and in it whatever was entered since ``sent`` went off, and files beside the one of
  // ``key``, which went with it: an answer must not be lost because the next one was quicker than the network.
  function swap(html, sent, key) {
    const at = place();
    const open = [...body.querySelectorAll("details[open][id]")].map((each) => each.id);
    const since = [...held()].filter(([id, value]) => sent.has(id) && sent.get(id) !== value);
    const files = [...body.querySelectorAll('input[type="file"]')].filter((each) => each.value && each.name !== "f:" + key);
    body.innerHTML = html;
    localTimes();
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const file of files) document.getElementById(file.id)?.replaceWith(file);
    for (const [id, value] of since) {
      const field = document.getElementById(id);
      if (!field || field.type === "file") continue;
      if (typeof value === "boolean") field.checked = value;
      else field.value = value;
    }
    const again = at && document.getElementById(at.id);
    if (!again) return;
    again.focus({ preventScroll: true });
    if (at.from !== null && again.setSelectionRange) again.setSelectionRange(at.from, at.to);
  }

  function say(text) {
    status.textContent = text;
  }

  async function send(action, key) {
    const data = new FormData(form);
    for (const [name, value] of [...data.entries()]) {
      if (value instanceof File && !(key && name === "f:" + key)) data.delete(name);
    }
    data.set("do", action);
    const sent = held();
    let answer;
    try {
      answer = await post(form.action, data);
    } catch {
      say("The app could not be reached. Your entries are still on this page.");
      return;
    }
    const fragment = (answer.ok || answer.status === 409 || answer.status === 422) && answer.headers.get("Content-Type")?.startsWith("text/html");
    if (!fragment) {
      if (answer.type === "opaqueredirect" || answer.status >= 400) say("Not saved yet. Press Save draft to see why.");
      return;
    }
    const html = await answer.text();
    if (html.includes("<html")) return;
    swap(html, sent, key);
    say(document.getElementById("bar-state")?.textContent ?? "");
  }

  function later(action, key) {
    waiting += 1;
    queue = queue.then(() => (leaving ? undefined : send(action, key))).finally(() => {
      waiting -= 1;
    });
    return queue;
  }

  form.addEventListener("change", (event) => {
    const field = event.target;
    if (!field.name || /^(q:|version|csrf)/.test(field.name)) return;
    if (field.type === "checkbox" && field.checked) only(field);
    if (field.type === "datetime-local") choose(field);
    if (field.name.startsWith("x:") && !field.checked) return;
    later("check", field.name.slice(2));
    clearTimeout(autosave);
    autosave = setTimeout(() => later("save"), AUTOSAVE_AFTER);
  });

  // A time is meant in the reader's own zone unless another one was chosen. What is chosen stays visible beside it.
  function choose(field) {
    const zone = document.getElementById(field.id + "-z");
    if (!zone || !field.value || (zone.value !== "" && zone.value !== offset(field.defaultValue))) return;
    const own = offset(field.value);
    if (![...zone.options].some((each) => each.value === own)) zone.add(new Option("UTC" + own.replace("-", "\u2212"), own));
    zone.value = own;
  }

  function offset(moment) {
    const east = -new Date(moment).getTimezoneOffset();
    if (!Number.isFinite(east)) return "";
    const two = (number) => String(Math.trunc(number)).padStart(2, "0");
    return (east < 0 ? "-" : "+") + two(Math.abs(east) / 60) + ":" + two(Math.abs(east) % 60);
  }

  // "None of these" stands alone.
  function only(field) {
    for (const other of form.querySelectorAll('input[type="checkbox"]')) {
      const same = other.name === field.name && other !== field;
      if (same && ("exclusive" in field.dataset || "exclusive" in other.dataset)) other.checked = false;
    }
  }

  let typing = 0;
  form.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.dataset.at) return;
    clearTimeout(typing);
    typing = setTimeout(() => search(field), TYPING_PAUSE);
  });

  async function search(field) {
    const box = field.closest("[data-search]");
    if (!box || field.value.trim().length < 2) return;
    const data = new FormData();
    data.set("at", field.dataset.at);
    data.set("q:" + field.dataset.at, field.value);
    const asked = field.value;
    try {
      const answer = await post(box.dataset.search, data);
      const now = document.getElementById(field.id);
      if (answer.ok && now && now.value === asked) now.closest("[data-search]").querySelector(".hits").innerHTML = await answer.text();
    } catch {
      say("The list could not be searched just now.");
    }
  }

  form.addEventListener("keydown", (event) => {
    const field = event.target;
    if (event.key !== "Enter" || field.tagName !== "INPUT" || /^(button|submit|checkbox|radio|file)$/.test(field.type)) return;
    event.preventDefault();
    if (field.dataset.at) search(field);
    else later("check", field.name.slice(2));
  });

  // A button of the form waits until every answer before it has arrived.
  form.addEventListener("submit", (event) => {
    clearTimeout(autosave);
    if (leaving) {
      event.preventDefault();
      return;
    }
    const button = event.submitter;
    if (waiting > 0) {
      event.preventDefault();
      queue.then(() => {
        const again = button && [...form.querySelectorAll("button[type=submit]")].find((each) => each.name === button.name && each.value === button.value);
        form.requestSubmit(again ?? undefined);
      });
      return;
    }
    leaving = true;
    form.classList.add("busy");
  });
  window.addEventListener("pageshow", () => {
    leaving = false;
    form.classList.remove("busy");
  });
})();
