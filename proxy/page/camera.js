// Takes a photo with the camera, if there is one and the browser allows it.

const SIDE = 640; // pixels
const find = (id) => document.getElementById(id);

// Shows the camera button if there is a camera. taken(blob) gets each photo, or null if the camera is not available.
export async function offerCamera(taken) {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  if (!devices.some(({ kind }) => kind === "videoinput")) return;
  find("shoot").hidden = false;
  find("shoot").addEventListener("click", async ({ currentTarget: button }) => {
    button.disabled = true; // until the camera has started: it takes seconds
    await open(taken);
    button.disabled = false;
  });
}

async function open(taken) {
  const [dialog, video] = [find("camera"), find("video")];
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    taken(null);
    return;
  }
  video.srcObject = stream;
  dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
  find("close").onclick = () => dialog.close();
  find("snap").onclick = () => {
    if (!video.videoWidth) return; // no frame has come yet
    cropped(video).toBlob((blob) => taken(blob), "image/png");
    dialog.close();
  };
  dialog.showModal();
}

// The centre of the video frame, as marked by the viewfinder.
function cropped(video) {
  const side = Math.min(video.videoWidth, video.videoHeight) * 0.72;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.min(SIDE, Math.round(side));
  const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
  canvas.getContext("2d").drawImage(video, left, top, side, side, 0, 0, canvas.width, canvas.height);
  return canvas;
}
