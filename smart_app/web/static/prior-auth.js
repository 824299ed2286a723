// Small help on top of plain forms: no second press while a request is under way, no complaint about what has been
// put right, and news without reloading.
"use strict";

for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button[type=submit]");
    button.disabled = true;
    button.textContent = form.dataset.once;
  });
}

for (const complaint of document.querySelectorAll(".error[id]")) {
  const asked = document.querySelector(`[aria-describedby~="${CSS.escape(complaint.id)}"]`);
  asked?.addEventListener("input", () => {
    complaint.remove();
    asked.removeAttribute("aria-invalid");
  }, { once: true });
}

const standing = document.querySelector("#standing[data-state]");
if (standing) {
  const PAUSE = 3000;
  const LONGEST = 60000;
  let pause = PAUSE;

  const look = async () => {
    try {
      const answer = await fetch(standing.dataset.state, { headers: { Accept: "application/json" } });
      if (answer.status >= 500) throw new Error(answer.statusText); // busy: looked at again later
      if (!answer.ok) return;
      const told = await answer.json();
      if (told.at === standing.dataset.at) {
        pause = Math.min(pause * 1.2, LONGEST);
        setTimeout(look, pause);
        return;
      }
      const page = await fetch(standing.dataset.page);
      if (!page.ok) return;
      const fresh = new DOMParser().parseFromString(await page.text(), "text/html");
      document.querySelector("main").replaceChildren(...fresh.querySelector("main").childNodes);
      document.title = fresh.title;
      document.querySelector("#standing-title")?.setAttribute("tabindex", "-1");
      document.querySelector("#standing-title")?.focus();
      if (document.querySelector("#standing[data-state]")) location.replace(standing.dataset.page);
    } catch {
      setTimeout(look, LONGEST);
    }
  };
  setTimeout(look, pause);
}
