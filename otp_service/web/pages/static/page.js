"use strict";

// The page works without this script.  With it the waits count down, the SMS fills itself in where the browser can
// (WebOTP), delivery and the carrier's answer show without a refresh, and the token may come in the fragment.

(() => {
  const PREFIX = "vt_";
  const RETRY_MS = 2000;
  const MAX_RETRIES = 5;
  const BUSY_MS = 10000;
  const HINT_MS = 6000;

  // --- The token in the fragment --------------------------------------------------------------------------------

  // Out of the address and the history before anything else: neither may keep it.
  const takeToken = () => {
    const token = location.hash.slice(1);
    if (!token.startsWith(PREFIX)) return null;
    history.replaceState(null, "", location.pathname + location.search);
    return token;
  };

  // Sent as a portal's form would send it, by fetch: what follows must not count as the redirects of a form.
  const enter = async (token) => {
    const here = location.pathname + location.search;
    const pause = () => new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    document.documentElement.classList.add("is-entering");
    for (let tries = 0; tries < MAX_RETRIES; tries += 1) {
      const answer = await fetch(here, {
        method: "POST", body: new URLSearchParams({ client_token: token }), redirect: "manual",
      }).catch(() => null); // no network: tried again below
      if (answer && (answer.type === "opaqueredirect" || answer.status < 500)) break;
      await pause();
    }
    location.replace(here);
  };

  const token = takeToken();

  // --- The page of a verification -------------------------------------------------------------------------------

  const run = (main) => {
    const byId = (id) => document.getElementById(id);
    const { mark, page, state, offline, sending } = main.dataset;
    const live = byId("live");
    const delivery = byId("delivery");
    const resends = byId("resends");
    const wait = byId("wait");
    const valid = byId("valid");
    const again = document.querySelector("#resend button");
    const smsAsked = new AbortController();
    let timer = 0;
    let busy = false;

    // Screen readers speak what changes, so only what really changed is written.
    const say = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };

    const hint = (text) => {
      say(live, text);
      setTimeout(() => { if (live.textContent === text) say(live, ""); }, HINT_MS);
    };

    // Seconds from the server, counted by a clock that nobody can set: the device's may be wrong.
    const ends = new Map();
    const count = (element, seconds) => { if (element) ends.set(element, performance.now() + seconds * 1000); };
    const left = (element) => Math.max(0, Math.ceil((ends.get(element) - performance.now()) / 1000));
    const minutes = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const fill = (element) => element.dataset.text.replace("{time}", minutes(left(element)));

    const tick = () => {
      if (wait && again) {
        const waiting = left(wait) > 0;
        const released = !waiting && again.getAttribute("aria-disabled") === "true";
        again.setAttribute("aria-disabled", String(waiting || busy));
        wait.textContent = waiting ? fill(wait) : wait.dataset.now;
        if (released && !busy) hint(wait.dataset.now);
      }
      if (valid && ends.has(valid)) {
        valid.textContent = fill(valid);
        if (left(valid) === 0) {
          ends.delete(valid);
          poll();
        }
      }
    };

    const show = (found) => {
      if (found.mark !== mark) {
        // Another tab, the clock or the carrier has moved on.
        if (!busy) location.replace(page);
        return;
      }
      say(delivery, found.delivery);
      say(resends, found.resends);
      if (found.resend_in_s !== null) count(wait, found.resend_in_s);
      count(valid, found.code_in_s);
      if (live.textContent === offline) say(live, "");
      tick();
    };

    const poll = async () => {
      clearTimeout(timer);
      if (document.hidden) return; // the page asks again when it is looked at
      let seconds = Number(main.dataset.again);
      try {
        const answer = await fetch(state, { cache: "no-store" });
        if (answer.status === 404) {
          location.replace(page);
          return;
        }
        if (answer.ok) {
          const found = await answer.json();
          seconds = found.again_s;
          show(found);
        }
      } catch {
        if (!busy) say(live, offline);
      }
      clearTimeout(timer);
      timer = setTimeout(poll, seconds * 1000);
    };

    // Said where the person looks, in the button that was pressed, and to screen readers.
    let pressed = null;
    const setBusy = (now, button) => {
      busy = now;
      if (pressed) pressed.textContent = pressed.dataset.name;
      pressed = button || null;
      if (pressed) {
        pressed.dataset.name = pressed.textContent;
        pressed.textContent = sending;
      }
      if (live.textContent === sending || now) say(live, now ? sending : "");
      tick();
    };

    for (const form of document.querySelectorAll("form")) {
      form.addEventListener("submit", (event) => {
        const waits = form.id === "resend" && left(wait) > 0;
        if (busy || waits) {
          event.preventDefault();
          if (waits) hint(fill(wait));
          return;
        }
        smsAsked.abort();
        setBusy(true, form.querySelector("button"));
        // A reply that never comes must not leave the page dead; the form's key makes a second press harmless.
        setTimeout(setBusy, BUSY_MS, false);
      });
    }

    // The SMS fills itself in, where browser and SMS agree on this host (WICG WebOTP).
    const code = byId("code");
    if (code && "OTPCredential" in window) {
      navigator.credentials.get({ otp: { transport: ["sms"] }, signal: smsAsked.signal }).then((sms) => {
        code.value = sms.code;
        code.form.requestSubmit();
      }).catch(() => {}); // refused, aborted or timed out: people type
    }

    for (const element of [wait, valid]) if (element) count(element, Number(element.dataset.seconds));
    tick();
    setInterval(tick, 500);
    const notice = byId("notice");
    if (notice && notice.getAttribute("role") === "alert") notice.focus();
    addEventListener("visibilitychange", poll);
    addEventListener("online", poll);
    addEventListener("pageshow", (event) => {
      if (event.persisted) {
        setBusy(false);
        poll();
      }
    });
    if (code || again || mark.startsWith("checking")) timer = setTimeout(poll, Number(main.dataset.again) * 1000);
  };

  const begin = () => {
    const main = document.querySelector("main");
    const gone = "gone" in main.dataset;
    // A link that is opened once more in a tab that shows the page already changes the fragment alone.
    addEventListener("hashchange", () => {
      const found = takeToken();
      if (found && gone) enter(found);
    });
    if (gone && token) enter(token);
    if (main.dataset.mark) run(main);
  };

  if (document.readyState === "loading") {
    if (token && !document.currentScript.defer) document.documentElement.classList.add("is-entering");
    addEventListener("DOMContentLoaded", begin);
  } else {
    begin();
  }
})();
