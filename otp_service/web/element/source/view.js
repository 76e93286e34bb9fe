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
    this.again = make("div", { part: "again" }, this.resend, this.wait);
    this.ended = make("slot", { name: "ended" });
    this.box = make(
      "section", { part: "box", "aria-labelledby": "heading" },
      this.heading, this.alarm, this.form, this.status, this.again, this.ended,
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      on.check(this.input.value);
    });
    this.resend.addEventListener("click", () => {
      if (this.resend.getAttribute("aria-disabled") !== "true") on.resend();
    });
    dress(root);
    this.hide();
    root.append(this.box);
  }

  hide() {
    this.box.hidden = true;
    this.phase = "";
  }

  // words: see words.js.
  show({ phase, heading = "", alarm, paragraphs, steps, entry, ended }) {
    const was = this.phase;
    this.phase = phase;
    this.box.hidden = false;
    const within = was !== phase && this.root.activeElement;
    put(this.heading, heading);
    put(this.alarm, alarm);
    this.write(paragraphs, steps);
    this.form.hidden = this.again.hidden = !entry;
    this.ended.hidden = !ended;
    if (was !== phase) this.input.value = "";
    if (entry) this.enter(entry);
    // Who had the focus in what goes away is taken along, to the next code or to what is told.
    if (within) (entry ? this.input : this.heading).focus();
  }

  enter({ busy, invalid, sent, label, submit, left, secret, resend, waiting, wait }) {
    this.input.setAttribute("aria-invalid", `${invalid}`);
    put(this.secret, secret);
    put(this.sent, sent);
    put(this.label, label);
    put(this.submit, submit);
    put(this.left, left);
    put(this.resend, resend);
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
