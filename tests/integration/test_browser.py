"""The page for people and /docs in a real Chromium, against the real service."""

import base64
import io
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM, DESKTOP, DIGITS, PHONE, another_proxy, corners, draw

pytestmark = pytest.mark.browser
SEVEN = DIGITS[7]


@pytest.fixture(scope="module")
def chromium():
    # closed after this module: Playwright keeps an event loop running, and other tests could not run theirs
    if CHROMIUM is None:
        pytest.skip("no Chromium here; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, service):
    """open_page(path, **settings of the browser) -> page.

    The test fails on script errors, violations of the Content-Security-Policy and requests to other origins.
    """
    home = f"http://127.0.0.1:{service.port}"
    contexts, problems = [], []

    def open_(path="/", url=home, **settings):
        context = chromium.new_context(**(DESKTOP | settings))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
        page.on(
            "request", lambda request: request.url.startswith((url, "data:", "blob:")) or problems.append(request.url)
        )
        page.goto(url + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page):
    return open_page()


def numeral(page):
    return expect(page.locator("#numeral"))


def image(ink=255, background=0, size=(28, 28), kind="PNG"):
    """An encoded image of a seven."""
    seven = Image.open("samples/7.png").convert("L").resize(size)
    drawn = seven.point(lambda value: round(background + (ink - background) * value / 255))
    file = io.BytesIO()
    drawn.save(file, kind)
    return file.getvalue()


def test_each_drawn_digit_is_classified(page):
    for digit, strokes in DIGITS.items():
        draw(page, strokes)
        numeral(page).to_have_text(str(digit))
        expect(page.locator("#bars li.best b")).to_have_text(str(digit))
        page.click("#clear")


def test_a_result_shows_time_verdict_input_and_model(page):
    draw(page, SEVEN)
    expect(page.locator("#latency")).to_have_text(re.compile(r"^Answered in [\d.]+ ms$"))
    expect(page.locator("#live")).to_contain_text("sure")
    expect(page.locator("#input")).to_be_visible()
    assert page.evaluate("document.getElementById('input').naturalWidth") == 28
    expect(page.locator("#model")).to_have_text(re.compile(r"^Model mnist, version [\d.]+, weights [0-9a-f]{12}$"))


def test_an_image_without_a_digit_is_rejected_in_words(page):
    block, file = Image.new("L", (100, 100)), io.BytesIO()
    block.paste(255, (20, 20, 80, 80))
    block.save(file, "PNG")
    page.set_input_files("#file", {"name": "block.png", "mimeType": "image/png", "buffer": file.getvalue()})
    expect(page.locator("#sentence")).to_have_text("This does not look like a digit.")
    numeral(page).to_have_text("?")


def test_warnings_are_shown_in_words(page):
    page.set_input_files("#file", {"name": "x.png", "mimeType": "", "buffer": image(200, 230, (400, 400))})
    expect(page.locator("#warnings")).to_contain_text("dark on a light background")
    expect(page.locator("#warnings")).to_contain_text("The contrast is low")


def test_bars_change_while_drawing_and_requests_are_debounced(page):
    sent = []
    page.on("request", lambda request: sent.append(request) if "/api/" in request.url else None)
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 80)
    page.mouse.down()
    for step in range(100):
        page.mouse.move(box["x"] + 100 + step, box["y"] + 80 + step)
        page.wait_for_timeout(4)
    expect(page.locator("#bars li.best")).to_have_count(1)  # the button is still pressed
    page.mouse.up()
    assert 1 <= len(sent) < 100  # fewer than the movements of the pen


def test_undo_redo_and_clear_by_button_and_key(page):
    draw(page, DIGITS[1])
    numeral(page).to_have_text("1")
    draw(page, ["15,20 50,20"])
    numeral(page).not_to_have_text("1")
    page.keyboard.press("Control+z")
    numeral(page).to_have_text("1")
    page.keyboard.press("Control+Shift+Z")
    numeral(page).not_to_have_text("1")
    page.click("#undo")
    numeral(page).to_have_text("1")
    page.click("#clear")
    expect(page.locator("#sentence")).to_have_text("Waiting for your image")
    expect(page.locator("#bars li.best")).to_have_count(0)
    expect(page.locator("#clear")).to_be_disabled()
    page.click("#undo")
    numeral(page).to_have_text("1")


