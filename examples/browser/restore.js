// A picture → tensor → USRNet in onnxruntime-web → canvas. Everything a page needs to do is in this file.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

const MARGIN = 16; // the network wraps around: pictures are mirrored at their borders, the results cropped
const SIZE = 25; // of the kernel
const at = (id) => document.getElementById(id);

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;

// A Gaussian, moved so that the result lies on the picture: (s − 1) / 2 pixels toward the upper left.
function gaussian(width, scale) {
  const centre = (SIZE >> 1) - (scale - 1) / 2;
  const line = Array.from({ length: SIZE }, (_, i) => Math.exp(-((i - centre) ** 2) / (2 * width ** 2)));
  const sum = line.reduce((a, b) => a + b);
  const taps = Float32Array.from(line.flatMap((a) => line.map((b) => (a * b) / sum ** 2)));
  return new ort.Tensor("float32", taps, [1, 1, SIZE, SIZE]);
}

const mirror = (i, n) => { // … 1 0 | 0 1 2 … n−1 | n−1 n−2 …
  const j = ((i % (2 * n)) + 2 * n) % (2 * n);
  return j < n ? j : 2 * n - 1 - j;
};

function tensorOf({ data, width, height }) {
  const [h, w] = [height + 2 * MARGIN, width + 2 * MARGIN];
  const planes = new Float32Array(3 * h * w);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const pixel = 4 * (mirror(y - MARGIN, height) * width + mirror(x - MARGIN, width));
      for (let c = 0; c < 3; c++) planes[(c * h + y) * w + x] = data[pixel + c] / 255;
    }
  return new ort.Tensor("float32", planes, [1, 3, h, w]);
}

function draw({ data, dims: [, , h, w] }, canvas, margin) {
  [canvas.width, canvas.height] = [w - 2 * margin, h - 2 * margin];
  const image = new ImageData(canvas.width, canvas.height); // clamps to 0–255 and rounds
  for (let y = 0; y < canvas.height; y++)
    for (let x = 0; x < canvas.width; x++) {
      const pixel = 4 * (y * canvas.width + x);
      for (let c = 0; c < 3; c++) image.data[pixel + c] = 255 * data[(c * h + y + margin) * w + x + margin];
      image.data[pixel + 3] = 255;
    }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

async function restore(session, file) {
  const bitmap = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const picture = tensorOf(context.getImageData(0, 0, bitmap.width, bitmap.height));
  // Noise that is the same in all channels is told as more: docs/export.md.
  const told = (isGrey(picture) ? 2 : 1) * Number(at("noise").value);
  const sigma = new ort.Tensor("float32", [told / 255], [1, 1, 1, 1]);
  const scale = await scaleOf(session, sigma);
  const { restored } = await session.run({ picture, kernel: gaussian(Number(at("width").value), scale), sigma });
  draw(restored, at("result"), MARGIN * scale);
}

function isGrey({ data }) {
  const plane = data.length / 3;
  for (let i = 0; i < plane; i++) if (data[i] !== data[i + plane] || data[i] !== data[i + 2 * plane]) return false;
  return true;
}

// The scale is fixed in the file; a picture of a few pixels tells it.
async function scaleOf(session, sigma) {
  const picture = new ort.Tensor("float32", new Float32Array(3 * 8 * 8), [1, 3, 8, 8]);
  const { restored } = await session.run({ picture, kernel: gaussian(1, 1), sigma });
  return restored.dims[3] / 8;
}

try {
  const session = await ort.InferenceSession.create("usrnet.onnx", { executionProviders: ["wasm"] });
  at("status").textContent = "Choose a picture.";
  for (const id of ["picture", "width", "noise"])
    at(id).addEventListener("change", async () => {
      const [file] = at("picture").files;
      if (!file) return;
      at("status").textContent = "Working …";
      const begin = performance.now();
      try {
        await restore(session, file);
        at("status").textContent = `Done in ${((performance.now() - begin) / 1000).toFixed(1)} s.`;
      } catch (error) {
        at("status").textContent = `This picture cannot be restored: ${error.message ?? error}`;
      }
    });
} catch (error) {
  at("status").textContent = `The network cannot be loaded: ${error.message ?? error}`;
}
