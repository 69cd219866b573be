// A picture from the camera, where there is one and the browser lets the page have it.

const SIDE = 640; // pixels
const find = (id) => document.getElementById(id);

export async function offerCamera(take) {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  if (!devices.some(({ kind }) => kind === "videoinput")) return;
  find("shoot").hidden = false;
  find("shoot").addEventListener("click", () => open(take));
}

async function open(take) {
  const [dialog, video] = [find("camera"), find("video")];
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    take(null);
    return;
  }
  video.srcObject = stream;
  dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
  find("close").onclick = () => dialog.close();
  find("snap").onclick = () => {
    shot(video).toBlob((blob) => take(blob), "image/png");
    dialog.close();
  };
  dialog.showModal();
}

// The middle of the frame, as the viewfinder shows it.
function shot(video) {
  const side = Math.min(video.videoWidth, video.videoHeight) * 0.72;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.min(SIDE, Math.round(side));
  const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
  canvas.getContext("2d").drawImage(video, left, top, side, side, 0, 0, canvas.width, canvas.height);
  return canvas;
}