def test_drawing_by_keyboard_alone(page):
    while page.evaluate("document.activeElement.id") != "pad":
        page.keyboard.press("Tab")
    for key in ["ArrowUp"] * 8 + ["ArrowLeft"] * 5 + [" "] + ["ArrowRight"] * 10:
        page.keyboard.press(key)
    for _ in range(16):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press(" ")
    numeral(page).to_have_text("7")
    page.keyboard.press("Delete")
    expect(page.locator("#sentence")).to_have_text("Waiting for your image")
    page.keyboard.press("Backspace")
    numeral(page).to_have_text("7")


def test_a_stroke_that_is_taken_away_under_the_pen_has_ended(page):
    """Clearing or undoing while the pen is down: what follows neither fails nor changes an earlier stroke."""
    failures = []
    page.on("pageerror", lambda error: failures.append(error))
    page.focus("#pad")
    for key in (" ", "ArrowDown", "Delete", "ArrowDown", " ", "ArrowDown", "Control+z", "ArrowDown"):
        page.keyboard.press(key)
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.keyboard.press("Control+z")
    page.mouse.move(box["x"] + 90, box["y"] + 90)
    page.mouse.up()
    expect(page.locator("#sentence")).to_have_text("Waiting for your image")
    assert not failures


def test_a_large_transparent_image_is_not_made_black(page):
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 1200, 4), np.uint8)
    pixels[..., 3] = 1  # nearly transparent, and so large
    strokes = np.zeros((1200, 1200), np.uint8)
    cv2.polylines(strokes, [np.int32([[300, 200], [900, 200], [500, 1000]])], False, 255, 80)
    pixels[strokes > 0] = (0, 0, 0, 255)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    assert len(data) > 2**20
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": data})
    numeral(page).to_have_text("7")


def test_drawing_with_a_finger_does_not_scroll(open_page):
    page = open_page(**PHONE)
    touch = page.context.new_cdp_session(page)
    points = [
        (a + (c - a) * i / 9, b + (d - b) * i / 9)
        for (a, b), (c, d) in itertools.pairwise(corners(page, SEVEN[0]))
        for i in range(10)
    ]
    for at, (x, y) in enumerate(points):
        kind = "touchMove" if at else "touchStart"
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    numeral(page).to_have_text("7")
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("seven.png", image()),
        ("paper.jpg", image(40, 230, (400, 400), "JPEG")),
        ("photo.bmp", image(40, 230, (1600, 1600), "BMP")),  # 2.5 MB: reduced before it is sent
        ("unknown-to-browsers.tiff", image(kind="TIFF")),
    ],
)
def test_an_uploaded_file_is_classified(page, name, data):
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})
    numeral(page).to_have_text("7")
    expect(page.locator("#listing")).to_contain_text(f"image=@{name}")


def test_a_file_name_is_no_command_in_the_listings(page):
    name = "it's $(whoami), or; not.png"
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": image()})
    numeral(page).to_have_text("7")
    listing = page.locator("#listing").inner_text()
    assert f'image=@"{name}"' in shlex.split(listing)
    page.check("[name=language][value=python]")
    assert f'open({json.dumps(name)}, "rb")' in page.locator("#listing").inner_text()


def test_a_large_image_is_reduced_before_it_is_sent(page):
    with page.expect_request("**/api/mnist*") as sent:
        page.set_input_files("#file", {"name": "x.bmp", "mimeType": "", "buffer": image(40, 230, (1700, 1700), "BMP")})
    assert int(sent.value.all_headers()["content-length"]) < 500_000
    numeral(page).to_have_text("7")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_dropped_or_pasted_image_is_classified(page, event):
    page.evaluate(
        """([type, data]) => {
            const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "seven.png", { type: "image/png" }));
            const settings = { dataTransfer: transfer, clipboardData: transfer, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new (type === "drop" ? DragEvent : ClipboardEvent)(type, settings));
        }""",
        [event, base64.b64encode(image()).decode()],
    )
    numeral(page).to_have_text("7")


