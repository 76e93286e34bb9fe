// One verification, from the first look at it to its end: what is asked when, and which event tells of what.

const HOLD_S = 20;
const BUSY_LOOK_MS = 2000;
const RAREST_LOOK_MS = 15_000;
const LOSSES_TOLD = 2;

// Refusals after which the verification is no longer what the page thinks it is.
const OUTDATED = ["code_expired", "locked", "already_final", "sends_exhausted"];
// Nothing that a person does on this page changes these.
const HOPELESS = ["unauthenticated", "forbidden", "not_found", "method_not_allowed"];
const ENDS = ["verified", "rejected", "expired", "locked", "cancelled", "undeliverable"];

class Flow {
  // host: {show(), emit(name, detail), fill(code), focusCode()}; signal ends it all.
  constructor(api, host, signal) {
    this.api = api;
    this.host = host;
    this.signal = signal;
    this.seen = null;
    this.busy = "";
    this.alarm = null;
    this.over = false;
    this.gone = false;
    this.resent = false;
    this.ahead = 0;
    this.shutUntil = 0;
    this.turn = 0;
    this.looks = 0;
    this.losses = 0;
    this.keys = {};
    this.heard = 0;
    this.wake = () => {};
    signal.addEventListener("abort", () => this.wake());
  }

  async run() {
    const woken = () => { if (!document.hidden) { this.looks = 0; this.wake(); } };
    const ticker = setInterval(() => this.host.show(), 1000);
    document.addEventListener("visibilitychange", woken);
    window.addEventListener("online", woken);
    while (!this.over && !this.signal.aborted) {
      if (!this.busy) await this.look();
      await this.rest();
    }
    document.removeEventListener("visibilitychange", woken);
    window.removeEventListener("online", woken);
    clearInterval(ticker);
    this.ear?.abort();
  }

  async look() {
    // Older than what was done meanwhile, an answer must not cover it.
    const turn = ++this.turn;
    // Asked before the code, it goes on to `pending`, which no held call waits for.
    const held = this.seen?.status === "checking_ownership" && this.seen.send_number > 0;
    try {
      const answer = await this.api.read(held ? HOLD_S : 0);
      if (turn !== this.turn || this.signal.aborted) return;
      if (this.alarm?.asked === false) this.alarm = null;
      this.losses = 0;
      this.looks += 1;
      this.take(answer);
    } catch (error) {
      if (turn !== this.turn || this.signal.aborted) return;
      this.losses += 1;
      if (this.losses === LOSSES_TOLD || HOPELESS.includes(error.code)) this.fail(error, false);
    }
    this.host.show();
  }

  rest() {
    if (this.over || this.signal.aborted) return undefined;
    return new Promise((resolve) => {
      let timer;
      this.wake = () => { clearTimeout(timer); resolve(); };
      // Nobody looks at a hidden page: it asks again when it is seen.
      if (document.hidden && this.seen) return;
      timer = setTimeout(this.wake, this.pause());
    });
  }

  pause() {
    if (this.busy) return RAREST_LOOK_MS;
    if (this.losses) return Math.min(1000 * 2 ** this.losses, RAREST_LOOK_MS);
    if (this.seen.status !== "pending") return BUSY_LOOK_MS;
    const often = Math.min(BUSY_LOOK_MS + 1000 * this.looks, RAREST_LOOK_MS);
    return Math.min(often, Math.max(this.left("expires_at"), 0) + 1000);
  }

  check(code) {
    return this.act("check", `${this.seen.send_number} ${code}`, (key) => this.api.check(code, key));
  }

  async resend() {
    const before = this.seen.send_number;
    await this.act("resend", `${before}`, (key) => this.api.resend(key));
    const { send_number, sends_left } = this.seen;
    if (send_number === before) return;
    this.resent = true;
    this.host.emit("otp-resent", { send_number, sends_left });
    this.host.show();
  }

  async act(action, what, call) {
    if (this.busy || this.over) return;
    this.busy = action;
    this.alarm = null;
    this.resent = false;
    this.turn += 1;
    this.host.show();
    try {
      const answer = await call(this.key(action, what));
      if (this.signal.aborted) return;
      delete this.keys[action];
      this.looks = 0;
      this.take(answer);
    } catch (error) {
      if (this.signal.aborted) return;
      if (!error.passing) delete this.keys[action];
      this.refuse(action, error);
    } finally {
      this.busy = "";
      this.wake();
      this.host.show();
    }
  }

  // Who presses again after a lost answer repeats what was asked: it costs no second attempt and no second SMS.
  key(action, what) {
    if (this.keys[action]?.what !== what) this.keys[action] = { what, key: newKey() };
    return this.keys[action].key;
  }

  refuse(action, error) {
    if (error.passing || error.code === "internal" || HOPELESS.includes(error.code)) {
      this.fail(error, true);
      return;
    }
    const { code, problem, retryAfterS } = error;
    const { attempts_left = null } = problem;
    if (attempts_left !== null) this.seen.attempts_left = attempts_left;
    if (action === "resend") this.shutUntil = Date.now() + retryAfterS * 1000;
    if (OUTDATED.includes(code)) this.looks = 0;
    this.alarm = { code, detail: problem.errors?.[0]?.message ?? problem.detail };
    this.host.emit("otp-refused", { code, retry_after: retryAfterS || null, attempts_left });
    this.host.show();
    if (action === "check") this.host.focusCode();
  }

  // asked: whether a person pressed a button for it, and may press it again.
  fail({ code }, asked) {
    this.over = this.gone = HOPELESS.includes(code);
    this.alarm = { code, asked };
    this.host.emit("otp-error", { code });
  }

  take({ seen, now }) {
    const was = this.seen;
    this.seen = seen;
    this.ahead = now - Date.now();
    const { id, status, reason, delivery, send_number } = seen;
    if (!was) this.host.emit("otp-ready", { verification: { ...seen } });
    else if (was.delivery !== delivery || was.send_number !== send_number) {
      this.host.emit("otp-delivery", { delivery, send_number });
    }
    if (status === "pending") {
      this.listen();
    } else if (status === "checking_ownership") {
      if (was?.status !== status) this.host.emit("otp-checking", { id });
    } else {
      this.over = true;
      this.alarm = null;
      // A status of a later version is not `verified`, whatever it is.
      if (!ENDS.includes(status)) this.host.emit("otp-error", { code: "unknown_status" });
      else this.host.emit(`otp-${status}`, status === "rejected" ? { id, reason } : { id });
    }
  }

  // WebOTP: the browser reads the origin-bound last line of the SMS, asks the person, and hands the code over.
  async listen() {
    if (!("OTPCredential" in window) || this.heard === this.seen.send_number) return;
    this.heard = this.seen.send_number;
    this.ear?.abort();
    this.ear = new AbortController();
    const { signal } = this.ear;
    try {
      const { code } = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal });
      if (!signal.aborted && this.seen.status === "pending") this.host.fill(code);
    } catch {
      // The person said no, or the portal does not allow it: typing is always possible.
    }
  }

  // Milliseconds until one of the verification's times; negative once it has passed.
  left(name) {
    return Date.parse(this.seen[name]) - this.ahead - Date.now();
  }

  // The same until a resend is possible: a refusal knows better than a clock that some proxy put in.
  resendLeft() {
    return Math.max(this.seen.resend_at ? this.left("resend_at") : 0, this.shutUntil - Date.now());
  }
}
