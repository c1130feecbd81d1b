"""The doctor's commands: `diagnose` and `fix`."""

from __future__ import annotations

__all__ = ["diagnose", "fix"]

import click

from embedfit.cli.options import as_json
from embedfit.cli.terminal import print_json, say, show


@click.command(short_help="Find out why a run did not converge.")
@click.argument("run", metavar="RUN|RECIPE|LOG", type=click.Path())
@click.option("--budget", default="120s", metavar="TIME", help="What experiments may take, such as 60s or 5 min.")
@click.option("--passive", is_flag=True, help="Train nothing: only what the record says.")
@click.option("--html", metavar="FILE", help="Write the diagnosis as one page, too, with curves and effects.")
@as_json
def diagnose(run: str, budget: str, passive: bool, html: str | None, form: str) -> int:
    """Find out why a run did not converge, or that it is healthy. The exit status is 1 where it is ill.

    RUN is a run folder, RECIPE a recipe, LOG a table of readings (CSV), a Trainer's trainer_state.json or TensorBoard's
    events, of which only curves can be judged. Settings that differ from embedfit's own are tried one component at a
    time, in short runs, unless --passive says not to.

    \b
    embedfit diagnose runs/faq-1 --passive
    embedfit diagnose recipe.toml --budget "5 min"
    """
    from embedfit.cli.sources import recipe_file
    from embedfit.clinic import examine
    from embedfit.doctor import diagnose as read
    from embedfit.doctor.diagnosis import seconds
    from embedfit.integrations.logs import is_log, read_log
    from embedfit.recipe import from_toml
    from embedfit.report import diagnosis_view
    from embedfit.run import load

    written = recipe_file([run])
    if is_log(run):
        found = read(read_log(run))
    elif written is None or passive or not written.is_file():
        found = read(load(run))
    else:
        finished = (written.parent / "evaluation.json").is_file()
        found = examine(from_toml(written), load(written.parent) if finished else None, budget=seconds(budget))
    page = None if html is None else found.to_html(html)
    if form == "json":
        print_json(found.to_dict())
    else:
        show(diagnosis_view(found))
        if page is not None:
            say(f"page: {page}", style="dim")
        if found.troubles:
            say(f"more: embedfit explain {found.troubles[0].code}", style="dim")
    return int(found.verdict == "ill")


@click.command(short_help="Apply what the doctor prescribes and train again.")
@click.argument("run", metavar="RUN", type=click.Path())
@click.argument("codes", nargs=-1, metavar="[CODE]...")
@click.option("--budget", default="120s", metavar="TIME", help="What experiments may take before.")
@click.option("--passive", is_flag=True, help="No experiments: apply what the record alone prescribes.")
@click.option("--out", metavar="DIR", help="Folder of the new run; by default RUN-fixed.")
@as_json
def fix(run: str, codes: tuple[str, ...], budget: str, passive: bool, out: str | None, form: str) -> int:
    """Apply the prescriptions of a diagnosis to a run's recipe, train again, and say what was gained.

    Without CODE, those of facts and of what experiments confirmed; with it, those of these checks.
    """
    from pathlib import Path

    from embedfit import job
    from embedfit.cli.sources import free_folder
    from embedfit.clinic import cures, examine, trained_for
    from embedfit.doctor import diagnose as read
    from embedfit.doctor.diagnosis import seconds
    from embedfit.run import load

    record = load(run)
    diagnosis = read(record) if passive else examine(record.recipe, record, budget=seconds(budget))
    found = cures(diagnosis, codes)
    for cure in found:
        changed = ", ".join(f"{key} = {value}" for key, value in cure.change.items())
        say(f"{cure.code}: {changed} ({cure.why})")
    recipe = trained_for(record.recipe, found)
    folder = Path(out) if out else free_folder(Path(f"{run.rstrip('/')}-fixed"))
    fixed, _ = job.train(job.gather(recipe), recipe, folder)
    metric = str(fixed.facts["metric"])
    before, after = record.evaluation.get(metric), fixed.evaluation.get(metric)
    if form == "json":
        print_json({"folder": str(folder), "metric": metric, "before": before, "after": after,
                    "applied": [{"code": c.code, "change": dict(c.change)} for c in found]})  # fmt: skip
    else:
        told = "" if before is None or after is None else f" {float(before):.3f} -> {float(after):.3f}"
        show(f"{metric}{told}   {folder}")
    return 0
