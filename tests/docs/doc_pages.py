"""The documentation's pages: their code, their links and their headings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*)")
_SETUP = "<!-- setup"
_NO_RUN = re.compile(r"<!-- no-run: \S.*-->")
_RUN = "<!-- run -->"
_PRINTS = "<!-- prints -->"
_CODE_SPAN = re.compile(r"`+[^`\n]+`+")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, or the code of a `<!-- setup` comment, which readers do not see.

    Attributes:
        language: What stands after the fence; `setup` for such a comment.
        line: The line of its first line of content, counted from one.
        lines: Its content, without the fence's indentation.
        skipped: Whether a `<!-- no-run: reason -->` comment stands before it.
        run: Whether `<!-- run -->` stands before it: this SQL is executed.
        prints: Whether `<!-- prints -->` stands before it: the block above prints just this.
    """

    language: str
    line: int
    lines: tuple[str, ...]
    skipped: bool = False
    run: bool = False
    prints: bool = False

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


@dataclass(frozen=True)
class Page:
    """A Markdown file of the project.

    Attributes:
        path: Where it is.
        prose: Its lines; those of blocks and comments are empty.
        blocks: Its blocks, in order.
    """

    path: Path
    prose: tuple[str, ...] = field(repr=False)
    blocks: tuple[Block, ...] = field(repr=False)

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def code(self) -> tuple[Block, ...]:
        """What runs, in order: Python, and SQL that says so."""
        wanted = ("python", "setup")
        return tuple(b for b in self.blocks if b.run or (b.language in wanted and not b.skipped))

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(
            link for line in self.prose for link in _LINK.findall(_CODE_SPAN.sub("``", line))
        )

    @property
    def anchors(self) -> frozenset[str]:
        """What a link to this page can have after its `#`."""
        headings = (line.lstrip("#").strip() for line in self.prose if line.startswith("#"))
        return frozenset(_slug(heading) for heading in headings)

    def code_spans(self) -> tuple[str, ...]:
        return tuple(s.strip("`") for line in self.prose for s in _CODE_SPAN.findall(line))


@cache
def pages() -> tuple[Page, ...]:
    """Every page of the documentation, the project's own ones and the examples' included."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    return tuple(read(path) for path in sorted(found))


def page(name: str) -> Page:
    """The page of this path, relative to the repository."""
    return next(p for p in pages() if p.name == name)


def read(path: Path) -> Page:
    """Take a page apart."""
    lines = path.read_text(encoding="utf-8").splitlines()
    prose, blocks = [""] * len(lines), []
    at, before = 0, ""
    while at < len(lines):
        line = lines[at]
        fence = _FENCE.match(line)
        if fence or line.startswith(_SETUP):
            end = _end(lines, at, "-->" if fence is None else fence["indent"] + "```")
            blocks.append(_block(lines, at, end, fence, before))
            at, before = end + 1, ""
            continue
        if not line.startswith("<!--"):
            prose[at] = line
        before = line.strip() or before
        at += 1
    return Page(path, tuple(prose), tuple(blocks))


def _end(lines: list[str], start: int, mark: str) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at].rstrip() == mark:
            return at
    raise ValueError(f"the block that begins in line {start + 1} has no end: {lines[start]}")


def _block(
    lines: list[str], start: int, end: int, fence: re.Match[str] | None, before: str
) -> Block:
    indent = len(fence["indent"]) if fence else 0
    content = tuple(line[indent:] for line in lines[start + 1 : end])
    return Block(
        language=fence["language"] if fence else "setup",
        line=start + 2,
        lines=content,
        skipped=_NO_RUN.fullmatch(before) is not None,
        run=before == _RUN,
        prints=before == _PRINTS,
    )


def _slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
