"""Outcomes -> lines of a table, of CSV or of JSON, each line as soon as its image is read."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from client.files import Image
from client.service import Outcome

WIDEST = 60  # characters of a name in the table
COLUMNS = ("image", "label", "class_name", "probability", "error", "message")
DETAILS = ("verdict", "warnings")


def table(outcomes: Iterable[Outcome], images: list[Image], details: bool) -> Iterator[str]:
    """A line for each image, in columns."""
    width = min(WIDEST, max(len("image"), *(len(image.name) for image in images)))
    yield f"{'image':{width}}  digit  probability" + ("  verdict      warnings" if details else "")
    for outcome in outcomes:
        name = outcome.name if len(outcome.name) <= width else "…" + outcome.name[1 - width :]
        yield f"{name:{width}}  {_cells(outcome)}".rstrip()


def _cells(outcome: Outcome) -> str:
    if outcome.answer is None:
        return f"-      {outcome.error['code']}: {outcome.error['message']}" if outcome.error else ""
    best, more = _best(outcome.answer), outcome.answer.get("details", {})
    warnings = ", ".join(more.get("warnings", ()))
    return f"{best['label']:<5}  {best['probability']:<11.6f}  {more.get('verdict', ''):11}  {warnings}"


def comma_separated(outcomes: Iterable[Outcome], images: list[Image], details: bool) -> Iterator[str]:
    """CSV with a header line."""
    columns = (*COLUMNS[:4], *(DETAILS if details else ()), *COLUMNS[4:])
    yield _csv(columns)
    for outcome in outcomes:
        row = _row(outcome)
        yield _csv(row.get(column, "") for column in columns)


def _row(outcome: Outcome) -> dict[str, Any]:
    if outcome.answer is None:
        error = outcome.error or {}
        return {"image": outcome.name, "error": error.get("code"), "message": error.get("message")}
    more = outcome.answer.get("details", {})
    told = {"verdict": more.get("verdict", ""), "warnings": " ".join(more.get("warnings", ()))}
    return {"image": outcome.name} | _best(outcome.answer) | told


def _csv(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue().removesuffix("\r\n")


def as_json(outcomes: Iterable[Outcome], images: list[Image], details: bool) -> Iterator[str]:
    """A list of objects: `image`, and what the API answers for it."""
    before = "["
    for outcome in outcomes:
        answer = outcome.answer or {"success": False, "error": outcome.error}
        yield before + json.dumps({"image": outcome.name} | answer)
        before = ","
    yield "]"


def _best(answer: dict[str, Any]) -> dict[str, Any]:
    best: dict[str, Any] = answer["predictions"]["prediction"]
    return best


FORMATS: dict[str, Callable[[Iterable[Outcome], list[Image], bool], Iterator[str]]] = {
    "table": table,
    "csv": comma_separated,
    "json": as_json,
}
