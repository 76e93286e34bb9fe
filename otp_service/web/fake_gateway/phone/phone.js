"use strict";
// Adds what is new to the list, once a second, and shows the messages of one number where one was chosen.
const list = document.getElementById("messages");
const choice = document.getElementById("number");
const lost = document.getElementById("lost");
const chosen = () => decodeURIComponent(location.hash.slice(1));

function show() {
  const numbers = new Set([...choice.options].map((option) => option.value));
  for (const message of list.children) {
    const number = message.dataset.number;
    if (!numbers.has(number)) {
      choice.add(new Option(number, number));
      numbers.add(number);
    }
  }
  // A number that got nothing yet may be chosen too: by the address.
  if (!numbers.has(chosen())) choice.add(new Option(chosen(), chosen()));
  choice.value = chosen();
  for (const message of list.children) message.hidden = chosen() !== "" && message.dataset.number !== chosen();
  document.getElementById("choice").hidden = choice.options.length < 3 && chosen() === "";
  document.getElementById("empty").hidden = [...list.children].some((message) => !message.hidden);
}

function toNewest() {
  const shown = [...list.children].filter((message) => !message.hidden);
  shown.at(-1)?.scrollIntoView({block: "end"});
}

async function look() {
  try {
    const answer = await fetch(location.pathname, {cache: "no-store"});
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const arrived = [...page.getElementById("messages").children].filter((one) => !document.getElementById(one.id));
    list.append(...arrived.map((one) => document.importNode(one, true)));
    if (arrived.length) {
      show();
      toNewest();
    }
    if (lost.textContent) lost.textContent = "";
  } catch {
    const said = "Không liên lạc được với bản thử. Nó còn chạy không?";
    if (lost.textContent !== said) lost.textContent = said;
  }
  setTimeout(look, 1000);
}

choice.addEventListener("change", () => { location.hash = encodeURIComponent(choice.value); });
addEventListener("hashchange", () => { show(); toNewest(); });
show();
toNewest();
look();
