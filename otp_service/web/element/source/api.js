// The calls of the public API that a client token opens, each made until its answer arrives.

const PATIENCE_MS = 15_000;
const PAUSES_MS = [500, 1500, 3000];
const LONGEST_PAUSE_MS = 5000;
const PASSING = [502, 503, 504];

// The service said no: a problem document.
class Refused extends Error {
  constructor(problem, status, retryAfterS) {
    super(problem.code);
    this.problem = problem;
    this.code = problem.code;
    this.retryAfterS = retryAfterS;
    this.passing = PASSING.includes(status) || problem.code === "idempotency_in_progress";
  }
}

// No answer came.
class Lost extends Error {
  code = "offline";
  passing = true;
}

class Api {
  constructor(base, id, token, locale, signal) {
    this.path = `${base.replace(/\/+$/, "")}/v1/verifications/${encodeURIComponent(id)}`;
    this.token = token;
    this.locale = locale;
    this.signal = signal;
  }

  read(waitS) {
    return this.once("GET", waitS ? `?wait=${waitS}` : "", {}, PATIENCE_MS + waitS * 1000);
  }

  check(code, key) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    return this.until("/check", headers, JSON.stringify({ code }));
  }

  resend(key) {
    return this.until("/resend", { "Idempotency-Key": key });
  }

  // The same key each time: whatever became of the calls whose answer was lost, it happens once.
  async until(path, headers, body) {
    for (const pause of PAUSES_MS) {
      try {
        return await this.once("POST", path, headers, PATIENCE_MS, body);
      } catch (error) {
        if (!error.passing || error.retryAfterS * 1000 > LONGEST_PAUSE_MS) throw error;
        await pauseOf(Math.max(pause, error.retryAfterS * 1000 || 0), this.signal);
      }
    }
    return this.once("POST", path, headers, PATIENCE_MS, body);
  }

  async once(method, path, headers, patienceMs, body) {
    const call = new AbortController();
    const stop = () => call.abort();
    const timer = setTimeout(stop, patienceMs);
    this.signal.addEventListener("abort", stop);
    try {
      if (this.signal.aborted) throw new Lost();
      return await answerOf(await fetch(this.path + path, {
        method, body, signal: call.signal, credentials: "omit", cache: "no-store", redirect: "error",
        referrerPolicy: "no-referrer",
        headers: { ...headers, "Authorization": `Bearer ${this.token}`, "Accept-Language": this.locale() },
      }));
    } catch (error) {
      throw error instanceof Refused ? error : new Lost();
    } finally {
      clearTimeout(timer);
      this.signal.removeEventListener("abort", stop);
    }
  }
}

async function answerOf(response) {
  const text = await response.text();
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Some proxy's own page: its status says what it is worth.
  }
  if (!response.ok) {
    const code = body.code ?? (PASSING.includes(response.status) ? "unavailable" : "internal");
    throw new Refused({ ...body, code }, response.status, Number(response.headers.get("Retry-After")) || 0);
  }
  if (!body.status) throw new Lost();
  // By the service's clock: a telephone's own may say anything.
  return { seen: body, now: Date.parse(response.headers.get("Date")) || Date.now() };
}

function pauseOf(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

function newKey() {
  return hexOf(crypto.getRandomValues(new Uint8Array(16)));
}
