"""A model's folder as an attacker, or a bad afternoon, leaves it: the models beside it keep their DAGs, and soon."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergreen.errors import SpecError
from evergreen.loops.wire import LoopName
from evergreen.settings import PROJECT
from evergreen.spec import files
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import Declared, load, load_spec
from evergreen.spec.schema import ModelSpec
from tests.hostile.moving import moving

SOUND, HOSTILE = "renewals", "hostile"
VALID = PROJECT / "tests" / "specs" / "valid" / SOUND
SECONDS = 3.0  # of computing that one hostile folder may cost each DAG file; measured: 1.7 at most, alone
PATIENCE = 30.0  # seconds that it may cost on a busy machine: nothing waits for a pipe


def _replaced(folder: Path, old: str, new: str) -> None:
    text = (folder / "model.yaml").read_text()
    assert old in text
    (folder / "model.yaml").write_text(text.replace(old, new, 1))


def _bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def _socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # the address of a socket is short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def _in_place_of(path: Path, made: Callable[[Path], object]) -> None:
    path.unlink()
    made(path)


def _large(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(100 << 20)


def _of_200_tables(folder: Path, contract: str, query: str = "SELECT 1") -> None:
    """As many sources and views as there may be, all of one contract and one query; every one is valid."""
    source = (
        "{{path: '{n}/{{partition}}.csv', event_time: at, keys: [k],"
        " columns: {{k: string, at: timestamp, reader_id: string}}, contract: contracts/all.yaml}}"
    )
    view = "{{sources: [s{n}], look_back: 1d, features: {{f{n}: int}}, sql: all.sql, contract: contracts/all.yaml}}"
    sources, views = (
        "".join(f"  {'sv'[each is view]}{n}: {each.format(n=n)}\n" for n in range(198)) for each in (source, view)
    )
    _replaced(folder, "sources:\n", f"sources:\n{sources}")
    _replaced(folder, "features:\n  plan_today", f"features:\n{views}  plan_today")
    (folder / "contracts" / "all.yaml").write_text(f"expectations:\n{contract}")
    (folder / "all.sql").write_text(query)


EXPECTATION = "- {type: expect_column_to_exist, column: reader_id}\n"
CONDITION = f"- {{type: expect_column_to_exist, column: reader_id, row_condition: {'a+' * 498}a>0}}\n"
# Each is done to a folder that was valid; the second is what its error must say.
ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a list 900 deep": (lambda f: _replaced(f, "trials: 4", f"trials: {'[' * 900}{']' * 900}"), "nested deeper"),
    "a list 100,000 deep": (
        lambda f: _replaced(f, "trials: 4", f"trials: {'[' * 100_000}{']' * 100_000}"),
        "nested deeper",
    ),
    "mappings 100,000 deep": (lambda f: _replaced(f, "trials: 4", f"trials: {'{a: ' * 100_000}"), "nested deeper"),
    "blocks 1,000 deep": (
        lambda f: (f / "model.yaml").write_text("\n".join(" " * n + "a:" for n in range(1000))),
        "nested deeper",
    ),
    "deep by aliases": (
        lambda f: (f / "model.yaml").write_text(
            "a0: &a0 []\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 2000))
        ),
        "nested deeper",
    ),
    "an alias bomb": (lambda f: (f / "model.yaml").write_text(_bomb(30)), "too many aliases"),
    "an alias bomb in a contract": (
        lambda f: (f / "contracts" / "visits.yaml").write_text(_bomb(15)),
        "contracts/visits.yaml",
    ),
    "400 contracts of 2,000 entries": (
        lambda f: _of_200_tables(f, EXPECTATION * 2_000),
        "too many values in all YAML files together",
    ),
    "400 contracts of long conditions": (
        lambda f: _of_200_tables(f, CONDITION * 900),
        "too many values in all YAML files together",
    ),
    "400 contracts that break off": (
        lambda f: _of_200_tables(f, EXPECTATION * 2_000 + "]"),
        "too many values in all YAML files together",
    ),
    "200 queries of 1 MB": (
        lambda f: _of_200_tables(f, EXPECTATION, "$a$b" * 250_000),
        "too many bytes in all files together",
    ),
    "an alias of itself": (
        lambda f: (f / "model.yaml").write_text("a: &a [*a]"),
        "an alias of a key that it stands in",
    ),
    "a key of itself": (lambda f: (f / "model.yaml").write_text("? &a [*a]\n: 1"), "keys that are names"),
    "a million digits": (lambda f: _replaced(f, "trials: 4", f"trials: {'1' * 900_000}x"), "search.trials"),
    "50,000 keys": (
        lambda f: (f / "model.yaml").write_text("\n".join(f"k{n}: {n}" for n in range(50_000))),
        "too many values",
    ),
    "9,000 unknown keys": (
        lambda f: (f / "model.yaml").write_text("\n".join(f"k{n}: {n}" for n in range(9_000))),
        "and 151 more",
    ),
    "3,000 views": (
        lambda f: (f / "model.yaml").write_text(
            "features:\n" + "\n".join(f"  v{n}: {{features: {{f{n}: int}}}}" for n in range(3_000))
        ),
        "features",
    ),
    "a long key above 9,000 others": (
        lambda f: (f / "model.yaml").write_text("k" * 1_000 + ":\n" + "\n".join(f"  k{n}: {n}" for n in range(9_000))),
        "1,000 characters",
    ),
    "20,000 columns as keys": (
        lambda f: _replaced(f, "keys: [visit_id]", f"keys: [{', '.join(f'k{n}' for n in range(15_000))}]"),
        "sources.visits.keys",
    ),
    "a cron of 100 KB": (
        lambda f: _replaced(f, '"30 2 * * 1"', f'"{",".join(["0-59"] * 20_000)} * * * *"'),
        "schedule.train",
    ),
    "a cron at random": (lambda f: _replaced(f, '"30 2 * * 1"', '"R R * * *"'), "schedule.train"),
    "a cron that never comes": (lambda f: _replaced(f, '"30 2 * * 1"', '"0 0 31 2 *"'), "schedule.train"),
    "the end of the calendar": (lambda f: _replaced(f, "last_day: 2026-02-28", "last_day: 9999-12-31"), "last_day"),
    "the beginning of the calendar": (
        lambda f: _replaced(f, "first_day: 2026-01-01", "first_day: 0001-01-01"),
        "first_day",
    ),
    "a FIFO": (lambda f: _in_place_of(f / "model.yaml", os.mkfifo), "a FIFO"),
    "a FIFO as a contract": (lambda f: _in_place_of(f / "contracts" / "visits.yaml", os.mkfifo), "a FIFO"),
    "a FIFO as a query": (lambda f: _in_place_of(f / "label.sql", os.mkfifo), "a FIFO"),
    "a socket": (lambda f: _socket(f / "model.yaml"), "a socket"),
    "a folder": (lambda f: _in_place_of(f / "model.yaml", Path.mkdir), "a folder"),
    "a link to a device": (
        lambda f: _in_place_of(f / "model.yaml", lambda p: p.symlink_to("/dev/zero")),
        "outside of the folder",
    ),
    "a link to a file of the machine": (
        lambda f: _in_place_of(f / "model.yaml", lambda p: p.symlink_to("/etc/passwd")),
        "outside of the folder",
    ),
    "a query by a link to the machine": (
        lambda f: _in_place_of(f / "label.sql", lambda p: p.symlink_to("/etc/passwd")),
        "outside of the folder",
    ),
    "a link to the process's own memory": (
        lambda f: _in_place_of(f / "model.yaml", lambda p: p.symlink_to("/proc/self/environ")),
        "outside of the folder",
    ),
    "a circle of links": (lambda f: _in_place_of(f / "model.yaml", lambda p: p.symlink_to("model.yaml")), "model.yaml"),
    "a folder by a link to the machine": (lambda f: (shutil.rmtree(f), f.symlink_to("/etc")), "model.yaml"),
    "100 MB": (lambda f: _large(f / "model.yaml"), "104,857,600 bytes"),
    "100 MB of SQL": (lambda f: _large(f / "features" / "reading.sql"), "104,857,600 bytes"),
    "NUL bytes": (lambda f: (f / "model.yaml").write_bytes(b"model: a\0b"), "a NUL character"),
    "NUL in the name of a file": (
        lambda f: _replaced(f, "  horizon: 2d", '  horizon: 2d\n  sql: "a\\0b.sql"'),
        "a\\x00b.sql",
    ),
    "a long name of a file": (
        lambda f: _replaced(f, "  horizon: 2d", f"  horizon: 2d\n  sql: {'a' * 5000}.sql"),
        "File name too long",
    ),
    "the folder itself as a query": (lambda f: _replaced(f, "  horizon: 2d", "  horizon: 2d\n  sql: ."), "a folder"),
    "no UTF-8": (lambda f: (f / "model.yaml").write_bytes(b"model: \xff\xfe"), "not UTF-8"),
    "lone surrogates": (lambda f: _replaced(f, "name: readers", 'name: "\\ud800"'), "model.yaml"),
    "invisible and coloured names": (
        lambda f: _replaced(f, "trials: 4", 'trials: 4\n  "\\e[31m\\u202e\\n   9. x": 1'),
        "\\x1b[31m\\u202e",
    ),
    "Python objects": (
        lambda f: _replaced(f, "trials: 4", "trials: !!python/object/apply:os.system [exit 3]"),
        "search.trials",
    ),
    "an empty file": (lambda f: (f / "model.yaml").write_text(""), "an empty file"),
    "a file of nothing but commas": (lambda f: (f / "model.yaml").write_text("," * 1_000_000), "model.yaml"),
    "a million brackets that close": (lambda f: (f / "model.yaml").write_text("]" * 1_000_000), "model.yaml"),
    "anchors without end": (lambda f: (f / "model.yaml").write_text("&a " * 300_000), "model.yaml"),
    "a million question marks": (lambda f: (f / "model.yaml").write_text("? " * 500_000), "model.yaml"),
    "a source query of quotes": (
        lambda f: (
            _replaced(f, "path: renewals/visits/{partition}.csv", "connection: shop"),
            (f / "sources").mkdir(),
            (f / "sources" / "visits.sql").write_text("$a$b" * 250_000),
        ),
        "sources/visits.sql",
    ),
    "a source query of comments": (
        lambda f: (
            _replaced(f, "path: renewals/visits/{partition}.csv", "connection: shop"),
            (f / "sources").mkdir(),
            (f / "sources" / "visits.sql").write_text("/*'" * 300_000),
        ),
        "sources/visits.sql",
    ),
}
# Those that once took the DAGs of all models away, or would in another way than those;
# the real DAG files meet them all at once.
WORST = [
    "a list 900 deep",
    "a list 100,000 deep",
    "an alias bomb",
    "an alias bomb in a contract",
    "a million digits",
    "a FIFO",
    "a FIFO as a query",
    "a link to a device",
    "a link to a file of the machine",
    "a circle of links",
    "100 MB",
    "NUL bytes",
    "no UTF-8",
    "lone surrogates",
    "a folder",
    "a long name of a file",
    "the end of the calendar",
    "a cron at random",
    "invisible and coloured names",
]
NAMES = [
    "line\nbreak",
    "Renewals",
    "renewals ",
    "r\u0435newals",
    "x" * 200,
    "a b",
    "-rf",
    "..renewals",
    "\u202etxt",
    "a\x1b[31m",
]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of models: one that is sound, and one that will not be."""
    folder = tmp_path / "models"
    for name in (SOUND, HOSTILE):
        _copied(folder, name)
    assert {name: type(outcome) for name, outcome in load(folder).models.items()} == {
        SOUND: ModelSpec,
        HOSTILE: ModelSpec,
    }
    return folder


