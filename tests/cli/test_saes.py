"""`actkit saes`: the registry as SAELens itself reads it, without the seconds that importing it takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from actkit.backends.saes import sae_lens
from actkit.cli.app import main
from actkit.cli.commands.saes import listed
from actkit.errors import ModelError
from actkit.remote import hub_reach


@pytest.mark.slow
def test_what_is_listed_is_what_saelens_knows() -> None:
    known = sae_lens.releases()
    found = {release.name: release for release in listed()}
    assert list(found) == list(known) and len(found) > 100
    for name, release in known.items():
        assert found[name] == release


@pytest.mark.slow
def test_nothing_heavy_is_imported() -> None:
    """A clock would be no test on a busy machine; what has been imported is."""
    program = (
        "import sys\nfrom actkit.cli import main\n"
        "try:\n    main(['saes', 'tiny', '--ids', '--json'])\nexcept SystemExit:\n    print('MODULES', *sys.modules)\n"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    rows, _, modules = printed.stdout.partition("MODULES")
    assert {"sae_id": "blocks.2.hook_resid_post", "release": "tiny"}.items() <= json.loads(rows.splitlines()[1]).items()
    assert "actkit.cli.commands.saes" in modules.split()
    assert not set(modules.split()) & {"sae_lens", "torch", "transformers", "numpy", "pandas", "pyarrow"}


@pytest.mark.parametrize("text", ["a: [", "release:\n  model: m\n  repo_id: r\n", "release: 3\n"])
def test_a_registry_that_is_not_as_it_was_is_an_error(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / hub_reach.REGISTRY).write_text(text)
    found = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(hub_reach, "find_spec", lambda _name: found)
    with pytest.raises(SystemExit) as ended:
        main(["saes"])
    assert ended.value.code == 1
    assert "error: SAELens's registry" in (said := capsys.readouterr().err) and "hint: install" in said


def test_without_saelens_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_reach, "find_spec", lambda _name: None)
    with pytest.raises(ModelError, match="not installed"):
        list(listed())
