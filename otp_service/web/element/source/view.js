// What a person sees.  Made once, without markup in strings; later only the texts that change are touched, so that a
// screen reader reads out what is new and nothing else.

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
}

class View {
  // on: {check(code), resend()}
  constructor(root, on) {
    this.root = root;
    this.heading = make("h2", { part: "heading", id: "heading", tabindex: "-1" });
    this.alarm = make("p", { part: "alarm", id: "alarm", role: "alert" });
    this.sent = make("p", { id: "sent" });
    this.label = make("label", { part: "label", for: "code" });
    this.input = make("input", {
      part: "input", id: "code", name: "code", type: "text", inputmode: "numeric", autocomplete: "one-time-code",
      autocapitalize: "off", spellcheck: "false", maxlength: "20", "aria-describedby": "alarm sent left",
    });
    this.left = make("p", { part: "note", id: "left" });
    this.submit = make("button", { part: "submit", type: "submit" });
    this.secret = make("p", { part: "note" });
    this.form = make(
      "form", { part: "form", novalidate: "" },
      this.sent, this.label, this.input, this.submit, this.left, this.secret,
    );
    this.status = make("div", { part: "status", role: "status" });
    this.resend = make("button", { part: "resend", type: "button", "aria-describedby": "wait" });
    this.wait = make("p", { part: "note", id: "wait" });
    this.missing = make("h3", {});
    this.advice = make("p", { part: "note" });
    this.again = make("div", { part: "again" }, this.missing, this.resend, this.wait, this.advice);
    this.ended = make("slot", { name: "ended" });
    this.call = make("a", { part: "help" });
    this.help = make("p", {}, this.call);
    this.box = make(
      "section", { part: "box", "aria-labelledby": "heading" },
      this.heading, this.alarm, this.form, this.status, this.again, this.ended, this.help,
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      on.check(this.input.value);
    });
    this.resend.addEventListener("click", () => {
      if (this.resend.getAttribute("aria-disabled") !== "true") on.resend();
    });
    // Where the person was when the page asked for the focus and there was no field yet.
    this.asked = null;
    dress(root);
    this.hide();
    root.append(this.box);
  }

  hide() {
    this.box.hidden = true;
    this.phase = "";
    this.met = false;
  }

  // The field, and as long as there is none what is told; the field that comes then is meant as well.
  focus(options) {
    this.asked = this.met && !this.form.hidden ? null : document.activeElement;
    this.place().focus(options);
  }

  place() {
    return this.form.hidden ? this.heading : this.input;
  }

  // Nobody is taken away from where they are busy, and nobody who has done nothing yet to a field.
  free() {
    const at = document.activeElement;
    if (at && at === this.asked) return true;
    const idle = !at || at === document.body || this.root.host.contains(at);
    return idle && (this.asked || navigator.userActivation?.hasBeenActive);
  }

  // words: see words.js.
  show({ phase, heading = "", alarm = "", paragraphs = [], steps = [], entry, ended, help }) {
    const was = this.phase;
    this.phase = phase;
    this.box.hidden = false;
    const taken = was !== phase && (this.root.activeElement || (entry && !this.met && this.free()));
    put(this.heading, heading);
    put(this.alarm, alarm);
    this.write(paragraphs, steps);
    this.form.hidden = this.again.hidden = !entry;
    this.ended.hidden = !ended;
    if (was !== phase) this.input.value = "";
    if (entry) this.enter(entry);
    this.point(help);
    // Who had the focus in what goes away is taken along, to the next code or to what is told.
    if (taken) this.place().focus();
    if (entry) [this.met, this.asked] = [true, null];
  }

  point(help) {
    put(this.call, help?.text ?? "");
    this.help.hidden = !help;
    if (help) this.call.setAttribute("href", `tel:${help.number}`);
  }

  enter({ busy, invalid, sent, label, submit, left, secret, missing, resend, waiting, wait, advice }) {
    this.input.setAttribute("aria-invalid", `${invalid}`);
    put(this.secret, secret);
    put(this.sent, sent);
    put(this.label, label);
    put(this.submit, submit);
    put(this.left, left);
    put(this.missing, missing);
    put(this.resend, resend);
    put(this.advice, advice);
    allow(this.submit, !busy);
    allow(this.resend, !busy && !waiting);
    // A countdown that is read out every second would drown everything else; its end is worth a word.
    this.wait.setAttribute("aria-live", waiting ? "off" : "polite");
    put(this.wait, wait);
  }

  write(paragraphs, steps) {
    const text = [...paragraphs, ...steps].join("\n");
    if (this.written === text) return;
    this.written = text;
    const list = steps.length ? [make("ul", {}, ...steps.map((step) => make("li", {}, step)))] : [];
    this.status.replaceChildren(...paragraphs.map((paragraph) => make("p", {}, paragraph)), ...list);
  }

  fill(code) {
    this.input.value = code;
    this.form.requestSubmit();
  }

  // After a guess that was refused: the next digits replace it.
  focusCode() {
    this.input.focus();
    this.input.select();
  }
}

// Blocked buttons are not `disabled`: they keep the focus, and their description says how long it takes.
function allow(button, ready) {
  button.setAttribute("aria-disabled", `${!ready}`);
}

// A style sheet of its own, which the page's Content-Security-Policy need not allow.
function dress(root) {
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
  } catch {
    // A browser from before 2023: where the policy forbids this as well, the element is plain and works.
    root.append(make("style", {}, STYLE));
  }
}
