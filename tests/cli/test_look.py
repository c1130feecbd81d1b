from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import typed

from embedfit.doctor import CHECKS

FINDING = {
    "code", "name", "outcome", "component", "symptom", "statistic", "effect", "confirmed", "prescription", "seconds",
}  # fmt: skip


def test_diagnose_prints_a_verdict(run: Path) -> None:
    shown = typed("diagnose", run, "--passive")
    assert shown.stdout.startswith("doctor: ")
    assert shown.exit_code == 0


def test_diagnose_as_json_has_the_published_schema(run: Path) -> None:
    found = json.loads(typed("diagnose", run, "--format", "json").stdout)
    assert set(found) == {"verdict", "why", "cost", "findings"}
    assert found["verdict"] in ("healthy", "ill", "cannot-tell")
    assert set(found["cost"]) == {"seconds", "steps"}
    assert sorted(f["code"] for f in found["findings"]) == sorted(c.code for c in CHECKS)
    assert all(set(f) == FINDING for f in found["findings"])


def test_diagnose_has_exit_status_1_for_an_ill_run(run: Path, tmp_path: Path) -> None:
    ill = tmp_path / "ill"
    shutil.copytree(run, ill)
    facts = json.loads((ill / "facts.json").read_text("utf-8"))
    (ill / "facts.json").write_text(
        json.dumps({**facts, "chosen.temperature": 5.0, "loss.floor": 0.99 * facts["loss.chance"]}), "utf-8"
    )
    shown = typed("diagnose", ill)
    assert "doctor: ILL" in shown.stdout
    assert "embedfit explain LOS001" in shown.stderr
    assert shown.exit_code == 1


def test_a_run_that_is_none_is_an_error_not_a_finding(tmp_path: Path) -> None:
    for command in ("diagnose", "report"):
        shown = typed(command, tmp_path / "nowhere")
        assert shown.exit_code == 2
        assert shown.stderr.startswith("error: no run folder at ")


def test_report_prints_the_path_it_wrote(run: Path, tmp_path: Path) -> None:
    shown = typed("report", run, "-o", tmp_path / "page.html")
    assert shown.stdout == f"{tmp_path / 'page.html'}\n"
    assert "<html" in (tmp_path / "page.html").read_text("utf-8")
    assert typed("report", run).stdout == f"{run / 'report.html'}\n"


def test_explain_prints_the_page_of_a_check() -> None:
    assert typed("explain", "los001").stdout == CHECKS[[c.code for c in CHECKS].index("LOS001")].page + "\n"


def test_explain_lists_a_family_or_all_checks() -> None:
    every, family = typed("explain").stdout, typed("explain", "DAT").stdout
    assert all(check.code in every and check.name in every for check in CHECKS)
    assert [line.split()[0] for line in family.splitlines()[1:] if line.startswith("DAT")] == [
        c.code for c in CHECKS if c.code.startswith("DAT")
    ]
    assert "LOS001" not in family


def test_the_catalogue_as_json_carries_every_page() -> None:
    listed = json.loads(typed("explain", "--format", "json").stdout)
    assert [entry["code"] for entry in listed] == [c.code for c in CHECKS]
    assert all(set(entry) == {"code", "name", "component", "page"} for entry in listed)


def test_an_unknown_code_is_an_error_with_the_nearest() -> None:
    shown = typed("explain", "LOX001")
    assert shown.exit_code == 2
    assert shown.stderr == "error: there is no check 'LOX001'\nhint: did you mean 'LOS001'?\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    shown = typed("completion", shell)
    assert shown.exit_code == 0
    assert f"_EMBEDFIT_COMPLETE={shell}_complete" in shown.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("embedfit tr", ["train"]),
        ("embedfit train --out-of", ["--out-of-scope"]),
        ("embedfit train --model g", ["gru"]),
        ("embedfit train --set loss.t", ["loss.temperature=", "loss.target=", "loss.target_form="]),
        ("embedfit explain los", [c.code for c in CHECKS if c.code.startswith("LOS")]),
    ],
)
def test_the_shell_completes_commands_options_settings_and_codes(line: str, expected: list[str]) -> None:
    asked = {"_EMBEDFIT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    code = "from embedfit.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **asked}
    )
    assert [row.partition(",")[2] for row in done.stdout.split()] == expected
