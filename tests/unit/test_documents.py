"""What the guides say of files, as the code names them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from evergreen.local.processes import Processes
from evergreen.local.services import PARTS, SERVICES
from evergreen.settings import PROJECT

COMMANDS = ("airflow-migrate", "apply")  # what `evergreen up` runs to its end
FOLDERS = ("airflow",)  # below it, one folder for each task


def test_every_log_that_a_guide_or_a_message_names_is_one() -> None:
    logs = {f"{name}.log" for name in ("postgres", *SERVICES, *COMMANDS, "<service>")}
    assert Processes(Path("home")).log("server").name in logs
    texts = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "include").rglob("*.py")]
    named = {
        (path.relative_to(PROJECT), name)
        for path in texts
        for name in re.findall(r"(?:\.evergreen|<home>)/logs/([\w<>.-]*[\w>])", path.read_text(encoding="utf-8"))
    }
    assert len(named) >= 3, "the search finds none"
    wrong = {(path, name) for path, name in named if name not in logs and name not in FOLDERS}
    assert not wrong, f"there is no such log: {wrong}"


def test_the_guide_names_every_part_and_service() -> None:
    guide = (PROJECT / "docs" / "operator.md").read_text()
    for name in (*PARTS, "postgres", *SERVICES, *COMMANDS):
        assert f"`{name}`" in guide, f"docs/operator.md does not name {name}"


def test_the_guide_names_every_test_that_only_the_long_run_has() -> None:
    marked = set()
    for file in (PROJECT / "tests").rglob("test_*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        marks = [
            each for each in tree.body if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "pytestmark"
        ]
        if any("mark.long" in ast.unparse(each.value) for each in marks):
            marked.add(file.relative_to(PROJECT).as_posix())
            continue
        marked |= {
            function.name
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            and any("mark.long" in ast.unparse(decorator) for decorator in function.decorator_list)
        }
    assert marked, "the search finds none"
    named = (PROJECT / "docs" / "developing.md").read_text(encoding="utf-8").partition("## What only")[2]
    assert set(re.findall(r"^\| `([\w/.]+)` \|", named, re.MULTILINE)) == marked


def test_the_glossary_is_in_order_and_each_of_its_words_is_used() -> None:
    glossary = PROJECT / "docs" / "glossary.md"
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", glossary.read_text(encoding="utf-8"), re.MULTILINE)[1:]
    words = [word.strip("`") for word, _ in rows if not word.startswith("--")]
    assert len(words) > 50 and words == sorted(words, key=str.casefold)
    files = {PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")} - {glossary}
    pages = "\n".join(file.read_text(encoding="utf-8").casefold() for file in files)
    unused = [word for word in words if not re.search(rf"\b{re.escape(word.casefold())}", pages)]
    assert not unused, f"no page uses {unused}"


def test_every_link_between_the_pages_leads_somewhere() -> None:
    pages = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    assert len(links) > 100, "the search finds none"
    dead = [(str(page.relative_to(PROJECT)), target) for page, target in links if not leads_somewhere(page, target)]
    assert not dead


def leads_somewhere(page: Path, target: str) -> bool:
    """Whether the file of a relative link is there, and has the heading that the link names."""
    name, _, heading = target.partition("#")
    file = page.parent / name if name else page
    if not file.exists():
        return False
    titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if heading else []
    return not heading or heading in {re.sub(r"[^\w\- ]", "", title.casefold()).replace(" ", "-") for title in titles}