def _copied(models: Path, name: str) -> Path:
    made = Path(shutil.copytree(VALID, models / name))
    (made / "model.yaml").write_text((made / "model.yaml").read_text().replace(f"model: {SOUND}", f"model: {name}", 1))
    return made


@contextmanager
def _soon(what: str) -> Iterator[None]:
    worked, waited = time.process_time(), time.monotonic()
    yield
    worked, waited = time.process_time() - worked, time.monotonic() - waited
    assert worked < SECONDS and waited < PATIENCE, f"{what}: {worked:.1f} s of computing, {waited:.1f} s"


@pytest.mark.parametrize("name", ATTACKS)
def test_the_folder_is_told_and_the_others_are_there(name: str, models: Path) -> None:
    attack, said = ATTACKS[name]
    attack(models / HOSTILE)
    for left in (2, 1, 0):  # the processor may be another test's meanwhile
        try:
            with _soon(name):
                outcomes = load(models).models
            break
        except AssertionError:
            if not left:
                raise
    assert isinstance(outcomes[SOUND], ModelSpec)
    error = outcomes[HOSTILE]
    assert isinstance(error, SpecError)
    message = str(error)
    assert said in message
    assert len(message) < 250_000 and message.isprintable() is False and "\0" not in message  # it has line breaks
    assert all(line.isprintable() for line in message.split("\n")), "a name of the folder writes the message around it"
    assert "root:" not in message, "what stands in a file of the machine is told"
    message.encode()  # the metadata database takes it


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_a_strange_name_costs_itself_alone(name: str, models: Path) -> None:
    (models / HOSTILE).rename(models / name)
    outcomes = load(models).models
    assert isinstance(outcomes[SOUND], ModelSpec)
    for folder, outcome in outcomes.items():
        assert folder == SOUND or isinstance(outcome, SpecError)
        assert all(line.isprintable() for line in str(outcome).split("\n"))


