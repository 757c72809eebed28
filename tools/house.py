# noqa: INP001 - a script for `make check`, no package
"""
Print the repository's figures beside their bounds; exit with 1 when one is missed.

    python tools/house.py [--json FILE] [--root FOLDER]

Counted are the files that git knows or would add. A line is a line feed, as `wc -l` counts.
"""

import ast
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table


PRODUCT: Final = (
    "api",
    "listener",
    "pipeline",
    "runtime",
    "sandbox",
    "webhooks",
    "adapters",
    "janitor",
    "sdk",
    "cli",
    "ai",
)
MIGRATIONS: Final = "supabase/migrations"

SQL_FUNCTION: Final = re.compile(r"(?im)^create (?:or replace )?function ([\w.]+)")
VARIABLE: Final = re.compile(r"(?m)^[A-Z0-9_]+=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the repository, and the most that it may be."""

    name: str
    value: int
    most: int
    #: What is over the bound, one a line.
    where: str = ""

    @property
    def holds(self) -> bool:
        """Whether the bound is kept."""
        return self.value <= self.most


class Tree:
    """The files of one repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - on the path
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        self._names = [name for name in listed.stdout.splitlines() if (root / name).is_file()]

    def files(self, *suffixes: str, under: Iterable[str] = ("",)) -> list[Path]:
        """Files with these suffixes in these folders."""
        folders = tuple(f"{folder}/" if folder else "" for folder in under)
        return [
            self.root / name
            for name in self._names
            if name.startswith(folders) and name.endswith(suffixes)
        ]

    def name(self, path: Path) -> str:
        """The path as people write it."""
        return path.relative_to(self.root).as_posix()


def figures(root: Path) -> list[Figure]:
    """All figures of the repository at *root*."""
    tree = Tree(root)
    product = tree.files(".py", under=PRODUCT)
    migrations = tree.files(".sql", under=[MIGRATIONS])
    repeated = repeated_functions(migrations)
    files = {tree.name(path): lines(path) for path in tree.files(".py", ".ts", ".sql")}
    functions = function_lengths(tree)
    return [
        # Until the first release the migrations are one baseline; later ones only append.
        Figure(
            name="SQL functions defined more than once",
            value=len(repeated),
            most=0,
            where="\n".join(repeated),
        ),
        # The aim is 25,000. The folders of before keep it; runtime/ and sandbox/, in which their
        # doubles became one, come on top.
        Figure(name="product Python, lines", value=sum(map(lines, product)), most=25_600),
        Figure(name="product Python, modules", value=len(product), most=200),
        Figure(name="migrations, lines", value=sum(map(lines, migrations)), most=5_200),
        Figure(
            name="devstack, lines",
            value=sum(map(lines, tree.files(".py", under=["devstack"]))),
            most=9_836,
        ),
        longest("longest file, lines", files, most=300),
        longest("longest function, lines", functions, most=50),
        Figure(name="settings", value=settings(root), most=45),
    ]


def lines(path: Path) -> int:
    """Line feeds of a text file."""
    return path.read_text().count("\n")


def repeated_functions(migrations: list[Path]) -> list[str]:
    """Names of SQL functions that the migrations define more than once."""
    defined = Counter(
        name.lower() for path in migrations for name in SQL_FUNCTION.findall(path.read_text())
    )
    return sorted(name for name, times in defined.items() if times > 1)


def function_lengths(tree: Tree) -> dict[str, int]:
    """Lines of each Python function without its docstring, by `file:line name`."""
    return {
        f"{tree.name(path)}:{node.lineno} {node.name}": _length(node)
        for path in tree.files(".py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function, clean=False) is not None:
        docstring = (first.end_lineno or 0) - first.lineno + 1
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def longest(name: str, lengths: dict[str, int], *, most: int) -> Figure:
    """The largest of these lengths; `where` names every one over the bound."""
    over = sorted(place for place, length in lengths.items() if length > most)
    return Figure(
        name=name, value=max(lengths.values(), default=0), most=most, where="\n".join(over)
    )


def settings(root: Path) -> int:
    """Variables of .env.example, which a test compares with the code."""
    example = root / ".env.example"
    return len(VARIABLE.findall(example.read_text())) if example.exists() else 0


def table(found: list[Figure]) -> Table:
    """The figures for people."""
    made = Table("figure", "value", "at most")
    made.add_column("over", overflow="fold")
    for figure in found:
        verdict = "" if figure.holds else f"[red]{figure.where or 'over'}[/]"
        made.add_row(figure.name, f"{figure.value:,}", f"{figure.most:,}", verdict)
    return made


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
    root: Annotated[Path, typer.Option(help="the repository")] = Path(__file__).parents[1],
) -> None:
    """Print the repository's figures beside their bounds; 1 when one is missed."""
    found = figures(root)
    Console().print(table(found))
    if json_file:
        json_file.write_text(json.dumps([asdict(figure) for figure in found], indent=1) + "\n")
    raise typer.Exit(0 if all(figure.holds for figure in found) else 1)


if __name__ == "__main__":
    typer.run(main)
