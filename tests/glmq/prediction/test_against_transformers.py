"""What layers of multi-token prediction predict is what transformers' MtpModel does, in float32."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_convert.conversion import convert

from ..prediction_runs import load_predicting, next_logits

torch = pytest.importorskip("torch")
layers = pytest.importorskip("transformers.modeling_layers")
if not hasattr(layers, "MtpModel"):
    pytest.skip("this version of transformers has no MtpModel", allow_module_level=True)

from tests import glm4_moe_checkpoints as checkpoints  # noqa: E402

CLOSE = 2e-5
"""How far logits may be off, in parts of their range."""
N_TOKENS = 48


@pytest.mark.parametrize("kind", ("glm4_moe", "glm4_moe_lite"))
def test_logits(tmp_path, monkeypatch, kind):
    """transformers knows no tables of the layer's own, so the checkpoint has none."""
    kinds = checkpoints.KINDS[kind]
    reference = checkpoints.save_checkpoint(tmp_path, kind=kind, mtp=True)
    layer = f"model.layers.{reference.config.num_hidden_layers}."
    tables = [f"{layer}embed_tokens.weight", f"{layer}shared_head.head.weight"]
    checkpoints.change_weights(tmp_path, lambda found: [found.pop(name) for name in tables])
    pattern = layer.replace(".", r"\.") + ".*"
    monkeypatch.setattr(kinds[1], "_keys_to_ignore_on_load_unexpected", [pattern])
    trunk = kinds[1].from_pretrained(tmp_path, dtype=torch.float32).eval()
    # Configurations of this version do not all have these.
    trunk.config.num_mtp_layers, trunk.config.mtp_mlp_layer_types = 1, ["sparse"]
    predicting = layers.MtpModel.from_pretrained(trunk).eval()
    tokens = torch.randint(0, 300, (1, N_TOKENS), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        states = trunk.model(tokens).last_hidden_state
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        positions = torch.arange(N_TOKENS)[None]
        last = predicting.forward_layer(0, before, positions, None, input_ids=tokens)
        expected = trunk.lm_head(last)[0].numpy()
    with load_predicting(convert(tmp_path, tmp_path / "model.gguf", "f32"), cache_type="F32") as model:
        session = model.session()
        session.evaluate(tokens[0].tolist())
        ours = session.sequence.hidden.rows
        shifted = np.vstack([np.zeros_like(ours[:1]), ours[:-1]])
        found = next_logits(model, model.session().sequence, tokens[0].tolist(), shifted)
    assert np.abs(ours - states[0].numpy()).max() < CLOSE * np.ptp(ours)
    assert np.abs(found - expected).max() < CLOSE * np.ptp(expected)
