// Saves a click, waits, and works for the first SMS.  Every page says the same without it.
"use strict";
(() => {
  // Back from the next page means that the person wants to be here: nothing is sent by itself then.
  const cameBack = performance.getEntriesByType("navigation")[0]?.type === "back_forward";

  const forms = document.querySelectorAll("form[method=post]");
  for (const form of forms) {
    // A second click on the same button sends nothing; the server would not mind either.
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
    });
  }
  addEventListener("pageshow", () => forms.forEach((form) => delete form.dataset.sent));

  const onward = document.querySelector("form[data-onward]");
  if (onward && !cameBack) onward.requestSubmit();

  const waiting = document.querySelector("[data-wait]");
  if (waiting) wait(waiting.dataset.wait);

  async function wait(url) {
    // A webhook tells the portal; should none come, the page looks for itself after a while.
    for (let at = 0; at < 8; at += 1) {
      await new Promise((done) => setTimeout(done, 1500));
      try {
        const answer = await fetch(url, { headers: { Accept: "application/json" } });
        if (!answer.ok || (await answer.json()).final) break;
      } catch {
        continue;  // the connection is away for a moment; the next look may find it
      }
    }
    location.reload();
  }

  const work = document.querySelector("form[data-challenge]");
  if (work) solve(work);

  async function solve(form) {
    const working = form.querySelector("[data-working]"), failed = form.querySelector("[data-failed]");
    working.hidden = false;
    try {
      const late = new Promise((_, no) => setTimeout(() => no(new Error("no element")), 10000));
      const element = await Promise.race([customElements.whenDefined("otp-verification"), late]);
      const proof = document.createElement("input");
      proof.type = "hidden";
      proof.name = "proof";
      proof.value = await element.solve(JSON.parse(form.dataset.challenge));
      form.append(proof);
      form.requestSubmit();
    } catch {
      // No script of the service, no cryptography: what browsers without JavaScript may do is open here too.
      working.hidden = true;
      failed.hidden = false;
    }
  }
})();
