from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

lightning = pytest.importorskip("lightning", reason="Lightning is not installed")


@pytest.mark.filterwarnings("ignore")
def test_a_lightning_module_is_watched_and_its_reversed_loss_is_named():
    import embedfit as ef

    class Towers(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.document = nn.Linear(8, 4), nn.Linear(8, 4)

        def training_step(self, batch, number):
            query, document = normalize(self.query(batch[0]), dim=-1), normalize(self.document(batch[1]), dim=-1)
            return cross_entropy(-query @ document.T / 0.05, torch.arange(len(query)))

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    told: list[str] = []
    callback = ef.integrations.LightningDoctor(("query", "document"), say=told.append)
    trainer = lightning.Trainer(
        max_steps=5, callbacks=[callback], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    rows = torch.utils.data.TensorDataset(torch.randn(64, 8), torch.randn(64, 8))
    trainer.fit(Towers(), torch.utils.data.DataLoader(rows, batch_size=16))
    assert callback.doctor.step == 5
    assert callback.diagnosis.findings[0].code == "LOS004"
    assert told
