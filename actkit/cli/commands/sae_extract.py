"""`actkit sae-extract`."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from actkit.cli.options.further import ContextOptions, Sparse
from actkit.cli.options.groups import OUTPUT, READ, SAE, InputAlias, argument, option, with_option_groups
from actkit.cli.options.shared import Shared, spec_of_call
from actkit.cli.run_checks import check_whole
from actkit.cli.run_command import hand_over, run_command
from actkit.cli.screen.console import starting
from actkit.errors import InputError, UsageError
from actkit.pipeline.input import formats


@with_option_groups
def sae_extract(
    shared: Shared,
    sparse: Sparse,
    context: ContextOptions,
    samples: Annotated[
        str | None,
        argument(
            "INPUT",
            f"JSON document of results, or prompts and responses: {formats.HELP}, {formats.ALSO}; - for JSONL on "
            "standard input.",
        ),
    ] = None,
    save_all_tokens: Annotated[
        bool, option(READ, "All tokens of prompt and response, not only the prompt's last.")
    ] = False,
    top_k: Annotated[int, option(SAE, "Features kept of each token; 0 keeps all active.", "-k", min=0)] = 50,
    chat: Annotated[
        bool, option(READ, "Put prompt and response into the model's chat template.", "--chat/--no-chat")
    ] = False,
    response_field: Annotated[str, option(READ, "Field of the response.")] = "response",
    merge_into: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write the input document with the features in it here; a second run, for another layer, joins them.",
        ),
    ] = None,
    input_alias: InputAlias = None,
) -> None:
    """The largest SAE features at the last token of each prompt, or at all tokens of prompt and response.

    The response is run after the prompt as it stands (teacher forcing). A document of results is
    {"results": [{"question_id", "variations": [{"template_type", "prompt", "response"}]}]}.

    Example: [b]actkit sae-extract answers.jsonl --target-layer 2 -o runs/features[/]

    Example: [b]actkit sae-extract answers.jsonl --save-all-tokens --top-k 20[/]

    Example: [b]actkit sae-extract results.json --preset gemma-2-9b-it --merge-into merged.json[/]
    """
    call, path = locals(), samples or input_alias
    if path is None:
        raise UsageError("no INPUT given", "actkit sae-extract answers.jsonl, or - for standard input")
    with starting(shared.quiet):
        from actkit.recipes.sae_extract import SaeExtractSpec, run_sae_extract

    sparse.sae_specs(shared.model)  # raises the errors of SAE options before anything is read
    check_whole("--merge-into", merge_into is not None, shared)
    if merge_into is not None:
        texts = context.prompt_field or "prompt", response_field
        _document(path, merge_into, texts)  # raises its errors before the run
        if not shared.plan:
            _writable(merge_into)
    spec = spec_of_call(SaeExtractSpec, call, path=path)
    finished = run_command(run_sae_extract, spec, sparse.sparse_spec(shared, spec.command), shared)
    if merge_into is not None:
        from actkit.export.merged_json import merge_into as join_document

        # Read once more, since another run may have merged its features meanwhile.
        again = partial(_document, path, merge_into, texts)
        join_document(merge_into, finished.path, finished.facts, again)
    hand_over(finished, shared)


def _writable(path: Path) -> None:
    """Raise UsageError where no file can be made beside `path`, before hours of computing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"--merge-into {path}: {error.strerror}", "choose a file that can be written") from error


def _document(path: str, merge_into: Path, fields: tuple[str, str]) -> dict[str, Any]:
    """Read the document to merge into: the one that an earlier run left there, or the input.

    `fields` name prompt and response. Raises UsageError for a stream, an address or a folder, InputError for a file
    that is no document or has other texts than the input.
    """
    if path == "-" or str(merge_into) == "-":
        flag = "INPUT -" if path == "-" else "--merge-into -"
        raise UsageError(f"{flag}: a document is read, and written, as a file", "--merge-into merged.json")
    from actkit.runs.paths import check_local

    check_local(merge_into, "--merge-into")
    if merge_into.is_dir():
        raise UsageError(f"--merge-into {merge_into}: Is a directory", f"name a file, such as {merge_into}/merged.json")
    from actkit.export.merged_json import read_document

    document = read_document(Path(path))
    if merge_into.exists() and merge_into.resolve() != Path(path).resolve():
        earlier = read_document(merge_into)
        if _texts(document, fields) != _texts(earlier, fields):
            raise InputError(
                f"{merge_into} has other prompts or responses than {path}",
                "merge into another file, or remove this one",
            )
        return earlier
    return document


def _texts(document: Mapping[str, Any], fields: tuple[str, str]) -> list[list[Any]]:
    from actkit.export.merged_json import variations

    return [[each.get(name) for name in fields] for _, each in variations(document) if isinstance(each, dict)]
