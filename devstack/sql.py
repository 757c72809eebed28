"""Cut a file of SQL into statements, as the official CLI does before it records them."""

import re
from collections.abc import Iterator


#: Where a statement may end, or where text begins in which a semicolon ends nothing.
LANDMARK = re.compile(
    r"""
    ;
    | --[^\n]*
    | /\*
    | (?<![A-Za-z0-9_])[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    | '(?:[^']|'')*(?:'|\Z)
    | "(?:[^"]|"")*(?:"|\Z)
    | (?<![A-Za-z0-9_$])\$(?P<tag>[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$
    | (?<![A-Za-z0-9_$])begin\s+atomic\b
    | (?<![A-Za-z0-9_$])(?:case|end)(?![A-Za-z0-9_$])
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

COMMENT_EDGE = re.compile(r"/\*|\*/")


def split(text: str) -> Iterator[tuple[int, str]]:
    """
    Statements of *text* in order, each with the line it begins on, from 1.

    Semicolons inside strings, quoted names, dollar quotes, comments and `begin atomic` bodies end
    nothing. Comments stay with the statement that follows them; the ending semicolon does not.
    """
    begin = position = 0
    depth = 0
    while landmark := LANDMARK.search(text, position):
        found = landmark.group()
        position = _after(text, landmark)
        if found == ";" and depth == 0:
            yield from _statement(text, begin, landmark.start())
            begin = position
        else:
            depth = _depth(depth, found.lower())
    yield from _statement(text, begin, len(text))


def _after(text: str, landmark: re.Match[str]) -> int:
    """Where to look on: behind the whole quote or comment that *landmark* opens."""
    found = landmark.group()
    if found == "/*":
        return _after_comment(text, landmark.end())
    if found.startswith("$"):
        end = text.find(found, landmark.end())
        return len(text) if end < 0 else end + len(found)
    return landmark.end()


def _after_comment(text: str, position: int) -> int:
    """Block comments nest."""
    depth = 1
    while depth and (edge := COMMENT_EDGE.search(text, position)):
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return len(text) if depth else position


def _depth(depth: int, word: str) -> int:
    """How many `begin atomic … end` and `case … end` are open after *word*."""
    if word.startswith("begin"):
        return depth + 1
    if depth and word == "case":
        return depth + 1
    if depth and word == "end":
        return depth - 1
    return depth


def _statement(text: str, begin: int, end: int) -> Iterator[tuple[int, str]]:
    statement = text[begin:end].strip()
    if statement:
        begin += len(text[begin:end]) - len(text[begin:end].lstrip())
        yield text.count("\n", 0, begin) + 1, statement
