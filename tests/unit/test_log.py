"""The access log: what a line says, what it never says, and that no output can stop the service."""

import json
import logging
import os
import re
import subprocess
import sys
import time

import pytest

from proxy.app import Response
from proxy.batcher import Item
from proxy.errors import Cause
from proxy.log import QUEUE_RECORDS, AccessLog, BackgroundHandler, as_json
from tests.rsgi import request_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OK = Response(200, b'{"success": true}')


def request(path="/api/mnist", items=(), **headers):
    it = request_of(path, {name.replace("_", "-"): value for name, value in headers.items()}, query="secret=1")
    it.buffered = 321
    it.items = list(items)
    it.responded = it.received + 0.009
    return it


def item(begun, enqueued, dispatched, completed):
    it = Item(b"image bytes", 0, begun + 10)
    it.enqueued, it.dispatched, it.completed = begun + enqueued, begun + dispatched, begun + completed
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
    it.body_read, it.items = it.received + 0.001, [item(it.received, 0.001, 0.003, 0.008)]
    [line] = lines("json", it)
    logged = json.loads(line)
    assert list(logged) == [
        "time", "id", "method", "path", "status", "code", "cause", "ms", "bytes", "images", "trace_id"
    ]  # fmt: skip
    assert logged["id"] == "abc-1"
    assert (logged["method"], logged["path"], logged["status"]) == ("POST", "/api/mnist", 200)
    assert (logged["code"], logged["cause"]) == ("", "")
    assert logged["bytes"] == {"in": 321, "out": len(OK.body)}
    assert logged["trace_id"] == TRACE
    assert logged["images"] == 1
    assert logged["ms"] == {"total": 9, "receive": 1, "queue": 2, "upstream": 5}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", logged["time"])


def test_of_several_images_a_line_tells_the_longest_waits():
    it = request()
    it.body_read = it.received + 0.001
    it.items = [item(it.received, 0.001, 0.003, 0.004), item(it.received, 0.001, 0.002, 0.008)]
    logged = json.loads(as_json(it, OK))
    assert logged["images"] == 2
    assert logged["ms"] == {"total": 9, "receive": 1, "queue": 2, "upstream": 6}


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.NONE])
def test_a_refusal_tells_its_code_and_its_cause(cause):
    it = request()
    it.code, it.cause = "overloaded", cause
    logged = json.loads(as_json(it, Response(503, b"")))
    assert (logged["status"], logged["code"], logged["cause"]) == (503, "overloaded", cause.value)


def test_images_queries_and_keys_are_not_logged():
    it = request(authorization="Bearer hush", x_api_key="hush", x_request_id="abc")
    it.items = [item(it.received, 0.001, 0.003, 0.008)]
    line = as_json(it, OK)
    assert not any(word in line for word in ("image bytes", "secret", "hush"))


@pytest.mark.parametrize("path", ['/"}\n{"forged": 1', "/\x1b[31mred", "/" + "x" * 5000, "/é\u2028\x00"])
def test_no_path_can_forge_or_flood_a_line(path):
    assert as_json(request(path), OK).count("\n") == 0
    assert len(as_json(request(path), OK)) < 700
    assert json.loads(as_json(request(path), OK))["path"] == path[:256]
    assert as_json(request(path), OK).isprintable()


def test_a_request_without_images_has_no_times_of_them():
    logged = json.loads(as_json(request(), Response(503, b"")))["ms"]
    assert (logged["receive"], logged["queue"], logged["upstream"]) == (0, 0, 0)


def test_an_image_that_was_never_sent_waited_until_the_response():
    it = request()
    it.items = [item(it.received, 0.001, 0, 0)]
    it.items[0].dispatched = it.items[0].completed = 0.0
    logged = json.loads(as_json(it, Response(504, b"")))["ms"]
    assert (logged["queue"], logged["upstream"]) == (8, 0)


def test_an_image_without_a_reply_was_upstream_until_the_response():
    it = request()
    it.items = [item(it.received, 0.001, 0.002, 0)]
    it.items[0].completed = 0.0
    logged = json.loads(as_json(it, Response(504, b"")))["ms"]
    assert (logged["queue"], logged["upstream"]) == (1, 7)


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
    assert lines("off", request()) == []


def test_probes_and_scrapes_are_not_logged():
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
    log.flush()
    assert json.loads(os.read(reading, 10_000))  # blocks for ever if the log waits until it is closed
    log.close()


def test_a_full_disk_costs_lines_and_nothing_else():
    full = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog("json", full)
    log.observe(request(), OK)
    log.observe(request(), OK)
    log.flush()
    assert eventually(lambda: log.lost == 2)
    log.observe(request(), OK)
    log.close()
    assert log.lost == 3 or eventually(lambda: log.lost == 3)


def test_lines_come_again_once_the_disk_has_room(tmp_path):
    target = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog("json", target)
    log.observe(request(), OK)
    log.flush()
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
    log.flush()
    assert eventually(lambda: log.lost == 1)
    log.close()


def test_an_output_that_nobody_reads_neither_blocks_nor_fills_memory():
    reading, writing = os.pipe()
    log = AccessLog("json", writing)
    pipe = 1 << 20  # bytes: as large as a pipe may be made
    rounds = QUEUE_RECORDS + pipe // len(as_json(request(), OK)) // 50 + 10
    for _ in range(rounds):
        for _ in range(50):
            log.observe(request(), OK)
        log.flush()
    assert 0 < log.lost < rounds * 50
    before = log.lost
    log.close()  # gives up
    assert log.lost == before
    os.close(reading)  # lets the writing thread go


def test_what_waits_at_the_end_is_written():
    reading, writing = os.pipe()
    log = AccessLog("json", writing)
    for _ in range(3):
        log.observe(request(), OK)
        log.flush()
    log.observe(request(), OK)
    log.close()
    os.close(writing)
    with os.fdopen(reading) as file:
        assert len(file.read().splitlines()) == 4


def test_after_a_cut_line_the_next_begins_anew():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    log = AccessLog("json", writing)
    for _ in range(5000):  # more than a pipe holds: one line is written in part
        log.observe(request(), OK)
    log.flush()
    assert eventually(lambda: log.lost)
    before = os.read(reading, 1 << 20)
    log.observe(request(x_request_id="after"), OK)
    log.close()
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        *_, cut, last = (before + file.read()).splitlines()
    assert json.loads(last)["id"] == "after"
    assert not cut.endswith(b"}")


def test_other_records_are_written_with_their_trace():
    reading, writing = os.pipe()
    handler, log = BackgroundHandler(writing), logging.getLogger("test")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log.addHandler(handler)
    try:
        raise RuntimeError("a bug")
    except RuntimeError:
        log.exception("request %s failed", "abc")
    log.removeHandler(handler)
    handler.close()
    os.close(writing)
    with os.fdopen(reading) as file:
        first, *trace = file.read().splitlines()
    assert first == "ERROR test: request abc failed"
    assert trace[-1] == "RuntimeError: a bug"


def test_an_error_output_that_nobody_reads_holds_up_neither_the_work_nor_the_end():
    """As under a terminal that is paused: the pipe is full, its reader lives and does not read."""
    program = """if True:
        import logging
        from proxy.log import BackgroundHandler
        logging.basicConfig(handlers=[BackgroundHandler(2)])
        for _ in range(3000):
            logging.error("x" * 1000)
        print("done", flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.wait(20) == 0
        assert process.stdout.read() == b"done\n"
