"""The evaluation can fail."""

from pathlib import Path

from ai import evaluate, initialise, train_tiny, vocabulary, workers
from ai.tiny_config import Recipe


def test_an_untrained_model_misses_the_targets(short: Recipe, tmp_path: Path) -> None:
    """Negative control: weights that learned nothing fail, and the exit code says so."""
    workers.prepare()
    tokens = vocabulary.tokenizer()
    train_tiny.save(initialise.new_model(short, tokens).eval(), tokens, short, tmp_path / "m")

    code = evaluate.main([str(tmp_path / "m"), "--scenes", "4"])

    assert code == 1
    assert "mean_iou" in evaluate.missed(evaluate.evaluate(tmp_path / "m", count=4))
