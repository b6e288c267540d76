"""The sentence of `actkit demo` about what each of its runs found."""

from typing import Any

import pytest

from actkit.cli.commands.demo import verdict_of

CHOSEN = {
    "layer": 2,
    "auroc_heldout": 0.876,
    "auroc_heldout_low": 0.7149,
    "auroc_heldout_high": 0.951,
    "n_heldout": 31,
    "shuffled_low": 0.312,
    "shuffled_high": 0.688,
    "auroc_length_only": 0.5,
}
FEW = "Too few texts were read"


def concept(**chosen: Any) -> dict[str, Any]:
    return {"concept": {"method": "pca", "chosen": {"mean-diff": {"auroc_heldout": 0.1}, "pca": {**CHOSEN, **chosen}}}}


def feedback(**sae: Any) -> dict[str, Any]:
    found = {"respond_to": {"positive": 7, "negative": 90}, "tested": 1234}
    return {"scores": {"found": found, "saes": [{"largest_auroc_by_chance": {"q95": 0.6449}, **sae}]}}


def test_a_concept_is_told_by_the_method_that_the_run_chose() -> None:
    assert verdict_of(concept()) == (
        "Honesty can be read at layer 2: AUROC 0.88 (0.71 to 0.95, 95 %) on 31 pairs that chose nothing, where "
        "exchanged sides give 0.31 to 0.69; length alone 0.50."
    )


@pytest.mark.parametrize(
    "facts",
    [{"concept": {}}, {"concept": {"method": "pca", "chosen": {}}}, concept(auroc_heldout=None)],
    ids=["no report", "nothing chosen", "nothing held out"],
)
def test_without_evidence_that_is_said(facts: dict[str, Any]) -> None:
    assert verdict_of(facts).startswith(FEW) and "AUROC" not in verdict_of(facts)


def test_feedback_is_told_beside_chance_and_with_the_probe_where_there_is_one() -> None:
    said = "7 of 1,234 features respond to positive feedback beyond the best that chance gives (AUROC 0.64)"
    assert verdict_of(feedback()).startswith(f"{said}. {FEW}")
    assert verdict_of(feedback(dense_probe={"auroc": 0.9, "low": 0.8051, "high": 0.97})) == (
        f"{said}; a probe of the activations tells held-out texts apart with AUROC 0.90 (0.81 to 0.97, 95 %)."
    )
