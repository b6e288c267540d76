"""`actkit feature-dataset`."""

from typing import Annotated

from actkit.cli.options.further import ContextOptions, Sparse
from actkit.cli.options.groups import READ, SAE, argument, at_home, hidden, option, with_option_groups
from actkit.cli.options.shared import Shared, spec_of_call
from actkit.cli.run_command import hand_over, run_command
from actkit.cli.screen.console import starting
from actkit.errors import UsageError
from actkit.pipeline.input import formats


@with_option_groups
def feature_dataset(
    shared: Shared,
    sparse: Sparse,
    context: ContextOptions,
    dataset: Annotated[
        str | None,
        argument("DATASET", f"Documents: text, {formats.HELP}, {formats.ALSO}; - for JSONL on standard input."),
    ] = None,
    activation_threshold: Annotated[float, option(SAE, "Keep features above it; 0 keeps all active.", min=0.0)] = 0.0,
    top_k: Annotated[
        int | None, option(SAE, "Features kept of each token; 0, the default, keeps all active.", "-k", min=0)
    ] = None,
    context_size: Annotated[
        int | None,
        option(
            READ,
            "Most tokens a sequence, BOS included; what the SAE was trained on by default. Longer documents are "
            "cut into several sequences.",
            min=1,
        ),
    ] = None,
    text_field: Annotated[
        str | None, option(READ, "Field or column of the text; by default text, content, document, …")
    ] = None,
    by_line: Annotated[bool, option(READ, "Each line of a text file is a document, not the whole file.")] = False,
    input_alias: Annotated[str | None, hidden("--input", "--data", "--dataset", callback=at_home)] = None,
) -> None:
    """The active SAE features of every token of a corpus, with characters counted in each document.

    Example: [b]actkit feature-dataset "stories/*.md" -o runs/stories[/]

    Example: [b]actkit feature-dataset corpus.jsonl --activation-threshold 0.1 --text-field body[/]

    Example: [b]actkit feature-dataset Salesforce/wikitext:wikitext-2-raw-v1 --max-samples 1000[/]
    """
    call, where = locals(), dataset or input_alias
    if where is None:
        raise UsageError("no DATASET given", "actkit feature-dataset stories/, or - for standard input")
    sparse.sae_specs(shared.model)  # raises the errors of SAE options before anything is read
    with starting(shared.quiet):
        from actkit.recipes.feature_dataset import FeatureDatasetSpec, run_feature_dataset

    spec = spec_of_call(FeatureDatasetSpec, call, dataset=where, top_k=top_k or None)
    hand_over(run_command(run_feature_dataset, spec, sparse.sparse_spec(shared, spec.command), shared), shared)
