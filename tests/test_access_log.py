"""The access log: what a line says, what it never says, and that no output can stop the service."""

import json
import os
import re
import time

import pytest
from proxy.access_log import AccessLog, as_json, as_text
from proxy.lane import Upload
from proxy.request import Request, Response

from tests.exchanges import exchange_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OK = Response(200, b'{"success": true}')


def request(path="/api/mnist", uploads=(), **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    it = Request(exchange_of(path=f"{path}?secret=1", headers=named))
    it.size = 321
    it.uploads = list(uploads)
    return it


def upload(begun, joined, left, returned):
    it = Upload((b"picture bytes",), 0, begun + 10)
    it.joined, it.left, it.returned = begun + joined, begun + left, begun + returned
    return it


def lines(form, *requests):
    """What the log writes for these, through a real pipe."""
    reading, writing = os.pipe()
    log = AccessLog(form, writing)
    for each in requests:
        log.observe(each, OK)
    log.close()
    os.close(writing)
    with os.fdopen(reading) as file:
        return file.read().splitlines()


def test_a_json_line_tells_id_status_times_bytes_and_trace():
    it = request(x_request_id="abc-1", traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    it.uploads, it.responded = [upload(it.received, 0.001, 0.003, 0.008)], it.received + 0.009
    [line] = lines("json", it)
    told = json.loads(line)
    assert told["id"] == "abc-1"
    assert (told["method"], told["path"], told["status"], told["code"]) == ("POST", "/api/mnist", 200, "")
    assert told["bytes"] == {"in": 321, "out": len(OK.body)}
    assert told["trace_id"] == TRACE
    assert told["uploads"] == 1
    assert told["ms"] == {"total": 9, "arrival": 1, "queue": 2, "trip": 5}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", told["time"])


def test_a_line_for_people_is_one_line_of_plain_text():
    it = request(x_request_id="abc-1")
    it.uploads = [upload(it.received, 0.001, 0.003, 0.008)]
    [line] = lines("text", it)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d 200 POST /api/mnist  \d+\.\d ms \(queue 2\.0, trip 5\.0\) 321 B in, 17 B out, id abc-1", line
    )


@pytest.mark.parametrize("form", [as_json, as_text])
def test_neither_pictures_nor_the_query_nor_keys_are_told(form):
    it = request(authorization="Bearer hush", x_api_key="hush", x_request_id="abc")
    it.uploads = [upload(it.received, 0.001, 0.003, 0.008)]
    line = form(it, OK)
    assert not any(word in line for word in ("picture", "secret", "hush"))


@pytest.mark.parametrize("path", ['/"}\n{"forged": 1', "/\x1b[31mred", "/" + "x" * 5000, "/é\u2028\x00"])
def test_no_path_can_forge_or_flood_a_line(path):
    assert as_json(request(path), OK).count("\n") == as_text(request(path), OK).count("\n") == 1
    assert len(as_json(request(path), OK)) < 700
    assert json.loads(as_json(request(path), OK))["path"] == path[:256]
    assert as_text(request(path), OK)[:-1].isprintable()


def test_an_upload_that_was_refused_has_no_times():
    it = request(uploads=[Upload((b"x",), 0, 1.0)])
    told = json.loads(as_json(it, Response(503, b"")))["ms"]
    assert (told["arrival"], told["queue"], told["trip"]) == (0, 0, 0)


def test_an_upload_that_never_left_waited_until_now():
    it = request()
    it.received -= 5
    it.uploads = [upload(it.received, 1, 0, 0)]
    it.uploads[0].left = it.uploads[0].returned = 0.0
    told = json.loads(as_json(it, Response(504, b"")))["ms"]
    assert 3900 < told["queue"] < 60_000
    assert told["trip"] == 0


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01\n",
        f"00-{TRACE}-00f067aa0ba902b7",
    ],
)
def test_an_invalid_traceparent_is_none(given):
    assert request(traceparent=given).traceparent == ""
    assert "trace_id" not in json.loads(as_json(request(traceparent=given), OK))


def test_nothing_is_written_when_it_is_off():
    log = AccessLog("off", -1)
    assert log.observers == []
    log.close()


def test_auto_is_json_where_no_terminal_is_and_text_where_one_is():
    json.loads(lines("auto", request())[0])
    main, terminal = os.openpty()
    log = AccessLog("auto", terminal)
    log.observe(request(x_request_id="abc"), OK)
    log.close()
    assert os.read(main, 1000).decode().strip().endswith("id abc")


def test_what_machines_ask_every_second_is_not_told():
    asked = [request(path) for path in ("/livez", "/readyz", "/metrics", "/api/mnist")]
    assert [json.loads(line)["path"] for line in lines("json", *asked)] == ["/api/mnist"]


def eventually(condition):
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_lines_are_written_without_waiting_for_the_end():
    reading, writing = os.pipe()
    log = AccessLog("json", writing)
    log.observe(request(), OK)
    log.look()
    assert json.loads(os.read(reading, 10_000))  # blocks for ever if the log waits until it is closed
    log.close()


def test_a_full_disk_costs_lines_and_nothing_else():
    full = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog("json", full)
    log.observe(request(), OK)
    log.observe(request(), OK)
    log.look()
    assert eventually(lambda: log.lost == 2)
    log.observe(request(), OK)
    log.close()
    assert log.lost == 3 or eventually(lambda: log.lost == 3)


def test_lines_come_again_once_the_disk_has_room(tmp_path):
    target = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog("json", target)
    log.observe(request(), OK)
    log.look()
    assert eventually(lambda: log.lost == 1)
    os.dup2(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT), target)
    log.observe(request(x_request_id="after"), OK)
    log.close()
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["id"] == "after"


def test_a_closed_output_costs_lines_and_nothing_else():
    reading, writing = os.pipe()
    log = AccessLog("json", writing)
    os.close(reading)
    log.observe(request(), OK)
    log.look()
    assert eventually(lambda: log.lost == 1)
    log.close()


def test_an_output_that_nobody_reads_neither_blocks_nor_fills_memory(monkeypatch):
    monkeypatch.setattr("proxy.access_log.MOST", 300_000)
    reading, writing = os.pipe()
    log = AccessLog("json", writing)
    for _ in range(20):
        for _ in range(500):
            log.observe(request(), OK)
        log.look()
        time.sleep(0.05)
    assert log.lost > 0
    assert sum(map(len, log._blocks)) < 300_000 + 500 * 300  # and the last block
    os.close(reading)  # lets the writing thread go
    log.close()
