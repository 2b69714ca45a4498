// <form data-stream="address" data-stream-to="#id">: posts its fields and writes the streamed answer into #id.
// Without this module the form posts to its action and the whole answer comes with the next page.
import { announce } from "./announce.js";

const running = new WeakMap();

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-stream]");
  if (!form) return;
  event.preventDefault();
  if (!running.has(form)) run(form);
});

document.addEventListener("click", (event) => {
  const form = event.target.closest("[data-stream-stop]")?.closest("form[data-stream]");
  if (form) running.get(form)?.abort();
});

async function run(form) {
  const panel = panelOf(document.querySelector(form.dataset.streamTo));
  const stop = form.querySelector("[data-stream-stop]");
  const abort = new AbortController();
  running.set(form, abort);
  panel.begin();
  stop.hidden = false;
  try {
    const answer = await fetch(form.dataset.stream, request(form, abort.signal));
    if (!answer.ok) throw new Refused(await sentence(answer));
    for await (const { name, data } of events(answer.body)) panel[name]?.(data);
  } catch (error) {
    if (error.name !== "AbortError") panel.error({ message: error instanceof Refused ? error.message : form.dataset.failed });
  } finally {
    running.delete(form);
    stop.hidden = true;
    panel.end();
  }
}

class Refused extends Error {}

function request(form, signal) {
  const fields = Object.fromEntries(new FormData(form));
  const token = fields.csrfmiddlewaretoken;
  delete fields.csrfmiddlewaretoken;
  const headers = { "content-type": "application/json", accept: "text/event-stream", "x-csrftoken": token };
  return { method: "POST", headers, body: JSON.stringify(fields), signal };
}

async function sentence(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}

// Yields {name, data} for each server-sent event of the stream.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (waiting + value).split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
      if (name && data) yield { name, data: JSON.parse(data) };
    }
  }
}

// Where the answer goes; its methods are named like the events that it takes.
function panelOf(root) {
  const text = root.querySelector("[data-stream-text]");
  const problem = root.querySelector("[data-stream-error]");
  const facts = root.querySelector("[data-stream-facts]");
  const started = performance.now();
  let first = 0;

  function fact(name, value) {
    const cell = facts.querySelector(`[data-fact="${name}"]`);
    cell.textContent = `${cell.dataset.prefix ?? ""}${value}${cell.dataset.suffix ?? ""}`;
  }

  return {
    begin() {
      root.hidden = false;
      root.setAttribute("aria-busy", "true");
      text.textContent = "";
      problem.hidden = facts.hidden = true;
    },
    delta(data) {
      first ||= performance.now();
      text.append(data.text);
    },
    error(data) {
      problem.textContent = data.message;
      problem.hidden = false;
      announce(data.message);
    },
    done(data) {
      fact("input", data.usage.input_tokens + data.usage.cached_input_tokens);
      fact("output", data.usage.output_tokens);
      fact("cost", data.cost);
      fact("first", Math.round((first || performance.now()) - started));
      fact("request", data.request_id);
      facts.hidden = false;
      announce(facts.innerText.replace(/\s+/g, " "));
    },
    end() {
      root.setAttribute("aria-busy", "false");
    },
  };
}
