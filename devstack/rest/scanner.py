"""A cursor over one query parameter, with the few tokens that PostgREST's grammar has."""

import re
from typing import NoReturn

from devstack.rest import errors


# Letters, digits, `_`, `$`, blanks, and dashes inside; anything else needs double quotes.
_NAME = re.compile(r"[\w $]+(?:-(?!>)[\w $]+)*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Scanner:
    """Reads *text* from left to right; *what* names it in errors."""

    def __init__(self, text: str, what: str) -> None:
        self.text = text
        self.what = what
        self.position = 0

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def peek(self, count: int = 1) -> str:
        """The next *count* characters, not taken."""
        return self.text[self.position : self.position + count]

    def accept(self, token: str) -> bool:
        if not self.text.startswith(token, self.position):
            return False
        self.position += len(token)
        return True

    def expect(self, token: str) -> None:
        if not self.accept(token):
            self.fail(f'expecting "{token}"')

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.position)
        if found:
            self.position = found.end()
        return found

    def blanks(self) -> None:
        while self.peek() in {" ", "\t"}:
            self.position += 1

    def quoted(self) -> str | None:
        """Take a double-quoted value with backslash escapes, if one is next."""
        found = self.match(_QUOTED)
        return _ESCAPED.sub(r"\1", found.group(1)) if found else None

    def name(self) -> str:
        self.blanks()
        name = self.quoted()
        if name is None:
            found = self.match(_NAME)
            name = found.group().strip() if found else ""
        if not name:
            self.fail("expecting field name (* or [a..z0..9_$])")
        return name

    def end(self) -> None:
        if not self.at_end:
            self.fail("expecting end of input")

    def fail(self, expectation: str) -> NoReturn:
        """Raise QueryParameterError, saying where and what stood there."""
        found = f'"{self.peek()}"' if not self.at_end else "end of input"
        raise errors.QueryParameterError(
            f'"failed to parse {self.what} ({self.text})" (line 1, column {self.position + 1})',
            details=f"unexpected {found} {expectation}",
        )