def test_a_folder_whose_name_is_no_text_costs_itself_alone(models: Path) -> None:
    (models / HOSTILE).rename(models / os.fsdecode(b"a\xff\xfe"))
    outcomes = load(models).models
    assert isinstance(outcomes.pop(SOUND), ModelSpec)
    (error,) = outcomes.values()
    str(error).encode()


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error"),
        PermissionError(13, "Permission denied"),
        MemoryError(),
        RecursionError("deep"),
        ZeroDivisionError("x"),
    ],
)
def test_whatever_reading_raises_is_that_folders_error(
    error: Exception, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = files._content

    def read(path: Path, mount: Path) -> bytes:
        if path.parent.name == HOSTILE:
            raise error
        return really(path, mount)

    monkeypatch.setattr(files, "_content", read)
    outcomes = load(models).models
    assert isinstance(outcomes[SOUND], ModelSpec)
    assert isinstance(outcomes[HOSTILE], SpecError)
    with pytest.raises(SpecError):
        load_spec(models / HOSTILE)


def test_a_file_that_cannot_be_opened_is_told() -> None:
    """As another user than root, to whom everything is open; in a folder of its own, which that user can reach."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom evergreen.spec.load import load\n"
        "os.getuid() or os.setuid(65534)\n"
        "print({name: type(outcome).__name__ for name, outcome in load(Path(sys.argv[1])).models.items()})\n"
    )
    with tempfile.TemporaryDirectory() as place:
        models = Path(place)
        for name in (SOUND, HOSTILE):
            _copied(models, name)
        for path in (models, *models.rglob("*")):
            path.chmod(0o755)
        (models / HOSTILE / "model.yaml").chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", code, place, str(PROJECT / "include")], capture_output=True, text=True, timeout=60
        )
    assert done.stdout.strip() == str({HOSTILE: "SpecError", SOUND: "ModelSpec"}), done.stderr[-2000:]


def test_links_within_the_mount_are_followed(models: Path, tmp_path: Path) -> None:
    """As git-sync and a ConfigMap's volume lay them out."""
    hidden = models / HOSTILE / "..2026_11_27" / "files"
    shutil.copytree(models / HOSTILE, hidden)
    (models / HOSTILE / "..data").symlink_to("..2026_11_27")
    for name in ("model.yaml", "label.sql", "contracts", "features"):
        at = models / HOSTILE / name
        shutil.rmtree(at) if at.is_dir() else at.unlink()
        at.symlink_to(f"..data/files/{name}")
    (tmp_path / "current").symlink_to("models")
    assert {type(outcome) for outcome in load(tmp_path / "current").models.values()} == {ModelSpec}


def test_a_link_that_is_put_in_place_while_it_is_read_is_not_followed(models: Path) -> None:
    """The path is resolved first; what changes afterwards is refused step by step."""
    outside = models.parent / "outside"
    outside.mkdir()
    (outside / "label.sql").write_text("secret")
    (models / HOSTILE / "features").rename(models / HOSTILE / "was")
    (models / HOSTILE / "features").symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        files._opened((HOSTILE, "features", "label.sql"), models)


# the loops, as the DAG files build them


def _dags(models: Path, home: Path) -> tuple[list[str], dict[str, str]]:
    """The ids of the real DAG files' DAGs, and the import errors by file, from a process of its own."""
    code = (
        "import json\nfrom airflow.dag_processing.dagbag import DagBag\n"
        f"bag = DagBag({str(PROJECT / 'dags')!r})\n"
        "errors = {file.rsplit('/', 1)[-1]: text for file, text in bag.import_errors.items()}\n"
        "print(json.dumps([sorted(bag.dags), errors]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=PROJECT,
        env=os.environ
        | {"PYTHONPATH": str(PROJECT / "include"), "EVERGREEN_MODELS": str(models), "EVERGREEN_HOME": str(home)},
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    ids, errors = json.loads(done.stdout.splitlines()[-1])
    return ids, errors


def test_the_real_dag_files_have_the_sound_models_loops_beside_every_attack(models: Path, tmp_path: Path) -> None:
    """One parse with a folder for each of the worst."""
    shutil.rmtree(models / HOSTILE)
    for number, name in enumerate(WORST):
        ATTACKS[name][0](_copied(models, f"hostile_{number}"))
    _copied(models, "schedulable")
    ids, errors = _dags(models, tmp_path / "home")
    loops = ("correct", "ingest", "monitor", "rollback", "rollout", "train")
    of_models = [f"{model}__{loop}" for model in (SOUND, "schedulable") for loop in loops]
    assert ids == sorted([*of_models, "evergreen__housekeeping", "evergreen__serving"])
    assert list(errors) == ["spec_errors.py"]
    assert f"{len(WORST)} invalid folder(s)" in errors["spec_errors.py"]


def test_a_model_that_airflow_cannot_schedule_costs_itself_alone(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evergreen.orchestration import airflow, timetable

    def unscheduled(spec: DatasetSpec | ModelSpec, name: LoopName) -> None:
        if spec.name == HOSTILE:
            raise ValueError("no such cron\x1b[31m")
        return made(spec, name)

    made = timetable.of
    monkeypatch.setattr(timetable, "of", unscheduled)
    specs = [load_spec(models / HOSTILE), load_spec(models / SOUND)]
    declared = Declared({spec.model: spec.own_data() for spec in specs}, {spec.model: spec for spec in specs})
    monkeypatch.setattr(airflow.kept, "declared", lambda *_: declared)
    found = airflow.scheduled()
    assert [spec.name for spec in found.datasets] == [spec.name for spec in found.models] == [SOUND]
    (error,) = found.errors  # its folder declares a dataset and a model, and is one mistake
    assert "ValueError: no such cron\\x1b[31m" in str(error) and "a model that Airflow can schedule" in str(error)


# mutilated at random


def _mutilated(folder: Path, seed: int) -> None:
    """One to four of a folder's files, changed as a careless or malicious hand would."""
    draw = random.Random(seed)
    pieces = [
        "[",
        "{",
        "]",
        "\t",
        "&a ",
        "*a",
        "? ",
        "!!",
        "\0",
        "\x85",
        "\ufeff",
        "\ud7ff",
        "9" * 400,
        "- ",
        ": ",
        "|\n",
        "%",
        "null",
        "~",
        "1e999",
        "-1",
        "\n---\n",
        '"',
        "'",
        "#",
        "../",
        "0001-01-01",
        "9999-12-31",
        "99999w",
        "\u202e",
        "{}",
        "[]",
        "true",
        "<<: ",
    ]
    for _ in range(draw.randint(1, 4)):
        path = draw.choice(
            [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()] or [folder / "model.yaml"]
        )
        content = bytearray(path.read_bytes() if path.exists() else b"")
        lines = content.split(b"\n")
        match draw.randrange(10):
            case 0:
                content = content[: draw.randint(0, len(content))]
            case 1 if content:
                content[draw.randrange(len(content))] = draw.randrange(256)
            case 2:
                at = draw.randint(0, len(content))
                content[at:at] = draw.choice(pieces).encode("utf-8", "surrogatepass") * draw.choice([1, 1, 2, 50, 3000])
            case 3:
                draw.shuffle(lines)
                content = bytearray(b"\n".join(lines))
            case 4:
                del lines[draw.randrange(len(lines))]
                content = bytearray(b"\n".join(lines))
            case 5:
                lines.insert(draw.randint(0, len(lines)), draw.choice(lines))
                content = bytearray(b"\n".join(lines))
            case 6:
                at = draw.randrange(len(lines))
                key, colon, _ = lines[at].partition(b":")
                lines[at] = key + colon + b" " + draw.choice(pieces).encode("utf-8", "surrogatepass")
                content = bytearray(b"\n".join(lines))
            case 7:
                content = bytearray(draw.randbytes(draw.randint(0, 300)))
            case 8:
                path.unlink(missing_ok=True)
                draw.choice(
                    [os.mkfifo, Path.mkdir, lambda p: p.symlink_to("/dev/zero"), lambda p: p.symlink_to(p.name)]
                )(path)
                continue
            case _:
                at = draw.randrange(len(lines))
                lines[at] = b"  " * draw.randint(0, 3) + lines[at].strip()
                content = bytearray(b"\n".join(lines))
        if path.exists() and not path.is_file():
            continue
        path.write_bytes(content)


def _hold(models: Path, seed: int) -> None:
    """The sound model loads and its loops are built, whatever became of the other folder; and soon."""
    from evergreen.loops.wiring import LOOPS
    from evergreen.orchestration import airflow

    shutil.rmtree(models / HOSTILE, ignore_errors=True)
    _mutilated(_copied(models, HOSTILE), seed)
    with _soon(f"seed {seed}"):
        outcomes = load(models).models
    assert isinstance(outcomes[SOUND], ModelSpec), f"seed {seed}"
    outcome = outcomes[HOSTILE]
    if isinstance(outcome, ModelSpec):
        for loop in LOOPS.values():
            airflow.loop(outcome, loop)
    else:
        assert all(line.isprintable() for line in str(outcome).split("\n")), f"seed {seed}: {outcome}"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("fuzzed")
    _copied(folder, SOUND)
    yield folder


_FUZZ = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@settings(_FUZZ, max_examples=60)
@given(seed=st.integers(0, 1 << 32))
def test_beside_mutilated_folders_the_sound_one_is_there(seed: int, fuzzed: Path) -> None:
    _hold(fuzzed, seed)


@pytest.fixture
def watched() -> Iterator[Callable[[str], None]]:
    with moving(4 * int(PATIENCE)) as moved:
        yield moved


@pytest.mark.long
@pytest.mark.timeout(0)
@settings(_FUZZ, derandomize=False, max_examples=1500)
@given(seed=st.integers(0, 1 << 32))
def test_beside_a_great_many_mutilated_folders_the_sound_one_is_there(
    seed: int, fuzzed: Path, watched: Callable[[str], None]
) -> None:
    _hold(fuzzed, seed)
    watched(f"seed {seed}")


def test_a_valid_folder_cannot_take_an_entity_from_those_that_share_it(models: Path) -> None:
    """All models share a Feast project, so one entity has one key: what most of them say."""
    taking = _copied(models, "a_first_name")
    for path in taking.rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace("reader_id", "person_id"))
    outcomes = load(models).models
    assert {name: type(outcome) for name, outcome in outcomes.items()} == {
        "a_first_name": SpecError,
        HOSTILE: ModelSpec,
        SOUND: ModelSpec,
    }
    assert "reader by reader_id (string), as in hostile" in str(outcomes["a_first_name"])