def test_a_photo_is_classified(open_page):
    page = open_page(permissions=["camera"])
    page.click("#shoot")
    expect(page.locator("#camera")).to_be_visible()
    for _ in range(100):  # wait_for_function uses eval, which the page's policy forbids
        if page.evaluate("document.getElementById('video').videoWidth") > 0:
            break
        page.wait_for_timeout(100)
    page.click("#snap")
    expect(page.locator("#camera")).to_be_hidden()
    expect(page.locator("#latency")).to_contain_text("Answered")
    assert page.evaluate("document.getElementById('video').srcObject.getTracks().every(t => t.readyState === 'ended')")


def test_an_unavailable_camera_is_reported(open_page):
    page = open_page()
    page.click("#shoot")
    expect(page.get_by_role("alert")).to_contain_text("The camera is not available")


def test_an_error_is_shown_and_disappears_with_the_next_result(page):
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not an image"})
    expect(page.get_by_role("alert")).to_contain_text("The image cannot be read")
    expect(page.get_by_role("alert")).to_contain_text("undecodable_image, request")
    expect(page.locator("#undisplayed")).to_contain_text("notes.txt")
    page.get_by_role("button", name="Sample of 4").click()
    numeral(page).to_have_text("4")
    expect(page.locator("#error")).to_be_hidden()


def test_a_lost_connection_is_reported_and_retried(page):
    page.context.set_offline(True)
    draw(page, SEVEN)
    expect(page.get_by_role("alert")).to_contain_text("The service cannot be reached")
    page.context.set_offline(False)
    numeral(page).to_have_text("7", timeout=10_000)
    expect(page.locator("#error")).to_be_hidden()


def test_a_late_response_to_an_earlier_image_is_not_shown(page):
    delayed = []

    def delay_first(route):
        if delayed:
            route.continue_()
        else:
            delayed.append((route, route.fetch()))

    page.route("**/api/mnist*", delay_first)
    page.evaluate(  # otherwise the browser would abort the first request itself
        "const real = fetch; window.fetch = (url, options) => real(url, { ...options, signal: undefined })"
    )
    page.get_by_role("button", name="Sample of 3").click()
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Sample of 7").click()
    numeral(page).to_have_text("7")
    route, response = delayed[0]
    with page.expect_response("**/api/mnist*"):
        route.fulfill(response=response)
    page.wait_for_timeout(300)
    numeral(page).to_have_text("7")


def test_an_api_key_is_requested_and_used(open_page, service):
    with another_proxy(service, API_KEYS="secret") as url:
        page = open_page(url=url)
        page.get_by_role("button", name="Sample of 5").click()
        expect(page.get_by_role("alert")).to_contain_text("Send a valid API key")
        page.get_by_label("API key").fill("secret")
        page.keyboard.press("Enter")
        numeral(page).to_have_text("5")
        expect(page.locator("#key-form")).to_be_hidden()
        expect(page.locator("#listing")).to_contain_text('-H "X-API-Key: $API_KEY"')
        assert "secret" not in page.content()


RUNNERS = {"curl": ["bash", "-c"], "fetch": ["node", "--input-type=module", "-e"], "python": [sys.executable, "-c"]}


@pytest.mark.parametrize("language", RUNNERS)
def test_the_code_to_copy_sends_the_same_request(open_page, language):
    if not shutil.which(RUNNERS[language][0]) or not shutil.which("curl"):
        pytest.skip(f"needs {RUNNERS[language][0]} and curl")
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Sample of 3").click()
    numeral(page).to_have_text("3")
    page.check(f"input[value={language}]")
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("Copied")
    code = page.evaluate("navigator.clipboard.readText()")
    ran = subprocess.run([*RUNNERS[language], code], capture_output=True, text=True, timeout=60)
    assert "three" in ran.stdout.split('"prediction"')[-1], ran.stderr


