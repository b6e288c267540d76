"""How near an AUROC's standard error, by which `concept` chooses a layer, is to what draws of the same texts show.

    python -m tests.benchmarks.choice_error [--draws 1000] [--out TABLE.md]

1. Scores of stems with some texts of each side are drawn from a normal distribution of a known AUROC; a stem's texts
   share a part of their variance or none.
2. Of each draw actkit computes the AUROC and its error.
3. The table has the error over the deviation of the AUROCs, and how often one error on either side holds the truth:
   0.68 for an interval of one normal deviation.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from actkit.analysis.auroc import auroc_and_error
from tests.benchmarks import report

STEMS = ((8, 1), (8, 3), (16, 2), (24, 1))
"""Stems, and texts of each side in one."""
SHARED = (0.0, 0.5)
"""Parts of the variance that a stem's texts share."""
TRUE = (0.6, 0.8, 0.9, 0.97, 0.99, 0.995)


def drawn(
    draw: np.random.Generator, stems: int, texts: int, shared: float, true: float, draws: int
) -> npt.NDArray[np.float64]:
    """AUROC and standard error of each draw, [draws, 2]."""
    labels = np.repeat([True, False], stems * texts)
    groups = np.tile(np.repeat(np.arange(stems), texts), 2)
    apart = np.sqrt(2) * ndtri(true) * labels
    found = []
    for _ in range(draws):
        of_stems = draw.normal(scale=np.sqrt(shared), size=stems)
        scores = apart + of_stems[groups] + draw.normal(scale=np.sqrt(1 - shared), size=len(labels))
        own, error = auroc_and_error(scores, labels, groups)
        found.append((own.value, error))
    return np.array(found)


def main() -> None:
    """Simulate and print a Markdown table."""
    parser = report.parser(__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    lines = [
        "| true AUROC | error over deviation, of all designs | truth within one error |",
        "|---|---|---|",
    ]
    for true in TRUE:
        ratios, within = [], []
        for stems, texts in STEMS:
            for shared in SHARED:
                found = drawn(draw, stems, texts, shared, true, options.draws)
                # Of different stems: what a stem's texts share moves the expectation a little.
                truth = found[:, 0].mean()
                ratios.append(found[:, 1].mean() / found[:, 0].std())
                within.append(np.mean(np.abs(found[:, 0] - truth) <= found[:, 1]))
        lines.append(f"| {true} | {min(ratios):.2f}-{max(ratios):.2f} | {min(within):.2f}-{max(within):.2f} |")
    report.show("\n".join(lines) + "\n", options.out)


if __name__ == "__main__":
    main()
