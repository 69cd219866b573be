"""`python -m tests.sizes`: how large the code is, as a table in Markdown."""

import ast
import io
import sys
import tokenize
from pathlib import Path

from serve.install import Section, pins

ROOT = Path(__file__).parents[1]
PACKAGES = ("handler", "proxy", "serve", "train", "client", "bench", "tests")
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(text: str) -> int:
    """Lines with code on them: blank lines, comments and docstrings left out."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {line for each in tokens if each.type not in SILENT for line in range(each.start[0], each.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def row(name: str, files: list[Path]) -> str:
    texts = [file.read_text() for file in files]
    lines, code = sum(len(text.splitlines()) for text in texts), sum(map(code_lines, texts))
    return f"| {name} | {len(files) if len(files) > 1 else ''} | {lines} | {code} |"


def main() -> int:
    print("| | modules | lines | code lines |\n|---|---|---|---|")
    for package in PACKAGES:
        files = sorted((ROOT / package).rglob("*.py"))
        print(row(f"**{package}/**", files))
        if package != "tests":
            for file in files:
                print(row(str(file.relative_to(ROOT)), [file]))
    for section in Section:
        print(f"{section}: {len(pins(section))} pinned packages, those of the sections before it included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
