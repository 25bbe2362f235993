// Plays stretches of episodes frame by frame: the stored clips with masks, keys and camera drawn over them.
// A frame is found by seeking to the middle of its time, so the picture and what is drawn over it belong together.
"use strict";

const KEYS = [
  { sneak: "Shift", sprint: "Ctrl", jump: "Space" },
  { attack: "attack", pickItem: "pick", use: "use" },
  { inventory: "E", drop: "Q", swapHands: "F", ESC: "Esc" },
];

class Player {
  constructor(root) {
    this.root = root;
    this.film = JSON.parse(root.querySelector("script").textContent);
    this.frames = this.film.pieces.flatMap((piece) => piece.buttons.map((_, place) => ({ piece, place })));
    this.starts = this.frames.flatMap(({ piece, place }, at) =>
      place === 0 && (at === 0 || this.frames[at - 1].piece.stretch !== piece.stretch) ? [at] : []);
    this.videos = new Map();
    this.shown = -1;
    this.wanted = 0;
    this.build();
    this.show(0);
  }

  build() {
    const { width, height, policy, human } = this.film;
    const factor = Math.max(1, Math.ceil(448 / width));
    const hasPolicy = this.frames.some(({ piece }) => piece.policy_buttons);
    this.root.style.setProperty("--human", human);
    this.root.style.setProperty("--policy", policy);
    this.root.insertAdjacentHTML("beforeend", `
      <div class="screen"><canvas width="${width * factor}" height="${height * factor}" role="img"></canvas></div>
      <div class="side">
        <p class="goals"></p>
        ${hasPolicy ? '<h4 class="human">human</h4>' : ""}<div class="keys human"></div>
        ${hasPolicy ? '<h4 class="policy">policy, most likely action</h4><div class="keys policy"></div>' : ""}
      </div>
      <p class="now" aria-live="polite"></p>
      <div class="track" role="slider" tabindex="0" aria-label="frame" aria-valuemin="0"
        aria-valuemax="${this.frames.length - 1}"><canvas></canvas><i></i></div>
      <div class="controls">
        <button type="button" data-do="before" title="Shift+Left: to the start of the stretch, or the one before">|&lt;</button>
        <button type="button" data-do="back" title="Left: one frame back">&lt;</button>
        <button type="button" data-do="play" title="Space: play or pause">play</button>
        <button type="button" data-do="on" title="Right: one frame on">&gt;</button>
        <button type="button" data-do="after" title="Shift+Right: to the next stretch">&gt;|</button>
        <label>speed <select class="speed"><option>0.25<option>0.5<option selected>1<option>2<option>4</select></label>
        <label class="which">stretch <select class="stretch"></select></label>
      </div>`);
    const find = (name) => this.root.querySelector(name);
    Object.assign(this, { canvas: find(".screen canvas"), goals: find(".goals"), now: find(".now"), track: find(".track") });
    Object.assign(this, { speed: find(".speed"), stretch: find(".stretch"), playButton: find("[data-do=play]") });
    this.panels = { human: find(".keys.human"), policy: find(".keys.policy") };
    Object.values(this.panels).forEach((panel) => panel && this.buildKeys(panel));
    this.starts.forEach((at) => this.stretch.add(new Option(this.frames[at].piece.heading, at)));
    this.stretch.onchange = () => this.show(+this.stretch.value);
    this.root.onclick = (event) => event.target.dataset.do && this.act(event.target.dataset.do);
    this.root.onkeydown = (event) => this.press(event);
    const drag = (event) => {
      const box = this.track.getBoundingClientRect();
      this.show(Math.floor(((event.clientX - box.left) / box.width) * this.frames.length));
    };
    this.track.onpointerdown = (event) => { this.track.setPointerCapture(event.pointerId); drag(event); };
    this.track.onpointermove = (event) => event.buttons && drag(event);
    this.drawTrack();
  }

  buildKeys(panel) {
    const key = (name, text) => `<kbd data-key="${name}">${text}</kbd>`;
    const row = (names) => `<span>${Object.entries(names).map(([name, text]) => key(name, text)).join("")}</span>`;
    const slots = Object.fromEntries([...Array(9)].map((_, place) => [`hotbar.${place + 1}`, place + 1]));
    panel.innerHTML = `<span class="walk">${key("forward", "W")}${key("left", "A")}${key("back", "S")}${key("right", "D")}</span>
      <div>${KEYS.map(row).join("")}${row(slots)}<span class="camera"></span></div>`;
  }