def test_the_saved_image_is_the_image_that_was_sent(page):
    draw(page, SEVEN)
    numeral(page).to_have_text("7")
    with page.expect_download() as saved:
        page.click("#save")
    assert saved.value.suggested_filename == "drawing.png"
    with Image.open(saved.value.path()) as drawn:
        assert drawn.size == (280, 280)
        assert drawn.convert("L").getpixel((0, 0)) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_passes_the_accessibility_rules(open_page, scheme, device):
    page = open_page(color_scheme=scheme, reduced_motion="reduce", **device)
    assert Axe().run(page).response["violations"] == []
    draw(page, SEVEN)
    numeral(page).to_have_text("7")
    assert Axe().run(page).response["violations"] == []
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not an image"})
    expect(page.get_by_role("alert")).to_be_visible()
    assert Axe().run(page).response["violations"] == []


def test_a_sample_scrolls_the_result_into_view_on_a_phone(open_page):
    page = open_page(**PHONE)
    page.get_by_role("button", name="Sample of 8").tap()
    numeral(page).to_have_text("8")
    expect(page.locator("#numeral")).to_be_in_viewport()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_is_wider_than_the_screen(open_page, path):
    page = open_page(path)
    page.wait_for_load_state("networkidle")
    for width in (320, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def operation(page, name):
    """An operation of /docs, opened."""
    found = page.locator(f"#operations-Predictions-{name}")
    found.locator(".opblock-summary-control").click()
    return found


def execute(operation, status, text):
    """Press Execute, and expect a response with this status whose body contains the text."""
    operation.get_by_role("button", name="Execute").click()
    response = operation.locator(".live-responses-table .response")
    expect(response.locator(".response-col_status")).to_have_text(re.compile(rf"^{status}"))
    expect(response.locator(".response-col_description")).to_contain_text(text)


def test_the_documentation_lists_every_operation(open_page):
    page = open_page("/docs")
    expect(page.locator(".opblock")).to_have_count(5)
    expect(page.locator(".version").last).to_have_text("OAS 3.1")
    expect(operation(page, "predict")).to_contain_text("undecodable_image")
    expect(page.get_by_role("button", name="Authorize")).to_have_count(0)
    # the markup inside belongs to Swagger UI
    assert Axe().run(page, context={"exclude": [["#swagger-ui"]]}).response["violations"] == []


def test_the_documentation_uploads_an_image(open_page):
    page = open_page("/docs")
    predict = operation(page, "predict")
    predict.locator("input[type=file]").set_input_files("samples/2.png")
    predict.locator("tr[data-param-name=details] select").select_option("yes")
    execute(predict, 200, '"class_name": "two"')


def test_the_documentation_uploads_a_raw_body(open_page):
    page = open_page("/docs")
    predict = operation(page, "predict")
    predict.locator(".opblock-section-request-body .content-type").select_option("image/*")
    predict.locator("input[type=file]").set_input_files("samples/6.png")
    execute(predict, 200, '"class_name": "six"')


def test_the_documentation_uploads_a_batch(open_page):
    page = open_page("/docs")
    batch = operation(page, "predictBatch")
    batch.locator("input[type=file]").set_input_files("samples/2.png")
    batch.get_by_role("button", name="Add").click()
    batch.locator("input[type=file]").last.set_input_files("samples/7.png")
    with page.expect_response("**/api/mnist/batch*") as answered:
        execute(batch, 200, '"results"')
    names = [each["predictions"]["prediction"]["class_name"] for each in answered.value.json()["results"]]
    assert names == ["two", "seven"]


def test_the_documentation_authorizes(open_page, service):
    with another_proxy(service, API_KEYS="secret") as url:
        page = open_page("/docs", url=url)
        predict = operation(page, "predict")
        predict.locator("input[type=file]").set_input_files("samples/2.png")
        execute(predict, 401, "unauthorized")
        page.get_by_role("button", name="Authorize").first.click()
        form = page.locator(".auth-container", has_text="X-API-Key")
        form.get_by_label("Value:").fill("secret")
        form.get_by_role("button", name="Apply credentials").click()
        form.get_by_role("button", name="Close").click()
        execute(predict, 200, '"class_name": "two"')
