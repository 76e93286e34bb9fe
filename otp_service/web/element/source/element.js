// <otp-verification>: attributes and properties in, events out.

const ATTRIBUTES = ["base", "verification-id", "client-token", "locale", "hotline", "challenge"];
const PROPERTIES = ["base", "verificationId", "clientToken", "locale", "hotline", "challenge"];

class OtpVerification extends HTMLElement {
  static observedAttributes = ATTRIBUTES;
  static solve = solve;

  #token = null;
  #challenge = null;
  #flow = null;
  #run = new AbortController();
  #proving = new AbortController();
  #view = new View(this.attachShadow({ mode: "open" }), {
    check: (code) => this.#flow?.check(code),
    resend: () => this.#flow?.resend(),
  });

  connectedCallback() {
    // What was set before this script arrived hides the accessors: set it again.
    for (const name of PROPERTIES) {
      if (!Object.prototype.hasOwnProperty.call(this, name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    this.#begin();
    this.#prove();
  }

  disconnectedCallback() {
    this.#run.abort();
    this.#proving.abort();
  }

  attributeChangedCallback(name, was, value) {
    if (value === was) return;
    if (name === "locale" || name === "hotline") this.#show();
    else if (name === "challenge") this.challenge = value;
    else if (name !== "client-token") this.#begin();
    else if (value !== null) this.clientToken = value;
  }

  get base() { return this.getAttribute("base") ?? HOME; }
  set base(url) { this.#reflect("base", url); }

  get verificationId() { return this.getAttribute("verification-id"); }
  set verificationId(id) { this.#reflect("verification-id", id); }

  get locale() { return localeOf(this.getAttribute("locale")); }
  set locale(locale) { this.#reflect("locale", locale); }

  get hotline() { return this.getAttribute("hotline"); }
  set hotline(number) { this.#reflect("hotline", number); }

  // The token is taken out of the document, where every script and every copy of the page would find it.
  set clientToken(token) {
    this.#token = token;
    this.removeAttribute("client-token");
    this.#begin();
  }

  set challenge(challenge) {
    this.#challenge = challenge;
    this.#prove();
  }

  focus(options) {
    this.#view.focus(options);
  }

  #reflect(name, value) {
    if (value === null || value === undefined) this.removeAttribute(name);
    else this.setAttribute(name, value);
  }

  #begin() {
    this.#run.abort();
    const { signal } = this.#run = new AbortController();
    // Attributes come one after the other: begin once, with all of them.
    queueMicrotask(() => {
      if (signal.aborted) return;
      // A proof that is being worked out stays where it is.
      if (this.#flow) this.#view.hide();
      this.#flow = null;
      if (!this.isConnected || !this.verificationId || !this.#token) return;
      const api = new Api(this.base, this.verificationId, this.#token, () => this.locale, signal);
      this.#flow = new Flow(api, {
        show: () => this.#show(),
        emit: (name, detail) => this.#emit(name, detail),
        fill: (code) => this.#view.fill(code),
        focusCode: () => this.#view.focusCode(),
      }, signal);
      this.#show();
      this.#flow.run();
    });
  }

  #show() {
    if (this.#flow) this.#view.show(wordsOf(speaker(this.locale), this.#flow, this.hotline));
  }

  async #prove() {
    if (!this.isConnected || !this.#challenge) return;
    const challenge = this.#challenge;
    this.#challenge = null;
    this.#proving.abort();
    const { signal } = this.#proving = new AbortController();
    const tell = (key) => this.#view.show({
      phase: "proof", paragraphs: [speaker(this.locale)(key)], steps: [],
    });
    tell("page.element_proving");
    try {
      const proof = await solve(challenge, { signal });
      this.#view.hide();
      this.#emit("otp-proof", { proof });
    } catch (error) {
      if (signal.aborted) return;
      tell("page.trouble_heading");
      this.#emit("otp-error", { code: "proof" });
    }
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail }));
  }
}

globalThis.OtpVerification ??= OtpVerification;
if (!customElements.get("otp-verification")) customElements.define("otp-verification", OtpVerification);
