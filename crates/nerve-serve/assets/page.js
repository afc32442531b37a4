// The page of `nerve serve`: a form from the columns of a model, and what the model says.
"use strict";

const at = (id) => document.getElementById(id);
let models = [];
let token = sessionStorage.getItem("token") || "";

// An element; text is always text, whatever stands in it.
function make(kind, properties = {}, ...children) {
  const element = Object.assign(document.createElement(kind), properties);
  element.append(...children);
  return element;
}

async function get(path, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) askToken();
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

async function ask(path, options) {
  return (await get(path, options)).json();
}

// A text that goes on is shown while it is written: server-sent events, of which each has a piece.
async function hear(model, path, options) {
  const answer = await get(path, { ...options, headers: { ...options.headers, Accept: "text/event-stream" } });
  const { name } = model.outputs[0];
  const written = make("p", { className: "written" });
  at("answer").replaceChildren(make("h2", { textContent: name }), written);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the text was broken off");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const said = JSON.parse(event.slice(event.indexOf("data: ") + 6));
      if (event.startsWith("event: end")) return { [name]: written.textContent };
      if (event.startsWith("event: error")) throw new Error(said.error);
      written.append(said[name]);
    }
  }
}

function askToken() {
  if (at("token")) return;
  const field = make("input", { id: "token", type: "password", autocomplete: "off" });
  const use = make("button", { type: "button", textContent: "Use" });
  use.onclick = () => {
    token = field.value;
    sessionStorage.setItem("token", token);
    begin();
  };
  at("form").replaceChildren(make("label", {}, "Token", field), use);
}

const base64 = (blob) =>
  new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.onerror = () => failed(new Error("the file cannot be read"));
    reader.readAsDataURL(blob);
  });

// Each control gives what goes into the cell; undefined where nothing was filled in.
const controls = {
  number(input) {
    const field = make("input", { type: "number", step: "any", name: input.name });
    return [make("label", {}, input.name, field), () => (field.value === "" ? undefined : Number(field.value))];
  },
  choice(input) {
    const field = make("select", { name: input.name }, ...input.choices.map((name) => make("option", { value: name, textContent: name })));
    return [make("label", {}, input.name, field), () => field.value];
  },
  text(input) {
    const placeholder = input.beginning ? "the beginning of the text; nothing is one, too" : "";
    const field = make("textarea", { rows: input.beginning ? 8 : 3, name: input.name, placeholder });
    return [make("label", {}, input.name, field), () => (field.value === "" ? undefined : field.value)];
  },
  vector(input) {
    const field = make("textarea", { rows: 3, name: input.name, placeholder: `${input.length} numbers between commas` });
    return [make("label", {}, input.name, field), () => field.value.split(/[\s,;]+/).filter((text) => text).map(Number)];
  },
  array(input) {
    const shape = input.shape.map((extent) => (extent < 0 ? "any" : extent)).join(" × ") || "one element";
    const field = make("textarea", { rows: 3, name: input.name, placeholder: `${input.datatype}, ${shape}: lists in JSON, [[1, 2]]` });
    return [make("label", {}, input.name, field), () => JSON.parse(field.value)];
  },
  picture,
  sound,
};

// A canvas to draw on, white on black; a file dropped on it is sent as it is.
function picture(input) {
  const [, height, width] = input.size;
  const side = 280;
  const canvas = make("canvas", { width: Math.round((side * width) / Math.max(width, height)), height: Math.round((side * height) / Math.max(width, height)) });
  canvas.setAttribute("aria-label", `Draw ${input.name}`);
  const pen = canvas.getContext("2d");
  let file = null;
  const clear = () => {
    file = null;
    pen.fillStyle = "black";
    pen.fillRect(0, 0, canvas.width, canvas.height);
  };
  clear();
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  canvas.onpointerdown = (event) => {
    if (file) clear();
    canvas.setPointerCapture(event.pointerId);
    Object.assign(pen, { strokeStyle: "white", lineWidth: side / 13, lineCap: "round", lineJoin: "round" });
    pen.beginPath();
    pen.moveTo(...place(event));
  };
  canvas.onpointermove = (event) => {
    if (!event.buttons) return;
    pen.lineTo(...place(event));
    pen.stroke();
  };
  canvas.onpointerup = () => at("form").requestSubmit();
  const show = async (given) => {
    const image = await createImageBitmap(given);
    clear();
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    file = given;
    at("form").requestSubmit();
  };
  const refuse = (error) => complain(`${input.name}: ${error.message}`);
  const field = make("input", { type: "file", accept: "image/png,image/jpeg", name: input.name });
  field.onchange = () => field.files[0] && show(field.files[0]).catch(refuse);
  const box = make("div", {}, make("label", {}, input.name, field), canvas, make("button", { type: "button", textContent: "Clear", onclick: clear }));
  box.append(make("p", { className: "note", textContent: "Draw, drop a picture, or choose a file." }));
  box.ondragover = (event) => (event.preventDefault(), box.classList.add("over"));
  box.ondragleave = () => box.classList.remove("over");
  box.ondrop = (event) => {
    event.preventDefault();
    box.classList.remove("over");
    if (event.dataTransfer.files[0]) show(event.dataTransfer.files[0]).catch(refuse);
  };
  const drawn = () => new Promise((done) => canvas.toBlob(done, "image/png"));
  return [box, async () => base64(file ?? (await drawn()))];
}

