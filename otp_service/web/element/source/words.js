// What there is to say about a verification as it stands: the sentences of the hosted page, and no markup.

// Refusals of what stands in the field.
const INVALID = ["wrong_code", "invalid_request"];

const LOCALES = Object.keys(TEXTS);

// The language asked for, else the page's own, else the first there is.
function localeOf(asked) {
  const found = `${asked || document.documentElement.lang}`.toLowerCase().split("-")[0];
  return LOCALES.includes(found) ? found : LOCALES[0];
}

function speaker(locale) {
  const texts = TEXTS[locale];
  return (key, values = {}) => texts[key]?.replace(/\{([a-z_]+)\}/g, (_, name) => values[name]);
}

// Minutes and seconds, rounded up: whoever waits that long is not refused again.
function clock(ms) {
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${`${seconds % 60}`.padStart(2, "0")}`;
}

// say: see speaker(); flow: see flow.js; hotline: a telephone number or null.
function wordsOf(say, flow, hotline) {
  const { seen, gone } = flow;
  const help = hotline && { text: say("page.hotline", { hotline }), number: hotline.replace(/[^0-9+]/g, "") };
  const said = { alarm: alarmOf(say, flow), help };
  if (gone) return { ...said, alarm: "", ...goneOf(say) };
  if (!seen) return { ...said, phase: "entering", paragraphs: [say("page.entering")] };
  if (seen.status === "pending") return { ...said, ...entryOf(say, flow) };
  if (seen.status === "checking_ownership") return { ...said, ...checkingOf(say, seen) };
  return { ...said, alarm: "", ...endOf(say, seen) };
}

function goneOf(say) {
  return { phase: "gone", heading: say("page.gone_heading"), paragraphs: [say("page.gone_text")] };
}

function alarmOf(say, { alarm, seen }) {
  if (!alarm) return "";
  const own = say(`page.said_${alarm.code}`, { ...seen, sms_mark: seen && say("page.sms_mark", seen) });
  return own ?? alarm.detail ?? say(alarm.asked ? "page.element_press_again" : "page.offline");
}

function entryOf(say, flow) {
  const { seen, busy, alarm } = flow;
  const sms_mark = say("page.sms_mark", seen);
  const codeMs = flow.left("code_expires_at");
  const waitMs = flow.resendLeft();
  const over = say(seen.sends_left ? "page.element_code_over" : "statuses.expired");
  const good = codeMs > 0 ? say("page.code_left", { time: clock(codeMs) }) : over;
  return {
    phase: `pending ${seen.send_number}`,
    heading: say("page.code_heading"),
    paragraphs: [busy ? say("page.sending") : deliveryOf(say, flow, sms_mark)],
    entry: {
      busy,
      invalid: INVALID.includes(alarm?.code),
      sent: sentOf(say, seen, sms_mark),
      label: say("page.code_label"),
      submit: say("page.submit"),
      left: `${good} ${say("page.attempts_left", seen)}`,
      secret: say("page.keep_secret"),
      waiting: waitMs > 0,
      ...missingOf(say, codeMs),
      ...resendOf(say, seen, waitMs, codeMs),
    },
  };
}

function sentOf(say, seen, sms_mark) {
  // As people know their number.
  const phone = seen.phone_number.replace(/^\+84/, "0");
  if (seen.delivery === "failed") return say("page.code_failed", { phone, sms_mark });
  return `${say("page.code_sent", { ...seen, phone })} ${say("page.code_which", { sms_mark })}`;
}

// An SMS that comes now is of no use once its code is over.
function missingOf(say, codeMs) {
  if (codeMs <= 0) return { missing: "", advice: "" };
  return { missing: say("page.resend_heading"), advice: say("page.resend_advice") };
}

function deliveryOf(say, { seen, resent }, sms_mark) {
  if (seen.delivery === "failed") return say(`page.delivery_failed${seen.sends_left ? "" : "_last"}`);
  return resent ? say("page.said_resent", { sms_mark }) : say(`page.delivery_${seen.delivery}`);
}

function resendOf(say, seen, waitMs, codeMs) {
  if (!seen.sends_left) return { resend: "", wait: codeMs > 0 ? say("page.resends_none") : "" };
  const when = waitMs > 0 ? say("page.resend_in", { time: clock(waitMs) }) : say("page.resend_now");
  return { resend: say("page.resend"), wait: `${when} ${say("page.resends_left", seen)}` };
}

function checkingOf(say, { send_number }) {
  return {
    phase: "checking",
    heading: say("page.checking_heading"),
    paragraphs: [
      // Without an SMS yet, ownership is asked before the code.
      say(send_number ? "statuses.checking_ownership" : "page.checking_before"), say("page.checking_wait"),
    ],
  };
}

function endOf(say, { status }) {
  const heading = say(`page.${status}_heading`) ?? say("page.gone_heading");
  if (status === "verified") return { phase: status, heading, help: null };
  if (status === "rejected") {
    const steps = ["step_tttb", "step_vneid", "step_carrier", "step_again"].map((step) => say(`page.${step}`));
    return {
      phase: status, heading, ended: true, steps,
      paragraphs: [say("page.rejected_text"), say("page.what_to_do")],
    };
  }
  const advice = status === "undeliverable" ? [say("page.undeliverable_advice")] : [];
  return {
    phase: status, heading, ended: true,
    paragraphs: [say(`statuses.${status}`) ?? say("statuses.default"), ...advice],
  };
}
