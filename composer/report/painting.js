"use strict";
const $ = (id) => document.getElementById(id);
const canvas = $("mask"), pen = canvas.getContext("2d"), layers = $("layers"), frame = $("frame"), ring = $("ring");
const COLOUR = "#ff00d4"; // as the mask that was found
const strokes = [], undone = [];
let stroke = null, drag = null;

const tool = () => document.querySelector("[name=tool]:checked").value;
const widest = Math.max(8, Math.hypot(canvas.width, canvas.height) / 8);
const size = () => Math.max(1, Math.round(widest ** $("brush").value));
const most = Math.max(4, 4 * canvas.width / 1200); // times the width of the page
const scale = () => canvas.getBoundingClientRect().width / canvas.width;

// Every stroke is drawn by segments, at once and again when one is undone, so both give the same pixels.
function draw(stroke, from) {
  pen.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over";
  pen.fillStyle = pen.strokeStyle = COLOUR;
  pen.lineWidth = stroke.size;
  pen.lineCap = "round";
  for (let k = from; k < stroke.points.length; k++) {
    const [x, y] = stroke.points[k], [u, v] = stroke.points[Math.max(0, k - 1)];
    pen.beginPath();
    if (x === u && y === v) { pen.arc(x, y, stroke.size / 2, 0, 2 * Math.PI); pen.fill(); }
    else { pen.moveTo(u, v); pen.lineTo(x, y); pen.stroke(); }
  }
}

function again() {
  pen.globalCompositeOperation = "source-over";
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage($("found"), 0, 0);
  for (const s of strokes) draw(s, 0);
  buttons();
}

function buttons() {
  $("undo").disabled = !strokes.length;
  $("redo").disabled = !undone.length;
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / scale(), (event.clientY - box.top) / scale()];
}

function circle(event) {
  const [x, y] = place(event), across = size() * scale() + "px";
  ring.hidden = tool() === "move" || event.pointerType === "touch";
  Object.assign(ring.style, { left: x * scale() + "px", top: y * scale() + "px", width: across, height: across });
}

canvas.onpointerdown = (event) => {
  if (event.button || stroke || drag) return;
  if (tool() === "move") {
    if (event.pointerType === "touch") return; // scrolls by itself
    drag = [event.clientX + frame.scrollLeft, event.clientY + frame.scrollTop];
  } else {
    stroke = { erase: tool() === "erase", size: size(), points: [place(event)], by: event.pointerId };
    draw(stroke, 0);
  }
  canvas.setPointerCapture(event.pointerId);
  event.preventDefault();
  frame.focus({ preventScroll: true });
};
canvas.onpointermove = (event) => {
  circle(event);
  if (drag) frame.scrollTo(drag[0] - event.clientX, drag[1] - event.clientY);
  if (!stroke || event.pointerId !== stroke.by) return;
  const passed = event.getCoalescedEvents ? event.getCoalescedEvents() : [], from = stroke.points.length;
  for (const e of passed.length ? passed : [event]) stroke.points.push(place(e));
  draw(stroke, from);
};
canvas.onpointerup = canvas.onpointercancel = (event) => {
  drag = null;
  if (!stroke || event.pointerId !== stroke.by) return;
  strokes.push(stroke);
  stroke = null;
  undone.length = 0;
  buttons();
};
canvas.onpointerleave = () => { ring.hidden = true; };

function zoomed() {
  const [x, y] = [frame.scrollLeft + frame.clientWidth / 2, frame.scrollTop + frame.clientHeight / 2];
  const before = canvas.getBoundingClientRect().width || 1;
  layers.style.width = 100 * most ** $("zoom").value + "%";
  const grown = canvas.getBoundingClientRect().width / before;
  frame.scrollTo(x * grown - frame.clientWidth / 2, y * grown - frame.clientHeight / 2);
  said();
}

function said() {
  $("size").value = size() + " px";
  $("times").value = Math.round(100 * scale()) + " %";
  layers.classList.toggle("close", scale() > 2);
  layers.classList.toggle("move", tool() === "move");
}

$("brush").oninput = said;
$("zoom").oninput = zoomed;
$("shown").onchange = () => { canvas.style.opacity = $("shown").checked ? "" : 0; };
for (const t of document.getElementsByName("tool")) t.onchange = said;
$("undo").onclick = () => { if (strokes.length) undone.push(strokes.pop()); again(); };
$("redo").onclick = () => { if (undone.length) strokes.push(undone.pop()); again(); };
addEventListener("resize", said);
document.querySelector("form").onsubmit = (event) => event.preventDefault();

addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return;
    $(key === "y" || event.shiftKey ? "redo" : "undo").click();
  } else if ("pem".includes(key)) {
    $({ p: "paint", e: "erase", m: "move" }[key]).click();
  } else if ("[]+-".includes(key)) {
    const slider = $("[]".includes(key) ? "brush" : "zoom");
    slider.value = +slider.value + ("]+".includes(key) ? 0.05 : -0.05);
    slider.oninput();
  } else return;
  event.preventDefault();
});

$("save").onclick = () => {
  const out = document.createElement("canvas");
  [out.width, out.height] = [canvas.width, canvas.height];
  const ink = out.getContext("2d");
  ink.drawImage(canvas, 0, 0);
  ink.globalCompositeOperation = "source-in"; // white where it is marked, as far as it is
  ink.fillStyle = "#fff";
  ink.fillRect(0, 0, out.width, out.height);
  ink.globalCompositeOperation = "destination-over";
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, out.width, out.height);
  out.toBlob((blob) => {
    if (!blob) { $("said").textContent = "This browser cannot save a mask of this size; try another."; return; }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = $("save").dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    strokes.saved = strokes.length;
    $("said").textContent = `Saved as ${link.download}, where the browser puts what it downloads.`;
  }, "image/png");
};
addEventListener("beforeunload", (event) => {
  if (strokes.length !== (strokes.saved || 0)) event.preventDefault();
});

$("found").decode().then(again);
said();
pen.fillRect(0, 0, 1, 1);
if (!pen.getImageData(0, 0, 1, 1).data[3]) $("said").textContent = "This photo is too large for this browser.";