  // One row for each interaction type, a row for memory; drawn once.
  drawTrack() {
    const types = Object.keys(this.film.types);
    const canvas = this.track.querySelector("canvas");
    const [width, row] = [1600, 8];
    canvas.width = width;
    canvas.height = Math.max(types.length, 1) * row + 6;
    const pen = canvas.getContext("2d");
    const x = (at) => (at / this.frames.length) * width;
    this.frames.forEach(({ piece, place }, at) => {
      for (const [interaction] of piece.masks[place]) {
        const type = String(this.film.interactions[interaction][0]);
        pen.fillStyle = this.film.types[type][1];
        pen.fillRect(Math.floor(x(at)), types.indexOf(type) * row + 1, Math.ceil(x(1)), row - 2); // without seams
      }
    });
    this.starts.forEach((at) => {
      const { memory } = this.frames[at].piece;
      pen.fillStyle = memory === "empty" ? "#eb5046" : "#8a909c";
      pen.fillRect(x(at), 0, memory === "empty" ? 4 : 2, canvas.height);
    });
  }

  act(what) {
    const here = this.starts.filter((at) => at <= this.wanted);
    const before = here.at(-1) === this.wanted ? here.at(-2) : here.at(-1);
    const after = this.starts.find((at) => at > this.wanted);
    if (what === "play") return this.timer ? this.pause() : this.play();
    this.pause();
    const goal = { back: this.wanted - 1, on: this.wanted + 1, before: before ?? 0, after: after ?? this.frames.length - 1 };
    return this.show(goal[what]);
  }

