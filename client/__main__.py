"""`python -m client FILES/FOLDERS/GLOBS`: read images of digits with a running service.

Exits with 0 when every image was read, 1 when one was not, 2 when there is nothing to do, 130 on Ctrl-C.
"""

import argparse
import io
import os
import sys
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from client.files import Image, find
from client.formats import FORMATS
from client.service import Outcome, Service, ServiceFailure

URL = "http://127.0.0.1:3001"


def main(words: list[str] | None = None) -> int:
    options = parser().parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
    try:
        images = list(find(options.images))
        if not images:
            print("error: no images there; name files, folders or globs", file=sys.stderr)
            return 2
        service = Service(options.url, options.key, options.details)
        failed = show(service.read(images, options.batch), images, options)
        sys.stdout.flush()
    except ServiceFailure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # of standard output
        if not isinstance(error, BrokenPipeError):  # that is `| head`, which has seen enough
            print(f"error: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if failed:
        print(f"{failed} of {len(images)} images failed", file=sys.stderr)
    return 1 if failed else 0


def show(outcomes: Iterable[Outcome], images: list[Image], options: argparse.Namespace) -> int:
    """Print each outcome as it comes; the number of images that failed."""
    bar = tqdm(total=len(images), unit="image", disable=None if options.progress else True, leave=False)
    failed = 0

    def counted() -> Iterator[Outcome]:
        nonlocal failed
        for outcome in outcomes:
            failed += outcome.error is not None
            bar.update()
            yield outcome

    with bar:
        for line in FORMATS[options.format](counted(), images, options.details):
            bar.write(line, file=sys.stdout)
    return failed


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m client", description="Read images of handwritten digits.")
    arguments.add_argument("images", nargs="+", help="files, folders (searched through), globs; - is standard input")
    arguments.add_argument(
        "--url", default=os.environ.get("MNIST_URL", URL), help="the service; default: $MNIST_URL, else %(default)s"
    )
    arguments.add_argument(
        "--key", default=os.environ.get("MNIST_KEY"), help="API key; default: $MNIST_KEY, which no process list shows"
    )
    arguments.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    arguments.add_argument("--details", action="store_true", help="with verdict and warnings of each image")
    arguments.add_argument(
        "--batch", type=whole, default=64, metavar="N", help="images in one request, 1 to 256; default: 64"
    )
    arguments.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")
    return arguments


def whole(text: str) -> int:
    """a whole number from 1 to 256"""
    if not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError("expected a whole number from 1 to 256")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
