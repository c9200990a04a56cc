"use strict";

const VERTEX = `#version 300 es
in vec2 corner; out vec2 at;
void main() { at = corner; gl_Position = vec4(corner, 0, 1); }`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D picture; uniform vec4 span; uniform vec2 reach, angles; uniform int kind;
in vec2 at; out vec4 colour;
void main() {
  float c = cos(angles.y), s = sin(angles.y);
  vec3 d = vec3(at.x * reach.x, -at.y * reach.y, 1);
  d = vec3(d.x, d.y * c - d.z * s, d.y * s + d.z * c);
  float slope = d.y / length(d.xz);
  float down = kind == 0 ? atan(slope) : kind == 1 ? slope : asinh(slope);
  vec2 p = (vec2(atan(d.x, d.z) + angles.x, down) - span.xy) / span.zw;
  colour = p.y < 0. || p.y > 1. ? vec4(.04, .05, .06, 1) : texture(picture, vec2(fract(p.x), p.y));
}`;

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  gl.useProgram(made);
  return made;
}

/* Show a closed panorama from inside, turned by dragging, touch, wheel and arrow keys. */
function globe(canvas, picture, figure) {
  const gl = canvas.getContext("webgl2");
  if (!gl) return false;
  const made = program(gl), at = (name) => gl.getUniformLocation(made, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(gl.getAttribLocation(made, "corner"), 2, gl.FLOAT, false, 0, 0);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, picture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  gl.uniform4fv(at("span"), JSON.parse(figure.dataset.span));
  gl.uniform1i(at("kind"), ["sphere", "cylinder", "mercator"].indexOf(figure.dataset.projection));
  let yaw = 0, pitch = 0, tall = 0.6, waiting = false; // tall: tangent of half the view's height

  const draw = () => {
    waiting = false;
    const sharp = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = canvas.clientWidth * sharp;
    canvas.height = canvas.clientHeight * sharp;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.uniform2f(at("reach"), (tall * canvas.width) / canvas.height, tall);
    gl.uniform2f(at("angles"), yaw, pitch);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  };
  const turn = (right, up, factor = 1) => {
    yaw += right;
    pitch = Math.max(-1.5, Math.min(1.5, pitch + up));
    tall = Math.max(0.15, Math.min(1.6, tall * factor));
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  };
  const down = new Map(), apart = () => {
    const [a, b] = [...down.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };
  canvas.onpointerdown = (e) => { down.set(e.pointerId, e); canvas.setPointerCapture(e.pointerId); };
  canvas.onpointerup = canvas.onpointercancel = (e) => down.delete(e.pointerId);
  canvas.onpointermove = (e) => {
    const last = down.get(e.pointerId), step = (2 * tall) / canvas.clientHeight;
    if (!last) return;
    const before = down.size > 1 ? apart() : 0;
    down.set(e.pointerId, e);
    if (before) turn(0, 0, before / Math.max(apart(), 1));
    else turn((last.clientX - e.clientX) * step, (e.clientY - last.clientY) * step);
  };
  canvas.onwheel = (e) => { e.preventDefault(); turn(0, 0, Math.exp(e.deltaY / 800)); };
  canvas.onkeydown = (e) => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1],
      "+": [0, 0, 0.9], "-": [0, 0, 1.1] }[e.key];
    if (step) { e.preventDefault(); turn(...step); }
  };
  new ResizeObserver(() => turn(0, 0)).observe(canvas);
  return true;
}

/* Paint each photo's region in its colour, edges white, and name the photo under the pointer. */
function regions(canvas, labels, say) {
  const width = (canvas.width = labels.naturalWidth), height = (canvas.height = labels.naturalHeight);
  const brush = canvas.getContext("2d");
  brush.drawImage(labels, 0, 0);
  const image = brush.getImageData(0, 0, width, height), bytes = image.data;
  const owner = Uint16Array.from({ length: width * height }, (_, k) => bytes[4 * k] + 256 * bytes[4 * k + 1]);
  const paint = new Uint8ClampedArray(4);
  for (let k = 0; k < owner.length; k++) {
    const edge = (k % width && owner[k] !== owner[k - 1]) || (k >= width && owner[k] !== owner[k - width]);
    const hue = owner[k] * 2.39996; // the golden angle: neighbours in number differ in colour
    paint.set([128 + 110 * Math.cos(hue), 128 + 110 * Math.cos(hue - 2.0944), 128 + 110 * Math.cos(hue + 2.0944),
      owner[k] === 65535 ? 0 : 105]);
    bytes.set(edge ? [255, 255, 255, 255] : paint, 4 * k);
  }
  brush.putImageData(image, 0, 0);
  canvas.onpointermove = canvas.onpointerdown = (e) => {
    const x = Math.floor((e.offsetX / canvas.clientWidth) * width);
    const y = Math.floor((e.offsetY / canvas.clientHeight) * height);
    say(owner[y * width + x]);
  };
}

for (const figure of document.querySelectorAll("figure")) {
  const part = (name) => figure.querySelector(name), caption = part("figcaption");
  const names = JSON.parse(figure.dataset.names);
  const say = (k) => { caption.textContent = k < names.length ? `${k + 1}: ${names[k]}` : "\u00a0"; };
  figure.addEventListener("change", () => say(65535));
  const begun = new Set(), first = (name, work) => {
    const choice = part(`input.${name}`);
    if (choice) choice.addEventListener("change", () => { if (!begun.has(name)) { begun.add(name); work(choice); } });
  };
  first("seams", () => part(".labels").decode().then(() => regions(part(".regions"), part(".labels"), say)));
  first("turn", (choice) => part(".flat").decode().then(() => {
    if (!globe(part(".globe"), part(".flat"), figure)) {
      part("input.picture").checked = true;
      choice.disabled = true;
      caption.textContent = "This browser cannot turn the picture: it has no WebGL 2.";
    }
  }));
  part(".graph").addEventListener("pointerover", (e) => {
    const title = e.target.parentNode.querySelector("title") && e.target.closest("line, .node");
    if (title) caption.textContent = title.querySelector("title").textContent;
  });
}
