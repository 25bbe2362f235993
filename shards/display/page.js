// Values of a chart where the pointer or the arrow keys are; pictures of a strip enlarged.
"use strict";

document.querySelectorAll("svg.chart[data-readings]").forEach((chart) => {
  const readings = JSON.parse(chart.dataset.readings);
  const places = [...new Set(readings.map(([x]) => x))].sort((a, b) => a - b);
  const box = chart.viewBox.baseVal;
  const note = Object.assign(document.createElement("div"), { className: "reading" });
  note.setAttribute("role", "status");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("class", "reading-line");
  let at = -1;
  const show = (place) => {
    at = Math.max(0, Math.min(place, places.length - 1));
    const x = places[at];
    const here = readings.filter((reading) => reading[0] === x);
    note.textContent = here.map((reading) => reading[2]).join("\n");
    line.setAttribute("d", `M${x} 0V${box.height}` + here.map(([, y]) => `M${x - 3} ${y}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`).join(""));
    note.style.left = `${(x / box.width) * 100}%`;
    note.style.transform = `translateX(${x > box.width / 2 ? "calc(-100% - 8px)" : "8px"})`;
    if (!note.parentNode) { chart.append(line); chart.parentNode.append(note); }
  };
  const hide = () => { note.remove(); line.remove(); at = -1; };
  const nearest = (x) => places.reduce((best, place, index) => (Math.abs(place - x) < Math.abs(places[best] - x) ? index : best), 0);
  const follow = (event) => {
    const area = chart.getBoundingClientRect();
    show(nearest(((event.clientX - area.left) / area.width) * box.width));
  };
  chart.addEventListener("pointermove", follow);
  chart.addEventListener("pointerdown", follow);
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key === "Escape") hide();
    else if (event.key in steps) { show(at < 0 ? 0 : at + steps[event.key]); event.preventDefault(); }
  });
});

document.querySelectorAll(".strip img").forEach((image) => {
  const enlarge = () => {
    const dialog = document.createElement("dialog");
    dialog.className = "large";
    dialog.append(Object.assign(new Image(), { src: image.src, alt: image.alt }));
    dialog.append(Object.assign(document.createElement("p"), { textContent: `${image.alt} (click or Esc: back)` }));
    dialog.onclick = () => dialog.close();
    dialog.onclose = () => { dialog.remove(); image.focus(); };
    document.body.append(dialog);
    dialog.showModal();
  };
  image.tabIndex = 0;
  image.onclick = enlarge;
  image.onkeydown = (event) => { if (event.key === "Enter") enlarge(); };
});