  press(event) {
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.altKey || event.metaKey) return;
    const names = { ArrowLeft: "back", ArrowRight: "on", PageUp: "before", PageDown: "after" };
    const shifted = { ArrowLeft: "before", ArrowRight: "after" };
    if (event.key === " " && event.target.tagName !== "BUTTON") this.act("play");
    else if (event.key === "Home" || event.key === "End") this.show(event.key === "Home" ? 0 : this.frames.length - 1);
    else if ((event.shiftKey ? shifted : names)[event.key]) this.act((event.shiftKey ? shifted : names)[event.key]);
    else return;
    event.preventDefault();
  }

  // Keeps the game's time: where a browser seeks too slowly, frames are left out rather than shown late.
  play() {
    let start = this.wanted >= this.frames.length - 1 ? 0 : this.wanted;
    const began = performance.now();
    const factor = (this.film.fps * +this.speed.value) / 1000;
    this.playButton.textContent = "pause";
    const tick = async () => {
      const at = start + Math.floor((performance.now() - began) * factor);
      await this.show(Math.min(at, this.frames.length - 1));
      if (!this.timer) return;
      if (at >= this.frames.length - 1) this.pause();
      else this.timer = setTimeout(tick, Math.max(0, began + (at + 1 - start) / factor - performance.now()));
    };
    this.timer = setTimeout(tick, 0);
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    this.playButton.textContent = "play";
  }

  // The frame `at` is on the screen, or a later wish, once the promise is kept.
  show(at) {
    this.wanted = Math.max(0, Math.min(at, this.frames.length - 1));
    this.working ??= this.work().finally(() => { this.working = null; });
    return this.working;
  }

  async work() {
    while (this.shown !== this.wanted) {
      const at = this.wanted;
      const { piece, place } = this.frames[at];
      const video = await this.video(piece.clip);
      if (video) await this.seek(video, (piece.first + place + 0.5) / this.film.fps);
      this.draw(at, video);
      this.shown = at;
    }
    const next = this.frames[Math.min(this.shown + this.film.fps, this.frames.length - 1)].piece.clip;
    this.video(next);
  }

  // The element that decodes a clip; a few are kept.
  async video(number) {
    if (!this.videos.has(number)) {
      for (const [old, { element }] of [...this.videos].slice(0, Math.max(0, this.videos.size - 3))) {
        URL.revokeObjectURL(element.src);
        element.removeAttribute("src");
        this.videos.delete(old);
      }
      const bytes = Uint8Array.from(atob(this.film.clips[number]), (letter) => letter.charCodeAt(0));
      const element = document.createElement("video");
      Object.assign(element, { muted: true, playsInline: true, preload: "auto" });
      const ready = new Promise((done) => {
        element.onloadeddata = () => done(element);
        element.onerror = () => done(null);
      });
      const note = (_, { mediaTime }) => {
        element.presented = mediaTime;
        element.onpresented?.();
        element.requestVideoFrameCallback(note);
      };
      element.requestVideoFrameCallback?.(note);
      element.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
      element.load();
      this.videos.set(number, { element, ready });
    }
    return this.videos.get(number).ready;
  }

  // The frame at this time has been presented: when "seeked" comes, a browser may still draw the one before.
  async seek(video, time) {
    const isThere = () => video.presented !== undefined && Math.abs(video.presented + 0.5 / this.film.fps - time) < 0.25 / this.film.fps;
    if (isThere() && !video.seeking) return;
    const seeked = new Promise((done) => { video.onseeked = done; });
    const presented = new Promise((done) => { video.onpresented = () => isThere() && done(); });
    video.currentTime = time;
    await seeked;
    if (video.requestVideoFrameCallback && !isThere()) await Promise.race([presented, new Promise((done) => setTimeout(done, 1000))]);
  }

  draw(at, video) {
    const { piece, place } = this.frames[at];
    const pen = this.canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    if (video) pen.drawImage(video, 0, 0, this.canvas.width, this.canvas.height);
    else pen.fillText("This browser cannot decode the clip (H.264).", 20, 20);
    pen.drawImage(this.maskLayer(piece.masks[place]), 0, 0, this.canvas.width, this.canvas.height);
    if (piece.policy_camera) this.arrow(pen, piece.policy_camera[place], this.film.policy);
    this.arrow(pen, piece.camera[place], this.film.human);
    this.light(this.panels.human, piece.buttons[place], piece.camera[place]);
    if (piece.policy_buttons) this.light(this.panels.policy, piece.policy_buttons[place], piece.policy_camera[place]);
    this.say(at, piece, place);
  }

  maskLayer(masks) {
    const { width, height } = this.film;
    const layer = (this.layer ??= Object.assign(document.createElement("canvas"), { width, height }));
    const pen = layer.getContext("2d");
    const image = pen.createImageData(width, height);
    for (const [interaction, runs] of masks) {
      const colour = this.film.types[this.film.interactions[interaction][0]][1];
      const rgb = [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16));
      const inside = new Uint8Array(width * height);
      let at = 0;
      runs.split(" ").forEach((run, place) => { if (place % 2) inside.fill(1, at, at + +run); at += +run; });
      inside.forEach((is, pixel) => {
        if (!is) return;
        const column = pixel % width;
        const inner = column && column < width - 1 && inside[pixel - 1] && inside[pixel + 1]
          && inside[pixel - width] && inside[pixel + width];
        image.data.set([...rgb, inner ? 115 : 255], pixel * 4);
      });
    }
    pen.putImageData(image, 0, 0);
    return layer;
  }

  // From the middle: right for positive yaw, down for positive pitch; as long as the root of the angle.
  arrow(pen, [pitch, yaw], colour) {
    const degrees = Math.hypot(pitch, yaw);
    if (!degrees) return;
    const { width, height } = this.canvas;
    const length = width * Math.min(0.09 * Math.sqrt(degrees), 0.42);
    const [dx, dy] = [yaw / degrees, pitch / degrees];
    const [x, y] = [width / 2 + dx * length, height / 2 + dy * length];
    const head = Math.min(16, length * 0.6);
    for (const [stroke, line] of [["#000", 7], [colour, 3]]) {
      Object.assign(pen, { strokeStyle: stroke, fillStyle: stroke, lineWidth: line, lineJoin: "round" });
      pen.beginPath();
      pen.moveTo(width / 2, height / 2);
      pen.lineTo(x - dx * head, y - dy * head);
      pen.stroke();
      pen.beginPath();
      pen.moveTo(x, y);
      for (const side of [1, -1]) pen.lineTo(x - dx * head - side * dy * head * 0.6, y - dy * head + side * dx * head * 0.6);
      pen.closePath();
      pen.fill();
    }
  }

  light(panel, buttons, [pitch, yaw]) {
    this.film.buttons.forEach((name, place) => {
      panel.querySelector(`[data-key="${name}"]`)?.classList.toggle("down", Boolean(Math.floor(buttons / 2 ** place) % 2));
    });
    const signed = (degrees) => (degrees < 0 ? "" : "+") + degrees.toFixed(1);
    panel.querySelector(".camera").textContent =
      pitch || yaw ? `yaw ${signed(yaw)}  pitch ${signed(pitch)}` : "camera still";
  }

  say(at, piece, place) {
    const frame = piece.start + place;
    const seconds = frame / this.film.fps;
    const time = `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
    const memory = { empty: "memory starts empty", kept: "memory kept" }[piece.memory];
    const parts = [piece.heading, `frame ${frame} (${time})`, memory, piece.gui[place] && "menu open"];
    this.now.textContent = parts.filter(Boolean).join(" | ");
    this.now.classList.toggle("empty", piece.memory === "empty");
    this.goals.replaceChildren(...piece.masks[place].map(([interaction]) => {
      const [type, event] = this.film.interactions[interaction];
      const [name, colour] = this.film.types[type];
      const label = Object.assign(document.createElement("b"), { textContent: event ? `${name} | ${event}` : name });
      label.style.background = colour;
      return label;
    }));
    this.track.querySelector("i").style.left = `${((at + 0.5) / this.frames.length) * 100}%`;
    this.track.setAttribute("aria-valuenow", at);
    this.track.setAttribute("aria-valuetext", this.now.textContent);
    this.canvas.setAttribute("aria-label", this.now.textContent);
    this.stretch.value = this.starts.filter((start) => start <= at).at(-1);
    this.root.dataset.frame = frame;
  }
}

document.querySelectorAll(".player").forEach((root) => { root.player = new Player(root); });
