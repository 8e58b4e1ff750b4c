"""Runs a workflow's commands as they stand in its file, job after job,
each in a fresh clone of HEAD with only its artifacts.

    python tests/workflows/run_locally.py .github/workflows/continuous-training.yml
        [--set LAST_DAY=2026-01-29] [--before training='…']

What GitHub does around the commands is done by the few lines here: checkout, artifacts, outputs, `needs` and `if`. The
Python is this one, whatever version the file asks for. Slow (each job sets itself up, as it would there), so it is no
part of `make test`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from evergreen.addresses import free_port

PROJECT = Path(__file__).resolve().parents[2]
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
INHERITED = ("LANG", "LC_ALL", "TZ", "PIP_", "UV_", "SSL_", "REQUESTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class Expressions:
    """The few forms that our workflows use."""

    def __init__(self, needs: dict[str, dict[str, str]]) -> None:
        self.needs = needs
        self.steps: dict[str, dict[str, str]] = {}

    def text(self, text: str) -> str:
        return EXPRESSION.sub(lambda match: self.value(match[1]), str(text))

    def value(self, expression: str) -> str:
        if parts := re.fullmatch(r"inputs\.\w+ \|\| '(.*)'", expression):
            return parts[1]  # as on push and schedule: there are no inputs
        if parts := re.fullmatch(r"(needs|steps)\.([\w-]+)\.outputs\.(\w+)", expression):
            stated: str = getattr(self, parts[1])[parts[2]].get(parts[3], "")
            return stated
        raise SystemExit(f"an expression that this script does not know: {expression}")

    def true(self, condition: str) -> bool:
        left, _, right = condition.partition(" == ")
        return self.value(left) == right.strip("'")


class Machine:
    """One runner: a workspace at the same path for every job, emptied between them;
    artifacts and the package cache stay."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.workspace, self.artifacts, self.home = folder / "work", folder / "artifacts", folder / "home"
        for path in (self.artifacts, self.home, folder / "bin"):
            path.mkdir()
        python = folder / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        self.summary, self.output = folder / "summary", folder / "output"
        kept = {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
        ports = {
            f"EVERGREEN_{name}_URL": f"http://127.0.0.1:{free_port()}"
            for name in ("AIRFLOW", "MLFLOW", "SERVER", "REPORTS")
        }
        self.variables = (
            kept
            | ports
            | variables
            | {
                "EVERGREEN_POSTGRES_PORT": str(free_port()),
                "HOME": str(self.home),
                "CI": "true",
                "PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
                "GITHUB_OUTPUT": str(self.output),
                "GITHUB_STEP_SUMMARY": str(self.summary),
            }
        )

    def empty(self) -> None:
        if (evergreen := self.workspace / ".venv" / "bin" / "evergreen").exists():
            subprocess.run([evergreen, "down"], cwd=self.workspace, env=self.variables, check=False)
        shutil.rmtree(self.workspace, ignore_errors=True)

    def use(self, action: str, given: dict[str, Any]) -> None:
        name = action.partition("@")[0]
        if name == "actions/checkout":
            subprocess.run(["git", "clone", "-q", PROJECT, self.workspace], check=True)
        elif name == "actions/upload-artifact":
            source, target = self.workspace / given["path"], self.artifacts / given["name"]
            if not source.exists():
                print(f"    nothing at {given['path']}")  # GitHub warns, and goes on
                return
            target.mkdir()
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)
            size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
            print(f"    artifact {given['name']}: {size / 1e6:.1f} MB")
        elif name == "actions/download-artifact":
            shutil.copytree(self.artifacts / given["name"], self.workspace, dirs_exist_ok=True)
        elif name != "actions/setup-python":
            raise SystemExit(f"an action that this script does not know: {name}")

    def run(self, script: str, variables: dict[str, str]) -> dict[str, str]:
        """One `run:` step, by the shell that GitHub takes for `shell: bash`; returns its outputs."""
        self.output.write_text("")
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        subprocess.run(
            command, cwd=self.workspace, env=self.variables | variables, stdin=subprocess.DEVNULL, check=True
        )
        return dict(line.split("=", 1) for line in self.output.read_text().splitlines())


def play(workflow: dict[str, Any], machine: Machine, chosen: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    """Every job in its turn; returns how each ended: green, red or skipped."""
    ended: dict[str, str] = {}
    outputs: dict[str, dict[str, str]] = {}
    for name, job in workflow["jobs"].items():  # our files have their jobs in the order of their needs
        needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        expressions = Expressions({need: outputs.get(need, {}) for need in needs})
        variables = {k: expressions.text(v) for k, v in (workflow.get("env", {}) | job.get("env", {})).items()} | chosen
        if any(ended[need] != "green" for need in needs) or ("if" in job and not expressions.true(job["if"])):
            ended[name] = "skipped"
        else:
            machine.empty()
            begin, ended[name] = time.monotonic(), "green"
            for step in job["steps"]:
                if ended[name] == "red" and step.get("if") != "always()":
                    continue
                what = step.get("name", step.get("uses", step.get("run", "")).partition("@")[0])
                print(f"  {name}: {what}", flush=True)
                start = time.monotonic()
                try:
                    if "uses" in step:
                        machine.use(step["uses"], step.get("with", {}))
                    else:
                        script = f"{before.get(name, ':')}\n{step['run']}" if what == "Set up" else step["run"]
                        expressions.steps[step.get("id", "")] = machine.run(script, variables)
                except subprocess.CalledProcessError as error:
                    print(f"    status {error.returncode}")
                    ended[name] = "red"
                print(f"    {time.monotonic() - start:.1f} s", flush=True)
            outputs[name] = (
                {k: expressions.text(v) for k, v in job.get("outputs", {}).items()} if ended[name] == "green" else {}
            )
            print(f"  {name}: {ended[name]}, {time.monotonic() - begin:.0f} s {outputs[name] or ''}", flush=True)
    machine.empty()
    if machine.summary.exists():
        print(machine.summary.read_text())
    return ended


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("workflow", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another value of a variable")
    parser.add_argument(
        "--before",
        action="append",
        default=[],
        metavar="JOB=COMMAND",
        help="to run in a job's clone before it sets itself up",
    )
    parser.add_argument("--only", metavar="JOB", help="this one job, which needs no other")
    options = parser.parse_args()
    workflow = yaml.safe_load(options.workflow.read_text())
    if options.only:
        workflow["jobs"] = {options.only: workflow["jobs"][options.only]}
    pairs = lambda given: dict(pair.split("=", 1) for pair in given)  # noqa: E731 - one expression, used below
    with tempfile.TemporaryDirectory(prefix="evergreen-workflow-") as folder:
        Path(folder).chmod(0o755)  # as root, Postgres runs as another user, who must reach its data
        machine = Machine(Path(folder), {})
        ended = play(workflow, machine, pairs(options.set), pairs(options.before))
    print(ended)
    return 1 if "red" in ended.values() else 0


if __name__ == "__main__":
    sys.exit(main())
