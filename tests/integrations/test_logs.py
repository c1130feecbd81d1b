from __future__ import annotations

import json
import math

import pytest

from embedfit.doctor import Outcome, diagnose
from embedfit.errors import DataError
from embedfit.integrations import read_log


def test_a_table_of_readings_is_read_by_its_names(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,train_loss,lr,val_recall@10,note\n10,2.0,1e-3,0.4,a\n20,nan,1e-3,0.5,b\n", "utf-8")
    run = read_log(path)
    assert run.history["loss"][0] == (10, 2.0)
    assert math.isnan(run.history["loss"][1][1])
    assert run.evaluation == {"val_recall@10": 0.5}
    found = diagnose(run)
    assert found.findings[0].code == "NUM001"
    assert found.verdict == "ill"


def test_the_state_of_a_trainer_is_read(tmp_path):
    history = [{"step": s, "epoch": s / 10, "loss": 3.0 - s / 10, "learning_rate": 1e-5} for s in range(10)]
    (tmp_path / "trainer_state.json").write_text(
        json.dumps({"log_history": [*history, {"step": 9, "eval_ndcg@10": 0.7}]})
    )
    run = read_log(tmp_path / "trainer_state.json")
    assert len(run.history["loss"]) == 10
    assert run.facts["metric"] == "eval_ndcg@10"
    assert diagnose(run).verdict == "healthy"
    assert len(diagnose(run).having(Outcome.NOT_APPLICABLE)) > 20  # curves say little, and the doctor says so


@pytest.mark.parametrize("text", ["step,speed\n1,2\n", "step,loss\n"])
def test_a_table_without_a_loss_is_refused(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(DataError):
        read_log(tmp_path / "log.csv")


def test_tensorboard_events_are_read(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        for step in range(5):
            writer.add_scalar("train/loss", 2.0 - step / 10, step)
    assert read_log(tmp_path).history["loss"][4] == (4, pytest.approx(1.6))
