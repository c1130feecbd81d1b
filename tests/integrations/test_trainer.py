from __future__ import annotations

import pytest
import torch

pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
sentence_transformers = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")


def trained(minilm, folder, scale: float, say):
    """A few steps of a real sentence-transformers script with the callback in it."""
    from datasets import Dataset
    from sentence_transformers import losses

    import embedfit as ef

    model = sentence_transformers.SentenceTransformer(minilm, device="cpu")
    rows = [f"question number {i} about {word}" for i, word in enumerate(["foxes", "rivers", "cars", "snow"] * 4)]
    data = Dataset.from_dict({"anchor": rows, "positive": [f"answer to {row}" for row in rows]})
    arguments = sentence_transformers.SentenceTransformerTrainingArguments(
        output_dir=str(folder), max_steps=3, per_device_train_batch_size=4, report_to=[], save_strategy="no",
        use_cpu=True, disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    callback = ef.integrations.DoctorCallback(say=say)
    trainer = sentence_transformers.SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=data, callbacks=[callback],
        loss=losses.MultipleNegativesRankingLoss(model, scale=scale),
    )  # fmt: skip
    trainer.train()
    return callback


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_sentence_transformers_script_is_watched_and_its_scale_is_named(minilm, tmp_path):
    told: list[str] = []
    callback = trained(minilm, tmp_path, 1.0, told.append)
    assert callback.doctor.step == 3
    assert callback.doctor.record.facts["trace.scale"] == pytest.approx(1.0, rel=1e-3)
    assert "LOS001" in {f.code for f in callback.diagnosis.troubles}
    assert told[-1] == str(callback.diagnosis)
    assert torch.nn.modules.module._global_forward_hooks == {}