// A WAV file, or what the microphone hears for a few seconds.
function sound(input) {
  let file = null;
  const field = make("input", { type: "file", accept: "audio/wav,.wav", name: input.name });
  field.onchange = () => (file = field.files[0] ?? null);
  const record = make("button", { type: "button", textContent: "Record 2 seconds" });
  record.onclick = async () => {
    record.disabled = true;
    try {
      file = await heard(2000);
      at("form").requestSubmit();
    } catch (error) {
      complain(`${input.name}: ${error.message}`);
    }
    record.disabled = false;
  };
  const box = make("div", {}, make("label", {}, input.name, field), record);
  box.ondragover = (event) => event.preventDefault();
  box.ondrop = (event) => {
    event.preventDefault();
    file = event.dataTransfer.files[0] ?? null;
    at("form").requestSubmit();
  };
  return [box, async () => (file ? base64(file) : undefined)];
}

async function heard(ms) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  const ended = new Promise((done) => (recorder.onstop = done));
  recorder.start();
  setTimeout(() => recorder.stop(), ms);
  await ended;
  stream.getTracks().forEach((track) => track.stop());
  const context = new AudioContext();
  const decoded = await context.decodeAudioData(await new Blob(pieces).arrayBuffer());
  await context.close();
  return wav(decoded.getChannelData(0), decoded.sampleRate);
}

// Samples as a WAV file of 16 bits.
function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, letters) => [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, sample)) * 32767, true));
  return new Blob([view], { type: "audio/wav" });
}

function complain(message) {
  at("answer").replaceChildren(make("p", { className: "wrong", textContent: message }));
}

function show(model, said, ms) {
  const parts = [];
  for (const output of model.outputs) {
    parts.push(make("h2", { textContent: output.name }));
    const value = said[output.name];
    const shares = said[`${output.name}_probabilities`];
    const text = Array.isArray(value) ? (value.length > 200 ? `${value.length} values` : value.join(", ")) : String(value);
    parts.push(make("p", { className: output.written ? "written" : "said", textContent: text || "none" }));
    if (!shares) continue;
    const best = Object.entries(shares).sort((a, b) => b[1] - a[1]).slice(0, 10);
    for (const [name, share] of best) {
      const bar = make("div", { className: "bar" });
      bar.style.width = `${100 * share}%`;
      parts.push(make("div", { className: "row" }, make("span", { textContent: name, title: name }), make("div", {}, bar), make("span", { textContent: `${(100 * share).toFixed(1)} %` })));
    }
  }
  parts.push(make("p", { className: "note", textContent: `${ms.toFixed(0)} ms` }));
  at("answer").replaceChildren(...parts);
}

function build(model) {
  const cells = model.inputs.map((input) => [input, controls[input.holds](input)]);
  const button = make("button", { type: "submit", textContent: "Ask" });
  at("form").replaceChildren(...cells.map(([, [element]]) => make("div", {}, element)), button);
  at("answer").replaceChildren();
  at("form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      const row = {};
      for (const [input, [, value]] of cells) row[input.name] = (await value()) ?? null;
      const since = performance.now();
      const path = `/predict/${encodeURIComponent(model.name)}`;
      const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(row) };
      const goesOn = model.inputs.some((input) => input.beginning);
      const said = goesOn ? await hear(model, path, asked) : await ask(path, asked);
      show(model, said, performance.now() - since);
    } catch (error) {
      complain(error.message);
    }
  };
}

async function begin() {
  try {
    models = (await ask("/form")).models;
  } catch (error) {
    return complain(error.message);
  }
  at("choice").hidden = models.length < 2;
  at("model").replaceChildren(...models.map((model, i) => make("option", { value: i, textContent: model.name })));
  at("model").onchange = () => build(models[at("model").value]);
  document.title = models.length === 1 ? `${models[0].name} - nerve` : "nerve";
  if (models.length) build(models[0]);
  else complain("no model is ready");
}

begin();
